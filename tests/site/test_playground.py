"""What the playground computes is what moe_lib computes, from the same numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moe_lib import NormalizedGD, TrainConfig, evaluate, train
from moe_lib.authors import AUTHORS, AUTHORS_SINGLE, PAPER
from moe_lib.authors_model import RecipeModel
from moe_lib.authors_train import evaluate_recipe, train_recipe
from moe_lib.config import ModelConfig, setting
from moe_lib.metrics import dispatch_entropy
from moe_lib.rng import fill_uniform
from moe_lib.router import sample_router_noise
from moe_lib.theory import additive_error_bound
from tests.site.conftest import serve
from tests.toys import data_config, draw, moe, single

STATIC = Path(__file__).parents[2] / "book" / "_static"
STEPS, N = 20, 60
RATES = {"expertLr": 0.02, "routerLr": 0.7}
TOLERANCE = {"Float64Array": 1e-9, "Float32Array": 1e-4}
ACTIVATIONS = ("linear", "cubic", "relu")

RUN = """async ({ recipe, kind, sizes, x, y, expert, router, noise, rates }) => {
  const { Model, examples } = await import("/playground/model.js");
  const recipes = await import("/playground/recipes.js");
  const array = (values) => values && globalThis[kind].from(values);
  const chosenRecipe = recipes[recipe];
  const model = new Model(sizes, chosenRecipe, array(expert), array(router));
  const data = examples(array(x), y, sizes.dim, chosenRecipe);
  const losses = [], accuracies = [], chosen = [];
  for (const draws of noise) {
    const seen = model.step(data, draws, rates);
    losses.push(seen.loss);
    accuracies.push(seen.accuracy);
    chosen.push([...seen.expertIndex]);
  }
  const after = model.forward(data, null);
  const logits = [];
  for (let i = 0; router && i < y.length; i++) {
    model.route(data, i, null);
    logits.push(...model.logits);
  }
  return {
    losses, accuracies, chosen, logits,
    after: { ...after, expertIndex: [...after.expertIndex], right: [...after.right] },
    expert: [...model.expertWeight], router: router && [...model.routerWeight],
  };
}"""


@pytest.fixture(scope="module")
def page(browser):
    """A blank page that can import the modules."""
    with serve(STATIC) as address:
        tab = browser.new_page()
        tab.goto(f"{address}/playground/")
        yield tab
        tab.close()


def in_javascript(
    page, recipe, kind, *, weights, router, seeds, activation, data, **rates
):
    """Train a copy of the weights [M, J, D] in the browser, by the library's noise."""
    num_experts, num_filters, _ = weights.shape
    noise = [None] * STEPS
    if router is not None:
        draws = (
            sample_router_noise(N, num_experts, seeds=seeds, step=t)
            for t in range(STEPS)
        )
        noise = [one.double().flatten().tolist() for one in draws]
        router = router.flatten().tolist()
    return page.evaluate(
        RUN,
        {
            "recipe": recipe,
            "kind": kind,
            "sizes": {
                "numExperts": num_experts,
                "numFilters": num_filters,
                "dim": data.x.shape[-1],
                "activation": activation,
            },
            "x": data.x.flatten().tolist(),
            "y": data.y.tolist(),
            "expert": weights.flatten().tolist(),
            "router": router,
            "noise": noise,
            "rates": rates,
        },
    )


def toy_data():
    data = draw(data_config(num_clusters=3, num_patches=4, dim=8), N, seed=3)
    return data.to(torch.float64)


def in_python(model, data, normalised):
    """Train the model by moe_lib; return history and evaluation."""
    config = TrainConfig(
        steps=STEPS, expert_lr=RATES["expertLr"], router_lr=RATES["routerLr"]
    )
    rule = NormalizedGD if normalised else torch.optim.SGD
    optimizers = [rule([model.expert_weight], lr=config.expert_lr)]
    if hasattr(model, "router_weight"):
        optimizers.append(torch.optim.SGD([model.router_weight], lr=config.router_lr))
    chosen = []

    def note(step, model, out):
        if out is not None and out.routing is not None:
            chosen.append(out.routing.expert_index[0].tolist())

    history = train(model, data, config, optimizers=optimizers, callback=note)
    return history, chosen, evaluate(model, data)


