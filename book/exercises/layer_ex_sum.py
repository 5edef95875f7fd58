"""Sum zero."""

from moe_lib import ModelConfig, MoE, TrainConfig, make_data, setting, train

batch = make_data(setting(1), seed=0)[0].head(512)
layer = MoE(ModelConfig(), dim=50, seeds=[0]).double()
# --- your turn: train `layer` on `batch` (in double precision) for 50 steps, and let
# `total` be the sum of its router weights over the experts
train(layer, batch.to(layer.router_weight.dtype), TrainConfig(steps=50))
total = layer.router_weight.detach().sum(dim=2)
# --- check
assert total.shape == (1, 50)
assert layer.router_weight.abs().max() > 1e-6  # it was trained
assert total.abs().max() < 1e-12
