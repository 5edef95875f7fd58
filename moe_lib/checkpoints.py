"""Files from which an interrupted training goes on."""

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

DIGEST = 32  # bytes of SHA-256


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` so that an interruption leaves the old file or the new one.

    Parameters
    ----------
    path : Path
        In a folder that exists.
    state : dict
        Tensors, numbers, strings, and lists and dicts of these.
    """
    buffer = BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(sha256(content).digest() + content)
    temporary.replace(path)


def load(path: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Read back what :func:`save` wrote, tensors on the CPU.

    Parameters
    ----------
    path : Path
    job : dict
        What ``state["job"]`` must be equal to.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not what :func:`save` wrote, to the bit, or of another job.
    """
    content = path.read_bytes()
    if sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        raise ValueError(
            f"checkpoint must be a file as it was saved, got a damaged or foreign one, "
            f"{path}"
        )
    buffer = BytesIO(content[DIGEST:])
    state = torch.load(buffer, map_location="cpu", weights_only=True)
    for name, wanted in job.items():
        found = state["job"].get(name)
        if found != wanted:
            raise ValueError(
                f"checkpoint must have the {name} {wanted}, got {found} in {path}"
            )
    return state
