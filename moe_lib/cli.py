"""The command line: ``python -m moe_lib``, a thin skin over the recipes."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from moe_lib.checks import check_device, check_int
from moe_lib.config import SETTINGS, DataConfig, setting
from moe_lib.experiments import EXPERIMENTS
from moe_lib.recipes import four_model_table, noise_strength, single_widths
from moe_lib.reproduce import report, reproduce
from moe_lib.results import Result, make_manifest, save_result
from moe_lib.runs import ModelRun


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m moe_lib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("table", "train single and mixture, linear and cubic, and print the table"),
        ("strength", "train both mixtures on ever stronger feature noise"),
        ("widths", "train single experts of several widths by Adam"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--setting", default="1", metavar="|".join(SETTINGS))
        command.add_argument("--seeds", type=int, default=10, metavar="N")
        command.add_argument("--device", default="cpu", metavar="cpu|cuda")
        command.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
        command.add_argument("--json", action="store_true", help="print one object")
        command.add_argument("--steps", type=int, help="instead of the paper-size runs")
        command.add_argument("--num-examples", type=int, help="in each of both sets")
    text = "train many configurations with several seeds each, as a table"
    command = commands.add_parser("sweep", help=text, description=text)
    what = command.add_mutually_exclusive_group(required=True)
    text = "values to combine with those of other fields; a pair as 0.5:3.0"
    what.add_argument("--grid", action="append", metavar="FIELD=VALUE,...", help=text)
    text = "CSV file: a header of fields, one configuration in each line"
    what.add_argument("--list", type=Path, metavar="FILE", help=text)
    command.add_argument("--seeds", type=int, default=10, metavar="N")
    command.add_argument("--steps", type=int, help="instead of 600")
    command.add_argument("--num-examples", type=int, help="in each of both sets")
    command.add_argument("--device", default="cpu", metavar="cpu|cuda")
    command.add_argument("--jobs", type=int, help="processes; default: one per core")
    command.add_argument("--scheduler", metavar="tcp://...", help="of a Dask cluster")
    command.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    text = "train the experiments of the audit"
    command = commands.add_parser("reproduce", help=text, description=text)
    text = f"of {', '.join(EXPERIMENTS)}; default: all"
    command.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=text)
    command.add_argument("--seeds", type=int, metavar="N", help="instead of all")
    command.add_argument("--device", default="cpu", metavar="cpu|cuda")
    command.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    text = "compare the results in a folder with those that ship with the library"
    command = commands.add_parser("compare", help=text, description=text)
    command.add_argument("folder", type=Path, metavar="DIR")
    text = "make the animations of dispatch"
    command = commands.add_parser("animate", help=text, description=text)
    command.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for bad input, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "animate":
            return _animate(options.out)
        if options.command == "sweep":
            return _sweep(options)
        if options.command == "reproduce":
            names, n = options.experiments or [*EXPERIMENTS], options.seeds
            for name in reproduce(names, options.out, seeds=n, device=options.device):
                print(f"saved in {options.out / name}.json")
            return 0
        if options.command == "compare":
            lines, all_came = report(options.folder)
            print(*lines, sep="\n")
            return 0 if all_came else 1
        config = setting(options.setting)
        check_int("seeds", options.seeds, at_least=1)
        check_device(options.device)
        if options.steps is not None:
            check_int("steps", options.steps, at_least=1)
        if options.num_examples is not None:
            n = options.num_examples
            check_int("num-examples", n, at_least=1)
            config = replace(config, num_train=n, num_test=n)
        options.out.mkdir(parents=True, exist_ok=True)  # before any work
        run = _widths if options.command == "widths" else _models
        return run(options, config)
    except (ValueError, TypeError, OSError) as error:
        print(f"python -m moe_lib: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _name_of_setting(options: argparse.Namespace) -> int | str:
    return int(options.setting) if options.setting.isdigit() else options.setting


def _save(
    options: argparse.Namespace,
    config: DataConfig,
    path: Path,
    data: dict[str, Any],
    started: float,
) -> None:
    manifest = make_manifest(
        {
            "command": options.command,
            "setting": options.setting,
            "steps": options.steps,  # None: the recipe's own
            "data": asdict(config),
        },
        list(range(options.seeds)),
        options.device,
        wall_seconds=round(time.monotonic() - started, 1),
        ddof=0,
    )
    save_result(Result(manifest, data), path)


def _models(options: argparse.Namespace, config: DataConfig) -> int:
    """Train models; what is finished is on disk before the next one starts."""
    recipe = four_model_table if options.command == "table" else noise_strength
    path = options.out / f"{options.command}_setting{options.setting}.json"
    partial = path.with_suffix(".partial.json")
    started = time.monotonic()
    runs: list[ModelRun] = []
    models = recipe(
        config, range(options.seeds), steps=options.steps, device=options.device
    )
    try:
        for run in models:
            done = [*runs, run]
            _save(
                options, config, partial, {"models": [asdict(r) for r in done]}, started
            )
            runs = done
    except KeyboardInterrupt:
        names = ", ".join(run.model for run in runs)
        saved = f"{names} saved in {partial}" if runs else "no model was finished"
        print(f"interrupted: {saved}", file=sys.stderr)
        return 130
    partial.replace(path)
    rows = [run.summary() for run in runs]
    if recipe is noise_strength:
        for row, run in zip(rows, runs, strict=True):
            row["gamma"] = run.config["data"]["gamma"]
    if options.json:
        name = _name_of_setting(options)
        print(json.dumps({"setting": name, "seeds": options.seeds, "rows": rows}))
    else:
        _print_table(options, config, rows, path)
    return 0


def _print_table(
    options: argparse.Namespace,
    config: DataConfig,
    rows: list[dict[str, Any]],
    path: Path,
) -> None:
    print(
        f"Setting {options.setting}, {options.seeds} seed(s), {config.num_train} train "
        f"+ {config.num_test} test examples, mean ± sd (ddof 0) over seeds\n"
    )
    print(f"{'model':<28}{'test accuracy (%)':>20}{'dispatch entropy (nats)':>28}")
    for row in rows:
        cells = []
        for name, digits in (("test_accuracy", 2), ("dispatch_entropy", 3)):
            mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
            known = mean is not None
            cells.append(f"{mean:.{digits}f} ± {sd:.{digits}f}" if known else "-")
        name = row["model"]
        if "gamma" in row:
            name += ", gamma {} to {}".format(*row["gamma"])
        print(f"{name:<28}{cells[0]:>20}{cells[1]:>28}")
    print(f"\nsaved in {path}")


def _widths(options: argparse.Namespace, config: DataConfig) -> int:
    path = options.out / f"widths_setting{options.setting}.json"
    started = time.monotonic()
    steps = {} if options.steps is None else {"steps": options.steps}
    try:
        rows = single_widths(
            config, range(options.seeds), device=options.device, **steps
        )
    except KeyboardInterrupt:
        print("interrupted: nothing was finished", file=sys.stderr)
        return 130
    _save(options, config, path, {"rows": rows}, started)
    if options.json:
        name = _name_of_setting(options)
        print(json.dumps({"setting": name, "seeds": options.seeds, "rows": rows}))
        return 0
    print(
        f"{'activation':<12}{'filters':>8}{'seed':>6}{'train (%)':>12}{'test (%)':>12}"
    )
    for row in rows:
        print(
            f"{row['activation']:<12}{row['width']:>8}{row['seed']:>6}"
            f"{row['train_accuracy']:>12.2f}{row['test_accuracy']:>12.2f}"
        )
    print(f"\nsaved in {path}")
    return 0


def _animate(folder: Path) -> int:
    try:
        from moe_lib.animation import make_animations
    except ImportError as error:
        raise ValueError(f"animate needs the extra `figures`: {error}") from error

    folder.mkdir(parents=True, exist_ok=True)  # before any work
    names: list[str] = []
    try:
        for path in make_animations(folder):
            print(path)
            names.append(path.name)
    except KeyboardInterrupt:
        saved = f"{', '.join(names)} saved in {folder}" if names else "no film was made"
        print(f"interrupted: {saved}", file=sys.stderr)
        return 130
    return 0


def _sweep(options: argparse.Namespace) -> int:
    try:
        from moe_lib.grid import expand_grid, parse_grid, read_list
        from moe_lib.parallel import SweepError
        from moe_lib.sweep import load_batches, plan, run_sweep, summarise

        if options.scheduler is not None:
            import distributed  # noqa: F401 (it sets levels, hence before the next line)

            logging.getLogger("distributed").setLevel(logging.CRITICAL)
            logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    except ImportError as error:
        raise ValueError(f"sweep needs the extra `sweep`: {error}") from error

    def tell(message: str) -> None:
        tqdm.write(f"python -m moe_lib: {message}", file=sys.stderr)

    fixed: dict[str, int] = {}
    if options.steps is not None:
        fixed["steps"] = options.steps
    if options.num_examples is not None:
        fixed["num_train"] = fixed["num_test"] = options.num_examples
    check_int("seeds", options.seeds, at_least=1)
    if options.list is None:
        configurations = expand_grid(parse_grid(options.grid), **fixed)
    else:
        configurations = read_list(options.list, **fixed)
    seeds, folder = range(options.seeds), options.out
    batches = plan(configurations, seeds, device=options.device)
    try:
        rows = run_sweep(
            configurations,
            seeds,
            folder,
            device=options.device,
            jobs=options.jobs,
            scheduler=options.scheduler,
            report=tell,
        )
    except SweepError as error:
        tell(str(error))
        return 2
    except KeyboardInterrupt:
        kept = len(load_batches(batches, folder, report=tell))
        tell(f"interrupted: {kept} of {len(batches)} batches are stored in {folder}")
        return 130
    print(*summarise(rows), "", sep="\n")
    print(f"{len(rows)} rows saved in {folder / 'table.csv'}")
    return 0
