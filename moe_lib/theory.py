"""What can be known before any training: ceilings of additive classifiers."""

from moe_lib.checks import check_range
from moe_lib.config import DataConfig


def additive_error_bound(
    alpha: tuple[float, float], gamma: tuple[float, float]
) -> float:
    """Return a lower bound on the error of every classifier F(x) = sum_p f(x_p).

    The bound is (1/8) (1 - TV) with TV the total-variation distance between the laws
    of (alpha, gamma) and (gamma, alpha), both strengths uniform. It holds for any f,
    trained or not: any width, any activation.

    Parameters
    ----------
    alpha, gamma : tuple[float, float]
        Ranges (0 < low <= high) of the strengths of feature signal and feature noise.
        Two equal ranges give 1/8, also where they are a single point.

    Returns
    -------
    float
        In [0, 1/8].

    References
    ----------
    Chen et al. (2022), Theorem 4.1, is the case of equal laws. The general bound is
    ours; its proof stands in the chapter on the single expert.
    """
    check_range("alpha", alpha)
    check_range("gamma", gamma)
    if alpha == gamma:
        return 1 / 8
    area = (alpha[1] - alpha[0]) * (gamma[1] - gamma[0])
    overlap = max(0.0, min(alpha[1], gamma[1]) - max(alpha[0], gamma[0]))
    return overlap**2 / area / 8 if area > 0 else 0.0


def additive_ceiling(config: DataConfig) -> float:
    """Return the accuracy in [0.875, 1] that no single expert can exceed on average.

    References
    ----------
    See :func:`additive_error_bound`.
    """
    return 1 - additive_error_bound(config.alpha, config.gamma)
