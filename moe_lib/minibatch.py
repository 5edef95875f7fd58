"""Train a network or a mixture on images in small batches, and go on after a stop.

Batches and routing noise are functions of seed and step, so a checkpoint needs no state
of any generator: training that was killed goes on to the same bits.

Axes: n images, C channels, H and W pixels, M experts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from moe_lib import checkpoints
from moe_lib.checks import check_device, check_int, check_real
from moe_lib.data import PatchDataset
from moe_lib.image_evaluation import (
    Shape,
    class_scores,
    evaluate_images,
    to_classes,
    to_images,
)
from moe_lib.image_mixture import ImageMixture
from moe_lib.losses import load_balancing_loss
from moe_lib.rng import shuffled
from moe_lib.router import sample_router_noise


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to train on images.

    Parameters
    ----------
    epochs : int
        At least 1.
    batch_size : int
        At least 1; the last batch of an epoch may be smaller.
    lr : float
        Of Adam, >= 0.
    load_balancing : float
        Weight >= 0 of :func:`moe_lib.losses.load_balancing_loss`; a single network has
        no such loss.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of its range.

    References
    ----------
    Chen et al. (2022), reproducibility sheet, for 128, 0.001 and Adam; their code has
    the weight 0.01, but other optimisers.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 1e-3
    load_balancing: float = 0.01

    def __post_init__(self) -> None:
        check_int("epochs", self.epochs, at_least=1)
        check_int("batch_size", self.batch_size, at_least=1)
        check_real("lr", self.lr)
        check_real("load_balancing", self.load_balancing)


@dataclass(frozen=True, eq=False)
class FitResult:
    """What training saw.

    Attributes
    ----------
    loss : Tensor
        Mean over the batches of each epoch, load balancing included, shape [epochs].
    validation_accuracy : Tensor
        After each epoch, without routing noise, shape [epochs].
    best_epoch : int
        The first one of the highest validation accuracy, counted from 0.
    """

    loss: Float[Tensor, " epochs"]
    validation_accuracy: Float[Tensor, " epochs"]
    best_epoch: int


def training_loss(
    model: nn.Module,
    images: Float[Tensor, "n C H W"],
    classes: Int[Tensor, " n"],
    *,
    seed: int,
    step: int,
    load_balancing: float,
) -> Float[Tensor, ""]:
    """Return the cross entropy of a batch, and for a mixture what balances its load.

    Parameters
    ----------
    model : Module
        An :class:`moe_lib.image_mixture.ImageMixture`, or a module from images to one
        number for each class.
    images, classes : Tensor
        A batch.
    seed, step : int
        Of the routing noise, in [0, 2**32).
    load_balancing : float
        Weight.
    """
    if not isinstance(model, ImageMixture):
        return cross_entropy(model(images), classes)
    noise = sample_router_noise(
        len(images), len(model.experts), seeds=[seed], step=step, device=images.device
    )
    out = model(images, noise[0].to(images))
    balance = load_balancing_loss(out.probs, out.expert_index)
    return cross_entropy(out.output, classes) + load_balancing * balance


@contextmanager
def repeatable() -> Iterator[None]:
    """Let convolutions on a GPU give the same bits each time."""
    flags = torch.backends.cudnn
    before = flags.deterministic, flags.benchmark
    flags.deterministic, flags.benchmark = True, False
    try:
        yield
    finally:
        flags.deterministic, flags.benchmark = before


@repeatable()
def fit(
    model: nn.Module,
    train: PatchDataset,
    validation: PatchDataset,
    config: FitConfig,
    *,
    image_shape: Shape,
    seed: int,
    checkpoint: Path | None = None,
    device: str = "cpu",
) -> FitResult:
    """Train ``model`` in place by Adam, and leave it with its best epoch's weights.

    The best epoch is chosen on ``validation``. The authors' code reports the best
    accuracy on the test set over epochs, which is too high.

    Parameters
    ----------
    model : Module
        A mixture or a single network, as :func:`training_loss` takes it. It is moved to
        the device, and left there for evaluation. A module that draws random numbers
        (dropout) would break what is said of bits.
    train, validation : PatchDataset
        One run; they are kept on the device as a whole.
    config : FitConfig
    image_shape : tuple of int
        C, H and W: ``x`` holds the pixels in this order, as [n, C, H*W] does.
    seed : int
        Of batches and routing noise, in [0, 2**32).
    checkpoint : Path, optional
        File written after every epoch. If it exists, training goes on from there, to
        the same bits on the same machine; a finished training is not done again.
    device : str
        ``cpu`` or ``cuda``.

    Returns
    -------
    FitResult
        On the CPU.

    Raises
    ------
    TypeError, ValueError
        If an argument breaks these rules, or the checkpoint is damaged or of
        another model, configuration, seed or data.

    References
    ----------
    Ours, with the settings of :class:`FitConfig`.
    """
    check_device(device)
    check_int("seed", seed, at_least=0)
    model.to(device)
    train, validation = train.to(device), validation.to(device)
    images, classes = to_images(train, image_shape), to_classes(train)
    num_classes = class_scores(model.eval(), images[:1])[0].shape[1]
    for data in (train, validation):
        if data.num_classes != num_classes:
            raise ValueError(
                f"model must have {data.num_classes} outputs, one for each class of "
                f"the data, got {num_classes}"
            )
    fused = train.x.is_cuda  # one kernel instead of many
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=fused)
    losses: list[float] = []
    accuracies: list[float] = []
    best: dict[str, Tensor] = {}
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        job = _describe(model, train, validation, config, seed)
        if checkpoint.exists():
            state = checkpoints.load(checkpoint, job)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            losses, accuracies = state["losses"], state["accuracies"]
            best = state["best"]
    num_batches = -(-len(train) // config.batch_size)
    bar = tqdm(
        total=config.epochs * num_batches,
        initial=len(losses) * num_batches,
        desc=type(model).__name__,
        leave=False,
        disable=None,
    )
    for epoch in range(len(losses), config.epochs):
        model.train()
        total = torch.zeros((), device=device)
        order = shuffled(len(train), seed=seed, epoch=epoch).to(device)
        for place, rows in enumerate(order.split(config.batch_size)):
            loss = training_loss(
                model,
                images[rows],
                classes[rows],
                seed=seed,
                step=epoch * num_batches + place,
                load_balancing=config.load_balancing,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()  # no wait for a GPU
            bar.update()
        losses.append(total.item() / num_batches)
        found = evaluate_images(model, validation, image_shape=image_shape)
        accuracies.append(found.accuracy.item())
        if accuracies[-1] > max(accuracies[:-1], default=-1.0):
            best = {name: value.clone() for name, value in model.state_dict().items()}
        if checkpoint is not None:
            state = {
                "job": job,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "losses": losses,
                "accuracies": accuracies,
                "best": best,
            }
            checkpoints.save(checkpoint, state)
    bar.close()
    model.load_state_dict(best)
    model.eval()
    accuracy = torch.tensor(accuracies, dtype=torch.float64)
    return FitResult(torch.tensor(losses), accuracy, int(accuracy.argmax()))


def _describe(
    model: nn.Module,
    train: PatchDataset,
    validation: PatchDataset,
    config: FitConfig,
    seed: int,
) -> dict[str, Any]:
    """Say in words and numbers what a checkpoint must agree with."""
    shapes = [(k, v.shape, v.dtype) for k, v in model.state_dict().items()]
    layout, content = crc32(f"{model} {shapes}".encode()), 0
    for data in (train, validation):
        for tensor in (data.x, data.y):
            content = crc32(tensor.cpu().contiguous().numpy().data, content)
    return {
        "config": asdict(config),
        "seed": seed,
        "model": f"{type(model).__name__} of layout {layout:08x}",
        "data": f"{len(train)} and {len(validation)} examples, content {content:08x}",
    }
