"""Stacked two-layer convolutional experts, and who computes what for whom.

Expert m maps an example to f_m(x) = sum_j sum_p sigma(<w_mj, x_p>): the same J filters
on every patch, no bias, second layer fixed to ones, one signed number out
(Chen et al. 2022, Section 3). Axes: S runs, n examples, P patches, d dimensions,
M experts, J filters.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from moe_lib import native
from moe_lib.checks import check_choice, check_index, check_shape
from moe_lib.config import ACTIVATION_NAMES

BLOCK_EXAMPLES = 1024  # on a CPU: a block of patches and its responses stay in cache
GPU_BLOCK_EXAMPLES = 128  # a matrix product that fills the units, with little padding


@dataclass(frozen=True)
class Activation:
    """An activation sigma and its derivative, both elementwise."""

    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]


def _gelu_derivative(z: Tensor) -> Tensor:
    cdf = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    return cdf + z * torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "linear": Activation(lambda z: z, torch.ones_like),
        "cubic": Activation(lambda z: z * z * z, lambda z: 3 * z * z),
        "relu": Activation(torch.relu, lambda z: (z > 0).to(z)),
        "celu": Activation(functional.celu, lambda z: z.clamp(max=0).exp()),
        "gelu": Activation(functional.gelu, _gelu_derivative),
        "tanh": Activation(torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    }
)
assert tuple(ACTIVATIONS) == ACTIVATION_NAMES


def dense_expert_outputs(
    x: Float[Tensor, "*runs n P d"],
    weight: Float[Tensor, "S M J d"],
    activation: str,
) -> Float[Tensor, "S n M"]:
    """Compute f_m(x) of every expert on every example, as the formula is written.

    Slow and readable: it holds the responses of all experts at once. It serves as
    the oracle of :func:`routed_expert_outputs`, and where every output is wanted.

    References
    ----------
    Chen et al. (2022), Section 3.
    """
    check_choice("activation", activation, ACTIVATION_NAMES)
    responses = torch.einsum("...npd,...mjd->...nmpj", x, weight)
    return ACTIVATIONS[activation].value(responses).sum(dim=(-1, -2))


def routed_expert_outputs(
    x: Float[Tensor, "*runs n P d"],
    weight: Float[Tensor, "S M J d"],
    expert_index: Int[Tensor, "S n"],
    activation: str,
) -> Float[Tensor, "S n"]:
    """Compute f_m(x_i) for the one expert m = expert_index[i] of each example.

    The cost does not grow with M. On a CPU no copy of the data is made: the compiled
    loops of :mod:`moe_lib.native` visit each example once; where they do not apply,
    examples are sorted by expert and visited in small blocks. On a GPU sorted copies of
    the patches are multiplied all at once. Differentiable (once) in ``x``
    and ``weight``.

    Parameters
    ----------
    x : Tensor
        Patches, shape [n, P, d] shared by all runs, or [S, n, P, d].
    weight : Tensor
        Filters of all experts, shape [S, M, J, d].
    expert_index : Tensor
        Expert in [0, M) of each example, shape [S, n].
    activation : str
        One of :data:`moe_lib.config.ACTIVATION_NAMES`.

    Raises
    ------
    ValueError
        If the activation is unknown, a shape does not fit or an index is out of range.

    References
    ----------
    Chen et al. (2022), Section 3. The evaluation order is ours.
    """
    check_choice("activation", activation, ACTIVATION_NAMES)
    x = x.expand(weight.shape[0], *x.shape[-3:])
    check_shape("x", x, (*x.shape[:-1], weight.shape[-1]))
    check_shape("expert_index", expert_index, x.shape[:2])
    check_index("expert_index", expert_index, weight.shape[1])
    compiled = activation in native.ACTIVATIONS and native.handles(x, weight)
    if compiled and not x.requires_grad:
        return _CompiledExperts.apply(x, weight, expert_index, activation)
    if x.is_cuda and not x.requires_grad:
        act = ACTIVATIONS[activation]
        return _BatchedExperts.apply(x, weight, expert_index, act)
    return _RoutedExperts.apply(x, weight, expert_index, ACTIVATIONS[activation])


class _CompiledExperts(torch.autograd.Function):
    """Forward and backward by :mod:`moe_lib.native`; responses are recomputed."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, expert_index: Tensor, activation: str
    ) -> Tensor:
        packed, expert_index = native.pack(weight), expert_index.long()
        # weight is saved so that autograd notices if it is changed in between
        ctx.save_for_backward(x, packed, expert_index, weight)
        ctx.activation, ctx.num_filters = activation, weight.shape[2]
        return native.experts_forward(x, packed, expert_index, activation)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        x, packed, index, _ = ctx.saved_tensors
        grad = native.experts_backward(x, packed, index, grad_output, ctx.activation)
        return None, native.unpack(grad, ctx.num_filters), None, None


