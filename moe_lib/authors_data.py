"""The data files of the authors, drawn again from their seeds.

Their notebooks draw one training set and one test set for each setting, from the legacy
generator of numpy, which is frozen, and from torch. The same calls in the same order
give the same numbers today.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from tqdm import tqdm

from moe_lib.checks import check_choice
from moe_lib.config import setting
from moe_lib.data import PatchDataset, PatchRole, Signals

SEEDS: Mapping[str, int] = MappingProxyType(
    {"1": 12, "2": 11, "3": 11, "4": 11, "verify": 11}
)


def authors_signals(
    legacy: np.random.RandomState, num_signals: int, dim: int
) -> np.ndarray:
    """Draw orthonormal directions one after another by Gram-Schmidt, as they do.

    Returns
    -------
    numpy.ndarray
        Shape [num_signals, dim], float64.
    """
    signals = np.empty((num_signals, dim))
    for i in range(num_signals):
        x = legacy.randn(dim)
        x /= np.linalg.norm(x)
        for earlier in signals[:i]:
            x -= x.dot(earlier) * earlier
        signals[i] = x / np.linalg.norm(x)
    return signals


def authors_data(name: str | int) -> tuple[PatchDataset, PatchDataset]:
    """Return the training set and the test set that the authors' notebooks use.

    They are not multiplied by ten here: that is a switch of
    :class:`moe_lib.authors.Recipe`.

    Parameters
    ----------
    name : str or int
        A setting: ``1`` to ``4`` or ``"verify"``. Settings 2, 3 and 4 have the same
        seed there, hence the same signals, labels and clusters.

    Returns
    -------
    tuple of PatchDataset
        16,000 examples each.

    Raises
    ------
    ValueError
        If there is no setting of that name.

    References
    ----------
    The data notebooks in the code of Chen et al. (2022). Patches 0 to 3 are feature,
    centre, Gaussian noise and feature noise there, before the shuffle.
    """
    check_choice("setting", str(name), tuple(SEEDS))
    config, seed = setting(name), SEEDS[str(name)]
    num_clusters, dim = config.num_clusters, config.dim
    legacy = np.random.RandomState(seed)  # theirs; frozen by numpy
    shuffler = torch.Generator().manual_seed(seed)
    frame = authors_signals(legacy, 2 * num_clusters, dim)
    signals = Signals(*torch.from_numpy(frame).float().split(num_clusters))
    n = config.num_train + config.num_test
    labels, signs = np.empty(n), np.empty(n)
    clusters, noise_clusters = np.empty(n, dtype=int), np.empty(n, dtype=int)
    noise, strengths = np.empty((n, dim)), np.empty((n, 3))
    order = torch.empty(n, config.num_patches, dtype=torch.long)
    others = [[q for q in range(num_clusters) if q != k] for k in range(num_clusters)]
    ranges = (config.alpha, config.beta, config.gamma)
    deviation = config.sigma_p / math.sqrt(dim)

    for i in tqdm(range(n), desc="the authors' data", leave=False, disable=None):
        labels[i] = 2 * legacy.randint(2) - 1  # a faster legacy.choice([-1, 1])
        clusters[i] = legacy.randint(num_clusters)
        noise[i] = legacy.normal(0, deviation, size=dim)
        signs[i] = 2 * legacy.randint(2) - 1
        noise_clusters[i] = others[clusters[i]][legacy.randint(num_clusters - 1)]
        strengths[i] = [legacy.uniform(*bounds) for bounds in ranges]
        order[i] = torch.randperm(config.num_patches, generator=shuffler)

    def column(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).float()[:, None]

    alpha, beta, gamma = (column(values) for values in strengths.T)
    cluster, noise_cluster = (
        torch.from_numpy(clusters),
        torch.from_numpy(noise_clusters),
    )
    y, epsilon = column(labels), column(signs)
    patches = torch.stack(
        [
            signals.feature[cluster] * y * alpha,
            signals.center[cluster] * beta,
            torch.from_numpy(noise).float(),
            epsilon * signals.feature[noise_cluster] * gamma,
        ],
        dim=1,
    )
    roles = [
        PatchRole.FEATURE,
        PatchRole.CENTER,
        PatchRole.NOISE,
        PatchRole.FEATURE_NOISE,
    ]
    x = patches[torch.arange(n)[:, None], order]
    role = torch.tensor(roles)[order]
    parts = (slice(config.num_train), slice(config.num_train, None))
    train_data, test_data = (
        PatchDataset(
            x=x[part],
            y=y[part, 0],
            cluster=cluster[part],
            noise_cluster=noise_cluster[part],
            noise_sign=epsilon[part, 0],
            patch_role=role[part],
            signals=signals,
            num_clusters=num_clusters,
        )
        for part in parts
    )
    return train_data, test_data
