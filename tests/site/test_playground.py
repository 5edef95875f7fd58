"""The model in JavaScript computes what moe_lib computes, from the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from moe_lib import NormalizedGD, TrainConfig, evaluate, train
from moe_lib.router import sample_router_noise
from tests.toys import data_config, draw, moe, single

MODULE = Path(__file__).parents[2] / "book" / "_static" / "playground" / "model.js"
STEPS, N = 20, 60
RATES = {"expertLr": 0.02, "routerLr": 0.7}
TOLERANCE = {"Float64Array": 1e-9, "Float32Array": 1e-4}

RUN = """async ({ source, kind, sizes, x, y, expert, router, noise, rates }) => {
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { Model, examples } = await import(address);
  const array = (values) => values && globalThis[kind].from(values);
  const model = new Model(sizes, array(expert), array(router));
  const data = examples(array(x), y, sizes.dim);
  const losses = [], accuracies = [], chosen = [];
  for (const draws of noise) {
    const seen = model.step(data, draws, rates);
    losses.push(seen.loss);
    accuracies.push(seen.accuracy);
    chosen.push([...seen.expertIndex]);
  }
  const after = model.forward(data, null);
  return {
    losses, accuracies, chosen,
    after: { ...after, expertIndex: [...after.expertIndex] },
    expert: [...model.expertWeight], router: router && [...model.routerWeight],
  };
}"""


@pytest.fixture(scope="module")
def page(browser):
    tab = browser.new_page()
    yield tab
    tab.close()


def in_javascript(page, model, data, kind, normalised):
    """Train a copy of the model in the browser."""
    _, num_experts, num_filters, dim = model.expert_weight.shape
    noise, router = [None] * STEPS, None
    if hasattr(model, "router_weight"):
        router = model.router_weight.detach().flatten().tolist()
        draws = (
            sample_router_noise(N, num_experts, seeds=model.seeds, step=t)
            for t in range(STEPS)
        )
        noise = [one.double().flatten().tolist() for one in draws]
    return page.evaluate(
        RUN,
        {
            "source": MODULE.read_text(),
            "kind": kind,
            "sizes": {
                "numExperts": num_experts,
                "numFilters": num_filters,
                "dim": dim,
                "activation": model.config.activation,
            },
            "x": data.x.flatten().tolist(),
            "y": data.y.tolist(),
            "expert": model.expert_weight.detach().flatten().tolist(),
            "router": router,
            "noise": noise,
            "rates": RATES | {"normalised": normalised},
        },
    )


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
@pytest.mark.parametrize("activation", ["linear", "cubic", "relu"])
@pytest.mark.parametrize("build", [moe, single], ids=["mixture", "single"])
def test_twenty_steps_are_those_of_the_library(
    page, build, activation, normalised, kind
):
    data = draw(data_config(num_clusters=3, num_patches=4, dim=8), N, seed=3)
    data = data.to(torch.float64)
    there = build(dim=8, filters=3, activation=activation, seed=1)
    got = in_javascript(page, there, data, kind, normalised)
    history, chosen, after = in_python(there, data, normalised)
    assert close(got["losses"], history.loss[:, 0], kind)
    assert got["accuracies"] == pytest.approx(history.accuracy[:, 0].tolist())
    assert close(got["expert"], there.expert_weight.detach().flatten(), kind)
    assert close([got["after"]["loss"]], after.loss, kind)
    if build is moe:
        assert got["chosen"] == chosen
        assert len({*map(tuple, chosen)}) > STEPS // 2  # noise and learning show
        assert close(got["router"], there.router_weight.detach().flatten(), kind)
        assert got["after"]["expertIndex"] == after.expert_index[0].tolist()
    assert got["losses"][-1] < got["losses"][0]
