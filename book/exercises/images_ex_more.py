"""More experts."""

from moe_lib.realdata import mnist_rotate
from moe_lib.weak import WeakConfig
from moe_lib.weak_train import WeakTraining, train_weak

seeds = range(2)
turned = [mnist_rotate(15.0, seed=seed) for seed in seeds]
way = WeakTraining(lr=1e-2, epochs=10)
# --- your turn: `mean`, by number of experts (1, 2, 4 and 8, linear), the mean test
# accuracy in percent of the two splits
mean = {}
for m in (1, 2, 4, 8):
    result = train_weak(turned, WeakConfig(num_experts=m), way, seeds=seeds)
    mean[m] = 100 * result.test_accuracy.mean().item()
# --- check
print(", ".join(f"{m}: {value:.1f} %" for m, value in mean.items()))
assert list(mean) == [1, 2, 4, 8]
assert mean[1] < min(mean[2], mean[4], mean[8])
assert max(mean.values()) < 90
# --- found
FOUND = 74.1, 79.6, 80.2, 81.7
assert max(abs(a - b) for a, b in zip(mean.values(), FOUND, strict=True)) < 1
