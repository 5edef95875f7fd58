"""An uncovered cluster."""

from math import comb

import torch


# --- your turn: `covered(M)`, the probability that M experts, each with one of four
# clusters by lot, cover them all; and `enough`, the least M with 0.99 or more
def covered(M):
    return sum((-1) ** i * comb(4, i) * (1 - i / 4) ** M for i in range(5))


enough = 4
while covered(enough) < 0.99:
    enough += 1
# --- check
lot = torch.Generator().manual_seed(0)
for M in (4, 8, 16):
    drawn = torch.randint(4, (100_000, M), generator=lot)
    hit = torch.stack([(drawn == k).any(dim=1) for k in range(4)]).all(dim=0)
    share = hit.double().mean().item()
    print(f"{M} experts: {share:.4f} in a simulation, {covered(M):.4f}")
    assert abs(share - covered(M)) < 0.0065  # four standard errors
assert covered(enough - 1) < 0.99 <= covered(enough)
# --- found
assert enough == 21
