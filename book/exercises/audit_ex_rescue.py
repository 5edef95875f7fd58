"""Rescue."""

from dataclasses import replace

from moe_lib import ModelConfig, make_data, setting
from moe_lib.authors import AUTHORS
from moe_lib.authors_model import RecipeModel
from moe_lib.authors_train import evaluate_recipe, train_recipe

config = replace(setting(1), num_train=4000, num_test=4000)
small, held_out = make_data(config, seed=0)
rates = {"expert_lr": 0.01, "router_lr": 1.0, "init_scale": 1e-2}
spoiled = replace(AUTHORS, data_scale=1.0, **rates)


def learn(recipe):
    """Train a cubic mixture; return accuracy and dispatch entropy."""
    model = RecipeModel(recipe, ModelConfig(), dim=50, seeds=[0])
    train_recipe(model, small)
    seen = evaluate_recipe(model, held_out)
    return seen.accuracy.item(), seen.dispatch_entropy.item()


# --- your turn: `repaired`, the recipe `spoiled` with one more switch thrown
repaired = replace(spoiled, bias=False, norm="frobenius")
# --- check
fields = "data_scale", *rates, "loss", "gate"
assert all(getattr(repaired, f) == getattr(spoiled, f) for f in fields)
found = {"spoiled": learn(spoiled), "repaired": learn(repaired)}
for name, (accuracy, entropy) in found.items():
    print(f"{name}: accuracy {accuracy:.3f}, entropy {entropy:.2f}")
assert found["repaired"][0] > 0.99
assert found["repaired"][1] < 0.05
# --- found
assert abs(100 * found["spoiled"][0] - 92) < 2
assert abs(found["spoiled"][1] - 0.65) < 0.1
