"""Weak experts for real data, one model for each of many splits.

Experts this small (one or a few filters for each class) cannot solve their task alone;
that is when a mixture could help. All of them are computed for every example, which at
this size costs less than to sort the examples.

Axes: S runs, each with its own split and initial weights, B examples in a batch,
d coordinates, M experts, J filters, C classes, K clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moe_lib.checks import check_choice, check_int
from moe_lib.experts import ACTIVATIONS
from moe_lib.rng import generator

ROUTINGS = ("learned", "random", "oracle")


@dataclass(frozen=True, kw_only=True)
class WeakConfig:
    """A single weak expert, a mixture of them, or a network with one hidden layer.

    Parameters
    ----------
    num_experts : int
        M >= 1.
    routing : str
        ``learned``: the noisy top-1 router of the paper, trained; ``random``: each
        example has an expert by lot, for good; ``oracle``: that of its cluster, so M
        must be at least the number of clusters. The last two have no gate.
    num_filters : int
        J >= 1 for each class.
    activation : str
        As in :class:`moe_lib.config.ModelConfig`.
    hidden : int
        Instead of filters for each class, so many hidden ReLU units for all classes;
        0 for none. For single experts only.
    """

    num_experts: int = 1
    routing: str = "learned"
    num_filters: int = 1
    activation: str = "linear"
    hidden: int = 0

    def __post_init__(self) -> None:
        check_int("num_experts", self.num_experts, at_least=1)
        check_int("num_filters", self.num_filters, at_least=1)
        check_int("hidden", self.hidden, at_least=0)
        check_choice("routing", self.routing, ROUTINGS)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        if self.hidden and self.num_experts > 1:
            raise ValueError(
                f"hidden must be 0 for a mixture of {self.num_experts} experts, "
                f"got {self.hidden}"
            )


class WeakModel(nn.Module):
    """The model of a :class:`WeakConfig`, once for each seed.

    Parameters
    ----------
    config : WeakConfig
    dim, num_classes : int
        d and C.
    seeds : sequence of int
        One for each run. Weights and biases start uniform on 1/sqrt(fan-in), the router
        at zero.

    References
    ----------
    Chen et al. (2022), Section 3, with biases and an output for each class. Ours
    otherwise.
    """

    def __init__(
        self, config: WeakConfig, *, dim: int, num_classes: int, seeds: Sequence[int]
    ) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        draws = [generator(seed, "init") for seed in seeds]

        def uniform(fan_in: int, *shape: int) -> nn.Parameter:
            drawn = torch.stack([torch.rand(shape, generator=g) for g in draws])
            return nn.Parameter((2 * drawn - 1) * fan_in**-0.5)

        m, hidden = config.num_experts, config.hidden
        width = hidden or m * num_classes * config.num_filters
        self.weight, self.bias = uniform(dim, dim, width), uniform(dim, 1, width)
        if hidden:
            self.head = uniform(hidden, hidden, num_classes)
            self.head_bias = uniform(hidden, 1, num_classes)
        self.is_routed = m > 1 and config.routing == "learned"
        if self.is_routed:
            self.router_weight = nn.Parameter(torch.zeros(len(draws), dim, m))
            self.router_bias = nn.Parameter(torch.zeros(len(draws), 1, m))

    def num_parameters(self) -> int:
        """Return the number of parameters of one run."""
        return sum(p[0].numel() for p in self.parameters())

    def forward(
        self,
        x: Float[Tensor, "S B d"],
        lot: Int[Tensor, "S B"],
        noise: Float[Tensor, "S B M"] | None = None,
    ) -> tuple[
        Float[Tensor, "S B C"], Int[Tensor, "S B"], Float[Tensor, "S B M"] | None
    ]:
        """Return the class scores, the chosen experts and the router's probabilities.

        Parameters
        ----------
        x : Tensor
        lot : Tensor
            The expert of each example where the routing is not learned.
        noise : Tensor, optional
            Uniform[0, 1) of the router, for the choice only.
        """
        z = x @ self.weight + self.bias
        if self.config.hidden:
            return z.relu() @ self.head + self.head_bias, torch.zeros_like(lot), None
        value = ACTIVATIONS[self.config.activation].value(z)
        m, c = self.config.num_experts, self.num_classes
        scores = value.view(*value.shape[:2], m, c, -1).sum(dim=-1)
        if m == 1:
            return scores.squeeze(2), torch.zeros_like(lot), None
        gate = probs = None
        index = lot
        if self.is_routed:
            logits = x @ self.router_weight + self.router_bias
            index = (logits if noise is None else logits + noise).argmax(dim=-1)
            probs = logits.softmax(dim=-1)
            gate = probs.gather(-1, index[..., None])
        place = index[..., None, None].expand(-1, -1, 1, c)
        chosen = scores.gather(2, place).squeeze(2)
        return (chosen if gate is None else gate * chosen), index, probs
