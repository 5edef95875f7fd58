"""What can be read from the built HTML without a browser."""

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

MAX_SITE = 25_000_000  # bytes, uncompressed
MAX_GIF = 1_000_000

# Which scripts a page may load only if it has what they are for.
SCRIPTS = {
    "fontawesome": None,
    "thebe": None,
    "searchindex.js": 'id="search-results"',
    "math.js": 'class="math',
    "copybutton.js": 'class="highlight',
    "togglebutton.js": "dropdown",
    "live/figures.js": r'class="live-figure"|<video',
    "playground/page.js": 'id="playground"',
}

LOADING_RELS = {"icon", "modulepreload", "preload", "shortcut", "stylesheet"}


@dataclass
class Page(HTMLParser):
    """The anchors, links, loads, images and videos of one page."""

    path: Path
    anchors: set = field(default_factory=set)
    links: list = field(default_factory=list)  # a reader may follow them
    loads: list = field(default_factory=list)  # the browser fetches them
    images: list = field(default_factory=list)
    videos: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.loads += [attrs[key] for key in ("src", "poster") if attrs.get(key)]
        if "srcset" in attrs:
            self.loads += [part.split()[0] for part in attrs["srcset"].split(",")]
        if href := attrs.get("href"):
            rels = set((attrs.get("rel") or "").split())
            loaded = tag == "link" and rels & LOADING_RELS
            (self.loads if loaded else self.links).append(href)
        if tag == "meta" and attrs.get("http-equiv") == "Refresh":
            self.links.append(attrs["content"].partition("url=")[2])
        if tag == "img":
            self.images.append(attrs)
        if tag == "video":
            self.videos.append(attrs)


def html_files(site: Path) -> list[Path]:
    """List the pages that readers reach, not templates inside static folders."""
    return sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)


def is_external(address: str) -> bool:
    """Tell whether an address names a host."""
    return bool(urlsplit(address).netloc)


def external_loads(site: Path) -> list[str]:
    """List what a page would fetch from another host."""
    return [
        f"{path.relative_to(site)} loads {address}"
        for path in html_files(site)
        for address in Page(path).loads
        if is_external(address)
    ]


def broken_links(site: Path) -> list[str]:
    """List links and loads inside the site that lead nowhere."""
    read_page = cache(Page)
    found = []
    for path in html_files(site):
        page = read_page(path)
        for address in page.links + page.loads:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:  # another site, mail, data: not ours
                continue
            where = (path.parent / unquote(parts.path)) if parts.path else path
            where = where.resolve()
            if where.is_dir():
                where = where / "index.html"
            problem = ""
            if site.resolve() not in where.parents:
                problem = "outside the site"
            elif not where.is_file():
                problem = "no such file"
            elif (
                parts.fragment
                and "=" not in parts.fragment  # the state of a page, not a place in it
                and where.suffix == ".html"
                and unquote(parts.fragment) not in read_page(where).anchors
            ):
                problem = "no such anchor"
            if problem:
                found.append(f"{path.relative_to(site)} -> {address}: {problem}")
    return found


def unnamed_media(site: Path) -> list[str]:
    """List images without real alt text and videos without a label."""
    found = []
    for path in html_files(site):
        page = Page(path)
        for image in page.images:
            alt = (image.get("alt") or "").strip()
            source = image.get("src", "")
            file = Path(urlsplit(source).path)
            if image.get("role") == "presentation" and not alt:
                continue
            if not alt or alt in (file.name, file.stem) or "_images/" in alt:
                found.append(f"{path.relative_to(site)}: {source[:60]} has alt {alt!r}")
        for video in page.videos:
            if not (video.get("aria-label") or "").strip():
                found.append(f"{path.relative_to(site)}: video without aria-label")
    return found


def too_large(site: Path) -> list[str]:
    """List what passes its limit: a GIF, or the site as a whole."""
    sizes = {path: path.stat().st_size for path in site.rglob("*") if path.is_file()}
    found = [
        f"{path.relative_to(site)}: {size:,} bytes"
        for path, size in sizes.items()
        if path.suffix == ".gif" and size > MAX_GIF
    ]
    total = sum(sizes.values())
    return found + [f"the site: {total:,} bytes"] * (total > MAX_SITE)


def source_maps(site: Path) -> list[str]:
    """List source maps and files that ask for one."""
    return [
        str(path.relative_to(site))
        for path in sorted(site.rglob("*"))
        if path.suffix == ".map"
        or (
            path.suffix in (".css", ".js")
            and "sourceMappingURL=" in path.read_text(encoding="utf-8")[-500:]
        )
    ]


def idle_scripts(site: Path) -> list[str]:
    """List scripts that a page loads without having what they are for."""
    found = []
    for path in html_files(site):
        text = path.read_text(encoding="utf-8")
        for address in re.findall(r'<script[^>]* src="([^"]*)"', text):
            for name, sign in SCRIPTS.items():
                if name in address and not (sign and re.search(sign, text)):
                    found.append(f"{path.relative_to(site)} loads {address}")
    return found


def unsized_pictures(site: Path) -> list[str]:
    """List pictures for which the page keeps no place, or which it loads unseen."""
    return [
        f"{path.relative_to(site)}: {image['src']}"
        for path in html_files(site)
        for image in Page(path).images
        if re.search(r"_images/.*\.(png|webp)$", image["src"])
        and not {"width", "height", "loading"} <= image.keys()
    ]


def without_icon(site: Path) -> list[str]:
    """List pages without an icon, for which browsers ask for /favicon.ico."""
    icon = re.compile(r'<link rel="icon" href="[^"]+"')
    pages = html_files(site)
    return [str(p.relative_to(site)) for p in pages if not icon.search(p.read_text())]
