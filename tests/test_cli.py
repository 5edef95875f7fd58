"""The command line: what it prints, what it saves, what it says when it cannot."""

import csv
import importlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jaxtyping
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import moe_lib
from moe_lib import animation, cli, recipes, reproduce, setting, sweep
from moe_lib.authors import PAPER
from moe_lib.cells import Cell
from moe_lib.cli import main
from moe_lib.grid import expand_grid
from moe_lib.results import load_result
from moe_lib.runs import ModelRun
from tests.tasks import ROOT

MODELS = ["single_linear", "single_cubic", "moe_linear", "moe_cubic"]
TINY = ["--num-examples", "40", "--steps", "3", "--seeds", "2"]
COLUMNS = ("test_accuracy", "dispatch_entropy")


def code_of(*arguments):
    """Run a command in this process and return the exit code of the real one."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code
    except KeyboardInterrupt:
        return "a traceback"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Run one table into a folder that does not exist yet; return that folder."""
    folder = tmp_path_factory.mktemp("cli") / "new" / "folder"
    assert code_of("table", "--setting", "2", *TINY, "--out", folder) == 0
    return folder


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that makes the training of a model end by Ctrl-C."""
    real = recipes.train_model

    def interrupt(name):
        def train_model(model, *args, **kwargs):
            if model == name:
                raise KeyboardInterrupt
            return real(model, *args, **kwargs)

        monkeypatch.setattr(recipes, "train_model", train_model)

    return interrupt


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def models_in(path):
    return [model["model"] for model in load_result(path).data["models"]]


def means_and_deviations(path):
    """Work out, model by model, what the saved rows come to."""
    for model in load_result(path).data["models"]:
        cells = {}
        for column in COLUMNS:
            values = [row[column] for row in model["rows"] if column in row]
            known = (np.mean(values), np.std(values)) if values else None
            cells[column] = known
        yield model["model"], cells


def test_the_table_names_the_models_and_agrees_with_the_saved_rows(capsys, tmp_path):
    assert code_of("table", "--setting", "2", *TINY, "--out", tmp_path) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    path = tmp_path / "table_setting2.json"
    pattern = r"^(\w+_(?:linear|cubic)) +(\S+) ± (\S+) +(?:-|(\S+) ± (\S+))$"
    printed = re.findall(pattern, captured.out, re.MULTILINE)
    assert [row[0] for row in printed] == MODELS
    for row, (name, cells) in zip(printed, means_and_deviations(path), strict=True):
        assert row[0] == name
        assert list(map(float, row[1:3])) == pytest.approx(
            cells["test_accuracy"], abs=0.00501
        )
        if name.startswith("single"):
            assert row[3:] == ("", "")
        else:
            entropy = cells["dispatch_entropy"]
            assert list(map(float, row[3:])) == pytest.approx(entropy, abs=0.000501)


def test_the_table_says_what_it_is_of_and_where_it_is_saved(capsys, tmp_path):
    assert code_of("table", "--setting", "2", *TINY, "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "Setting 2, 2 seed(s), 40 train + 40 test examples" in printed
    assert "ddof 0" in printed
    assert printed.endswith(f"\nsaved in {tmp_path / 'table_setting2.json'}\n")


def test_nothing_but_the_result_is_left(table):
    assert names_in(table) == ["table_setting2.json"]


def test_the_saved_result_holds_all_models_and_its_manifest(table):
    result = load_result(table / "table_setting2.json")
    assert [model["model"] for model in result.data["models"]] == MODELS
    for model in result.data["models"]:
        assert [row["seed"] for row in model["rows"]] == [0, 1]
        assert model["config"]["train"]["steps"] == 3
        data = model["config"]["data"]
        assert data["num_train"] == data["num_test"] == 40
        assert data["sigma_p"] == setting(2).sigma_p
    assert result.manifest["config"]["setting"] == "2"
    assert result.manifest["seeds"] == [0, 1]
    assert result.manifest["ddof"] == 0
    assert result.manifest["wall_seconds"] >= 0


def strict_json(text):
    """Parse JSON as other languages do: NaN and Infinity are errors."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize(("name", "value"), [("1", 1), ("verify", "verify")])
