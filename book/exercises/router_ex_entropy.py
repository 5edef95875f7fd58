"""Read an entropy."""

import torch

from moe_lib import dispatch_entropy

# --- your turn: `counts`, such a dispatch of 100 examples a cluster (rows are clusters,
# columns experts; some may be idle), and `entropy`, computed by hand
counts = torch.zeros(4, 8, dtype=torch.long)
counts[0, 0] = counts[1, 0] = 100
counts[2, 1:3] = counts[3, 3:5] = 50
entropy = 0.5 * torch.tensor(2.0).log()
# --- check
assert (counts.sum(dim=1) == 100).all()
assert ((counts > 0).sum(dim=1) == torch.tensor([1, 1, 2, 2])).all()
assert abs(dispatch_entropy(counts) - entropy) < 1e-6
# --- found
assert abs(entropy - 0.347) < 0.0005
