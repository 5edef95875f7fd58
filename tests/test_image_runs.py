"""Networks on turned digits: what is built and what is reported."""

from dataclasses import replace

import pytest
import torch

from moe_lib import image_runs
from moe_lib.data import PatchDataset
from moe_lib.image_evaluation import evaluate_images
from moe_lib.image_mixture import ImageMixture
from moe_lib.image_runs import IMAGES, KINDS, ImageRun
from moe_lib.minibatch import FitConfig, fit
from moe_lib.splits import Splits
from tests.toys import normal, signs

NARROW = ImageRun(name="x", channels=4, hidden=16, epochs=2, lr=5e-3, seeds=2)


def num_parameters(run):
    return sum(p.numel() for p in run.model(0).parameters())


def test_names_are_unique_and_equal_total_is_equal():
    names = [run.name for run in IMAGES]
    assert len({*names}) == len(names)
    runs = {run.name: run for run in IMAGES}
    for task in ("angle 15", "angle 30", "plain"):
        for kind in KINDS:
            mixture, equal = (
                num_parameters(runs[f"{task}, {kind}, {model}"])
                for model in ("mixture", "equal total")
            )
            assert equal == pytest.approx(mixture, rel=0.05)


def test_a_mixture_by_lot_has_the_experts_of_a_mixture_and_no_router():
    config = replace(NARROW, num_experts=4)
    by_lot = replace(config, router="lot").model(0)
    assert num_parameters(config) - 4 * 257 == sum(
        p.numel() for p in by_lot.parameters()
    )


def test_a_mixture_starts_with_the_weights_of_the_single_network():
    single, mixture = NARROW.model(3), replace(NARROW, num_experts=4).model(3)
    assert isinstance(mixture, ImageMixture)
    for one, other in zip(
        single.parameters(), mixture.experts[0].parameters(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("angle", [30.0, 0.0])
def test_a_run_reports_what_it_found(angle):
    run = replace(NARROW, angle=angle, num_experts=2)
    values = run.run(range(1), "cpu")
    assert values["seed"] == [0]
    chance = 50 if angle else 10
    assert values["test_accuracy"][0] > 1.1 * chance
    assert values["best_epoch"][0] in (0, 1)
    assert 0 < values["dispatch_entropy"][0] <= 2.31
    again = run.run(range(1), "cpu")
    assert again == values


def test_each_side_has_its_part(monkeypatch):
    def side(n, seed):
        return PatchDataset(normal(n, 1, 256, seed=seed).float(), signs(n).float())

    shape = (1, 16, 16)
    splits = Splits(side(41, 1), side(31, 2), side(53, 3), shape, ("all",))
    monkeypatch.setattr(image_runs, "mnist_rotate", lambda angle, seed: splits)
    run = replace(NARROW, epochs=4)
    values, model = run.run(range(1), "cpu"), run.model(0)
    config, options = FitConfig(epochs=4, lr=5e-3), {"image_shape": shape, "seed": 0}
    found = fit(model, splits.train, splits.validation, config, **options)
    one, two, three = (
        100 * evaluate_images(model, part, image_shape=shape).accuracy.item()
        for part in (splits.train, splits.validation, splits.test)
    )
    assert values["best_epoch"] == [found.best_epoch]
    assert values["validation_accuracy"] == [pytest.approx(two, abs=1e-4)]
    assert values["test_accuracy"] == [pytest.approx(three, abs=1e-4)]
    assert len({one, two, three}) == 3


def test_a_single_network_has_no_dispatch():
    assert "dispatch_entropy" not in replace(NARROW, epochs=1).run(range(1), "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "vit"}, "network must be one of"),
        ({"angle": -1.0}, "angle must be"),
        ({"lr": 0.0}, "lr must be"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"num_experts": 0}, "num_experts must be at least 1, got 0"),
        ({"router": "mlp"}, "router must be one of linear, conv, lot, got 'mlp'"),
    ],
)
def test_bad_runs_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(NARROW, **change)
