"""Results that outlive the run: one JSON file each, with a manifest.

A manifest says what made the numbers: configuration, seeds, device, versions, commit,
date and wall time.
"""

import json
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

MANIFEST_KEYS = ("config", "seeds", "device", "versions", "commit", "created")


@dataclass(frozen=True)
class Result:
    """Numbers and where they came from.

    Attributes
    ----------
    manifest : dict
        At least the keys of :data:`MANIFEST_KEYS`.
    data : dict
        Rows and curves, as JSON holds them.
    """

    manifest: dict[str, Any]
    data: dict[str, Any]


def make_manifest(
    config: dict[str, Any], seeds: list[int], device: str, **extra: Any
) -> dict[str, Any]:
    """Describe the run that is going on."""
    name = torch.cuda.get_device_name(device) if "cuda" in device else "CPU"
    return {
        "config": config,
        "seeds": seeds,
        "device": name,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "commit": _commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **extra,
    }


def _commit() -> str:
    if "GIT_COMMIT" in os.environ:  # where the code was copied without its history
        return os.environ["GIT_COMMIT"]
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always"]
    try:
        done = subprocess.run(
            [*command, "--dirty"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def save_result(result: Result, path: Path) -> None:
    """Write a result so that an interruption leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest, data = json.dumps(result.manifest, indent=1), json.dumps(result.data)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(f'{{"manifest": {manifest},\n"data": {data}}}\n')
    temporary.replace(path)


def load_result(path: Path) -> Result:
    """Read a result back.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a result: truncated, foreign or without its manifest.
    """
    try:
        content = json.loads(path.read_text())
        manifest, data = content["manifest"], content["data"]
        missing = [key for key in MANIFEST_KEYS if key not in manifest]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"path must hold a saved result, got {path}") from error
    if missing:
        raise ValueError(f"path must hold a manifest with {missing}, got {path}")
    return Result(manifest, data)


def load_committed(name: str) -> Result:
    """Read one of the results that ship with the library, by file name without ending.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    folder = Path(str(resources.files("moe_lib"))) / "results"
    known = sorted(p.stem for p in folder.glob("*.json"))
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(known)}, got {name!r}")
    return load_result(folder / f"{name}.json")
