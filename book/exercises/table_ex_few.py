"""Too few experts."""

from dataclasses import replace

from moe_lib import ModelConfig, MoE, TrainConfig, evaluate, make_data, setting, train

config = replace(setting(1), num_train=4000, num_test=4000)
small, held_out = make_data(config, seed=0)


def learn(num_experts, num_filters):
    """Train a mixture; return its evaluation."""
    size = ModelConfig(num_experts=num_experts, num_filters=num_filters)
    model = MoE(size, dim=50, seeds=[0])
    train(model, small, TrainConfig(steps=600))
    return evaluate(model, held_out)


# --- your turn: `found`, what `learn` returns, for each pair in `sizes` of a number of
# experts and a number of filters
sizes = (2, 16), (2, 64), (4, 16)
found = {(M, J): learn(M, J) for M, J in sizes}
# --- check
assert {(2, 16), (2, 64), (4, 16)} <= found.keys()
for (M, J), seen in found.items():
    accuracy = 100 * seen.accuracy.item()
    print(f"{M} experts of {J} filters: {accuracy:.0f} %")
    print(seen.dispatch_counts[0].numpy())
# --- found
for J, value in ((16, 78), (64, 79)):
    assert abs(100 * found[2, J].accuracy - value) < 3
    served = (found[2, J].dispatch_counts[0] > 100).sum(dim=0)  # clusters, by expert
    assert sorted(served.tolist()) == [1, 3]
assert found[4, 16].accuracy > 0.99
