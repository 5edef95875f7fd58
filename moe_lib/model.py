"""The mixture-of-experts layer and the single expert, many runs at once.

Each run (seed) has its own weights along a leading axis S; runs never interact.
Axes: S runs, n examples, P patches, d dimensions, M experts, J filters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moe_lib.checks import check_int, check_seeds, check_shape
from moe_lib.config import ModelConfig
from moe_lib.experts import routed_expert_outputs
from moe_lib.rng import generator
from moe_lib.router import Routing, route_patch_sum


@dataclass(frozen=True, eq=False)
class ModelOutput:
    """What a model returns.

    Attributes
    ----------
    output : Tensor
        F(x), shape [S, n]; its sign is the prediction.
    routing : Routing or None
        Who computed it; None for a single expert.
    """

    output: Float[Tensor, "S n"]
    routing: Routing | None


def _initial_filters(
    config: ModelConfig, num_experts: int, dim: int, seeds: Sequence[int]
) -> nn.Parameter:
    check_seeds(seeds)
    check_int("dim", dim, at_least=1)
    shape = (num_experts, config.num_filters, dim)
    draws = [torch.randn(shape, generator=generator(s, "init")) for s in seeds]
    return nn.Parameter(torch.stack(draws) * config.init_scale)


class SingleExpert(nn.Module):
    """One two-layer convolutional network, F(x) = f(x): the baseline of Theorem 4.1.

    Parameters
    ----------
    config : ModelConfig
        ``num_filters``, ``activation`` and ``init_scale`` are read.
    dim : int
        d, the length of a patch.
    seeds : sequence of int
        One for each run; a run depends on its own seed only.

    Attributes
    ----------
    expert_weight : Parameter
        Filters, shape [S, 1, J, d], initially N(0, init_scale^2).

    References
    ----------
    Chen et al. (2022), Sections 3 and 4.
    """

    def __init__(self, config: ModelConfig, *, dim: int, seeds: Sequence[int]) -> None:
        super().__init__()
        self.config, self.seeds = config, tuple(seeds)
        self.expert_weight = _initial_filters(config, 1, dim, self.seeds)

    def forward(
        self,
        x: Float[Tensor, "*runs n P d"],
        *,
        patch_sum: Float[Tensor, "*runs n d"] | None = None,
    ) -> ModelOutput:
        """Return F(x). See :meth:`MoE.forward` for the arguments."""
        _check_patches(self, x)
        check_shape("patch_sum", patch_sum, (*x.shape[:-2], x.shape[-1]))
        index = torch.zeros(
            self.expert_weight.shape[0], x.shape[-3], dtype=torch.long, device=x.device
        )
        return ModelOutput(_expert_outputs(self, x, patch_sum, index), routing=None)


class MoE(nn.Module):
    """A mixture of experts with top-1 routing, F(x) = pi_m(x) f_m(x), m the choice.

    Parameters
    ----------
    config : ModelConfig
        Sizes, activation and initial scale.
    dim : int
        d, the length of a patch.
    seeds : sequence of int
        One for each run; a run depends on its own seed only.

    Attributes
    ----------
    expert_weight : Parameter
        Filters of all experts, shape [S, M, J, d], initially N(0, init_scale^2).
    router_weight : Parameter
        Theta, shape [S, d, M], initially 0: every expert is equally likely.

    References
    ----------
    Chen et al. (2022), Section 3 and Algorithm 1.
    """

    def __init__(self, config: ModelConfig, *, dim: int, seeds: Sequence[int]) -> None:
        super().__init__()
        self.config, self.seeds = config, tuple(seeds)
        self.expert_weight = _initial_filters(
            config, config.num_experts, dim, self.seeds
        )
        self.router_weight = nn.Parameter(
            torch.zeros(len(self.seeds), dim, config.num_experts)
        )

    def forward(
        self,
        x: Float[Tensor, "*runs n P d"],
        *,
        patch_sum: Float[Tensor, "*runs n d"] | None = None,
        router_noise: Float[Tensor, "S n M"] | None = None,
    ) -> ModelOutput:
        """Route each example to one expert and return its gated output.

        Parameters
        ----------
        x : Tensor
            Patches, shape [n, P, d] shared by all runs, or [S, n, P, d].
        patch_sum : Tensor, optional
            ``x.sum(-2)``, if it is known already.
        router_noise : Tensor, optional
            r of Algorithm 1, shape [S, n, M]: added for the choice only. None, as at
            test time, means no noise.

        Raises
        ------
        ValueError
            If a shape does not fit: broadcasting would give wrong answers silently.
        """
        _check_patches(self, x)
        num_runs, num_experts = self.expert_weight.shape[:2]
        check_shape("patch_sum", patch_sum, (*x.shape[:-2], x.shape[-1]))
        check_shape("router_noise", router_noise, (num_runs, x.shape[-3], num_experts))
        patch_sum = x.sum(dim=-2) if patch_sum is None else patch_sum
        routing = route_patch_sum(patch_sum, self.router_weight, router_noise)
        expert_output = _expert_outputs(self, x, patch_sum, routing.expert_index)
        return ModelOutput(routing.gate_value * expert_output, routing)


def _check_patches(model: MoE | SingleExpert, x: Tensor) -> None:
    num_runs, *_, dim = model.expert_weight.shape
    fits = (
        x.dim() in (3, 4) and x.shape[-1] == dim and x.shape[:-3] in ((), (num_runs,))
    )
    if not fits:
        raise ValueError(
            f"x must have shape [n, P, {dim}] or [{num_runs}, n, P, {dim}], "
            f"got {list(x.shape)}"
        )


def _expert_outputs(
    model: MoE | SingleExpert,
    x: Float[Tensor, "*runs n P d"],
    patch_sum: Float[Tensor, "*runs n d"] | None,
    expert_index: Int[Tensor, "S n"],
) -> Float[Tensor, "S n"]:
    if model.config.activation == "linear":
        # A linear expert cannot tell patches apart: their sum is all it sees.
        patch_sum = x.sum(dim=-2) if patch_sum is None else patch_sum
        x = patch_sum.unsqueeze(-2)
    return routed_expert_outputs(
        x, model.expert_weight, expert_index, model.config.activation
    )
