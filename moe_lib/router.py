"""The router: one linear map, noise for the choice only, one expert per example.

Axes: S runs, n examples, d dimensions, M experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moe_lib import native
from moe_lib.checks import check_seeds, check_shape
from moe_lib.rng import fill_uniform, philox_key


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
    num_examples: int,
    num_experts: int,
    *,
    seeds: Sequence[int],
    step: int,
    stream: str = "router_noise",
    out: Float[Tensor, "S n M"] | None = None,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "S n M"]:
    """Draw r, independent Uniform[0, 1) for every run, example, expert and step.

    Parameters
    ----------
    num_examples, num_experts : int
        n and M.
    seeds : sequence of int
        One for each run.
    step : int
        In [0, 2**32): the noise of a step is the same whenever it is drawn.
    stream : str
        One of ``moe_lib.rng.STREAMS``.
    out : Tensor, optional
        Fill this one, of that shape, instead of a new one.
    device : torch.device or str
        Where a new one is made; the numbers are the same everywhere.

    Returns
    -------
    Tensor
        Shape [S, n, M], float32 if it is new.

    Raises
    ------
    TypeError, ValueError
        If there is no seed, a seed or the step is not an integer in [0, 2**32), the
        stream is unknown, or ``out`` has another shape.

    References
    ----------
    Chen et al. (2022), Algorithm 1.
    """
    check_seeds(seeds)
    keys = [philox_key(seed, stream) for seed in seeds]
    shape = (len(seeds), num_examples, num_experts)
    check_shape("out", out, shape)
    noise = torch.empty(shape, device=device) if out is None else out
    plain = noise.is_contiguous() and noise.dtype == torch.float32
    if noise.is_cuda and plain and find_spec("triton") is not None:
        from moe_lib import philox_kernel  # needs Triton

        philox_kernel.fill_uniform(noise, keys, step)
        return noise
    for run, key in zip(noise, keys, strict=True):
        fill_uniform(run, key=key, step=step)
    return noise


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


def route_patch_sum(
    patch_sum: Float[Tensor, "*runs n d"],
    weight: Float[Tensor, "S d M"],
    noise: Float[Tensor, "S n M"] | None = None,
) -> Routing:
    """Compute the logits and :func:`route` them, in one pass where that is compiled.

    Differentiable (once) in ``weight``. The compiled pass ends probabilities at 2e-35,
    and where logits are not numbers it may choose another expert than torch would.

    Parameters
    ----------
    patch_sum : Tensor
        Sum of the patches, shape [n, d] shared by all runs, or [S, n, d].
    weight : Tensor
        Theta, shape [S, d, M].
    noise : Tensor, optional
        As in :func:`route`.

    Raises
    ------
    ValueError
        If a shape does not fit.

    References
    ----------
    Chen et al. (2022), Section 3 and Algorithm 1.
    """
    num_runs, dim, num_experts = weight.shape
    check_shape("patch_sum", patch_sum, (*patch_sum.shape[:-1], dim))
    check_shape("noise", noise, (num_runs, patch_sum.shape[-2], num_experts))
    tensors = (patch_sum, weight) if noise is None else (patch_sum, weight, noise)
    compiled = num_experts <= native.MAX_EXPERTS and native.handles(*tensors)
    if compiled and not patch_sum.requires_grad:
        patch_sum = patch_sum.expand(num_runs, *patch_sum.shape[-2:])
        return Routing(*_CompiledRoute.apply(patch_sum, weight, noise))
    return route(router_logits(patch_sum, weight), noise)


class _CompiledRoute(torch.autograd.Function):
    """Forward and backward by :mod:`moe_lib.native`."""

    @staticmethod
    def forward(
        ctx: Any, patch_sum: Tensor, weight: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, ...]:
        results = native.route_forward(
            patch_sum, native.pack(weight.mT), noise, weight.shape[-1]
        )
        _, probs, index, _ = results
        ctx.save_for_backward(patch_sum, probs, index)
        ctx.mark_non_differentiable(index)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any,
        grad_logits: Tensor | None,
        grad_probs: Tensor | None,
        _: None,
        grad_gate: Tensor | None,
    ) -> tuple:
        patch_sum, probs, index = ctx.saved_tensors
        grad = patch_sum.new_zeros(len(probs), patch_sum.shape[-1], probs.shape[-1])
        if grad_gate is not None:
            grad = native.route_backward(patch_sum, probs, index, grad_gate)
        if grad_probs is not None:
            inner = (grad_probs * probs).sum(dim=-1, keepdim=True)
            grad = grad + patch_sum.mT @ (probs * (grad_probs - inner))
        if grad_logits is not None:
            grad = grad + patch_sum.mT @ grad_logits
        return None, grad, None
