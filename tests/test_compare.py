"""Paired differences, and the convex baseline."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from sklearn.linear_model import LogisticRegression

from moe_lib.compare import STRENGTHS, logistic_accuracy, paired_difference
from moe_lib.data import PatchDataset
from moe_lib.splits import Splits
from tests.toys import normal

A = np.array([0.8, 0.7, 0.9, 0.85, 0.6])
B = np.array([0.7, 0.75, 0.7, 0.8, 0.5])


def test_without_overlap_the_interval_is_that_of_the_paired_t_test():
    found = paired_difference(A, B, num_train=10**12, num_test=1)
    interval = ttest_rel(A, B).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx((A - B).mean())
    assert (found.wins, found.num_splits) == (4, 5)


def test_overlap_widens_the_interval():
    plain = paired_difference(A, B, num_train=10**12, num_test=1)
    wide = paired_difference(A, B, num_train=60, num_test=25)
    ratio = (wide.high - wide.low) / (plain.high - plain.low)
    assert ratio == pytest.approx((1 + 5 * 25 / 60) ** 0.5)


@pytest.mark.parametrize(
    ("shift", "verdict"), [(1.0, "better"), (-1.0, "worse"), (0.0, "open")]
)
def test_the_verdict_is_what_the_interval_supports(shift, verdict):
    found = paired_difference(A + shift, B, num_train=60, num_test=25)
    assert found.verdict == verdict


def test_it_is_antisymmetric():
    one = paired_difference(A, B, num_train=6, num_test=2)
    two = paired_difference(B, A, num_train=6, num_test=2)
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": A[:4]}, "first and second must be of one length .*, got 5 and 4"),
        ({"first": A[:1], "second": B[:1]}, "length of at least 2, got 1 and 1"),
        ({"first": A * np.nan}, "first must be finite"),
        ({"num_test": 0}, "num_test must be at least 1, got 0"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"first": A, "second": B, "num_train": 60, "num_test": 25} | change
    with pytest.raises(ValueError, match=message):
        paired_difference(**arguments)


def side(n, seed, *, turned=False):
    """Return examples that a line separates, if wanted with wrong labels."""
    x = normal(n, 1, 5, seed=seed).float()
    return PatchDataset(x, torch.where((x[:, 0, 0] > 0.2) != turned, 1.0, -1.0))


def test_logistic_regression_solves_what_a_line_separates():
    splits = Splits(side(800, 0), side(100, 1), side(400, 2), None, ("all",))
    assert logistic_accuracy(splits) > 0.98


def test_its_penalty_is_chosen_on_the_validation_set():
    # Validation labels are turned round: the best penalty is the worst for the test.
    wrong = side(400, 1, turned=True)
    train, test = side(60, 0), side(400, 2)
    accuracies = [
        LogisticRegression(C=strength, max_iter=5000)
        .fit(train.x[:, 0].numpy(), train.y.numpy())
        .score(test.x[:, 0].numpy(), test.y.numpy())
        for strength in STRENGTHS
    ]
    assert min(accuracies) < max(accuracies) - 0.05
    found = logistic_accuracy(Splits(train, wrong, test, None, ("all",)))
    assert found == min(accuracies)
