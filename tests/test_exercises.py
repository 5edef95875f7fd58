"""The exercises: what a chapter shows of them is in files, and the files run.

A solution passes the check of its exercise, and the stub that a reader starts from does
not. Every chapter has exercises of each kind, from easy to harder.
"""

import ast
import math
import re
import runpy
import warnings
from collections import Counter

import pytest

from tests.processes import call
from tools.exercises import BLOCK, FOLDER, NOTEBOOKS, parts, rewrite
from tools.prose import text_of

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
NUMBERED = [path for path in CHAPTERS if not path.name.startswith("00")]
FILES = sorted(FOLDER.glob("*.py"))
KINDS = {"Predict", "Compute", "Change the code", "Think"}
LEVELS = ["easy", "medium", "harder"]
DIRECTIVE = re.compile(
    r"^(?P<fence>`{3,})\{(?P<name>exercise|hint|solution)\}(?P<title>[^\n]*)\n"
    r"(?P<options>(?::[^\n]*\n)*)(?P<body>.*?)^(?P=fence)$",
    re.S | re.M,
)
MARK = re.compile(r"\s*\*(?P<kind>[A-Z][a-z ]+), (?P<level>\w+)\.\* ")


def used(text):
    """Count the blocks of a text by file and kind."""
    return Counter((match["name"], match["kind"]) for match in BLOCK.finditer(text))


def groups(text):
    """Return each exercise with its hint and its solution."""
    found = []
    for directive in DIRECTIVE.finditer(text):
        if directive["name"] == "exercise" or not found:
            found.append([])
        found[-1].append(directive)
    return found


def problems(text):
    """Say what is wrong with the exercises of a chapter."""
    found, kinds, levels = [], [], []
    for group in groups(text):
        label = "".join(re.findall(r":label: (\S+)", group[0]["options"]))
        names = [one["name"] for one in group]
        blocks = [block for one in group for block in used(one["body"])]
        if mark := MARK.match(group[0]["body"]):
            kinds.append(mark["kind"])
            levels.append(mark["level"])
        else:
            found.append(f"{label}: neither kind nor level")
        if "hint" in names:
            names.remove("hint")
        elif mark and mark["level"] == "harder":
            found.append(f"{label}: harder, but no hint")
        if names != ["exercise", "solution"] or group[-1]["title"] != f" {label}":
            found.append(f"{label}: no solution of its own")
        if any(":class: dropdown" not in one["options"] for one in group[1:]):
            found.append(f"{label}: hint or solution in plain view")
        if sum(one["body"].count("```python") for one in group) != len(blocks):
            found.append(f"{label}: code that no test runs")
        name = label.replace("-", "_")
        if blocks not in ([], [(name, "stub"), (name, "solution")]):
            found.append(f"{label}: blocks {blocks}")
    if len(levels) < 4:
        found.append("fewer than four exercises")
    if set(kinds) != KINDS:
        found.append(f"kinds {kinds}")
    if set(levels) != set(LEVELS) or levels != sorted(levels, key=LEVELS.index):
        found.append(f"levels {levels}")
    return found


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_blocks_are_what_the_files_say(path):
    text = text_of(path)
    assert rewrite(text) == text


@pytest.mark.parametrize("path", NUMBERED, ids=lambda p: p.stem)
def test_every_chapter_has_exercises_of_each_kind(path):
    assert problems(text_of(path)) == []


def test_what_comes_before_the_chapters_has_no_exercises():
    for path in set(CHAPTERS) - set(NUMBERED):
        assert groups(text_of(path)) == []


def test_every_file_is_used_once():
    count = sum((used(text_of(path)) for path in CHAPTERS), Counter())
    kinds = "stub", "solution"
    assert count == Counter((path.stem, kind) for path in FILES for kind in kinds)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_solution_passes_its_check(path):
    call(run, path)  # as a reader runs it: without shape checker and coverage


def run(path):
    warnings.simplefilter("error")
    runpy.run_path(str(path))


