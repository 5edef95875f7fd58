"""Accuracy, dispatch counts, dispatch entropy, mutual information."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mutual_info_score

from moe_lib.metrics import (
    accuracy,
    dispatch_counts,
    dispatch_entropy,
    mutual_information,
    turn_step,
)
from tests import reference
from tests.toys import integers, normal, signs

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))
# Many zeros: experts without examples and clusters without examples are common.
cells = st.integers(-20, 30).map(lambda value: max(value, 0))
tables = arrays(np.int64, shapes, elements=cells).filter(lambda t: t.sum() > 0)


@given(tables)
def test_entropy_equals_the_loop(table):
    value = dispatch_entropy(torch.from_numpy(table)).item()
    assert value == pytest.approx(reference.dispatch_entropy(table.tolist()), abs=1e-12)


@given(tables)
def test_entropy_is_the_cluster_entropy_less_the_mutual_information(table):
    shared = mutual_info_score(None, None, contingency=table)
    expected = reference.entropy(table.sum(axis=1)) - shared
    counts = torch.from_numpy(table)
    assert dispatch_entropy(counts).item() == pytest.approx(expected, abs=1e-9)
    assert mutual_information(counts).item() == pytest.approx(shared, abs=1e-9)


@given(tables)
def test_entropy_lies_between_zero_and_ln_k(table):
    value = dispatch_entropy(torch.from_numpy(table)).item()
    assert -1e-12 <= value <= math.log(len(table)) + 1e-12


@given(tables)
def test_entropy_is_zero_exactly_when_every_used_expert_is_pure(table):
    pure = ((table > 0).sum(axis=0) <= 1).all()
    value = dispatch_entropy(torch.from_numpy(table)).item()
    assert (value < 1e-9) == pure


@given(tables, st.randoms(use_true_random=False))
def test_entropy_ignores_the_names_of_experts_and_clusters(table, random):
    rows, columns = list(range(table.shape[0])), list(range(table.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    renamed = torch.from_numpy(table[rows][:, columns])
    assert dispatch_entropy(renamed).item() == pytest.approx(
        dispatch_entropy(torch.from_numpy(table)).item(), abs=1e-12
    )


@given(tables)
def test_an_expert_without_examples_changes_nothing(table):
    wider = torch.from_numpy(np.pad(table, ((0, 0), (0, 1))))
    assert dispatch_entropy(wider).item() == pytest.approx(
        dispatch_entropy(torch.from_numpy(table)).item(), abs=1e-12
    )


def test_entropy_of_an_even_mix_is_ln_k():
    assert dispatch_entropy(torch.full((4, 8), 5)).item() == pytest.approx(math.log(4))


def test_experts_may_share_a_cluster_at_no_cost_but_not_the_reverse():
    counts = torch.tensor([[5, 7, 9]])
    assert dispatch_entropy(counts).item() == 0
    assert dispatch_entropy(counts.T).item() > 1


def test_no_examples_at_all_have_entropy_zero():
    assert dispatch_entropy(torch.zeros(3, 4, dtype=torch.long)).item() == 0


def test_entropy_of_many_tables_is_the_entropy_of_each():
    counts = integers(9, 5, 2, 3, 4)
    together = dispatch_entropy(counts)
    assert together.shape == (5, 2)
    assert together.dtype == torch.float64
    alone = [[dispatch_entropy(c).item() for c in runs] for runs in counts]
    torch.testing.assert_close(together, torch.tensor(alone).double())


def test_entropy_is_exact_for_counts_beyond_single_precision():
    counts = torch.tensor([[2**24 + 1, 0], [0, 1]])
    assert dispatch_entropy(counts).item() == 0


@given(
    runs=st.integers(1, 3),
    n=st.integers(1, 30),
    k=st.integers(1, 4),
    m=st.integers(1, 5),
    shared=st.booleans(),
)
def test_counts_equal_the_loop(runs, n, k, m, shared):
    group = integers(k, n) if shared else integers(k, runs, n)
    index = integers(m, runs, n, seed=1)
    counts = dispatch_counts(group, index, num_groups=k, num_experts=m)
    slow = [
        reference.dispatch_counts(group if shared else group[s], index[s], k, m)
        for s in range(runs)
    ]
    assert counts.tolist() == slow


def test_counts_of_no_examples_are_zero():
    none = torch.empty(2, 0, dtype=torch.long)
    counts = dispatch_counts(none, none, num_groups=3, num_experts=4)
    assert torch.equal(counts, torch.zeros(2, 3, 4, dtype=torch.long))


@given(runs=st.integers(1, 3), n=st.integers(1, 20), shared=st.booleans())
def test_accuracy_equals_the_loop(runs, n, shared):
    output = normal(runs, n)
    y = signs(n, seed=1) if shared else signs(runs, n, seed=1)
    slow = [reference.accuracy(output[s], y if shared else y[s]) for s in range(runs)]
    torch.testing.assert_close(accuracy(output, y), torch.tensor(slow).double())


def test_accuracy_counts_an_output_of_zero_as_an_error():
    output = torch.tensor([[0.0, -0.0, 1.0, -1.0]])
    assert accuracy(output, torch.tensor([1.0, -1.0, 1.0, -1.0])).tolist() == [0.5]


@given(tables)
def test_shares_have_the_entropy_of_their_counts(table):
    counts = torch.from_numpy(table)
    shares = counts / (1000.0 * counts.sum())  # sums far below 1 are sums all the same
    assert dispatch_entropy(shares.double()).item() == pytest.approx(
        dispatch_entropy(counts).item(), abs=1e-6
    )


def test_the_turn_is_the_first_step_below_half_of_ln_k():
    high, low = math.log(3) / 2 + 1e-9, math.log(3) / 2 - 1e-9
    runs = [[high, low, high], [high, high, high], [low, low, low], [high, high, low]]
    entropy = torch.tensor(runs, dtype=torch.double).T
    assert turn_step(entropy, 3).tolist() == [1, 3, 0, 2]
    assert turn_step(entropy[:, 0], 3).item() == 1
