"""The preview lists what differs between two sites, and only that."""

import re
import subprocess
import sys

import pytest

from tools import preview
from tools.preview import differences, report

PAGE = """<html>
<head><script src="_static/theme.js?digest=0a1b"></script></head>
<nav><a href="other.html">Other</a></nav>
<article class="bd-article">
<p>First line.</p>
<p>Second line. <img src="_images/plot.png?v=0a1b"></p>
</article>
<footer>Built on Monday.</footer>
</html>
"""
FILES = {
    "index.html": PAGE,
    "notebooks/01.html": PAGE,
    "search.html": '<script src="_static/theme.js?digest=0a1b"></script>',
    "_images/plot.png": "picture",
    "_static/style.css": "p {}",
    "searchindex.js": "words",
    "_sources/index.md": "source",
}


@pytest.fixture
def sites(tmp_path):
    """Two sites that are the same."""
    for site in ("old", "new"):
        for name, text in FILES.items():
            path = tmp_path / site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path / "old", tmp_path / "new"


def test_the_same_site_has_no_differences(sites):
    assert differences(*sites) == {}
    assert report({}, *sites) == "Pages that differ: 0. Other files: 0."


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("index.html", "0a1b", "9f9f"),
        ("search.html", "0a1b", "9f9f"),
        ("index.html", "Monday", "Tuesday"),
        ("index.html", "Other", "Another"),  # the list of pages is in each page
        ("searchindex.js", "words", "other words"),
        ("_sources/index.md", "source", "sauce"),
    ],
)
def test_what_is_no_change_for_a_reader_is_not_listed(sites, name, old, new):
    path = sites[1] / name
    path.write_text(path.read_text().replace(old, new))
    assert path.read_text() != FILES[name]
    assert differences(*sites) == {}


@pytest.mark.parametrize(
    ("name", "old", "new", "change"),
    [
        ("index.html", "First line", "Line one", "+1 -1 lines"),
        ("index.html", "<p>First line.</p>\n", "", "+0 -1 lines"),
        ("index.html", "</article>", "<p>3</p>\n<p>4</p>\n</article>", "+2 -0 lines"),
        ("index.html", "plot.png", "plot2.png", "+1 -1 lines"),
        ("search.html", "theme.js", "other.js", "+1 -1 lines"),
        ("_images/plot.png", "picture", "other", "changed"),
        ("_static/style.css", "p {}", "a {}", "changed"),
    ],
)
def test_a_change_is_listed_with_how_much(sites, name, old, new, change):
    path = sites[1] / name
    path.write_text(path.read_text().replace(old, new))
    assert differences(*sites) == {name: change}


def test_pages_that_come_and_go_are_listed_before_other_files(sites):
    old, new = sites
    (new / "notebooks" / "02.html").write_text(PAGE)
    (new / "notebooks" / "01.html").unlink()
    (new / "_images" / "plot.png").unlink()
    found = differences(old, new)
    assert report(found, old, new).splitlines() == [
        "Pages that differ: 2. Other files: 1.",
        "  removed         notebooks/01.html",
        "  added           notebooks/02.html",
        "  removed         _images/plot.png",
        f"Before: {old}",
        f"After:  {new}",
    ]


# From the commits of a small book.


def git(folder, *words):
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A page, committed on main, changed on a branch and once more since."""
    (tmp_path / "_config.yml").write_text("title: Small\nonly_build_toc_files: true\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: home\n")
    (tmp_path / "home.md").write_text("# Home\n\nAs on main.\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "main")
    git(tmp_path, "switch", "-q", "-c", "branch")
    (tmp_path / "home.md").write_text("# Home\n\nAs on the branch.\n")
    git(tmp_path, "commit", "-q", "-a", "-m", "branch")
    site = tmp_path / preview.SITE
    site.mkdir(parents=True)
    (site / "home.html").write_text("<article>\n<p>New</p>\n</article>")
    monkeypatch.setattr(preview, "ROOT", tmp_path)
    return tmp_path


def test_the_working_tree_is_compared_with_where_the_branch_left_main(
    book, monkeypatch, capfd
):
    monkeypatch.setattr(sys, "argv", ["preview"])
    preview.main()
    before = book / preview.BASE / preview.SITE / "home.html"
    assert "As on main." in before.read_text()
    assert re.search(r"\+\d+ -\d+ lines +home.html", capfd.readouterr().out)


def test_another_base_may_be_named(book, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["preview", "branch"])
    monkeypatch.setattr(preview, "build", lambda commit: book / preview.SITE)
    preview.main()
    git(book, "rev-parse", "branch")
    printed, commit = capfd.readouterr().out.rstrip().rsplit("\n", 1)
    assert printed.startswith(f"Against {commit[:9]}:\nPages that differ: 0.")


def test_a_commit_that_does_not_exist_is_an_error(book, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["preview", "no-such-commit"])
    with pytest.raises(subprocess.CalledProcessError):
        preview.main()
