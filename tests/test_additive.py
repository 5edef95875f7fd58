"""Networks that are sums of patch scores, and how they are trained."""

import math
from dataclasses import replace

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import additive as module
from moe_lib import setting
from moe_lib.additive import BATCH, LOSSES, AdditiveNet, AdditiveRun
from moe_lib.data import sample_dataset, sample_signals
from moe_lib.rng import generator
from tests import reference
from tests.toys import normal, source

ACTIVATIONS = tuple(reference.ACTIVATIONS)
TINY = AdditiveRun(
    name="tiny", strongest=1.0, width=16, steps=60, num_examples=2 * BATCH, seeds=2
)


@pytest.fixture(autouse=True)
def _fresh():
    module._data.cache_clear()
    yield
    module._data.cache_clear()


def slow_outputs(net, x, activation):
    """F(x) by run and example, one patch after the other."""
    sigma = reference.ACTIVATIONS[activation]
    rows = []
    for run in range(len(net.weights[0])):
        row = []
        for patches in x:
            total = 0.0
            for z in patches:
                last = len(net.weights) - 1
                for layer, (w, b) in enumerate(
                    zip(net.weights, net.biases, strict=True)
                ):
                    z = (
                        torch.stack([(z * column).sum() for column in w[run].T])
                        + b[run, 0]
                    )
                    if layer < last:
                        z = torch.stack([sigma(unit) for unit in z])
                total = total + z.item()
            row.append(total)
        rows.append(row)
    return rows


@given(
    activation=st.sampled_from(ACTIVATIONS),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    runs=st.integers(1, 2),
    n=st.integers(1, 3),
)
def test_the_network_equals_a_loop_over_patches(activation, widths, runs, n):
    net = AdditiveNet(activation, widths, dim=5, seeds=range(runs)).double()
    x = 2 * normal(n, 4, 5)
    slow = torch.tensor(slow_outputs(net, x, activation), dtype=torch.float64)
    torch.testing.assert_close(net(x), slow)


def test_the_order_of_patches_does_not_matter():
    net = AdditiveNet("relu", (6, 5), dim=5, seeds=range(2)).double()
    x = normal(20, 4, 5)
    order = torch.rand(20, 4, generator=source(1)).argsort(dim=1)
    moved = x.gather(1, order[..., None].expand_as(x))
    assert not torch.equal(moved, x)
    torch.testing.assert_close(net(moved), net(x))


def test_patches_can_be_scored_one_by_one():
    net = AdditiveNet("gelu", (6,), dim=5, seeds=range(2)).double()
    x = normal(20, 4, 5)
    single = [net(x[:, [p]]) for p in range(4)]
    torch.testing.assert_close(sum(single), net(x))


def test_a_seed_draws_the_same_bits_alone_and_among_others():
    nets = [
        AdditiveNet("relu", (6, 5), dim=9, seeds=s) for s in (range(4), range(2, 3))
    ]
    for together, alone in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(together[2:3], alone)
        assert not torch.equal(together[1], together[2])


def test_initial_weights_are_uniform_on_the_usual_range():
    net = AdditiveNet("relu", (300, 200), dim=25, seeds=range(2))
    for layer, (fan_in, fan_out) in enumerate([(25, 300), (300, 200), (200, 1)]):
        weight, bias = net.weights[layer], net.biases[layer]
        assert weight.shape == (2, fan_in, fan_out)
        assert bias.shape == (2, 1, fan_out)
        drawn = torch.cat([weight.flatten(), bias.flatten()]) * fan_in**0.5
        assert 0.97 < drawn.abs().max() <= 1
        assert abs(drawn.std().item() - 3**-0.5) < 0.05
        assert abs(drawn.mean().item()) < 0.05


def trained_by_hand(net, data, steps, loss):
    """Adam on one batch after the other, its rate set by hand."""
    adam = torch.optim.Adam(net.parameters())
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 0.001 * (1 + math.cos(math.pi * step / steps)) / 2
        first = (step * BATCH) % len(data)
        batch = slice(first, first + BATCH)
        margin = data.y[batch] * net(data.x[batch])
        if loss == "errors" and step >= steps / 2:
            value = 1 / (1 + torch.exp(margin))
        else:
            value = torch.log(1 + torch.exp(-margin))
        adam.zero_grad()
        value.mean(dim=1).sum().backward()
        adam.step()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("steps", [6, 7])
def test_training_is_adam_by_hand(loss, steps):
    """The loss changes at half of the steps, and the rate ends near 0."""
    config = setting(1)
    signals = sample_signals(config, generator=source())
    data = sample_dataset(config, signals, 3 * BATCH, generator=source(1))
    data = data.to(torch.float64)
    nets = [AdditiveNet("tanh", (5,), dim=50, seeds=range(2)).double() for _ in "ab"]
    plan = replace(TINY, loss=loss, steps=steps)
    plan._train(nets[0], data)
    trained_by_hand(nets[1], data, steps, loss)
    start = AdditiveNet("tanh", (5,), dim=50, seeds=range(2)).double()
    weights = (net.parameters() for net in (*nets, start))
    for got, expected, before in zip(*weights, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)
        assert not torch.allclose(got, before, atol=1e-4)