def close(found, expected, kind):
    """Compare relative to the largest entry."""
    expected = np.asarray(expected, dtype=float)
    error = np.abs(np.asarray(found, dtype=float) - expected).max()
    return error <= TOLERANCE[kind] * np.abs(expected).max()


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("build", [moe, single], ids=["mixture", "single"])
def test_twenty_steps_are_those_of_the_library(
    page, build, activation, normalised, kind
):
    data = toy_data()
    there = build(dim=8, filters=3, activation=activation, seed=1)
    router = there.router_weight.detach().clone() if build is moe else None
    got = in_javascript(
        page,
        "PAPER",
        kind,
        weights=there.expert_weight.detach()[0].clone(),
        router=router,
        seeds=there.seeds,
        activation=activation,
        data=data,
        normalised=normalised,
        **RATES,
    )
    history, chosen, after = in_python(there, data, normalised)
    assert close(got["losses"], history.loss[:, 0], kind)
    assert got["accuracies"] == pytest.approx(history.accuracy[:, 0].tolist())
    assert close(got["expert"], there.expert_weight.detach().flatten(), kind)
    assert close([got["after"]["loss"]], after.loss, kind)
    if build is moe:
        logits = data.patch_sum @ there.router_weight.detach()
        assert got["chosen"] == chosen
        assert len({*map(tuple, chosen)}) > STEPS // 2  # noise and learning show
        assert close(got["router"], there.router_weight.detach().flatten(), kind)
        assert close(got["logits"], logits.flatten(), kind)
        assert got["after"]["expertIndex"] == after.expert_index[0].tolist()
    assert got["losses"][-1] < got["losses"][0]


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["AUTHORS", "AUTHORS_SINGLE"])
def test_twenty_steps_of_the_authors_are_those_of_the_library(
    page, name, activation, kind
):
    recipe = {"AUTHORS": AUTHORS, "AUTHORS_SINGLE": AUTHORS_SINGLE}[name]
    recipe = replace(recipe, steps=STEPS, early_stop="none")
    data = toy_data()
    there = RecipeModel(
        recipe,
        ModelConfig(num_experts=3, num_filters=4, activation=activation),
        dim=8,
        seeds=[1],
        single=name == "AUTHORS_SINGLE",
    ).double()
    router = there.router_weight
    got = in_javascript(
        page,
        name,
        kind,
        weights=torch.cat([there.weight, there.bias[..., None]], dim=-1)[0].detach(),
        router=None if router is None else router.detach().clone(),
        seeds=there.seeds,
        activation=activation,
        data=data,
        expertLr=recipe.expert_lr,
        routerLr=recipe.router_lr,
    )
    chosen = []

    def note(step, model, out):
        if out.expert_index is not None:
            chosen.append(out.expert_index[0].tolist())

    history = train_recipe(there, data, callback=note)
    after = torch.cat([there.weight, there.bias[..., None]], dim=-1).detach()
    assert close(got["losses"], history.loss[:, 0], kind)
    assert close(got["expert"], after.flatten(), kind)
    right = np.mean(got["after"]["right"])
    assert right == pytest.approx(evaluate_recipe(there, data).accuracy.item())
    if router is not None:
        logits = data.patch_sum @ router.detach() * recipe.data_scale
        assert got["chosen"] == chosen
        assert close(got["router"], router.detach().flatten(), kind)
        assert close(got["logits"], logits.flatten(), kind)
    assert got["losses"][-1] < got["losses"][0]


def test_the_recipes_are_those_of_the_library(page):
    there = page.evaluate(
        '() => import("/playground/recipes.js").then((m) => ({...m}))'
    )
    words = {
        "dataScale": "data_scale",
        "testNoise": "test_noise",
        "initScale": "init_scale",
        "expertLr": "expert_lr",
        "routerLr": "router_lr",
        "weightDecay": "weight_decay",
    }
    for name, recipe in (
        ("PAPER", PAPER),
        ("AUTHORS", AUTHORS),
        ("AUTHORS_SINGLE", AUTHORS_SINGLE),
    ):
        values = there[name]
        ours = {key: getattr(recipe, words.get(key, key)) for key in values}
        assert values == ours


