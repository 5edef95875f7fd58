"""Links, loads and names in the built pages."""

from pathlib import Path

import pytest

from tests.site.checks import (
    Page,
    broken_links,
    external_loads,
    html_files,
    unnamed_media,
)


def test_no_link_is_broken(site):
    assert broken_links(site) == []


def test_nothing_is_loaded_from_another_host(site):
    assert external_loads(site) == []


def test_images_and_videos_are_named(site):
    assert unnamed_media(site) == []


def test_every_page_of_the_contents_is_built(site):
    names = {path.stem for path in html_files(site)}
    assert {"01_data", "05_router_analysis", "notation", "glossary", "api"} <= names


def test_the_api_page_shows_every_module(site):
    modules = (Path(__file__).parents[2] / "moe_lib").glob("[!_]*.py")
    anchors = Page(site / "book" / "api.html").anchors
    assert {f"module-moe_lib.{path.stem}" for path in modules} <= anchors


# Each check must find what it is there to find.


@pytest.fixture
def page(tmp_path):
    """Write one page, beside a good one with an anchor."""
    (tmp_path / "other.html").write_text('<p id="here">Hello</p>')
    (tmp_path / "plot.png").write_bytes(b"")

    def write(body):
        (tmp_path / "index.html").write_text(body)
        return tmp_path

    return write


GOOD = """
<a href="other.html#here">1</a> <a href="#top" id="top">2</a>
<a href="https://example.org/x">3</a> <a href="mailto:a@example.org">4</a>
<img src="plot.png" alt="Accuracy rises to one."> <img src="plot.png" alt=""
role="presentation"> <video aria-label="Examples move" poster="plot.png"></video>
"""


def test_a_good_page_passes(page):
    site = page(GOOD)
    assert broken_links(site) + external_loads(site) + unnamed_media(site) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="gone.html">x</a>', "no such file"),
        ('<a href="other.html#gone">x</a>', "no such anchor"),
        ('<a href="#gone">x</a>', "no such anchor"),
        ('<a href="../secret.html">x</a>', "outside the site"),
        ('<img src="gone.png" alt="A plot">', "no such file"),
        ('<video poster="gone.png"></video>', "no such file"),
        ('<source srcset="gone.png 2x">', "no such file"),
        ('<link rel="stylesheet" href="gone.css">', "no such file"),
    ],
)
def test_broken_links_are_found(page, body, problem):
    assert problem in broken_links(page(body))[0]


@pytest.mark.parametrize(
    "body",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<img src="//example.org/a.png" alt="A plot">',
        '<link rel="stylesheet" href="https://example.org/a.css">',
    ],
)
def test_external_loads_are_found(page, body):
    assert "example.org" in external_loads(page(body))[0]


@pytest.mark.parametrize(
    "body",
    [
        '<img src="plot.png">',
        '<img src="plot.png" alt="">',
        '<img src="plot.png" alt="plot.png">',
        '<img src="plot.png" alt="plot">',
        '<img src="a.png" alt="notebooks/_images/a.png">',
        '<img src="plot.png" alt="../_images/0a1b.png">',
        "<video controls></video>",
    ],
)
def test_unnamed_media_are_found(page, body):
    assert len(unnamed_media(page(body))) == 1
