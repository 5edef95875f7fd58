"""Does depth help?"""

from moe_lib import make_data, setting

data = make_data(setting(1), seed=0)[1]
X, v, c = data.patch_sum, data.signals.feature, data.signals.center
# --- your turn: `F`, a score of each example that is computed from the sum of patches X
F = ((X @ c.T) * (X @ v.T)).sum(dim=1)
# --- check
accuracy = (data.y * F > 0).double().mean().item()
print(f"accuracy {accuracy:.4f}")
assert accuracy > 0.99
# --- found
assert abs(100 * accuracy - 99.8) < 0.2