def test_routing_noise_has_the_bits_of_the_library(page):
    key, step, shape = (123456789, 4_000_000_000), 77, (10, 3)
    there = torch.empty(shape)
    fill_uniform(there, key=key, step=step)
    here = page.evaluate(
        """async ({ key, step, n, M }) => {
          const { fillUniform } = await import("/playground/random.js");
          const out = new Float64Array(n * M);
          fillUniform(out, M, { key, step });
          return [...out];
        }""",
        {"key": key, "step": step, "n": shape[0], "M": shape[1]},
    )
    assert here == there.flatten().tolist()


def test_entropy_is_that_of_the_library(page):
    counts = [[5, 0, 7], [1, 3, 0]]
    here = page.evaluate(
        """(counts) => import("/playground/simulation.js")
          .then((m) => m.dispatchEntropy(counts))""",
        counts,
    )
    there = dispatch_entropy(torch.tensor(counts)[None]).item()
    assert here == pytest.approx(there, rel=1e-6)


@pytest.mark.parametrize(
    ("alpha", "gamma"),
    [
        ((0.5, 2.0), (0.5, 3.0)),
        ((0.5, 2.0), (1.0, 3.0)),
        ((1.0, 2.0), (1.0, 2.0)),
        ((1.0, 1.0), (1.0, 1.0)),
        ((0.5, 1.0), (2.0, 3.0)),
        ((1.0, 1.0), (0.5, 3.0)),
        ((0.5, 1.0), (1.0, 3.0)),
    ],
)
def test_the_ceiling_is_that_of_the_theory(page, alpha, gamma):
    here = page.evaluate(
        """({ alpha, gamma }) => import("/playground/simulation.js")
          .then((m) => m.ceiling(alpha, gamma))""",
        {"alpha": alpha, "gamma": gamma},
    )
    try:
        assert here == pytest.approx(1 - additive_error_bound(alpha, gamma))
    except ValueError:  # nothing follows
        assert here is None


BUILD = """async (changes) => {
  const { complete } = await import("/playground/settings.js");
  const { Simulation } = await import("/playground/simulation.js");
  const simulation = new Simulation(complete({ n: 400, ...changes }));
  for (let step = 0; step < 5; step++) simulation.step();
  const { model, heldOut, history, recipe } = simulation;
  const fresh = new Simulation(complete({ n: 400, ...changes })).model.expertWeight;
  const noise = simulation.noiseOf("test_noise", 5);
  return {
    weights: [...fresh],
    told: history.testAccuracy.at(-1),
    clean: model.forward(heldOut, null).accuracy,
    noisy: model.forward(heldOut, noise).accuracy,
    alignments: simulation.alignments(),
    expert: [...model.expertWeight],
    router: [...model.routerWeight],
    feature: simulation.signals.feature.map((row) => [...row]),
    center: simulation.signals.center.map((row) => [...row]),
  };
}"""


def test_a_run_of_the_paper_starts_and_is_tested_as_it_says(page):
    got = page.evaluate(BUILD, {"J": 64})
    weights = np.array(got["weights"])
    assert weights.std() == pytest.approx(PAPER.init_scale, rel=0.02)
    assert (weights**4).mean() / (weights**2).mean() ** 2 == pytest.approx(3, abs=0.2)
    assert got["told"] == got["clean"] != got["noisy"]


def test_a_run_of_the_authors_starts_and_is_tested_as_theirs(page):
    got = page.evaluate(BUILD, {"J": 64, "recipe": "authors"})
    bound = AUTHORS.init_scale / 50**0.5
    weights = np.array(got["weights"])
    assert 0.99 * bound < np.abs(weights).max() <= bound
    assert weights.std() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert got["told"] == got["noisy"] != got["clean"]


def test_alignments_are_those_of_the_weights(page):
    got = page.evaluate(BUILD, {"recipe": "authors"})
    filters = np.array(got["expert"]).reshape(8, 16, 51)[..., :50]
    signs = np.array([-1] * 8 + [1] * 8)[:, None]
    experts = (10 * signs * filters @ np.array(got["feature"]).T).max(axis=1)
    theta = np.array(got["router"]).reshape(50, 8)
    router = 10 * theta.T @ np.array(got["center"]).T
    assert np.allclose(got["alignments"]["experts"], experts, atol=1e-6)
    assert np.allclose(got["alignments"]["router"], router, atol=1e-6)


# The examples are those of Definition 3.1.

