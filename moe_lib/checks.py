"""Rules for arguments: a breach raises, naming the argument, the rule and the value."""

import math
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor


def check_int(name: str, value: object, *, at_least: int) -> None:
    """Raise unless ``value`` is an integer (not a bool) and at least ``at_least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")


def check_real(name: str, value: object, *, positive: bool = False) -> None:
    """Raise unless ``value`` is a finite number >= 0, or > 0 if ``positive``."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        rule = "positive" if positive else "non-negative"
        raise ValueError(f"{name} must be finite and {rule}, got {value}")


def check_finite(name: str, value: object) -> None:
    """Raise unless ``value`` is a finite number of either sign."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")


def check_range(name: str, value: object) -> None:
    """Raise unless ``value`` is a pair ``(low, high)`` with ``0 < low <= high``."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (low, high), got {value!r}")
    for bound in value:
        check_real(f"{name} bound", bound, positive=True)
    if value[0] > value[1]:
        raise ValueError(f"{name} must have low <= high, got {value}")


def check_array(name: str, value: object, *, num_axes: int) -> None:
    """Raise unless ``value`` is a finite NumPy array of at least so many axes."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    if value.ndim < num_axes or 0 in value.shape:
        raise ValueError(
            f"{name} must have at least {num_axes} axes, none of them empty, "
            f"got shape {list(value.shape)}"
        )
    if not np.isfinite(value).all():
        bad = int((~np.isfinite(value)).sum())
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite values")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_shape(name: str, value: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise if ``value`` has another shape: broadcasting would be silently wrong."""
    if value is not None and value.shape != shape:
        raise ValueError(
            f"{name} must have shape {list(shape)}, got {list(value.shape)}"
        )


def check_index(name: str, index: Tensor, size: int) -> None:
    """Raise unless every entry of ``index`` lies in [0, size)."""
    if index.numel():
        low, high = torch.stack(index.aminmax()).tolist()  # waits for a GPU once
        if low < 0 or high >= size:
            raise ValueError(f"{name} must lie in [0, {size}), got [{low}, {high}]")


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise unless there is at least one seed."""
    if len(seeds) == 0:
        raise ValueError("seeds must hold at least one seed, got none")


def check_device(device: str) -> None:
    """Raise ValueError unless ``device`` can be computed on here."""
    if device != "cpu" and not device.startswith("cuda"):
        raise ValueError(f"device must be cpu or cuda, got {device!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device must be cpu (CUDA is not available), got {device!r}")


def checked_patches(x: Tensor, num_patches: int) -> Tensor:
    """Return finite patches [n, P, d], unfolded if they came flat as [n, 1, P*d]."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"x must be a floating-point tensor, got {x.dtype}")
    if x.dim() != 3 or 0 in x.shape:
        raise ValueError(
            f"x must have shape [n, P, d] or [n, 1, P*d], none of them 0, "
            f"got {list(x.shape)}"
        )
    if not x.isfinite().all():
        bad = int((~x.isfinite()).sum())
        raise ValueError(f"x must be finite, got {bad} NaN or infinite values")
    if x.shape[1] > 1:
        return x
    check_int("num_patches", num_patches, at_least=2)
    if x.shape[2] % num_patches:
        raise ValueError(
            f"x of shape [n, 1, P*d] must have a last axis divisible by num_patches = "
            f"{num_patches}, got {x.shape[2]}"
        )
    return x.reshape(x.shape[0], num_patches, -1)


def check_labels(y: Tensor, num_classes: int) -> None:
    """Raise unless ``y`` is -1 or +1, or holds indices of more than two classes."""
    check_int("num_classes", num_classes, at_least=2)
    if num_classes > 2 and y.dtype != torch.long:
        raise TypeError(
            f"y must be class indices of dtype torch.int64 where num_classes is "
            f"{num_classes}, got {y.dtype}"
        )
    if y.is_meta:
        return
    if num_classes > 2:
        check_index("y", y, num_classes)
    elif not (y.abs() == 1).all():
        raise ValueError(
            "y must be -1 or +1 (from_tensors takes 0 and 1), "
            f"got {y.unique()[:5].tolist()}"
        )


def checked_examples(
    x: Tensor, y: Tensor, cluster: Tensor | None, num_patches: int
) -> Tensor:
    """Return patches [n, P, d] if labels -1, 1 or 0, 1 and cluster ids fit to them."""
    x = checked_patches(x, num_patches)
    n = x.shape[0]
    if y.shape != (n,):
        raise ValueError(f"y must have shape ({n},) like x, got {tuple(y.shape)}")
    labels = y.unique().tolist()
    if not (set(labels) <= {-1, 1} or set(labels) <= {0, 1}):
        raise ValueError(f"y must be in {{-1, 1}} or in {{0, 1}}, got {labels[:5]}")
    if cluster is not None:
        check_clusters(cluster, n)
    return x


def check_clusters(cluster: Tensor, n: int) -> None:
    """Raise unless ``cluster`` holds n integer ids >= 0."""
    if cluster.is_floating_point() or cluster.dtype in (torch.bool, torch.complex64):
        raise TypeError(f"cluster must be an integer tensor, got {cluster.dtype}")
    if cluster.shape != (n,):
        raise ValueError(
            f"cluster must have shape ({n},) like y, got {tuple(cluster.shape)}"
        )
    if (cluster < 0).any():
        raise ValueError(f"cluster must be >= 0, got {int(cluster.min())}")
