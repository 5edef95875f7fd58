"""Importing the library needs its core dependencies only."""

import json
import subprocess
import sys

import moe_lib

OPTIONAL = ["imageio", "matplotlib", "plotly", "scipy", "sklearn"]
OPTIONAL += ["babel", "mlxtend", "pandas", "PIL"]


def test_import_loads_no_optional_package():
    code = (
        "import json, sys, moe_lib; "
        f"print(json.dumps([m for m in {OPTIONAL} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_every_public_name_exists():
    assert sorted(set(moe_lib.__all__)) == sorted(moe_lib.__all__)
    assert all(hasattr(moe_lib, name) for name in moe_lib.__all__)