def bound(code):
    """Return the names that code binds."""
    nodes = list(ast.walk(ast.parse(code)))
    names = {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_neither_stub_nor_nonsense_passes_the_check(path):
    part = parts(path.read_text())
    names = bound(part["answer"])
    stub, nonsense = call(run_unanswered, part, names)
    assert stub in [f"""NameError("name '{name}' is not defined")""" for name in names]
    assert nonsense.startswith(("AssertionError", "AttributeError", "TypeError"))


def run_unanswered(part, names):
    """Return what the check raises of the stub, which binds nothing, and of NaN."""
    warnings.simplefilter("error")
    given, raised = {}, []
    exec(part["given"], given)
    for answer in ({}, dict.fromkeys(names, math.nan)):
        given |= answer
        try:
            exec(part["check"], given)
        except Exception as error:
            raised.append(repr(error))
        else:
            raised.append("nothing")
    return raised


# The gates must bite: a good file and a good chapter, and ways to spoil them.

FILE = '''"""Twice."""

x = 2
# --- your turn: `twice`, two times x
twice = 2 * x
# --- check
assert twice == x + x
# --- found
assert twice == 4
'''
CHAPTER = "\n".join(
    f"""````{{exercise}} Title
:label: my-ex-{i}
*{kind}, {level}.* What?

% code: my_ex_{i} stub
```python
x = 2

# Your turn: `twice`, two times x
...

# Check
assert twice == x + x
```
````

```{{hint}}
:class: dropdown
Add.
```

````{{solution}} my-ex-{i}
:class: dropdown
% code: my_ex_{i} solution
```python
twice = 2 * x

# Found
assert twice == 4
```
````
"""
    for i, (kind, level) in enumerate(
        zip(sorted(KINDS), [*LEVELS, "harder"], strict=True)
    )
)


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of CHAPTER."""
    for i in range(4):
        (tmp_path / f"my_ex_{i}.py").write_text(FILE)
    return tmp_path


def test_a_good_chapter_passes(folder):
    assert problems(CHAPTER) == []
    assert rewrite(CHAPTER, folder) == CHAPTER
    assert used(CHAPTER)["my_ex_3", "solution"] == 1


@pytest.mark.parametrize(
    ("old", "new"), [("2 * x", "x * 2"), ("x + x", "2 * x"), ("== 4", "== 5")]
)
def test_a_stale_block_is_noticed(folder, old, new):
    (folder / "my_ex_2.py").write_text(FILE.replace(old, new))
    fresh = rewrite(CHAPTER, folder)
    assert fresh != CHAPTER
    assert fresh.count(old) == CHAPTER.count(old) - 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("*Think, harder.*", "*Think.*", "neither kind nor level"),
        ("*Think, harder.*", "*Compute, harder.*", "kinds"),
        ("*Think, harder.*", "*Think, easy.*", "levels"),
        ("*Compute, medium.*", "*Compute, harder.*", "levels"),
        ("% code: my_ex_1 stub\n", "", "code that no test runs"),
        ("% code: my_ex_1 solution\n", "", "code that no test runs"),
        ("% code: my_ex_1 stub", "% code: my_ex_1 solution", "blocks"),
        ("% code: my_ex_1 solution", "% code: my_ex_2 solution", "blocks"),
        ("{solution} my-ex-1\n:class: dropdown", "{solution} my-ex-1", "plain view"),
        ("{solution} my-ex-1\n", "{solution} my-ex-2\n", "no solution of its own"),
        ("````{solution} my-ex-1\n", "````{note} my-ex-1\n", "no solution of its own"),
        ("{hint}", "{note}", "no hint"),
        ("{hint}\n:class: dropdown", "{hint}", "plain view"),
        ("{exercise}", "{note}", "fewer than four"),
    ],
)
def test_a_spoiled_chapter_is_noticed(old, new, problem):
    assert old in CHAPTER
    assert any(problem in found for found in problems(CHAPTER.replace(old, new)))


@pytest.mark.parametrize("gone", ['"""Twice."""\n', "# --- check\n", "twice = 2 * x\n"])
def test_a_file_of_another_form_is_refused(gone):
    assert parts(FILE)["answer"] == "twice = 2 * x"
    with pytest.raises(ValueError, match="an exercise needs"):
        parts(FILE.replace(gone, ""))
