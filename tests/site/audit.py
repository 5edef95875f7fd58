"""Open a page in a browser, on a phone and on a desk, light and dark."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}


@dataclass
class Audit:
    """What is wrong with one page; empty lists are good."""

    off_host: list = field(default_factory=list)
    console: list = field(default_factory=list)
    sideways: list = field(default_factory=list)
    axe: list = field(default_factory=list)


def audit(browser, address) -> Audit:
    """Visit the page in both colour schemes and at both widths."""
    found = Audit()
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport=PHONE, color_scheme=scheme)
        page.on("request", lambda request: _note_request(found, address, request))
        page.on("console", lambda message: _note_console(found, message))
        page.on("pageerror", lambda error: found.console.append(str(error)))
        page.goto(address, wait_until="load")
        page.evaluate("window.formulasSet")
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            found.sideways.append(f"{width} px wide on a {PHONE['width']} px screen")
        for viewport in (PHONE, DESK):
            page.set_viewport_size(viewport)
            page.wait_for_timeout(100)
            found.axe += serious(page, f"{scheme}, {viewport['width']} px")
        page.close()
    return found


def _note_request(found, address, request):
    parts = urlsplit(request.url)
    if parts.scheme in ("http", "https") and parts.netloc != urlsplit(address).netloc:
        found.off_host.append(request.url)


def _note_console(found, message):
    if message.type == "error":
        found.console.append(f"{message.text} {message.location['url']}")


def serious(page, label):
    """List what axe finds serious in the page as it is."""
    # Without its preload, which asks for imported style sheets at the wrong address.
    response = Axe().run(page, options={"preload": False}).response
    return [
        f"{label}: {violation['id']}: {node['html'][:120]}"
        for violation in response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
