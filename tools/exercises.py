"""Write the code of the exercises into the chapters.

python -m tools.exercises

A file of `book/exercises/` is an exercise with its solution, a script that tests run:

    title, what is given
    # --- your turn: what the reader is to write
    the answer
    # --- check
    what must hold for any right answer
    # --- found
    what we found, if it should not be told before

In a chapter, the block below `% code: NAME stub` shows the file without answer and
findings, and the block below `% code: NAME solution` shows these two.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER, NOTEBOOKS = ROOT / "book/exercises", ROOT / "notebooks"
SHAPE = re.compile(
    r'""".+?"""\n\n(?P<given>.*)'
    r"^# --- your turn: (?P<hint>[^\n]*\n(?:#[^\n]*\n)*)(?P<answer>.+)"
    r"^# --- check\n(?P<check>.+?)(?:^# --- found\n(?P<found>.+))?\Z",
    re.S | re.M,
)
BLOCK = re.compile(
    r"^% code: (?P<name>\w+) (?P<kind>stub|solution)\n```python\n.*?^```$", re.S | re.M
)


def parts(source: str) -> dict[str, str]:
    """Split the text of a file; the hint is a comment."""
    if not (match := SHAPE.match(source)):
        raise ValueError("an exercise needs title, `your turn`, answer and `check`")
    return {key: (text or "").strip() for key, text in match.groupdict().items()}


def stub(source: str) -> str:
    """Return what the reader is given."""
    part = parts(source)
    turn = f"# Your turn: {part['hint']}\n..."
    pieces = part["given"], turn, "# Check\n" + part["check"]
    return "\n\n".join(piece for piece in pieces if piece)


def solution(source: str) -> str:
    """Return the answer, and what we found."""
    part = parts(source)
    found = "# Found\n" + part["found"] if part["found"] else ""
    return "\n\n".join(piece for piece in (part["answer"], found) if piece)


def rewrite(text: str, folder: Path = FOLDER) -> str:
    """Return a text with its blocks as the files say."""

    def block(match: re.Match) -> str:
        source = (folder / f"{match['name']}.py").read_text()
        code = {"stub": stub, "solution": solution}[match["kind"]](source)
        head = f"% code: {match['name']} {match['kind']}"
        return f"{head}\n```python\n{code}\n```"

    return BLOCK.sub(block, text)


def main() -> None:
    """Rewrite the blocks of all notebooks."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                text = rewrite("".join(cell["source"]))
                cell["source"] = text.splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
