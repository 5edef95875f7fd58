"""Execute the notebooks in place, or check that they are as executing left them.

python -m tools.notebooks execute [FILE ...]
python -m tools.notebooks check   [FILE ...]

Without files, every notebook of `notebooks/` is taken, in reading order.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parent.parent / "notebooks"
MAX_BYTES = 1_500_000

# The same in every notebook, so that a file changes only when its content does.
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}

# A folder at the start of a path. The letter before it must not be one that occurs
# inside base64 text, where these six characters could stand by chance.
ABSOLUTE_PATH = re.compile(
    r"(?<![\w+/.])(/(home|root|Users|tmp|usr|opt|var|mnt|srv|work)/|[A-Z]:\\)"
)


def execute(path: Path) -> None:
    """Run all cells from a fresh kernel and save outputs and fixed metadata."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)


def problems(path: Path) -> list[str]:
    """Say what shows that a notebook was not run top to bottom and saved by us."""
    found = []
    if path.stat().st_size > MAX_BYTES:
        found.append(f"{path.stat().st_size:,} bytes, more than {MAX_BYTES:,}")
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        found.append("notebook format is not 4.5")
    if notebook.metadata != METADATA:
        found.append("metadata differ from the fixed ones; run `make notebooks`")
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code_cells:
        found.append("no code cell")
    for number, cell in enumerate(code_cells, start=1):
        for problem in _cell_problems(cell, number):
            found.append(f"code cell {number}: {problem}")
    return found


def _cell_problems(cell: nbformat.NotebookNode, number: int) -> list[str]:
    found = []
    if cell.execution_count is None:
        found.append("was never executed")
    elif cell.execution_count != number:
        found.append(f"has execution count {cell.execution_count}")
    if "execution" in cell.metadata:
        found.append("holds time stamps")
    for output in cell.outputs:
        if output.output_type == "error":
            found.append(f"ends in {output.ename}")
        if output.get("name") == "stderr":
            found.append("writes to stderr")
        text = output.get("text", "") + "".join(
            str(value)
            for kind, value in output.get("data", {}).items()
            if not kind.startswith("image/") or kind == "image/svg+xml"
        )
        if match := ABSOLUTE_PATH.search(text):
            found.append(f"shows an absolute path ({match[0]}...)")
    return found


def main() -> int:
    """Return 0 if all went well, 1 if a notebook raises or has problems."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["execute", "check"])
    parser.add_argument("files", nargs="*", type=Path)
    arguments = parser.parse_args()
    failed = False
    for path in arguments.files or sorted(FOLDER.glob("*.ipynb")):
        if arguments.action == "execute":
            started = time.perf_counter()
            try:
                execute(path)
            except CellExecutionError as error:
                print(f"{path.name}: not saved\n{error}", file=sys.stderr)
                return 1
            print(f"{path.name}: {time.perf_counter() - started:.0f} s")
        for problem in problems(path):
            failed = True
            print(f"{path.name}: {problem}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
