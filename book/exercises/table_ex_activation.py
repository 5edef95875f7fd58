"""Is it the nonlinearity?"""

from dataclasses import replace

from moe_lib import ModelConfig, MoE, TrainConfig, evaluate, make_data, setting, train

config = replace(setting(1), num_train=1000, num_test=4000)
small, held_out = make_data(config, seed=0)


def learn(activation):
    """Train a mixture; return accuracy and dispatch entropy."""
    model = MoE(ModelConfig(activation=activation), dim=50, seeds=[0])
    train(model, small, TrainConfig(steps=300))
    seen = evaluate(model, held_out)
    return seen.accuracy.item(), seen.dispatch_entropy.item()


# --- your turn: `solved`, the activations, of tanh and relu, with which the mixture is
# right on more than 99 % and has an entropy below 0.1 nats, as the cubic one
solved = set()
# --- check
assert set(solved) <= {"tanh", "relu"}
found = {name: learn(name) for name in ("tanh", "relu", "cubic")}
for name, (accuracy, entropy) in found.items():
    print(f"{name}: accuracy {accuracy:.3f}, entropy {entropy:.2f}")
    alike = accuracy > 0.99 and entropy < 0.1
    assert alike == (name in {*solved, "cubic"})
# --- found
assert abs(100 * found["tanh"][0] - 89.6) < 3
assert abs(found["tanh"][1] - 1.32) < 0.1
assert abs(100 * found["relu"][0] - 50) < 2
