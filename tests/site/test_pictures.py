"""A figure that is shown again: the image is the chapter's own, or the build warns."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image
from sphinx.testing.util import SphinxTestApp
from sphinx.util.docutils import docutils_namespace

from tests.site.checks import Page

ROOT = Path(__file__).parents[2]
TOC = ".. toctree::\n\n   chapter\n   gallery\n"
CHAPTER = ".. _fig-a:\n\n.. figure:: a.png\n   :alt: A curve falls.\n\n   A caption.\n"


def png(grey):
    """Return an image of one pixel."""
    file = io.BytesIO()
    Image.new("L", (1, 1), grey).save(file, "png")
    return file.getvalue()


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Build a book of one chapter and one page that shows a figure again."""
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    (tmp_path / "conf.py").write_text("extensions = ['pictures']\n")
    (tmp_path / "index.rst").write_text(f"Book\n====\n\n{TOC}")
    (tmp_path / "chapter.rst").write_text(f"Chapter\n=======\n\n{CHAPTER}")
    (tmp_path / "a.png").write_bytes(png(0))

    def build(name):
        page, text = (
            tmp_path / "gallery.rst",
            f"Gallery\n=======\n\n.. picture:: {name}\n",
        )
        if not page.exists() or page.read_text() != text:  # else it stays as it was
            page.write_text(text)
        warnings = io.StringIO()
        with docutils_namespace():
            app = SphinxTestApp(srcdir=tmp_path, warning=warnings)
            app.build()
            app.cleanup()
        return Page(Path(app.outdir) / "gallery.html"), warnings.getvalue()

    yield build
    sys.modules.pop("pictures", None)


def test_the_image_and_its_words_are_the_chapters(book):
    page, warnings = book("fig-a")
    assert warnings == ""
    [image] = [image for image in page.images if "picture" in image.get("class", "")]
    assert (image["src"], image["alt"]) == ("_images/a.png", "A curve falls.")


def test_the_page_is_written_again_when_the_chapter_changes(book, tmp_path):
    book("fig-a")
    chapter = tmp_path / "chapter.rst"
    chapter.write_text(chapter.read_text().replace("a.png", "b.png"))
    (tmp_path / "b.png").write_bytes(png(1))
    page, _ = book("fig-a")
    assert "_images/b.png" in [image["src"] for image in page.images]


def test_a_name_that_no_figure_has_is_noticed(book):
    page, warnings = book("fig-b")
    assert "no figure of a chapter has the name fig-b" in warnings
    assert not any("picture" in image.get("class", "") for image in page.images)


def test_the_ten_pictures_are_ten(site):
    def sources(file):
        return {image["src"] for image in Page(file).images}

    gallery = Page(site / "book" / "ten_pictures.html").images
    shown = {i["src"] for i in gallery if "picture" in i.get("class", "")}
    chapters = set().union(*map(sources, (site / "notebooks").glob("*.html")))
    assert len(shown) == 10
    assert shown <= chapters


@pytest.mark.parametrize("name", ["book/ten_pictures", "notebooks/02_single_expert"])
def test_on_a_phone_a_wide_picture_is_legible_and_scrolls(browser, site_address, name):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(f"{site_address}/{name}.html")
    box = page.locator(".picture-box:visible:has(> img[width^='8'])").first
    scale = "e => e.getBoundingClientRect().width / e.width"
    # Letters of 9 points at 110 dots per inch then have 8 pixels of the screen.
    assert box.locator("img").evaluate(scale) >= 0.6
    assert box.evaluate("e => e.tabIndex") == 0
    page.locator(".picture-box.more").first.wait_for()
    assert "more" in box.get_attribute("class").split()
    box.evaluate("e => { e.scrollLeft = e.scrollWidth; }")
    page.wait_for_function("e => !e.matches('.more')", arg=box.element_handle())
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_function("() => !document.querySelector('.picture-box.more')")
    page.close()
