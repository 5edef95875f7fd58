"""The hot loops of a training step in C, where the installation compiled them.

Everything here has a twin in plain torch or numpy, which is used where there was no
compiler and for other dtypes and devices. Callers check arguments: C does not. One call
of C serves one run.
Axes: S runs, n examples, P patches, d dimensions, M experts, L lanes.
"""

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHUNKS = 8  # as in native.c
MAX_EXPERTS = 4096  # a row of more logits might not fit the stack of a thread
ACTIVATIONS = {"linear": 0, "cubic": 1, "relu": 2}
_SIGNATURES = {  # p: pointer, n: size, i: int, u: uint32; the threads come last
    "experts_forward": "ppppnnnni",
    "experts_backward": "pppppnnnnni",
    "route_forward": "pppppppnnn",
    "route_backward": "pppppnnn",
    "philox_uniform": "pnnuuu",
}
_TYPES = {
    "p": ctypes.c_void_p,
    "n": ctypes.c_int64,
    "i": ctypes.c_int,
    "u": ctypes.c_uint32,
}


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled loops, or None where there are none for this machine."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name("_native" + suffix)
        if path.exists():
            return load(path)
    return None


def load(path: Path) -> ctypes.CDLL | None:
    """Return the loops in this file, or None if they cannot run on this machine."""
    try:
        compiled = ctypes.CDLL(str(path))
    except OSError:  # it needs a library that is not here, such as that of OpenMP
        return None
    if compiled.width() == 0:  # it has instructions that this processor lacks
        return None
    for name, signature in _SIGNATURES.items():
        function = getattr(compiled, name)
        function.argtypes = [_TYPES[kind] for kind in signature + "i"]
        function.restype = None
    return compiled


def handles(*tensors: Tensor) -> bool:
    """Say whether the loops can take these tensors: float32, on the CPU."""
    return library() is not None and all(
        t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors
    )


def _compiled() -> ctypes.CDLL:
    compiled = library()
    assert compiled is not None
    return compiled


def _call(name: str, *arguments: Tensor | int | None) -> None:
    held = [a.contiguous() if isinstance(a, Tensor) else a for a in arguments]
    plain = [a.data_ptr() if isinstance(a, Tensor) else a for a in held]
    getattr(_compiled(), name)(*plain, torch.get_num_threads())


def pack(
    vectors: Float[Tensor, "*batch count d"],
) -> Float[Tensor, "*batch blocks d L"]:
    """Lay out vectors in blocks of L = ``width()``, the last padded with zeros."""
    *batch, count, d = vectors.shape
    lanes = _compiled().width()
    packed = vectors.new_zeros(*batch, -(-count // lanes), d, lanes)
    for block, part in enumerate(vectors.split(lanes, dim=-2)):
        packed[..., block, :, : part.shape[-2]] = part.mT
    return packed


def unpack(
    packed: Float[Tensor, "*batch blocks d L"], count: int
) -> Float[Tensor, "*batch count d"]:
    """Undo :func:`pack`."""
    return packed.mT.flatten(-3, -2)[..., :count, :]


def experts_forward(
    x: Float[Tensor, "S n P d"],
    packed: Float[Tensor, "S M blocks d L"],
    expert_index: Int[Tensor, "S n"],
    activation: str,
) -> Float[Tensor, "S n"]:
    """Return f_m(x_i) for the one expert m = expert_index[i] of each example."""
    output = x.new_empty(expert_index.shape)
    sizes = (*x.shape[1:], packed.shape[2], ACTIVATIONS[activation])
    for run in zip(x, packed, expert_index, output, strict=True):
        _call("experts_forward", *run, *sizes)
    return output


def experts_backward(
    x: Float[Tensor, "S n P d"],
    packed: Float[Tensor, "S M blocks d L"],
    expert_index: Int[Tensor, "S n"],
    grad_output: Float[Tensor, "S n"],
    activation: str,
) -> Float[Tensor, "S M blocks d L"]:
    """Return the gradient of sum_i grad_output[i] f_m(x_i) in the packed filters."""
    num_experts, blocks = packed.shape[1:3]
    sizes = (*x.shape[1:], num_experts, blocks, ACTIVATIONS[activation])
    grad = torch.empty_like(packed)
    parts = packed.new_empty(CHUNKS, *packed.shape[1:])
    for *run, total in zip(x, packed, expert_index, grad_output, grad, strict=True):
        _call("experts_backward", *run, parts, *sizes)
        torch.sum(parts, 0, out=total)
    return grad


def route_forward(
    patch_sum: Float[Tensor, "S n d"],
    packed: Float[Tensor, "S blocks d L"],
    noise: Float[Tensor, "S n M"] | None,
    num_experts: int,
) -> tuple[
    Float[Tensor, "S n M"],
    Float[Tensor, "S n M"],
    Int[Tensor, "S n"],
    Float[Tensor, "S n"],
]:
    """Return logits, probabilities, the chosen expert and its gate value."""
    *shape, d = patch_sum.shape
    logits = patch_sum.new_empty(*shape, num_experts)
    probs = torch.empty_like(logits)  # no views of one tensor: they may be changed
    expert_index = torch.empty(shape, dtype=torch.long)
    gate = patch_sum.new_empty(shape)
    for run in range(len(packed)):
        added = None if noise is None else noise[run]
        results = (logits[run], probs[run], expert_index[run], gate[run])
        _call(
            "route_forward", patch_sum[run], packed[run], added, *results,
            shape[1], d, num_experts,
        )  # fmt: skip
    return logits, probs, expert_index, gate


def route_backward(
    patch_sum: Float[Tensor, "S n d"],
    probs: Float[Tensor, "S n M"],
    expert_index: Int[Tensor, "S n"],
    grad_gate: Float[Tensor, "S n"],
) -> Float[Tensor, "S d M"]:
    """Return the gradient of sum_i grad_gate[i] gate[i] in the router's weight."""
    (num_runs, n, d), num_experts = patch_sum.shape, probs.shape[-1]
    lanes = _compiled().width()
    shape = (-(-num_experts // lanes), d, lanes)
    grad, parts = patch_sum.new_empty(num_runs, *shape), probs.new_empty(CHUNKS, *shape)
    runs = zip(patch_sum, probs, expert_index, grad_gate, grad, strict=True)
    for *run, total in runs:
        _call("route_backward", *run, parts, n, d, num_experts)
        torch.sum(parts, 0, out=total)
    return unpack(grad, num_experts).mT


def philox_uniform(out: Float[Tensor, "n M"], key: tuple[int, int], step: int) -> None:
    """Fill the contiguous ``out``: see :func:`moe_lib.rng.fill_uniform`."""
    _call("philox_uniform", out, *out.shape, *key, step)
