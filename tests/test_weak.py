"""Weak experts: against slow loops, and against what must not help."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from moe_lib.data import PatchDataset
from moe_lib.splits import Splits
from moe_lib.weak import WeakConfig, WeakModel
from moe_lib.weak_train import (
    Stacked,
    WeakTraining,
    best_of,
    stack,
    train_weak,
)
from tests.toys import integers, normal, uniform

SEEDS = (3, 8)
MIXTURE = WeakConfig(num_experts=3, num_filters=2, activation="cubic")


def model(config=MIXTURE, *, dim=5, num_classes=2):
    made = WeakModel(config, dim=dim, num_classes=num_classes, seeds=SEEDS).double()
    if made.is_routed:
        with torch.no_grad():
            made.router_weight.copy_(normal(2, dim, config.num_experts, seed=4))
    return made


def one_by_one(made, x, lot, noise):
    """Compute the class scores of each example by loops."""
    config, rows = made.config, []
    for s, i in torch.cartesian_prod(torch.arange(2), torch.arange(x.shape[1])):
        logits = x[s, i] @ made.router_weight[s] + made.router_bias[s, 0]
        m = int((logits + noise[s, i]).argmax())
        gate = logits.softmax(0)[m]
        score = torch.zeros(made.num_classes, dtype=torch.double)
        for c in range(made.num_classes):
            for j in range(config.num_filters):
                at = (m * made.num_classes + c) * config.num_filters + j
                z = x[s, i] @ made.weight[s, :, at] + made.bias[s, 0, at]
                score[c] += z**3
        rows.append(gate * score)
    return torch.stack(rows).view(2, x.shape[1], -1)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_a_mixture_is_what_loops_compute(num_classes):
    made = model(num_classes=num_classes)
    x, noise = normal(2, 7, 5), uniform(2, 7, 3)
    lot = integers(3, 2, 7)
    scores, index, probs = made(x, lot, noise)
    expected = one_by_one(made, x, lot, noise)
    assert torch.allclose(scores, expected)
    assert torch.allclose(probs.sum(-1), torch.ones(2, 7, dtype=torch.double))
    assert len(index.unique()) == 3


def test_noise_moves_the_choice_but_not_the_probabilities():
    made, x, lot = model(), normal(2, 50, 5), integers(3, 2, 50)
    _, clean, without = made(x, lot)
    _, noisy, under = made(x, lot, uniform(2, 50, 3))
    assert torch.equal(without, under)
    assert (clean != noisy).any()


@pytest.mark.parametrize("routing", ["random", "oracle"])
def test_a_routing_that_is_not_learned_takes_the_lot_without_a_gate(routing):
    made = model(replace(MIXTURE, routing=routing))
    x, lot = normal(2, 9, 5), integers(3, 2, 9)
    scores, index, probs = made(x, lot)
    assert torch.equal(index, lot)
    assert probs is None
    alone = model(WeakConfig(num_filters=2, activation="cubic"))
    width = 4
    for s, i in ((0, 0), (1, 5)):
        columns = slice(int(lot[s, i]) * width, (int(lot[s, i]) + 1) * width)
        with torch.no_grad():
            alone.weight.copy_(made.weight[:, :, columns])
            alone.bias.copy_(made.bias[:, :, columns])
        assert torch.allclose(alone(x, lot)[0][s, i], scores[s, i])


def test_parameters_are_counted():
    def count(config, classes=2):
        made = WeakModel(config, dim=256, num_classes=classes, seeds=(0,))
        return made.num_parameters()

    assert count(WeakConfig()) == 514
    assert count(WeakConfig(num_experts=4)) == 3084
    assert count(WeakConfig(num_experts=4, routing="random")) == 2056
    assert count(WeakConfig(hidden=12)) == 3110


def test_a_run_depends_on_its_own_seed_only():
    both, alone = model(), WeakModel(MIXTURE, dim=5, num_classes=2, seeds=SEEDS[1:])
    assert torch.equal(both.weight[1].float(), alone.weight[0])


def toy_splits(seed, n=240):
    """Make clusters with opposite rules: no line solves both."""
    source = torch.Generator().manual_seed(seed)

    def side(n):
        cluster = torch.randint(2, (n,), generator=source)
        sign = torch.randint(2, (n,), generator=source) * 2.0 - 1
        x = 0.1 * torch.randn(n, 1, 4, generator=source)
        x[:, 0, 0] += 2.0 * cluster - 1
        x[:, 0, 1] += sign
        return PatchDataset(x, sign * (2.0 * cluster - 1), cluster, num_clusters=2)

    return Splits(side(n), side(60), side(200), None, ("one", "other"))


TRAINING = WeakTraining(lr=0.05, epochs=60)


@pytest.fixture(scope="module")
def found():
    splits = [toy_splits(seed) for seed in SEEDS]
    configs = {
        "single": WeakConfig(),
        "mixture": WeakConfig(num_experts=4),
        "random": WeakConfig(num_experts=4, routing="random"),
        "oracle": WeakConfig(num_experts=2, routing="oracle"),
        "hidden": WeakConfig(hidden=8),
    }
    return {
        name: train_weak(splits, config, TRAINING, seeds=SEEDS)
        for name, config in configs.items()
    }


def test_only_what_sees_the_clusters_solves_them(found):
    for name, result in found.items():
        solved = result.test_accuracy > 0.95
        assert (
            solved.all() if name in ("mixture", "oracle", "hidden") else ~solved.any()
        )


def test_the_counts_are_those_of_the_test_set(found):
    for result in found.values():
        assert (result.dispatch_counts.sum(dim=(1, 2)) == 200).all()
    oracle = found["oracle"].dispatch_counts
    assert (oracle.diagonal(dim1=1, dim2=2).sum(-1) == 200).all()


def test_the_same_seeds_give_the_same_numbers(found):
    splits = [toy_splits(seed) for seed in SEEDS]
    again = train_weak(splits, WeakConfig(num_experts=4), TRAINING, seeds=SEEDS)
    assert torch.equal(again.test_accuracy, found["mixture"].test_accuracy)
    assert torch.equal(again.dispatch_counts, found["mixture"].dispatch_counts)


def test_the_epoch_is_chosen_on_the_validation_set():
    # Validation labels are turned round: the best epoch is the worst one for the test.
    splits = toy_splits(0)
    wrong = replace(splits.validation, y=-splits.validation.y)
    turned = replace(splits, validation=wrong)
    good, bad = (
        train_weak([one], WeakConfig(hidden=8), TRAINING, seeds=[0])
        for one in (splits, turned)
    )
    assert bad.test_accuracy < 0.8
    assert good.test_accuracy > 0.95


def test_one_step_of_a_single_linear_expert_is_that_of_plain_torch():
    splits = toy_splits(1, n=100)  # one batch
    training = WeakTraining(optimizer="sgd", lr=0.1, weight_decay=0.2, epochs=1)
    plain = WeakModel(WeakConfig(), dim=4, num_classes=2, seeds=[5])
    weight, bias = plain.weight[0].detach(), plain.bias[0].detach()
    data = stack([splits.train], WeakConfig(), [5])
    weight.requires_grad_(), bias.requires_grad_()
    loss = cross_entropy(data.x[0] @ weight + bias, data.y[0])
    gradients = torch.autograd.grad(loss, (weight, bias))
    with torch.no_grad():
        for value, gradient in zip((weight, bias), gradients, strict=True):
            value -= 0.1 * (gradient + 0.2 * value)
        test = stack([splits.test], WeakConfig(), [5])
        right = (test.x[0] @ weight + bias).argmax(-1) == test.y[0]
    got = train_weak([splits], WeakConfig(), training, seeds=[5])
    assert got.test_accuracy.item() == pytest.approx(right.double().mean().item())


def test_lots_are_fixed_and_differ_between_runs():
    config = WeakConfig(num_experts=4, routing="random")
    sides = [toy_splits(0).train, toy_splits(1).train]
    first, again = (stack(sides, config, SEEDS) for _ in range(2))
    assert isinstance(first, Stacked)
    assert torch.equal(first.lot, again.lot)
    assert not torch.equal(first.lot[0], first.lot[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_experts": 0}, "num_experts must be at least 1, got 0"),
        ({"routing": "best"}, "routing must be one of"),
        ({"num_experts": 4, "hidden": 3}, "hidden must be 0 for a mixture of 4"),
        ({"activation": "sine"}, "activation must be one of"),
    ],
)
def test_bad_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        WeakConfig(**change)


def test_bad_trainings_are_refused():
    with pytest.raises(ValueError, match="optimizer must be one of"):
        WeakTraining(optimizer="lion")
    with pytest.raises(ValueError, match="lr must be"):
        WeakTraining(lr=0.0)
    with pytest.raises(
        ValueError, match="seeds must be one for each of 1 splits, got 2"
    ):
        train_weak([toy_splits(0)], WeakConfig(), TRAINING, seeds=[0, 1])
    oracle = WeakConfig(num_experts=1, routing="oracle")
    with pytest.raises(ValueError, match="at least the number of clusters 2"):
        train_weak([toy_splits(0)], oracle, TRAINING, seeds=[0])


def test_the_way_of_training_is_chosen_on_the_validation_sets():
    splits, config = [toy_splits(seed) for seed in SEEDS], WeakConfig(hidden=8)
    ways = [replace(TRAINING, epochs=1, lr=1e-4), replace(TRAINING, epochs=20)]
    one, other = (train_weak(splits, config, way, seeds=SEEDS) for way in ways)
    found = best_of(splits, config, ways, seeds=SEEDS)
    assert one.validation_accuracy.mean() < other.validation_accuracy.mean()
    assert torch.equal(found.test_accuracy, other.test_accuracy)
    # Turned round there, labels make the worst way for the test the best one.
    turned = [
        replace(s, validation=replace(s.validation, y=-s.validation.y)) for s in splits
    ]
    bad = best_of(turned, config, ways, seeds=SEEDS)
    assert one.test_accuracy.mean() < other.test_accuracy.mean()
    assert torch.equal(bad.test_accuracy, one.test_accuracy)
