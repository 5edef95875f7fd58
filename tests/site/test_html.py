"""Links, loads and names in the built pages."""

import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.site.checks import (
    Page,
    broken_links,
    external_loads,
    html_files,
    idle_scripts,
    source_maps,
    too_large,
    unnamed_media,
    unsized_pictures,
    without_icon,
)

ROOT = Path(__file__).parents[2]


def test_no_link_is_broken(site):
    assert broken_links(site) == []


def test_nothing_is_loaded_from_another_host(site):
    assert external_loads(site) == []


def test_images_and_videos_are_named(site):
    assert unnamed_media(site) == []


@pytest.mark.parametrize(
    "check", [too_large, source_maps, idle_scripts, unsized_pictures, without_icon]
)
def test_nothing_is_loaded_in_vain(site, check):
    assert check(site) == []


def test_pictures_shrink_without_loss(site):
    """Each PNG output of a notebook is a picture of the site, pixel for pixel."""
    shown = set()
    for path in (site / "_images").glob("*.webp"):
        with Image.open(path) as picture:
            shown.add((picture.size, picture.convert("RGB").tobytes()))
    notebook = json.loads((ROOT / "notebooks" / "01_data.ipynb").read_text())
    outputs = [
        output for cell in notebook["cells"] for output in cell.get("outputs", [])
    ]
    drawn = [
        o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})
    ]
    assert drawn
    for png in drawn:
        with Image.open(BytesIO(b64decode(png))) as picture:
            assert (picture.size, picture.convert("RGB").tobytes()) in shown


def test_every_page_of_the_contents_is_built(site):
    names = {path.stem for path in html_files(site)}
    assert {"01_data", "05_router_analysis", "notation", "glossary", "api"} <= names


def test_the_api_page_shows_every_module(site):
    modules = (ROOT / "moe_lib").glob("[!_]*.py")
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


def test_a_large_gif_and_a_large_site_are_found(page):
    site = page(GOOD)
    for name, size in {
        "a.gif": 1_000_000,
        "b.gif": 1_000_001,
        "c.mp4": 22_000_000,
    }.items():
        with (site / name).open("wb") as file:
            file.truncate(size)
    assert too_large(site) == ["b.gif: 1,000,001 bytes"]
    with (site / "d.js").open("wb") as file:
        file.truncate(1_000_000)
    assert "the site" in too_large(site)[1]


def test_source_maps_are_found(page):
    site = page(GOOD)
    (site / "a.js.map").write_text("{}")
    (site / "a.js").write_text("run()\n//# sourceMappingURL=a.js.map")
    (site / "b.css").write_text("p {}")
    assert source_maps(site) == ["a.js", "a.js.map"]


@pytest.mark.parametrize(
    ("script", "use"),
    [
        ("../searchindex.js", '<div id="search-results"></div>'),
        ("_static/math.js?v=1", '<span class="math notranslate">x</span>'),
        ("_static/live/figures.js", '<video src="a.mp4"></video>'),
        ("_static/scripts/fontawesome.js", None),
    ],
)
def test_idle_scripts_are_found(page, script, use):
    tag = f'<script defer="defer" src="{script}"></script>'
    assert len(idle_scripts(page(tag))) == 1
    if use:
        assert idle_scripts(page(tag + use)) == []


def test_unsized_pictures_are_found(page):
    sized = '<img src="_images/a.webp" width="8" height="5" loading="lazy">'
    assert unsized_pictures(page(sized)) == []
    for lacking in ('width="8"', 'height="5"', 'loading="lazy"'):
        assert len(unsized_pictures(page(sized.replace(lacking, "")))) == 1


def test_pages_without_an_icon_are_found(page):
    site = page('<link rel="icon" href="plot.png">')
    assert without_icon(site) == ["other.html"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_code_without_an_element_of_its_own_keeps_its_ink(site, theme):
    """What `PLAIN_CODE` takes the element from has no colour but that of all code."""
    styles = (site / "_static" / "pygments.css").read_text()
    rule = rf'html\[data-theme="{theme}"\] \.highlight %s\{{[^}}]*\bcolor: (#\w+)'
    [ink] = re.findall(rule % "", styles)
    for kind in ("n", "nn", "p", "w"):
        assert re.findall(rule % rf"\.{kind} ", styles) == [ink]
    chapter = (site / "notebooks" / "01_data.html").read_text()
    assert '<span class="mi">' in chapter
    assert not re.search('<span class="(n|nn|p|w)">[^<]*</span>', chapter)
