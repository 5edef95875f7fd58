"""Bad input raises before any work, and says which argument, which rule, which value.

The shape checker of the test suite is off here: a reader meets the library without it.
"""

import math

import pytest
import torch

from moe_lib import (
    DataConfig,
    ModelConfig,
    MoE,
    NormalizedGD,
    PatchDataset,
    SingleExpert,
    TrainConfig,
    dispatch_counts,
    make_data,
    setting,
    stack_runs,
)
from moe_lib.data import sample_dataset, sample_signals
from moe_lib.experts import dense_expert_outputs, routed_expert_outputs
from moe_lib.recipes import single_widths
from moe_lib.rng import STREAMS, generator
from moe_lib.router import route_patch_sum, sample_router_noise
from moe_lib.runs import train_model
from moe_lib.theory import additive_error_bound
from tests.errors import rejects
from tests.toys import data_config, draw, integers, normal, source

NAN, INF = math.nan, math.inf
ACTIVATIONS = "linear, cubic, relu, celu, gelu, tanh"


pytestmark = pytest.mark.usefixtures("_as_a_reader")

INTEGERS = [
    (DataConfig, "num_clusters", 2),
    (DataConfig, "num_patches", 3),
    (DataConfig, "dim", 1),
    (DataConfig, "num_train", 1),
    (DataConfig, "num_test", 1),
    (ModelConfig, "num_experts", 1),
    (ModelConfig, "num_filters", 1),
    (TrainConfig, "steps", 1),
]


@pytest.mark.parametrize(("config", "name", "least"), INTEGERS)
def test_integers_too_small(config, name, least):
    for value in (least - 1, -5):
        message = f"{name} must be at least {least}, got {value}"
        rejects(ValueError, message, config, **{name: value})


@pytest.mark.parametrize(("config", "name", "least"), INTEGERS)
@pytest.mark.parametrize("value", [3.0, True, "3", None, NAN])
def test_integers_of_another_type(config, name, least, value):
    message = f"{name} must be an integer, got {value!r}"
    rejects(TypeError, message, config, **{name: value})


NUMBERS = [
    (DataConfig, "sigma_p"),
    (ModelConfig, "init_scale"),
    (TrainConfig, "expert_lr"),
    (TrainConfig, "router_lr"),
]


@pytest.mark.parametrize(("config", "name"), NUMBERS)
@pytest.mark.parametrize("value", [-0.1, NAN, INF, -INF])
def test_numbers_out_of_range(config, name, value):
    message = f"{name} must be finite and non-negative, got {value}"
    rejects(ValueError, message, config, **{name: value})


@pytest.mark.parametrize(("config", "name"), NUMBERS)
@pytest.mark.parametrize("value", ["0.1", None, True, 1j])
def test_numbers_of_another_type(config, name, value):
    message = f"{name} must be a number, got {value!r}"
    rejects(TypeError, message, config, **{name: value})


@pytest.mark.parametrize(("config", "name"), NUMBERS)
def test_zero_is_allowed(config, name):
    assert getattr(config(**{name: 0.0}), name) == 0


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
@pytest.mark.parametrize(
    ("value", "error", "rule"),
    [
        ((2.0, 1.0), ValueError, " must have low <= high, got (2.0, 1.0)"),
        ((-1.0, 1.0), ValueError, " bound must be finite and positive, got -1.0"),
        ((0.0, 1.0), ValueError, " bound must be finite and positive, got 0.0"),
        ((NAN, 1.0), ValueError, " bound must be finite and positive, got nan"),
        ((1.0, NAN), ValueError, " bound must be finite and positive, got nan"),
        ((1.0, INF), ValueError, " bound must be finite and positive, got inf"),
        ((1.0, "2"), TypeError, " bound must be a number, got '2'"),
        ((1.0,), TypeError, " must be a pair (low, high), got (1.0,)"),
        ([1.0, 2.0], TypeError, " must be a pair (low, high), got [1.0, 2.0]"),
        (1.0, TypeError, " must be a pair (low, high), got 1.0"),
    ],
)
def test_ranges(name, value, error, rule):
    rejects(error, name + rule, DataConfig, **{name: value})


