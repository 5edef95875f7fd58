"""The shape of the turn."""

from moe_lib import ModelConfig, TrainConfig, setting
from moe_lib.stages import router_turn_step

M = 8
# --- your turn: `rho`, the derivative of the paper's gate in its own logit at first,
# and `earlier`, the factor by which the turn comes earlier with rho = 1
rho = 1 / M * (1 - 1 / M)
earlier = (1 / rho) ** (1 / 4)
# --- check
assert 0 < rho < 1
steps = [
    router_turn_step(
        setting(1), ModelConfig(num_experts=M), TrainConfig(router_lr=rate)
    )
    for rate in (1.0, 1 / rho)  # the law holds rate times rho
]
print(f"earlier by a factor {earlier:.3f}")
assert abs(steps[0] / steps[1] - earlier) < 0.001
# --- found
assert abs(earlier - 1.74) < 0.005