def test_json_is_one_object_of_the_promised_shape(capsys, tmp_path, name, value):
    arguments = ["--setting", name, *TINY, "--out", tmp_path, "--json"]
    assert code_of("table", *arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    printed = strict_json(captured.out)
    assert list(printed) == ["setting", "seeds", "rows"]
    assert (printed["setting"], printed["seeds"]) == (value, 2)
    saved = means_and_deviations(tmp_path / f"table_setting{name}.json")
    for row, (model, cells) in zip(printed["rows"], saved, strict=True):
        assert list(row) == [
            "model",
            "test_accuracy_mean",
            "test_accuracy_sd",
            "dispatch_entropy_mean",
            "dispatch_entropy_sd",
        ]
        assert row["model"] == model
        for column in COLUMNS:
            got = (row[f"{column}_mean"], row[f"{column}_sd"])
            if cells[column] is None:
                assert got == (None, None)
            else:
                assert got == pytest.approx(cells[column])
        assert (row["dispatch_entropy_mean"] is None) == model.startswith("single")
    assert [row["model"] for row in printed["rows"]] == MODELS


def test_accuracies_are_percents_and_entropies_nats(capsys, tmp_path):
    steps = ["--num-examples", "400", "--steps", "60", "--seeds", "1"]
    assert code_of("table", *steps, "--out", tmp_path, "--json") == 0
    *_, moe_linear, moe_cubic = strict_json(capsys.readouterr().out)["rows"]
    for row in (moe_linear, moe_cubic):
        assert 50 < row["test_accuracy_mean"] <= 100
        assert 0 <= row["dispatch_entropy_mean"] <= np.log(4)
        assert row["test_accuracy_sd"] == row["dispatch_entropy_sd"] == 0
    assert moe_linear["dispatch_entropy_mean"] > 0.7  # ln 4 is 1.39, in bits 2


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_an_entropy_of_zero_is_not_a_missing_one(
    capsys, monkeypatch, tmp_path, json_too
):
    rows = [{"seed": 0, "test_accuracy": 100.0, "dispatch_entropy": 0.0}]
    run = ModelRun("moe_cubic", {}, rows, {})
    monkeypatch.setattr(cli, "four_model_table", lambda *_, **__: iter([run]))
    assert code_of("table", "--out", tmp_path, *json_too) == 0
    printed = capsys.readouterr().out
    if json_too:
        assert strict_json(printed)["rows"][0]["dispatch_entropy_mean"] == 0
    else:
        assert re.search(
            r"^moe_cubic +100\.00 ± 0\.00 +0\.000 ± 0\.000$", printed, re.M
        )


def test_where_somebody_watches_there_is_a_progress_bar(monkeypatch, tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    watched = Terminal()
    monkeypatch.setattr(sys, "stderr", watched)
    assert code_of("table", *TINY, "--out", tmp_path) == 0
    for name in ("SingleExpert, linear", "MoE, cubic"):
        assert name in watched.getvalue()
    assert "0/3" in watched.getvalue()


def test_widths_prints_and_saves_a_row_for_each_expert_and_seed(capsys, tmp_path):
    assert code_of("widths", "--setting", "2", *TINY, "--out", tmp_path) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    rows = load_result(tmp_path / "widths_setting2.json").data["rows"]
    keys = [(row["activation"], row["width"], row["seed"]) for row in rows]
    widths = [(w, seed) for w in (80, 128, 512) for seed in (0, 1)]
    assert keys == [(a, *rest) for a in ("linear", "cubic") for rest in widths]
    printed = re.findall(
        r"^(\w+) +(\d+) +(\d+) +(\S+) +(\S+)$", captured.out, re.MULTILINE
    )
    for cells, row in zip(printed, rows, strict=True):
        assert cells[:3] == (row["activation"], str(row["width"]), str(row["seed"]))
        numbers = (row["train_accuracy"], row["test_accuracy"])
        assert list(map(float, cells[3:])) == pytest.approx(numbers, abs=0.00501)
    assert names_in(tmp_path) == ["widths_setting2.json"]


def test_widths_as_json_is_the_saved_rows(capsys, tmp_path):
    assert code_of("widths", *TINY, "--out", tmp_path, "--json") == 0
    printed = strict_json(capsys.readouterr().out)
    saved = load_result(tmp_path / "widths_setting1.json").data
    assert printed == {"setting": 1, "seeds": 2, **saved}


BAD = {
    "an unknown setting": (["--setting", "9"], "setting must be one of 1, 2, 3, 4"),
    "no seeds": (["--seeds", "0"], "seeds must be at least 1, got 0"),
    "no steps": (["--steps", "0"], "steps must be at least 1, got 0"),
    "no examples": (["--num-examples", "0"], "num-examples must be at least 1, got 0"),
    "negative": (["--seeds", "-3"], "seeds must be at least 1, got -3"),
    "no CUDA": (["--device", "cuda"], "CUDA is not available"),
    "an unknown device": (["--device", "tpu"], "device must be cpu or cuda, got 'tpu'"),
    "a missing value": (["--seeds"], "--seeds: expected one argument"),
    "not an integer": (["--seeds", "many"], "--seeds: invalid int value: 'many'"),
    "a fraction": (["--steps", "2.5"], "--steps: invalid int value: '2.5'"),
    "an unknown option": (["--tables"], "unrecognized arguments: --tables"),
}


def assert_one_line(text, message):
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text.startswith("python -m moe_lib")
    assert message in text


@pytest.mark.parametrize("command", ["table", "widths"])
@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    capsys, monkeypatch, tmp_path, command, arguments, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = tmp_path / "out"
    assert code_of(command, *TINY, "--out", folder, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert_one_line(captured.err, message)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: command"),
        (["chart"], "invalid choice: 'chart'"),
        (["animate", "--seeds", "2"], "unrecognized arguments: --seeds 2"),
    ],
)
def test_a_command_that_does_not_exist_is_one_line(capsys, arguments, message):
    assert code_of(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert_one_line(captured.err, message)


@pytest.mark.parametrize("command", ["table", "widths", "animate"])
def test_a_folder_that_cannot_be_made_is_said_before_any_work(
    capsys, monkeypatch, tmp_path, command
):
    for module, name in (
        (recipes, "train_model"),
        (recipes, "data_of_runs"),
        (animation, "record_story"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("worked"))
    (tmp_path / "file").write_text("in the way")
    assert code_of(command, "--out", tmp_path / "file" / "out") == 2
    assert_one_line(capsys.readouterr().err, "file")
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_real_command_ends_with_two_and_one_line_too(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "moe_lib", "table", "--setting", "9"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "got '9'")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_finished_models_and_says_so(
    capsys, interrupt, table, tmp_path
):
    interrupt("single_cubic")
    arguments = ["table", "--setting", "2", *TINY, "--out", tmp_path]
    assert code_of(*arguments) == 130
    captured = capsys.readouterr()
    partial = tmp_path / "table_setting2.partial.json"
    assert captured.out == ""
    assert captured.err == f"interrupted: single_linear saved in {partial}\n"
    assert names_in(tmp_path) == [partial.name]
    [kept] = load_result(partial).data["models"]
    assert kept == load_result(table / "table_setting2.json").data["models"][0]


def test_ctrl_c_later_names_every_finished_model(capsys, interrupt, tmp_path):
    interrupt("moe_cubic")
    assert code_of("table", *TINY, "--out", tmp_path) == 130
    said = capsys.readouterr().err
    assert said.startswith(f"interrupted: {', '.join(MODELS[:3])} saved in ")
    assert models_in(tmp_path / "table_setting1.partial.json") == MODELS[:3]


def test_ctrl_c_leaves_an_earlier_result_as_it_was(interrupt, tmp_path):
    assert code_of("table", *TINY, "--out", tmp_path) == 0
    path = tmp_path / "table_setting1.json"
    before = path.read_bytes()
    interrupt("single_cubic")
    arguments = ["--num-examples", "30", *TINY[2:]]
    assert code_of("table", *arguments, "--out", tmp_path) == 130
    assert path.read_bytes() == before
    assert names_in(tmp_path) == [path.name, "table_setting1.partial.json"]


def test_the_next_complete_run_replaces_what_was_partial(interrupt, tmp_path):
    interrupt("moe_linear")
    assert code_of("table", *TINY, "--out", tmp_path) == 130
    interrupt("no model")
    assert code_of("table", *TINY, "--out", tmp_path) == 0
    assert names_in(tmp_path) == ["table_setting1.json"]
    assert models_in(tmp_path / "table_setting1.json") == MODELS


def test_ctrl_c_before_anything_is_finished_says_so(capsys, interrupt, tmp_path):
    interrupt("single_linear")
    assert code_of("table", *TINY, "--out", tmp_path) == 130
    assert capsys.readouterr().err == "interrupted: no model was finished\n"
    assert names_in(tmp_path) == []


def test_ctrl_c_while_saving_does_not_claim_that_it_was_saved(
    capsys, monkeypatch, tmp_path
):
    real, saved = cli.save_result, []

    def save_result(result, path):
        if saved:
            raise KeyboardInterrupt
        saved.append(path)
        real(result, path)

    monkeypatch.setattr(cli, "save_result", save_result)
    assert code_of("table", *TINY, "--out", tmp_path) == 130
    assert "interrupted: single_linear saved in" in capsys.readouterr().err
    assert models_in(tmp_path / "table_setting1.partial.json") == ["single_linear"]


def test_ctrl_c_in_widths_says_that_nothing_was_finished(capsys, monkeypatch, tmp_path):
    def train(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "train", train)
    assert code_of("widths", *TINY, "--out", tmp_path) == 130
    assert capsys.readouterr().err == "interrupted: nothing was finished\n"
    assert names_in(tmp_path) == []


def test_a_real_ctrl_c(tmp_path):
    """The signal is sent once the first model is on disk; the second one is long."""
    command = (
        "import signal, sys; from moe_lib.cli import main; "
        # A shell may start a background job with this signal ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.exit(main())"
    )
    size = ["--num-examples", "1000", "--steps", "400", "--seeds", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, "table", *size, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = tmp_path / "table_setting1.partial.json"
    with process:
        try:
            while not partial.exists() and process.poll() is None:
                time.sleep(0.02)
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    assert said.startswith("interrupted: single_linear")
    assert said.endswith(f"saved in {partial}\n")
    assert models_in(partial)[0] == "single_linear"
    assert names_in(tmp_path) == [partial.name]


@pytest.fixture
def tiny_films(monkeypatch):
    """Make the films short; return what was asked for."""
    plt.switch_backend("agg")
    real, asked = animation.record_story, []

    def record_story(activation, config):
        asked.append((activation, config))
        small = replace(config, num_train=60, num_test=60)
        return real(activation, small, frame_steps=(0, 1), num_points=50)

    monkeypatch.setattr(animation, "record_story", record_story)
    monkeypatch.setattr(animation, "KEY_STEPS", (0, 1))
    return asked


def test_animate_prints_the_path_of_each_file(capsys, tiny_films, tmp_path):
    folder = tmp_path / "new"
    assert code_of("animate", "--out", folder) == 0
    assert tiny_films == [("cubic", setting(1)), ("linear", setting(1))]
    captured = capsys.readouterr()
    assert captured.err == ""
    endings = (".gif", ".mp4", ".png", "_strip.png")
    expected = [f"dispatch_{a}{e}" for a in ("cubic", "linear") for e in endings]
    assert captured.out.splitlines() == [str(folder / name) for name in expected]
    assert names_in(folder) == sorted(expected)
    assert all(path.stat().st_size > 1000 for path in folder.iterdir())


def test_ctrl_c_in_animate_names_the_films_that_are_there(
    capsys, monkeypatch, tmp_path
):
    def make_animations(folder):
        yield folder / "dispatch_cubic.gif"
        raise KeyboardInterrupt

    monkeypatch.setattr(animation, "make_animations", make_animations)
    assert code_of("animate", "--out", tmp_path) == 130
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'dispatch_cubic.gif'}\n"
    assert captured.err == f"interrupted: dispatch_cubic.gif saved in {tmp_path}\n"


def test_ctrl_c_before_the_first_film_says_so(capsys, monkeypatch, tmp_path):
    def record_story(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(animation, "record_story", record_story)
    assert code_of("animate", "--out", tmp_path) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "interrupted: no film was made\n"


@pytest.mark.parametrize("module", ["runs.replace", "cli.setting"])
def test_ctrl_c_at_any_moment_leaves_no_traceback(
    capsys, monkeypatch, tmp_path, module
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"moe_lib.{module}", interrupted)
    assert code_of("table", *TINY, "--out", tmp_path) == 130
    assert capsys.readouterr().err.startswith("interrupted")


def test_animate_without_its_packages_says_which_extra(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "moe_lib.animation", None)
    assert code_of("animate", "--out", tmp_path / "out") == 2
    assert_one_line(capsys.readouterr().err, "animate needs the extra `figures`")
    assert names_in(tmp_path) == []


SWEEP = ["sweep", *TINY, "--jobs", "1"]
RATES = ["--grid", "router_lr=0.3,1,3"]


def columns_of(path, *names):
    with path.open(newline="") as file:
        return [tuple(row[name] for name in names) for row in csv.DictReader(file)]


def test_sweep_writes_a_row_for_each_configuration_and_seed(capsys, tmp_path):
    grid = [*RATES, "--grid", "model=moe,single", "--grid", "gamma=0.5:2"]
    assert code_of(*SWEEP, *grid, "--out", tmp_path / "new") == 0
    path = tmp_path / "new" / "table.csv"
    captured = capsys.readouterr()
    head, *lines, empty, last = captured.out.splitlines()
    assert (empty, last, captured.err) == ("", f"12 rows saved in {path}", "")
    assert head.split()[:3] == ["configuration", "test", "accuracy"]
    assert [line.split()[:2] for line in lines] == [
        [f"model={m}", f"router_lr={r}"]
        for r in (0.3, 1.0, 3.0)
        for m in ("moe", "single")
    ]
    models = ("moe", "single")
    order = [(r, m, s) for r in ("0.3", "1.0", "3.0") for m in models for s in "01"]
    assert columns_of(path, "router_lr", "model", "seed") == order
    sizes = columns_of(path, "num_train", "num_test", "steps", "gamma")
    assert set(sizes) == {("40", "40", "3", "0.5:2.0")}


def test_sweep_takes_a_list_of_configurations(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("setting,num_experts\n4,2\n3,5\n")
    assert code_of(*SWEEP, "--list", path, "--out", tmp_path) == 0
    rows = columns_of(tmp_path / "table.csv", "sigma_p", "gamma", "num_experts", "seed")
    kinds = [("2.0", "0.5:2.0", "2"), ("1.0", "0.5:2.0", "5")]
    assert rows == [(*kind, seed) for kind in kinds for seed in "01"]


def test_sweep_has_the_sizes_of_the_library_unless_told(monkeypatch, tmp_path):
    asked = {}

    def run_sweep(configurations, seeds, folder, **options):
        asked.update(options, c=configurations, seeds=list(seeds), folder=folder)
        return []

    monkeypatch.setattr(sweep, "run_sweep", run_sweep)
    assert code_of("sweep", *RATES, "--out", tmp_path) == 0
    assert asked.pop("report") is not None
    assert asked == {
        "c": expand_grid({"router_lr": [0.3, 1.0, 3.0]}),
        "seeds": list(range(10)),
        "folder": tmp_path,
        "device": "cpu",
        "jobs": None,
        "scheduler": None,
    }
    assert code_of(*SWEEP, *RATES, "--jobs", 7, "--scheduler", "tcp://a:1") == 0
    assert (asked["jobs"], asked["scheduler"]) == (7, "tcp://a:1")


BAD_SWEEP = {
    "neither grid nor list": ([], "one of the arguments --grid --list is required"),
    "both": ([*RATES, "--list", "f"], "argument --list: not allowed with"),
    "an unknown field": (["--grid", "speed=1"], "field must be one of setting"),
    "a field twice": ([*RATES, *RATES], "given once, got router_lr twice"),
    "steps twice": (["--grid", "steps=1,2"], "given once, got steps twice"),
    "no value": (["--grid", "dim="], "dim must be an integer, got ''"),
    "no equals sign": (["--grid", "dim"], "grid must read FIELD=VALUE,VALUE"),
    "a refused value": (["--grid", "num_experts=4,0"], "num_experts must be at least"),
    "a value twice": (["--grid", "dim=50,50"], "configurations must differ, got twice"),
    "no list": (["--list", "nowhere.csv"], "No such file or directory: 'nowhere.csv'"),
    "no seeds": ([*RATES, "--seeds", "0"], "seeds must be at least 1, got 0"),
    "no steps": ([*RATES, "--steps", "0"], "steps must be at least 1, got 0"),
    "no examples": ([*RATES, "--num-examples", "0"], "num_train must be at least 1"),
    "no jobs": ([*RATES, "--jobs", "0"], "jobs must be at least 1, got 0"),
    "no CUDA": ([*RATES, "--device", "cuda"], "CUDA is not available"),
    "an unknown device": ([*RATES, "--device", "tpu"], "must be cpu or cuda, got"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_SWEEP.values(), ids=BAD_SWEEP)
def test_a_bad_sweep_is_one_line_and_leaves_nothing(
    capsys, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sweep, "locally", lambda *_: pytest.fail("worked"))
    folder = tmp_path / "out"
    assert code_of(*SWEEP, "--out", folder, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert_one_line(captured.err, message)
    assert not folder.exists()


def test_a_bad_line_of_a_list_is_named(capsys, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("num_experts\n4\n0\n")
    assert code_of(*SWEEP, "--list", path, "--out", tmp_path / "out") == 2
    message = f"{path}, line 3: num_experts must be at least 1, got 0"
    assert_one_line(capsys.readouterr().err, message)
    assert names_in(tmp_path) == ["list.csv"]


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path):
    address = "tcp://127.0.0.1:1"
    done = subprocess.run(
        [sys.executable, "-m", "moe_lib", *SWEEP, *RATES, "--scheduler", address],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, f"scheduler {address} is not there: no answer within")


@pytest.mark.parametrize("package", ["joblib", "distributed"])
def test_sweep_without_its_packages_says_which_extra(
    capsys, monkeypatch, tmp_path, package
):
    for name in ("sweep", "parallel"):  # both are put back: module and attribute
        module = importlib.import_module(f"moe_lib.{name}")
        monkeypatch.setattr(moe_lib, name, module)
        monkeypatch.delitem(sys.modules, f"moe_lib.{name}")
    monkeypatch.setitem(sys.modules, package, None)
    arguments = [*SWEEP, *RATES, "--scheduler", "tcp://127.0.0.1:1"]
    assert code_of(*arguments, "--out", tmp_path / "out") == 2
    assert_one_line(capsys.readouterr().err, "sweep needs the extra `sweep`")
    assert names_in(tmp_path) == []


def test_a_spoilt_file_of_a_sweep_is_said_and_made_again(capsys, tmp_path):
    assert code_of(*SWEEP, *RATES, "--out", tmp_path) == 0
    table = (tmp_path / "table.csv").read_bytes()
    victim = next((tmp_path / "batches").iterdir())
    victim.write_bytes(victim.read_bytes()[:100])
    capsys.readouterr()
    assert code_of(*SWEEP, *RATES, "--out", tmp_path) == 0
    assert_one_line(capsys.readouterr().err, f"{victim} does not hold the rows of its")
    assert (tmp_path / "table.csv").read_bytes() == table


def test_a_batch_that_fails_is_one_line_that_names_it(capsys, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise RuntimeError("out of memory\nmore of it")

    monkeypatch.setattr(sweep, "data_of_runs", fail)
    assert code_of(*SWEEP, *RATES, "--out", tmp_path) == 2
    line = "steps=3 router_lr=0.3 failed: RuntimeError: out of memory\n"
    assert_one_line(capsys.readouterr().err, line)


def test_a_full_disk_is_one_line_and_leaves_the_earlier_table(tmp_path):
    """The kernel refuses to write more than 500 bytes into one file."""
    assert code_of(*SWEEP, *RATES, "--out", tmp_path) == 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*")}
    command = (
        "import resource, sys; from moe_lib.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)); sys.exit(main())"
    )
    grid = ["--grid", "router_lr=0.3,1,3,5,7"]
    done = subprocess.run(
        [sys.executable, "-c", command, *SWEEP, *grid, "--out", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "File too large")
    after = {p: p.read_bytes() for p in tmp_path.rglob("*.*")}
    assert {p: text for p, text in after.items() if p.suffix != ".tmp"} == before


def test_ctrl_c_in_a_sweep_says_how_many_batches_are_stored(
    capsys, monkeypatch, tmp_path
):
    real, saved = sweep.save_result, []

    def save_result(result, path):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(path)
        real(result, path)

    monkeypatch.setattr(sweep, "save_result", save_result)
    assert code_of(*SWEEP, *RATES, "--out", tmp_path) == 130
    message = f"interrupted: 2 of 3 batches are stored in {tmp_path}\n"
    assert_one_line(capsys.readouterr().err, message)
    assert names_in(tmp_path) == ["batches"]


def test_a_real_ctrl_c_in_a_sweep_of_several_processes(tmp_path):
    """As in a terminal, every process of the group gets the signal."""
    command = (
        "import signal, sys; from moe_lib.cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.exit(main())"
    )
    size = ["--num-examples", "400", "--steps", "60", "--seeds", "1", "--jobs", "2"]
    grid = ["--grid", "router_lr=" + ",".join(map(str, range(20)))]
    process = subprocess.Popen(
        [sys.executable, "-c", command, "sweep", *size, *grid, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            while not [*tmp_path.rglob("*.json")] and process.poll() is None:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            out, said = process.communicate(timeout=60)
        finally:
            process.kill()
    stored = len([*tmp_path.rglob("*.json")])
    assert 0 < stored < 20
    assert (process.returncode, out) == (130, "")
    message = f"interrupted: {stored} of 20 batches are stored in {tmp_path}\n"
    assert_one_line(said, message)


PAGE = (ROOT / "book" / "scaling.md").read_text().replace("\\\n", " ")


@pytest.mark.parametrize("line", re.findall(r"-m moe_lib (sweep .*)", PAGE))
def test_the_commands_of_the_page_on_scaling_are_accepted(monkeypatch, line, tmp_path):
    monkeypatch.setattr(sweep, "run_sweep", lambda *_, **__: [])
    assert code_of(*shlex.split(line), "--out", tmp_path) == 0


def test_the_page_on_scaling_shows_a_sweep_from_python_too(monkeypatch, capsys):
    def run(configurations, **_):
        chosen.extend(configurations)
        found = {"test_accuracy": 99.0, "dispatch_entropy": 0.5}
        return [c.values() | found for c in configurations]

    chosen = []
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a reader
    monkeypatch.setattr(sweep, "run_sweep", run)
    first, *_ = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    exec(first, {})
    assert chosen == expand_grid({"router_lr": [0.3, 1, 3]}, num_experts=4, steps=100)
    assert "router_lr=3.0" in capsys.readouterr().out


@pytest.fixture
def experiment(monkeypatch):
    """Let the only experiment be one of the committed ones, cut short."""
    cells = tuple(
        Cell(
            name=f"setting 1, {a}, balanced",
            setting="1",
            recipe=replace(PAPER, steps=1),
            activation=a,
            data="authors",
        )
        for a in ("linear", "cubic")
    )
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {"authors_balancing": cells})
    monkeypatch.setattr(cli, "EXPERIMENTS", {"authors_balancing": cells})


def test_reproduce_trains_and_compare_tells_what_did_not_come_out(
    experiment, capsys, tmp_path
):
    assert code_of("reproduce", "--seeds", 1, "--out", tmp_path) == 0
    path = tmp_path / "authors_balancing.json"
    assert capsys.readouterr().out == f"saved in {path}\n"
    assert load_result(path).manifest["seeds"] == [0]
    assert code_of("compare", tmp_path) == 1  # one step is not 501
    assert "4 means, " in capsys.readouterr().out


def test_compare_says_that_all_came_out_again(capsys, tmp_path):
    source = ROOT / "moe_lib" / "results" / "widths_setting1.json"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    assert code_of("compare", tmp_path) == 0
    line = capsys.readouterr().out
    assert line.startswith("widths_setting1: 6 means, 0 farther than 1 sd")


BAD_REPRODUCTION = {
    "an unknown experiment": (["reproduce", "none"], "experiment must be one of"),
    "no seed": (["reproduce", "--seeds", "0"], "seeds must be at least 1, got 0"),
    "a device": (["reproduce", "--device", "tpu"], "device must be cpu or cuda"),
    "nothing to compare": (["compare", "."], "folder must hold results, got none"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_REPRODUCTION.values())
def test_a_bad_reproduction_is_one_line(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert code_of(*arguments) == 2
    assert_one_line(capsys.readouterr().err, message)
    assert names_in(tmp_path) == []