@pytest.mark.parametrize("steps", [2, 4, 5])
def test_errors_are_counted_in_the_second_half(steps, monkeypatch):
    seen = []

    def spy(owner, name):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda x: seen.append(name) or real(x))

    spy(module.nn.functional, "softplus")
    spy(module.torch, "sigmoid")
    replace(TINY, loss="errors", steps=steps).run(range(1), "cpu")
    first = math.ceil(steps / 2)
    assert seen == ["softplus"] * first + ["sigmoid"] * (steps - first)
    seen.clear()
    replace(TINY, loss="logistic", steps=steps).run(range(1), "cpu")
    assert seen == ["softplus"] * steps


def accuracies(net, data):
    right = data.y * net(data.x) > 0
    return [100 * r.double().mean().item() for r in right]


def test_an_ascent_says_what_its_network_does(monkeypatch):
    """The test set is drawn apart from the training set, with the same signals."""
    monkeypatch.setattr(module, "SLICE", 1000)  # the last part is shorter
    got = TINY.run(range(1, 3), "cpu")
    signals = sample_signals(TINY.data(), generator=generator(0, "signals"))
    train_data, test_data = (
        sample_dataset(
            TINY.data(), signals, 2 * BATCH, generator=generator(0, f"{split}_data")
        )
        for split in ("train", "test")
    )
    net = AdditiveNet("relu", (16,), dim=50, seeds=range(1, 3))
    trained_by_hand(net, train_data, TINY.steps, "logistic")
    assert got["seed"] == [1, 2]
    assert [*got] == ["seed", "test_accuracy", "train_accuracy"]
    one = 100 / (2 * BATCH) + 1e-4  # an example may fall otherwise by rounding
    expected = accuracies(net, test_data)
    assert got["test_accuracy"] == pytest.approx(expected, abs=one)
    expected = accuracies(net, train_data)
    assert got["train_accuracy"] == pytest.approx(expected, abs=one)
    assert got["test_accuracy"] != got["train_accuracy"]


def test_an_ascent_learns_and_is_the_same_again():
    plan = replace(TINY, steps=200)
    got = plan.run(range(2), "cpu")
    assert min(got["test_accuracy"]) > 60  # a coin: 50, with a deviation of 0.8
    assert plan.run(range(2), "cpu") == got


def test_a_restart_is_the_same_alone_and_among_others():
    together, alone = TINY.run(range(3), "cpu"), TINY.run(range(1, 2), "cpu")
    assert len({*together["test_accuracy"]}) == 3
    for name in ("test_accuracy", "train_accuracy"):
        assert alone[name] == pytest.approx(together[name][1:2], abs=0.03)


def test_networks_of_equal_data_share_them():
    first = module._data(TINY.data(), TINY.num_examples, "cpu")
    again = module._data(replace(TINY, loss="errors").data(), 2 * BATCH, "cpu")
    assert again is first
    other = module._data(replace(TINY, strongest=2.0).data(), 2 * BATCH, "cpu")
    assert other is not first


@pytest.mark.parametrize("strongest", [0.5001, 1.0, 6.0])
def test_only_the_strongest_noise_differs_from_setting_1(strongest):
    data = AdditiveRun(name="x", strongest=strongest).data()
    assert data.gamma == (0.5, strongest)
    assert replace(data, gamma=setting(1).gamma) == setting(1)


@pytest.mark.parametrize("layers", [1, 3])
def test_an_ascent_builds_the_network_it_names(layers, monkeypatch):
    built = []
    real = AdditiveNet

    def spy(*args, **kwargs):
        built.append((args, kwargs))
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "AdditiveNet", spy)
    plan = replace(TINY, layers=layers, width=7, activation="tanh", steps=1)
    plan.run(range(2), "cpu")
    assert built == [(("tanh", (7,) * layers), {"dim": 50, "seeds": range(2)})]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss": "hinge"}, ValueError, "loss must be one of logistic, errors, got 'h"),
        ({"activation": "sigmoid"}, ValueError, "activation must be one of linear, cu"),
        ({"layers": 0}, ValueError, "layers must be at least 1, got 0"),
        ({"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 1.5}, TypeError, "steps must be an integer, got 1.5"),
        ({"num_examples": BATCH - 1}, ValueError, "num_examples must be at least 204"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1, got 0"),
        ({"strongest": 0.4}, ValueError, r"gamma must have low <= high, got \(0.5, 0"),
        ({"strongest": math.inf}, ValueError, "gamma bound must be finite and posit"),
    ],
)
def test_an_ascent_that_cannot_run_is_refused(change, error, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(error, match=f"^{message}"):
        replace(TINY, **change)
