"""Results that outlive the run."""

import json
import os
from dataclasses import asdict

import pytest

from moe_lib import setting
from moe_lib.recipes import STRENGTHS
from moe_lib.results import (
    MANIFEST_KEYS,
    Result,
    load_committed,
    load_result,
    make_manifest,
    save_result,
)
from moe_lib.runs import MODELS
from tests import reference


def result(number=1.5):
    manifest = make_manifest({"steps": 3}, [0, 1], "cpu", wall_seconds=2)
    return Result(manifest, {"rows": [{"seed": 0, "accuracy": number}], "none": None})


def test_a_saved_result_reads_back_equal(tmp_path):
    path = tmp_path / "new" / "folder" / "table.json"
    saved = result()
    save_result(saved, path)
    assert load_result(path) == saved


def test_saving_again_replaces_the_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "table.json"
    save_result(result(1.0), path)
    save_result(result(2.0), path)
    assert load_result(path).data["rows"][0]["accuracy"] == 2.0
    assert os.listdir(tmp_path) == ["table.json"]


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch, error):
    path, old, new = tmp_path / "table.json", result(1.0), result(2.0)
    save_result(old, path)

    def interrupted(*_):
        raise error

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(type(error)):
        save_result(new, path)
    assert load_result(path) == old
    monkeypatch.undo()
    save_result(new, path)  # what the interrupted save left is in nobody's way
    assert load_result(path) == new
    assert os.listdir(tmp_path) == ["table.json"]


def test_a_manifest_says_what_made_the_numbers():
    manifest = result().manifest
    assert set(MANIFEST_KEYS) <= set(manifest)
    assert manifest["config"] == {"steps": 3}
    assert manifest["seeds"] == [0, 1]
    assert manifest["device"] == "CPU"
    assert set(manifest["versions"]) == {"python", "torch", "numpy"}
    assert manifest["wall_seconds"] == 2


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "table.json"
    save_result(result(), path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match=r"^path must hold a saved result, got .*json"):
        load_result(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n1,2\n",
        b"\xff\xfe\x00",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b'{"manifest": {}}',
        b'{"manifest": null, "data": {}}',
    ],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^path must hold a saved result, got .*json"):
        load_result(path)


@pytest.mark.parametrize("key", MANIFEST_KEYS)
def test_a_manifest_that_lacks_a_key_is_refused(tmp_path, key):
    path, saved = tmp_path / "table.json", result()
    del saved.manifest[key]
    path.write_text(json.dumps({"manifest": saved.manifest, "data": saved.data}))
    message = rf"^path must hold a manifest with \['{key}'\], got .*table\.json$"
    with pytest.raises(ValueError, match=message):
        load_result(path)


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_result(tmp_path / "nothing.json")


def test_an_unknown_committed_result_is_refused():
    with pytest.raises(ValueError, match=r"^name must be one of .*, got 'nothing'$"):
        load_committed("nothing")


def stale(file, run, present):
    """Say which settings of a run in a file are not the present ones."""
    present = json.loads(json.dumps(present))
    assert run["config"].keys() == present.keys()
    return [
        f"{file}, {run['model']}: {part}.{key} was {was}, is {now}"
        for part in present
        for key in present[part] | run["config"][part]
        if (was := run["config"][part].get(key, "missing"))
        != (now := present[part].get(key, "missing"))
    ]


def test_a_stale_result_is_named_with_what_changed():
    run = {"model": "moe", "config": {"data": {"sigma_p": 1.0, "old": 2, "dim": 50}}}
    assert stale("a.json", run, {"data": {"sigma_p": 1.5, "dim": 50, "new": None}}) == [
        "a.json, moe: data.sigma_p was 1.0, is 1.5",
        "a.json, moe: data.new was missing, is None",
        "a.json, moe: data.old was 2, is missing",
    ]


@pytest.mark.parametrize("name", ["1", "2", "3", "4"])
def test_a_committed_table_was_made_with_the_present_settings(name):
    runs = load_committed(f"table_setting{name}").data["models"]
    assert [run["model"] for run in runs] == list(MODELS)
    for run in runs:
        spec = MODELS[run["model"]]
        expected = {
            "data": asdict(setting(name)),
            "model": asdict(spec.model),
            "train": asdict(spec.train),
        }
        assert stale(f"table_setting{name}.json", run, expected) == []
        assert [row["seed"] for row in run["rows"]] == list(range(10))


def test_the_committed_strengths_differ_from_setting_1_in_gamma_only():
    runs = load_committed("strength_setting1").data["models"]
    seen = [(run["config"]["data"]["gamma"][1], run["model"]) for run in runs]
    assert seen == [(g, m) for g in STRENGTHS for m in ("moe_linear", "moe_cubic")]
    for run in runs:
        data = {"data": {**asdict(setting(1)), "gamma": run["config"]["data"]["gamma"]}}
        made = {**run, "config": {"data": run["config"]["data"]}}
        assert stale("strength_setting1.json", made, data) == []


@pytest.mark.parametrize("name", ["1", "2"])
def test_committed_widths_were_found_with_the_present_settings(name):
    config = load_committed(f"widths_setting{name}").manifest["config"]
    made = {"model": "single", "config": {"data": config["data"]}}
    present = {"data": asdict(setting(name))}
    assert stale(f"widths_setting{name}.json", made, present) == []


@pytest.mark.parametrize("name", ["1", "2", "3", "4"])
def test_a_committed_entropy_is_that_of_its_counts(name):
    for run in load_committed(f"table_setting{name}").data["models"][2:]:
        for row in run["rows"]:
            entropy = reference.dispatch_entropy(row["dispatch_counts"])
            assert row["dispatch_entropy"] == pytest.approx(entropy, abs=1e-6)
