from dataclasses import replace

import pytest
import torch

from moe_lib import fused, late
from moe_lib.late import BRANCHES, _first_below, _trace
from moe_lib.results import load_committed
from moe_lib.train import History


@pytest.fixture
def quick(monkeypatch):
    """Start after three steps on few examples, so that nothing is solved."""
    small = replace(late.setting(1), num_train=60, num_test=50)
    monkeypatch.setattr(late, "setting", lambda _: small)
    monkeypatch.setattr(late, "START", 3)
    late._start.cache_clear()
    yield
    late._start.cache_clear()


def test_branches_start_from_the_same_weights(quick):
    values = {
        branch.name: replace(branch, steps=4).run(range(2), "cpu")
        for branch in BRANCHES
    }
    starts = [v["start_accuracy"] for v in values.values()]
    assert starts == [starts[0]] * len(BRANCHES)
    again = replace(BRANCHES[0], steps=4).run(range(2), "cpu")
    assert again == values[BRANCHES[0].name]
    for v in values.values():
        assert v["seed"] == [0, 1]
        assert v["fell_at"] == [3, 3]  # unsolved from the start, hence no trace
        assert v["traces"] == []


@pytest.mark.parametrize("branch", BRANCHES, ids=lambda branch: branch.name)
def test_a_branch_trains_at_its_rates(branch, quick, monkeypatch):
    seen = []
    real = fused.train
    monkeypatch.setattr(
        fused, "train", lambda *args, **k: seen.append(args[2]) or real(*args, **k)
    )
    replace(branch, steps=2).run(range(1), "cpu")
    assert seen[0] == late.TrainConfig(steps=3)  # the start, at the usual rates
    assert (seen[1].expert_lr, seen[1].router_lr) == (
        branch.expert_lr,
        branch.router_lr,
    )
    assert seen[1].steps == 2


def test_branches_are_the_rates_of_their_names():
    rates = {branch.name: (branch.expert_lr, branch.router_lr) for branch in BRANCHES}
    assert rates == {
        "both go on": (0.01, 1.0),
        "router frozen": (0.01, 0.0),
        "experts frozen": (0.0, 1.0),
        "router ten times slower": (0.01, 0.1),
        "experts ten times slower": (0.001, 1.0),
    }


@pytest.mark.parametrize("change", [{"expert_lr": -1.0}, {"steps": 0}, {"seeds": 0}])
def test_a_branch_that_cannot_run_is_refused(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} must be"):
        replace(BRANCHES[0], **change)


def test_a_fall_is_the_first_step_below_99_percent():
    assert _first_below([1.0, 0.99, 0.98, 1.0, 0.5]) == 2
    assert _first_below([1.0, 0.99]) is None


def test_a_trace_counts_strays_and_errors():
    counts = torch.zeros(5, 1, 2, 3, dtype=torch.long)
    counts[..., 0, 0], counts[..., 1, 2] = 6, 4
    counts[3, 0] = torch.tensor([[5, 1, 0], [2, 0, 2]])
    history = History(
        loss=torch.arange(5.0)[:, None],
        accuracy=torch.tensor([1.0, 1.0, 0.9, 0.7, 1.0])[:, None].double(),
        dispatch_counts=counts,
    )
    trace = _trace(history, torch.arange(5.0)[:, None], 0, 2)
    assert trace["step"] == [300, 301, 302, 303, 304]
    assert trace["wrong"] == [0, 0, 1, 3, 0]
    assert trace["strays"] == [0, 0, 0, 1 + 2, 0]
    assert trace["loss"] == trace["router_step"] == [0, 1, 2, 3, 4]


def test_the_committed_falls_are_what_the_audit_says():
    cells = load_committed("late_falls").data["cells"]
    final = {name: e["values"]["test_accuracy"] for name, e in cells.items()}
    fallen = {name: sum(a < 99 for a in v) for name, v in final.items()}
    assert fallen["both go on"] >= 10
    assert fallen["router frozen"] == fallen["router ten times slower"] == 0
    assert fallen["experts ten times slower"] <= 3
    for trace in cells["both go on"]["values"]["traces"]:
        at = next(i for i, wrong in enumerate(trace["wrong"]) if wrong > 160)
        before = slice(max(0, at - 3), at)
        assert max(trace["wrong"][before]) < 160  # a few examples, then thousands
        assert max(trace["router_step"][at - 2 : at + 1]) > 10
