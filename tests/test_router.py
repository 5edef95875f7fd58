"""The router: logits, noise for the choice only, top-1."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib.losses import logistic_loss
from moe_lib.router import route, router_logits, sample_router_noise
from tests import reference
from tests.toys import moe, normal, signs, uniform

sizes = st.integers(1, 4)


@given(runs=sizes, n=sizes, dim=sizes, experts=sizes, shared=st.booleans())
def test_logits_equal_the_loop(runs, n, dim, experts, shared):
    x = normal(*([] if shared else [runs]), n, 3, dim)
    theta = normal(runs, dim, experts, seed=1)
    fast = router_logits(x.sum(dim=-2), theta)
    assert fast.shape == (runs, n, experts)
    for s in range(runs):
        for i in range(n):
            slow = reference.logits(x[i] if shared else x[s, i], theta[s])
            torch.testing.assert_close(fast[s, i], torch.stack(slow))


@given(n=st.integers(1, 6), experts=sizes, noisy=st.booleans())
def test_route_equals_the_loop(n, experts, noisy):
    logits = normal(2, n, experts)
    noise = uniform(2, n, experts, seed=1) if noisy else None
    routing = route(logits, noise)
    for s in range(2):
        for i in range(n):
            h = logits[s, i]
            m = reference.choice(h, noise[s, i] if noisy else None)
            pi = torch.stack(reference.gate(h))
            assert routing.expert_index[s, i] == m
            torch.testing.assert_close(routing.probs[s, i], pi)
            torch.testing.assert_close(routing.gate_value[s, i], pi[m])


def test_noise_moves_the_choice_and_nothing_else():
    logits = normal(1, 200, 4) / 5
    clean, noisy = route(logits), route(logits, uniform(1, 200, 4, seed=1))
    assert (clean.expert_index != noisy.expert_index).any()
    assert torch.equal(clean.probs, noisy.probs)
    assert torch.equal(noisy.logits, logits)
    expected = clean.probs.gather(-1, noisy.expert_index[..., None])[..., 0]
    assert torch.equal(noisy.gate_value, expected)


def test_ties_go_to_the_lowest_index():
    assert route(torch.zeros(1, 3, 4)).expert_index.tolist() == [[0, 0, 0]]


def test_gate_of_one_expert_is_one():
    assert torch.equal(route(normal(1, 5, 1)).gate_value, torch.ones(1, 5).double())


def test_no_gradient_flows_through_the_choice():
    noise = uniform(1, 5, 3).requires_grad_()
    logits = normal(1, 5, 3).requires_grad_()
    routing = route(logits, noise)
    assert not routing.expert_index.requires_grad
    routing.gate_value.sum().backward()
    assert noise.grad is None
    assert logits.grad.abs().max() > 0


@pytest.mark.parametrize("activation", ["linear", "cubic"])
def test_router_gradient_equals_the_closed_form_and_sums_to_zero(activation):
    x, y, noise = normal(12, 3, 6), signs(12, seed=1), uniform(1, 12, 4, seed=2)
    model = moe(experts=4, activation=activation)
    logistic_loss(model(x, router_noise=noise).output, y).sum().backward()
    gradient = model.router_weight.grad[0]
    theta, filters = model.router_weight[0].detach(), model.expert_weight[0].detach()
    slow = reference.router_gradient(x, y, theta, filters, activation, noise[0])
    torch.testing.assert_close(gradient, torch.from_numpy(slow))
    assert gradient.abs().min() > 0  # every theta moves, not only the chosen one
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(6).double())


def test_noise_is_uniform_on_the_unit_interval():
    noise = sample_router_noise(5000, 4, seeds=[0], step=0)
    assert noise.min() >= 0
    assert noise.max() < 1
    # mean and variance of Uniform[0, 1), within four standard errors of 20,000 draws
    assert noise.mean().item() == pytest.approx(1 / 2, abs=4 * (1 / 12 / 2e4) ** 0.5)
    assert noise.var().item() == pytest.approx(1 / 12, abs=4 * (1 / 180 / 2e4) ** 0.5)


def test_noise_is_fresh_for_run_example_expert_and_step():
    draws = [sample_router_noise(50, 3, seeds=[0, 1], step=step) for step in range(2)]
    noise = torch.stack(draws)
    assert noise.shape == (2, 2, 50, 3)
    assert len(noise.unique()) > 0.999 * noise.numel()


def test_noise_of_a_run_depends_on_its_seed_only():
    together = sample_router_noise(9, 3, seeds=[0, 1], step=7)
    alone = sample_router_noise(9, 3, seeds=[1], step=7)
    assert torch.equal(together[1:], alone)


def test_noise_equals_the_loop():
    noise = sample_router_noise(9, 3, seeds=[6], step=5)[0].double()
    assert torch.equal(noise, reference.router_noise(6, 5, 9, 3))
    evaluation = sample_router_noise(9, 3, seeds=[6], step=5, stream="evaluation_noise")
    expected = reference.router_noise(6, 5, 9, 3, stream=5)
    assert torch.equal(evaluation[0].double(), expected)


def test_zero_logits_share_examples_evenly():
    n, experts = 16_000, 8
    noise = sample_router_noise(n, experts, seeds=[0], step=0)
    load = route(torch.zeros(1, n, experts), noise).expert_index[0].bincount()
    sd = (n * (1 / experts) * (1 - 1 / experts)) ** 0.5
    assert (load - n / experts).abs().max() < 4 * sd


def test_a_gap_of_one_makes_the_choice_certain_and_a_smaller_one_does_not():
    noise = sample_router_noise(20_000, 2, seeds=[0], step=0)
    logits = torch.tensor([1.0, 0.0]).expand(1, 20_000, 2)
    assert (route(logits, noise).expert_index == 0).all()
    assert (route(0.9 * logits, noise).expert_index == 1).any()


def test_noise_can_be_drawn_into_memory_that_is_there():
    out = torch.empty(2, 9, 3)
    noise = sample_router_noise(9, 3, seeds=[0, 1], step=7, out=out)
    assert noise is out
    assert torch.equal(noise, sample_router_noise(9, 3, seeds=[0, 1], step=7))
    with pytest.raises(ValueError, match=r"out must have shape \[2, 9, 3\], got \[2"):
        sample_router_noise(9, 3, seeds=[0, 1], step=7, out=out[:, :8])
