"""The notebook gate: what the book shows is what its code prints.

The checker in `tools.notebooks` sees that every notebook was executed top to bottom;
`pytest --nbval notebooks` runs it again and compares what it prints.
"""

import copy
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.notebooks import FOLDER, MAX_BYTES, METADATA, execute, problems

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.name)
def test_notebook_is_as_executing_left_it(path):
    assert problems(path) == []


def test_the_book_shows_every_notebook():
    toc = (ROOT / "_toc.yml").read_text()
    listed = {
        chapter["file"].removeprefix("notebooks/")
        for part in yaml.safe_load(toc)["parts"]
        for chapter in part["chapters"]
        if chapter["file"].startswith("notebooks/")
    }
    assert listed == {path.stem for path in FOLDER.glob("*.ipynb")}


# The gate must bite: one good notebook, and ways to spoil it.


def good_notebook():
    notebook = new_notebook(
        metadata=copy.deepcopy(METADATA),
        cells=[
            new_markdown_cell("A third.", id="prose"),
            new_code_cell(
                "x = 1 / 3\nprint(f'{x:.3f}')",
                id="print",
                execution_count=1,
                outputs=[new_output("stream", name="stdout", text="0.333\n")],
            ),
            new_code_cell(
                "round(x, 2)",
                id="show",
                execution_count=2,
                outputs=[
                    new_output(
                        "execute_result",
                        data={"text/plain": "0.33"},
                        execution_count=2,
                    )
                ],
            ),
        ],
    )
    notebook.nbformat_minor = 5
    return notebook


def save(notebook, folder):
    path = folder / "fixture.ipynb"
    nbformat.write(notebook, path)
    return path


def strip(notebook):
    for cell in notebook.cells[1:]:
        cell.outputs = []
        cell.execution_count = None


def never_run(notebook):
    notebook.cells[2].execution_count = None


def out_of_order(notebook):
    notebook.cells[1].execution_count, notebook.cells[2].execution_count = 2, 1


def swap_cells(notebook):
    notebook.cells[1:] = notebook.cells[:0:-1]


def change_printed_number(notebook):
    notebook.cells[1].outputs[0].text = "0.334\n"


def change_shown_number(notebook):
    notebook.cells[2].outputs[0].data["text/plain"] = "0.34"


def change_code(notebook):
    notebook.cells[1].source = notebook.cells[1].source.replace("1 / 3", "1 / 4")


def raising_code(notebook):
    notebook.cells[2].source = "round(x, 2) / 0"


def saved_error(notebook):
    notebook.cells[2].outputs = [
        new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])
    ]


def saved_warning(notebook):
    notebook.cells[1].outputs += [new_output("stream", name="stderr", text="careful")]


def absolute_path(notebook):
    notebook.cells[1].outputs[0].text = "saved to /home/reader/out.npz\n"


def other_kernel(notebook):
    notebook.metadata.kernelspec.name = "my-env"


def time_stamps(notebook):
    notebook.cells[1].metadata["execution"] = {"iopub.status.busy": "2022-10-31"}


def too_large(notebook):
    notebook.cells[0].source = "x" * MAX_BYTES


def no_code(notebook):
    notebook.cells = notebook.cells[:1]


def test_checker_passes_the_good_notebook(tmp_path):
    assert problems(save(good_notebook(), tmp_path)) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (strip, "was never executed"),
        (never_run, "was never executed"),
        (out_of_order, "has execution count 2"),
        (swap_cells, "has execution count 2"),
        (saved_error, "ends in ZeroDivisionError"),
        (saved_warning, "writes to stderr"),
        (absolute_path, "shows an absolute path"),
        (other_kernel, "metadata differ"),
        (time_stamps, "holds time stamps"),
        (too_large, "more than 1,500,000"),
        (no_code, "no code cell"),
    ],
)
def test_checker_fails_the_spoiled_notebook(spoil, message, tmp_path):
    notebook = good_notebook()
    spoil(notebook)
    assert message in "\n".join(problems(save(notebook, tmp_path)))