DRAW = """async ({ config, n, seed }) => {
  const { sampleSignals, sampleExamples } = await import("/playground/data.js");
  const { Random } = await import("/playground/random.js");
  const { feature, center } = sampleSignals(config, new Random(seed, "signals"));
  const drawn = sampleExamples(
    config, { feature, center }, n, new Random(seed, "train_data"));
  const plain = Object.entries(drawn).map(([name, values]) => [name, values.join()]);
  const frame = [...feature, ...center].flatMap((row) => [...row]).join();
  return { frame, ...Object.fromEntries(plain) }; // as text: far faster than as lists
}"""
NUM_EXAMPLES, NUM_PATCHES = 4000, 5


@pytest.fixture(scope="module")
def drawn(page):
    config = setting(1)
    words = {"K": config.num_clusters, "P": NUM_PATCHES, "d": config.dim}
    words |= {
        name: getattr(config, name) for name in ("alpha", "beta", "gamma", "sigma_p")
    }
    got = page.evaluate(DRAW, {"config": words, "n": NUM_EXAMPLES, "seed": 5})
    arrays = {name: np.fromstring(text, sep=",") for name, text in got.items()}
    arrays["frame"] = arrays["frame"].reshape(8, config.dim)
    arrays["cluster"] = arrays["cluster"].astype(int)
    x = arrays["x"].reshape(NUM_EXAMPLES, NUM_PATCHES, config.dim)
    coordinates = x @ arrays["frame"].T
    is_signal = (x**2).sum(-1) - (coordinates**2).sum(-1) < 1e-4
    return arrays | {"x": x, "coordinates": coordinates, "is_signal": is_signal}


def test_signals_are_orthonormal(drawn):
    frame = drawn["frame"]
    assert np.abs(frame @ frame.T - np.eye(8)).max() < 1e-12


def test_each_example_has_three_signals_along_one_direction_each(drawn):
    assert (drawn["is_signal"].sum(axis=1) == 3).all()
    along = np.abs(drawn["coordinates"][drawn["is_signal"]]) > 1e-5
    assert (along.sum(axis=-1) == 1).all()
    assert all(drawn["is_signal"][:, p].mean() > 0.5 for p in range(NUM_PATCHES))


def test_signals_have_the_directions_and_strengths_of_the_definition(drawn):
    i, k = np.arange(NUM_EXAMPLES), drawn["cluster"]
    total = np.where(drawn["is_signal"][..., None], drawn["coordinates"], 0).sum(axis=1)
    assert np.abs(total[i, k] - drawn["feature"]).max() < 1e-5
    assert (np.sign(drawn["feature"]) == drawn["y"]).all()
    beta = total[i, 4 + k]
    other = total[:, :4].copy()
    other[i, k] = 0
    noise_cluster = np.abs(other).argmax(axis=1)
    assert np.abs(other[i, noise_cluster] - drawn["featureNoise"]).max() < 1e-5
    for strength, (low, high) in (
        (np.abs(drawn["feature"]), (0.5, 2)),
        (beta, (1, 2)),
        (np.abs(drawn["featureNoise"]), (0.5, 3)),
    ):
        assert low - 1e-6 <= strength.min() < low + 0.02
        assert high - 0.02 < strength.max() <= high + 1e-6
    # All labels, signs, clusters and pairs of clusters are about equally frequent.
    pairs = np.bincount(4 * k + noise_cluster, minlength=16).reshape(4, 4)
    assert (pairs.diagonal() == 0).all()
    assert abs(pairs[~np.eye(4, dtype=bool)] / NUM_EXAMPLES - 1 / 12).max() < 0.02
    assert abs(drawn["y"].mean()) < 0.05
    assert abs(np.sign(drawn["featureNoise"]).mean()) < 0.05
    assert abs((drawn["y"] * np.sign(drawn["featureNoise"])).mean()) < 0.05


def test_gaussian_patches_have_the_deviation_of_the_definition(drawn):
    noise = drawn["x"][~drawn["is_signal"]]
    assert noise.std() == pytest.approx(1 / 50**0.5, rel=0.01)
    assert abs(noise.mean()) < 0.002
    kurtosis = (noise**4).mean() / (noise**2).mean() ** 2
    assert kurtosis == pytest.approx(3, abs=0.1)
