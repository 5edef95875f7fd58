"""Sums of patch scores, trained hard, to see how near they come to the ceiling.

Axes: S runs, B examples in a batch, P patches, d dimensions, H hidden units.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import cos, pi

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from moe_lib.checks import check_choice, check_int
from moe_lib.config import DataConfig, setting
from moe_lib.data import PatchDataset, make_data
from moe_lib.experts import ACTIVATIONS
from moe_lib.metrics import accuracy
from moe_lib.rng import generator
from moe_lib.runs import rounded

BATCH = 2048
SLICE = 16_384  # test examples that are worked on at a time
LOSSES = ("logistic", "errors")


class AdditiveNet(nn.Module):
    """F(x) = sum_p f(x_p) with any network f: biases, hidden layers, output weights.

    Parameters
    ----------
    activation : str
        Of the hidden layers, as in :class:`moe_lib.config.ModelConfig`.
    widths : tuple of int
        Units of each hidden layer.
    dim : int
        d, the length of a patch.
    seeds : sequence of int
        One for each run. Weights and biases start uniform on 1/sqrt(fan-in).

    References
    ----------
    Ours: of the class of models that Theorem 4.1 is about.
    """

    def __init__(
        self, activation: str, widths: tuple[int, ...], *, dim: int, seeds: range
    ) -> None:
        super().__init__()
        self.activation = activation
        sizes = [dim, *widths, 1]
        draws = [generator(seed, "init") for seed in seeds]

        def uniform(fan_in: int, *shape: int) -> nn.Parameter:
            drawn = torch.stack([torch.rand(shape, generator=g) for g in draws])
            return nn.Parameter((2 * drawn - 1) * fan_in**-0.5)

        self.weights = nn.ParameterList(uniform(a, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(uniform(a, 1, b) for a, b in pairwise(sizes))

    def forward(self, x: Float[Tensor, "B P d"]) -> Float[Tensor, "S B"]:
        """Return F(x)."""
        z = x.flatten(0, 1)
        layers = list(zip(self.weights, self.biases, strict=True))
        for weight, bias in layers[:-1]:
            z = ACTIVATIONS[self.activation].value(z @ weight + bias)
        weight, bias = layers[-1]
        f = z @ weight + bias
        return f.view(len(weight), *x.shape[:2]).sum(dim=-1)


@dataclass(frozen=True, kw_only=True)
class AdditiveRun:
    """One network on one range of gamma, trained by Adam with several seeds.

    Attributes
    ----------
    name : str
        Unique within its experiment.
    strongest : float
        gamma is uniform on 0.5 to this (>= 0.5); all else as in Setting 1.
    activation : str
    layers, width : int
        Hidden layers (>= 1) and the units (>= 1) of each.
    loss : str
        ``logistic``, or ``errors``: after half of the steps the mean of
        sigmoid(-y F) instead, a smooth count of errors.
    steps : int
        Of batches of 2,048; the rate falls from 0.001 to 0 as a half cosine.
    num_examples : int
        In the training set, and in the test set.
    seeds : int
        How many restarts, all on the same million examples.
    """

    name: str
    strongest: float = 3.0
    activation: str = "relu"
    layers: int = 1
    width: int = 512
    loss: str = "logistic"
    steps: int = 4000
    num_examples: int = 2**20
    seeds: int = 10

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, LOSSES)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_int("layers", self.layers, at_least=1)
        check_int("width", self.width, at_least=1)
        check_int("steps", self.steps, at_least=1)
        check_int("num_examples", self.num_examples, at_least=BATCH)
        check_int("seeds", self.seeds, at_least=1)
        self.data()

    def data(self) -> DataConfig:
        """Return the distribution of the data."""
        return replace(setting(1), gamma=(0.5, self.strongest))

    def run(self, seeds: range, device: str) -> dict[str, list]:
        """Train; return final accuracies in percent by seed.

        Returns
        -------
        dict of list
            ``test_accuracy``, and ``train_accuracy`` on the first 131,072 examples.
        """
        config = self.data()
        train_data, test_data = _data(config, self.num_examples, device)
        widths = (self.width,) * self.layers
        net = AdditiveNet(self.activation, widths, dim=config.dim, seeds=seeds)
        net.to(device)
        self._train(net, train_data)
        part = train_data.head(min(len(train_data), 2**17))
        return {
            "seed": [*seeds],
            "test_accuracy": rounded(100 * _accuracy(net, test_data)),
            "train_accuracy": rounded(100 * _accuracy(net, part)),
        }

    def _train(self, net: AdditiveNet, data: PatchDataset) -> None:
        adam = torch.optim.Adam(net.parameters(), lr=1e-3)
        rate = torch.optim.lr_scheduler.LambdaLR(
            adam, lambda step: 0.5 + 0.5 * cos(pi * step / self.steps)
        )
        batches = len(data) // BATCH
        for step in tqdm(range(self.steps), desc=self.name, leave=False, disable=None):
            start = step % batches * BATCH
            x, y = data.x[start : start + BATCH], data.y[start : start + BATCH]
            margin = y * net(x)
            counting = self.loss == "errors" and 2 * step >= self.steps
            loss = torch.sigmoid if counting else nn.functional.softplus
            adam.zero_grad()
            loss(-margin).mean(dim=-1).sum().backward()
            adam.step()
            rate.step()


@lru_cache(maxsize=1)  # networks that share data follow one another
def _data(
    config: DataConfig, num_examples: int, device: str
) -> tuple[PatchDataset, PatchDataset]:
    sized = replace(config, num_train=num_examples, num_test=num_examples)
    train_data, test_data = make_data(sized, seed=0)
    return train_data.to(device), test_data.to(device)


@torch.no_grad()
def _accuracy(net: AdditiveNet, data: PatchDataset) -> Float[Tensor, " S"]:
    parts = zip(data.x.split(SLICE), data.y.split(SLICE), strict=True)
    right = [accuracy(net(x), y) * len(y) for x, y in parts]
    return torch.stack(right).sum(dim=0) / len(data)
