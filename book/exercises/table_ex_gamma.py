"""A world without the problem."""

from dataclasses import replace

from moe_lib import (
    ModelConfig,
    MoE,
    SingleExpert,
    TrainConfig,
    evaluate,
    make_data,
    setting,
    train,
)
from moe_lib.theory import additive_ceiling

# --- your turn: `config`, Setting 1 with feature noise from 0.1 to 0.5 and 4,000
# examples to train and to test on; and `guess`, the accuracy of one linear expert
config = replace(setting(1), gamma=(0.1, 0.5), num_train=4000, num_test=4000)
guess = 1.0
# --- check
try:
    ceiling = additive_ceiling(config)
except ValueError as error:
    print(error)
else:
    raise AssertionError(f"a ceiling of {ceiling}")
small, held_out = make_data(config, seed=0)
one = ModelConfig(num_filters=128, activation="linear")
many = ModelConfig(activation="linear")
models = SingleExpert(one, dim=50, seeds=[0]), MoE(many, dim=50, seeds=[0])
for model in models:
    train(model, small, TrainConfig(steps=600))
single, mixture = (evaluate(model, held_out).accuracy.item() for model in models)
print(f"single {single:.4f}, mixture {mixture:.4f}")
assert abs(single - guess) < 0.03
# --- found
assert abs(100 * single - 98.5) < 0.5
assert mixture > 0.999
