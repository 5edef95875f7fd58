"""The first fifteen minutes: the code runs and prints what the page shows."""

import re
from pathlib import Path

import matplotlib
import pytest

from tests.makefile import TARGETS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "book" / "first_fifteen_minutes.md").read_text()
BLOCKS = re.findall(r"^```(python|text)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def same(shown, printed):
    """Tell whether two texts have the same words, and numbers that nearly agree.

    On another machine a few of 16,000 examples may go to other experts.
    """
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(
        float(b) == pytest.approx(float(a), rel=0.02, abs=20 if a.isdigit() else 0)
        for a, b in pairs
    )


def test_the_code_prints_what_the_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names, printed = {}, ""
    for language, block in BLOCKS:
        if language == "python":
            assert same("", printed)  # what was printed is also shown
            exec(block, names)
            printed = capsys.readouterr().out
        else:
            assert same(block, printed)
            printed = ""
    assert (tmp_path / "dispatch.png").stat().st_size > 1000
    assert [language for language, _ in BLOCKS] == [*["python", "text"] * 2, "python"]


@pytest.mark.parametrize(
    ("printed", "agrees"),
    [
        ("accuracy 99.9 %\n[3960, 0]", True),
        ("accuracy 95.0 %\n[3967, 0]", False),
        ("accuracy 100.0 %\n[3500, 467]", False),
        ("accuracy 100.0 %\n[3967]", False),
        ("entropy 100.0 %\n[3967, 0]", False),
    ],
)
def test_another_output_is_noticed(printed, agrees):
    assert same("accuracy 100.0 %\n[3967, 0]", printed) == agrees


def missing(page):
    """List the targets of make and the files that a page names in vain."""
    named = re.findall(r"\bmake ([a-z-]+)$", page, re.MULTILINE)
    files = re.findall(r"\b(?:notebooks|book)/[\w/]+\.(?:ipynb|md)", page)
    lost = [f"make {target}" for target in named if target not in TARGETS]
    return lost + [name for name in files if not (ROOT / name).is_file()]


def test_what_the_page_names_exists():
    assert missing(PAGE) == []


def test_a_command_that_does_not_exist_is_noticed():
    page = PAGE.replace("make book", "make books").replace("00_prer", "08_prer")
    assert missing(page)[0] == "make books"
    assert "notebooks/08_prerequisites.ipynb" in missing(page)
