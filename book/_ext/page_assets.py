"""What each page carries: MathJax and films of its own, a name for each cell to link
to, scripts and styles where they are used, words for search engines, sound ARIA.
"""

import json
import re
import shutil
from html import escape, unescape
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from docutils import nodes
from PIL import Image, ImageDraw, ImageFont, ImageOps
from sphinx.application import Sphinx

# Of MathJax: the component that Sphinx loads, its fonts, the rarer TeX commands, and
# the licence, which must travel with them.
MATHJAX_PARTS = [
    "es5/tex-chtml.js",
    "es5/output/chtml/fonts",
    "es5/input/tex/extensions",
    "LICENSE",
]

# What the theme and the bibliography write, and what assistive technology wants.
ARIA_REPAIRS = {
    'role="doc-biblioentry"': 'role="listitem"',
    '<summary aria-label="Toggle hidden content">': "<summary>",
}

# A formula alone in a header cell is named by words: not every reader knows MathML.
FORMULA_HEADER = re.compile(
    r'(<th class="[^"]*"><p><span class="math[^"]*")>\\\((.*?)\\\)</span></p></th>'
)

# Names, punctuation and blanks of code have the ink of plain text. Without an element
# for each, a chapter has half as many, and a phone lays it out sooner.
PLAIN_CODE = re.compile(r'<span class="(?:nn?|p|w)">([^<]*)</span>')

# A browser may end the line at any formula, even before a full stop or after a bracket.
FORMULA_WITH_MARKS = re.compile(
    r'(\(?)(<span class="math[^>]*>\\\([^<]*\\\)</span>)([.,;:?!%)’–-]*)'
)

EMPTY_HEADER = re.compile(r"<th( [^>]*)><p></p></th>")  # the corner of a table


def name_header(match) -> str:
    """Name the formula of a header cell: v_0 is read "v 0"."""
    words = re.sub(r"[\W_]+", " ", match[2]).strip()
    return match[0].replace(match[1], f'{match[1]} role="math" aria-label="{words}"')


def keep_marks(match) -> str:
    """Let brackets and punctuation stay on the line of their formula."""
    marks = match[1] or match[3]
    return f'<span class="with-marks">{match[0]}</span>' if marks else match[0]


# A button is named by its visible text or by its label, not by a second name beside it.
BUTTON_REPAIRS = {
    r'(class="btn search-button-field[^>]*?) title="\w*" aria-label="\w*"': r"\1",
    r'(data-mode="(?:light|dark|auto)")\s+title="[^"]*"': r"\1",
}


