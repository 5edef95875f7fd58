"""Train weak experts on real data, one run on each of several splits, all at once.

Axes: S runs, n examples, d coordinates, M experts, C classes, K clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from moe_lib.checks import check_choice, check_int, check_real
from moe_lib.data import PatchDataset
from moe_lib.losses import load_balancing_loss
from moe_lib.metrics import dispatch_counts
from moe_lib.rng import generator
from moe_lib.splits import Splits
from moe_lib.weak import WeakConfig, WeakModel

BATCH = 128
BALANCING = 0.01  # weight of the load-balancing loss


@dataclass(frozen=True, eq=False)
class Stacked:
    """One side of several splits, a run each.

    Attributes
    ----------
    x : Tensor
        Shape [S, n, d].
    y : Tensor
        Class indices, shape [S, n].
    cluster : Tensor
        Shape [S, n].
    lot : Tensor
        The expert of each example where routing is not learned, shape [S, n].
    """

    x: Float[Tensor, "S n d"]
    y: Int[Tensor, "S n"]
    cluster: Int[Tensor, "S n"]
    lot: Int[Tensor, "S n"]


def stack(
    sides: Sequence[PatchDataset], config: WeakConfig, seeds: Sequence[int]
) -> Stacked:
    """Put one side of several splits together, and draw the lots.

    Raises
    ------
    ValueError
        If an oracle has fewer experts than there are clusters.
    """
    cluster = torch.stack([_clusters(side) for side in sides])
    lot = cluster
    if config.routing == "random":
        lots = [
            torch.randint(
                config.num_experts, (len(side),), generator=generator(seed, "signals")
            )
            for side, seed in zip(sides, seeds, strict=True)
        ]
        lot = torch.stack(lots)
    elif config.routing == "oracle" and config.num_experts <= int(cluster.max()):
        raise ValueError(
            f"num_experts must be at least the number of clusters "
            f"{int(cluster.max()) + 1} for an oracle, got {config.num_experts}"
        )
    y = torch.stack([side.y for side in sides])
    if sides[0].num_classes == 2:
        y = (y > 0).long()
    return Stacked(torch.stack([s.x.flatten(1) for s in sides]), y, cluster, lot)


def _clusters(side: PatchDataset) -> Tensor:
    assert side.cluster is not None  # real data know theirs
    return side.cluster


@dataclass(frozen=True, kw_only=True)
class WeakTraining:
    """How weak experts are trained.

    Parameters
    ----------
    optimizer : str
        ``adam``, or ``sgd`` with momentum 0.9.
    lr : float
        Learning rate > 0.
    weight_decay : float
        >= 0.
    epochs : int
        >= 1, of batches of 128; the one with the best validation accuracy counts.
    """

    optimizer: str = "adam"
    lr: float = 1e-2
    weight_decay: float = 0.0
    epochs: int = 40

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("adam", "sgd"))
        check_real("lr", self.lr, positive=True)
        check_real("weight_decay", self.weight_decay)
        check_int("epochs", self.epochs, at_least=1)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser of a model."""
        if self.optimizer == "adam":
            return torch.optim.Adam(
                model.parameters(), lr=self.lr, weight_decay=self.weight_decay
            )
        return torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=0.9,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True, eq=False)
class WeakResult:
    """What was found at the epoch with the best validation accuracy of each run.

    Attributes
    ----------
    validation_accuracy, test_accuracy : Tensor
        Shape [S], in [0, 1].
    dispatch_counts : Tensor
        Of the test set without noise, shape [S, K, M].
    num_parameters : int
        Of one run.
    """

    validation_accuracy: Float[Tensor, " S"]
    test_accuracy: Float[Tensor, " S"]
    dispatch_counts: Int[Tensor, "S K M"]
    num_parameters: int


def train_weak(
    splits: Sequence[Splits],
    config: WeakConfig,
    training: WeakTraining,
    *,
    seeds: Sequence[int],
) -> WeakResult:
    """Train one run on each split, all at once.

    Parameters
    ----------
    splits : sequence of Splits
        Of equal sizes.
    config : WeakConfig
    training : WeakTraining
    seeds : sequence of int
        One for each split: initial weights, order of examples, routing noise and lots.

    Raises
    ------
    ValueError
        If there is not one split for each seed, or an oracle lacks experts.
    """
    if len(splits) != len(seeds):
        raise ValueError(
            f"seeds must be one for each of {len(splits)} splits, got {len(seeds)}"
        )
    first = splits[0].train
    clusters = len(splits[0].cluster_names)
    train, validation, test = (
        stack([getattr(s, side) for s in splits], config, seeds)
        for side in ("train", "validation", "test")
    )
    dim = train.x.shape[-1]
    model = WeakModel(config, dim=dim, num_classes=first.num_classes, seeds=seeds)
    optimizer = training.build(model)
    orders = [generator(seed, "batches") for seed in seeds]
    noises = [generator(seed, "router_noise") for seed in seeds]
    num_runs, n = train.y.shape
    runs = torch.arange(num_runs)[:, None]
    best = torch.full((num_runs,), -1.0)
    accuracy = torch.zeros(num_runs)
    counts = torch.zeros(num_runs, clusters, config.num_experts, dtype=torch.long)
    for _ in tqdm(
        range(training.epochs), desc="weak experts", leave=False, disable=None
    ):
        order = torch.stack([torch.randperm(n, generator=g) for g in orders])
        for rows in order.split(BATCH, dim=1):
            noise = None
            if model.is_routed:
                shape = (rows.shape[1], config.num_experts)
                noise = torch.stack([torch.rand(shape, generator=g) for g in noises])
            scores, index, probs = model(
                train.x[runs, rows], train.lot[runs, rows], noise
            )
            target = train.y[runs, rows]
            loss = cross_entropy(scores.flatten(0, 1), target.flatten()) * num_runs
            if probs is not None:
                loss = loss + BALANCING * load_balancing_loss(probs, index).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found, _ = _look(model, validation)
        better = found > best
        if better.any():
            best = torch.where(better, found, best)
            now, index = _look(model, test)
            accuracy = torch.where(better, now, accuracy)
            seen = dispatch_counts(
                test.cluster, index, num_groups=clusters, num_experts=config.num_experts
            )
            counts = torch.where(better[:, None, None], seen, counts)
    return WeakResult(best, accuracy, counts, model.num_parameters())


def best_of(
    splits: Sequence[Splits],
    config: WeakConfig,
    trainings: Sequence[WeakTraining],
    *,
    seeds: Sequence[int],
) -> WeakResult:
    """Train in several ways; return the one with the best mean validation accuracy.

    Parameters are those of :func:`train_weak`, with at least one way of training.
    """
    found = [train_weak(splits, config, way, seeds=seeds) for way in trainings]
    return max(found, key=lambda result: result.validation_accuracy.mean().item())


@torch.no_grad()
def _look(model: WeakModel, data: Stacked) -> tuple[Tensor, Tensor]:
    scores, index, _ = model(data.x, data.lot)
    return (scores.argmax(dim=-1) == data.y).double().mean(dim=-1).float(), index
