"""The router: one linear map, noise for the choice only, one expert per example.

Axes: S runs, n examples, d dimensions, M experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Routing:
    """Who gets which example, and with what weight.

    Attributes
    ----------
    logits : Tensor
        h, shape [S, n, M]: noise-free.
    probs : Tensor
        pi = softmax(h), shape [S, n, M].
    expert_index : Tensor
        The chosen expert, shape [S, n].
    gate_value : Tensor
        pi at ``expert_index``, shape [S, n], in (0, 1].
    """

    logits: Float[Tensor, "S n M"]
    probs: Float[Tensor, "S n M"]
    expert_index: Int[Tensor, "S n"]
    gate_value: Float[Tensor, "S n"]


def router_logits(
    patch_sum: Float[Tensor, "*runs n d"], weight: Float[Tensor, "S d M"]
) -> Float[Tensor, "S n M"]:
    """Return h(x) = sum_p Theta^T x_p, which is linear in the sum of the patches.

    References
    ----------
    Chen et al. (2022), Section 3.
    """
    return patch_sum @ weight


def sample_router_noise(
    num_examples: int, num_experts: int, *, generators: Sequence[torch.Generator]
) -> Float[Tensor, "S n M"]:
    """Draw r, independent Uniform[0, 1] for every run, example and expert.

    Parameters
    ----------
    num_examples, num_experts : int
        n and M.
    generators : sequence of torch.Generator
        One for each run.

    References
    ----------
    Chen et al. (2022), Algorithm 1.
    """
    shape = (num_examples, num_experts)
    return torch.stack([torch.rand(shape, generator=g) for g in generators])


def route(
    logits: Float[Tensor, "S n M"], noise: Float[Tensor, "S n M"] | None = None
) -> Routing:
    """Choose one expert per example: the argmax of logits plus noise.

    The noise moves the choice only; ``probs`` and ``gate_value`` stay noise-free.

    Parameters
    ----------
    logits : Tensor
        h, shape [S, n, M].
    noise : Tensor, optional
        r, same shape. None (as at test time) chooses argmax h; ties go to the lowest
        index.

    References
    ----------
    Chen et al. (2022), Section 3 and Algorithm 1.
    """
    scores = logits if noise is None else logits + noise
    expert_index = scores.detach().argmax(dim=-1)
    probs = logits.softmax(dim=-1)
    gate_value = probs.gather(-1, expert_index[..., None]).squeeze(-1)
    return Routing(logits, probs, expert_index, gate_value)
