"""The claims ledger, and the numbers in the prose of the book.

What the ledger says of us must follow from the committed results, every place that it
names must exist, and no published number may be left out. A number in the prose that
looks like a result must be in the ledger, or in what its own notebook computes or its
exercises assert. That is no proof that it is right: it stops a number that nothing in
the chapter knows, but a wrong whole number may stand there for something else.
"""

import ast
import copy
import re
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from moe_lib import setting
from moe_lib.theory import additive_ceiling
from tools.claims import (
    KEYS,
    LEDGER,
    PAGE,
    STATUSES,
    decide,
    dump,
    fill,
    numbers,
    page,
    published,
    unbacked_numbers,
)
from tools.exercises import BLOCK, FOLDER

ROOT = Path(__file__).parents[1]
ROWS = yaml.safe_load(LEDGER.read_text())
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [*sorted((ROOT / "book").glob("*.md")), ROOT / "README.md"]
FLAGS = ("one source", "not verified")
OPTIONAL = {"interval", "seeds", "from", "note"}


def schema_problems(rows):
    """Say what is wrong with the keys and words of rows."""
    found = [] if rows else ["no rows"]
    seen = set()
    for row in rows:
        name, status = row.get("id", "?"), row.get("status")
        missing = set(KEYS) - OPTIONAL - row.keys()
        if status == "not attempted":
            missing.discard("cell")  # what we have not done is shown nowhere
        found += [f"{name}: no {key}" for key in missing]
        found += [f"{name}: unknown key {key}" for key in row.keys() - set(KEYS)]
        if name in seen or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
            found.append(f"{name}: id twice or not in kebab case")
        seen.add(name)
        if status not in STATUSES:
            found.append(f"{name}: unknown status {status}")
        flagged = any(flag in str(row.get("published")) for flag in FLAGS)
        needs_note = status in ("differs", "not attempted") or flagged
        if needs_note and not row.get("note"):
            found.append(f"{name}: no note")
        text = {
            key: value for key, value in row.items() if key not in ("seeds", "from")
        }
        for key, value in text.items():
            if not (isinstance(value, str) and value.strip()) or "|" in value:
                found.append(f"{name}: {key} must be plain text")
    return found


@cache
def cell_ids(file):
    path = ROOT / "notebooks" / file
    if not path.is_file():
        return frozenset()
    return frozenset(cell.id for cell in nbformat.read(path, as_version=4).cells)


@cache
def test_names(file):
    if not (ROOT / file).is_file():
        return frozenset()
    body = ast.parse((ROOT / file).read_text()).body
    names = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    return frozenset(name for name in names if name.startswith("test_"))


test_names.__test__ = False  # no test, whatever its name


def missing_places(row):
    """List the cell and the test that a row names and that do not exist."""
    found = []
    if "cell" in row:
        file, _, cell = row["cell"].partition("#")
        if cell not in cell_ids(file):
            found.append(f"{row['id']}: no cell {row['cell']}")
    file, _, name = row["test"].partition("::")
    if name not in test_names(file):
        found.append(f"{row['id']}: no test {row['test']}")
    return found


def test_rows_have_the_form_of_the_ledger():
    assert schema_problems(ROWS) == []


def test_every_cell_and_test_exists():
    assert [problem for row in ROWS for problem in missing_places(row)] == []


def test_ours_is_what_the_results_say():
    assert [row["id"] for row in ROWS if fill(row) != row] == []


def test_what_is_not_attempted_says_why():
    rows = [row for row in ROWS if row["status"] == "not attempted"]
    assert rows
    assert all(len(row["note"]) > 20 for row in rows)


def test_ledger_and_page_are_what_the_tool_writes():
    assert dump(ROWS) == LEDGER.read_text()
    assert page(ROWS, PAGE.read_text()) == PAGE.read_text()


