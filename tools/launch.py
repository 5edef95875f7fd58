"""Let every notebook install the library on Google Colab.

python -m tools.launch

The address is `repository: url:` of _config.yml. While it is empty, no notebook has the
cell that this command writes; running it again takes the cell away.
"""

import json
from pathlib import Path

import yaml

from tools.notebooks import FOLDER

CONFIG = Path(__file__).parent.parent / "_config.yml"
CELL_ID = "colab"
SOURCE = """\
# Google Colab does not have this library. Elsewhere this cell does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    library = "moe-lib[figures,real,theory] @ git+{url}@{branch}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", library], check=True)
"""


def in_line(text: str, repository: dict) -> str:
    """Return the notebook with the cell for this repository, or without one.

    Execution counts are those that running all cells would give.
    """
    notebook = json.loads(text)
    cells = [cell for cell in notebook["cells"] if cell["id"] != CELL_ID]
    if repository["url"]:
        code = [cell["cell_type"] for cell in cells].index("code")
        cells.insert(code, _cell(repository))
    notebook["cells"] = cells
    code_cells = [cell for cell in cells if cell["cell_type"] == "code"]
    for number, cell in enumerate(code_cells, start=1):
        for part in [cell, *cell["outputs"]]:
            if "execution_count" in part:
                part["execution_count"] = number
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(repository: dict) -> dict:
    return {
        "cell_type": "code",
        "execution_count": 1,
        "id": CELL_ID,
        "metadata": {"tags": ["remove-cell"]},  # from the site, not from the notebook
        "outputs": [],
        "source": SOURCE.format(**repository).strip().splitlines(keepends=True),
    }


def main() -> None:
    """Bring every notebook in line and name those that changed."""
    repository = yaml.safe_load(CONFIG.read_text())["repository"]
    for path in sorted(FOLDER.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        wanted = in_line(text, repository)
        if wanted != text:
            path.write_text(wanted, encoding="utf-8")
            print(f"{path.name}: changed")


if __name__ == "__main__":
    main()
