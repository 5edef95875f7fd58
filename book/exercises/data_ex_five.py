"""A fifth cluster."""

import torch
from sklearn.linear_model import LogisticRegression

from moe_lib import DataConfig, make_data

# --- your turn: `petals` and `guess`, the number of petals and the accuracy that you
# expect, and `train` and `test`, data of five clusters
petals, guess = 4 * 5 * (5 - 1), 0.65
train, test = make_data(DataConfig(num_clusters=5), seed=0)
# --- check
signs = [train.y > 0, train.noise_sign > 0]
kinds = torch.stack([train.cluster, train.noise_cluster, *signs], dim=1)
assert train.cluster.max() == 4
assert len(kinds.unique(dim=0)) == petals
model = LogisticRegression().fit(train.patch_sum, train.y)
accuracy = model.score(test.patch_sum, test.y)
print(f"guessed {guess:.3f}, measured {accuracy:.3f}")
assert abs(accuracy - guess) < 0.03
# --- found
assert abs(100 * accuracy - 66) < 1
