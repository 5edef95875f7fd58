"""Read an entropy."""

import torch

from moe_lib import dispatch_entropy

# Of the ten splits with a mark of strength 4, as the chapter finds them.
found = torch.tensor([0.35, 0.35, 0, 0, 0, 0.36, 0.35, 0, 0, 0.33])
# --- your turn: `pure` and `shared`, dispatch counts of four languages (rows, 100 names
# each) to four experts whose entropies are the two values that occur
pure = 100 * torch.eye(4)
shared = pure.clone()
shared[3] = shared[2]
# --- check
for counts in (pure, shared):
    assert (counts.sum(dim=1) == 100).all()
entropy = torch.stack([dispatch_entropy(counts) for counts in (pure, shared)])
print("entropies", entropy.numpy().round(3))
gap = (found[:, None] - entropy).abs()
assert gap.amin(dim=1).max() < 0.02
assert gap.argmin(dim=1).unique().tolist() == [0, 1]
# --- found
assert ((shared.sum(dim=0) == 0).sum(), (shared > 0).sum()) == (1, 4)  # one is idle
assert abs(entropy[1] - 0.35) < 0.005
