"""List the pages that a change alters: the built site against that of another commit.

python -m tools.preview [BASE]

BASE is a commit; left out, it is where this branch left main, so that on main only
uncommitted work counts. Build the site of the working tree first; `make preview` does.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).parent.parent
SITE = Path("_build") / "html"
BASE = Path("_build") / "preview"  # the files of the other commit, and its site

ARTICLE = re.compile(r"<article.*</article>", re.DOTALL)
STAMP = re.compile(r"\?(?:v|digest)=\w+")
MADE_FROM_PAGES = {".buildinfo", "objects.inv", "searchindex.js"}


def differences(old: Path, new: Path) -> dict[str, str]:
    """Say of each file that is not the same in two sites how it differs."""
    before, after = files(old), files(new)
    found = {}
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            found[name] = "added"
        elif name not in after:
            found[name] = "removed"
        elif change := compare(before[name], after[name]):
            found[name] = change
    return found


def files(site: Path) -> dict[str, Path]:
    """Return what readers get: pages, pictures, styles, scripts."""
    return {
        path.relative_to(site).as_posix(): path
        for path in site.rglob("*")
        if path.is_file()
        and path.name not in MADE_FROM_PAGES
        and "_sources" not in path.parts
    }


def compare(old: Path, new: Path) -> str:
    """Say how many lines of a page came and went, or that another file changed."""
    if old.suffix != ".html":
        return "" if old.read_bytes() == new.read_bytes() else "changed"
    lines = unified_diff(article(old), article(new), n=0, lineterm="")
    signs = [line[0] for line in list(lines)[2:]]  # after the two names
    return f"+{signs.count('+')} -{signs.count('-')} lines" if signs else ""


def article(page: Path) -> list[str]:
    """Return the lines of a page without its frame and the stamps of the build."""
    text = page.read_text(encoding="utf-8")
    found = ARTICLE.search(text)
    return STAMP.sub("", found[0] if found else text).splitlines()


def report(found: dict[str, str], old: Path, new: Path) -> str:
    """Return the list for a reader, pages first, and where to open them."""
    pages = [name for name in found if name.endswith(".html")]
    others = [name for name in found if name not in pages]
    lines = [f"Pages that differ: {len(pages)}. Other files: {len(others)}."]
    lines += [f"  {found[name]:<15} {name}" for name in pages + others]
    if found:
        lines += [f"Before: {old}", f"After:  {new}"]
    return "\n".join(lines)


def build(commit: str) -> Path:
    """Build the site of a commit from its own files and return where it is."""
    archive = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    shutil.rmtree(ROOT / BASE, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(ROOT / BASE, filter="data")
    subprocess.run(
        [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-q"],
        cwd=ROOT / BASE,
        env=os.environ | {"PYTHONPATH": str(ROOT / BASE)},  # the API page imports it
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return ROOT / BASE / SITE


def main() -> None:
    """Build the base and print what the working tree alters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", nargs="?", help="a commit")
    base = parser.parse_args().base
    command = ["rev-parse", base] if base else ["merge-base", "main", "HEAD"]
    commit = subprocess.run(
        ["git", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    old = build(commit)
    print(f"Against {commit[:9]}:")
    print(report(differences(old, ROOT / SITE), old, ROOT / SITE))


if __name__ == "__main__":
    main()
