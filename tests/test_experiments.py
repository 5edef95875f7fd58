import math
from dataclasses import asdict, replace

import pytest

from moe_lib import DataConfig, ModelConfig, cells
from moe_lib.additive import LOSSES
from moe_lib.authors import AUTHORS, PAPER
from moe_lib.authors_model import RecipeModel
from moe_lib.authors_train import evaluate_recipe, train_recipe
from moe_lib.cells import Cell, cell_data
from moe_lib.config import setting
from moe_lib.experiments import EXPERIMENTS
from moe_lib.probes import Probe
from moe_lib.results import load_committed
from moe_lib.runs import MODELS, data_of_runs
from moe_lib.theory import additive_ceiling


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_committed_results_are_of_the_cells_that_stand_here(name):
    cells = EXPERIMENTS[name]
    assert len({cell.name for cell in cells}) == len(cells)
    committed = load_committed(name).data["cells"]
    assert [*committed] == [cell.name for cell in cells]
    for cell in cells:
        entry = committed[cell.name]
        assert entry["config"] == asdict(cell)
        assert entry["values"]["seed"] == list(range(cell.seeds))
        for quantity, values in entry["values"].items():
            if quantity not in ("entropy_curve", "traces"):
                assert len(values) == cell.seeds, (cell.name, quantity)


def test_the_table_has_every_mixture_with_both_recipes_on_both_data():
    cells = EXPERIMENTS["authors_table"]
    found = {(c.setting, c.activation, c.data, c.recipe.gate) for c in cells}
    assert len(found) == len(cells) == 4 * 2 * 2 * 2
    assert {c.seeds for c in cells} == {10}


def test_the_factorial_crosses_all_with_all():
    cells = EXPERIMENTS["audit_factorial"]
    found = {
        (c.setting, c.activation, c.recipe.loss, c.recipe.gate, c.recipe.norm)
        for c in cells
    }
    assert len(found) == len(cells) == 2 * 2 * 2 * 2 * 2
    assert {c.seeds for c in cells} == {20}
    assert {setting(c.setting).num_train for c in cells} == {16_000}


@pytest.mark.parametrize("s", "12")
def test_one_change_at_a_time(s):
    """Every cell differs from its end in what its name says, and in nothing else."""
    ends = {"paper": asdict(PAPER) | {"steps": 501}, "authors": asdict(AUTHORS)}
    for cell in EXPERIMENTS[f"audit_factors_setting{s}"]:
        assert cell.setting == s
        end, change = cell.name.split("from ")[1].split(": ")
        changed = {k for k, v in asdict(cell.recipe).items() if v != ends[end][k]}
        assert (changed == set()) == (change == "nothing")
        tied = {"data_scale", "expert_lr", "router_lr", "init_scale"}
        pairs = [{"heads", "loss"}, {"bias", "norm"}, {"loss", "early_stop"}]
        pairs += [{"steps", "early_stop"}, tied]
        assert len(changed) <= 1 or changed in pairs, cell.name


