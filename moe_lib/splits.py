"""Training, validation and test set of real data, and how originals fall on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from moe_lib.checks import check_int
from moe_lib.data import PatchDataset

SHARES: Mapping[str, float] = MappingProxyType(
    {"train": 0.60, "validation": 0.15, "test": 0.25}
)


@dataclass(frozen=True, eq=False)
class Splits:
    """The three sides of a real data set.

    Attributes
    ----------
    train, validation, test : PatchDataset
        Nothing made of one original is on two of them.
    image_shape : tuple of int or None
        Channels, height and width of an example, if it is an image; ``x`` of shape
        [n, P, d] then holds P * d = channels * height * width pixels in this order.
    cluster_names : tuple of str
        What cluster k is, for k = 0 to K - 1.
    """

    train: PatchDataset
    validation: PatchDataset
    test: PatchDataset
    image_shape: tuple[int, int, int] | None
    cluster_names: tuple[str, ...]


def optional_module(name: str) -> ModuleType:
    """Import a module that only real data need.

    Raises
    ------
    ImportError
        If it is not installed; the message says what to install.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{name} could not be imported ({error}): real data need "
            f"pip install 'moe-lib[real]'"
        ) from error


def split_originals(n: int, *, generator: torch.Generator) -> dict[str, NDArray]:
    """Draw which of ``n`` originals are for training, validation and test.

    Parameters
    ----------
    n : int
        At least 4, so that no side is empty.
    generator : torch.Generator
        Gives one permutation of the originals.

    Returns
    -------
    dict
        Of each side of :data:`SHARES` the row numbers of its originals, in random
        order: 60, 15 and 25 % of them.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is not an integer or too small.
    """
    check_int("n", n, at_least=4)
    order = torch.randperm(n, generator=generator).numpy()
    ends = np.cumsum(list(SHARES.values())) * n
    parts = np.split(order, (ends[:-1] + 0.5).astype(int))  # halves go up
    return dict(zip(SHARES, parts, strict=True))
