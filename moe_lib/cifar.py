"""CIFAR-10 and CIFAR-10-Rotate through scikit-learn, without torchvision.

The 60,000 images come from openml.org on the first call and from the folder
``data_home`` afterwards. What arrives is checked before anything is made of it.

.. note::
   Written without a network. Not verified, from memory: the name and version at OpenML,
   that the pixels of an image are all red, then all green, then all blue, and that rows
   0 to 49,999 are the training images. The number of images of each class on both sides
   is checked; look at a few images after the first download.
"""

import math
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from moe_lib.checks import check_int
from moe_lib.data import PatchDataset
from moe_lib.rng import generator
from moe_lib.splits import Splits, optional_module
from moe_lib.transforms import crop_and_enlarge, gaussian_blur, rotate_nearest

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
NUM_TRAIN, NUM_VALIDATION, NUM_TEST = 45_000, 5_000, 10_000
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
DEGREES, BLUR_SIGMA = 30.0, (1.1, 2.2)
SHAPE = (3, 32, 32)
CHUNK = 1_000  # images at a time, to bound the memory of what lies between


def cifar10(
    *,
    seed: int,
    fetch: Callable[..., Any] | None = None,
    data_home: str | Path | None = None,
    limit: int | None = None,
) -> Splits:
    """Return CIFAR-10: which of ten things an image shows.

    Pixels in [0, 1], less the mean and divided by the standard deviation of their
    channel as in the authors' code for CIFAR-10-Rotate; not augmented. Their code for
    plain CIFAR-10 is not published.

    Parameters
    ----------
    seed : int
        Of the validation set, 5,000 of the 50,000 training images. The test set is the
        same for all seeds.
    fetch, data_home
        See :func:`load_cifar10`.
    limit : int, optional
        Take at most so many (>= 1) images on each side, drawn at random.

    Returns
    -------
    Splits
        45,000 / 5,000 / 10,000 examples ``x`` [n, 3, 1024] with a channel as a patch;
        ``y`` and cluster = class, with ``num_classes`` 10.

    Raises
    ------
    TypeError, ValueError, RuntimeError, ImportError
        If the seed or the limit is out of range, and as :func:`load_cifar10` does.

    References
    ----------
    Chen et al. (2022), Section 6.
    """
    sides, pixels, classes = _load(seed, limit, fetch, data_home)
    made = {}
    for side, rows in sides.items():
        x = torch.empty(len(rows), 3, 1024)
        for start in range(0, len(rows), CHUNK):
            part = pixels[rows[start : start + CHUNK]]
            x[start : start + CHUNK] = _normalised(_unit(part))
        y = torch.from_numpy(classes[rows])
        made[side] = PatchDataset(x, y, y, num_clusters=10, num_classes=10)
    return Splits(**made, image_shape=SHAPE, cluster_names=CLASSES)


def cifar10_rotate(
    *,
    seed: int,
    fetch: Callable[..., Any] | None = None,
    data_home: str | Path | None = None,
    limit: int | None = None,
) -> Splits:
    """Return CIFAR-10-Rotate: has an image been turned by 30 degrees.

    Each image comes twice, one copy after the other: as it is (label -1) and turned by
    exactly 30 degrees to the left (label +1). Then, as in the authors' code, both
    copies are cut and enlarged, brought to [0, 1], blurred if they are for training,
    and normalised by channel. The steps are in :mod:`moe_lib.transforms`.

    Two things differ. The authors have no validation set; here it is prepared as the
    test set is, without blur. And they draw the width of the blur anew in each epoch,
    here once for each copy.

    Only label +1 was resampled by a turn. The accuracy does not tell what a network
    reads of the traces of that and what it reads of the content.

    Parameters
    ----------
    seed : int
        Of the validation set, 5,000 of the 50,000 training images, and of the widths of
        the blur, uniform in [1.1, 2.2].
    fetch, data_home
        See :func:`load_cifar10`.
    limit : int, optional
        Take at most so many (>= 1) originals on each side, drawn at random.

    Returns
    -------
    Splits
        90,000 / 10,000 / 20,000 examples ``x`` [n, 3, 1024] with a channel as a patch
        (1.5 GB); cluster = class.

    Raises
    ------
    TypeError, ValueError, RuntimeError, ImportError
        If the seed or the limit is out of range, as :func:`load_cifar10` does, and if
        Pillow is not installed.

    References
    ----------
    Chen et al. (2022), Section 6, and ``cifar10-rotate/main.py`` in their code.
    """
    sides, pixels, classes = _load(seed, limit, fetch, data_home)
    source, made = generator(seed, "train_data"), {}
    for side, rows in sides.items():
        x = torch.empty(len(rows), 2, 3, 1024)
        for start in range(0, len(rows), CHUNK):
            part = pixels[rows[start : start + CHUNK]]
            for copy, images in enumerate((part, rotate_nearest(part, DEGREES))):
                unit = _unit(crop_and_enlarge(images))
                if side == "train":
                    low, high = BLUR_SIGMA
                    width = torch.rand(len(unit), generator=source)
                    unit = gaussian_blur(unit, low + (high - low) * width)
                x[start : start + CHUNK, copy] = _normalised(unit)
        y = torch.tensor([-1.0, 1.0]).repeat(len(rows))
        cluster = torch.from_numpy(classes[rows]).repeat_interleave(2)
        made[side] = PatchDataset(x.flatten(0, 1), y, cluster, num_clusters=10)
    return Splits(**made, image_shape=SHAPE, cluster_names=CLASSES)


