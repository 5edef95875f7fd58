"""Gumbel noise."""

import torch

from moe_lib.router import route, sample_router_noise

logits = torch.tensor([1.0, 0.0, 0.0, -1.0]).expand(1, 200_000, 4)
u = sample_router_noise(200_000, 4, seeds=[3], step=0)
# --- your turn: `gumbel`, Gumbel draws made of the uniform draws u
gumbel = -torch.log(-torch.log(u))
# --- check
share = route(logits, gumbel).expert_index[0].bincount() / 200_000
pi = logits[0, 0].softmax(dim=0)
print("chosen ", share.numpy().round(3))
print("softmax", pi.numpy().round(3))
assert (share - pi).abs().max() < 0.005  # four standard errors
