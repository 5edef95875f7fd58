"""Small random things for tests, each from a generator of its own."""

import torch

from moe_lib import DataConfig, ModelConfig, MoE, SingleExpert
from moe_lib.data import sample_dataset, sample_signals


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=source(seed), dtype=torch.float64)


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=source(seed), dtype=torch.float64)


def integers(high, *shape, seed=0):
    return torch.randint(0, high, shape, generator=source(seed))


def signs(*shape, seed=0):
    return integers(2, *shape, seed=seed).double() * 2 - 1


def data_config(**changes):
    """Return a distribution small enough for loops: K = 2, P = 3, d = 6."""
    small = {"num_clusters": 2, "num_patches": 3, "dim": 6}
    return DataConfig(**{**small, "num_train": 40, "num_test": 30, **changes})


def draw(config, num_examples, seed=0):
    """Sample signals and examples from one generator."""
    generator = source(seed)
    signals = sample_signals(config, generator=generator)
    return sample_dataset(config, signals, num_examples, generator=generator)


def moe(*, runs=1, experts=3, filters=2, dim=6, activation="cubic", seed=0):
    """Return a float64 mixture whose experts and routers are all random."""
    config = ModelConfig(
        num_experts=experts, num_filters=filters, activation=activation
    )
    model = MoE(config, dim=dim, seeds=range(runs)).double()
    fill(model, seed)
    return model


def single(*, runs=1, filters=2, dim=6, activation="cubic", seed=0):
    """Return a float64 single expert with random weights."""
    config = ModelConfig(num_filters=filters, activation=activation)
    model = SingleExpert(config, dim=dim, seeds=range(runs)).double()
    fill(model, seed)
    return model


@torch.no_grad()
def fill(model, seed):
    for offset, parameter in enumerate(model.parameters()):
        parameter.copy_(0.5 * normal(*parameter.shape, seed=seed + 1000 * offset))