# Every published number on synthetic data, typed from our notes on the paper and on the
# authors' notebooks, not from the ledger: how the source begins, and its numbers.
PUBLISHED = {
    "paper, main table, Setting 1": """
        92.99 2.11 99.46 0.55 1.300 0.044 0.098 0.087 93.0 0.088""",
    "paper, main table, Setting 2": "88.48 1.96 98.09 1.27 1.294 0.036 0.171 0.103",
    "paper, main table, Setting 3": "95.93 1.34 99.99 0.02 1.160 0.100 0.008 0.011",
    "paper, main table, Setting 4": "93.30 1.48 98.92 1.18 1.160 0.155 0.089 0.120",
    "paper, main table (single experts), Setting 1": "68.71 79.48",
    "paper, main table (single experts), Setting 2": "72.29 60.59",
    "authors' notebooks, data, Setting 1": "4035 3999 4006 3960",
    "authors' notebooks, data, Setting 2": "4143 3897 4062 3898",
    "authors' notebook, Setting 1": """
        99.78 99.97 98.84 98.09 99.55 99.66 99.41 99.53 99.74 100.00
        95.66 91.87 88.94 92.06 95.33 91.08 95.84 92.43 92.60 94.13
        100 4 4035 3960 3999 4006 94.19 92.88""",
    "authors' notebook, Setting 2": """
        89.49 1.35 98.10 1.56 1.262 0.095 0.183 0.144 95.29""",
    "authors' notebook, Setting 3": "99.91",
    "authors' notebook, Setting 4": "98.91",
    "authors' notebooks, filters, Setting 1": """
        68.31 79.57 70.94 78.54 68.92 72.64 99.99 100""",
    "authors' notebooks, filters, Setting 2": """
        68.22 77.38 69.56 74.04 63.04 52.09 99.99 100""",
    "authors' notebooks, filters, Setting 3": """
        74.30 73.72 74.81 72.71 74.54 67.78 99.99 100""",
    "authors' notebooks, filters, Setting 4": """
        74.28 70.26 74.63 68.60 72.98 61.65 99.99 100""",
    "authors' notebooks, activations, Setting verify": """
        74.54 75.17 72.69 90.13 74.49 85.46 76.91 81.00 74.01 80.20 74.76 93.51""",
    "authors' notebooks, activations, Setting 1": """
        65.87 66.23 75.53 83.71 72.28 76.46 81.75 85.64 79.04 82.72 81.72 95.99""",
    "authors' notebooks, activations, Setting 2": """
        66.68 67.64 74.52 99.99 80.11 94.58 78.99 86.73 82.01 99.60 81.03 100""",
    "paper, load balancing, Setting 1": "93.81 1.10 1.272 0.037 99.39 0.33 0.083 0.095",
    "authors' records of the entropy, Setting 1": """
        1.386 1.384 1.051 0.513 0.315 0.234 0.118 0.135 0.061
        1.386 1.312 1.191 1.219 1.285""",
    "authors' records of the entropy, Setting 2": "0.257 1.125 1.191",
    "paper, Table 2": """
        80.68 0.45 80.31 0.62 76.78 1.79 79.60 1.25
        92.45 0.25 92.23 0.72 85.76 2.91 89.85 2.54
        95.51 0.31 95.32 0.68 88.23 0.96 92.60 2.01""",
    "paper, Tables 10 and 11": "74.13 76.22",
    "paper, figures": "96.4 100",
    "earlier re-implementation, README": "52.3 73.2 99.8 99.7 96.2 1.00 100",
}


def left_out(rows):
    """List published numbers that no row of their source holds."""
    found = []
    for source, text in PUBLISHED.items():
        chosen = [row["published"] for row in rows if row["source"] == source]
        there = {n for text in chosen for n in numbers(text)}
        found += [f"{source}: {n}" for n in text.split() if float(n) not in there]
    return found


def test_no_published_number_is_left_out():
    assert left_out(ROWS) == []


def invented(rows):
    """List the numbers of rows, outside of brackets, that nobody published."""
    found = []
    for row in rows:
        if row["source"] in PUBLISHED:
            known = {float(n) for n in PUBLISHED[row["source"]].split()}
            there = numbers(row["published"].split("(")[0])
            found += [f"{row['id']}: {n}" for n in there if n not in known]
    return found


def test_no_published_number_is_invented():
    assert invented(ROWS) == []


TABLE = {  # linear accuracy, cubic accuracy, linear entropy, cubic entropy
    "1": ("92.99 ± 2.11", "99.46 ± 0.55", "1.300 ± 0.044", "0.098 ± 0.087"),
    "2": ("88.48 ± 1.96", "98.09 ± 1.27", "1.294 ± 0.036", "0.171 ± 0.103"),
    "3": ("95.93 ± 1.34", "99.99 ± 0.02", "1.160 ± 0.100", "0.008 ± 0.011"),
    "4": ("93.30 ± 1.48", "98.92 ± 1.18", "1.160 ± 0.155", "0.089 ± 0.120"),
}


