"""Every page of the site in a real browser."""

import re

import numpy as np
import pytest

from tests.site.audit import Audit, audit
from tests.site.checks import html_files
from tests.site.conftest import SITE, serve

PAGES = [
    str(path.relative_to(SITE))
    for path in html_files(SITE)
    if path != SITE / "index.html"  # only a redirect to the home page
]


@pytest.fixture(scope="module", params=PAGES or ["no page is built"])
def audited(request, browser, site_address):
    """Visit each page once; the tests below read what was seen."""
    return audit(browser, f"{site_address}/{request.param}")


def test_no_request_leaves_the_host(audited):
    assert audited.off_host == []


def test_the_console_shows_no_error(audited):
    assert audited.console == []


def test_no_sideways_scroll_on_a_phone(audited):
    assert audited.sideways == []


def test_the_focus_of_the_keyboard_is_seen(audited):
    assert audited.unseen_focus == []


def test_a_page_with_all_it_loads_is_light(audited):
    assert audited.heavy == []


def test_axe_finds_nothing(audited):
    assert audited.axe == []


def hits(browser, site_address, words):
    """Ask the search page, as a reader does; return the pages that it lists."""
    page = browser.new_page()
    page.goto(f"{site_address}/search.html")
    page.locator(".bd-main input[type=search]").fill(words)
    page.keyboard.press("Enter")
    page.locator(
        ".search-summary", has_text=re.compile("found|did not match")
    ).wait_for()
    links = page.locator("#search-results ul.search li > a").evaluate_all(
        "links => links.map(a => new URL(a.href).pathname.slice(1))"
    )
    page.close()
    return links


@pytest.mark.parametrize(
    ("words", "explained"),
    [
        ("dispatch entropy", "notebooks/05_router_analysis.html"),
        ("Theorem 4.1", "book/theory.html"),
        ("normalised gradient", "notebooks/03_moe_layer.html"),
        ("load balancing", "notebooks/07_reproduction_audit.html"),
    ],
)
def test_the_search_finds_the_page_that_explains(
    browser, site_address, words, explained
):
    assert explained in hits(browser, site_address, words)[:5]


def test_the_search_does_not_find_everything(browser, site_address):
    assert hits(browser, site_address, "xylophone") == []


# Each check must find what it is there to find.


PAGE = """<!doctype html>
<html lang="en">
<head>
<title>Test</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
</head>
<body>BODY</body>
</html>"""


@pytest.fixture
def audit_of(browser, tmp_path):
    def run(body):
        (tmp_path / "index.html").write_text(PAGE.replace("BODY", body))
        with serve(tmp_path) as address:
            return audit(browser, f"{address}/index.html")

    return run


def test_a_good_page_passes(audit_of):
    found = audit_of("<main><h1>Hello</h1><p>Nothing wrong here.</p></main>")
    assert found == Audit()


def test_off_host_requests_are_found(audit_of):
    found = audit_of('<script src="http://localhost:1/a.js"></script>')
    assert found.off_host == ["http://localhost:1/a.js"] * 4


def test_console_errors_are_found(audit_of):
    assert "no_such_name" in audit_of("<script>no_such_name()</script>").console[0]


def test_missing_files_are_found(audit_of):
    assert "404" in audit_of('<img src="gone.png" alt="A plot">').console[0]


@pytest.mark.parametrize("width", [321, 361, 391])
def test_sideways_scroll_is_found(audit_of, width):
    found = audit_of(f'<div style="width: {width}px; margin: 0">wide</div>')
    assert any(f"on a {width - 1} px screen" in line for line in found.sideways)


@pytest.mark.parametrize(
    ("style", "cut_off"), [("overflow: hidden", True), ("overflow-x: auto", False)]
)
def test_a_wide_table_must_scroll_in_its_own_box(audit_of, style, cut_off):
    table = '<table style="width: 800px"><tr><td>wide</td></tr></table>'
    found = audit_of(f'<main style="{style}">{table}</main>')
    assert bool(found.sideways) == cut_off


