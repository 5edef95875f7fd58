"""Recipes against loops in float64, and against the paper's own path."""

from dataclasses import replace

import jaxtyping
import pytest
import torch

from moe_lib import ModelConfig, MoE, TrainConfig, authors_train, train
from moe_lib.authors import AUTHORS, AUTHORS_ENTROPY, AUTHORS_SINGLE, PAPER
from moe_lib.authors_model import RecipeModel, recipe_loss
from moe_lib.authors_train import evaluate_recipe, train_recipe
from moe_lib.config import ACTIVATION_NAMES
from moe_lib.data import stack_runs
from moe_lib.experiments import FROM_AUTHORS, FROM_PAPER
from tests import reference
from tests.toys import data_config, draw, normal

SMALL = ModelConfig(num_experts=3, num_filters=4)
STEPS = 6
RECIPES = {f"paper, {k}": replace(PAPER, **v) for k, v in FROM_PAPER.items()}
RECIPES |= {f"authors, {k}": replace(AUTHORS, **v) for k, v in FROM_AUTHORS.items()}
RECIPES |= {"entropy records": AUTHORS_ENTROPY}


def network(recipe, activation="cubic", seeds=(5,), single=False, config=SMALL):
    """Return a float64 network with weights large enough that all is in play."""
    config = replace(config, activation=activation)
    model = RecipeModel(recipe, config, dim=6, seeds=seeds, single=single).double()
    with torch.no_grad():
        model.weight.copy_(0.3 * normal(*model.weight.shape, seed=1))
        if model.bias is not None:
            model.bias.copy_(0.3 * normal(*model.bias.shape, seed=2))
        if model.router_weight is not None:
            model.router_weight.copy_(0.3 * normal(*model.router_weight.shape, seed=3))
    return model


def noise_of(recipe, step, n, num_experts=3, seed=5):
    if recipe.noise == "none":
        return None
    at = 0 if recipe.noise == "fixed" else step
    return reference.router_noise(seed, at, n, num_experts)


@pytest.mark.parametrize("activation", ["linear", "cubic"])
@pytest.mark.parametrize("name", RECIPES)
def test_training_is_the_loop_of_the_authors(name, activation):
    recipe = replace(RECIPES[name], early_stop="none", steps=STEPS, data_scale=1.5)
    data = draw(data_config(), 14).to(torch.double)
    model = network(recipe, activation)
    theta, filters = model.router_weight[0], model.weight[0]
    biases = None if model.bias is None else model.bias[0]
    losses = []
    for step in range(STEPS):
        noise = noise_of(recipe, step, len(data))
        theta, filters, biases, loss = reference.authors_step(
            data.x, data.y, theta, filters, biases, activation, recipe, noise
        )
        losses.append(loss)
    history = train_recipe(model, data)
    torch.testing.assert_close(history.loss[:, 0], torch.tensor(losses).double())
    torch.testing.assert_close(model.weight[0].detach(), filters, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.router_weight[0].detach(), theta)
    if biases is not None:
        torch.testing.assert_close(model.bias[0].detach(), biases)


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_two_heads_are_a_difference(activation):
    recipe = replace(PAPER, heads=2, loss="cross_entropy", bias=True)
    data = draw(data_config(), 9).to(torch.double)
    model = network(recipe, activation)
    noise = reference.router_noise(5, 0, 9, 3)
    outputs, _, chosen = reference.authors_margin(
        data.x,
        model.router_weight[0],
        model.weight[0],
        model.bias[0],
        activation,
        "softmax",
        noise,
        2,
    )
    seen = model(*model.inputs(data), noise[None])
    expected = torch.stack([second - first for first, second in outputs])
    torch.testing.assert_close(seen.output[0], expected)
    assert seen.expert_index[0].tolist() == chosen