def nbval(path, *options):
    """Run the gate's second half as `make test` does."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", path, "-c", ROOT / "pyproject.toml"),
            *("--rootdir", path.parent, "-p", "no:cacheprovider"),
            *("-p", "conftest"),  # that of the root, for the tag close-numbers
            *("--nbval", "--nbval-current-env", *options),
            *("--nbval-sanitize-with", ROOT / "tests/notebooks/sanitize.cfg"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def verdicts(path):
    """Tell of each cell whether it passes the gate."""
    run = nbval(path, "-v")
    found = re.findall(r"::Cell (\d+) (PASSED|FAILED)", run.stdout)
    assert [int(cell) for cell, _ in found] == [*range(len(found))], run.stderr
    return [verdict == "PASSED" for _, verdict in found]


def test_nbval_passes_the_good_notebook(tmp_path):
    run = nbval(save(good_notebook(), tmp_path))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


@pytest.mark.parametrize(
    "spoil",
    [swap_cells, change_printed_number, change_shown_number, change_code, raising_code],
)
def test_nbval_fails_the_spoiled_notebook(spoil, tmp_path):
    notebook = good_notebook()
    spoil(notebook)
    run = nbval(save(notebook, tmp_path))
    assert run.returncode == 1, run.stdout + run.stderr
    assert "fixture.ipynb::Cell" in run.stdout


def tag_close_numbers(notebook):
    for cell in notebook.cells[1:]:
        cell.metadata["tags"] = ["close-numbers"]


def change_word(notebook):
    notebook.cells[1].source = "print('about 0.333')"


def add_number(notebook):
    notebook.cells[1].source += "\nprint(7)"


def change_a_lot(notebook):
    notebook.cells[1].outputs[0].text = "0.353\n"


@pytest.mark.parametrize("spoil", [change_printed_number, change_shown_number])
def test_close_numbers_pass_where_the_cell_is_tagged(spoil, tmp_path):
    notebook = good_notebook()
    tag_close_numbers(notebook)
    spoil(notebook)
    run = nbval(save(notebook, tmp_path))
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("spoil", [change_a_lot, change_word, add_number, change_code])
def test_close_numbers_are_not_any_numbers(spoil, tmp_path):
    notebook = good_notebook()
    tag_close_numbers(notebook)
    spoil(notebook)
    run = nbval(save(notebook, tmp_path))
    assert run.returncode == 1, run.stdout + run.stderr


ROUNDING = {  # of stored and printed text and a tolerance: is the second as good?
    ("90.4 [-0.8, +0.5]", "90.3 [-0.8, +0.6]", 0): True,
    ("+0.1 points", "-0.0 points", 0): True,  # one step of the last decimal
    ("+0.1 points", "-0.1 points", 0): False,
    ("−0.0 to +0.3", "+0.0 to +0.4", 0): True,
    ("0.3", "0.5", 0): False,
    ("5.0", "5.2", 0): False,
    ("0.30", "0.32", 0): False,
    ("moved: 0", "moved: 1", 0): False,  # a count has no rounding
    ("8000", "7900", 0): True,  # two per cent
    ("8000", "7800", 0): False,
    ("gain +8.0 [+6.0, +10.0]", "gain +8.4 [+5.2, +10.4]", 1.0): True,
    ("gain +8.0 [+6.0, +10.0]", "gain +8.4 [+4.8, +10.4]", 1.0): False,
    ("gain +8.0, better", "gain +8.4, open", 1.0): False,
}


def test_close_numbers_may_differ_by_their_rounding_or_tolerance(tmp_path):
    notebook = good_notebook()
    notebook.cells[1:] = [
        new_code_cell(
            f"print({fresh!r})",
            id=f"rounding-{i}",
            execution_count=i + 1,
            outputs=[new_output("stream", name="stdout", text=f"{stored}\n")],
            metadata={"tags": ["close-numbers"], "tolerance": tolerance},
        )
        for i, (stored, fresh, tolerance) in enumerate(ROUNDING)
    ]
    assert verdicts(save(notebook, tmp_path)) == [*ROUNDING.values()]


LIVE_CELL = """
from moe_lib.notebook import show_live
data = {"sign": "a", "curve": [x / 7 for x in range(30)], "chosen": "0123" * 40}
show_live("ceiling", data, figure="fig-a", label="A figure")
"""


LIVE_CHANGES = {  # and whether the figure is still nearly the same
    ("0123" * 40, "0123" * 39 + "3333"): True,  # some examples go elsewhere
    ("x / 7", "x / 6.99"): True,
    ("0123" * 40, "0123" * 20 + "3333" * 20): False,  # many do
    ("x / 7", "x / 6"): False,
    ("range(30)", "range(31)"): False,
    ('"a"', '"b"'): False,
    ('"curve"', '"line"'): False,
    ("fig-a", "fig-b"): False,
}


def test_a_live_figure_must_be_nearly_the_same(tmp_path):
    notebook = good_notebook()
    source = LIVE_CELL.strip().replace('"0123" * 40', f'"{"0123" * 40}"')
    notebook.cells[1:] = [
        new_code_cell(source, id=f"live-{i}", metadata={"tags": ["close-numbers"]})
        for i in range(len(LIVE_CHANGES))
    ]
    path = save(notebook, tmp_path)
    execute(path)
    notebook = nbformat.read(path, as_version=4)
    for cell, (old, new) in zip(notebook.cells[1:], LIVE_CHANGES, strict=True):
        assert old in cell.source
        cell.source = cell.source.replace(old, new)
    assert verdicts(save(notebook, tmp_path)) == [*LIVE_CHANGES.values()]


def test_no_output_of_the_book_is_ignored():
    for path in FOLDER.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            tags = set(cell.metadata.get("tags", []))
            assert not tags & {"nbval-ignore-output", "nbval-skip"}, path.name


def test_executing_a_stripped_notebook_gives_the_good_one(tmp_path):
    notebook = good_notebook()
    strip(notebook)
    path = save(notebook, tmp_path)
    execute(path)
    assert nbformat.read(path, as_version=4) == good_notebook()