def misplaced(rows):
    """List the rows of the main table that do not show their own cell of it."""
    found = []
    for row in rows:
        if re.fullmatch(r"paper, main table, Setting \d", row["source"]):
            part, quantity = row["from"]["part"], row["from"]["quantity"]
            column = 2 * ("entropy" in quantity) + ("cubic" in part)
            expected = TABLE[row["source"][-1]][column]
            if (
                not row["published"].startswith(expected)
                or row["source"][-1] not in part
            ):
                found.append(row["id"])
    return found


def test_every_row_of_the_main_table_shows_its_cell():
    chosen = [r for r in ROWS if r["source"].startswith("paper, main table, Setting")]
    assert len(chosen) == 4 * 4 * 2
    assert misplaced(chosen) == []


def test_a_bent_published_number_is_noticed():
    source = "paper, main table, Setting 3"
    rows = copy.deepcopy([row for row in ROWS if row["source"] == source])
    rows[0]["published"] = "98.55 ± 0.61 %"
    assert len(invented(rows)) == 2
    assert misplaced(rows) == [rows[0]["id"]]


# What is no result, and why it may stand in the prose without backing.
ALLOWED = {
    "50 %": "guessing between two labels",
    "25 %": "guessing among four clusters",
    "95 %": "the level of intervals",
    "100 %": "all of them",
    "0.5 points": "a threshold of the ledger",
    "0.01 nats": "a threshold of the ledger",
    "3 points": "a threshold of the ledger",
    "0.2 nats": "a threshold of the ledger",
}


class WithoutTolerance(ast.NodeTransformer):
    """Of `abs(x - 3) < 0.1` keep the left side, of calls what is not named."""

    def visit_Compare(self, node):
        return node.left if "abs(" in ast.unparse(node.left) else node

    def visit_Call(self, node):
        node.keywords = []
        return self.generic_visit(node)


def stated(source):
    """Return the numbers that code asserts, or holds in a constant of capital letters.

    Tolerances and other literals (of sizes, colours, axes) back nothing.
    """
    texts = []
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        is_constant = isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id.isupper() for t in node.targets
        )
        if isinstance(node, ast.Assert) or "assert" in name or is_constant:
            texts.append(ast.unparse(WithoutTolerance().visit(node)))
    return "\n".join(texts)


def code_numbers(notebook):
    """Return the numbers that code states, and of text outputs, which tests compare."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            texts.append(stated(cell.source))
            for output in cell.outputs:
                data = output.get("data", {})
                texts += [output.get("text", ""), data.get("text/plain", "")]
                texts.append(data.get("text/markdown", ""))
    return set(numbers("\n".join(texts)))


def ledger_numbers():
    keys = ("published", "ours", "interval")
    return {n for row in ROWS for key in keys for n in numbers(row.get(key, ""))}


def exercise_numbers(notebook):
    """Return the numbers that the exercises of a notebook assert; tests run them."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    names = {match["name"] for match in BLOCK.finditer("\n\n".join(cells))}
    texts = [stated((FOLDER / f"{name}.py").read_text()) for name in names]
    return set(numbers("\n".join(texts)))


def flagged_in_notebook(notebook):
    """List cell by cell the numbers that nothing backs: ledger, code or exercise."""
    backed = ledger_numbers() | code_numbers(notebook) | exercise_numbers(notebook)
    return [
        f"{cell.id}: {number}"
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for number in unbacked_numbers(cell.source, backed)
        if number.replace("\u00a0", " ") not in ALLOWED
    ]


