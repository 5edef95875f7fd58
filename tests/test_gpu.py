"""What a GPU does by other means than a CPU, against the CPU.

Blocks of experts run here on a CPU too; the rest was written to be run on a GPU:
`python -m pytest tests/test_gpu.py`.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import ModelConfig
from moe_lib.authors import AUTHORS
from moe_lib.authors_model import RecipeModel
from moe_lib.authors_train import train_recipe
from moe_lib.data import stack_runs
from moe_lib.experts import (
    ACTIVATIONS,
    _BatchedExperts,
    dense_expert_outputs,
    routed_expert_outputs,
)
from moe_lib.router import sample_router_noise
from tests.toys import data_config, draw, integers, normal

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def check_blocks(function, device, runs, n, experts, shared, name="cubic", used=None):
    """Compare outputs and gradients with the dense formula, in float64."""
    x = normal(*(() if shared else (runs,)), n, 2, 3).to(device)
    weight = normal(runs, experts, 4, 3, seed=1).to(device).requires_grad_()
    index = integers(used or experts, runs, n, seed=2).to(device)
    upstream = normal(runs, n, seed=3).to(device)
    dense = dense_expert_outputs(x, weight, name)
    expected = dense.gather(-1, index[..., None]).squeeze(-1)
    (expected_grad,) = torch.autograd.grad((expected * upstream).sum(), weight)
    got = function(x, weight, index)
    (grad,) = torch.autograd.grad((got * upstream).sum(), weight)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(grad, expected_grad)


@given(
    runs=st.integers(1, 3),
    n=st.integers(1, 400),
    experts=st.integers(1, 6),
    shared=st.booleans(),
    name=st.sampled_from(["linear", "cubic", "relu"]),
)
def test_blocks_of_experts_are_the_dense_formula(runs, n, experts, shared, name):
    def blocks(x, weight, index):
        x = x.expand(weight.shape[0], *x.shape[-3:])
        return _BatchedExperts.apply(x, weight, index, ACTIVATIONS[name])

    check_blocks(blocks, "cpu", runs, n, experts, shared, name)


@pytest.mark.parametrize("n", [127, 128, 129, 256])
def test_blocks_with_whole_lists_and_idle_experts(n):
    def blocks(x, weight, index):
        x = x.expand(weight.shape[0], *x.shape[-3:])
        return _BatchedExperts.apply(x, weight, index, ACTIVATIONS["cubic"])

    check_blocks(blocks, "cpu", 2, n, 5, False, used=1)
    check_blocks(blocks, "cpu", 2, n, 5, True, used=2)


@GPU
@pytest.mark.parametrize("experts", [1, 8])
@pytest.mark.parametrize("shared", [True, False])
def test_a_gpu_computes_experts_as_the_formula(experts, shared):
    def routed(x, weight, index):
        return routed_expert_outputs(x, weight, index, "cubic")

    check_blocks(routed, "cuda", 3, 1000, experts, shared)


@GPU
@pytest.mark.parametrize(("n", "experts"), [(1, 1), (1003, 8), (64, 65), (130, 3)])
def test_a_gpu_draws_the_noise_of_the_cpu(n, experts):
    for step in (0, 1, 2**32 - 1):
        here, there = (
            sample_router_noise(
                n, experts, seeds=[0, 5, 2**32 - 1], step=step, device=device
            )
            for device in ("cpu", "cuda")
        )
        assert torch.equal(here, there.cpu())


@GPU
@pytest.mark.parametrize("activation", ["linear", "cubic"])
def test_a_gpu_trains_a_recipe_as_the_cpu_does(activation):
    data = stack_runs([draw(data_config(), 900, seed=s) for s in (0, 1)])
    config = ModelConfig(num_experts=3, num_filters=4, activation=activation)
    losses = []
    for device in ("cpu", "cuda"):
        model = RecipeModel(AUTHORS, config, dim=6, seeds=[3, 4]).to(device)
        losses.append(train_recipe(model, data.to(device)).loss[:60])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-4)