@pytest.mark.parametrize("kind", ["cross_entropy", "double_softmax"])
def test_a_loss_of_the_difference_is_the_loss_of_two_outputs(kind):
    outputs, y = 3 * normal(20, 2), torch.where(normal(20, seed=1) > 0, 1.0, -1.0)
    recipe = replace(PAPER, heads=2, loss=kind)
    got = recipe_loss(recipe, (outputs[:, 1] - outputs[:, 0])[None], y.double())
    expected = reference.authors_loss([list(o) for o in outputs], y, kind)
    torch.testing.assert_close(got[0], expected)


def test_a_softmax_taken_for_logits_has_a_floor_and_a_ceiling():
    recipe = replace(PAPER, heads=2, loss="double_softmax")
    y = torch.ones(1)
    best, worst = (recipe_loss(recipe, torch.tensor([[f]]), y) for f in (1e4, -1e4))
    assert best.item() == pytest.approx(0.31326, abs=1e-5)
    assert worst.item() == pytest.approx(1.31326, abs=1e-5)


@pytest.mark.parametrize("activation", ["linear", "cubic", "tanh"])
def test_with_an_odd_activation_a_second_head_is_a_change_of_sign(activation):
    """Turn the signs of the first head's weights, and one head trains just as two."""
    one = replace(PAPER, steps=STEPS)
    two = replace(one, heads=2, loss="cross_entropy")
    data = draw(data_config(), 30).to(torch.double)
    single_head, double_head = network(one, activation), network(two, activation)
    with torch.no_grad():
        single_head.weight[:, :, :2].neg_()
    histories = [train_recipe(model, data) for model in (single_head, double_head)]
    torch.testing.assert_close(histories[0].loss, histories[1].loss)
    turned = double_head.weight.detach().clone()
    turned[:, :, :2].neg_()
    torch.testing.assert_close(single_head.weight.detach(), turned)
    torch.testing.assert_close(single_head.router_weight, double_head.router_weight)


@pytest.mark.parametrize("activation", ["linear", "cubic", "relu"])
def test_the_paper_as_a_recipe_is_the_paper(activation):
    data = stack_runs([draw(data_config(), 60, seed=s) for s in (0, 1)])
    config = ModelConfig(num_experts=3, num_filters=4, activation=activation)
    model = MoE(config, dim=6, seeds=[3, 4])
    history = train(model, data, TrainConfig(steps=20))
    twin = RecipeModel(replace(PAPER, steps=20), config, dim=6, seeds=[3, 4])
    twin_history = train_recipe(twin, data)
    torch.testing.assert_close(twin.weight, model.expert_weight, rtol=0, atol=1e-6)
    torch.testing.assert_close(twin.router_weight, model.router_weight)
    torch.testing.assert_close(twin_history.loss, history.loss)


@pytest.mark.parametrize("scale", [0.5, 10.0])
def test_scaled_data_are_scaled_rates_without_biases(scale):
    data = draw(data_config(), 50).to(torch.double)
    plain = replace(PAPER, steps=8, expert_lr=0.05, router_lr=2.0, init_scale=0.1)
    scaled = replace(
        plain,
        data_scale=scale,
        expert_lr=0.05 / scale,
        router_lr=2.0 / scale**2,
        init_scale=0.1 / scale,
    )
    models = [
        RecipeModel(recipe, SMALL, dim=6, seeds=[0]).double()
        for recipe in (plain, scaled)
    ]
    losses = [train_recipe(model, data).loss for model in models]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(
        models[0].weight, models[1].weight * scale, rtol=1e-5, atol=1e-7
    )


def rule(losses, kind):
    """The early stop, read off a list of losses: the step at which it happens."""
    best = float("inf")
    for step, loss in enumerate(losses):
        if loss <= best:
            best = loss
            continue
        bump = loss > best + 0.02
        if kind == "floor" and (bump or loss <= 0.314):
            return step
        if kind == "late" and step > 500 and bump:
            return step
    return len(losses)


