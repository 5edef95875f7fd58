"""Open a page in a browser, on a phone and on a desk, light and dark."""

import gzip
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from urllib.parse import urlsplit
from urllib.request import urlopen

from axe_playwright_python.sync_playwright import Axe

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}
PHONE_WIDTHS = (320, 360, 390)
MAX_BYTES = 1_000_000  # of a page with all it loads, compressed; films come on demand
FILMS = (".mp4", ".gif")

# What is wider than the screen and in no box that scrolls.
CUT_OFF = """() => {
  const scrolls = (e) => e && (/auto|scroll/.test(getComputedStyle(e).overflowX) ||
    scrolls(e.parentElement));
  return [...document.querySelectorAll("table, pre, img, canvas, mjx-container")]
    .filter((e) => e.checkVisibility() && !e.closest("mjx-assistive-mml"))
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e))
    .map((e) => e.outerHTML.slice(0, 120));
}"""

# What can have the keyboard's focus and does not show it. Where an input is invisible,
# the mark that stands for it shows it.
UNSEEN_FOCUS = """() => {
  const shows = (e) => {
    const { outlineStyle, outlineWidth, maskImage } = e ? getComputedStyle(e) : {};
    return maskImage === "none" && (outlineStyle === "auto" ||
      (outlineStyle === "solid" && parseFloat(outlineWidth) >= 2));
  };
  const stops = "a[href], button, input, select, summary, [tabindex='0']";
  return [...document.querySelectorAll(stops)]
    .filter((e) => e.checkVisibility() && !e.disabled)
    .filter((e) => {
      e.focus({ preventScroll: true });
      return document.activeElement === e && !shows(e) && !shows(e.nextElementSibling);
    })
    .map((e) => e.outerHTML.slice(0, 120));
}"""


# Axe takes milliseconds for the contrast of an element, and a page has thousands. Of
# those whose text looks alike (ink, size, weight, shadow, all grounds, seen or not) one
# is marked, and axe reads the contrast of what is marked; a single sign does not stand
# for longer words, for axe does not judge it. Then unmarked words without attributes
# become plain text, innermost first: axe's other rules have less to read.
MARK_LOOKS = """() => {
  const grounds = new Map([[null, ""]]);
  const groundsOf = (e) => {
    if (!grounds.has(e)) {
      const style = getComputedStyle(e);
      const { backgroundColor, backgroundImage, opacity, position } = style;
      const own = [backgroundColor, backgroundImage, opacity, position].join();
      const isPlain = own === "rgba(0, 0, 0, 0),none,1,static";
      grounds.set(e, (isPlain ? "" : own + ";") + groundsOf(e.parentElement));
    }
    return grounds.get(e);
  };
  const ownText = (e) => [...e.childNodes]
    .map((node) => (node.nodeType === Node.TEXT_NODE ? node.data.trim() : "")).join("");
  const seen = new Set();
  const isNew = (e) => {
    const { color, fontSize, fontWeight, textShadow } = getComputedStyle(e);
    const look = [color, fontSize, fontWeight, textShadow, groundsOf(e)];
    const key = [...look, ownText(e).length > 1, e.checkVisibility()].join();
    return seen.size !== seen.add(key).size;
  };
  const texts = [...document.querySelectorAll("body, body *")].filter(ownText);
  for (const e of texts.filter(isNew)) e.dataset.look = "";

  const words = "code, em, strong, :is(pre, code, .sig) span";
  for (const e of [...document.querySelectorAll(words)].reverse()) {
    const isBare = [...e.attributes].every(({ name }) => name === "class");
    if (isBare && !e.children.length) e.replaceWith(...e.childNodes);
  }
}"""
READ_MARKED = """axe.configure(
  { rules: [{ id: "color-contrast", selector: "[data-look]" }] })"""


@dataclass
class Audit:
    """What is wrong with one page; empty lists are good."""

    off_host: list = field(default_factory=list)
    console: list = field(default_factory=list)
    sideways: list = field(default_factory=list)
    unseen_focus: list = field(default_factory=list)
    heavy: list = field(default_factory=list)
    axe: list = field(default_factory=list)


def audit(browser, address) -> Audit:
    """Visit the page in both colour schemes and at both widths."""
    found = Audit()
    for scheme, viewport in product(("light", "dark"), (PHONE, DESK)):
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        requested = {}
        page.on("request", lambda request, to=requested: to.setdefault(request.url))
        page.on("console", lambda message: _note_console(found, message))
        page.on("pageerror", lambda error: found.console.append(str(error)))
        page.goto(address, wait_until="load")
        page.evaluate("window.setAllFormulas?.()")
        page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = '')")
        if (scheme, viewport) == ("light", PHONE):
            _try_widths(found, page)
            page.set_viewport_size(viewport)
        page.wait_for_timeout(100)
        label = f"{scheme}, {viewport['width']} px: "
        found.unseen_focus += [label + e for e in page.evaluate(UNSEEN_FOCUS)]
        page.evaluate(MARK_LOOKS)
        found.axe += [label + line for line in violations(page, READ_MARKED)]
        page.close()
        _note_requests(found, address, requested)
    return found


def _try_widths(found, page):
    for width in PHONE_WIDTHS:
        page.set_viewport_size({**PHONE, "width": width})
        page.wait_for_timeout(50)
        reached = page.evaluate("document.documentElement.scrollWidth")
        if reached > width:
            found.sideways.append(f"{reached} px wide on a {width} px screen")
        found.sideways += [f"{width} px: {e}" for e in page.evaluate(CUT_OFF)]


def _note_requests(found, address, requested):
    host = urlsplit(address).netloc
    weight = 0
    for url in requested:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.netloc != host:
            found.off_host.append(url)
        elif parts.netloc == host and not parts.path.endswith(FILMS):
            weight += _compressed(url)
    if weight > MAX_BYTES:
        found.heavy.append(f"{weight:,} bytes, more than {MAX_BYTES:,}")


@cache
def _compressed(url) -> int:
    try:
        with urlopen(url) as answer:
            return len(gzip.compress(answer.read()))
    except OSError:  # missing: the console says so
        return 0


def _note_console(found, message):
    if message.type == "error":
        found.console.append(f"{message.text} {message.location['url']}")


def violations(page, configure="") -> list:
    """List what axe finds in the page as it is; before, it can be told how to read."""
    page.evaluate(Axe().axe_script)
    page.evaluate(configure)
    # Without its preload, which asks for imported style sheets at the wrong address.
    response = page.evaluate("axe.run({preload: false, resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in response["violations"]
        for node in violation["nodes"]
    ]
