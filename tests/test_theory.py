"""The ceiling of additive classifiers: bound, known values, and that it is reached."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import setting
from moe_lib.theory import additive_ceiling, additive_error_bound
from tests.toys import data_config, draw

bounds = st.floats(0.1, 3.0)
# Ranges much longer than a cell of the grid that integrates over them.
ranges = st.tuples(bounds, bounds).map(sorted).map(tuple)
wide = ranges.filter(lambda r: r[1] - r[0] > 0.3)


def density(points, interval):
    low, high = interval
    return ((points >= low) & (points <= high)) / (high - low)


def integrated_bound(alpha, gamma, cells=1500):
    """(1/8) of the integral of min{p_a(s) p_g(t), p_a(t) p_g(s)} by midpoints."""
    width = 3.2 / cells
    points = (np.arange(cells) + 0.5) * width
    a, g = density(points, alpha), density(points, gamma)
    joint = np.outer(a, g)
    return np.minimum(joint, joint.T).sum() * width**2 / 8


@given(alpha=wide, gamma=wide)
def test_bound_equals_the_numeric_integral(alpha, gamma):
    # one cell too many or too few at each end of two ranges: about 3 per cent
    expected = integrated_bound(alpha, gamma)
    assert additive_error_bound(alpha, gamma) == pytest.approx(
        expected, rel=0.04, abs=2e-4
    )


@given(alpha=ranges, gamma=ranges)
def test_bound_is_symmetric_and_between_zero_and_an_eighth(alpha, gamma):
    bound = additive_error_bound(alpha, gamma)
    assert 0 <= bound <= 1 / 8
    assert bound == pytest.approx(additive_error_bound(gamma, alpha))


@given(ranges)
def test_equal_laws_give_one_eighth(interval):
    assert additive_error_bound(interval, interval) == 1 / 8


@pytest.mark.parametrize(
    ("alpha", "gamma", "bound"),
    [
        ((1.0, 2.0), (2.5, 3.0), 0),  # disjoint
        ((1.0, 2.0), (2.0, 3.0), 0),  # touching in one point
        ((1.0, 1.0), (1.0, 1.0), 1 / 8),  # the same point
        ((1.0, 1.0), (2.0, 2.0), 0),  # two points
        ((1.0, 1.0), (0.5, 2.0), 0),  # a point inside a range
        ((1.0, 2.0), (1.0, 3.0), 1 / 16),
    ],
)
def test_special_ranges(alpha, gamma, bound):
    assert additive_error_bound(alpha, gamma) == bound


@pytest.mark.parametrize(
    ("name", "ceiling"),
    [("1", 0.925), ("2", 0.925), ("3", 0.875), ("4", 0.875), ("verify", 0.875)],
)
def test_ceilings_of_the_settings(name, ceiling):
    assert additive_ceiling(setting(name)) == pytest.approx(ceiling, abs=1e-12)


def test_disjoint_strengths_have_no_ceiling():
    assert additive_ceiling(data_config(alpha=(1.0, 2.0), gamma=(3.0, 4.0))) == 1


def optimal_outputs(data, largest_alpha):
    """F(x) = sum_p f(x_p) with the best f for K = 4 clusters.

    f(z) = sum_k A_k sign<z, v_k> 1[|<z, v_k>| <= largest alpha] + B_k 1[<z, c_k> > 0],
    and f = 0 on patches outside the span of the signals.
    """
    weight_a = torch.tensor([28.0, 27, 25, 21])
    weight_b = torch.tensor([0, 1.5, 3.5, 14])
    v = data.x @ data.signals.feature.T
    c = data.x @ data.signals.center.T
    outside = (data.x**2).sum(-1) - (v**2).sum(-1) - (c**2).sum(-1) > 1e-3
    v = v * (v.abs() > 1e-3) * (v.abs() <= largest_alpha)
    f = v.sign() @ weight_a + (c > 1e-3).float() @ weight_b
    return f.masked_fill(outside, 0).sum(-1)


@pytest.mark.parametrize("name", ["1", "2", "3", "4", "verify"])
def test_the_best_additive_classifier_reaches_the_ceiling(name):
    config, n = setting(name), 40_000
    data = draw(config, n)
    right = (optimal_outputs(data, config.alpha[1]) * data.y > 0).double().mean()
    ceiling = additive_ceiling(config)
    standard_error = (ceiling * (1 - ceiling) / n) ** 0.5
    assert right.item() == pytest.approx(ceiling, abs=4 * standard_error)
