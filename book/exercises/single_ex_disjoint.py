"""Disjoint ranges."""

from dataclasses import replace

import torch

from moe_lib import make_data, setting
from moe_lib.theory import additive_error_bound

config = replace(setting(1), alpha=(0.5, 1.0), gamma=(1.5, 3.0), sigma_p=0.0)
data = make_data(config, seed=0)[1]
q = data.x @ data.signals.feature.T  # [n, P, K]: patches on the axes; 0 up to rounding
# --- your turn: `equal` and `clever`, the sums over patches of the score with equal
# weights and of your own
equal = q.sum(dim=(1, 2))
clever = torch.where(q.abs() <= 1, q, 0).sum(dim=(1, 2))
# --- check
accuracy = [(data.y * F > 0).double().mean().item() for F in (equal, clever)]
print("equal weights {:.3f}, your own {:.3f}".format(*accuracy))
assert accuracy[0] < 0.52
assert accuracy[1] == 1
# --- found
assert abs(100 * accuracy[0] - 50) < 1.6
try:
    bound = additive_error_bound(config.alpha, config.gamma)
except ValueError as error:
    print(error)
else:
    raise AssertionError(f"a bound of {bound}")
