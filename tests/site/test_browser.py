"""Every page of the site in a real browser."""

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


def test_axe_finds_nothing_serious(audited):
    assert audited.axe == []


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
    assert found.off_host == ["http://localhost:1/a.js"] * 2


def test_console_errors_are_found(audit_of):
    assert "no_such_name" in audit_of("<script>no_such_name()</script>").console[0]


def test_missing_files_are_found(audit_of):
    assert "404" in audit_of('<img src="gone.png" alt="A plot">').console[0]


def test_sideways_scroll_is_found(audit_of):
    assert audit_of('<div style="width: 500px">wide</div>').sideways


def test_axe_violations_are_found(audit_of):
    pale = "p {color: #ccc} @media (prefers-color-scheme: dark) {p {color: #000}}"
    found = audit_of(f"<style>{pale}</style><p>Too pale</p><img src='data:,'>")
    assert any("color-contrast" in line for line in found.axe)
    assert any("image-alt" in line for line in found.axe)
    assert not any("dark" in line and "color-contrast" in line for line in found.axe)
