"""Theorem 4.1: what no sum of patch scores can do, and the sum that does the rest.

Axes: n examples, P patches, d dimensions, K clusters.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from moe_lib.checks import check_array, check_int, check_range
from moe_lib.config import DataConfig
from moe_lib.data import Signals

QUANTILES = 2**16  # of each law; an error of about their inverse
ON_AXIS = 1e-4  # largest share of a patch's squared length that is off its axis
EDGE = 1e-5  # relative; strengths are read off patches of single precision


@runtime_checkable
class Law(Protocol):
    """A distribution of ``scipy.stats``, continuous (with pdf) or discrete (pmf)."""

    def ppf(self, q: ArrayLike) -> Any:
        """Return quantiles."""

    def support(self) -> tuple[Any, Any]:
        """Return the ends of the support."""


Strength = tuple[float, float] | Law


def additive_error_bound(alpha: Strength, gamma: Strength) -> float:
    """Return a lower bound on the error of every classifier F(x) = sum_p f(x_p).

    The bound is (1/8) (1 - TV) with TV the total-variation distance between the laws
    of (alpha, gamma) and (gamma, alpha). It holds for any f, trained or not: any width,
    any activation. It is also (1/4) (1 - AUC), where AUC is the probability that the
    likelihood ratio ranks a signal's strength above a noise's.

    Parameters
    ----------
    alpha, gamma : tuple[float, float] or frozen distribution of scipy.stats
        Laws of the strengths (> 0) of feature signal and feature noise; a pair
        (0 < low <= high) means uniform. Two equal pairs give 1/8, also where they are
        a single point. The bound is exact for two pairs, else right to four digits.

    Returns
    -------
    float
        In (0, 1/8].

    Raises
    ------
    ValueError
        If the laws have no common support: nothing can be exchanged, nothing follows.

    References
    ----------
    Chen et al. (2022), Theorem 4.1, is the case of equal laws. The general bound is
    ours; its proof stands in the chapter on the single expert.
    """
    for name, law in (("alpha", alpha), ("gamma", gamma)):
        if not isinstance(law, Law):
            check_range(name, law)
    if isinstance(alpha, tuple) and isinstance(gamma, tuple):
        share = _exchangeable_of_ranges(alpha, gamma)
    else:
        share = _exchangeable(_as_law("alpha", alpha), _as_law("gamma", gamma))
    if share == 0:
        raise ValueError(
            "alpha and gamma must have a common support of positive probability, so "
            "that a signal and a noise can exchange their strengths, "
            f"got {_words(alpha)} and {_words(gamma)}"
        )
    return share / 8


def _words(strength: Any) -> str:
    """Name a law as one would write it."""
    if isinstance(strength, tuple):
        return f"{strength}"
    frozen = getattr(strength, "dist", strength)
    return f"the law {frozen.name} on {strength.support()}"


def _exchangeable_of_ranges(
    alpha: tuple[float, float], gamma: tuple[float, float]
) -> float:
    """Return 1 - TV for uniform laws."""
    if alpha == gamma:
        return 1.0
    area = (alpha[1] - alpha[0]) * (gamma[1] - gamma[0])
    overlap = max(0.0, min(alpha[1], gamma[1]) - max(alpha[0], gamma[0]))
    return overlap**2 / area if area > 0 else 0.0


def _as_law(name: str, strength: Strength) -> Law:
    if isinstance(strength, tuple):
        from scipy import stats  # whoever brings a law has it

        low, high = strength
        if low == high:
            raise ValueError(
                f"{name} must not be a single point beside a law of the other, "
                f"got {strength}"
            )
        return stats.uniform(low, high - low)
    low, high = strength.support()
    if not low >= 0:
        raise ValueError(f"{name} must be positive, got a law on [{low}, {high}]")
    return strength


def _exchangeable(alpha: Law, gamma: Law) -> float:
    """Return 1 - TV = 2 (1 - AUC) on a grid of quantiles."""
    grid = (np.arange(QUANTILES) + 0.5) / QUANTILES

    def density(law: Law, at: NDArray) -> NDArray:
        named = law.pdf if hasattr(law, "pdf") else law.pmf  # type: ignore[attr-defined]
        return np.asarray(named(at), dtype=float)

    def likeness(law: Law) -> NDArray:
        """Return how much a strength looks like a signal's, from 0 to 1, sorted."""
        at = np.asarray(law.ppf(grid), dtype=float)
        signal, noise = density(alpha, at), density(gamma, at)
        return np.sort(np.round(signal / (signal + noise), 9))  # so that ties tie

    of_signals, of_noises = likeness(alpha), likeness(gamma)
    below = np.searchsorted(of_noises, of_signals, side="left").mean()
    up_to = np.searchsorted(of_noises, of_signals, side="right").mean()
    return float(2 - (below + up_to) / QUANTILES)


def additive_ceiling(config: DataConfig) -> float:
    """Return the accuracy in [0.875, 1) that no single expert can exceed on average.

    Raises
    ------
    ValueError
        If the ranges of alpha and gamma do not overlap: then there is no ceiling.

    References
    ----------
    See :func:`additive_error_bound`.
    """
    return 1 - additive_error_bound(config.alpha, config.gamma)