def _load(
    seed: int,
    limit: int | None,
    fetch: Callable[..., Any] | None,
    data_home: str | Path | None,
) -> tuple[dict[str, NDArray], NDArray, NDArray]:
    """Return the rows of each side in rising order, all pixels and all classes."""
    source = generator(seed, "split")
    if limit is not None:
        check_int("limit", limit, at_least=1)
    order = torch.randperm(NUM_TRAIN + NUM_VALIDATION, generator=source).numpy()
    test = torch.randperm(NUM_TEST, generator=source).numpy() + len(order)
    sides = {"train": order[:NUM_TRAIN], "validation": order[NUM_TRAIN:], "test": test}
    rows = {side: np.sort(all_of[:limit]) for side, all_of in sides.items()}
    return rows, *load_cifar10(fetch=fetch, data_home=data_home)


def _unit(images: UInt8[np.ndarray, "n 3 32 32"]) -> Float32[Tensor, "n 3 32 32"]:
    return torch.from_numpy(images.astype(np.float32) / 255)


def _normalised(images: Float32[Tensor, "n 3 32 32"]) -> Float32[Tensor, "n 3 1024"]:
    mean, std = torch.tensor(MEAN)[:, None], torch.tensor(STD)[:, None]
    return (images.flatten(2) - mean) / std


def load_cifar10(
    *, fetch: Callable[..., Any] | None = None, data_home: str | Path | None = None
) -> tuple[UInt8[np.ndarray, "n 3 32 32"], Int64[np.ndarray, " n"]]:
    """Return all images of CIFAR-10 and their classes, the training images first.

    Parameters
    ----------
    fetch : callable, optional
        Takes what :func:`sklearn.datasets.fetch_openml` takes, which is the default,
        and returns an object with ``data`` [60000, 3072] and ``target`` [60000].
    data_home : str or Path, optional
        Where scikit-learn keeps what it downloads; its own default folder if not given.

    Returns
    -------
    tuple of numpy.ndarray
        Pixels [60000, 3, 32, 32] in 0 to 255 and classes 0 to 9: see :data:`CLASSES`.

    Raises
    ------
    RuntimeError
        If the images could not be fetched; the message is one line.
    TypeError, ValueError
        If what came is not CIFAR-10: another number of rows or columns, pixels that are
        no whole numbers in [0, 255], other classes than 0 to 9, or not 5,000 images of
        each class in the first 50,000 rows and 1,000 in the rest.
    ImportError
        If scikit-learn is not installed.

    References
    ----------
    Krizhevsky (2009), "Learning multiple layers of features from tiny images".
    """
    if fetch is None:
        fetch = optional_module("sklearn.datasets").fetch_openml
    options = {"version": 1, "as_frame": False, "parser": "auto"}
    try:
        bunch = fetch("CIFAR_10", data_home=data_home, **options)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RuntimeError(
            f"CIFAR-10 could not be fetched from openml.org ({reason}): connect to the "
            f"network, or pass as data_home a folder into which it was fetched before"
        ) from error
    return _pixels(bunch.data), _classes(bunch.target)


def _pixels(data: Any) -> NDArray[np.uint8]:
    n, size = NUM_TRAIN + NUM_VALIDATION + NUM_TEST, math.prod(SHAPE)
    if not isinstance(data, np.ndarray):
        raise TypeError(f"data must be a NumPy array, got {type(data).__name__}")
    if data.dtype.kind not in "uif":
        raise TypeError(f"data must hold numbers, got dtype {data.dtype}")
    if data.shape != (n, size):
        raise ValueError(
            f"data must have shape [{n}, {size}], got {list(data.shape)}: delete what "
            f"is in data_home and fetch again"
        )
    pixels = np.empty((n, size), np.uint8)
    for start in range(0, n, CHUNK):
        part = data[start : start + CHUNK]
        with np.errstate(invalid="ignore"):
            pixels[start : start + CHUNK] = part
        if not (pixels[start : start + CHUNK] == part).all():
            wrong = part[pixels[start : start + CHUNK] != part][0]
            raise ValueError(
                f"data must hold whole numbers in [0, 255], got {wrong} in one of the "
                f"rows {start} to {start + len(part) - 1}"
            )
    return pixels.reshape(n, *SHAPE)


def _classes(target: Any) -> NDArray[np.int64]:
    n, first = NUM_TRAIN + NUM_VALIDATION + NUM_TEST, NUM_TRAIN + NUM_VALIDATION
    target = np.asarray(target)
    if target.shape != (n,):
        raise ValueError(f"target must have shape [{n}], got {list(target.shape)}")
    known = np.isin(target.astype(str), list("0123456789"))  # OpenML gives strings
    if not known.all():
        raise ValueError(f"target must be 0 to 9, got {target[~known].tolist()[0]!r}")
    classes = target.astype(np.int64)
    for rows, part, each in (
        (f"the first {first}", classes[:first], first // 10),
        (f"the last {n - first}", classes[first:], (n - first) // 10),
    ):
        counts = np.bincount(part, minlength=10).tolist()
        if set(counts) != {each}:
            raise ValueError(
                f"target must hold each class {each} times in {rows} rows, got {counts}"
            )
    return classes