def test_dimension_too_small_for_the_signals():
    message = (
        "dim must be at least 2 * num_clusters = 10 "
        "(that many orthonormal signals must fit), got 9"
    )
    rejects(ValueError, message, DataConfig, num_clusters=5, dim=9)
    assert DataConfig(num_clusters=5, dim=10).dim == 10


def test_unknown_activation():
    message = f"activation must be one of {ACTIVATIONS}, got 'square'"
    rejects(ValueError, message, ModelConfig, activation="square")
    x, weight, index = normal(3, 4, 5), normal(1, 2, 3, 5), integers(2, 1, 3)
    rejects(ValueError, message, dense_expert_outputs, x, weight, "square")
    rejects(ValueError, message, routed_expert_outputs, x, weight, index, "square")


@pytest.mark.parametrize("name", ["5", 0, ""])
def test_unknown_setting(name):
    message = f"setting must be one of 1, 2, 3, 4, verify, got {str(name)!r}"
    rejects(ValueError, message, setting, name)


def test_whole_numbers_are_numbers():
    assert DataConfig(alpha=(1, 2)).alpha == (1, 2)
    assert TrainConfig(router_lr=1).router_lr == 1


def test_configurations_are_frozen_and_take_keywords_only():
    with pytest.raises(AttributeError):
        TrainConfig().steps = 3
    with pytest.raises(TypeError):
        TrainConfig(3)


@pytest.mark.parametrize("value", [-0.1, NAN, INF])
def test_learning_rate_of_the_optimiser(value):
    message = f"lr must be finite and non-negative, got {value}"
    rejects(ValueError, message, NormalizedGD, [torch.zeros(2, 2)], lr=value)


def test_learning_rate_of_another_type():
    message = "lr must be a number, got '0.1'"
    rejects(TypeError, message, NormalizedGD, [torch.zeros(2, 2)], lr="0.1")


def test_parameters_of_the_optimiser():
    message = "params must have at least two axes, got (3,)"
    rejects(ValueError, message, NormalizedGD, [torch.zeros(3)], lr=0.1)


def test_seeds_and_streams():
    rejects(ValueError, "seed must be at least 0, got -1", generator, -1, "init")
    for seed in (True, 1.5, "1", None):
        message = f"seed must be an integer, got {seed!r}"
        rejects(TypeError, message, generator, seed, "init")
    message = f"stream must be one of {', '.join(STREAMS)}, got 'noise'"
    rejects(ValueError, message, generator, 0, "noise")
    rejects(ValueError, "seed must be at least 0, got -1", make_data, data_config(), -1)


@pytest.mark.parametrize("model_class", [MoE, SingleExpert])
def test_models(model_class):
    def build(dim, seeds):
        return model_class(ModelConfig(), dim=dim, seeds=seeds)

    rejects(ValueError, "seeds must hold at least one seed, got none", build, 6, [])
    rejects(ValueError, "seed must be at least 0, got -2", build, 6, [0, -2])
    rejects(ValueError, "dim must be at least 1, got 0", build, 0, [0])


@pytest.mark.parametrize("n", [0, -3])
def test_number_of_examples(n):
    config, message = data_config(), f"num_examples must be at least 1, got {n}"
    signals = sample_signals(config, generator=source())
    rejects(ValueError, message, sample_dataset, config, signals, n, generator=source())
    rejects(ValueError, message, draw(config, 5).head, n)


def test_signals_of_another_shape():
    signals = sample_signals(data_config(dim=8), generator=source())
    message = "signals must have shape (2, 6), got (2, 8) and (2, 8)"
    rejects(
        ValueError,
        message,
        sample_dataset,
        data_config(),
        signals,
        5,
        generator=source(),
    )