def test_the_paper_cell_of_the_table_is_the_committed_table():
    """The recipe's own loop on the paper's side is the path of the main table."""
    cells = load_committed("authors_table").data["cells"]
    for s in "1234":
        models = load_committed(f"table_setting{s}").data["models"]
        rows = {m["model"]: m["rows"] for m in models}
        for activation in ("linear", "cubic"):
            cell = cells[f"setting {s}, {activation}, paper, fresh data"]["values"]
            for seed, row in enumerate(rows[f"moe_{activation}"]):
                assert abs(cell["clean_accuracy"][seed] - row["test_accuracy"]) < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setting": "5"}, "setting must be one of 1, 2, 3, 4, verify, got '5'"),
        ({"data": "new"}, "data must be one of fresh, authors, got 'new'"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(change, message):
    fields = {"name": "x", "setting": "1", "recipe": PAPER, "activation": "cubic"}
    with pytest.raises(ValueError, match=message):
        Cell(**{**fields, **change})


def test_a_cell_says_what_training_and_evaluation_say(monkeypatch):
    """Each quantity by itself: noisy and clean, training set and test set."""
    small = DataConfig(num_train=300, num_test=200)
    monkeypatch.setattr(cells, "setting", lambda _: small)
    recipe = replace(AUTHORS, steps=4, early_stop="none")
    cell = Cell(
        name="x", setting="1", recipe=recipe, activation="cubic", seeds=3, curves=True
    )
    cells.cell_data.cache_clear()
    got = cell.run(range(1, 3), "cpu")
    cells.cell_data.cache_clear()
    train_data, test_data = data_of_runs(small, [1, 2], "cpu")
    model = RecipeModel(recipe, ModelConfig(), dim=50, seeds=[1, 2])
    history = train_recipe(model, train_data)
    noisy = evaluate_recipe(model, test_data, noisy=True)
    clean = evaluate_recipe(model, test_data)
    expected = {
        "test_accuracy": 100 * noisy.accuracy,
        "clean_accuracy": 100 * clean.accuracy,
        "train_accuracy": 100 * evaluate_recipe(model, train_data).accuracy,
        "dispatch_entropy": history.dispatch_entropy[-1],
        "clean_entropy": clean.dispatch_entropy,
        "steps": history.steps,
        "live_experts": clean.live_experts,
    }
    assert got["seed"] == [1, 2]
    for quantity, value in expected.items():
        assert got[quantity] == pytest.approx(value.tolist(), abs=1e-4), quantity
    assert len({tuple(got[q]) for q in expected}) == len(expected)  # none is another
    assert got["entropy_curve"][0] == pytest.approx(
        history.dispatch_entropy[0].tolist(), abs=1e-4
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "sigmoid"}, "activation must be one of"),
        ({"num_filters": 0}, "num_filters must be at least 1, got 0"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
    ],
)
def test_a_cell_that_cannot_run_is_refused(change, message):
    fields = {"name": "x", "setting": "1", "recipe": PAPER, "activation": "cubic"}
    with pytest.raises(ValueError, match=message):
        Cell(**{**fields, **change})


def test_cells_share_their_data():
    first = cell_data("1", "authors", range(2), "cpu")
    assert cell_data("1", "authors", range(2), "cpu") is first
    fresh = cell_data("1", "fresh", range(2), "cpu")
    assert fresh[0].x.shape == (2, 16_000, 4, 50)
    cell_data.cache_clear()


def test_the_curves_start_at_random_routing():
    for entry in load_committed("authors_entropy").data["cells"].values():
        curve = entry["values"]["entropy_curve"]
        assert len(curve) == 101
        assert all(abs(value - math.log(4)) < 0.01 for value in curve[0])


def changes(cell, base):
    """Say in which fields a cell differs from another, but for its name."""
    found, usual = asdict(cell), asdict(base)
    return {k: v for k, v in found.items() if v != usual[k] and k != "name"}


FIELDS = {
    "expert rate": "expert_lr",
    "router rate": "router_lr",
    "experts": "num_experts",
    "scale": "data_scale",
    "clusters": "num_clusters",
}


def test_the_law_of_timing_changes_one_thing_at_a_time():
    plain = Probe(name="x", steps=900, seeds=10)
    values = {}
    for cell in EXPERIMENTS["timing_law"]:
        word, _, value = cell.name.rpartition(" ")
        base = replace(plain, num_experts=16) if word == "clusters" else plain
        field = FIELDS[word]
        assert getattr(cell, field) == float(value)
        assert changes(cell, base).keys() <= {field}
        values.setdefault(field, []).append(float(value))
    assert sum(cell.seeds for cell in EXPERIMENTS["timing_law"]) >= 200
    assert values.keys() == set(FIELDS.values())
    for field, found in values.items():
        assert found == sorted(set(found))
        assert len(found) >= 5
        assert getattr(plain, field) in found  # every line passes the usual point
    # the rates reach over a factor of 16 and of 10,000
    assert values["expert_lr"][-1] / values["expert_lr"][0] >= 16
    assert values["router_lr"][-1] / values["router_lr"][0] >= 10_000


def test_forecasts_change_one_thing_at_a_time_for_200_seeds():
    usual, seen = Probe(name="x"), []
    fields = {"sigma_0": "init_scale", "examples": "num_train", "dimensions": "dim"}
    for cell in EXPERIMENTS["specialists"]:
        assert cell.seeds >= 200
        word, value = cell.name.split()
        assert getattr(cell, fields[word]) == float(value)
        assert changes(cell, usual).keys() <= {fields[word]}
        seen.append(fields[word])
    assert all(seen.count(field) >= 3 for field in fields.values())


def test_coverage_adds_experts_for_200_seeds():
    usual, sizes = Probe(name="x"), {}
    for cell in EXPERIMENTS["coverage"]:
        assert cell.seeds >= 200
        assert cell.steps == 600
        varied = changes(cell, usual).keys() - {"steps"}
        assert varied <= {"num_clusters", "num_experts"}
        k, m = cell.num_clusters, cell.num_experts
        assert cell.name == f"{k} clusters, {m} experts"
        sizes.setdefault(k, []).append(m)
    assert sizes.keys() == {4, 8}
    for k, numbers in sizes.items():
        assert numbers[0] == k
        assert numbers == sorted(set(numbers))


