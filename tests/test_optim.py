"""Normalised gradient descent."""

import pytest
import torch

from moe_lib import NormalizedGD
from tests import reference
from tests.toys import normal


def parameter(*shape, seed=0):
    return torch.nn.Parameter(normal(*shape, seed=seed))


def stepped(weight, gradient, lr):
    moving = torch.nn.Parameter(weight.clone())
    moving.grad = gradient.clone()
    NormalizedGD([moving], lr=lr).step()
    return moving.detach()


def test_a_step_equals_the_loop():
    weight, gradient = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    slow = [reference.normalised_step(weight[s], gradient[s], 0.3) for s in range(2)]
    torch.testing.assert_close(stepped(weight, gradient, 0.3), torch.stack(slow))


def test_each_run_and_expert_moves_by_exactly_the_learning_rate():
    weight, gradient = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    gradient *= torch.logspace(-8, 8, 6).view(2, 3, 1, 1)  # whatever the load
    length = torch.linalg.matrix_norm(stepped(weight, gradient, 0.25) - weight)
    torch.testing.assert_close(length, torch.full((2, 3), 0.25).double())


def test_a_step_goes_downhill():
    weight, gradient = normal(1, 1, 4, 5), normal(1, 1, 4, 5, seed=1)
    assert ((stepped(weight, gradient, 0.1) - weight) * gradient).sum() < 0


def test_an_expert_without_gradient_stays_and_the_others_move():
    weight, gradient = normal(1, 3, 4, 5), normal(1, 3, 4, 5, seed=1)
    gradient[0, 1] = 0
    moved = (stepped(weight, gradient, 0.1) != weight).flatten(2).any(-1)
    assert moved.tolist() == [[True, False, True]]


def test_a_parameter_whose_gradient_is_none_stays():
    weight = parameter(2, 3)
    before = weight.detach().clone()
    NormalizedGD([weight], lr=0.1).step()
    assert torch.equal(weight, before)


def test_a_learning_rate_of_zero_moves_nothing():
    weight = normal(1, 2, 3)
    assert torch.equal(stepped(weight, normal(1, 2, 3, seed=1), 0.0), weight)


def test_groups_have_their_own_learning_rates():
    slow, fast = parameter(2, 3), parameter(2, 3)
    optimizer = NormalizedGD([slow], lr=0.1)
    optimizer.add_param_group({"params": [fast], "lr": 0.4})
    start = slow.detach().clone()
    slow.grad = fast.grad = normal(2, 3, seed=1)
    optimizer.step()
    assert (slow - start).norm().item() == pytest.approx(0.1)
    assert (fast - start).norm().item() == pytest.approx(0.4)


def test_step_without_closure_returns_none():
    assert NormalizedGD([parameter(2, 3)], lr=0.1).step() is None


def test_closure_is_evaluated_with_gradients_and_its_loss_returned():
    weight = parameter(2, 3)
    start = weight.detach().clone()
    optimizer = NormalizedGD([weight], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == pytest.approx((start**2).sum().item())
    torch.testing.assert_close(weight.detach(), start - 0.1 * start / start.norm())


def test_a_tiny_gradient_still_gives_a_whole_step():
    weight = torch.zeros(2, 3, 4, requires_grad=True)
    weight.grad = torch.full((2, 3, 4), 1e-30)
    NormalizedGD([weight], lr=0.1).step()
    torch.testing.assert_close(
        torch.linalg.matrix_norm(weight.detach()), torch.full((2,), 0.1)
    )
