"""Examples as images, and how a network or a mixture does on them.

Axes: n images, C channels, H and W pixels, M experts.
"""

from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from moe_lib.checks import check_int
from moe_lib.data import PatchDataset
from moe_lib.image_mixture import ImageMixture
from moe_lib.train import Evaluation, cluster_counts

Shape = tuple[int, int, int]


def to_images(data: PatchDataset, image_shape: Shape) -> Float[Tensor, "n C H W"]:
    """Return ``x`` of ``data`` as images [n, C, H, W].

    Raises
    ------
    ValueError
        If there is no example, or one has another number of pixels than
        ``image_shape``.
    """
    check_int("number of examples", len(data), at_least=1)
    if prod(data.x.shape[1:]) != prod(image_shape):
        raise ValueError(
            f"x must have {prod(image_shape)} pixels, as image_shape = {image_shape} "
            f"has, got shape {list(data.x.shape)}"
        )
    return data.x.reshape(-1, *image_shape)


def to_classes(data: PatchDataset) -> Int[Tensor, " n"]:
    """Return ``y`` of ``data`` as class numbers: -1 and +1 become 0 and 1."""
    return data.y.clamp(min=0).long()


def class_scores(
    model: nn.Module, images: Float[Tensor, "n C H W"]
) -> tuple[Float[Tensor, "n classes"], Int[Tensor, " n"] | None]:
    """Return a number for each class and, for a mixture, the experts: without noise.

    Parameters
    ----------
    model : Module
        As :func:`evaluate_images` takes it, in the mode that it is in.
    images : Tensor
        Shape [n, C, H, W].
    """
    with torch.no_grad():
        out = model(images)
    if isinstance(model, ImageMixture):
        return out.output, out.expert_index
    return out, None


def evaluate_images(
    model: nn.Module,
    data: PatchDataset,
    *,
    image_shape: Shape,
    batch_size: int = 1000,
) -> Evaluation:
    """Evaluate ``model`` on ``data`` without routing noise, in batches.

    Parameters
    ----------
    model : Module
        A mixture, or a module from images to one number for each class. Its mode
        (training or evaluation) is put back.
    data : PatchDataset
        One run, on any device.
    image_shape : tuple of int
        C, H and W.
    batch_size : int
        At least 1: how many images go through the model at once.

    Returns
    -------
    Evaluation
        Of one run (S = 1): cross entropy, accuracy and, for a mixture, who got which
        example and the counts by cluster.

    Raises
    ------
    TypeError, ValueError
        If an argument breaks these rules.
    """
    check_int("batch_size", batch_size, at_least=1)
    images, classes = to_images(data, image_shape), to_classes(data)
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        batches = images.split(batch_size)
        results = [class_scores(model, batch.to(device)) for batch in batches]
    finally:
        model.train(training)
    scores = torch.cat([out for out, _ in results]).to(classes.device)
    chosen = [index for _, index in results if index is not None]
    index = torch.cat(chosen)[None].to(classes.device) if chosen else None
    num_experts = len(model.experts) if isinstance(model, ImageMixture) else 1
    counts = cluster_counts(data, index, num_experts)
    return Evaluation(
        loss=cross_entropy(scores, classes)[None].cpu(),
        accuracy=(scores.argmax(dim=1) == classes).double().mean()[None].cpu(),
        expert_index=None if index is None else index.cpu(),
        dispatch_counts=None if counts is None else counts.cpu(),
    )
