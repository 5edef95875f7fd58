"""Does it leave?"""

from dataclasses import replace

import numpy as np
import torch

from moe_lib import ModelConfig, MoE, TrainConfig, evaluate, make_data, setting, train
from moe_lib.results import load_committed

config = replace(setting(1), num_train=4000, num_test=4000)
small, held_out = make_data(config, seed=0)
v, c = small.signals.feature, small.signals.center  # [K, d]
four = ModelConfig(num_experts=4, num_filters=1, activation="linear")
model = MoE(four, dim=50, seeds=[0])
# --- your turn: give `model` the weights of the perfect linear mixture; let `past` be
# the history of 300 steps of Algorithm 1 from there
with torch.no_grad():
    model.router_weight[0] = c.T
    model.expert_weight[0, :, 0] = v
past = train(model, small, TrainConfig(steps=300))
# --- check
seen = evaluate(model, held_out)
print(f"loss {past.loss[0, 0]:.3f}, then {past.loss[-1, 0]:.3f};", end=" ")
print(f"accuracy {seen.accuracy.item()}, entropy {seen.dispatch_entropy.item():.3f}")
assert past.loss.shape[0] == 300
assert past.accuracy[0] > 0.99
# --- found
(linear,) = [
    model
    for model in load_committed("table_setting1").data["models"]
    if model["model"] == "moe_linear"
]
scratch = np.mean(linear["curves"]["train_loss"][-1])  # of ten seeds
print(f"trained from scratch for 1,000 steps: {scratch:.3f}")
assert abs(scratch - 0.042) < 0.001
assert seen.accuracy == 1
assert seen.dispatch_entropy < 1e-6
assert abs(past.loss[0] - 0.398) < 0.01
assert abs(past.loss[-1] - 0.027) < 0.002