def copy_mathjax(app: Sphinx) -> None:
    """Copy MathJax from the installed package django-static-mathjax into the site."""
    package = Path(find_spec("mathjax").submodule_search_locations[0])
    source = package / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        copy = target / part.removeprefix("es5/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, copy, dirs_exist_ok=True)
        else:
            shutil.copy(source / part, copy)


def copy_media(app: Sphinx) -> None:
    """Copy the films, which notebooks show by a path that also works in Jupyter."""
    media = Path("notebooks") / "media"
    if (Path(app.srcdir) / media).is_dir():
        target = Path(app.outdir) / media
        shutil.copytree(Path(app.srcdir) / media, target, dirs_exist_ok=True)


def name_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give each code cell of a notebook its id as an anchor: `cell-` and the id."""
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix != ".ipynb":
        return
    cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
    for node in doctree.findall(nodes.container):
        if node.get("nb_element") == "cell_code":
            node["ids"].append(f"cell-{cells[node['cell_index']]['id']}")


def keep_percent(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let a percent sign stay on the line of its number, which may be a glued one."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.FixedTextElement | nodes.literal):
            kept = re.sub(r"(?:^|(?<=\d)) (?=%)", "\N{NO-BREAK SPACE}", text)
            text.parent.replace(text, nodes.Text(kept))


# What a page must contain to be given a script and a style.
MOVING = {
    'id="playground"': ("playground/page.js", "playground/page.css"),
    'class="live-figure"': ("live/figures.js", "live/live.css"),
    "<video": ("live/figures.js", "live/live.css"),
}


def add_moving_parts(app, pagename, templatename, context, doctree) -> None:
    """Load the scripts of playground, live figures and films where they are used."""
    body = context.get("body") or ""
    used = [files for sign, files in MOVING.items() if sign in body]
    for script, style in dict.fromkeys(used):
        app.add_js_file(script, type="module")
        app.add_css_file(style)


# Of what extensions give to every page: what a page must contain to be given a file.
# Thebe, of which nothing is left, would load code from another host.
NEEDED = {
    "clipboard": 'class="highlight',
    "copybutton": 'class="highlight',
    "design-tabs": "sd-tab-set",
    "exercise.css": 'class="exercise',
    "mystnb": 'class="cell',
    "proof.css": 'class="proof',
    "sphinx-design": 'class="sd-',
    "thebe": "thebe-init",
    "togglebutton": "dropdown",
}


def is_used(asset, body: str) -> bool:
    """Tell whether a page with this body needs a script or style."""
    name = f"{asset.filename}{asset.attributes}".lower()
    return all(sign in body for part, sign in NEEDED.items() if part in name)


def repair_page(app, pagename, templatename, context, doctree) -> None:
    """Mend the page's body, drop files of no use here, let no script hold it up."""
    body = context.get("body") or ""
    for written, wanted in ARIA_REPAIRS.items():
        body = body.replace(written, wanted)
    body = FORMULA_HEADER.sub(name_header, body)
    body = FORMULA_WITH_MARKS.sub(keep_marks, body)
    body = PLAIN_CODE.sub(r"\1", body)
    body = EMPTY_HEADER.sub(r"<td\1></td>", body)
    if "body" in context:
        context["body"] = body
    for kind in ("script_files", "css_files"):
        used = [asset for asset in context.get(kind, []) if is_used(asset, body)]
        context[kind] = [a for i, a in enumerate(used) if a not in used[:i]]
    if pagename != "search":  # whose own scripts need the others at once
        context["script_files"] = [deferred(s) for s in context.get("script_files", [])]


def deferred(script):
    """Let a script file wait for the page; others read options while they load."""
    if not script.filename or "documentation_options" in script.filename:
        return script
    attributes = {"defer": "defer", **script.attributes}
    return type(script)(script.filename, priority=script.priority, **attributes)


def describe_page(app, pagename, templatename, context, doctree) -> None:
    """Tell search engines and social networks what the page is about.

    With `html_baseurl`, the site's address, also show a picture.
    """
    paragraphs = doctree.findall(nodes.paragraph) if doctree else []
    words = next((p.astext() for p in paragraphs if len(p.astext()) > 60), "")
    words = shorten(words, 200, placeholder=" …")
    title = re.sub("<[^>]*>", "", context.get("title", ""))
    tags = {"og:title": unescape(title), "og:type": "article"}
    if words:
        tags |= {"description": words, "og:description": words}
    if address := app.config.html_baseurl:
        tags["og:url"] = context["pageurl"]
        tags["og:image"] = f"{address.rstrip('/')}/_static/card.png"
    context["metatags"] = context.get("metatags", "") + "".join(
        f'\n<meta {"property" if ":" in name else "name"}="{name}" '
        f'content="{escape(content)}" />'
        for name, content in tags.items()
    )


def draw_card(app: Sphinx, exception: Exception | None) -> None:
    """Draw what social networks show beside a link: title and home figure."""
    if not app.config.html_baseurl:
        return
    card = Image.new("RGB", (1200, 630), "white")
    font = ImageFont.load_default(size=60)
    title = app.config.html_title
    ImageDraw.Draw(card).text((600, 95), title, "#222222", font, anchor="mm")
    strip = Path(app.srcdir) / "notebooks" / "media" / "dispatch_cubic_strip.png"
    with Image.open(strip) as picture:
        fitted = ImageOps.contain(picture.convert("RGB"), (1120, 430))
    card.paste(fitted, ((1200 - fitted.width) // 2, 170))
    card.save(Path(app.outdir) / "_static" / "card.png", optimize=True)


REDIRECT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<meta http-equiv="Refresh" content="0; url={home}">
<link rel="icon" href="_static/logo.svg">
<p><a href="{home}">{title}</a></p>
</html>
"""


def write_redirect(app: Sphinx, exception: Exception | None) -> None:
    """Lead from the site's root to the home page."""
    title, home = escape(app.config.html_title), f"{app.config.root_doc}.html"
    page = Path(app.outdir) / "index.html"
    page.write_text(REDIRECT.format(title=title, home=home), encoding="utf-8")


def repair_buttons(app: Sphinx, exception: Exception | None) -> None:
    """Mend what the theme writes around the body of each page."""
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for written, wanted in BUTTON_REPAIRS.items():
            text = re.sub(written, wanted, text)
        page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Connect to Sphinx."""
    app.connect("builder-inited", copy_mathjax)
    app.connect("builder-inited", copy_media)
    app.connect("doctree-read", name_cells)
    app.connect("doctree-resolved", keep_percent)
    app.connect("html-page-context", add_moving_parts)
    app.connect("html-page-context", describe_page)
    app.connect("html-page-context", repair_page, priority=900)
    app.connect("build-finished", draw_card)
    app.connect("build-finished", write_redirect, priority=400)
    app.connect("build-finished", repair_buttons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
