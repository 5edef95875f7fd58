"""The routing noise of :mod:`moe_lib.rng` on a GPU, in Triton: the same bits."""

from collections.abc import Sequence
from functools import lru_cache
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 64  # rows that one program fills


@triton.jit
@no_type_check
def uniform(key, first, t, TILE: tl.constexpr, M_PAD: tl.constexpr):
    """Return the noise of moe_lib.rng.fill_uniform for a tile of examples."""
    group = first // 4 + tl.arange(0, TILE // 4)[:, None]
    expert = tl.arange(0, M_PAD)[None, :]
    c0 = tl.broadcast_to(group, TILE // 4, M_PAD)
    c1 = tl.broadcast_to(expert, TILE // 4, M_PAD)
    c2 = tl.zeros([TILE // 4, M_PAD], tl.int32)
    w0, w1, w2, w3 = tl.philox(key, c0, c1, c2 + t, c2)
    words = tl.join(tl.join(w0, w2), tl.join(w1, w3))
    words = words.reshape(TILE // 4, M_PAD, 4).permute(0, 2, 1).reshape(TILE, M_PAD)
    return (words >> 8).to(tl.float32) * 5.9604644775390625e-08  # 2^-24


@triton.jit(do_not_specialize=["t"])  # or 0 and 1 would be compiled for themselves
@no_type_check
def _fill(
    out,  # [S, n, M]
    key,  # [S]
    t,
    n,
    M: tl.constexpr,
    M_PAD: tl.constexpr,
    TILE: tl.constexpr,
):
    run = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * TILE
    i = first + tl.arange(0, TILE)
    m = tl.arange(0, M_PAD)
    tl.store(
        out + (run * n + i)[:, None] * M + m[None, :],
        uniform(tl.load(key + run), first, t, TILE, M_PAD),
        mask=(i < n)[:, None] & (m < M)[None, :],
    )


@lru_cache(maxsize=16)  # a training asks for the same keys at every step
def _words(keys: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    words = torch.tensor(keys, dtype=torch.int64, device=device)
    return words[:, 0] | words[:, 1] << 32


def fill_uniform(out: Tensor, keys: Sequence[tuple[int, int]], step: int) -> None:
    """Fill ``out``, contiguous [S, n, M] on a GPU, as the function of that name in rng.

    Parameters
    ----------
    out : Tensor
        float32.
    keys : sequence of tuple
        One for each run, from :func:`moe_lib.rng.philox_key`.
    step : int
        In [0, 2**32).
    """
    num_runs, num_rows, num_columns = out.shape
    _fill[(num_runs, triton.cdiv(num_rows, TILE))](
        out,
        _words(tuple(keys), out.device),
        step - 2**32 if step >= 2**31 else step,  # 32 bits, signed
        num_rows,
        M=num_columns,
        M_PAD=triton.next_power_of_2(num_columns),
        TILE=TILE,
    )
