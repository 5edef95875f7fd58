"""Probes and censuses against training and counting by hand."""

import math
from dataclasses import asdict, replace

import jaxtyping
import pytest
import torch
from sklearn.metrics import mutual_info_score

from moe_lib import DataConfig, ModelConfig, MoE, TrainConfig, make_data, stack_runs
from moe_lib import probes as module
from moe_lib.diagnostics import GROUPS, information
from moe_lib.probes import Census, Probe
from moe_lib.train import evaluate, train
from tests import reference

SMALL = DataConfig(num_clusters=2, dim=8, num_train=150, num_test=400)
TINY = Probe(
    name="tiny",
    num_clusters=2,
    dim=8,
    num_train=150,
    num_experts=6,
    init_scale=0.01,
    expert_lr=0.05,
    router_lr=20.0,
    steps=60,
    seeds=3,
)


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    """Keep test sets small, and what was cached out of other tests."""
    monkeypatch.setattr(module, "setting", lambda _: SMALL)
    module._data.cache_clear()
    yield
    module._data.cache_clear()


def data_of(config, seeds):
    pairs = [make_data(config, seed) for seed in seeds]
    return [stack_runs(list(side)) for side in zip(*pairs, strict=True)]


def pointing(model, signals):
    """The cluster that each expert's best filter points to, loop by loop."""
    clusters = []
    for s, experts in enumerate(model.expert_weight.detach()):
        row = []
        for filters in experts:
            best = [max((w * v).sum().item() for w in filters) for v in signals[s]]
            row.append(best.index(max(best)))
        clusters.append(row)
    return clusters


def by_hand(data_config, seeds, *, scale, experts, rates, steps):
    """What a probe should say, with the readable training loop."""
    train_data, test_data = data_of(data_config, seeds)
    signals = train_data.signals.feature
    sizes = ModelConfig(num_experts=experts, num_filters=16, init_scale=scale)
    model = MoE(sizes, dim=8, seeds=seeds)
    seen = {}
    history = train(
        model,
        train_data,
        TrainConfig(steps=steps, expert_lr=rates[0], router_lr=rates[1]),
        callback=lambda step, model, _: seen.update({step: pointing(model, signals)}),
    )
    half = []
    for run in range(len(seeds)):
        entropies = [
            reference.dispatch_entropy(counts[run].tolist())
            for counts in history.dispatch_counts
        ]
        low = [t for t, h in enumerate(entropies) if h < math.log(2) / 2]
        half.append(low[0] if low else steps)
    test = evaluate(model, test_data)
    took = []
    for counts in test.dispatch_counts.tolist():
        loads = [sum(row[m] for row in counts) for m in range(experts)]
        shares = [[row[m] for row in counts] for m in range(experts)]
        took.append(
            [
                share.index(max(share)) if load >= 4 else -1
                for load, share in zip(loads, shares, strict=True)
            ]
        )
    return {
        "seed": [*seeds],
        "half_step": half,
        "test_accuracy": [100 * a for a in test.accuracy.tolist()],
        "dispatch_entropy": test.dispatch_entropy.tolist(),
        "foretold": seen[0],
        "committed": seen[40],
        "took": took,
    }


def agrees(got, expected):
    assert [*got] == [*expected]
    for name, values in expected.items():
        close = name in ("test_accuracy", "dispatch_entropy")
        assert got[name] == (pytest.approx(values, abs=1e-4) if close else values), name


def test_a_probe_says_what_training_by_hand_says():
    got = TINY.run(range(1, 4), "cpu")
    agrees(
        got,
        by_hand(
            SMALL,
            range(1, 4),
            scale=0.01,
            experts=6,
            rates=(0.05, 20.0),
            steps=60,
        ),
    )
    # all cases are there: routing turns early, late and never, some experts idle
    first, second, never = sorted(got["half_step"])
    assert 0 < first < second < never == 60
    assert {c for row in got["took"] for c in row} == {-1, 0, 1}
    assert got["foretold"] != got["committed"]


def test_a_probe_scales_all_patches():
    probe = replace(TINY, data_scale=2.0, expert_lr=0.02, router_lr=1.0, steps=41)
    double = replace(
        SMALL, alpha=(1.0, 4.0), beta=(2.0, 4.0), gamma=(1.0, 6.0), sigma_p=2.0
    )
    assert probe.data() == double
    agrees(
        probe.run(range(2), "cpu"),
        by_hand(double, range(2), scale=0.01, experts=6, rates=(0.02, 1.0), steps=41),
    )


@pytest.mark.parametrize("steps", [40, 55])
def test_experts_are_asked_before_training_and_at_step_40(steps, monkeypatch):
    asked, real = [], module.alignments

    def spy(model, signals):
        asked.append(model.expert_weight.detach().clone())
        return real(model, signals)

    monkeypatch.setattr(module, "alignments", spy)
    replace(TINY, steps=steps).run(range(1), "cpu")
    train_data, _ = data_of(SMALL, [0])
    plan = replace(TINY, steps=40)
    model = MoE(plan.model(), dim=8, seeds=[0])
    expected = [model.expert_weight.detach().clone()]
    train(model, train_data, plan.training())
    expected.append(model.expert_weight.detach())
    torch.testing.assert_close(asked, expected)