def test_the_census_is_of_the_mixtures_of_the_main_table():
    census = EXPERIMENTS["information"]
    found = [(cell.setting, cell.activation) for cell in census]
    assert sorted(found) == sorted((s, a) for s in "1234" for a in ("linear", "cubic"))
    values = load_committed("information").data["cells"]
    for cell in census:
        assert cell.steps == MODELS[f"moe_{cell.activation}"].train.steps
        assert cell.name == f"setting {cell.setting}, {cell.activation}"
        models = load_committed(f"table_setting{cell.setting}").data["models"]
        rows = {m["model"]: m["rows"] for m in models}[f"moe_{cell.activation}"]
        there = [row["test_accuracy"] for row in rows]
        got = values[cell.name]["values"]
        assert got["test_accuracy"] == pytest.approx(there, abs=0.2)


def test_what_choices_tell_obeys_the_rules_of_information():
    cells = load_committed("information").data["cells"].values()
    for told in (cell["values"] for cell in cells):
        for run in range(len(told["seed"])):
            value = {name: told[name][run] for name in told}
            # 16,000 examples: the entropy of the clusters is ln 4 but for 0.001
            assert value["cluster"] + value["dispatch_entropy"] == pytest.approx(
                math.log(4), abs=2e-3
            )
            for part in ("cluster", "label"):
                assert value[part] <= value["cluster and label"] + 1e-4
            for part in ("cluster and label", "noise"):
                assert value[part] <= value["all four"] + 1e-4
            assert 0 <= value["all four"] <= math.log(8)


def test_committed_probes_are_possible():
    for name in ("timing_law", "specialists", "coverage"):
        committed = load_committed(name).data["cells"]
        for cell in EXPERIMENTS[name]:
            values = committed[cell.name]["values"]
            assert all(0 < step <= cell.steps for step in values["half_step"])
            clusters = set(range(cell.num_clusters))
            for quantity in ("foretold", "committed", "took"):
                experts = values[quantity]
                assert {len(row) for row in experts} == {cell.num_experts}
                assert {c for row in experts for c in row} - {-1} <= clusters
            assert all(c >= 0 for row in values["foretold"] for c in row)


def test_the_same_cell_of_two_experiments_has_the_same_runs():
    """The usual point is in all of them; its steps differ, which routing forgets."""
    one = load_committed("specialists").data["cells"]["sigma_0 0.001"]["values"]
    other = load_committed("coverage").data["cells"]["4 clusters, 8 experts"]["values"]
    third = load_committed("timing_law").data["cells"]["scale 1"]["values"]
    for quantity in ("half_step", "foretold", "committed"):
        assert one[quantity] == other[quantity], quantity
        assert one[quantity][:10] == third[quantity], quantity


def test_sums_of_patch_scores_are_tried_with_both_losses_and_ranges():
    cells = EXPERIMENTS["additive_training"]
    for cell in cells:
        name = (
            f"{cell.activation}, {cell.layers} x {cell.width}, {cell.loss}, "
            f"gamma {cell.strongest:g}"
        )
        assert cell.name in (name, f"{name}, long")
    usual = [c for c in cells if c.strongest == 3 and c.steps == 4000]
    kinds = {(c.activation, c.layers) for c in usual}
    assert len(kinds) >= 5
    assert {(*kind, loss) for kind in kinds for loss in LOSSES} == {
        (c.activation, c.layers, c.loss) for c in usual
    }
    ranges = {c.strongest for c in cells}
    assert len(ranges) >= 6
    for strongest in ranges:
        nets = {(c.layers, c.loss) for c in cells if c.strongest == strongest}
        assert nets >= {(3, "errors"), (2, "logistic")}
    assert all(c.num_examples == 2**20 for c in cells)


def test_no_sum_of_patch_scores_is_above_the_ceiling():
    """But for chance: a million test examples, 0.035 points a standard error."""
    committed = load_committed("additive_training").data["cells"]
    for cell in EXPERIMENTS["additive_training"]:
        ceiling = 100 * additive_ceiling(cell.data())
        best = max(committed[cell.name]["values"]["test_accuracy"])
        assert 70 < best < ceiling + 4 * 0.035, cell.name
