"""Twice as fast."""

from moe_lib import ModelConfig, TrainConfig, setting
from moe_lib.stages import router_turn_step

# --- your turn: `rates`, the factor of the turn when both rates are doubled, and
# `experts`, the factor when M is doubled, to leading order
rates = 2 ** (-3 / 4) * 2 ** (-1 / 4)
experts = 2**0.5
# --- check
model, plan = ModelConfig(), TrainConfig()
fast = TrainConfig(expert_lr=2 * plan.expert_lr, router_lr=2 * plan.router_lr)
before = router_turn_step(setting(1), model, plan)
both = router_turn_step(setting(1), model, fast) / before
few, many = (
    router_turn_step(setting(1), ModelConfig(num_experts=M), plan) for M in (512, 1024)
)
print(f"law: both rates {both:.3f}, experts {many / few:.3f}")
assert abs(both - rates) < 0.001
assert abs(many / few - experts) < 0.002
