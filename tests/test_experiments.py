import math
from dataclasses import asdict, replace

import pytest

from moe_lib import DataConfig, ModelConfig, cells
from moe_lib.authors import AUTHORS, PAPER
from moe_lib.authors_model import RecipeModel
from moe_lib.authors_train import evaluate_recipe, train_recipe
from moe_lib.cells import Cell, cell_data
from moe_lib.config import setting
from moe_lib.experiments import EXPERIMENTS
from moe_lib.results import load_committed
from moe_lib.runs import data_of_runs


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
