"""The floor."""

import math
from dataclasses import replace

import torch

from moe_lib.authors import PAPER
from moe_lib.authors_model import recipe_loss

two = replace(PAPER, heads=2, loss="double_softmax")
# --- your turn: `low` and `high`, between which the loss lies, and `worst`, the least
# accuracy with which the mean loss can be 0.35
low, high = math.log(1 + math.exp(-1)), math.log(1 + math.e)
worst = 1 - (0.35 - low) / (math.log(2) - low)
# --- check
margins = torch.linspace(-30, 30, 601)
losses = torch.cat([recipe_loss(two, z[None, None], torch.ones(1)) for z in margins])
cheapest = losses[margins < 0].min()  # of an error
print(f"loss {low:.3f} to {high:.3f}; an error costs {cheapest:.3f} or more", end="; ")
print(f"accuracy {worst:.3f} or more")
assert abs(losses.min() - low) < 1e-5
assert abs(losses.max() - high) < 1e-5
assert abs(worst * losses.min() + (1 - worst) * cheapest - 0.35) < 0.01
# --- found
assert abs(worst - 0.903) < 0.001
