"""Sweeps: the rows, the store, and what an interruption or a fault leaves of them."""

import csv
import errno
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace

import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from moe_lib import (
    MoE,
    PatchDataset,
    SingleExpert,
    evaluate,
    fused,
    make_data,
    sweep,
    train,
)
from moe_lib.cli import main
from moe_lib.grid import FIELDS, configure, expand_grid
from moe_lib.parallel import SweepError
from moe_lib.results import load_result
from moe_lib.sweep import (
    COLUMNS,
    MEASURED,
    load_batches,
    plan,
    run_sweep,
    summarise,
)
from tests.processes import CONTEXT, call
from tests.tasks import ROOT, cluster, wait_until

SMALL = {"num_train": 40, "num_test": 30, "dim": 8, "steps": 3}
GRID = {"router_lr": [0.3, 3.0], "model": ["moe", "single"]}
SEEDS = (0, 5)


def small(**grid):
    return expand_grid(grid or GRID, **SMALL)


def fail(message):
    pytest.fail(f"reported: {message}")


def run(configurations, folder, *, seeds=SEEDS, jobs=1, report=fail, **options):
    return run_sweep(configurations, seeds, folder, jobs=jobs, report=report, **options)


def files_in(folder):
    return sorted(path.name for path in (folder / "batches").iterdir())


