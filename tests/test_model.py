"""The mixture and the single expert against the slow loop, and against each other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import ModelConfig, MoE, SingleExpert
from moe_lib.config import ACTIVATION_NAMES
from moe_lib.losses import logistic_loss
from moe_lib.rng import generator
from tests import reference
from tests.toys import moe, normal, signs, single, uniform

shapes = st.fixed_dictionaries(
    {
        "runs": st.integers(1, 3),
        "n": st.integers(1, 6),
        "patches": st.integers(3, 6),
        "dim": st.integers(1, 5),
        "filters": st.integers(1, 3),
        "shared": st.booleans(),
    }
)
activations = st.sampled_from(ACTIVATION_NAMES)


def inputs(shape):
    sizes = [shape["n"], shape["patches"], shape["dim"]]
    x = normal(*sizes) if shape["shared"] else normal(shape["runs"], *sizes)
    return x, x.expand(shape["runs"], *sizes)


def gradients(loss, model):
    return torch.autograd.grad(loss, list(model.parameters()))


def weights(parameter):
    return [w.detach().clone().requires_grad_() for w in parameter]


@given(
    shape=shapes,
    experts=st.integers(1, 4),
    activation=activations,
    noisy=st.booleans(),
)
def test_mixture_equals_the_loop(shape, experts, activation, noisy):
    x, x_of_run = inputs(shape)
    runs, n = shape["runs"], shape["n"]
    y, noise = signs(n, seed=1), uniform(runs, n, experts, seed=2) if noisy else None
    model = moe(
        runs=runs,
        experts=experts,
        filters=shape["filters"],
        dim=shape["dim"],
        activation=activation,
    )
    out = model(x, router_noise=noise)
    fast = gradients(logistic_loss(out.output, y).sum(), model)
    theta, filters = weights(model.router_weight), weights(model.expert_weight)
    for s in range(runs):
        slow, chosen = reference.moe_outputs(
            x_of_run[s],
            theta[s],
            filters[s],
            activation,
            noise[s] if noisy else None,
        )
        torch.testing.assert_close(out.output[s], slow)
        assert out.routing.expert_index[s].tolist() == chosen
        wanted = torch.autograd.grad(reference.loss(slow, y), [filters[s], theta[s]])
        torch.testing.assert_close(fast[0][s], wanted[0])
        torch.testing.assert_close(fast[1][s], wanted[1])


@given(shape=shapes, activation=activations)
def test_single_expert_equals_the_loop(shape, activation):
    x, x_of_run = inputs(shape)
    y = signs(shape["n"], seed=1)
    model = single(
        runs=shape["runs"],
        filters=shape["filters"],
        dim=shape["dim"],
        activation=activation,
    )
    out = model(x)
    (fast,) = gradients(logistic_loss(out.output, y).sum(), model)
    assert out.routing is None
    for s, filters in enumerate(weights(model.expert_weight[:, 0])):
        slow = reference.single_outputs(x_of_run[s], filters, activation)
        torch.testing.assert_close(out.output[s], slow)
        (wanted,) = torch.autograd.grad(reference.loss(slow, y), [filters])
        torch.testing.assert_close(fast[s, 0], wanted)


@given(shape=shapes, activation=activations)
def test_mixture_of_one_equals_the_single_expert(shape, activation):
    x, _ = inputs(shape)
    sizes = {k: shape[k] for k in ("runs", "filters", "dim")}
    y, noise = signs(shape["n"]), uniform(shape["runs"], shape["n"], 1)
    one = single(**sizes, activation=activation)
    mixture = moe(experts=1, **sizes, activation=activation)
    mixture.load_state_dict(
        {**mixture.state_dict(), "expert_weight": one.expert_weight}
    )
    outputs = mixture(x, router_noise=noise).output, one(x).output
    torch.testing.assert_close(*outputs)
    experts, router = gradients(logistic_loss(outputs[0], y).sum(), mixture)
    (wanted,) = gradients(logistic_loss(outputs[1], y).sum(), one)
    torch.testing.assert_close(experts, wanted)
    assert router.abs().max() < 1e-12


@pytest.mark.parametrize("make", [moe, single])
@pytest.mark.parametrize("activation", ["linear", "cubic"])
def test_a_given_patch_sum_changes_nothing(make, activation):
    x, model = normal(7, 4, 6), make(activation=activation)
    given_sum = model(x, patch_sum=x.sum(dim=-2)).output
    assert torch.equal(given_sum, model(x).output)


@pytest.mark.parametrize("make", [moe, single])
def test_shared_x_equals_the_same_x_for_each_run(make):
    x, model = normal(7, 4, 6), make(runs=3)
    each = x.expand(3, *x.shape).contiguous()
    torch.testing.assert_close(model(x).output, model(each).output)


@pytest.mark.parametrize("make", [moe, single])
def test_runs_do_not_interact(make):
    x, model = normal(3, 7, 4, 6), make(runs=3)
    (gradient, *_) = gradients(model(x).output[1].sum(), model)
    assert gradient[1].abs().max() > 0
    assert gradient[[0, 2]].abs().max() == 0


@pytest.mark.parametrize("model_class", [MoE, SingleExpert])
def test_a_run_starts_from_its_own_seed_only(model_class):
    config = ModelConfig()
    together = model_class(config, dim=10, seeds=[4, 5, 6]).expert_weight
    alone = model_class(config, dim=10, seeds=[5]).expert_weight
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together[0], together[1])


def test_initial_filters_come_from_the_stream_of_that_name():
    weight = MoE(ModelConfig(init_scale=0.5), dim=10, seeds=[5]).expert_weight[0]
    drawn = torch.randn(8, 16, 10, generator=generator(5, "init"))
    assert torch.equal(weight, 0.5 * drawn)


def test_initial_filters_are_normal_and_the_router_is_zero():
    config = ModelConfig(init_scale=0.02)
    model = MoE(config, dim=50, seeds=[0])
    filters = model.expert_weight.detach().double()
    assert model.expert_weight.shape == (1, 8, 16, 50)
    assert model.router_weight.shape == (1, 50, 8)
    assert not model.router_weight.any()
    # 6,400 draws: four standard errors of the mean and of the standard deviation
    assert filters.mean().item() == pytest.approx(0, abs=4 * 0.02 / 80)
    assert filters.std().item() == pytest.approx(0.02, abs=4 * 0.02 / (80 * 2**0.5))


def test_a_fresh_mixture_gives_every_expert_the_same_weight():
    model = MoE(ModelConfig(num_experts=5), dim=6, seeds=[0])
    routing = model(normal(4, 3, 6).float()).routing
    torch.testing.assert_close(routing.probs, torch.full((1, 4, 5), 0.2))


def test_a_single_expert_ignores_the_number_of_experts():
    model = SingleExpert(ModelConfig(num_experts=8, num_filters=3), dim=6, seeds=[0])
    assert model.expert_weight.shape == (1, 1, 3, 6)
