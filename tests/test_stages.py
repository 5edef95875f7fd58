"""Coverage, the turn of the router, and the mean field against what it stands for."""

from dataclasses import replace
from itertools import product

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import ModelConfig, MoE, TrainConfig, setting, stages
from moe_lib.data import sample_dataset, sample_signals
from moe_lib.losses import logistic_loss
from moe_lib.stages import coverage_probability, mean_field, router_turn_step
from moe_lib.train import train
from tests.toys import data_config, draw, source, uniform

# Coverage.


@pytest.mark.parametrize(("k", "m"), [*product([2, 3, 4], range(1, 7))])
def test_coverage_equals_the_count_of_all_throws(k, m):
    throws = [len(set(boxes)) == k for boxes in product(range(k), repeat=m)]
    assert coverage_probability(k, m) == pytest.approx(sum(throws) / len(throws))


@pytest.mark.parametrize(
    ("k", "m", "known"),
    [
        *((4, 4, 0.094), (4, 8, 0.623), (4, 12, 0.875), (4, 16, 0.960)),
        *((4, 24, 0.996), (8, 16, 0.307), (8, 32, 0.891), (8, 48, 0.987)),
    ],
)
def test_known_coverage(k, m, known):
    assert coverage_probability(k, m) == pytest.approx(known, abs=5e-4)


@pytest.mark.parametrize("k", [2, 5, 9])
def test_too_few_experts_never_cover(k):
    assert [coverage_probability(k, m) for m in range(1, k)] == [0] * (k - 1)
    assert coverage_probability(k, k) > 0


def test_coverage_of_many_experts_has_no_rounding():
    values = [coverage_probability(30, m) for m in range(30, 700, 10)]
    assert values == sorted(values)
    assert 0 < values[0] < 1e-8
    assert 1 - 1e-6 < values[-1] <= 1