@pytest.fixture
def trained(monkeypatch):
    """Return a list that grows by each configuration that is trained here."""
    real, trained = sweep.Batch.__call__, []

    def call(batch):
        trained.append(batch.configuration)
        return real(batch)

    monkeypatch.setattr(sweep.Batch, "__call__", call)
    return trained


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Run one sweep without any fault; return its folder and rows."""
    folder = tmp_path_factory.mktemp("sweep") / "new" / "folder"
    yield folder, run(small(), folder)
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def test_the_rows_are_in_the_order_of_the_grid(whole):
    _, rows = whole
    order = [(r["router_lr"], r["model"], r["seed"]) for r in rows]
    models = ("moe", "single")
    assert order == [(r, m, s) for r in (0.3, 3.0) for m in models for s in SEEDS]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert (*FIELDS, "seed", *MEASURED) == COLUMNS


def test_each_row_is_that_of_a_direct_training_of_its_seed_alone(whole):
    _, rows = whole
    for row, c in zip(rows[:: len(SEEDS)], small(), strict=True):
        assert {name: row[name] for name in FIELDS} == c.values()
    configurations = [c for c in small() for _ in SEEDS]
    for row, c in zip(rows, configurations, strict=True):
        train_data, test_data = make_data(c.data, row["seed"])
        kind = {"moe": MoE, "single": SingleExpert}[c.model]
        model = kind(c.layer, dim=8, seeds=[row["seed"]])
        train(model, train_data, c.training)
        test = evaluate(model, test_data)
        assert row["test_accuracy"] == pytest.approx(100 * test.accuracy.item())
        accuracy = evaluate(model, train_data).accuracy.item()
        assert row["train_accuracy"] == pytest.approx(100 * accuracy)
        assert row["test_loss"] == pytest.approx(test.loss.item(), abs=2e-6)
        if c.model == "single":
            assert row["dispatch_entropy"] is None
        else:
            entropy = test.dispatch_entropy.item()
            assert row["dispatch_entropy"] == pytest.approx(entropy, abs=2e-6)


def test_the_table_on_disk_says_what_was_returned(whole):
    folder, rows = whole
    with (folder / "table.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames) == COLUMNS
        on_disk = list(reader)
    for saved, row in zip(on_disk, rows, strict=True):
        assert saved == {n: "" if v is None else str(v) for n, v in row.items()}
    singles = [row for row in on_disk if row["model"] == "single"]
    assert {row["dispatch_entropy"] for row in singles} == {""}
    assert on_disk[0]["gamma"] == "0.5:3.0"


def test_beside_the_table_lies_its_manifest(whole):
    folder, _ = whole
    assert sorted(os.listdir(folder)) == ["batches", "table.csv", "table.json"]
    manifest, data = vars(load_result(folder / "table.json")).values()
    assert manifest["seeds"] == list(SEEDS)
    assert manifest["config"]["configurations"] == [str(c) for c in small()]
    assert sorted(data["batches"]) == files_in(folder)
    first = load_result(folder / "batches" / data["batches"][0])
    assert first.manifest["config"] == {**small()[0].values(), "device": "cpu"}
    assert [row["seed"] for row in first.data["rows"]] == list(SEEDS)


def test_a_summary_has_a_line_for_each_configuration():
    moe, single = configure(num_experts=2), configure(num_experts=2, model="single")
    found = [(90.0, 0.1), (100.0, 0.3)]
    rows = [
        {**moe.values(), "test_accuracy": a, "dispatch_entropy": h} for a, h in found
    ]
    lines = [" ".join(line.split()) for line in summarise(rows)]
    assert lines[1:] == ["the only one 95.00 ± 5.00 0.200 ± 0.100"]
    rows += [{**single.values(), "test_accuracy": 70.0, "dispatch_entropy": None}]
    head, *lines = summarise(rows)
    assert [" ".join(line.split()) for line in lines] == [
        "model=moe 95.00 ± 5.00 0.200 ± 0.100",
        "model=single 70.00 -",
    ]
    assert len({len(line) for line in (head, *lines)}) == 1  # columns, right-aligned


def test_the_number_of_processes_changes_no_bit(whole, tmp_path):
    folder, rows = whole
    assert run(small(), tmp_path, jobs=2) == rows
    table = (tmp_path / "table.csv").read_bytes()
    assert table == (folder / "table.csv").read_bytes()


def test_a_batch_is_trained_with_one_thread(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(fused, "train", lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run(small()[:1], tmp_path)
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


def test_batches_of_another_commit_are_used_and_reported(whole, tmp_path):
    folder, rows = whole
    shutil.copytree(folder, tmp_path / "old")
    for path in (tmp_path / "old" / "batches").iterdir():
        path.write_text(path.read_text().replace('"commit": "', '"commit": "old-'))
    said = []
    assert run(small(), tmp_path / "old", report=said.append) == rows
    assert len(said) == 1
    assert re.search(r"other versions or code \(commit old-\w+", said[0])


def test_the_threads_of_this_process_change_no_bit_and_are_kept(whole, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert run(small(), tmp_path) == whole[1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_another_order_gives_the_same_rows_in_that_order(whole, tmp_path):
    _, rows = whole
    batches = [rows[i : i + len(SEEDS)] for i in range(0, len(rows), len(SEEDS))]
    backwards = run(small()[::-1], tmp_path)
    assert backwards == [row for batch in batches[::-1] for row in batch]


def test_a_finished_sweep_trains_nothing_again(trained, tmp_path):
    rows = run(small(), tmp_path)
    assert trained == small()
    (tmp_path / "table.csv").unlink()
    assert run(small(), tmp_path) == rows
    assert trained == small()
    assert (tmp_path / "table.csv").exists()


def test_a_finished_sweep_needs_no_scheduler_either(tmp_path):
    rows = run(small(), tmp_path)
    assert run(small(), tmp_path, scheduler="tcp://127.0.0.1:1") == rows


def test_a_stopped_sweep_trains_only_what_is_missing(monkeypatch, trained, tmp_path):
    real = sweep.save_result

    def save_result(result, path):
        if len(trained) == 3:
            raise KeyboardInterrupt
        real(result, path)

    monkeypatch.setattr(sweep, "save_result", save_result)
    with pytest.raises(KeyboardInterrupt):
        run(small(), tmp_path)
    assert not (tmp_path / "table.csv").exists()
    stored = load_batches(plan(small(), SEEDS), tmp_path, report=fail)
    assert [batch.configuration for batch in stored] == small()[:2]
    monkeypatch.setattr(sweep, "save_result", real)
    trained.clear()
    run(small(), tmp_path)
    assert trained == small()[2:]


def test_a_wider_grid_trains_only_what_is_new(trained, whole, tmp_path):
    run(small(router_lr=[3.0]), tmp_path)
    trained.clear()
    rows = run(small(router_lr=[0.3, 3.0, 1.0]), tmp_path)
    assert [c.training.router_lr for c in trained] == [0.3, 1.0]
    assert [row["router_lr"] for row in rows] == [0.3, 0.3, 3.0, 3.0, 1.0, 1.0]
    rows = run(small(router_lr=[3.0]), tmp_path)  # the store holds more than the table
    assert [row["router_lr"] for row in rows] == [3.0, 3.0]
    assert (tmp_path / "table.csv").read_text().count("\n") == 3
    assert rows == [r for r in whole[1] if (r["router_lr"], r["model"]) == (3.0, "moe")]


OTHER = {
    "setting": "2",
    "model": "single",
    "num_clusters": 3,
    "num_patches": 5,
    "dim": 9,
    "alpha": (0.1, 0.2),
    "beta": (0.3, 0.4),
    "gamma": (0.5, 0.6),
    "sigma_p": 0.7,
    "num_train": 39,
    "num_test": 31,
    "num_experts": 11,
    "num_filters": 12,
    "activation": "relu",
    "init_scale": 0.13,
    "steps": 4,
    "expert_lr": 0.15,
    "router_lr": 0.16,
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_changed_field_never_takes_a_stored_result(name, trained, tmp_path):
    run([configure(**SMALL)], tmp_path)
    changed = configure(**{**SMALL, name: OTHER[name]})
    rows = run([changed], tmp_path)
    assert trained == [configure(**SMALL), changed]
    assert {row[name] for row in rows} == {changed.values()[name]}
    assert len(files_in(tmp_path)) == 2


@pytest.mark.parametrize("seeds", [(0,), (5, 0), (0, 5, 6), (0, 6)])
def test_changed_seeds_never_take_a_stored_result(seeds, trained, tmp_path):
    run([configure(**SMALL)], tmp_path)
    rows = run([configure(**SMALL)], tmp_path, seeds=seeds)
    assert [row["seed"] for row in rows] == list(seeds)
    assert len(trained) == 2


def test_another_device_never_takes_a_stored_result():
    [batch] = plan([configure()], SEEDS)
    cuda = replace(batch, device="cuda:1")
    assert cuda.file_name != batch.file_name
    assert cuda.file_name == replace(batch, device="cuda").file_name


def spoil(text):
    """Return each way in which a file of the store can be wrong, by name."""
    whole = json.loads(text)
    manifest, rows = whole["manifest"], whole["data"]["rows"]
    other = {**manifest, "config": {**manifest["config"], "router_lr": 9.0}}
    return {
        "empty": "",
        "truncated": text[: len(text) // 2],
        "not JSON": "seed,accuracy\n0,1\n",
        "not text": b"\x80\xff",
        "no result": "[1, 2]",
        "no rows": json.dumps({**whole, "data": {}}),
        "no seed in a row": json.dumps({**whole, "data": {"rows": [{}, {}]}}),
        "a row less": json.dumps({**whole, "data": {"rows": rows[1:]}}),
        "a row twice": json.dumps({**whole, "data": {"rows": [rows[0], rows[0]]}}),
        "of another configuration": json.dumps({**whole, "manifest": other}),
        "of other seeds": json.dumps({**whole, "manifest": {**manifest, "seeds": [1]}}),
    }


@pytest.mark.parametrize(
    "fault", spoil('{"manifest": {"config": {}}, "data": {"rows": [0]}}')
)
def test_a_spoilt_file_is_reported_and_trained_again(fault, whole, trained, tmp_path):
    rows = run(small(), tmp_path)
    trained.clear()
    victim = tmp_path / "batches" / plan(small(), SEEDS)[1].file_name
    bad = spoil(victim.read_text())[fault]
    victim.write_bytes(bad if isinstance(bad, bytes) else bad.encode())
    reports = []
    assert run(small(), tmp_path, report=reports.append) == rows == whole[1]
    assert trained == [small()[1]]
    [report] = reports
    assert report == (
        f"{victim} does not hold the rows of its batch ({small()[1]}), left out"
    )
    assert run(small(), tmp_path) == rows


def test_reports_are_warnings_unless_asked_otherwise(tmp_path):
    [c] = small(router_lr=[1.0])
    run([c], tmp_path)
    (tmp_path / "batches" / files_in(tmp_path)[0]).write_text("")
    with pytest.warns(UserWarning, match="left out"):
        run_sweep([c], SEEDS, tmp_path, jobs=1)


def test_what_other_programs_leave_in_the_store_is_in_nobodys_way(whole, tmp_path):
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "notes.json").write_text("mine")
    [first, *_] = plan(small(), SEEDS)
    (tmp_path / "batches" / f"{first.file_name}.tmp").write_text("half a re")
    assert run(small(), tmp_path) == whole[1]
    assert (tmp_path / "batches" / "notes.json").read_text() == "mine"


REFUSED = {
    "no configuration": ({"configurations": []}, "at least one, got none"),
    "no seed": ({"seeds": []}, "seeds must hold at least one seed, got none"),
    "a seed twice": ({"seeds": [1, 2, 1]}, "seeds must differ, got [1, 2, 1]"),
    "a negative seed": ({"seeds": [0, -1]}, "seed must be at least 0, got -1"),
    "a huge seed": ({"seeds": [2**32]}, "seed must be less than 2**32"),
    "no job": ({"jobs": 0}, "jobs must be at least 1, got 0"),
    "an unknown device": ({"device": "tpu"}, "device must be cpu or cuda, got 'tpu'"),
    "a configuration twice": (
        {"configurations": [configure(steps=3), configure(steps=3)]},
        "configurations must differ, got twice: steps=3",
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_before_any_work(change, message, trained, tmp_path):
    options = {"configurations": small(), "seeds": SEEDS, "jobs": 1} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        run_sweep(folder=tmp_path / "out", **options)
    assert trained == []
    assert not (tmp_path / "out").exists()


def test_a_cluster_does_not_take_cuda(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match="device must be cpu on a cluster, got 'cuda'"):
        run(small(), tmp_path / "out", device="cuda", scheduler="tcp://127.0.0.1:1")
    assert not (tmp_path / "out").exists()


def test_a_training_that_fails_is_named_and_keeps_what_was_finished(
    monkeypatch, tmp_path
):
    real = sweep.data_of_runs

    def data_of_runs(config, *rest):
        if config.sigma_p == 9.0:
            raise MemoryError("no room")
        return real(config, *rest)

    monkeypatch.setattr(sweep, "data_of_runs", data_of_runs)
    configurations = small(sigma_p=[1.0, 9.0, 2.0])
    name = str(configurations[1])
    assert "sigma_p=9.0" in name
    message = f"^{re.escape(name)} failed: MemoryError: no room$"
    with pytest.raises(SweepError, match=message):
        run(configurations, tmp_path)
    assert len(files_in(tmp_path)) == 1
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_leaves_what_was_there(jobs, monkeypatch, whole, tmp_path):
    run(small(), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*")}

    def save_result(result, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(sweep, "save_result", save_result)
    with pytest.raises(OSError, match="No space left on device"):
        run(small(router_lr=[0.1, 0.3, 0.5, 0.7]), tmp_path, jobs=jobs)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.*")} == before
    monkeypatch.undo()
    assert run(small(), tmp_path) == whole[1]


def test_a_folder_that_cannot_be_written_is_noticed_before_any_work(
    monkeypatch, trained, tmp_path
):
    def refused(**_):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        run(small(), tmp_path / "file")
    monkeypatch.setattr(sweep.tempfile, "TemporaryFile", refused)
    with pytest.raises(OSError, match="Permission denied"):
        run(small(), tmp_path)
    assert trained == []


@pytest.fixture
def gpu(monkeypatch):
    """Take the CPU for a GPU; return what its kernels trained, and if they fit."""
    found = types.SimpleNamespace(trained=[], fits=True)

    def train_fused(model, data, config):
        assert found.fits
        found.trained.append(config)
        return train(model, data, config)

    monkeypatch.setattr(fused, "fits", lambda *_: found.fits)
    monkeypatch.setattr(fused, "train_fused", train_fused)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A GPU")
    monkeypatch.setattr(torch.nn.Module, "to", lambda model, _: model)
    monkeypatch.setattr(PatchDataset, "to", lambda data, _: data)
    return found


def test_on_a_gpu_batches_are_trained_here_one_by_one_by_its_kernels(
    gpu, monkeypatch, trained, whole, tmp_path
):
    assert run(small(), tmp_path, device="cuda", jobs=8) == whole[1]
    assert trained == small()
    assert gpu.trained == [c.training for c in small()]
    stored = load_result(tmp_path / "batches" / files_in(tmp_path)[0]).manifest
    assert (stored["device"], stored["config"]["device"]) == ("A GPU", "cuda")


def test_where_the_kernels_do_not_fit_a_gpu_trains_as_usual(gpu, whole, tmp_path):
    gpu.fits = False
    assert run(small(), tmp_path, device="cuda") == whole[1]
    assert gpu.trained == []


def test_a_bar_counts_what_was_done_before(monkeypatch, tmp_path):
    def watched(values):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stderr", terminal)
        run(small(router_lr=values), tmp_path)
        lines = re.split(r"[\r\n]", terminal.getvalue())
        bars = [line for line in lines if line.startswith("sweep:")]
        return re.findall(r"\d+/\d+", bars[0] + bars[-1])

    assert watched([0.3, 3.0]) == ["0/2", "2/2"]
    assert watched([0.3, 1.0, 3.0]) == ["2/3", "3/3"]


def test_nobody_watches_no_bar(capfd, tmp_path):
    run(small(), tmp_path, jobs=2)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


SWEEP = [
    *("sweep", "--jobs", "1", "--seeds", "2"),
    *("--num-examples", "400", "--steps", "60", "--grid", "model=moe,single"),
    *("--grid", "router_lr=0.1,0.2,0.3,0.5,0.7,1,1.5,2,3,4"),
    *("--grid", "num_experts=2,4,8,16"),
]
NUM_BATCHES = 2 * 10 * 4


@pytest.mark.slow
def test_twenty_kills_at_any_moment_change_nothing(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call(main, [*SWEEP, "--out", str(whole)]) == 0
    moments = random.Random(20)

    def count():
        return len(list((killed / "batches").glob("*.json")))

    kills = 0
    while kills < 20:
        before = count()
        process = CONTEXT.Process(target=main, args=([*SWEEP, "--out", str(killed)],))
        process.start()
        wait_until(lambda p=process, n=before: not p.is_alive() or count() > n)
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            break  # it was finished
        kills += 1
    assert kills == 20
    assert count() < NUM_BATCHES
    command = [sys.executable, "-m", "moe_lib", *SWEEP, "--out", killed]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert done.stderr == b""
    table = (killed / "table.csv").read_bytes()
    assert table == (whole / "table.csv").read_bytes()
    lines = table.splitlines()
    assert len(lines) == len(set(lines)) == 1 + 2 * NUM_BATCHES
    assert count() == NUM_BATCHES


@pytest.mark.slow
def test_two_workers_of_a_cluster_change_no_bit(whole, tmp_path):
    folder, rows = whole
    (tmp_path / "cluster").mkdir()
    with cluster(tmp_path / "cluster", workers=2) as (address, _):
        assert run(small(), tmp_path, scheduler=address) == rows
    table = (tmp_path / "table.csv").read_bytes()
    assert table == (folder / "table.csv").read_bytes()
