"""The logistic loss."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib.losses import load_balancing_loss, logistic_loss
from tests import reference
from tests.toys import integers, normal, signs


@given(runs=st.integers(1, 3), n=st.integers(1, 8), shared=st.booleans())
def test_loss_and_gradient_equal_the_loop(runs, n, shared):
    fast = (3 * normal(runs, n)).requires_grad_()
    slow = fast.detach().clone().requires_grad_()
    y = signs(n, seed=1) if shared else signs(runs, n, seed=1)
    losses = logistic_loss(fast, y)
    expected = [
        reference.loss(output, y if shared else y[s]) for s, output in enumerate(slow)
    ]
    torch.testing.assert_close(losses, torch.stack(expected))
    losses.sum().backward()
    sum(expected).backward()
    torch.testing.assert_close(fast.grad, slow.grad)


def test_an_output_of_zero_costs_ln_2():
    loss = logistic_loss(torch.zeros(1, 5), torch.ones(5))
    torch.testing.assert_close(loss, torch.tensor([math.log(2)]))


def test_huge_margins_stay_finite():
    loss = logistic_loss(torch.tensor([[1e4], [-1e4]]), torch.ones(1))
    torch.testing.assert_close(loss, torch.tensor([0.0, 1e4]))


@given(runs=st.integers(1, 3), n=st.integers(1, 8), experts=st.integers(1, 4))
def test_load_balancing_equals_the_loop(runs, n, experts):
    logits = normal(runs, n, experts).requires_grad_()
    probs, index = logits.softmax(dim=-1), integers(experts, runs, n, seed=1)
    found = load_balancing_loss(probs, index)
    for run in range(runs):
        total = 0
        for m in range(experts):
            share = sum(chosen == m for chosen in index[run].tolist()) / n
            total += experts * share * probs[run, :, m].mean()
        torch.testing.assert_close(found[run], total)
    assert ((found > 0) & (found < experts + 1e-9)).all()
    torch.testing.assert_close(load_balancing_loss(probs[0], index[0]), found[0])


def test_load_balancing_is_one_where_probabilities_are_even():
    even = torch.full((6, 3), 1 / 3)
    for index in (torch.zeros(6, dtype=torch.long), torch.arange(6) % 3):
        torch.testing.assert_close(load_balancing_loss(even, index), torch.tensor(1.0))


def test_descent_on_load_balancing_takes_from_the_busy_expert():
    logits = torch.zeros(4, 2, requires_grad=True)
    loss = load_balancing_loss(logits.softmax(dim=-1), torch.tensor([0, 0, 0, 1]))
    loss.backward()
    assert (logits.grad[:, 0] > 0).all()
    assert (logits.grad[:, 1] < 0).all()
