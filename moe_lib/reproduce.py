"""Train the experiments again, and say whether the committed results came out."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from moe_lib.checks import check_choice, check_device, check_int
from moe_lib.experiments import EXPERIMENTS
from moe_lib.results import (
    Result,
    load_committed,
    load_result,
    make_manifest,
    save_result,
)

COMPARED = {  # least tolerances
    "test_accuracy": 0.1,
    "dispatch_entropy": 0.01,
    "half_step": 1.0,
}


def reproduce(
    experiments: Sequence[str],
    folder: Path,
    *,
    seeds: int | None = None,
    device: str = "cpu",
) -> Iterator[str]:
    """Train experiments; yield the name of each when it is complete.

    Each finished cell is on disk before the next one starts, and what the folder holds
    already is not trained again if the same commit, versions and device made it.

    Parameters
    ----------
    experiments : sequence of str
        Keys of ``moe_lib.experiments.EXPERIMENTS``.
    folder : Path
        Gets one file for each experiment.
    seeds : int, optional
        Only so many seeds in each cell.
    device : str
        ``cpu`` or ``cuda``.

    Raises
    ------
    TypeError, ValueError
        If an experiment is unknown, the number of seeds is not at least 1, the device
        is not available, or a file of the folder is not a result.
    """
    for name in experiments:
        check_choice("experiment", name, tuple(EXPERIMENTS))
    if seeds is not None:
        check_int("seeds", seeds, at_least=1)
    check_device(device)
    folder.mkdir(parents=True, exist_ok=True)
    for name in experiments:
        _train(name, folder / f"{name}.json", seeds, device)
        yield name


def _train(name: str, path: Path, seeds: int | None, device: str) -> None:
    cells = EXPERIMENTS[name]
    done = load_result(path).data["cells"] if path.exists() else {}
    most = max(cell.seeds for cell in cells) if seeds is None else seeds
    manifest = make_manifest({"experiment": name}, list(range(most)), device)
    made = {key: manifest[key] for key in ("device", "versions", "commit")}
    result = Result(manifest, {"cells": {}})
    for cell in tqdm(cells, desc=name, unit="cell", disable=None):
        numbers = range(cell.seeds if seeds is None else min(seeds, cell.seeds))
        entry = {"made": made, "config": asdict(cell), "values": {"seed": [*numbers]}}
        if _is_same(done.get(cell.name), entry):
            entry = done[cell.name]
        else:
            entry["values"] = cell.run(numbers, device)
        result.data["cells"][cell.name] = entry
        save_result(result, path)


def _is_same(done: dict[str, Any] | None, entry: dict[str, Any]) -> bool:
    """Say whether a stored cell was made by this code and machine, with these seeds."""
    if done is None or done["values"]["seed"] != entry["values"]["seed"]:
        return False
    return all(done.get(key) == entry[key] for key in ("made", "config"))


def series(result: Result) -> dict[str, dict[str, list]]:
    """Return the values by seed of each quantity of each part of any result.

    Parts are the cells of an experiment, the models of a table (with their range of
    gamma), or the single experts of one activation and width.
    """
    data, parts = result.data, {}
    if "cells" in data:
        return {name: entry["values"] for name, entry in data["cells"].items()}
    groups: dict[str, list[dict]] = {}
    for model in data.get("models", []):
        name = f"{model['model']}, gamma {model['config']['data']['gamma']}"
        groups[name] = model["rows"]
    for row in data.get("rows", []):
        name = f"{row['activation']}, {row['width']} filters"
        groups.setdefault(name, []).append(row)
    for name, rows in groups.items():
        quantities = [key for key in ("seed", *COMPARED) if key in rows[0]]
        parts[name] = {key: [row[key] for row in rows] for key in quantities}
    return parts


def compare(result: Result, committed: Result) -> list[tuple[str, str, float]]:
    """Say how far each part of a result is from that of the committed one.

    Parameters
    ----------
    result, committed : Result
        Of the same name; ``result`` may have fewer seeds, which are compared with the
        same seeds of the other, and fewer parts.

    Returns
    -------
    list of tuple
        Part, quantity, and the distance of the means in units of the committed standard
        deviation over all its seeds (of 0.1 points, 0.01 nats or a step where that is
        less).
        What is above 1 did not come out again.

    Raises
    ------
    ValueError
        If a part or a seed is not among the committed ones, or there is no part.
    """
    distances, known = [], series(committed)
    for name, mine in series(result).items():
        check_choice("part", name, tuple(known))
        for quantity, least in COMPARED.items():
            if quantity in mine:
                committed_seeds = known[name]["seed"]
                values = np.array(known[name][quantity])
                there = values[[committed_seeds.index(seed) for seed in mine["seed"]]]
                unit = max(float(values.std()), least)
                distance = abs(np.mean(mine[quantity]) - np.mean(there)) / unit
                distances.append((name, quantity, float(distance)))
    if not distances:
        raise ValueError("result must hold means to compare, got none")
    return distances


def report(folder: Path) -> tuple[list[str], bool]:
    """Compare every result of a folder with the committed one of that name.

    Returns
    -------
    lines : list of str
        What to print.
    all_came : bool
        Whether all means came out again, within one standard deviation.

    Raises
    ------
    ValueError
        If there is no result, or one is not among the committed ones.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise ValueError(f"folder must hold results, got none in {folder}")
    lines, all_came = [], True
    for path in paths:
        distances = compare(load_result(path), load_committed(path.stem))
        far = [line for line in distances if not line[2] <= 1]  # NaN is far, too
        all_came = all_came and not far
        part, quantity, distance = max(distances, key=lambda line: line[2])
        lines.append(
            f"{path.stem}: {len(distances)} means, {len(far)} farther than 1 sd from "
            f"the committed ones of the same seeds; farthest {distance:.2f} sd "
            f"({part}, {quantity})"
        )
    return lines, all_came
