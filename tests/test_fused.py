"""The GPU path against `train` on the CPU, which tests/test_train.py holds to a loop.

Where there is no GPU only the refusals run; the others were written to be run on one:
`python -m pytest tests/test_fused.py`.
"""

import pytest
import torch

from moe_lib import ModelConfig, MoE, SingleExpert, TrainConfig, train
from moe_lib.config import ACTIVATION_NAMES
from moe_lib.data import PatchDataset, stack_runs
from moe_lib.fused import fits, train_fused
from tests.toys import data_config, draw

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
STEPS = TrainConfig(steps=12, expert_lr=0.05)


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def trained_twice(model_class, config, data, precision="float32", train_config=STEPS):
    """Train on the CPU and by the kernels; return both models and histories."""
    slow, fast = (model_class(config, dim=data.x.shape[-1], seeds=[3, 5]) for _ in "ab")
    slow_history = train(slow, data, train_config)
    fast_history = train_fused(
        fast.cuda(), data.to("cuda"), train_config, precision=precision
    )
    return slow, fast.cpu(), slow_history, fast_history


def sets(n, num_patches=4, dim=12, shared=False, num_clusters=3):
    config = data_config(num_patches=num_patches, dim=dim, num_clusters=num_clusters)
    if shared:
        return draw(config, n)
    return stack_runs([draw(config, n, seed=seed) for seed in (0, 1)])


SHAPES = [
    # n, patches, dim, experts, filters
    (700, 4, 50, 8, 16),
    (1, 3, 6, 1, 1),
    (63, 5, 16, 2, 7),
    (1030, 6, 9, 64, 3),
    (300, 3, 130, 5, 33),
    (200, 3, 60, 64, 2),  # gradients as large as they may be
    (200, 3, 60, 3, 128),
]


@GPU
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shared", [True, False])
def test_kernels_train_as_the_cpu_does(shape, shared):
    n, num_patches, dim, num_experts, num_filters = shape
    data = sets(n, num_patches, dim, shared)
    config = ModelConfig(
        num_experts=num_experts, num_filters=num_filters, init_scale=0.1
    )
    slow, fast, expected, got = trained_twice(MoE, config, data)
    assert relative(fast.expert_weight, slow.expert_weight) < 1e-5
    if num_experts > 1:
        assert relative(fast.router_weight, slow.router_weight) < 1e-4
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-5, atol=1e-6)
    assert got.dispatch_counts.sum(dim=(-1, -2)).eq(n).all()
    moved = (got.dispatch_counts - expected.dispatch_counts).abs().sum()
    assert moved <= 2 * STEPS.steps  # a near tie may go either way


@GPU
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("model_class", [MoE, SingleExpert])
def test_every_activation(activation, model_class):
    config = ModelConfig(
        num_experts=4, num_filters=20, activation=activation, init_scale=0.2
    )
    slow, fast, expected, got = trained_twice(model_class, config, sets(500))
    # relu: a response that is 0 up to rounding counts on one side or the other
    tolerance = 1e-4 if activation == "relu" else 1e-5
    assert relative(fast.expert_weight, slow.expert_weight) < tolerance
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got.accuracy, expected.accuracy, rtol=0, atol=0.005)


@GPU
def test_half_precision_is_close_and_float32_closer():
    config = ModelConfig(init_scale=0.1)
    errors = {}
    for precision in ("float32", "half"):
        slow, fast, _, _ = trained_twice(MoE, config, sets(900), precision)
        errors[precision] = relative(fast.expert_weight, slow.expert_weight)
    assert errors["float32"] < 1e-5 < errors["half"] < 1e-3


@GPU
def test_wide_single_expert_and_scaled_data():
    data = sets(400)
    data = PatchDataset(1e5 * data.x, data.y)  # beyond what half precision holds
    config = ModelConfig(num_filters=128, activation="linear", init_scale=1e-6)
    steps = TrainConfig(steps=5, expert_lr=1e-7)
    slow, fast, _, _ = trained_twice(SingleExpert, config, data, train_config=steps)
    assert relative(fast.expert_weight, slow.expert_weight) < 1e-5


@GPU
def test_same_bits_twice_and_callback_sees_every_step():
    weights, seen = [], []
    for _ in range(2):
        model = MoE(ModelConfig(), dim=12, seeds=[3, 5]).cuda()
        train_fused(
            model,
            sets(5000).to("cuda"),
            STEPS,
            callback=lambda step, model, out: seen.append((step, out)),
        )
        weights.append(model.expert_weight.detach().clone())
    assert torch.equal(*weights)
    assert seen == [(step, None) for step in range(STEPS.steps + 1)] * 2


@GPU
def test_data_without_clusters_has_no_counts():
    data = sets(100)
    plain = PatchDataset(data.x, data.y).to("cuda")
    model = MoE(ModelConfig(), dim=12, seeds=[0, 1]).cuda()
    assert train_fused(model, plain, STEPS).dispatch_counts is None


@GPU
def test_what_the_kernels_cannot_do_is_refused_on_a_gpu():
    data = sets(100).to("cuda")
    wide = SingleExpert(ModelConfig(num_filters=129), dim=12, seeds=[0, 1]).cuda()
    assert not fits(wide, data)
    with pytest.raises(ValueError, match="num_filters must be at most 128, got 129"):
        train_fused(wide, data, STEPS)
    double = MoE(ModelConfig(), dim=12, seeds=[0, 1]).cuda().double()
    with pytest.raises(ValueError, match=r"must be float32, got torch\.float64"):
        train_fused(double, data, STEPS)
    fine = MoE(ModelConfig(), dim=12, seeds=[0, 1]).cuda()
    assert fits(fine, data)


def test_without_a_gpu_or_triton_it_says_what_is_missing(monkeypatch):
    data, model = sets(20), MoE(ModelConfig(), dim=12, seeds=[0, 1])
    assert not fits(model, data)
    monkeypatch.setattr("moe_lib.fused.find_spec", lambda name: object())
    with pytest.raises(ValueError, match="must be on one GPU, got cpu and cpu"):
        train_fused(model, data, STEPS)
    monkeypatch.setattr("moe_lib.fused.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="Triton must be installed"):
        train_fused(model, data, STEPS)


@GPU
def test_what_is_too_large_for_the_kernels_is_refused():
    data = sets(100, dim=70).to("cuda")
    model = MoE(ModelConfig(num_experts=129), dim=70, seeds=[0, 1]).cuda()
    assert not fits(model, data)
    with pytest.raises(ValueError, match="at most 4096, got 129 and 70"):
        train_fused(model, data, STEPS)


def test_an_unknown_precision_is_refused():
    model = MoE(ModelConfig(), dim=12, seeds=[0, 1])
    message = "precision must be one of float32, half, got 'tf32'"
    with pytest.raises(ValueError, match=message):
        train_fused(model, sets(20), STEPS, precision="tf32")
