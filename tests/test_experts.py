"""Stacked experts: the fast path, the readable path and the slow loop agree."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import experts
from moe_lib.config import ACTIVATION_NAMES
from moe_lib.experts import ACTIVATIONS, dense_expert_outputs, routed_expert_outputs
from tests import reference
from tests.toys import integers, normal

activations = st.sampled_from(ACTIVATION_NAMES)
shapes = st.fixed_dictionaries(
    {
        "runs": st.integers(1, 3),
        "n": st.integers(1, 7),
        "patches": st.integers(1, 6),
        "dim": st.integers(1, 5),
        "experts": st.integers(1, 4),
        "filters": st.integers(1, 3),
        "shared": st.booleans(),
    }
)


def toy(shape):
    """Return x, weights and a choice that often leaves experts without examples."""
    runs, n, experts = shape["runs"], shape["n"], shape["experts"]
    x = normal(n, shape["patches"], shape["dim"])
    if not shape["shared"]:
        x = normal(runs, *x.shape)
    weight = normal(runs, experts, shape["filters"], shape["dim"], seed=1)
    return x, weight, integers(experts, runs, n, seed=n) // 2


def slow_outputs(x, weight, index, activation):
    runs, n = index.shape
    x = x.expand(runs, *x.shape[-3:])
    rows = [
        [
            reference.expert(x[s, i], weight[s, index[s, i]], activation)
            for i in range(n)
        ]
        for s in range(runs)
    ]
    return torch.stack([torch.stack(row) for row in rows])


def assert_equals_the_loop(x, weight, index, activation):
    fast = [t.clone().requires_grad_() for t in (x, weight)]
    slow = [t.clone().requires_grad_() for t in (x, weight)]
    output = routed_expert_outputs(*fast, index, activation)
    expected = slow_outputs(*slow, index, activation)
    torch.testing.assert_close(output, expected)
    upstream = normal(*index.shape, seed=2)
    got = torch.autograd.grad(output, fast, upstream)
    want = torch.autograd.grad(expected, slow, upstream, allow_unused=True)
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w)


@given(shape=shapes, activation=activations)
def test_outputs_and_gradients_equal_the_loop(shape, activation):
    assert_equals_the_loop(*toy(shape), activation)


@pytest.mark.parametrize("num_experts", [1, 3])
@pytest.mark.parametrize("block", [1, 4, 10])  # of 10 examples
def test_the_size_of_a_block_does_not_matter(monkeypatch, block, num_experts):
    monkeypatch.setattr(experts, "BLOCK_EXAMPLES", block)
    x, weight = normal(2, 10, 3, 4), normal(2, num_experts, 2, 4, seed=1)
    index = integers(num_experts, 2, 10, seed=2)
    assert_equals_the_loop(x, weight, index, "cubic")


@given(shape=shapes, activation=activations)
def test_the_readable_path_equals_the_loop_for_every_expert(shape, activation):
    x, weight, index = toy(shape)
    dense = dense_expert_outputs(x, weight, activation)
    assert dense.shape == (*index.shape, weight.shape[1])
    for m in range(weight.shape[1]):
        expected = slow_outputs(x, weight, torch.full_like(index, m), activation)
        torch.testing.assert_close(dense[..., m], expected)


def test_an_expert_without_examples_has_gradient_zero():
    x, weight = normal(6, 3, 4), normal(1, 3, 2, 4, seed=1).requires_grad_()
    index = torch.tensor([[0, 0, 2, 2, 0, 2]])
    routed_expert_outputs(x, weight, index, "cubic").sum().backward()
    reached = weight.grad.abs().sum(dim=(2, 3)) > 0
    assert reached.tolist() == [[True, False, True]]


def test_the_order_of_patches_does_not_matter():
    x, weight, index = normal(6, 4, 5), normal(1, 2, 3, 5, seed=1), integers(2, 1, 6)
    output = routed_expert_outputs(x, weight, index, "gelu")
    shuffled = routed_expert_outputs(x[:, [2, 0, 3, 1]], weight, index, "gelu")
    torch.testing.assert_close(output, shuffled)


def test_x_that_needs_no_gradient_gets_none():
    x, weight = normal(6, 4, 5), normal(1, 2, 3, 5, seed=1).requires_grad_()
    routed_expert_outputs(x, weight, integers(2, 1, 6), "cubic").sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_activation_and_derivative_equal_the_loop(name):
    z = (2 * normal(50)).requires_grad_()
    value = torch.stack([reference.ACTIVATIONS[name](v) for v in z])
    (slope,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(ACTIVATIONS[name].value(z), value)
    torch.testing.assert_close(ACTIVATIONS[name].derivative(z), slope)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_activations_stay_finite_far_out(name):
    z = torch.tensor([-1e4, 1e4])
    assert ACTIVATIONS[name].value(z).isfinite().all()
    assert ACTIVATIONS[name].derivative(z).isfinite().all()