def test_routing_that_never_turns_is_said_by_the_number_of_steps():
    still = replace(TINY, router_lr=0.0, steps=40)
    assert still.run(range(2), "cpu")["half_step"] == [40, 40]


def test_a_seed_is_the_same_alone_and_among_others():
    together = TINY.run(range(3), "cpu")
    alone = TINY.run(range(1, 2), "cpu")
    agrees(alone, {name: values[1:2] for name, values in together.items()})


def test_probes_of_equal_data_share_them():
    data = module._data(TINY.data(), range(2), "cpu")
    other = replace(TINY, router_lr=1.0, num_experts=3)
    assert module._data(other.data(), range(2), "cpu") is data


def test_a_probe_is_setting_1_but_for_what_it_names(monkeypatch):
    monkeypatch.undo()
    probe = Probe(name="x")
    assert probe.data() == DataConfig()
    assert probe.model() == ModelConfig(num_experts=8, num_filters=16)
    assert probe.training() == TrainConfig(steps=300)
    other = Probe(name="x", num_clusters=8, dim=32, num_train=99)
    changed = {
        k for k, v in asdict(other.data()).items() if v != asdict(probe.data())[k]
    }
    assert changed == {"num_clusters", "dim", "num_train"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data_scale": 0.0}, ValueError, "data_scale must be finite and positive"),
        ({"data_scale": math.nan}, ValueError, "data_scale must be finite and posit"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1, got 0"),
        ({"seeds": 1.5}, TypeError, "seeds must be an integer, got 1.5"),
        ({"dim": 3}, ValueError, r"dim must be at least 2 \* num_clusters = 4 .*got 3"),
        ({"num_clusters": 1}, ValueError, "num_clusters must be at least 2, got 1"),
        ({"num_train": 0}, ValueError, "num_train must be at least 1, got 0"),
        ({"num_experts": 0}, ValueError, "num_experts must be at least 1, got 0"),
        ({"init_scale": -1.0}, ValueError, "init_scale must be finite and non-neg"),
        ({"expert_lr": -1.0}, ValueError, "expert_lr must be finite and non-neg"),
        ({"router_lr": math.inf}, ValueError, "router_lr must be finite and non-neg"),
        ({"steps": 0}, ValueError, "steps must be at least 40, got 0"),
    ],
)
def test_a_probe_that_cannot_run_is_refused(change, error, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(error, match=f"^{message}"):
        replace(TINY, **change)


def test_a_probe_too_short_to_look_at_step_40_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 40, got 39"):
        replace(TINY, steps=39)


CENSUS = Census(name="x", setting="1", activation="cubic", steps=50, seeds=2)


@pytest.mark.parametrize("activation", ["linear", "cubic"])
def test_a_census_says_what_counting_by_hand_says(activation):
    got = replace(CENSUS, activation=activation).run(range(1, 3), "cpu")
    train_data, test_data = data_of(SMALL, [1, 2])
    model = MoE(ModelConfig(activation=activation), dim=8, seeds=[1, 2])
    train(model, train_data, TrainConfig(steps=50))
    test = evaluate(model, test_data)
    assert [*got] == ["seed", "test_accuracy", "dispatch_entropy", *GROUPS]
    assert got["seed"] == [1, 2]
    accuracy, entropy = 100 * test.accuracy, test.dispatch_entropy
    assert got["test_accuracy"] == pytest.approx(accuracy.tolist(), abs=1e-4)
    assert got["dispatch_entropy"] == pytest.approx(entropy.tolist(), abs=1e-4)
    told = information(test_data, test.expert_index, 8)
    for name in GROUPS:
        assert got[name] == pytest.approx(told[name].tolist(), abs=1e-4)
    for run in range(2):
        chosen = test.expert_index[run]
        for name, group in (("cluster", test_data.cluster), ("label", test_data.y)):
            slow = mutual_info_score(group[run].long(), chosen)
            assert got[name][run] == pytest.approx(slow, abs=1e-4)
    assert min(got["all four"]) > 0.05
    assert not torch.equal(test.expert_index[0], test.expert_index[1])


def test_a_census_asks_the_setting_of_its_name(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "setting", lambda s: asked.append(s) or SMALL)
    replace(CENSUS, setting="3", steps=1).run(range(1), "cpu")
    assert set(asked) == {"3"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setting": "5"}, "setting must be one of 1, 2, 3, 4, verify, got '5'"),
        ({"activation": "square"}, "activation must be one of"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
    ],
)
def test_a_census_that_cannot_be_taken_is_refused(change, message, monkeypatch):
    monkeypatch.undo()  # the real settings
    with pytest.raises(ValueError, match=message):
        replace(CENSUS, **change)
