"""What the build adds to pages for those who find or share them."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from PIL import Image

ROOT = Path(__file__).parents[2]
ADDRESS = "https://book.example.org/"


@pytest.fixture(scope="module")
def page_assets():
    path = ROOT / "book" / "_ext" / "page_assets.py"
    spec = spec_from_file_location("page_assets", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def app_of(baseurl, out="."):
    config = SimpleNamespace(html_baseurl=baseurl, html_title="Two & two")
    return SimpleNamespace(config=config, srcdir=ROOT, outdir=out)


def tags_of(page_assets, baseurl):
    words = 'An "expert" learns, and a router learns whom to ask, example by example.'
    page = nodes.document(None, None, "", nodes.paragraph(text="Short."))
    page += nodes.paragraph(text=words)
    context = {"title": "A <em>good</em> page", "pageurl": ADDRESS + "a.html"}
    page_assets.describe_page(app_of(baseurl), "a", "page.html", context, page)
    return context["metatags"]


def test_a_page_says_what_it_is_about(page_assets):
    tags = tags_of(page_assets, "")
    assert '<meta property="og:title" content="A good page" />' in tags
    assert '<meta name="description" content="An &quot;expert&quot; learns' in tags


def test_only_a_site_with_an_address_gives_addresses(page_assets):
    assert "http" not in tags_of(page_assets, "")
    assert "og:image" not in tags_of(page_assets, "")
    tags = tags_of(page_assets, ADDRESS)
    assert f'"og:url" content="{ADDRESS}a.html"' in tags
    assert f'"og:image" content="{ADDRESS}_static/card.png"' in tags


def test_the_card_is_drawn_where_the_tag_says(page_assets, tmp_path):
    (tmp_path / "_static").mkdir()
    page_assets.draw_card(app_of("", tmp_path), None)
    assert not list(tmp_path.rglob("*.png"))
    page_assets.draw_card(app_of(ADDRESS, tmp_path), None)
    with Image.open(tmp_path / "_static" / "card.png") as card:
        assert card.size == (1200, 630)
        colors = card.getcolors(1 << 20)
    assert sum(count for count, color in colors if color != (255, 255, 255)) > 100_000


def test_a_percent_sign_stays_on_the_line_of_its_number(page_assets):
    glued, code = nodes.inline(text="97.5"), nodes.literal(text="5 %")
    block = nodes.literal_block(text="5 %")
    page = nodes.document(None, None, "", nodes.paragraph(text="5 %, a % b "), block)
    page[0].extend([glued, nodes.Text(" % and "), code])
    page_assets.keep_percent(None, page, "a")
    assert page.astext() == "5\u00a0%, a % b 97.5\u00a0% and 5 %\n\n5 %"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("at {} it", ""),
        ("at {}. It", "{}."),
        ("at ({}), it", "({}),"),
        ("a {}-", "{}-"),
    ],
)
def test_punctuation_stays_on_the_line_of_its_formula(page_assets, written, kept):
    formula = r'<span class="math notranslate nohighlight">\(x &lt; 1\)</span>'
    context = {"body": 2 * written.format(formula)}
    page_assets.repair_page(app_of(""), "search", "page.html", context, None)
    joined = re.compile('<span class="with-marks">(.*?</span>.*?)</span>')
    expected = 2 * [kept.format(formula)] * bool(kept)
    assert joined.findall(context["body"]) == expected
