"""The unit tests notice wrong science: each mutant is killed by the test it names."""

from dataclasses import replace

import pytest

from tests.mutants import MUTANTS, Mutant, plant, verdict

TESTS = sorted({mutant.test for mutant in MUTANTS})


def examine(mutant, folder):
    plant(mutant, folder)
    return verdict(folder, [mutant.test])


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_is_killed(mutant, tmp_path):
    assert examine(mutant, tmp_path) == "killed"


def test_the_library_as_it_is_survives_the_same_tests(tmp_path):
    plant(None, tmp_path)
    assert verdict(tmp_path, TESTS) == "survived"


HARMLESS = Mutant(
    "another comment",
    "metrics",
    "# in place of a sum of nothing",
    "# instead of a sum of nothing",
    "test_metrics.py::test_accuracy_counts_an_output_of_zero_as_an_error",
)


def test_a_harmless_mutant_survives(tmp_path):
    assert examine(HARMLESS, tmp_path) == "survived"


def test_an_error_is_no_kill(tmp_path):
    broken = replace(HARMLESS, old="y * output > 0", new="y * output > nothing")
    assert "NameError" in examine(broken, tmp_path)


def test_a_mutant_without_a_place_is_refused(tmp_path):
    with pytest.raises(ValueError, match="metrics has its text 0 times"):
        plant(replace(HARMLESS, old="nowhere to be found"), tmp_path)
