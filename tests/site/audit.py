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
# those that look alike (ink, size, weight, shadow, all grounds) it judges one; all of
# them where it could not judge that one, which is hidden, covered or a sign, say. It
# works without its preload, which asks for imported style sheets at the wrong address.
AXE_BY_LOOKS = """async () => {
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
  const isField = (e) => e.matches("input, select, textarea");
  const lookOf = (e) => {
    const { color, fontSize, fontWeight, textShadow } = getComputedStyle(e);
    const field = isField(e) ? e.localName + e.type : "";
    return [color, fontSize, fontWeight, textShadow, field, groundsOf(e)].join();
  };
  const isText = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim();
  const isSeen = (e) =>
    ([...e.childNodes].some(isText) || isField(e)) &&
    e.checkVisibility() && !e.closest("mjx-assistive-mml");
  const seen = [...document.querySelectorAll("body, body *")].filter(isSeen);
  const looks = [...Map.groupBy(seen, lookOf).values()];

  const options = { preload: false, selectors: false };
  axe.configure({ rules: [{ id: "color-contrast", selector: "[data-look]" }] });
  const judge = async (elements) => {
    for (const e of elements) e.dataset.look = "";
    const contrast = { ...options, runOnly: ["color-contrast"], elementRef: true };
    const { passes, violations } = await axe.run(contrast);
    for (const e of elements) delete e.dataset.look;
    const nodes = [...passes, ...violations].flatMap((result) => result.nodes);
    return [violations, new Set(nodes.map(({ element }) => element))];
  };
  const [pale, judged] = await judge(looks.map(([one]) => one));
  const doubtful = looks.filter(([one]) => !judged.has(one));
  const [alsoPale] = await judge(doubtful.flatMap(([one, ...others]) => others));
  const { violations } = await axe.run({ ...options, resultTypes: ["violations"],
    rules: { "color-contrast": { enabled: false } } });
  return [...pale, ...alsoPale, ...violations];
}"""


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
        page.add_style_tag(content="* {transition: none !important}")  # of inks, say
        page.evaluate("window.setAllFormulas?.()")
        page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = '')")
        if (scheme, viewport) == ("light", PHONE):
            _try_widths(found, page)
            page.set_viewport_size(viewport)
        page.wait_for_timeout(100)
        label = f"{scheme}, {viewport['width']} px: "
        found.unseen_focus += [label + e for e in page.evaluate(UNSEEN_FOCUS)]
        page.evaluate(Axe().axe_script)
        found.axe += [label + line for line in _lines(page.evaluate(AXE_BY_LOOKS))]
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


def violations(page):
    """List what axe finds in the page as it is."""
    options = {"preload": False, "resultTypes": ["violations"]}
    return _lines(Axe().run(page, options=options).response["violations"])


def _lines(violations):
    return [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in violations
        for node in violation["nodes"]
    ]
