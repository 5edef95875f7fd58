"""Noise in the gate."""

from moe_lib.router import sample_router_noise

noise = sample_router_noise(512, 8, seeds=[0], step=0)[0].double()  # [n, M]
# --- your turn: `guess`, how many times as large the gate of the chosen expert is on
# average, with the noise in it, at zero logits; and `loud`, that gate for each example
guess = 1.4
loud = noise.softmax(dim=1).amax(dim=1)
# --- check
assert loud.shape == (512,)
assert loud.min() > 1 / 8  # above 1/8, always
print(f"{loud.mean():.3f} ± {loud.std():.3f}, from {loud.min():.3f}")
assert abs(8 * loud.mean() - guess) < 0.2
# --- found
assert abs(loud.mean() - 0.179) < 0.001
assert abs(loud.std() - 0.016) < 0.001
assert abs(loud.min() - 0.145) < 0.001
assert abs(8 * loud.mean() - 1.4) < 0.05
