"""Light pages: after the build, nothing stays that readers would load in vain.

Pictures shrink without loss and wait until they are near, icons that no page shows go,
and so do source maps and a search index on pages that do not search.
"""

import logging
import re
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from PIL import Image
from sphinx.application import Sphinx

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every glyph

# The theme's style sheet has a rule for each icon of its font: a code for each name.
ICON_RULE = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"\\\w+"\}')
ICON_CODE = re.compile(r'"\\(\w{4})"')
OWN_ICON = re.compile(r'content: "(.)"')  # in our style sheet: a letter of its font
ICON_FONT = "fa-solid-900"

# What the theme writes around each page, and of no use there: it draws each icon twice,
# as a letter of a font and by a script larger than the rest of the page, and it can
# search while one types, which this book does not.
USELESS = [
    re.compile(r"<script defer src=[^>]*/fontawesome\.js[^>]*></script>"),
    re.compile(
        r"<script src=[^>]*/searchtools\.js[^>]*></script>\s*"
        r"<script src=[^>]*/language_data\.js[^>]*></script>\s*"
        r"<script src=[^>]*searchindex\.js[^>]*></script>(?=\s*</head>)"
    ),
]

SOURCE_MAP = re.compile(r"//# sourceMappingURL=\S+|/\*# sourceMappingURL=[^*]*\*/")


def drop_useless(text: str) -> str:
    """Remove scripts from a page that it does not need."""
    for pattern in USELESS:
        text = pattern.sub("", text)
    return text


def shrink_picture(png: Path) -> str:
    """Store a PNG as lossless WebP instead; return attributes for its tag."""
    with Image.open(png) as picture:
        picture.save(png.with_suffix(".webp"), lossless=True, exact=True)
        width, height = picture.size
    png.unlink()
    return f'width="{width}" height="{height}" loading="lazy"'


def shrink_pictures(out: Path, pages: dict[Path, str]) -> None:
    """Shrink all pictures and tell pages their names and sizes."""
    attributes = {}
    for png in (out / "_images").glob("*.png"):
        attributes[png.name] = shrink_picture(png)
    source = re.compile(r'src="([^"]*_images/)([\w.-]+)\.png"')

    def rewrite(match):
        return f'src="{match[1]}{match[2]}.webp" {attributes[f"{match[2]}.png"]}'

    for page, text in pages.items():
        pages[page] = source.sub(rewrite, text)


def keep_used_icons(static: Path, shown: str) -> None:
    """Keep only the icons whose names occur in a text, in style sheet and font."""
    names = set(re.findall(r"\bfa-[\w-]+", shown))

    def keep(match):
        return match[0] if names & set(re.findall(r"fa-[\w-]+", match[0])) else ""

    fonts = static / "vendor" / "fontawesome" / "webfonts"
    sheet = static / "styles" / "pydata-sphinx-theme.css"
    text = ICON_RULE.sub(keep, sheet.read_text(encoding="utf-8"))
    codes = [int(code, 16) for code in ICON_CODE.findall(text)]
    own = (static / "custom.css").read_text(encoding="utf-8")
    codes += [ord(c) for c in OWN_ICON.findall(own)]
    codes += [ord(c) for c in text if "\ue000" <= c <= "\uf8ff"]
    # The licence allows a changed font under another name: ours has none.
    options = subset.Options(name_IDs=[0, 13, 14], flavor="woff", notdef_outline=True)
    with TTFont(fonts / f"{ICON_FONT}.ttf") as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=codes)
        subsetter.subset(font)
        subset.save_font(font, fonts / f"{ICON_FONT}.woff", options)
    for suffix in (".ttf", ".woff2"):
        (fonts / f"{ICON_FONT}{suffix}").unlink()
    text = re.sub(
        rf'{ICON_FONT}\.woff2\) format\("woff2"\),url\([^)]*\) format\("truetype"\)',
        rf'{ICON_FONT}.woff) format("woff")',
        text,
    )
    sheet.write_text(text, encoding="utf-8")


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """Make the built site lighter."""
    if exception or app.builder.format != "html":
        return
    out = Path(app.outdir)
    static = out / "_static"
    pages = {
        page: drop_useless(page.read_text(encoding="utf-8"))
        for page in out.rglob("*.html")
        if "_static" not in page.relative_to(out).parts
    }
    shrink_pictures(out, pages)
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")
    scripts = [*static.glob("scripts/*-theme.js"), *static.glob("*.js")]
    shown = [*pages.values(), *(path.read_text(encoding="utf-8") for path in scripts)]
    keep_used_icons(static, "".join(shown))
    (static / "scripts" / "fontawesome.js").unlink()
    for path in [*static.rglob("*.map"), *static.glob("sphinx-thebe.*")]:
        path.unlink()
    for path in [*static.glob("scripts/*.js"), *static.glob("styles/*.css")]:
        text = path.read_text(encoding="utf-8")
        path.write_text(SOURCE_MAP.sub("", text), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Connect to Sphinx, after all others."""
    app.connect("build-finished", lighten, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
