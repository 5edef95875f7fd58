"""Print the release notes of a version: its section of CHANGELOG.md.

python -m tools.release v1.0.0
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def notes(version: str, root: Path = ROOT) -> str:
    """Return the section of this version.

    Raises
    ------
    ValueError
        If there is none, or if the project says that it has another version.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    citation = re.search(r"(?m)^version: (.+)$", (root / "CITATION.cff").read_text())
    for file, stated in [
        ("pyproject.toml", project["version"]),
        ("CITATION.cff", citation[1]),
    ]:
        if stated != version:
            raise ValueError(f"{file} says version {stated}, not {version}")
    sections = re.split(r"(?m)^## (.*)\n", (root / "CHANGELOG.md").read_text())
    for title, text in zip(sections[1::2], sections[2::2], strict=True):
        if title.split()[0] == version and text.strip():
            return text.strip()
    raise ValueError(f"CHANGELOG.md has no section for version {version}")


def main() -> int:
    """Print the notes, or say what is missing and return 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag", help="such as v1.0.0")
    tag = parser.parse_args().tag
    try:
        print(notes(tag.removeprefix("v")))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
