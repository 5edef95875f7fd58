"""Numeric checks of the inequalities in proofs that no library function carries."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from moe_lib.theory import best_additive_scores

K, Q = 3, 2  # clusters, and strengths that a feature patch can have


def outputs(plus, minus, center):
    """Return y F of every equally likely example of a small world without noise.

    Scores of v_k and -v_k have shape [N, Q, K], those of c_k [N, K]; both laws of
    strength are uniform.
    """
    score = {1: plus, -1: minus}
    found = []
    for k, other, y, sign, a, g in product(
        range(K), range(K), (1, -1), (1, -1), range(Q), range(Q)
    ):
        if k != other:
            total = score[y][:, a, k] + score[sign][:, g, other] + center[:, k]
            found.append(y * total)
    return np.stack(found, axis=-1)


def symmetrised(plus, minus, center):
    """Average over all renamings of clusters, and the reflection with its sign."""
    orders = [list(order) for order in permutations(range(K))]
    plus, minus = (
        np.mean([scores[..., order] for order in orders], axis=0)
        for scores in (plus, minus)
    )
    return (plus - minus) / 2, (minus - plus) / 2, np.zeros_like(center)


def random_scores(seed, n=2000):
    rng = np.random.default_rng(seed)
    shapes = ((n, Q, K), (n, Q, K), (n, K))
    scores = [rng.normal(size=shape) * rng.choice([0.1, 1, 5]) for shape in shapes]
    best, center = best_additive_scores(K)
    scores[0][0], scores[1][0], scores[2][0] = best, -best, center
    return scores


@pytest.mark.parametrize("seed", range(3))
def test_symmetrising_never_raises_a_convex_risk_and_costs_the_second_eighth(seed):
    scores = random_scores(seed)
    margin, even = outputs(*scores), outputs(*symmetrised(*scores))

    def risk(z):
        return np.logaddexp(0, -z).mean(axis=-1)

    assert (risk(even) <= risk(margin) + 1e-12).all()
    assert (risk(even) < risk(margin)).mean() > 0.99  # strictly
    errors = (margin <= 0).mean(axis=-1)
    assert errors.min() >= 1 / 8
    assert errors[0] == 1 / 8  # the first is the best: it has no symmetry
    assert ((even <= 0).mean(axis=-1) >= 1 / 4).all()


@given(
    first=st.floats(0.5, 2),
    others=st.lists(st.floats(-2, 0.99), min_size=1, max_size=5),
)
def test_losers_stay_below_the_bound_and_keep_their_sign(first, others):
    start = np.array([first, *(first * x for x in others)])
    end = 0.999 / first  # just before the first blows up
    path = solve_ivp(lambda _, s: s**2, (0, end), start, rtol=1e-9, atol=1e-12)
    last = path.y[:, -1]
    assert last[0] > 100 * first
    for s, now in zip(start[1:], last[1:], strict=True):
        if s > 0:
            assert s <= now <= s * first / (first - s) * (1 + 1e-6)
        else:
            assert s - 1e-9 <= now <= 0


@given(c=st.floats(0.1, 10), steps=st.integers(200, 400))
def test_the_timing_law_is_the_sum_that_it_stands_for(c, steps):
    """Summing the rates step by step reaches 1 at t_r, up to one step or two."""
    K_, M, eta = 4, 8, 0.01
    slope = 0.5 * (1 / M) * (1 - 1 / M)
    router_lr = 4 * K_ * M / (slope * 2.25 * c * eta**3 * steps**4)
    t = np.arange(2 * steps)
    rate = router_lr / (K_ * M) * slope * 1.5 * c * (eta * t) ** 3
    reached = int((1.5 * rate.cumsum() >= 1).argmax())
    assert abs(reached - steps) <= 2