def test_unseen_focus_is_found(audit_of):
    hide = "<style>a:focus {outline: none}</style>"
    fade = "<style>p:focus {mask-image: linear-gradient(red, red)}</style>"
    good, box = "<a href='#'>here</a>", "<p tabindex='0'>box</p>"
    assert audit_of(good + box).unseen_focus == []
    assert len(audit_of(hide + good).unseen_focus) == 4
    assert len(audit_of(fade + box).unseen_focus) == 4


def test_heavy_pages_are_found(audit_of, tmp_path):
    noise = np.random.default_rng(0).bytes(1_000_000)
    for name in ("plot.png", "film.mp4"):
        (tmp_path / name).write_bytes(noise)
    assert audit_of('<video src="film.mp4"></video>').heavy == []
    assert audit_of('<img src="plot.png" alt="A plot" loading="lazy">').heavy


def test_axe_violations_are_found(audit_of):
    pale = "p {color: #ccc} @media (prefers-color-scheme: dark) {p {color: #000}}"
    found = audit_of(f"<style>{pale}</style><p>Too pale</p><img src='data:,'>")
    assert any("color-contrast" in line for line in found.axe)
    assert any("image-alt" in line for line in found.axe)
    assert not any("dark" in line and "color-contrast" in line for line in found.axe)


@pytest.mark.parametrize(
    ("style", "pale"),
    [
        ("", 0),
        ("pre:last-child .k {color: #ccc}", 1),  # of three words one is told
        (".k {color: #00f} pre:last-child {background: #666}", 2),  # and its ground
    ],
)
def test_axe_judges_one_text_of_each_look(audit_of, style, pale):
    code = "<pre>code = <span class='n'>name</span> <span class='k'>if</span></pre>"
    three = code.replace("</pre>", " <span class='k'>else</span>" * 2 + "</pre>")
    found = audit_of(f"<style>{style}</style><main><h1>Code</h1>{code}{three}</main>")
    assert len([line for line in found.axe if "light, 360 px: color" in line]) == pale


@pytest.mark.parametrize(
    "words",
    [
        "<pre><span>=</span> <span>word</span></pre>",  # axe judges no single sign
        "<em>😀</em> <em>→→</em> <em>word</em>",
        "<pre hidden><span>word</span></pre><pre><span>word</span></pre>",
        "<em style='visibility: hidden'>word</em> <em>word</em>",
        "<em aria-disabled=true>word</em> <em>word</em>",
        "<p style='text-indent: -999px'><em>word</em></p><em>word</em>",
        """<div style='overflow: auto; height: 20px'><em>word</em>
        <p style='height: 99px' id=end></p></div><em>word</em>
        <script>end.parentElement.scrollTop = 99</script>""",
        "<input value=word aria-label=a style='color: #ccc; background: #fff'>",
        "<details><summary>Code</summary><p><em>word</em></p></details><em>word</em>",
        "<pre class='phone'><span>word</span></pre><pre><span>word</span></pre>",
        "<p><em>a <u>word</u></em> <em>word</em></p>",
        "<pre><span>word <b>bold</b></span> <span>other <b>word</b></span></pre>",
    ],
)
def test_axe_finds_what_is_pale_among_what_it_cannot_judge(audit_of, words):
    style = """:is(pre > span, em) {color: #ccc} span + span > b {color: #ddd}
        u {color: #000}
        @media (max-width: 500px) {.phone {display: none}}"""
    found = audit_of(f"<style>{style}</style><main><h1>Code</h1>{words}</main>")
    contrast = [line.split(":")[0] for line in found.axe if "color-contrast" in line]
    assert {"light, 360 px", "light, 1280 px"} <= set(contrast)
    assert bool(re.search("<b[^>]*>word", "".join(found.axe))) == ("<b>word" in words)


def test_axe_sees_no_ink_on_its_way_from_one_to_another(audit_of):
    back = "a {color: #000; transition: color 9s}"
    style = back + "a:focus {color: #ddd; transition: none}"
    words = "<a href='#'>once in focus</a> <button>last in focus</button>"
    found = audit_of(f"<style>{style}</style><main><h1>Ink</h1>{words}</main>")
    assert found.axe == []


def test_what_is_wrong_with_a_word_is_found(audit_of):
    words = "<em>fine</em> <em role='button' tabindex='0'></em>"
    found = audit_of(f"<main><h1>Words</h1><p>{words}</p></main>")
    assert any("aria-command-name" in line for line in found.axe)
