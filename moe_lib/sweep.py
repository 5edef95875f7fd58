"""Sweeps: many configurations, each with several seeds, stored as they are finished.

A batch is one configuration with all its seeds, trained side by side. The store is a
folder of small files rather than ``joblib.Memory``, because each file can be read by
eye, is checked when it is read, and is keyed by the configuration, not by the code.
"""

import csv
import hashlib
import io
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import joblib
import torch
from tqdm import tqdm

from moe_lib.checks import check_device, check_int, check_seeds
from moe_lib.fused import fastest
from moe_lib.grid import FIELDS, Configuration
from moe_lib.model import MoE, SingleExpert
from moe_lib.parallel import locally, on_cluster
from moe_lib.results import Result, load_result, make_manifest, save_result
from moe_lib.rng import generator
from moe_lib.runs import data_of_runs, rows_of
from moe_lib.train import evaluate

MEASURED = ("test_accuracy", "train_accuracy", "test_loss", "dispatch_entropy")
COLUMNS = (*FIELDS, "seed", *MEASURED)

Rows = list[dict[str, Any]]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Batch:
    """One configuration and its seeds. Calling it trains it."""

    configuration: Configuration
    seeds: tuple[int, ...]
    device: str

    def __str__(self) -> str:
        """Name it, also on the pages of a cluster's scheduler."""
        return str(self.configuration)

    @property
    def identity(self) -> dict[str, Any]:
        """What the numbers depend on, but for the seeds."""
        return {**self.configuration.values(), "device": self.device.split(":")[0]}

    @property
    def file_name(self) -> str:
        """Name of its file in the store: a hash of configuration, device and seeds."""
        text = json.dumps([self.identity, self.seeds])
        return hashlib.sha256(text.encode()).hexdigest()[:16] + ".json"

    def __call__(self) -> Rows:
        """Train, and return one row for each seed."""
        c = self.configuration
        model_class = MoE if c.model == "moe" else SingleExpert
        with _one_thread():
            data, test_data = data_of_runs(c.data, self.seeds, self.device)
            model = model_class(c.layer, dim=c.data.dim, seeds=self.seeds)
            model.to(self.device)
            fastest(model, data)(model, data, c.training)
            accuracy = evaluate(model, data).accuracy
            rows = rows_of(self.seeds, evaluate(model, test_data), accuracy)
        return [{name: row.get(name) for name in ("seed", *MEASURED)} for row in rows]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Give the same bits in every process: sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def plan(
    configurations: Sequence[Configuration],
    seeds: Sequence[int],
    *,
    device: str = "cpu",
) -> list[Batch]:
    """Return the batches of a sweep, having checked all that can be checked before.

    Raises
    ------
    TypeError, ValueError
        If there is no configuration or no seed, one is there twice, a seed is refused,
        or the device is not available.
    """
    check_device(device)
    check_seeds(seeds)
    for seed in seeds:
        generator(seed, "init")  # refuses a bad seed
    numbers = tuple(int(seed) for seed in seeds)
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"seeds must differ, got {list(numbers)}")
    if not configurations:
        raise ValueError("configurations must hold at least one, got none")
    batches: dict[Batch, None] = {}
    for configuration in configurations:
        batch = Batch(configuration, numbers, device)
        if batch in batches:
            raise ValueError(f"configurations must differ, got twice: {batch}")
        batches[batch] = None
    return [*batches]


def load_batches(
    batches: Sequence[Batch], folder: Path, *, report: Report = warnings.warn
) -> dict[Batch, Rows]:
    """Return the rows of each batch that the folder already holds.

    Parameters
    ----------
    batches : sequence of Batch
        See :func:`plan`.
    folder : Path
        The folder of the sweep.
    report : callable
        Gets a line of text on each file that is truncated or of another batch, and one
        if some were trained by other code or other versions than these: they are used.
    """
    found, elsewhere = {}, set()
    here = make_manifest({}, [], "cpu")
    for batch in batches:
        path = _path(batch, folder)
        try:
            result = load_result(path)
            found[batch] = _rows_in(result, batch)
            if any(result.manifest[k] != here[k] for k in ("commit", "versions")):
                elsewhere.add(result.manifest["commit"])
        except FileNotFoundError:
            continue
        except (KeyError, TypeError, ValueError):
            report(f"{path} does not hold the rows of its batch ({batch}), left out")
    if elsewhere:
        commits = ", ".join(sorted(map(str, elsewhere)))
        report(f"{folder} holds batches of other versions or code (commit {commits})")
    return found


def _path(batch: Batch, folder: Path) -> Path:
    return folder / "batches" / batch.file_name


def _rows_in(result: Result, batch: Batch) -> Rows:
    """Return the rows of a stored result; raise unless it is that of the batch."""
    rows, manifest, seeds = result.data["rows"], result.manifest, [*batch.seeds]
    if (manifest["config"], manifest["seeds"]) != (batch.identity, seeds):
        raise ValueError(f"result must be of {batch}, got {manifest['config']}")
    if [row["seed"] for row in rows] != seeds:
        raise ValueError(f"rows must be of seeds {seeds}")
    return [{name: row[name] for name in ("seed", *MEASURED)} for row in rows]