def with_value(tensor, value):
    tensor = tensor.clone()
    tensor.view(-1)[1] = value
    return tensor


X, Y = normal(3, 4, 5), torch.tensor([1, -1, 1])
SHAPE = "x must have shape [n, P, d] or [n, 1, P*d], none of them 0, got "


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (X.long(), Y),
            TypeError,
            "x must be a floating-point tensor, got torch.int64",
        ),
        ((X[0], Y), ValueError, SHAPE + "[4, 5]"),
        ((X[None], Y), ValueError, SHAPE + "[1, 3, 4, 5]"),
        ((X[:0], Y[:0]), ValueError, SHAPE + "[0, 4, 5]"),
        (
            (with_value(X, NAN), Y),
            ValueError,
            "x must be finite, got 1 NaN or infinite values",
        ),
        (
            (with_value(X, -INF), Y),
            ValueError,
            "x must be finite, got 1 NaN or infinite values",
        ),
        (
            (normal(3, 1, 10), Y),
            ValueError,
            "x of shape [n, 1, P*d] must have a last axis divisible by num_patches = 4,"
            " got 10",
        ),
        ((X, Y[:2]), ValueError, "y must have shape (3,) like x, got (2,)"),
        ((X, Y[:, None]), ValueError, "y must have shape (3,) like x, got (3, 1)"),
        (
            (X, torch.tensor([0, 1, 2])),
            ValueError,
            "y must be in {-1, 1} or in {0, 1}, got [0, 1, 2]",
        ),
        (
            (X, torch.tensor([-1, 0, 1])),
            ValueError,
            "y must be in {-1, 1} or in {0, 1}, got [-1, 0, 1]",
        ),
        (
            (X, torch.tensor([0.5, 1, 1])),
            ValueError,
            "y must be in {-1, 1} or in {0, 1}, got [0.5, 1.0]",
        ),
        (
            (X, torch.tensor([NAN, 1, 1])),
            ValueError,
            "y must be in {-1, 1} or in {0, 1}, got [1.0, nan]",
        ),
        (
            (X, torch.tensor([255, 1, 1], dtype=torch.uint8)),
            ValueError,
            "y must be in {-1, 1} or in {0, 1}, got [1, 255]",
        ),
        (
            (X, Y, torch.tensor([0, 1])),
            ValueError,
            "cluster must have shape (3,) like y, got (2,)",
        ),
        ((X, Y, torch.tensor([0, -1, 2])), ValueError, "cluster must be >= 0, got -1"),
        (
            (X, Y, torch.tensor([0.0, 1, 2])),
            TypeError,
            "cluster must be an integer tensor, got torch.float32",
        ),
        (
            (X, Y, torch.tensor([True, False, True])),
            TypeError,
            "cluster must be an integer tensor, got torch.bool",
        ),
    ],
)
def test_tensors_from_outside(arguments, error, message):
    rejects(error, message, PatchDataset.from_tensors, *arguments)


@pytest.mark.parametrize("value", [1, 0])
def test_number_of_patches_of_the_flat_layout(value):
    rejects(
        ValueError,
        f"num_patches must be at least 2, got {value}",
        PatchDataset.from_tensors,
        normal(3, 1, 20),
        Y,
        num_patches=value,
    )


def test_data_sets_that_cannot_be_stacked():
    rejects(
        ValueError,
        "datasets must hold at least one data set, got none",
        stack_runs,
        [],
    )
    data = draw(data_config(), 5)
    rejects(
        ValueError,
        "datasets must have equal shapes, got [(4, 3, 6), (5, 3, 6)]",
        stack_runs,
        [data, data.head(4)],
    )
    plain = PatchDataset(x=data.x, y=data.y)
    with pytest.raises(ValueError, match=r"^datasets must know the same labels, got "):
        stack_runs([data, plain])
    more = PatchDataset(x=data.x, y=data.cluster, num_classes=3)
    message = "datasets must have equal num_classes, got [2, 3]"
    rejects(ValueError, message, stack_runs, [plain, more])