def flagged_on_page(text):
    """List the numbers that neither the ledger nor the theory of ceilings backs."""
    ceilings = {100 * additive_ceiling(setting(name)) for name in ("1", "3")}
    backed = ledger_numbers() | {round(ceiling, 9) for ceiling in ceilings}
    return [n for n in unbacked_numbers(text, backed) if n not in ALLOWED]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_every_result_in_a_notebook_is_backed(path):
    assert flagged_in_notebook(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_every_result_on_a_page_is_backed(path):
    assert flagged_on_page(path.read_text()) == []


# The gate must bite: good rows and prose, and ways to spoil them.


@pytest.fixture
def row():
    """A row that differs, with everything that a row can have."""
    (chosen,) = [r for r in ROWS if r["id"] == "activation-s1-cubic-test"]
    return copy.deepcopy(chosen)


def test_a_good_row_passes(row):
    assert schema_problems([row]) == []
    assert fill(row) == row


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": None}, "no id"),
        ({"id": "Two Words"}, "kebab"),
        ({"status": "nearly"}, "unknown status"),
        ({"note": None}, "no note"),
        ({"note": None, "status": "not attempted"}, "no note"),
        (
            {"note": None, "status": "reproduced", "published": "1 % (one source)"},
            "no note",
        ),
        ({"note": None, "status": "better", "published": "(not verified)"}, "no note"),
        ({"cell": None}, "no cell"),
        ({"test": None}, "no test"),
        ({"published": None}, "no published"),
        ({"published": 75.53}, "plain text"),
        ({"statement": "one | two"}, "plain text"),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_a_row_of_another_form_is_noticed(row, change, problem):
    row |= change
    row = {key: value for key, value in row.items() if value is not None}
    assert any(problem in found for found in schema_problems([row]))


def test_an_id_twice_is_noticed(row):
    assert "twice" in schema_problems([row, row])[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ours", "78.11 ± 0.57 %"),
        ("interval", "77.60 to 78.60"),
        ("seeds", 20),
        ("status", "reproduced"),
        ("published", "78.00 %"),
    ],
)
def test_a_bent_row_is_noticed(row, key, value):
    row[key] = value
    assert fill(row) != row


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cell", "08_gone.ipynb#cell-00"),
        ("cell", "02_single_expert.ipynb#gone"),
        ("cell", "02_single_expert.ipynb"),
        ("test", "tests/test_gone.py::test_rows_have_the_form_of_the_ledger"),
        ("test", "tests/test_claims.py::test_gone"),
        ("test", "tests/test_claims.py::ledger_numbers"),
        ("test", "tests/test_claims.py"),
    ],
)
def test_a_missing_place_is_noticed(row, key, value):
    row["cell"] = "02_single_expert.ipynb#cell-13"
    assert missing_places(row) == []
    row[key] = value
    assert len(missing_places(row)) == 1


def test_a_bent_page_is_noticed():
    text = PAGE.read_text()
    assert page(ROWS, text.replace("78.10", "78.11")) == text
    assert page(ROWS[1:], text) != text


def test_a_missing_number_is_noticed(row):
    source = row["source"]
    without = [r for r in ROWS if r["id"] != row["id"]]
    assert left_out(without) == [f"{source}: 75.53"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("92.99 ± 2.11 % (93.0 in the notebook)", (92.99, 92.99, 2.11)),
        ("0.135 nats (± 0.061)", (0.135, 0.135, None)),
        ("99.99 to 100 %", (99.99, 100, None)),
        ("1, 2, 3, 4 %", (2.5, 2.5, 1.25**0.5)),
        ("1,600 experts", (1600, 1600, None)),
    ],
)
def test_published_values_are_read(text, value):
    assert published(text) == value


