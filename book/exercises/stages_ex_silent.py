"""A mixture without noise."""

from moe_lib import ModelConfig, MoE, make_data, setting
from moe_lib.losses import logistic_loss

data = make_data(setting(1), seed=0)[0].head(1000)
model = MoE(ModelConfig(), dim=50, seeds=[0])
# --- your turn: `load`, how many of 1,000 examples each of the eight experts gets in
# the first step without noise, and `moves`, which experts have a gradient then
load = [1000] + 7 * [0]
moves = [0]
# --- check
out = model(data.x)  # no noise
logistic_loss(out.output, data.y).sum().backward()
norms = model.expert_weight.grad[0].norm(dim=(1, 2))
assert load == out.routing.expert_index[0].bincount(minlength=8).tolist()
assert list(moves) == norms.nonzero().flatten().tolist()