@pytest.mark.parametrize(
    ("group", "index", "sizes", "message"),
    [
        ([0, 3], [0, 1], (3, 2), "group must lie in [0, 3), got [0, 3]"),
        ([-1, 0], [0, 1], (3, 2), "group must lie in [0, 3), got [-1, 0]"),
        ([0, 1], [0, 2], (3, 2), "expert_index must lie in [0, 2), got [0, 2]"),
        ([0, 1], [0, 1], (0, 2), "num_groups must be at least 1, got 0"),
        ([0, 1], [0, 1], (3, 0), "num_experts must be at least 1, got 0"),
    ],
)
def test_dispatch(group, index, sizes, message):
    rejects(
        ValueError,
        message,
        dispatch_counts,
        torch.tensor(group),
        torch.tensor([index]),
        num_groups=sizes[0],
        num_experts=sizes[1],
    )


def test_ranges_of_the_bound():
    message = "gamma must have low <= high, got (3.0, 2.0)"
    rejects(ValueError, message, additive_error_bound, (1.0, 2.0), (3.0, 2.0))
    message = "alpha bound must be finite and positive, got 0.0"
    rejects(ValueError, message, additive_error_bound, (0.0, 2.0), (1.0, 2.0))


def test_recipes():
    config = data_config()
    message = (
        "name must be one of single_linear, single_cubic, moe_linear, moe_cubic, "
        "got 'moe'"
    )
    rejects(ValueError, message, train_model, "moe", config, [0])
    message = "steps must be at least 1, got 0"
    rejects(ValueError, message, train_model, "moe_cubic", config, [0], steps=0)
    message = "seeds must hold at least one seed, got none"
    rejects(ValueError, message, train_model, "moe_cubic", config, [])
    message = "device must be cpu or cuda, got 'tpu'"
    rejects(ValueError, message, train_model, "moe_cubic", config, [0], device="tpu")


@pytest.mark.parametrize("model_class", [MoE, SingleExpert])
@pytest.mark.parametrize("shape", [(6, 4, 9), (3, 6, 4, 8), (6, 8)])
def test_patches_that_do_not_fit_the_model(model_class, shape):
    model = model_class(ModelConfig(), dim=8, seeds=[0, 1])
    message = f"x must have shape [n, P, 8] or [2, n, P, 8], got {list(shape)}"
    rejects(ValueError, message, model, torch.zeros(shape))


def test_patches_that_are_no_tensor():
    message = "x must be a tensor, got list"
    rejects(TypeError, message, PatchDataset.from_tensors, [[1.0]], torch.ones(1))


def test_a_seed_too_large():
    message = f"seed must be less than 2**32, got {2**32}"
    rejects(ValueError, message, generator, 2**32, "init")


def test_the_step_of_routing_noise():
    def draw_at(step):
        sample_router_noise(4, 3, seeds=[0], step=step)

    rejects(ValueError, "step must be at least 0, got -1", draw_at, -1)
    rejects(ValueError, f"step must be less than 2**32, got {2**32}", draw_at, 2**32)
    for step in (True, 1.5, "1"):
        rejects(TypeError, f"step must be an integer, got {step!r}", draw_at, step)
    draw_at(2**32 - 1)


def test_the_seeds_of_routing_noise():
    message = "seeds must hold at least one seed, got none"
    rejects(ValueError, message, sample_router_noise, 4, 3, seeds=[], step=0)
    message = "seed must be at least 0, got -1"
    rejects(ValueError, message, sample_router_noise, 4, 3, seeds=[0, -1], step=0)
    message = f"stream must be one of {', '.join(STREAMS)}, got 'x'"
    how = {"seeds": [0], "step": 0, "stream": "x"}
    rejects(ValueError, message, sample_router_noise, 4, 3, **how)


