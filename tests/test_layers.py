"""An import only goes to a lower layer, so the library reads from bottom to top."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "moe_lib"
MAX_LINES = 300

LAYERS = {
    **dict.fromkeys(["checks", "native", "philox_kernel", "checkpoints"], 0),
    **dict.fromkeys(["config", "rng", "kernels"], 1),
    "authors": 2,
    **dict.fromkeys(["data", "experts", "router", "losses", "metrics"], 2),
    **dict.fromkeys(["model", "authors_data", "authors_model"], 3),
    **dict.fromkeys(["networks", "image_mixture"], 3),
    "splits": 3,
    **dict.fromkeys(["realdata", "transforms"], 4),
    "cifar": 5,
    **dict.fromkeys(["optim", "diagnostics", "theory", "smoothing"], 4),
    **dict.fromkeys(["train", "stages", "weak", "compare"], 5),
    **dict.fromkeys(["fused", "authors_train", "image_evaluation", "weak_train"], 6),
    **dict.fromkeys(["runs", "plotting", "results", "notebook", "minibatch"], 7),
    **dict.fromkeys(["recipes", "figures", "grid", "parallel"], 8),
    **dict.fromkeys(["late", "cells", "probes", "additive", "image_runs"], 8),
    **dict.fromkeys(["animation", "sweep", "predictions"], 9),
    "experiments": 10,
    "reproduce": 11,
    "cli": 12,
    **dict.fromkeys(["__main__", "__init__"], 13),
}


def imported_modules(tree, package):
    """Name the modules of the package that a module imports, at any depth of code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = f"{package.name}." if node.level else ""
            origin = prefix + (node.module or "")
            names = [f"{origin.rstrip('.')}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            if top == package.name:
                is_module = rest and (package / f"{rest[0]}.py").is_file()
                yield rest[0] if is_module else "__init__"


def violations(package, layers):
    """Say which module breaks which rule of the house."""
    found = []
    for path in sorted(package.glob("*.py")):
        name, source = path.stem, path.read_text()
        if name not in layers:
            found.append(f"{name} has no layer")
            continue
        if (lines := len(source.splitlines())) > MAX_LINES:
            found.append(f"{name} has {lines} lines, more than {MAX_LINES}")
        if "from __future__ import annotations" in source:
            found.append(f"{name} hides its shapes from the run-time check")
        for other in imported_modules(ast.parse(source), package):
            if layers.get(other, float("inf")) >= layers[name]:
                found.append(f"{name} imports {other}, which is not in a lower layer")
    return found


def test_the_library_keeps_its_layers():
    assert violations(PACKAGE, LAYERS) == []


def test_every_layer_has_its_module():
    missing = {name for name in LAYERS if not (PACKAGE / f"{name}.py").is_file()}
    assert missing == set()


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("from house.roof import tile", "wall imports roof"),
        ("import house.roof", "wall imports roof"),
        ("from house import roof", "wall imports roof"),
        ("from .roof import tile", "wall imports roof"),
        ("from . import roof", "wall imports roof"),
        ("def late():\n    from house.roof import tile", "wall imports roof"),
        ("from house.window import glass", "wall imports window"),
        ("from house import anything", "wall imports __init__"),
        ("from __future__ import annotations", "wall hides its shapes"),
        ("\n" * 301, "wall has 301 lines"),
    ],
)
def test_a_broken_house_is_noticed(source, problem, tmp_path):
    house = tmp_path / "house"
    house.mkdir()
    layers = {"base": 0, "wall": 1, "window": 1, "roof": 2, "__init__": 3}
    for name in layers:
        (house / f"{name}.py").write_text("")
    (house / "wall.py").write_text("from house.base import stone\nimport os\n")
    assert violations(house, layers) == []

    (house / "wall.py").write_text(source)
    assert problem in "\n".join(violations(house, layers))


def test_a_module_without_a_layer_is_noticed(tmp_path):
    (tmp_path / "attic.py").write_text("")
    assert violations(tmp_path, {}) == ["attic has no layer"]
