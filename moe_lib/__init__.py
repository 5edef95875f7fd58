"""Mixture of experts, small enough to understand: data, models, training, metrics."""

from moe_lib.config import (
    SETTINGS,
    DataConfig,
    ModelConfig,
    TrainConfig,
    setting,
)
from moe_lib.data import PatchDataset, make_data, stack_runs
from moe_lib.metrics import dispatch_counts, dispatch_entropy
from moe_lib.model import MoE, SingleExpert
from moe_lib.optim import NormalizedGD
from moe_lib.train import evaluate, train

__version__ = "0.1.0"

__all__ = [
    "SETTINGS",
    "DataConfig",
    "MoE",
    "ModelConfig",
    "NormalizedGD",
    "PatchDataset",
    "SingleExpert",
    "TrainConfig",
    "dispatch_counts",
    "dispatch_entropy",
    "evaluate",
    "make_data",
    "setting",
    "stack_runs",
    "train",
]
