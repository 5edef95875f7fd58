"""The logistic loss."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib.losses import logistic_loss
from tests import reference
from tests.toys import normal, signs


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
