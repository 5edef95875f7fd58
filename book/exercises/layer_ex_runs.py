"""What does the axis S cost?"""

import torch

from moe_lib import ModelConfig, MoE, TrainConfig, evaluate, make_data, setting, train

data, test = make_data(setting(1), seed=0)
batch, plan = data.head(512).to(torch.float64), TrainConfig(steps=300)
# --- your turn: `three`, one model with seeds 0, 1 and 2, and `alone`, one with seed 0,
# both in double precision and trained on `batch` by `plan`
three = MoE(ModelConfig(), dim=50, seeds=[0, 1, 2]).double()
train(three, batch, plan)
alone = MoE(ModelConfig(), dim=50, seeds=[0]).double()
train(alone, batch, plan)
# --- check
gap = (three.expert_weight[0] - alone.expert_weight[0]).abs().max()
accuracy = evaluate(three, test.to(torch.float64)).accuracy
print(f"weights differ by {gap:.0e}; accuracy", accuracy.numpy().round(3))
assert gap < 1e-9
assert (accuracy > 0.85).all()
# --- found
assert (accuracy[:2] > 0.99).all()
assert abs(100 * accuracy[2] - 91.5) < 1