def _blocks(
    expert_index: Tensor, num_experts: int
) -> Iterator[tuple[int, int, Tensor | slice]]:
    """Yield (run, expert, rows): all examples, a block of one expert at a time."""
    num_runs, n = expert_index.shape
    if num_experts == 1:
        for run in range(num_runs):
            for start in range(0, n, BLOCK_EXAMPLES):
                yield run, 0, slice(start, start + BLOCK_EXAMPLES)
        return
    offset = torch.arange(num_runs, device=expert_index.device)[:, None] * num_experts
    counts = torch.bincount(
        (expert_index + offset).flatten(), minlength=num_runs * num_experts
    )
    per_run = counts.view(num_runs, num_experts).tolist()
    order = expert_index.argsort(dim=1, stable=True)
    for run in range(num_runs):
        for expert, rows in enumerate(order[run].split(per_run[run])):
            if len(rows):
                for block in rows.split(BLOCK_EXAMPLES):
                    yield run, expert, block


def _rows(x: Tensor, rows: Tensor | slice) -> Tensor:
    return x[rows] if isinstance(rows, slice) else x.index_select(0, rows)


def _padded_lists(
    expert_index: Tensor, num_experts: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """List the examples of each expert of each run, padded to whole blocks.

    Returns the examples in the order of their experts, the slot of each of these, the
    owner (run and expert) of each block, and the example in each slot: 0 in a slot of
    padding. How many blocks there can be is known beforehand, so that the host need not
    wait for a count.
    """
    (num_runs, n), device = expert_index.shape, expert_index.device
    num_lists, size = num_runs * num_experts, GPU_BLOCK_EXAMPLES
    run = torch.arange(num_runs, device=device)[:, None]
    lists = (expert_index + run * num_experts).flatten().int()  # few digits to sort
    sorted_lists, order = lists.sort(stable=True)
    each = torch.arange(num_lists + 1, device=device, dtype=torch.int)
    edges = torch.searchsorted(sorted_lists, each)
    end = ((edges.diff() + size - 1) // size).cumsum(0)
    first_slot = torch.cat([end.new_zeros(1), end[:-1]]) * size
    row = torch.arange(num_runs * n, device=device)
    slot = row + (first_slot - edges[:-1])[sorted_lists]
    num_blocks = num_runs * n // size + num_lists
    block = torch.arange(num_blocks, device=device)
    owner = torch.searchsorted(end, block, right=True).clamp(max=num_lists - 1)
    taken = torch.zeros(num_blocks * size, dtype=torch.long, device=device)
    taken[slot] = order
    return order, slot, owner, taken


class _BatchedExperts(torch.autograd.Function):
    """Forward and backward as products of equal blocks, one expert to a block."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, expert_index: Tensor, act: Activation
    ) -> Tensor:
        num_runs, num_experts = weight.shape[:2]
        if num_experts == 1:  # nothing to sort: a block to a run
            owner = torch.arange(num_runs, device=x.device)
            order = slot = torch.arange(expert_index.numel(), device=x.device)
            patches = x.flatten(1, 2)
        else:
            order, slot, owner, taken = _padded_lists(expert_index, num_experts)
            shared = x.stride(0) == 0
            flat = x[0] if shared else x.flatten(0, 1)
            patches = flat.index_select(0, taken % x.shape[1] if shared else taken)
            patches = patches.view(len(owner), -1, x.shape[-1])
        responses = patches @ weight.flatten(0, 1)[owner].mT
        sums = act.value(responses).view(-1, x.shape[2] * weight.shape[2]).sum(1)
        ctx.save_for_backward(patches, responses, weight)
        ctx.places, ctx.act = (order, slot, owner, len(sums)), act
        output = x.new_empty(expert_index.shape)
        output.view(-1)[order] = sums[slot]
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        patches, responses, weight = ctx.saved_tensors
        order, slot, owner, num_slots = ctx.places
        num_lists = weight.shape[0] * weight.shape[1]
        grad = patches.new_zeros(num_slots)
        grad[slot] = grad_output.flatten()[order]
        slope = ctx.act.derivative(responses)
        slope.view(num_slots, -1).mul_(grad[:, None])
        by_block = (slope.mT @ patches).flatten(1)
        # As a product and not as atomic additions, whose order is not the same twice.
        owns = owner == torch.arange(num_lists, device=owner.device)[:, None]
        return None, (owns.to(by_block) @ by_block).view_as(weight), None, None


class _RoutedExperts(torch.autograd.Function):
    """Forward and backward over blocks; responses are recomputed, never stored."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, expert_index: Tensor, act: Activation
    ) -> Tensor:
        output = x.new_empty(expert_index.shape)
        blocks = list(_blocks(expert_index, weight.shape[1]))
        for run, expert, rows in blocks:
            patches = _rows(x[run], rows)
            responses = patches.flatten(0, 1) @ weight[run, expert].T
            output[run][rows] = act.value(responses).view(len(patches), -1).sum(1)
        ctx.save_for_backward(x, weight)
        ctx.blocks, ctx.act = blocks, act
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight)
        for run, expert, rows in ctx.blocks:
            patches = _rows(x[run], rows)
            filters = weight[run, expert]
            flat = patches.flatten(0, 1)
            slope = ctx.act.derivative(flat @ filters.T)
            slope.view(len(patches), -1).mul_(grad_output[run][rows][:, None])
            grad_weight[run, expert].addmm_(slope.T, flat)
            if grad_x is not None:
                grad_x[run][rows] = (slope @ filters).view_as(patches)
        return grad_x, grad_weight, None, None
