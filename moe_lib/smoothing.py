"""Lemma 5.1: routing noise makes the choice of an expert a smooth function of logits.

Axes: M experts.
"""

import numpy as np
from jaxtyping import Float

from moe_lib.checks import check_array


def routing_probabilities(
    logits: Float[np.ndarray, "*S M"],
) -> Float[np.ndarray, "*S M"]:
    """Return p_m, the probability that expert m is chosen under uniform noise.

    p_m = P(argmax_q {h_q + r_q} = m) with r independent and uniform on [0, 1]. Given
    r_m = r, each rival q stays below with probability G(r + h_m - h_q), where G clips
    to [0, 1], so p_m is the integral over r of their product. That is a polynomial
    between the kinks of the G, and Gauss-Legendre nodes integrate it without an error
    beyond rounding. (The gate value is another thing: the softmax of the logits.)

    Parameters
    ----------
    logits : array
        h, finite, shape [..., M] with M >= 1.

    Raises
    ------
    ValueError
        If a logit is not finite or there is none.
    TypeError
        If ``logits`` is no NumPy array.

    References
    ----------
    Chen et al. (2022), Lemma 5.1 and equation (5.1). The integral is ours.
    """
    check_array("logits", logits, num_axes=1)
    num_experts = logits.shape[-1]
    nodes, weights = np.polynomial.legendre.leggauss((num_experts + 1) // 2)
    nodes, weights = (nodes + 1) / 2, weights / 2  # on [0, 1]
    probabilities = np.empty(logits.shape)
    for m in range(num_experts):
        lead = logits[..., m, None] - np.delete(logits, m, axis=-1)  # [..., M - 1]
        start = np.clip(-lead, 0, 1).max(axis=-1, initial=0)[..., None]
        kinks = np.sort(np.clip(1 - lead, 0, 1), axis=-1)
        ends = np.concatenate([start, kinks, np.ones_like(start)], axis=-1)
        ends = np.maximum(ends, start)
        width = np.diff(ends, axis=-1)
        r = ends[..., :-1, None] + width[..., None] * nodes
        below = np.clip(r[..., None] + lead[..., None, None, :], 0, 1).prod(axis=-1)
        probabilities[..., m] = (width * (below @ weights)).sum(axis=-1)
    return probabilities


def stability_ratio(
    logits: Float[np.ndarray, "*S M"], others: Float[np.ndarray, "*S M"]
) -> Float[np.ndarray, "*S"]:
    """Return by how much probabilities moved, relative to the logits.

    The largest change of a p_m divided by the largest change of a logit. It never
    exceeds 2, for any number of experts.

    Parameters
    ----------
    logits, others : array
        Two rows of logits, h and h', shape [..., M].

    Raises
    ------
    ValueError
        If two rows are equal (nothing moved), a logit is not finite, or shapes differ.

    References
    ----------
    Chen et al. (2022), Lemma 5.1, bound it by M^2. The constant 2 is ours; its proof
    stands on the page on routing.
    """
    for name, array in (("logits", logits), ("others", others)):
        check_array(name, array, num_axes=1)
    if logits.shape != others.shape:
        raise ValueError(
            "logits and others must have equal shapes, "
            f"got {logits.shape} and {others.shape}"
        )
    moved = np.abs(logits - others).max(axis=-1)
    if (moved == 0).any():
        raise ValueError("logits and others must differ in every row")
    change = routing_probabilities(logits) - routing_probabilities(others)
    return np.asarray(np.abs(change).max(axis=-1) / moved)