def stopping(kind, seeds, loss="double_softmax", **changes):
    recipe = replace(AUTHORS, loss=loss, early_stop="none", **changes)
    data = draw(data_config(), 80)
    free = RecipeModel(recipe, SMALL, dim=6, seeds=seeds)
    weights = []
    free_history = train_recipe(
        free, data, callback=lambda t, m, o: weights.append(m.weight.detach().clone())
    )
    weights.append(free.weight.detach())
    stopped = RecipeModel(replace(recipe, early_stop=kind), SMALL, dim=6, seeds=seeds)
    history = train_recipe(stopped, data)
    return free_history, weights, history, stopped


def check_stops(kind, seeds, **changes):
    free, weights, history, model = stopping(kind, seeds, **changes)
    expected = [rule(run, kind) for run in free.loss.T.tolist()]
    assert history.steps.tolist() == expected
    for run, at in enumerate(expected):
        assert torch.equal(model.weight[run], weights[at][run])
        last = min(at, len(weights) - 2)
        assert (history.loss[last:, run] == free.loss[last, run]).all()
        entropy = history.dispatch_entropy
        assert (entropy[last:, run] == free.dispatch_entropy[last, run]).all()
    return expected


def test_the_early_stop_at_the_floor_is_the_rule():
    expected = check_stops("floor", [0, 1, 2], steps=400, router_lr=0.03)
    assert len({at for at in expected if at < 400}) > 1  # runs stop by themselves


def test_the_early_stop_at_a_bump_is_the_rule():
    expected = check_stops("floor", [0, 1, 2], steps=60, expert_lr=0.02)
    assert min(expected) < 60


def test_the_late_early_stop_waits():
    expected = check_stops(
        "late", [0, 1], loss="cross_entropy", steps=520, expert_lr=0.05, router_lr=1.0
    )
    assert any(500 < at < 520 for at in expected)


def test_the_early_stop_remembers_the_best_loss(monkeypatch):
    creeping = iter([0.6, 0.5, 0.515, 0.53, 0.545])  # never up by 0.02 in one step
    monkeypatch.setattr(
        authors_train,
        "recipe_loss",
        lambda _, output, y: 0 * output[:, 0] + next(creeping),
    )
    recipe = replace(AUTHORS, load_balancing=0.0, early_stop="floor", steps=5)
    model = RecipeModel(recipe, SMALL, dim=6, seeds=[0])
    assert train_recipe(model, draw(data_config(), 1)).steps.tolist() == [3]


def test_runs_do_not_depend_on_each_other():
    recipe = replace(AUTHORS, steps=300, router_lr=0.03)
    sets = [draw(data_config(), 60, seed=s) for s in (0, 1)]
    together = RecipeModel(recipe, SMALL, dim=6, seeds=[7, 8])
    history = train_recipe(together, stack_runs(sets))
    for run, data in enumerate(sets):
        alone = RecipeModel(recipe, SMALL, dim=6, seeds=[7 + run])
        one = train_recipe(alone, data)
        assert one.steps[0] == history.steps[run]
        torch.testing.assert_close(alone.weight[0], together.weight[run])


@pytest.mark.parametrize("activation", ["linear", "cubic", "relu"])
def test_a_single_expert_by_adam_is_torchs(activation):
    recipe = replace(AUTHORS_SINGLE, steps=15, data_scale=1.5)
    data = draw(data_config(), 25).to(torch.double)
    model = network(recipe, activation, single=True)
    conv = torch.nn.Conv1d(1, 4, 6, stride=6).double()
    with torch.no_grad():
        conv.weight.copy_(model.weight[0, 0][:, None])
        conv.bias.copy_(model.bias[0, 0])
    adam = torch.optim.Adam(conv.parameters(), lr=0.01, weight_decay=5e-4)
    flat, label = (1.5 * data.x).reshape(25, 1, -1), (data.y > 0).long()
    sigma = {"linear": lambda z: z, "cubic": lambda z: z**3, "relu": torch.relu}
    for _ in range(15):
        z = sigma[activation](conv(flat)).sum(dim=2)
        out = torch.stack([z[:, :2].sum(dim=1), z[:, 2:].sum(dim=1)], dim=1)
        adam.zero_grad()
        torch.nn.CrossEntropyLoss()(out, label).backward()
        adam.step()
    train_recipe(model, data)
    torch.testing.assert_close(model.weight[0, 0].detach(), conv.weight[:, 0].detach())
    torch.testing.assert_close(model.bias[0, 0].detach(), conv.bias.detach())