def run_sweep(
    configurations: Sequence[Configuration],
    seeds: Sequence[int],
    folder: Path,
    *,
    device: str = "cpu",
    jobs: int | None = None,
    scheduler: str | None = None,
    report: Report = warnings.warn,
) -> Rows:
    """Train what the folder does not hold yet, then write and return the table.

    Each finished batch is stored at once in ``folder/batches``, so a sweep that was
    stopped goes on where it was when it is called again. The rows do not depend on the
    order in which batches finish, on the number of processes, or on such a stop. Let
    only one sweep at a time write to a folder.

    Parameters
    ----------
    configurations : sequence of Configuration
        See :func:`moe_lib.grid.expand_grid` and :func:`moe_lib.grid.read_list`.
    seeds : sequence of int
        The seeds of each configuration.
    folder : Path
        Gets ``table.csv`` with its manifest ``table.json``, and ``batches``.
    device : str
        ``cpu``, or ``cuda``: there batches run one after another in this process.
    jobs : int, optional
        Processes on this machine, each with one thread; None means one for each core.
        Not read on ``cuda`` and on a cluster.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://10.0.0.5:8786``, whose workers
        train instead of this machine. They need this library.
    report : callable
        Gets a line of text on what went wrong and was mended: a file left out, a
        process that died.

    Returns
    -------
    list of dict
        One row for each configuration and seed, in the order given: the fields of the
        configuration, ``seed``, test and train accuracy in percent, test loss, and the
        dispatch entropy on the test set in nats (None for a single expert).

    Raises
    ------
    TypeError, ValueError
        If an argument is refused, before any work starts.
    OSError
        If the folder cannot be written.
    moe_lib.parallel.SweepError
        If a training fails, the scheduler cannot be reached, or a batch kills its
        process twice. The sweep ends; what is stored stays.
    """
    batches = plan(configurations, seeds, device=device)
    jobs = joblib.cpu_count() if jobs is None else jobs
    check_int("jobs", jobs, at_least=1)
    if scheduler is not None and device != "cpu":
        raise ValueError(f"device must be cpu on a cluster, got {device!r}")
    (folder / "batches").mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder / "batches").close()  # it can be written

    done = load_batches(batches, folder, report=report)
    missing = [batch for batch in batches if batch not in done]
    if scheduler is not None and missing:
        trained = on_cluster(missing, scheduler)
    else:
        trained = locally(missing, jobs if device == "cpu" else 1, report)
    progress = tqdm(
        total=len(batches), initial=len(done), desc="sweep", unit="batch", disable=None
    )
    with progress, closing(trained):
        for batch, rows in trained:
            manifest = make_manifest(batch.identity, [*batch.seeds], device)
            save_result(Result(manifest, {"rows": rows}), _path(batch, folder))
            done[batch] = rows
            progress.update()
    return _write_table(batches, done, folder)


def summarise(rows: Rows) -> Iterator[str]:
    """Yield the lines of a table: mean ± sd (ddof 0) over the seeds of a configuration.

    Parameters
    ----------
    rows : list of dict
        What :func:`run_sweep` returns.
    """
    varied = [name for name in FIELDS if len({row[name] for row in rows}) > 1]
    table = [["configuration", "test accuracy (%)", "dispatch entropy (nats)"]]
    for _, batch in groupby(rows, key=lambda row: [row[name] for name in FIELDS]):
        runs = list(batch)
        words = " ".join(f"{name}={runs[0][name]}" for name in varied)
        cells = [words or "the only one"]
        for name, digits in (("test_accuracy", 2), ("dispatch_entropy", 3)):
            found = [run[name] for run in runs]
            if None in found:  # a single expert dispatches nothing
                cells.append("-")
            else:
                spread = f" ± {pstdev(found):.{digits}f}" if len(found) > 1 else ""
                cells.append(f"{fmean(found):.{digits}f}{spread}")
        table.append(cells)
    width = max(len(name) for name, *_ in table)
    for name, accuracy, entropy in table:
        yield f"{name:<{width}}{accuracy:>20}{entropy:>26}"


def _write_table(
    batches: Sequence[Batch], done: Mapping[Batch, Rows], folder: Path
) -> Rows:
    table = [{**b.configuration.values(), **row} for b in batches for row in done[b]]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    temporary = folder / "table.csv.tmp"
    temporary.write_text(text.getvalue())
    temporary.replace(folder / "table.csv")
    config = {"configurations": [str(batch) for batch in batches]}
    manifest = make_manifest(config, [*batches[0].seeds], batches[0].device)
    files = [batch.file_name for batch in batches]
    save_result(Result(manifest, {"batches": files}), folder / "table.json")
    return table