@pytest.mark.parametrize(
    ("text", "mean", "sd", "quantity", "part", "status"),
    [
        ("90 ± 1 %", 91.99, 1.0, "test_accuracy", "linear", "reproduced"),
        ("90 ± 1 %", 92.01, 1.0, "test_accuracy", "linear", "differs"),
        ("90 ± 1 %", 90.93, 1.0, "test_accuracy", "linear, paper", "reproduced"),
        ("90 ± 1 %", 90.95, 1.0, "test_accuracy", "linear, paper", "better"),
        ("90 ± 1 %", 90.95, 1.0, "test_accuracy", "linear", "reproduced"),
        ("90 ± 1 %", 87.99, 1.0, "test_accuracy", "linear, paper", "differs"),
        ("90 ± 1 %", 91.41, 0.0, "test_accuracy", "linear", "reproduced"),
        ("90 ± 1 %", 91.42, 0.0, "test_accuracy", "linear", "differs"),
        (
            "1.0 ± 0.1 nats",
            0.91,
            0.1,
            "dispatch_entropy",
            "linear, paper",
            "reproduced",
        ),
        ("1.0 ± 0.1 nats", 0.90, 0.1, "dispatch_entropy", "linear, paper", "better"),
        ("1.0 ± 0.1 nats", 1.21, 0.1, "dispatch_entropy", "linear, paper", "differs"),
        ("90 %", 90.49, 0.1, "test_accuracy", "linear", "reproduced"),
        ("90 %", 90.51, 0.1, "test_accuracy", "linear", "differs"),
        ("90 %", 91.99, 1.0, "test_accuracy", "linear", "reproduced"),
        ("90 %", 92.9, 9.0, "test_accuracy", "linear", "reproduced"),
        ("90 %", 93.1, 9.0, "test_accuracy", "linear", "differs"),
        ("90 to 92 %", 92.4, 0.1, "test_accuracy", "linear", "reproduced"),
        ("90 to 92 %", 92.6, 0.1, "test_accuracy", "linear", "differs"),
        ("1.0 nats", 1.009, 0.0, "entropy_curve", "linear", "reproduced"),
        ("1.0 nats", 1.011, 0.0, "entropy_curve", "linear", "differs"),
        ("4 experts", 5.0, 0.1, "live_experts", "linear", "reproduced"),
    ],
)
def test_status_follows_the_rule(text, mean, sd, quantity, part, status):
    source = {"result": "authors_table", "part": part, "quantity": quantity}
    row = {"published": text, "from": source}
    assert decide(row, np.array(5 * [mean - sd] + 5 * [mean + sd])) == status


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It reaches 12.34 %.", ["12.34 %"]),
        ("It reaches 12.34\u00a0% of", ["12.34\u00a0%"]),
        ("It reaches 12.34\n% of", ["12.34 %"]),
        ("It reaches **12.34** %.", ["12.34 %"]),
        ("up by 3 points", ["3 points"]),
        ("3 percent and 4 per cent", ["3 percent", "4 per cent"]),
        ("an entropy of 0.77 nats", ["0.77 nats"]),
        ("a mean of 5.5 ± 0.4", ["5.5 ± 0.4"]),
        ("a mean of 90 ± 0.4 %", ["90 ± 0.4 %"]),
        ("between 12.34 and 90 %", ["12.34 and 90 %"]),
        ("1.1, 2.2 and 3.3 %", ["1.1, 2.2 and 3.3 %"]),
        ("[It reaches 12.34 %](page.md)", ["12.34 %"]),
        ("```{admonition} Answer\nIt is 12.34 %.\n```", ["12.34 %"]),
        ("```python\nx\n```\nIt is 12.34 %.", ["12.34 %"]),
        ("| 12.34 % |", ["12.34 %"]),
        ("for p < 1 it is 12.34 % or q > 2", ["12.34 %"]),
    ],
)
def test_a_made_up_number_is_noticed(text, found):
    assert unbacked_numbers(text, {90.0}) == [" ".join(f.split()) for f in found]


@pytest.mark.parametrize(
    "text",
    [
        "It reaches 90 % and 90.0 %, 90 ± 90.",
        "16,000 examples, Setting 1, step 95, 3 pointers",
        "```python\nprint('12.34 %')\n```",
        "````{exercise} Easy\n```python\n# 12.34 %\n```\n````",
        "```{code-block} python\n12.34 %\n```",
        "```{math}\n12.34 %\n```",
        "by $12.34\\,\\%$ and $$12.34 %$$ and `12.34 %`",
        "{glue:text}`single_s1:.2f` % and {term}`12.34 %`",
        "[here](page.md?12.34%) and <a href='12.34%'>there</a>",
    ],
)
def test_what_is_backed_or_no_prose_passes(text):
    assert unbacked_numbers(text, {90.0}) == []


def notebook_saying(text):
    output = new_output("stream", name="stdout", text="accuracy 12.34\n")
    code = new_code_cell("x = 1.234", id="code", outputs=[output])
    return new_notebook(cells=[new_markdown_cell(text, id="prose"), code])


def test_a_notebook_backs_its_own_prose_only():
    assert flagged_in_notebook(notebook_saying("12.34 %, 1.234 nats, 50 %")) == []
    found = flagged_in_notebook(notebook_saying("12.35 % or 98.31 %"))
    assert found == ["prose: 12.35 %"]  # the other is in the ledger
    assert flagged_on_page("12.34 % is below 92.5 %.") == ["12.34 %"]


def test_an_exercise_backs_the_prose_of_its_own_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_claims.FOLDER", tmp_path)
    code = "x = 11.11\n# 22.22\nassert abs(x - 33.33) < 44.44\n"
    (tmp_path / "my_ex.py").write_text(code)
    text = "11.11 %. 22.22 %. 33.33 %. 44.44 %."
    block = "% code: my_ex solution\n```python\nassert x\n```"
    without = flagged_in_notebook(notebook_saying(text))
    assert without == [f"prose: {n}{n}.{n}{n} %" for n in (1, 2, 3, 4)]
    found = flagged_in_notebook(notebook_saying(f"{text}\n\n{block}"))
    assert found == [without[0], without[1], without[3]]
