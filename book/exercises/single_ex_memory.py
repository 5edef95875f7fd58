"""Does Setting 1 ever memorise?"""

import torch

from moe_lib import (
    ModelConfig,
    SingleExpert,
    TrainConfig,
    evaluate,
    make_data,
    setting,
    train,
)

config = ModelConfig(num_filters=128, init_scale=(3 * 50) ** -0.5)


def learn(name):
    """Train a memoriser; return the step of 90 %, and what it knows at the end."""
    few, new = (half.head(2000) for half in make_data(setting(name), seed=0))
    expert = SingleExpert(config, dim=50, seeds=[0])
    adam = torch.optim.Adam(expert.parameters(), lr=0.01, weight_decay=5e-4)
    history = train(expert, few, TrainConfig(steps=200), optimizers=[adam])
    seen = history.accuracy[:, 0]
    knows = evaluate(expert, new).accuracy.item()
    return int((seen > 0.9).int().argmax()), seen[-1].item(), knows


# --- your turn: `guess`, how many times as many steps Setting 1 needs as Setting 2
# until it knows 90 % of the training labels (0 if you think that it never does)
guess = 8
# --- check
assert guess >= 0
steps = {}
for name in ("1", "2"):
    steps[name], seen, new = learn(name)
    print(f"Setting {name}: 90 % known at step {steps[name]};", end=" ")
    print(f"at step 200 {seen:.2f} of them, and {new:.2f} of new ones")
    assert seen > 0.9
    assert new < 0.6
ratio = steps["1"] / steps["2"]
print(f"guessed {guess}, measured {ratio:.1f}")
assert ratio / 2 < guess < 2 * ratio
# --- found
assert abs(steps["1"] - 153) < 16
assert abs(steps["2"] - 25) < 5
