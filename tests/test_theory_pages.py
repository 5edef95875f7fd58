"""Each theorem of the book has a plain reading, an experiment and a gap note."""

import json
import re
from pathlib import Path

import pytest

from tools.prose import text_of

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "book").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BLOCK = re.compile(r"^```\{prf:(theorem|lemma|proposition|corollary)\}", re.M)
END = re.compile(r"^```\{prf:(?:theorem|lemma|proposition|corollary)\}|^#+ ", re.M)
LABEL = re.compile(r":label: (\S+)")
LEADS = ("In plain words.", "See it.", "The gap.")
CELL = re.compile(r'<a\s+href="(?:\.\./notebooks/([\w.]+)\.html)?#cell-([\w-]+)"')


def cells_of(name):
    path = ROOT / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        return set()
    cells = json.loads(path.read_text())["cells"]
    return {c["id"] for c in cells if c["cell_type"] == "code"}


def statements(text):
    """Yield the label of each statement and what follows until the next one."""
    for found in BLOCK.finditer(text):
        stop = END.search(text, found.end())
        part = text[found.start() : stop.start() if stop else len(text)]
        label = LABEL.search(part)
        yield (label[1] if label else "without a label"), part


def problems(text, here=""):
    """Say which statement lacks what."""
    found = []
    for label, part in statements(text):
        places = [part.find(f"**{lead}**") for lead in LEADS]
        missing = [lead for lead, at in zip(LEADS, places, strict=True) if at < 0]
        found += [f"{label}: no {lead}" for lead in missing]
        if missing:
            continue
        if places != sorted(places):
            found.append(f"{label}: in another order")
        ends = [*places[1:], len(part)]
        for lead, start, end in zip(LEADS, places, ends, strict=True):
            words = part[start:end].replace(f"**{lead}**", "").split()
            if len(words) < 4:
                found.append(f"{label}: {lead} says nothing")
        links = CELL.findall(part[places[1] : places[2]])
        if not links:
            found.append(f"{label}: no experiment")
        for name, cell in links:
            if cell not in cells_of(name or here):
                found.append(f"{label}: {name or here} has no code cell {cell}")
    return found


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda p: p.name)
def test_each_statement_is_read_shown_and_bounded(path):
    assert problems(text_of(path), here=path.stem) == []


def test_all_statements_are_found_and_listed():
    listed = (ROOT / "book" / "theory.md").read_text()
    labels = [
        label for path in [*PAGES, *NOTEBOOKS] for label, _ in statements(text_of(path))
    ]
    assert len(labels) == len(set(labels)) >= 13
    assert "without a label" not in labels
    unlisted = [label for label in labels if f"{{prf:ref}}`{label}`" not in listed]
    assert unlisted == []


GOOD = """```{prf:theorem} T
:label: thm-x
All is well.
```

**In plain words.** All of it is well.

**See it.** Here <a href="../notebooks/02_single_expert.html#cell-cell-34">it is</a>.

**The gap.** There is no gap here.
"""


def test_a_good_statement_passes():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("**In plain words.**", "Plainly,", "thm-x: no In plain words."),
        ("**The gap.**", "But", "thm-x: no The gap."),
        ("**See it.**", "See", "thm-x: no See it."),
        ("There is no gap here.", "None.", "thm-x: The gap. says nothing"),
        ("cell-cell-34", "cell-cell-99", "02_single_expert has no code cell cell-99"),
        ("cell-cell-34", "cell-cell-32", "has no code cell cell-32"),  # it is prose
        ("02_single", "99_single", "99_single_expert has no code cell"),
        ('<a href="../notebooks/02_single_expert.html#cell-cell-34">', "", "no exp"),
        ("**See it.**", "## Elsewhere\n\n**See it.**", "thm-x: no See it."),
        ("**The gap.**", "```{prf:lemma} L\n```\n\n**The gap.**", "no The gap."),
    ],
)
def test_a_statement_that_lacks_something_is_noticed(old, new, problem):
    assert old in GOOD
    assert problem in "\n".join(problems(GOOD.replace(old, new)))
