"""Each chapter says what it asks of its reader, and what the reader takes home."""

import re

import pytest

from tools.notebooks import FOLDER
from tools.prose import text_of

PARTS = {
    "run time": r"^\*\*Run time:\*\*",
    "goals": r"^\*\*After this (?:chapter|page) you can\*\*",
    "take-aways": r"^## Take-aways$",
    "next": r"^## Next$",
}
BELIEF = r"^```\{admonition\} You might think: .+\n:class: misconception$"
LINK = r"\]\(|<a href=|\{numref\}"


def lacking(text):
    """Name the parts that the prose of a chapter lacks."""
    found = [k for k, part in PARTS.items() if not re.search(part, text, re.MULTILINE)]
    boxes = re.split(BELIEF, text, flags=re.MULTILINE)[1:]
    unlinked = [box for box in boxes if not re.search(LINK, box.split("```")[0])]
    return found + ["a link to what refutes a belief"] * len(unlinked), len(boxes)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.name)
def test_chapter_has_its_opening_and_its_end(path):
    found, beliefs = lacking(text_of(path))
    assert found == []
    assert beliefs >= 1 or path.name == "00_prerequisites.ipynb"


def test_what_is_lacking_is_noticed():
    text = text_of(FOLDER / "01_data.ipynb")
    for mark, part in [
        ("**Run time:**", "run time"),
        ("**After this chapter you can**", "goals"),
        ("## Take-aways", "take-aways"),
        ("## Next", "next"),
    ]:
        assert lacking(text.replace(mark, "")) == ([part], 1)
    assert lacking(text.replace(":class: misconception", ":class: tip"))[1] == 0
    head, tail = text.split(":class: misconception")
    _, rest = tail.split("```", 1)
    unlinked = f"{head}:class: misconception\nNo.\n```{rest}"
    assert lacking(unlinked)[0] == ["a link to what refutes a belief"]