def best_additive_scores(
    num_clusters: int,
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Return A and B of the best sum of patch scores at equal laws of strength.

    The score is f(z) = A_k sign<z, v_k> on feature patches, B_k on the centre patch of
    cluster k, and 0 on Gaussian patches. The A_k fall, by gaps that double; each B_k
    lies between two gaps, so that cluster k takes its own side against all clusters
    after it, and for one of the two labels also against those before it.

    Parameters
    ----------
    num_clusters : int
        K in [2, 40]: beyond, gaps of 2^K are no longer exact.

    References
    ----------
    Ours; the proof that its error is 1/8 stands on the page on the single expert.
    """
    check_int("num_clusters", num_clusters, at_least=2)
    if num_clusters > 40:
        raise ValueError(f"num_clusters must be at most 40, got {num_clusters}")
    gap = 2.0 ** np.arange(num_clusters - 1)
    feature = 4 * gap.sum() - np.concatenate([[0], np.cumsum(gap)])
    behind = feature[0] - feature  # the largest gap that cluster k loses by
    ahead = feature - np.append(feature[1:], 0)  # the smallest that it wins by
    center = np.where(behind > 0, (behind + ahead) / 2, 0.0)
    return feature, center


def configuration_error(
    plus: Float[np.ndarray, "*S K"],
    minus: Float[np.ndarray, "*S K"],
    center: Float[np.ndarray, "*S K"],
) -> Float[np.ndarray, "*S"]:
    """Return the exact error of sums of patch scores when all strengths are equal.

    All 4 K (K - 1) combinations of cluster, noise cluster, label and noise sign are
    counted; an output of 0 is an error. It is never below 1/8.

    Parameters
    ----------
    plus, minus, center : array, shape [..., K]
        f(v_k), f(-v_k) and f(c_k) of one or many classifiers.

    Raises
    ------
    ValueError
        If K is less than 2, the shapes differ, or a score is not finite.

    References
    ----------
    Ours: the combinations of Definition 3.1, Chen et al. (2022).
    """
    for name, scores in (("plus", plus), ("minus", minus), ("center", center)):
        check_array(name, scores, num_axes=1)
    if not plus.shape == minus.shape == center.shape:
        raise ValueError(
            "plus, minus and center must have equal shapes, "
            f"got {plus.shape}, {minus.shape} and {center.shape}"
        )
    num_clusters = plus.shape[-1]
    check_int("the last axis of plus", num_clusters, at_least=2)
    score = {1: plus, -1: minus}
    wrong = np.zeros(plus.shape[:-1])
    others = ~np.eye(num_clusters, dtype=bool)
    for y in (1, -1):
        own = (score[y] + center)[..., :, None]
        for noise_sign in (1, -1):
            output = own + score[noise_sign][..., None, :]
            wrong += ((y * output <= 0) & others).sum(axis=(-2, -1))
    return np.asarray(wrong / (4 * num_clusters * (num_clusters - 1)))


@torch.no_grad()
def best_additive_output(
    x: Float[Tensor, "n P d"],
    signals: Signals,
    alpha: tuple[float, float],
    gamma: tuple[float, float],
) -> Float[Tensor, " n"]:
    """Return F(x) = sum_p f(x_p), in double, with the f that attains the bound.

    It knows the signals and the ranges: a strength that only a feature signal can have
    is believed in any case, one that only feature noise can have counts for nothing,
    and between the two decide the scores of :func:`best_additive_scores`. A patch that
    is no multiple of a signal is Gaussian and scores 0.

    Parameters
    ----------
    x : Tensor
        Patches, shape [n, P, d].
    signals : Signals
        Orthonormal, shape [K, d] each.
    alpha, gamma : tuple[float, float]
        Ranges of the uniform strengths.

    Raises
    ------
    ValueError
        If the signals are not orthonormal, or x is not finite or of another dimension.

    References
    ----------
    Ours.
    """
    check_range("alpha", alpha)
    check_range("gamma", gamma)
    num_clusters, dim = signals.feature.shape
    if x.shape[-1] != dim or not x.isfinite().all():
        raise ValueError(
            f"x must be finite, with patches of dimension {dim}, got {list(x.shape)}"
        )
    axes = torch.cat([signals.feature, signals.center])
    gram = axes.double() @ axes.double().T
    off = (gram - torch.eye(len(axes), dtype=gram.dtype, device=gram.device)).abs()
    if off.max() > ON_AXIS:
        raise ValueError(
            "signals must be orthonormal, got inner products that are off by "
            f"{off.max().item():.2g}"
        )
    along = (x @ axes.T).double()  # scores of many clusters need all digits
    strength, axis = along.abs().max(dim=-1)
    on_axis = (x.double() ** 2).sum(dim=-1) - strength**2 <= ON_AXIS * strength**2

    def within(limits: tuple[float, float]) -> Tensor:
        low, high = limits[0] * (1 - EDGE), limits[1] * (1 + EDGE)
        return (low <= strength) & (strength <= high)

    scores = np.concatenate(best_additive_scores(num_clusters))
    score = torch.tensor(scores, device=x.device)[axis]
    is_feature = axis < num_clusters
    surely = 2 * scores.max()  # more than all that can speak against it
    score = torch.where(is_feature & ~within(gamma), surely, score)
    score = torch.where(is_feature & ~within(alpha), 0.0, score)
    sign = torch.where(is_feature, along.gather(-1, axis[..., None])[..., 0].sign(), 1)
    return (score * sign * on_axis).sum(dim=-1)
