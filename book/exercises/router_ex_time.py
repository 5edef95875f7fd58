"""When does the router turn?"""

from dataclasses import replace

from moe_lib import (
    ModelConfig,
    MoE,
    TrainConfig,
    dispatch_entropy,
    make_data,
    setting,
    train,
)
from moe_lib.metrics import turn_step

data, _ = make_data(replace(setting(1), num_train=2000), seed=0)
# --- your turn: `factor`, by which the turn should move if the rate is doubled, and
# `turns`, the step of the turn at rates 0.01 and 0.02
factor = 2 ** (-3 / 4)
turns = []
for lr in (0.01, 0.02):
    model = MoE(ModelConfig(), dim=50, seeds=[0])
    history = train(model, data, TrainConfig(steps=130, expert_lr=lr))
    entropy = dispatch_entropy(history.dispatch_counts)[:, 0]
    turns.append(int(turn_step(entropy, 4)))
# --- check
print(f"turns {turns}, factor {turns[1] / turns[0]:.2f}, expected {factor:.2f}")
assert 80 < turns[0] < 125
assert abs(turns[1] / turns[0] - factor) < 0.08
# --- found
assert abs(turns[0] - 102) < 5
assert abs(turns[1] - 66) < 4
