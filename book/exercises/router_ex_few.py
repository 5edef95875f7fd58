"""Too few experts."""

import math
from dataclasses import replace

from moe_lib import ModelConfig, MoE, TrainConfig, evaluate, make_data, setting, train

config = replace(setting(1), num_train=2000, num_test=4000)
data, test = make_data(config, seed=0)
# --- your turn: `least`, the least entropy that three experts can reach with four
# clusters of equal size, and `model`, a mixture of three, trained for 300 steps
least = 0.5 * math.log(2)
model = MoE(ModelConfig(num_experts=3), dim=50, seeds=[0])
train(model, data, TrainConfig(steps=300))
# --- check
result = evaluate(model, test)
accuracy, entropy = result.accuracy.item(), result.dispatch_entropy.item()
print(f"accuracy {accuracy:.3f}; entropy {entropy:.2f}, at least {least:.2f}")
print(result.dispatch_counts[0].numpy())
assert result.dispatch_counts.shape == (1, 4, 3)
assert 0.3 < least < entropy
assert accuracy > 0.8
# --- found
assert abs(100 * accuracy - 88.9) < 2
assert abs(entropy - 0.66) < 0.05
assert ((result.dispatch_counts[0] > 100).sum(dim=1) == 3).sum() == 1  # one is shared
