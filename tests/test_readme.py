"""What the README promises: its example runs as printed, its commands exist."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from conftest import snap
from moe_lib import animation, recipes
from moe_lib.cli import _parser
from tests.makefile import MAKEFILE, TARGETS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SOURCES = {
    "README": README,
    "Makefile": MAKEFILE,
    "recipes": Path(recipes.__file__).read_text(),
    "animation": Path(animation.__file__).read_text(),
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def library_commands():
    """Each ``python -m moe_lib ...`` of the sources, as its arguments."""
    for where, source in SOURCES.items():
        for line in re.findall(r"python -m moe_lib ([^`\n]+)", source):
            yield where, shlex.split(line, comments=True)


@pytest.fixture(scope="module")
def listed():
    """Return the targets that ``make help`` lists."""
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"^make ([a-z-]+) +\S", done.stdout, re.MULTILINE))


def test_the_library_example_runs_as_printed(capsys):
    example, names = blocks("python")[0], {}
    exec(example, names)
    printed = capsys.readouterr().out
    accuracy, counts = names["result"].accuracy, names["result"].dispatch_counts
    assert float(re.match(r"tensor\(\[([0-9.]+)\]", printed)[1]) > 0.99
    assert accuracy.item() > 0.99
    assert counts.shape == (1, 4, 8)
    assert counts.sum() == len(names["test_data"])
    assert printed.count("[") == 1 + 1 + 1 + 4  # all rows of the counts are printed
    [shown] = blocks("text")
    assert snap(printed, shown) == shown  # to two percent: another machine, other bits


def test_the_library_example_is_five_lines():
    [first, *rest] = ast.parse(blocks("python")[0]).body
    assert isinstance(first, ast.ImportFrom)
    assert first.module == "moe_lib"
    assert len(rest) <= 5
    assert all(node.lineno == node.end_lineno for node in rest)


def test_every_target_that_the_readme_names_is_listed(listed):
    code = "\n".join(blocks("sh")) + "\n".join(re.findall(r"`(make [^`]+)`", README))
    named = set(re.findall(r"\bmake ([a-z-]+)", code))
    assert {"book", "test"} <= named
    assert named <= listed


def test_help_lists_every_target_of_the_makefile(listed):
    [phony] = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == listed == TARGETS


def test_every_source_names_a_command():
    assert {where for where, _ in library_commands()} == set(SOURCES)


@pytest.mark.parametrize(("where", "arguments"), [*library_commands()])
def test_the_command_parses(where, arguments):
    options = _parser().parse_args(arguments)
    assert options.command == arguments[0]


def test_a_command_that_does_not_exist_is_noticed():
    with pytest.raises(SystemExit):
        _parser().parse_args(["table", "--settings", "1"])


@pytest.mark.parametrize("module", re.findall(r"-m (tools\.\w+)", MAKEFILE))
def test_the_makefile_runs_tools_that_exist(module):
    assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


def links():
    targets = re.findall(r"\]\(([^)]+)\)", README)
    return [t for t in targets if not t.startswith("http")]


def test_the_readme_has_its_picture_and_its_licences():
    pictures = {"dispatch_cubic_strip.png", "dispatch_cubic.gif"}
    assert pictures | {"LICENSE", "LICENSE-docs"} <= {Path(t).name for t in links()}


@pytest.mark.parametrize("target", links())
def test_every_link_of_the_readme_leads_somewhere(target):
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("folder", re.findall(r"`([\w/]+/)`", README))
def test_every_folder_of_the_readme_exists(folder):
    assert (ROOT / folder).is_dir()