def test_evaluation_with_and_without_noise():
    data = draw(data_config(), 40).to(torch.double)
    for recipe, stream in ((AUTHORS, 5), (AUTHORS_ENTROPY, 4)):
        model = network(recipe)
        for noisy in (True, False):
            noise = reference.router_noise(5, 0, 40, 3, stream=stream)
            outputs, _, chosen = reference.authors_margin(
                10 * data.x,
                model.router_weight[0],
                model.weight[0],
                model.bias[0],
                "cubic",
                "noisy_logit",
                noise if noisy else None,
                2,
            )
            margins = [second - first for first, second in outputs]
            seen = evaluate_recipe(model, data, noisy=noisy)
            expected = reference.accuracy(margins, data.y)
            assert seen.accuracy.item() == pytest.approx(expected)
            counts = reference.dispatch_counts(data.cluster, chosen, 2, 3)
            expected = reference.dispatch_entropy(counts)
            assert seen.dispatch_entropy.item() == pytest.approx(expected)
            assert seen.live_experts.item() == len(set(chosen))


def test_initial_weights_have_the_laws_of_their_names():
    config = ModelConfig(num_experts=8, num_filters=64)
    for recipe, bound, deviation in (
        (PAPER, 7e-3, 1e-3),
        (AUTHORS, 1e-3 / 50**0.5, 1e-3 / 150**0.5),
    ):
        model = RecipeModel(recipe, config, dim=50, seeds=[0, 1])
        for tensor in (model.weight, model.bias):
            if tensor is None:
                assert not recipe.bias
                continue
            assert tensor.abs().max() <= bound
            assert tensor.std().item() == pytest.approx(deviation, rel=0.05)
        assert model.router_weight.abs().max() == 0
        assert not torch.equal(model.weight[0], model.weight[1])


def test_data_and_noise_that_do_not_fit_are_refused():
    model = RecipeModel(PAPER, SMALL, dim=6, seeds=[0, 1])
    with pytest.raises(ValueError, match="x of data must have shape"):
        train_recipe(model, draw(data_config(dim=7), 9))
    three = stack_runs([draw(data_config(), 9, seed=s) for s in range(3)])
    with pytest.raises(ValueError, match="x of data must have shape"):
        evaluate_recipe(model, three)
    inputs = model.inputs(draw(data_config(), 9))
    with pytest.raises(ValueError, match="router_noise must have shape"):
        model(*inputs, torch.zeros(2, 9, 1))


def test_a_single_expert_has_no_gate_and_no_balance():
    gate = replace(PAPER, gate="noisy_softmax")
    for recipe in (gate, replace(PAPER, load_balancing=1e-4)):
        with pytest.raises(
            ValueError, match="gate must be softmax and load_balancing 0"
        ):
            RecipeModel(recipe, SMALL, dim=6, seeds=[0], single=True)


def test_what_is_no_recipe_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match="recipe must be a Recipe, got ModelConfig"):
        RecipeModel(SMALL, PAPER, dim=6, seeds=[0])


def test_noise_that_a_recipe_does_not_have_is_not_evaluated():
    model = network(replace(PAPER, noise="none"))
    data = draw(data_config(), 9).to(torch.double)
    with pytest.raises(ValueError, match="noisy must be False where the recipe's"):
        evaluate_recipe(model, data, noisy=True)


def test_an_odd_number_of_filters_does_not_split():
    with pytest.raises(
        ValueError, match="num_filters must be even for two heads, got 3"
    ):
        RecipeModel(AUTHORS, ModelConfig(num_filters=3), dim=6, seeds=[0])