@pytest.mark.parametrize(
    ("k", "m", "message"),
    [
        (1, 3, "num_clusters must be at least 2, got 1"),
        (2, 0, "num_experts must be at least 1, got 0"),
    ],
)
def test_coverage_needs_clusters_and_experts(k, m, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        coverage_probability(k, m)


# The turn of the router.


def turn(data=None, *, m=8, **rates):
    train_config = TrainConfig(**{"expert_lr": 0.01, "router_lr": 1.0, **rates})
    return router_turn_step(
        data or setting(1), ModelConfig(num_experts=m), train_config
    )


def test_the_turn_by_hand():
    """Setting 1: E beta = 3/2, E alpha^3 = (2^4 - 1/2^4) / (4 * 3/2) = 2.65625."""
    gain = 0.5 * (1 / 8) * (7 / 8) * 1.5**2 * 2.65625 * 1.0 * 0.01**3
    assert turn() == pytest.approx((4 * 4 * 8 / gain) ** 0.25)
    assert turn() == pytest.approx(140.7, abs=0.05)


@given(st.floats(1e-3, 1e3))
def test_the_turn_follows_powers_of_the_rates(factor):
    by_experts = turn(expert_lr=0.01 * factor)
    assert by_experts / turn() == pytest.approx(factor ** (-3 / 4))
    by_router = turn(router_lr=factor)
    assert by_router / turn() == pytest.approx(factor ** (-1 / 4))


@given(st.integers(2, 50), st.integers(2, 50))
def test_the_turn_by_the_numbers_of_clusters_and_experts(k, m):
    data = replace(setting(1), num_clusters=k, dim=100)
    assert turn(data) / turn() == pytest.approx((k / 4) ** 0.25)
    ratio = m**2 / (1 - 1 / m) / (8**2 / (1 - 1 / 8))
    assert turn(m=m) / turn() == pytest.approx(ratio**0.25)


def scaled(data, c):
    """All patches times c."""
    strengths = {
        name: tuple(c * bound for bound in getattr(data, name))
        for name in ("alpha", "beta", "gamma")
    }
    return replace(data, **strengths, sigma_p=c * data.sigma_p)


@given(st.floats(0.1, 10.0))
def test_larger_patches_and_smaller_rates_turn_at_the_same_step(c):
    rates = {"expert_lr": 0.01 / c, "router_lr": 1 / c**2}
    assert turn(scaled(setting(1), c), **rates) == pytest.approx(turn())


def test_the_turn_of_fixed_strengths():
    data = data_config(alpha=(2.0, 2.0), beta=(3.0, 3.0))
    gain = 0.5 * (1 / 2) * (1 / 2) * 3**2 * 2**3 * 0.5 * 0.1**3
    found = turn(data, m=2, expert_lr=0.1, router_lr=0.5)
    assert found == pytest.approx((4 * 2 * 2 / gain) ** 0.25)


def test_a_router_that_never_turns_is_refused():
    with pytest.raises(ValueError, match=r"^num_experts must be at least 2, got 1$"):
        turn(m=1)
    message = r"^expert_lr and router_lr must be positive, got 0.0 and 1.0$"
    with pytest.raises(ValueError, match=message):
        turn(expert_lr=0.0)
    with pytest.raises(ValueError, match=r"^expert_lr and .* got 0.01 and 0.0$"):
        turn(router_lr=0.0)


# The mean field.

MILD = data_config(
    num_clusters=3,
    alpha=(0.8, 1.2),
    beta=(1.0, 1.5),
    gamma=(0.7, 1.3),
    sigma_p=0.0,
)


def start(*shape, scale=1.0, seed=0):
    """Alignments of either sign and of comparable size, [..., M, J, K]."""
    random = np.random.default_rng(seed)
    size = random.uniform(0.5, 1.0, shape) * random.choice([-1, 1], shape)
    return scale * size


def gradients(weight, router, *, chunks=40, n=20_000):
    """Autograd's gradients of many samples: of experts and router, along v and c."""
    generator = source(1)
    signals = sample_signals(MILD, generator=generator)
    v, c = signals.feature.double(), signals.center.double()
    m, j, _ = weight.shape
    model = MoE(ModelConfig(num_experts=m, num_filters=j), dim=MILD.dim, seeds=[0])
    model.double()
    model.expert_weight.data[0] = torch.from_numpy(weight) @ v
    model.router_weight.data[0] = (torch.from_numpy(router) @ c).T
    rows = []
    for chunk in range(chunks):
        data = sample_dataset(MILD, signals, n, generator=generator).to(torch.float64)
        output = model(data.x, router_noise=uniform(1, n, m, seed=chunk)).output
        model.zero_grad()
        logistic_loss(output, data.y).sum().backward()
        experts, routers = model.expert_weight.grad[0], model.router_weight.grad[0].T
        rows.append((experts @ v.T, experts @ c.T, routers @ c.T, routers @ v.T))
    parts = [torch.stack(part).numpy() for part in zip(*rows, strict=True)]
    return [(part.mean(axis=0), part.std(axis=0) / chunks**0.5) for part in parts]


def test_velocities_are_the_gradients_of_autograd():
    """On 800,000 examples, at a state where slopes and choices are far from even."""
    plan = TrainConfig(steps=6, expert_lr=0.15, router_lr=2.0)
    path = mean_field(start(4, 2, 3), MILD, plan)
    weight, router = path.expert_feature[5], path.router_center[5]
    direction = (path.expert_feature[6] - weight) / 0.15
    velocity = (path.router_center[6] - router) / 2.0
    assert np.ptp(path.dispatch[5], axis=1).min() > 0.2
    assert np.abs((weight**3).sum(axis=1)).max() > 1

    experts, experts_c, routers, routers_v = gradients(weight, router)
    length = np.sqrt((experts[0] ** 2).sum(axis=(1, 2), keepdims=True))
    off = np.abs(direction + experts[0] / length) * length / experts[1]
    assert off.max() < 4  # standard errors
    assert (np.abs(velocity + routers[0]) / routers[1]).max() < 4
    assert (np.abs(routers_v[0]) / routers_v[1]).max() < 4
    assert np.abs(experts_c[0]).max() < 1e-8  # signals are of single precision


def test_every_expert_that_is_chosen_moves_by_its_rate():
    plan = TrainConfig(steps=60, expert_lr=0.02, router_lr=50.0)
    path = mean_field(start(8, 2, 3, scale=0.1), MILD, plan)
    step = np.sqrt((np.diff(path.expert_feature, axis=0) ** 2).sum(axis=(-2, -1)))
    idle = path.dispatch[:-1].sum(axis=1) == 0
    assert 0 < idle[-1].sum() < 8
    np.testing.assert_allclose(step[~idle], 0.02, rtol=1e-9)
    assert (step[idle] == 0).all()


def test_the_field_starts_as_it_is_told_and_routes_at_random():
    initial = start(5, 2, 3)
    path = mean_field(initial, MILD, TrainConfig(steps=4))
    assert path.expert_feature.shape == (5, 5, 2, 3)
    assert path.router_center.shape == (5, 5, 3)
    assert path.dispatch.shape == (5, 3, 5)
    assert (path.expert_feature[0] == initial).all()
    assert (path.router_center[0] == 0).all()
    np.testing.assert_allclose(path.dispatch[0], 1 / 5, rtol=1e-12)


@pytest.mark.parametrize("flow", [False, True])
def test_shares_sum_to_one_and_router_columns_to_zero(flow):
    plan = TrainConfig(steps=40, expert_lr=0.02, router_lr=10.0)
    path = mean_field(start(6, 2, 3, scale=0.1), MILD, plan, flow=flow)
    assert (path.dispatch >= 0).all()
    np.testing.assert_allclose(path.dispatch.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(path.router_center.sum(axis=1), 0, atol=1e-9)
    assert path.dispatch[-1].max() > 0.7  # routing has turned


def slow_dispatch(router, beta, n=2000):
    """The mean over beta by midpoints, of the closed form for two experts."""
    shares = []
    for first, second in router.T:
        total = 0.0
        for i in range(n):
            strength = beta[0] + (beta[1] - beta[0]) * (i + 0.5) / n
            t = strength * (first - second)
            assert abs(t) < 1
            total += (1 + t) ** 2 / 2 if t < 0 else 1 - (1 - t) ** 2 / 2
        shares.append([total / n, 1 - total / n])
    return shares


def test_dispatch_is_the_mean_over_beta():
    plan = TrainConfig(steps=12, expert_lr=0.02, router_lr=50.0)
    path = mean_field(start(2, 2, 3, scale=0.1), MILD, plan)
    shares = slow_dispatch(path.router_center[-1], MILD.beta)
    assert np.ptp(shares) > 0.1
    np.testing.assert_allclose(path.dispatch[-1], shares, atol=1e-6)


def test_few_nodes_are_enough_until_routing_has_turned(monkeypatch):
    initial = start(8, 4, 4, scale=1e-3)
    plan = TrainConfig(steps=150)
    few = mean_field(initial, setting(1), plan)
    monkeypatch.setattr(stages, "NODES", 16)
    many = mean_field(initial, setting(1), plan)
    assert many.dispatch[-1].max() > 0.9
    assert not np.array_equal(many.dispatch, few.dispatch)
    np.testing.assert_allclose(few.dispatch, many.dispatch, atol=0.002)
    np.testing.assert_allclose(few.router_center, many.router_center, atol=0.006)


def test_runs_do_not_meet():
    initial = start(2, 3, 4, 2, 3, scale=0.1)
    plan = TrainConfig(steps=20, expert_lr=0.02, router_lr=5.0)
    together = mean_field(initial, MILD, plan)
    assert together.expert_feature.shape == (21, 2, 3, 4, 2, 3)
    assert together.dispatch.shape == (21, 2, 3, 3, 4)
    for at in np.ndindex(2, 3):
        alone = mean_field(initial[at], MILD, plan)
        for name in ("expert_feature", "router_center", "dispatch"):
            part = getattr(together, name)[:, *at]
            np.testing.assert_allclose(part, getattr(alone, name), atol=1e-12)


def test_positive_alignments_keep_their_order():
    """Within expert and cluster to the end; between clusters while outputs are small.

    Later the loss is flatter where an expert is better, so that another cluster can
    catch up.
    """
    random = np.random.default_rng(0)
    sizes = np.tile(np.linspace(5e-4, 15e-4, 20), (6, 1))
    initial = random.permuted(sizes, axis=1).reshape(6, 5, 4)
    path = mean_field(initial, setting(1), TrainConfig(steps=200))
    within = path.expert_feature.argsort(axis=-2)
    assert (within == within[0]).all()
    early = path.expert_feature[:30].reshape(30, 6, 20)
    assert early[-1].max() > 100 * early[0].max()
    assert (early.argsort(axis=-1) == early[0].argsort(axis=-1)).all()
    assert path.dispatch[-1].max() > 0.9  # routing has turned


def test_clusters_experts_and_filters_have_no_names():
    initial = start(4, 2, 3, scale=0.1)
    plan = TrainConfig(steps=20, expert_lr=0.02, router_lr=5.0)
    path = mean_field(initial, MILD, plan)
    m, j, k = [2, 0, 3, 1], [1, 0], [1, 2, 0]
    renamed = mean_field(initial[m][:, j][:, :, k], MILD, plan)
    feature = path.expert_feature[:, m][:, :, j][..., k]
    np.testing.assert_allclose(renamed.expert_feature, feature, atol=1e-12)
    router = path.router_center[:, m][..., k]
    np.testing.assert_allclose(renamed.router_center, router, atol=1e-12)
    np.testing.assert_allclose(renamed.dispatch, path.dispatch[:, k][..., m])


def test_ever_shorter_steps_approach_the_flow():
    """At the same eta times steps; the router's rate falls in proportion."""
    initial = start(4, 2, 3, scale=0.3)

    def plan(parts):
        rates = {"expert_lr": 0.02 / parts, "router_lr": 5.0 / parts}
        return TrainConfig(steps=30 * parts, **rates)

    limit = mean_field(initial, MILD, plan(1), flow=True)
    same = mean_field(initial, MILD, plan(3), flow=True)
    np.testing.assert_allclose(
        same.expert_feature[::3], limit.expert_feature, atol=1e-4
    )
    errors = []
    for parts in (1, 2, 4, 8):
        path = mean_field(initial, MILD, plan(parts))
        gaps = [
            np.abs(getattr(path, name)[::parts] - getattr(limit, name)).max()
            for name in ("expert_feature", "router_center")
        ]
        errors.append(gaps)
    assert np.abs(limit.router_center[-1]).max() > 0.2
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert ((ratios > 1.6) & (ratios < 2.4)).all()  # of first order
    assert np.max(errors[-1]) < 0.02


@pytest.mark.parametrize("flow", [False, True])
def test_the_field_is_the_same_at_any_scale(flow):
    initial = start(4, 2, 3, scale=0.1)
    rates = {"expert_lr": 0.02, "router_lr": 5.0}
    small = {"expert_lr": 0.02 / 4, "router_lr": 5.0 / 16}
    path = mean_field(initial, MILD, TrainConfig(steps=30, **rates), flow=flow)
    large = mean_field(
        initial / 4, scaled(MILD, 4), TrainConfig(steps=30, **small), flow=flow
    )
    np.testing.assert_allclose(large.dispatch, path.dispatch, atol=1e-3 if flow else 0)
    np.testing.assert_allclose(
        4 * large.expert_feature, path.expert_feature, atol=1e-3 if flow else 0
    )


def test_bad_alignments_are_refused():
    message = (
        r"^initial must have num_clusters = 3 as its last axis, got shape \[2, 2, 4"
    )
    with pytest.raises(ValueError, match=message):
        mean_field(start(2, 2, 4), MILD, TrainConfig(steps=1))
    with pytest.raises(
        ValueError, match=r"^initial must be of one run, got \[5, 2, 2,"
    ):
        mean_field(start(5, 2, 2, 3), MILD, TrainConfig(steps=1), flow=True)


# Algorithm 1 itself.


def test_training_is_the_same_at_any_scale():
    """Patches times 4: all powers of two, so that not a bit is rounded otherwise."""
    data = draw(setting(1), 300)
    histories = []
    for c in (1, 4):
        config = ModelConfig(num_experts=4, num_filters=3, init_scale=0.3 / c)
        model = MoE(config, dim=50, seeds=[0, 1])
        plan = TrainConfig(steps=40, expert_lr=0.05 / c, router_lr=4.0 / c**2)
        histories.append(train(model, replace(data, x=c * data.x), plan))
    one, other = histories
    assert torch.equal(one.loss, other.loss)
    assert torch.equal(one.accuracy, other.accuracy)
    assert torch.equal(one.dispatch_counts, other.dispatch_counts)
    assert one.loss[-1].max() < 0.5 * one.loss[0].min()
    assert not torch.equal(one.dispatch_counts[0], one.dispatch_counts[-1])


def test_the_law_is_for_cubic_experts():
    linear = ModelConfig(activation="linear")
    with pytest.raises(ValueError, match=r"^activation must be one of cubic, got 'lin"):
        router_turn_step(setting(1), linear, TrainConfig())


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        (
            np.zeros((3, 4)),
            r"^initial must have at least 3 axes, .* shape \[3, 4\]$",
        ),
        (np.full((2, 3, 4), np.nan), "^initial must be finite, got 24 NaN"),
    ],
)
def test_alignments_of_no_use_are_refused(initial, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        mean_field(initial, setting(1), TrainConfig(steps=1))
