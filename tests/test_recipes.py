"""Recipes: each is the library's own train and evaluate, written down as rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moe_lib import (
    ModelConfig,
    SingleExpert,
    TrainConfig,
    evaluate,
    make_data,
    stack_runs,
    train,
)
from moe_lib.data import PatchRole
from moe_lib.diagnostics import accuracy_when_hidden
from moe_lib.recipes import (
    STRENGTHS,
    WIDTHS,
    four_model_table,
    noise_strength,
    single_widths,
)
from moe_lib.runs import CURVE_EVERY, MODELS, ModelRun, train_model
from tests import reference
from tests.toys import data_config

CONFIG = data_config(num_clusters=2, dim=8, num_train=60, num_test=50)
SEEDS, STEPS = [2, 5], 2 * CURVE_EVERY + 5
SINGLES, MIXTURES = ("single_linear", "single_cubic"), ("moe_linear", "moe_cubic")


@pytest.fixture(scope="module")
def runs():
    table = four_model_table(CONFIG, SEEDS, steps=STEPS)
    return {run.model: run for run in table}


def test_the_table_has_the_four_models_in_order(runs):
    assert tuple(runs) == SINGLES + MIXTURES == tuple(MODELS)


def test_the_table_is_yielded_row_by_row():
    table = four_model_table(CONFIG, SEEDS, steps=1)
    assert next(table).model == "single_linear"


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_those_of_train_and_evaluate(runs, name):
    spec = MODELS[name]
    pairs = [make_data(CONFIG, seed) for seed in SEEDS]
    training, test = (stack_runs(part) for part in zip(*pairs, strict=True))
    model = spec.model_class(spec.model, dim=8, seeds=SEEDS)
    config = type(spec.train)(
        steps=STEPS,
        expert_lr=spec.train.expert_lr,
        router_lr=spec.train.router_lr,
    )
    train(model, training, config)
    seen, fitted = evaluate(model, test), evaluate(model, training)
    for run, (seed, row) in enumerate(zip(SEEDS, runs[name].rows, strict=True)):
        assert row["seed"] == seed
        assert row["test_accuracy"] == pytest.approx(100 * seen.accuracy[run].item())
        assert row["train_accuracy"] == pytest.approx(
            100 * fitted.accuracy[run].item(), abs=1e-4
        )
        assert row["test_loss"] == pytest.approx(seen.loss[run].item(), abs=1e-6)
        if name in MIXTURES:
            counts = seen.dispatch_counts[run].tolist()
            assert row["dispatch_counts"] == counts
            assert row["dispatch_entropy"] == pytest.approx(
                reference.dispatch_entropy(counts), abs=1e-6
            )


@pytest.mark.parametrize("name", MIXTURES)
def test_rows_name_the_cluster_of_each_expert_and_what_foretold_it(runs, name):
    spec = MODELS[name]
    for seed, row in zip(SEEDS, runs[name].rows, strict=True):
        counts = np.array(row["dispatch_counts"])
        took = np.where(counts.sum(axis=0) > 0, counts.argmax(axis=0), -1)
        assert row["expert_cluster"] == took.tolist()
        weight = spec.model_class(spec.model, dim=8, seeds=[seed]).expert_weight[0]
        feature = make_data(CONFIG, seed)[0].signals.feature
        best = [[max((w @ v).item() for w in e) for v in feature] for e in weight]
        assert row["foretold_cluster"] == np.argmax(best, axis=1).tolist()


@pytest.mark.parametrize("name", SINGLES)
def test_a_single_expert_has_no_dispatch(runs, name):
    run = runs[name]
    assert all(row.get("dispatch_entropy") is None for row in run.rows)
    assert run.curves.get("dispatch_entropy") is None
    summary = run.summary()
    assert summary["dispatch_entropy_mean"] is summary["dispatch_entropy_sd"] is None


@pytest.mark.parametrize("name", MODELS)
def test_curves_have_a_value_for_each_point_and_seed_and_end_at_the_rows(runs, name):
    curves, rows = runs[name].curves, runs[name].rows
    names = ["test_accuracy"] + ["dispatch_entropy"] * (name in MIXTURES)
    assert curves["step"] == [0, CURVE_EVERY, 2 * CURVE_EVERY, STEPS]
    for key in names:
        assert np.shape(curves[key]) == (4, 2)
        final = [row[key] for row in rows]
        np.testing.assert_allclose(curves[key][-1], final, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_curve_starts_at_ln_2_and_stands_before_each_step(runs, name):
    losses = runs[name].curves["train_loss"]
    assert np.shape(losses) == (3, 2)
    np.testing.assert_allclose(losses[0], np.log(2), atol=0.02)


def test_a_summary_is_the_mean_and_the_population_deviation_over_seeds():
    accuracies, entropies = [90.0, 94.0, 98.0], [0.5, 0.1, 0.0]
    rows = [
        {"seed": s, "test_accuracy": a, "dispatch_entropy": e}
        for s, (a, e) in enumerate(zip(accuracies, entropies, strict=True))
    ]
    summary = ModelRun("moe_cubic", {}, rows, {}).summary()
    assert summary == pytest.approx(
        {
            "model": "moe_cubic",
            "test_accuracy_mean": np.mean(accuracies),
            "test_accuracy_sd": np.std(accuracies, ddof=0),
            "dispatch_entropy_mean": np.mean(entropies),
            "dispatch_entropy_sd": np.std(entropies, ddof=0),
        }
    )


def test_the_deviation_of_one_seed_is_zero():
    rows = [{"seed": 0, "test_accuracy": 90.0, "dispatch_entropy": 0.5}]
    assert ModelRun("moe_cubic", {}, rows, {}).summary()["test_accuracy_sd"] == 0


def test_steps_replace_the_model_s_own(runs):
    assert all(run.config["train"]["steps"] == STEPS for run in runs.values())
    assert all(run.config["data"]["num_train"] == 60 for run in runs.values())


def test_singles_have_as_many_filters_as_all_experts_together():
    for kind in ("linear", "cubic"):
        mixture = MODELS[f"moe_{kind}"].model
        together = mixture.num_experts * mixture.num_filters
        assert MODELS[f"single_{kind}"].model.num_filters == together


def test_a_recipe_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    train_model("moe_cubic", CONFIG, [0], steps=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_strength_trains_both_mixtures_at_every_strength():
    found = list(noise_strength(CONFIG, [2], steps=2))
    seen = [(run.model, run.config["data"]["gamma"]) for run in found]
    low = CONFIG.gamma[0]
    assert seen == [(name, (low, high)) for high in STRENGTHS for name in MIXTURES]


@pytest.mark.parametrize("name", MIXTURES)
def test_rows_hold_the_accuracy_with_the_centre_hidden(runs, name):
    spec = MODELS[name]
    for seed, row in zip(SEEDS, runs[name].rows, strict=True):
        training, test = make_data(CONFIG, seed)
        model = spec.model_class(spec.model, dim=8, seeds=[seed])
        train(model, training, replace(spec.train, steps=STEPS))
        for part in ("router", "experts"):
            left = accuracy_when_hidden(model, test, PatchRole.CENTER, hidden_from=part)
            found = row[f"center_hidden_from_{part}"]
            assert found == pytest.approx(100 * left.item(), abs=3)  # one example


def test_the_loss_curve_belongs_to_its_seed(runs):
    spec = MODELS["moe_cubic"]
    for run, seed in enumerate(SEEDS):
        model = spec.model_class(spec.model, dim=8, seeds=[seed])
        past = train(
            model, make_data(CONFIG, seed)[0], replace(spec.train, steps=STEPS)
        )
        stored = [point[run] for point in runs["moe_cubic"].curves["train_loss"]]
        np.testing.assert_allclose(stored, past.loss[::CURVE_EVERY, 0], atol=2e-3)


def test_the_rates_are_those_that_the_book_states():
    for spec in MODELS.values():
        assert (spec.train.expert_lr, spec.train.router_lr) == (0.01, 1.0)
        assert spec.model.init_scale == 1e-3


def test_widths_are_trained_by_adam_on_the_training_set():
    rows = single_widths(CONFIG, SEEDS, steps=30)
    assert len(rows) == 2 * len(WIDTHS) * len(SEEDS)
    pairs = [make_data(CONFIG, seed) for seed in SEEDS]
    training, test = (stack_runs(part) for part in zip(*pairs, strict=True))
    for activation, lr in (("linear", 0.003), ("cubic", 0.01)):
        size = ModelConfig(
            num_filters=80, activation=activation, init_scale=(3 * CONFIG.dim) ** -0.5
        )
        model = SingleExpert(size, dim=CONFIG.dim, seeds=SEEDS)
        adam = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=5e-4)
        train(model, training, TrainConfig(steps=30), optimizers=[adam])
        seen, fitted = evaluate(model, test), evaluate(model, training)
        mine = [r for r in rows if (r["activation"], r["width"]) == (activation, 80)]
        for run, row in enumerate(mine):
            assert row["seed"] == SEEDS[run]
            assert row["test_loss"] == pytest.approx(seen.loss[run].item(), abs=1e-5)
            accuracy = 100 * fitted.accuracy[run].item()
            assert row["train_accuracy"] == pytest.approx(accuracy, abs=1e-3)
