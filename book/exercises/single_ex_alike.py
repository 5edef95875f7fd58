"""Clusters alike."""

import torch

from moe_lib import make_data, setting
from moe_lib.data import PatchRole


# --- your turn: `g(q)`, the score of a patch that lies on an axis at q; that of a
# linear expert is q itself
def g(q):
    return torch.where(q.abs() <= 2, q, 0)


# --- check
ceilings = {"1": 0.85, "2": 0.85, "3": 0.75, "4": 0.75}
for name, ceiling in ceilings.items():
    data = make_data(setting(name), seed=0)[1]
    q = data.x @ data.signals.feature.T
    q[data.patch_role == PatchRole.NOISE] = 0
    assert torch.equal(g(-q), -g(q))  # g is odd
    F = g(q).sum(dim=(1, 2))
    accuracy = (data.y * F > 0).double().mean().item()
    print(f"Setting {name}: {accuracy:.3f}")
    assert abs(accuracy - ceiling) < 0.014  # four standard errors
