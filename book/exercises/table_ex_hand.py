"""Entropy by hand."""

import math

import torch

from moe_lib import dispatch_entropy

counts = torch.tensor([[30, 10], [0, 60]])  # [clusters, experts]
# --- your turn: `entropy`, computed by hand; `moved`, its value when the ten are at
# expert 0; `renamed`, when a third expert has all examples of expert 1
entropy = 0.7 * (math.log(7) / 7 + 6 / 7 * math.log(7 / 6))
moved = 0.0
renamed = entropy
# --- check
print(f"{entropy:.4f}, {moved:.4f}, {renamed:.4f}")
assert abs(entropy - dispatch_entropy(counts)) < 1e-6
assert abs(moved - dispatch_entropy(torch.tensor([[40, 0], [0, 60]]))) < 1e-6
assert abs(renamed - dispatch_entropy(torch.tensor([[30, 0, 10], [0, 0, 60]]))) < 1e-6
# --- found
assert abs(entropy - 0.287) < 0.0005
