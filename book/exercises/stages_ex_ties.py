"""Ties."""

import numpy as np
import torch

from moe_lib import MoE
from moe_lib.data import sample_signals
from moe_lib.experiments import EXPERIMENTS
from moe_lib.results import load_committed
from moe_lib.rng import generator

name, seeds = "sigma_0 0.001", range(200)
(probe,) = (one for one in EXPERIMENTS["specialists"] if one.name == name)
kept = load_committed("specialists").data["cells"][name]["values"]
draws = (generator(seed, "signals") for seed in seeds)
v = torch.stack([sample_signals(probe.data(), generator=g).feature for g in draws])
weights = MoE(probe.model(), dim=probe.dim, seeds=seeds).expert_weight.detach()
first = (weights @ v[:, None].mT).amax(dim=2)  # [S, M, K]: best filter for a cluster
hit = np.array(kept["foretold"]) == np.array(kept["committed"])  # [S, M]
# --- your turn: `close`, of each expert whether its second-best cluster comes within a
# tenth of its best one
second, best = np.sort(first.numpy(), axis=-1)[..., -2:].transpose(2, 0, 1)
close = second > 0.9 * best
# --- check
assert close.shape == hit.shape
tied, clear = hit[close].mean(), hit[~close].mean()
print(f"{close.mean():.2f} of the experts are near ties")
print(f"true forecasts: {tied:.2f} of these, {clear:.2f} of the others")
assert 0.1 < close.mean() < 0.5
assert tied < clear - 0.2
# --- found
assert abs(tied - 0.58) < 0.01
assert abs(clear - 0.91) < 0.01