def test_recipes_without_a_seed():
    message = "seeds must hold at least one seed, got none"
    rejects(ValueError, message, train_model, "moe_cubic", data_config(), [])
    rejects(ValueError, message, single_widths, data_config(), [])


def test_labels_that_do_not_fit_the_patches():
    x = torch.zeros(3, 4, 5)
    message = (
        "y must have the shape of x without patches and dimensions, [3], got [3, 1]"
    )
    rejects(ValueError, message, PatchDataset, x, torch.ones(3, 1))
    message = "y must be -1 or +1 (from_tensors takes 0 and 1), got [0.0, 1.0]"
    rejects(ValueError, message, PatchDataset, x, torch.tensor([0.0, 1.0, 1.0]))


def test_class_indices_of_the_constructor():
    def build(y, num_classes):
        return PatchDataset(normal(3, 4, 5), y, num_classes=num_classes)

    y = torch.tensor([0, 2, 1])
    rule = "y must be class indices of dtype torch.int64 where num_classes is 3, got "
    rejects(TypeError, rule + "torch.float32", build, y.float(), 3)
    rejects(TypeError, rule + "torch.int32", build, y.int(), 3)
    rejects(ValueError, "y must lie in [0, 3), got [0, 3]", build, y + y // 2, 3)
    rejects(ValueError, "y must lie in [0, 3), got [-1, 1]", build, y - 1, 3)
    rejects(ValueError, "num_classes must be at least 2, got 1", build, y, 1)
    rejects(TypeError, "num_classes must be an integer, got 3.0", build, y, 3.0)
    message = "y must be -1 or +1 (from_tensors takes 0 and 1), got [0, 1, 2]"
    rejects(ValueError, message, build, y, 2)


def test_shapes_that_would_broadcast():
    model, x = (
        MoE(ModelConfig(num_experts=3), dim=5, seeds=[0, 1]),
        torch.zeros(6, 4, 5),
    )
    message = "router_noise must have shape [2, 6, 3], got [1, 6, 3]"
    rejects(ValueError, message, model, x, router_noise=torch.zeros(1, 6, 3))
    message = "patch_sum must have shape [6, 5], got [1, 5]"
    rejects(ValueError, message, model, x, patch_sum=torch.zeros(1, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_routed_experts_that_do_not_fit(dtype):
    x, weight = torch.zeros(6, 4, 5, dtype=dtype), torch.zeros(2, 3, 2, 5, dtype=dtype)

    def outputs(x, index):
        routed_expert_outputs(x, weight, index, "cubic")

    index = torch.zeros(2, 6, dtype=torch.long)
    outputs(x, index)
    message = "x must have shape [2, 6, 4, 5], got [2, 6, 4, 7]"
    rejects(ValueError, message, outputs, torch.zeros(6, 4, 7, dtype=dtype), index)
    for shape in ([2, 9], [2, 3], [1, 6]):
        message = f"expert_index must have shape [2, 6], got {shape}"
        rejects(ValueError, message, outputs, x, index.new_zeros(shape))
    message = "expert_index must lie in [0, 3), got [0, 3]"
    rejects(ValueError, message, outputs, x, index.fill_diagonal_(3))
    message = "expert_index must lie in [0, 3), got [-1, 0]"
    rejects(ValueError, message, outputs, x, index.clamp(max=0).fill_diagonal_(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_router_that_does_not_fit(dtype):
    weight = torch.zeros(2, 5, 3, dtype=dtype)
    message = "patch_sum must have shape [6, 5], got [6, 4]"
    rejects(ValueError, message, route_patch_sum, weight.new_zeros(6, 4), weight)
    for shape in ([1, 6, 3], [2, 6, 2], [2, 7, 3]):
        message = f"noise must have shape [2, 6, 3], got {shape}"
        s, noise = weight.new_zeros(6, 5), weight.new_zeros(shape)
        rejects(ValueError, message, route_patch_sum, s, weight, noise)
