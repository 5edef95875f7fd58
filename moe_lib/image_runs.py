"""Networks on turned digits: does a mixture help where one network is strong enough."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from moe_lib.checks import check_choice, check_int, check_real
from moe_lib.image_evaluation import evaluate_images
from moe_lib.image_mixture import ROUTERS, ImageMixture
from moe_lib.minibatch import FitConfig, fit
from moe_lib.networks import CNN, MobileNetV2, ResNet18
from moe_lib.realdata import mnist_digits, mnist_rotate
from moe_lib.rng import drawing_from, generator
from moe_lib.runs import rounded

NETWORKS = ("cnn", "mobilenetv2", "resnet18")


@dataclass(frozen=True, kw_only=True)
class ImageRun:
    """One network, or a mixture of such, on MNIST-5k-Rotate.

    Attributes
    ----------
    name : str
        Unique within its experiment.
    angle : float
        Degrees between the two classes (>= 0); 0 is the plain 10-class control.
    network : str
        ``cnn``, ``mobilenetv2`` or ``resnet18``.
    channels : int
        Of the first convolution, at least 1 (2 for MobileNetV2).
    hidden : int
        Of the CNN's full layer (>= 1); not read for the other networks.
    num_experts : int
        1: a single network, without router.
    router : str
        Of a mixture, as in :class:`moe_lib.image_mixture.ImageMixture`.
    epochs : int
        At least 1.
    lr : float
        Of Adam, > 0.
    seeds : int
        How many splits.
    """

    name: str
    angle: float = 30.0
    network: str = "cnn"
    channels: int = 64
    hidden: int = 128
    num_experts: int = 1
    router: str = "linear"
    epochs: int = 40
    lr: float = 1e-3
    seeds: int = 10

    def __post_init__(self) -> None:
        check_choice("network", self.network, NETWORKS)
        check_choice("router", self.router, ROUTERS)
        check_real("angle", self.angle)
        check_real("lr", self.lr, positive=True)
        for field in ("channels", "hidden", "num_experts", "epochs", "seeds"):
            check_int(field, getattr(self, field), at_least=1)

    def model(self, seed: int) -> nn.Module:
        """Return the network or the mixture with the first weights of a seed."""
        classes = 2 if self.angle else 10
        sizes = {"num_classes": classes, "in_channels": 1, "channels": self.channels}
        build: Callable[[], nn.Module] = partial(ResNet18, **sizes)
        if self.network == "mobilenetv2":
            build = partial(MobileNetV2, **sizes)
        elif self.network == "cnn":
            build = partial(CNN, **sizes, image_size=16, hidden=self.hidden)
        source = generator(seed, "init")
        if self.num_experts == 1:
            with drawing_from(source):
                return build()
        return ImageMixture(
            build,
            num_experts=self.num_experts,
            in_channels=1,
            image_size=16,
            router=self.router,
            generator=source,
        )

    def run(self, seeds: range, device: str) -> dict[str, list]:
        """Train on the split of each seed; return what is found at the best epoch.

        Returns
        -------
        dict of list
            ``test_accuracy`` and ``validation_accuracy`` in percent, ``best_epoch``,
            ``num_parameters`` and, for mixtures, ``dispatch_entropy`` in nats.
        """
        config = FitConfig(epochs=self.epochs, lr=self.lr)
        rows = []
        for seed in tqdm(seeds, desc=self.name, leave=False, disable=None):
            splits = (
                mnist_rotate(self.angle, seed=seed)
                if self.angle
                else mnist_digits(seed=seed)
            )
            shape = splits.image_shape
            assert shape is not None
            model = self.model(seed)
            options = {"image_shape": shape, "seed": seed, "device": device}
            found = fit(model, splits.train, splits.validation, config, **options)
            test = evaluate_images(model, splits.test.to(device), image_shape=shape)
            row = {
                "test_accuracy": 100 * test.accuracy,
                "validation_accuracy": 100 * found.validation_accuracy.max(),
                "best_epoch": found.best_epoch,
                "num_parameters": sum(p.numel() for p in model.parameters()),
            }
            if test.dispatch_entropy is not None:
                row["dispatch_entropy"] = test.dispatch_entropy
            rows.append({key: float(torch.as_tensor(v)) for key, v in row.items()})
        values = {key: rounded(torch.tensor([r[key] for r in rows])) for key in rows[0]}
        return {"seed": [*seeds], **values}


# The size of one network, and what changes for one with the weights of four
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "narrow CNN": (
        {"channels": 4, "hidden": 16, "lr": 5e-3, "epochs": 60},
        {"channels": 10, "hidden": 32},
    ),
    "CNN": ({}, {"channels": 128, "hidden": 256}),
    "MobileNetV2": (
        {"network": "mobilenetv2", "channels": 32, "epochs": 20, "seeds": 5},
        {"channels": 64},
    ),
    "ResNet-18": ({"network": "resnet18", "epochs": 20, "seeds": 5}, {"channels": 128}),
}


def _cells() -> list[ImageRun]:
    """Return four models of each kind on each task; one of each on the leak test."""
    cells = []
    for angle in (15.0, 30.0, 0.0):
        task = f"angle {angle:g}" if angle else "plain"
        for kind, (size, total) in KINDS.items():
            models = {
                "single": size,
                "mixture": size | {"num_experts": 4},
                "by lot": size | {"num_experts": 4, "router": "lot"},
                "equal total": size | total,
            }
            for model, options in models.items():
                name = f"{task}, {kind}, {model}"
                cells.append(ImageRun(name=name, angle=angle, **options))
    for kind, (size, _) in KINDS.items():
        cells.append(ImageRun(name=f"angle 3, {kind}, single", angle=3.0, **size))
    return cells


IMAGES = tuple(_cells())
