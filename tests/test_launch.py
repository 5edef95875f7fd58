"""Where the repository is, is one setting: buttons and Colab cells follow from it."""

import re
import subprocess
import sys
import tomllib
from copy import deepcopy
from html import unescape
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.notebooks.test_gate import good_notebook, nbval, save
from tools import launch
from tools.launch import CELL_ID, in_line
from tools.notebooks import execute, problems

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = "https://github.com/someone/moe-book"
KNOWN = {"url": ADDRESS, "branch": "main"}
UNKNOWN = {"url": "", "branch": "main"}


# The buttons: a book of two pages, with the configuration of ours.


def build(folder, address):
    """Build the small book and return what Sphinx said."""
    config = deepcopy(CONFIG)
    config["repository"]["url"] = address
    config["logo"] = config["html"]["favicon"] = str(ROOT / CONFIG["logo"])
    config["bibtex_bibfiles"] = [str(ROOT / path) for path in CONFIG["bibtex_bibfiles"]]
    config["sphinx"]["local_extensions"] = {"launch": str(ROOT / "book/_ext")}
    config["sphinx"]["config"]["html_static_path"] = []
    config["sphinx"]["config"]["html_css_files"] = []
    config["sphinx"]["config"]["html_js_files"] = []
    (folder / "_config.yml").write_text(yaml.safe_dump(config))
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: home\nchapters: [{file: notebooks/fixture}]\n"
    )
    (folder / "home.md").write_text("# Home\n")
    (folder / "notebooks").mkdir()
    notebook = good_notebook()
    notebook.cells[0].source = "# A third"
    save(notebook, folder / "notebooks")
    return subprocess.run(
        [Path(sys.executable).with_name("jupyter-book"), "build", folder, "-q", "-W"],
        capture_output=True,
        text=True,
        check=False,
    )


def external_links(page):
    """Return the addresses of the buttons in the header of a page."""
    pattern = r'<a href="(https?://[^"]+)"[^>]*\s+class="btn'
    links = re.findall(pattern, page.read_text())
    return {unescape(link) for link in links}


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launched")
    run = build(folder, ADDRESS)
    assert run.returncode == 0, run.stderr
    return folder / "_build" / "html"


def test_a_notebook_has_buttons_to_binder_and_colab(launched):
    page, host = "notebooks/fixture.ipynb", "https://colab.research.google.com"
    assert external_links(launched / "notebooks" / "fixture.html") == {
        ADDRESS,
        f"{ADDRESS}/issues/new?template=chapter.yml&title=notebooks%2Ffixture%3A+",
        f"https://mybinder.org/v2/gh/someone/moe-book/main?urlpath=lab/tree/{page}",
        f"{host}/github/someone/moe-book/blob/main/{page}",
    }


def test_another_page_has_buttons_to_the_repository_only(launched):
    assert external_links(launched / "home.html") == {
        ADDRESS,
        f"{ADDRESS}/issues/new?template=chapter.yml&title=home%3A+",
    }


def test_the_issue_button_opens_a_form_that_exists():
    source = (ROOT / "book/_ext/launch.py").read_text()
    [form] = re.findall(r'"template": "([\w.]+)"', source)
    assert (ROOT / ".github" / "ISSUE_TEMPLATE" / form).is_file()


def test_while_the_repository_is_unknown_there_is_no_button(tmp_path):
    run = build(tmp_path, "")
    assert run.returncode == 0, run.stderr
    for page in ("home.html", "notebooks/fixture.html"):
        assert external_links(tmp_path / "_build" / "html" / page) == set()


def test_an_address_that_cannot_be_launched_is_refused(tmp_path):
    run = build(tmp_path, "https://example.org/someone/moe-book")
    assert run.returncode != 0
    assert "is not like https://github.com/OWNER/NAME" in run.stdout + run.stderr


# The cell for Colab.


@pytest.mark.parametrize("path", sorted(launch.FOLDER.glob("*.ipynb")), ids=str)
def test_the_notebooks_are_in_line_with_the_setting(path):
    text = path.read_text(encoding="utf-8")
    assert in_line(text, CONFIG["repository"]) == text, "run python -m tools.launch"


@pytest.fixture
def plain(tmp_path):
    """The good notebook as our tools leave it, without the cell."""
    return save(good_notebook(), tmp_path)


def test_a_notebook_with_the_wrong_cell_is_noticed(plain):
    text = plain.read_text()
    launched = in_line(text, KNOWN)
    assert in_line(text, UNKNOWN) == text
    assert in_line(launched, UNKNOWN) != launched
    assert in_line(launched, KNOWN | {"branch": "next"}) != launched


def test_the_cell_comes_once_and_goes_without_a_trace(plain):
    text = plain.read_text()
    launched = in_line(text, KNOWN)
    assert launched.count(ADDRESS) == 1
    assert in_line(launched, KNOWN) == launched
    assert in_line(launched, UNKNOWN) == text


def test_the_cell_leaves_the_notebook_as_executing_does(plain):
    plain.write_text(in_line(plain.read_text(), KNOWN))
    assert problems(plain) == []
    run = nbval(plain)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout
    launched = plain.read_bytes()
    execute(plain)
    assert plain.read_bytes() == launched


def test_the_command_writes_the_cell_into_every_notebook(tmp_path, monkeypatch, capsys):
    config = tmp_path / "_config.yml"
    monkeypatch.setattr(launch, "CONFIG", config)
    monkeypatch.setattr(launch, "FOLDER", tmp_path)
    text = save(good_notebook(), tmp_path).read_text()
    for name in ("a.ipynb", "b.ipynb"):
        (tmp_path / name).write_text(text)
    (tmp_path / "fixture.ipynb").unlink()
    for repository, printed in [
        (UNKNOWN, ""),
        (KNOWN, "a.ipynb: changed\nb.ipynb: changed\n"),
        (KNOWN, ""),
        (UNKNOWN, "a.ipynb: changed\nb.ipynb: changed\n"),
    ]:
        config.write_text(yaml.safe_dump({"repository": repository}))
        launch.main()
        assert capsys.readouterr().out == printed
    assert (tmp_path / "a.ipynb").read_text() == text


@pytest.fixture
def commands(plain, monkeypatch):
    """Run the cell and return what it would have started."""
    started = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: started.append(words))

    def run():
        notebook = nbformat.reads(in_line(plain.read_text(), KNOWN), as_version=4)
        [source] = [cell.source for cell in notebook.cells if cell.id == CELL_ID]
        exec(source, {})
        return started

    return run


def test_the_cell_does_nothing_here(commands):
    assert commands() == []


def test_the_cell_installs_the_library_on_colab(commands, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", None)
    [words] = commands()
    assert words[1:4] == ["-m", "pip", "install"]
    name, extras, address = re.fullmatch(r"([\w-]+)\[(.+)\] @ (.+)", words[-1]).groups()
    assert name == PROJECT["name"]
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert address == f"git+{ADDRESS}@main"
