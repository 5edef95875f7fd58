"""The other half."""

import torch

# --- your turn: `code` and `paper`, the mean gate of the chosen one of eight experts at
# the start, in the authors' code and in the paper
code, paper = 8 / 9, 1 / 8
# --- check
r = torch.rand(100_000, 8, generator=torch.Generator().manual_seed(0))
chosen = r.argmax(dim=1, keepdim=True)
h = torch.zeros_like(r)
gates = (h + r).gather(1, chosen), h.softmax(dim=1).gather(1, chosen)
print("code {:.3f}, paper {:.3f}".format(*(gate.mean() for gate in gates)))
assert abs(gates[0].mean() - code) < 0.002
assert abs(gates[1].mean() - paper) < 1e-6
# --- found
assert abs(code / paper - 7.1) < 0.05
