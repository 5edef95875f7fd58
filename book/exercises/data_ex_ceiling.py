"""The ceiling of the same-axis bug."""

import torch

draw = torch.Generator().manual_seed(0)
alpha = 0.5 + 1.5 * torch.rand(100_000, generator=draw)
gamma = 1 + torch.rand(100_000, generator=draw)
y, epsilon = 2 * torch.randint(2, (2, 100_000), generator=draw) - 1
pair = torch.stack([alpha * y, gamma * epsilon], dim=1)  # both along v_k
swap = torch.rand(100_000, 1, generator=draw) < 0.5
pair = torch.where(swap, pair.flip(1), pair)
# --- your turn: `guess`, the label (its sign counts) that you read off each pair
smaller = pair.abs().argmin(dim=1, keepdim=True)
agree = pair.prod(dim=1) > 0
guess = torch.where(agree, pair[:, 0], pair.gather(1, smaller)[:, 0])
# --- check
right = (y * guess > 0).double().mean().item()
print(f"right: {right:.4f}, at most {5 / 6:.4f}")
assert 0.75 < right < 5 / 6 + 0.005  # four standard errors
# --- found
assert abs(100 * right - 83.3) < 0.5
