"""Definition 3.1: examples made of patches, in clusters that nobody tells the model.

Axes: S runs, n examples, P patches, d dimensions, K clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int, Num, Shaped
from torch import Tensor

from moe_lib.checks import check_choice, check_int, check_labels, checked_examples
from moe_lib.config import DataConfig
from moe_lib.rng import generator as make_generator


class PatchRole(IntEnum):
    """What a patch is. A model never sees this."""

    FEATURE = 0
    CENTER = 1
    FEATURE_NOISE = 2
    NOISE = 3


@dataclass(frozen=True, eq=False)
class Signals:
    """The 2 K orthonormal directions from which all examples are made.

    Attributes
    ----------
    feature : Tensor
        v, shape [K, d] or [S, K, d]: the direction that carries the label in cluster k.
    center : Tensor
        c, same shape: the direction that tells cluster k.
    """

    feature: Float[Tensor, "*runs K d"]
    center: Float[Tensor, "*runs K d"]

    def to(self, target: torch.device | torch.dtype | str) -> "Signals":
        """Return the signals on another device or in another dtype."""
        return Signals(self.feature.to(target), self.center.to(target))


@dataclass(frozen=True, eq=False)
class PatchDataset:
    """Labelled examples, with what is known of their hidden structure.

    Attributes
    ----------
    x : Tensor
        Patches, shape [n, P, d]; with a leading runs axis [S, n, P, d] when each run
        has its own data.
    y : Tensor
        Labels, shape [n] or [S, n]: -1 or +1 in the dtype of ``x``, or class indices
        (torch.long) where there are more than two classes.
    cluster : Tensor or None
        Cluster k of each example. None for data from outside without cluster ids.
    noise_cluster, noise_sign : Tensor or None
        The cluster k' != k whose signal appears as feature noise, and its sign epsilon.
    patch_role : Tensor or None
        The :class:`PatchRole` of each patch, shape [n, P] or [S, n, P].
    signals : Signals or None
        The directions from which the examples were made.
    num_clusters : int or None
        K; the largest cluster id plus one where it is not given.
    num_classes : int
        Classes that ``y`` tells apart, >= 2.
    """

    x: Float[Tensor, "*runs n P d"]
    y: Num[Tensor, "*runs n"]
    cluster: Int[Tensor, "*runs n"] | None = None
    noise_cluster: Int[Tensor, "*runs n"] | None = None
    noise_sign: Float[Tensor, "*runs n"] | None = None
    patch_role: Int[Tensor, "*runs n P"] | None = None
    signals: Signals | None = None
    num_clusters: int | None = None
    num_classes: int = 2

    def __post_init__(self) -> None:
        if self.y.shape != self.x.shape[:-2]:
            raise ValueError(
                f"y must have the shape of x without patches and dimensions, "
                f"{list(self.x.shape[:-2])}, got {list(self.y.shape)}"
            )
        check_labels(self.y, self.num_classes)
        if self.num_clusters is None and self.cluster is not None:
            object.__setattr__(self, "num_clusters", int(self.cluster.max()) + 1)

    @cached_property
    def patch_sum(self) -> Float[Tensor, "*runs n d"]:
        """Sum of the patches of each example: all that a router sees of it."""
        return self.x.sum(dim=-2)

    def __len__(self) -> int:
        """Return n, the number of examples (of each run)."""
        return self.y.shape[-1]

    def to(self, target: torch.device | torch.dtype | str) -> "PatchDataset":
        """Return the data on another device, or its real parts in another dtype."""
        real_only = isinstance(target, torch.dtype)
        moved = {
            name: value.to(target)
            for name, value in _tensors(self).items()
            if value.is_floating_point() or not real_only
        }
        signals = None if self.signals is None else self.signals.to(target)
        return replace(self, **moved, signals=signals)

    def head(self, num_examples: int) -> "PatchDataset":
        """Return the first ``num_examples`` (>= 1) examples (of each run)."""
        check_int("num_examples", num_examples, at_least=1)
        runs = self.y.dim() - 1
        rows = (slice(None),) * runs + (slice(num_examples),)
        return replace(self, **{k: v[rows] for k, v in _tensors(self).items()})

    @staticmethod
    def from_tensors(
        x: Shaped[Tensor, "..."],
        y: Shaped[Tensor, "..."],
        cluster: Shaped[Tensor, "..."] | None = None,
        *,
        num_patches: int = 4,
    ) -> "PatchDataset":
        """Check data from outside and bring it to the form that all models take.

        Parameters
        ----------
        x : Tensor
            Floating point, finite, shape [n, P, d] with P >= 2, or the flat layout
            [n, 1, P*d] of the authors' code.
        y : Tensor
            n labels in {-1, 1} or in {0, 1} (0 becomes -1).
        cluster : Tensor, optional
            n integer cluster ids >= 0.
        num_patches : int
            P, read only to unfold the flat layout.

        Raises
        ------
        TypeError, ValueError
            If a shape, a dtype or a value breaks these rules.
        """
        x = checked_examples(x, y, cluster, num_patches)
        cluster = None if cluster is None else cluster.long()
        return PatchDataset(x=x, y=torch.where(y > 0, 1, -1).to(x), cluster=cluster)


def _tensors(data: PatchDataset) -> dict[str, Any]:
    """Name what is known of each example."""
    values = {f.name: getattr(data, f.name) for f in fields(data)}
    return {k: v for k, v in values.items() if isinstance(v, Tensor)}


def sample_signals(config: DataConfig, *, generator: torch.Generator) -> Signals:
    """Draw the 2 K orthonormal signals, uniformly among all orthonormal frames.

    References
    ----------
    Chen et al. (2022), Definition 3.1. The uniform (Haar) law is ours: the paper only
    asks for orthonormality.
    """
    k = config.num_clusters
    gaussian = torch.randn(config.dim, 2 * k, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    frame = (q * r.diagonal().sign()).T.float()
    return Signals(feature=frame[:k].clone(), center=frame[k:].clone())


def sample_dataset(
    config: DataConfig,
    signals: Signals,
    num_examples: int,
    *,
    generator: torch.Generator,
) -> PatchDataset:
    """Draw examples from the distribution of Definition 3.1, patches shuffled.

    Parameters
    ----------
    config : DataConfig
        Ranges, noise level, K, P and d.
    signals : Signals
        Feature signals v and cluster centres c, shape [K, d] each.
    num_examples : int
        n >= 1.
    generator : torch.Generator
        Source of all draws.

    Returns
    -------
    PatchDataset
        float32 patches [n, P, d] with all hidden labels kept.

    References
    ----------
    Chen et al. (2022), Definition 3.1.
    """
    check_int("num_examples", num_examples, at_least=1)
    n, k_max, p, d = num_examples, config.num_clusters, config.num_patches, config.dim
    if signals.feature.shape != (k_max, d) or signals.center.shape != (k_max, d):
        raise ValueError(
            f"signals must have shape ({k_max}, {d}), got "
            f"{tuple(signals.feature.shape)} and {tuple(signals.center.shape)}"
        )

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, generator=generator)

    def sign() -> Tensor:
        return torch.randint(0, 2, (n,), generator=generator).float() * 2 - 1

    cluster = torch.randint(0, k_max, (n,), generator=generator)
    shift = torch.randint(1, k_max, (n,), generator=generator)
    noise_cluster = (cluster + shift) % k_max
    y, noise_sign = sign(), sign()
    alpha, beta, gamma = (
        uniform(*r) for r in (config.alpha, config.beta, config.gamma)
    )
    # A random order of 0..P-1 in each row; whatever comes after the three signals
    # is Gaussian noise.
    order = torch.rand(n, p, generator=generator).argsort(dim=1)
    role = order.clamp(max=PatchRole.NOISE)

    x = torch.randn(n, p, d, generator=generator) * (config.sigma_p / d**0.5)
    x[role == PatchRole.FEATURE] = y[:, None] * alpha * signals.feature[cluster]
    x[role == PatchRole.CENTER] = beta * signals.center[cluster]
    x[role == PatchRole.FEATURE_NOISE] = (
        noise_sign[:, None] * gamma * signals.feature[noise_cluster]
    )
    return PatchDataset(x, y, cluster, noise_cluster, noise_sign, role, signals, k_max)


def make_split(config: DataConfig, seed: int, split: str) -> PatchDataset:
    """Draw the ``train`` or the ``test`` set of one seed, with the same signals.

    Raises
    ------
    TypeError, ValueError
        If the seed is not an integer >= 0 or the split is unknown.
    """
    check_choice("split", split, ("train", "test"))
    signals = sample_signals(config, generator=make_generator(seed, "signals"))
    n = config.num_train if split == "train" else config.num_test
    generator = make_generator(seed, f"{split}_data")
    return sample_dataset(config, signals, n, generator=generator)


def make_data(config: DataConfig, seed: int) -> tuple[PatchDataset, PatchDataset]:
    """Draw the training set and the test set of one seed: see :func:`make_split`."""
    return make_split(config, seed, "train"), make_split(config, seed, "test")


def stack_runs(datasets: Sequence[PatchDataset]) -> PatchDataset:
    """Put the data of several runs side by side along a new leading runs axis.

    Raises
    ------
    ValueError
        If there is none, or if their shapes or known labels differ.
    """
    if not datasets:
        raise ValueError("datasets must hold at least one data set, got none")
    shapes = {tuple(data.x.shape) for data in datasets}
    if len(shapes) > 1:
        raise ValueError(f"datasets must have equal shapes, got {sorted(shapes)}")
    known = {tuple(_tensors(data)) for data in datasets}
    if len(known) > 1:
        raise ValueError(f"datasets must know the same labels, got {sorted(known)}")
    classes = {data.num_classes for data in datasets}
    if len(classes) > 1:
        raise ValueError(f"datasets must have equal num_classes, got {sorted(classes)}")
    tensors: dict[str, Any] = {
        name: torch.stack([getattr(data, name) for data in datasets])
        for name in known.pop()
    }
    signals = [data.signals for data in datasets if data.signals is not None]
    if len(signals) == len(datasets):
        tensors["signals"] = Signals(
            torch.stack([s.feature for s in signals]),
            torch.stack([s.center for s in signals]),
        )
    num_clusters = max(data.num_clusters or 0 for data in datasets) or None
    return PatchDataset(**tensors, num_clusters=num_clusters, num_classes=classes.pop())
