"""Steps that images go through, each a formula that can be checked pixel by pixel."""

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from moe_lib.checks import check_array, check_finite, check_shape
from moe_lib.splits import optional_module

CROP = 24


def rotate_nearest(
    images: Shaped[np.ndarray, "*batch H W"], degrees: float
) -> Shaped[np.ndarray, "*batch H W"]:
    """Turn images about their centre, each new pixel a copy of an old one or zero.

    The centre of the new pixel in row i and column j lies at x = j + 1/2 - W/2,
    y = i + 1/2 - H/2 from the middle of the image. With the angle a it takes the old
    pixel in row floor(x sin a + y cos a + H/2), column floor(x cos a - y sin a + W/2),
    or 0 where there is none. Sine and cosine are rounded to 15 decimals, so that right
    angles are exact. After 30 degrees the middle 24 x 24 of 32 x 32 pixels hold no zero
    from outside.

    Parameters
    ----------
    images : numpy.ndarray
        Shape [..., H, W], finite.
    degrees : float
        Counter-clockwise, as seen with row 0 on top.

    Returns
    -------
    numpy.ndarray
        Same shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If ``images`` is not such an array or ``degrees`` not a finite number.

    References
    ----------
    The formula of ``PIL.Image.rotate``, which the code of Chen et al. (2022) calls
    through torchvision's ``RandomRotation((30, 30))``. Pillow computes with 16 bits
    after the point: at 45 degrees, where a diagonal falls on the border between two
    pixels, it may take the other one.
    """
    check_array("images", images, num_axes=2)
    check_finite("degrees", degrees)
    height, width = images.shape[-2:]
    angle = math.radians(degrees)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x = np.arange(width) + 0.5 - width / 2
    y = (np.arange(height) + 0.5 - height / 2)[:, None]
    row = np.floor(x * sin + y * cos + height / 2).astype(int)
    column = np.floor(x * cos - y * sin + width / 2).astype(int)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    turned = images[..., row.clip(0, height - 1), column.clip(0, width - 1)]
    turned[..., ~inside] = 0
    return turned


def crop_and_enlarge(
    images: UInt8[np.ndarray, "n 3 32 32"],
) -> UInt8[np.ndarray, "n 3 32 32"]:
    """Cut out the middle 24 x 24 pixels and bring them back to 32 x 32, bilinear.

    Raises
    ------
    ValueError
        If the images have another shape or dtype.
    ImportError
        If Pillow is not installed.

    References
    ----------
    ``CenterCrop(24)`` and ``Resize(32)`` in the code of Chen et al. (2022), by Pillow.
    """
    if images.shape[1:] != (3, 32, 32) or images.dtype != np.uint8:
        raise ValueError(
            f"images must have shape [n, 3, 32, 32] and dtype uint8, got "
            f"{list(images.shape)} of {images.dtype}"
        )
    pillow = optional_module("PIL.Image")
    edge = (images.shape[-1] - CROP) // 2
    middle = images[:, :, edge : edge + CROP, edge : edge + CROP].transpose(0, 2, 3, 1)
    size, bilinear = images.shape[:1:-1], pillow.Resampling.BILINEAR
    large = [
        np.asarray(pillow.fromarray(image).resize(size, bilinear))
        for image in np.ascontiguousarray(middle)
    ]
    return np.stack(large).transpose(0, 3, 1, 2)


def gaussian_blur(
    images: Float[Tensor, "n C H W"], sigma: Float[Tensor, " n"]
) -> Float[Tensor, "n C H W"]:
    """Blur images over 3 columns and 7 rows, each with a width of its own.

    Parameters
    ----------
    images : Tensor
        Shape [n, C, H, W]; reflected at the border without repeating the edge.
    sigma : Tensor
        Shape [n], > 0: weights are proportional to exp(-t² / (2 sigma²)).

    Raises
    ------
    ValueError
        If ``sigma`` has another shape or is not positive.

    References
    ----------
    ``GaussianBlur((3, 7))`` in the code of Chen et al. (2022).
    """
    check_shape("sigma", sigma, images.shape[:1])
    if not (sigma > 0).all():
        raise ValueError(f"sigma must be positive, got {sigma.min().item()}")
    for axis, reach in ((-1, 1), (-2, 3)):
        t = torch.arange(-reach, reach + 1)
        weight = torch.exp(-0.5 * (t / sigma[:, None]) ** 2)
        weight = weight / weight.sum(dim=1, keepdim=True)
        pad = (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach)
        wide = torch.nn.functional.pad(images, pad, mode="reflect")
        size = images.shape[axis]
        images = sum(  # type: ignore[assignment]
            weight[:, i, None, None, None] * wide.narrow(axis, i, size)
            for i in range(2 * reach + 1)
        )
    return images
