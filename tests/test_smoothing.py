"""Routing probabilities under uniform noise, and how fast they can move."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import quad

from moe_lib.smoothing import routing_probabilities, stability_ratio

numbers = st.floats(-2.0, 2.0)
rows = st.integers(1, 7).flatmap(lambda m: arrays(float, m, elements=numbers))
pairs = st.integers(2, 7).flatmap(lambda m: arrays(float, (2, m), elements=numbers))
SIZES = (2, 3, 8, 16)


def random_logits(random, runs, m):
    """Logits of many scales, from all but equal to mostly dominated."""
    return random.normal(size=(runs, m)) * 10 ** random.uniform(-3, 0.5, (runs, 1))


@given(rows)
def test_probabilities_are_not_negative_and_sum_to_one(h):
    p = routing_probabilities(h)
    assert p.shape == h.shape
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1, abs=1e-12)


@given(rows, st.randoms(use_true_random=False))
def test_experts_that_change_places_take_their_probability_along(h, random):
    order = [*range(len(h))]
    random.shuffle(order)
    np.testing.assert_allclose(
        routing_probabilities(h[order]), routing_probabilities(h)[order], atol=1e-12
    )


@given(rows, numbers)
def test_a_shift_of_all_logits_changes_nothing(h, shift):
    np.testing.assert_allclose(
        routing_probabilities(h + shift), routing_probabilities(h), atol=1e-12
    )


def test_equal_logits_are_an_even_choice():
    for m in range(1, 20):
        p = routing_probabilities(np.full(m, 0.3))
        np.testing.assert_allclose(p, 1 / m, atol=1e-13)


@given(st.floats(-1e6, 1e6))
def test_a_lone_expert_takes_all(h):
    assert routing_probabilities(np.array([h])).tolist() == pytest.approx([1])


@given(rows)
def test_who_is_beaten_by_one_or_more_is_never_chosen(h):
    beaten = h <= h.max() - 1
    p = routing_probabilities(h)
    assert (p[beaten] == 0).all()
    alone = routing_probabilities(h[~beaten])
    np.testing.assert_allclose(p[~beaten], alone, atol=1e-12)


@given(rows, st.integers(0, 6), st.floats(1.0, 1e3))
def test_a_lead_of_one_or_more_decides(h, leader, lead):
    leader %= len(h)
    h[leader] = h.max() + 1e-9 + lead
    expected = np.zeros(len(h))
    expected[leader] = 1
    np.testing.assert_allclose(routing_probabilities(h), expected, rtol=1e-12)


def test_huge_logits_decide_without_a_warning():
    h = np.array([[1e300, -1e300, 0.0], [-1e200, -1e200, -1e300]])
    assert routing_probabilities(h).tolist() == [[1, 0, 0], [0.5, 0.5, 0]]


@given(st.floats(-1.5, 1.5))
def test_two_experts_follow_the_triangular_law(lead):
    """P(h_1 + r_1 > h_2 + r_2), where r_2 - r_1 has a triangular density."""
    t = min(max(lead, -1), 1)
    first = (1 + t) ** 2 / 2 if t < 0 else 1 - (1 - t) ** 2 / 2
    found = routing_probabilities(np.array([lead, 0.0]))
    np.testing.assert_allclose(found, [first, 1 - first], atol=1e-12)


@pytest.mark.parametrize("m", SIZES)
def test_probabilities_equal_a_million_draws(m):
    random = np.random.default_rng(m)
    h = random.permutation(np.linspace(0, 0.8, m))
    draws, counts = 1_000_000, np.zeros(m)
    for _ in range(10):
        noise = random.random((draws // 10, m))
        counts += np.bincount((h + noise).argmax(axis=1), minlength=m)
    p = routing_probabilities(h)
    error = np.sqrt(p * (1 - p) / draws)
    assert p.min() < 0.6 / m < 1.4 / m < p.max()
    assert (np.abs(counts / draws - p) <= 4 * error).all()


def integral(h, m):
    """Adaptive quadrature of the product of the clipped lines, kinks named."""
    rest = np.delete(h, m)
    kinks = np.concatenate([rest - h[m], rest - h[m] + 1])
    inside = sorted({*kinks[(kinks > 0) & (kinks < 1)].tolist()})
    value, _ = quad(
        lambda r: math.prod(min(max(r + h[m] - q, 0), 1) for q in rest),
        0,
        1,
        points=inside or None,
        epsabs=1e-12,
    )
    return value


@given(rows)
def test_probabilities_equal_adaptive_quadrature(h):
    slow = [integral(h, m) for m in range(len(h))]
    np.testing.assert_allclose(routing_probabilities(h), slow, atol=1e-10)


def test_many_rows_are_each_row():
    h = np.random.default_rng(0).normal(size=(3, 2, 5)) / 2
    together = routing_probabilities(h)
    for at in np.ndindex(3, 2):
        np.testing.assert_allclose(together[at], routing_probabilities(h[at]))


@given(pairs)
def test_a_higher_logit_is_chosen_more_often(pair):
    h, other = pair
    assume(np.abs(h[0] - h[1]) > 1e-6)
    p = routing_probabilities(h)
    assert (p[0] - p[1]) * (h[0] - h[1]) >= -1e-12
    raised = h.copy()
    raised[0] += abs(other[0])
    change = routing_probabilities(raised) - p
    assert change[0] >= -1e-12
    assert (change[1:] <= 1e-12).all()


@given(rows, st.floats(0.0, 1.0))
def test_logits_that_differ_by_little_leave_an_almost_even_choice(h, delta):
    h = delta * (h + 2) / 4
    p = routing_probabilities(h)
    assert np.abs(p - 1 / len(h)).max() <= delta + 1e-12


@given(pairs)
def test_the_ratio_is_what_it_says(pair):
    h, other = pair
    assume(np.abs(h - other).max() > 1e-3)
    change = [
        abs(integral(h, m) - integral(other, m)) for m in range(len(h))
    ]  # of each probability
    slow = max(change) / max(abs(a - b) for a, b in zip(h, other, strict=True))
    found = stability_ratio(h[None], other[None])
    assert found.shape == (1,)
    assert found.item() == pytest.approx(slow, abs=1e-6)
    assert found.item() <= 2 + 1e-9


def worst_of_a_search(random, m, starts, step):
    """Random starts, then one sign of the direction after the other flipped."""
    h = random_logits(random, starts, m)
    direction = random.choice([-1.0, 1.0], size=(starts, m))
    best = stability_ratio(h, h + step * direction)
    for flipped in range(m):
        other = direction.copy()
        other[:, flipped] *= -1
        ratio = stability_ratio(h, h + step * other)
        better = ratio > best
        direction[better], best = other[better], np.maximum(best, ratio)
    return best.max()


@pytest.mark.parametrize("m", SIZES)
def test_two_is_the_constant_whatever_the_number_of_experts(m):
    random = np.random.default_rng(m)
    worst = worst_of_a_search(random, m, starts=150, step=1e-4)
    far = (random_logits(random, 2000, m) for _ in "ab")
    assert 1.99 <= worst <= 2 + 1e-9
    assert stability_ratio(*far).max() <= 2 + 1e-9


def test_a_step_of_two_tied_leaders_attains_the_constant():
    h = np.array([[0.5, 0.5, -3.0, -0.6]])
    for step, expected in ((1e-3, 2 - 2e-3), (0.5, 1.0)):
        # the lead 2 t of the first moves its probability by 2 t - 2 t^2
        other = h + step * np.array([1.0, -1.0, 0.0, 0.0])
        assert stability_ratio(h, other).item() == pytest.approx(expected)


def test_ratios_of_many_rows_are_each_ratio():
    h, other = np.random.default_rng(0).normal(size=(2, 3, 2, 5))
    together = stability_ratio(h, other)
    assert together.shape == (3, 2)
    for at in np.ndindex(3, 2):
        alone = stability_ratio(h[at][None], other[at][None])
        assert together[at] == pytest.approx(alone.item())


def test_the_ratio_of_one_row():
    assert stability_ratio(np.array([0.0, 0.0]), np.array([0.0, 1.0])) == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    message = "^logits must be finite, got 1 NaN or infinite values$"
    h = np.array([[0.0, 1.0], [bad, 0.0]])
    with pytest.raises(ValueError, match=message):
        routing_probabilities(h)


def test_logits_that_are_none_are_refused():
    message = r"^logits must have at least 1 axes, .*, got shape \[3, 0\]$"
    with pytest.raises(ValueError, match=message):
        routing_probabilities(np.empty((3, 0)))


def test_rows_that_do_not_move_are_refused():
    h = np.zeros((2, 3))
    other = h.copy()
    other[0, 0] = 1
    with pytest.raises(
        ValueError, match=r"^logits and others must differ in every row"
    ):
        stability_ratio(h, other)
