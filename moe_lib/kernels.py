"""The kernels of :mod:`moe_lib.fused`, in Triton: a GPU's programs over tiles.

Sizes with the ending PAD are powers of two; what lies beyond the true size is masked.
"""

from typing import no_type_check

import triton
import triton.language as tl

from moe_lib.philox_kernel import uniform

TILE = 64  # examples that are routed together
ROWS = 128  # patches that are computed together


@triton.jit
@no_type_check
def _activate(z, ACTIVATION: tl.constexpr):
    """Return the activation of z and its derivative."""
    if ACTIVATION == "linear":
        return z, tl.full(z.shape, 1.0, tl.float32)
    elif ACTIVATION == "cubic":
        return z * z * z, 3 * z * z
    elif ACTIVATION == "relu":
        return tl.maximum(z, 0.0), tl.where(z > 0, 1.0, 0.0)
    elif ACTIVATION == "celu":
        e = tl.exp(tl.minimum(z, 0.0))
        return tl.where(z > 0, z, e - 1), e
    elif ACTIVATION == "gelu":
        cdf = 0.5 * (1 + tl.erf(z * 0.7071067811865476))
        return z * cdf, cdf + z * tl.exp(-0.5 * z * z) * 0.3989422804014327
    else:
        tanh = 2 * tl.sigmoid(2 * z) - 1
        return tanh, 1 - tanh * tanh


@triton.jit
@no_type_check
def _split(a, EXACT: tl.constexpr):
    """Return a / max|a| in half precision, what that lost, and max|a|."""
    scale = tl.max(tl.abs(a))
    scale = tl.where(scale > 0, scale, 1.0)
    a = a / scale
    high = a.to(tl.float16)
    low = (a - high.to(tl.float32)).to(tl.float16) if EXACT else high
    return high, low, scale


@triton.jit
@no_type_check
def _product(a_high, a_low, b_high, b_low, EXACT: tl.constexpr):
    """Return a @ b from both halves of both, but for the product of what was lost."""
    result = tl.dot(a_high, b_high)
    if EXACT:
        result = tl.dot(a_low, b_high, result)
        result = tl.dot(a_high, b_low, result)
    return result


@triton.jit(do_not_specialize=["t"])  # or 0 and 1 would be compiled for themselves
@no_type_check
def route(
    s_high,  # [S or 1, n, STRIDE]: the sum of the patches
    s_low,
    s_scale,
    cluster,  # [S or 1, n]
    router_weight,  # [S, D, M]
    key,  # [S]
    order,  # [S, chunks, M, CHUNK]: the examples of each expert
    load,  # [S, chunks, M]: how many they are
    probs,  # [S, n, M]
    counts,  # [S, K, M]
    n,
    data_stride,  # n, or 0 where all runs share the data
    t,
    CHUNK: tl.constexpr,
    D: tl.constexpr,
    D_PAD: tl.constexpr,
    STRIDE: tl.constexpr,
    M: tl.constexpr,
    M_PAD: tl.constexpr,
    K: tl.constexpr,
    K_PAD: tl.constexpr,
    EXACT: tl.constexpr,
    TILE: tl.constexpr,
):
    """Choose an expert for each example of one chunk, and list who goes where."""
    run = tl.program_id(0).to(tl.int64)
    start = tl.program_id(1) * CHUNK
    size = tl.minimum(CHUNK, n - start)
    part = run * tl.num_programs(1) + tl.program_id(1)
    s_high += run * data_stride * STRIDE
    s_low += run * data_stride * STRIDE
    cluster += run * data_stride
    probs += run * n * M
    order += part * M * CHUNK

    k = tl.arange(0, D_PAD)
    m = tl.arange(0, M_PAD)
    tile = tl.arange(0, TILE)
    theta = tl.load(
        router_weight + run * D * M + k[:, None] * M + m[None, :],
        mask=(k < D)[:, None] & (m < M)[None, :],
        other=0.0,
    )
    theta_high, theta_low, scale = _split(theta, EXACT)
    scale *= s_scale
    run_key = tl.load(key + run)
    earlier = (tile[:, None] > tile[None, :]).to(tl.float16)
    sent = tl.zeros([M_PAD], tl.float32)
    table = tl.zeros([K_PAD, M_PAD], tl.float32)
    for first in range(0, size, TILE):
        i = start + first + tile
        inside = first + tile < size
        at = i[:, None] * STRIDE + k[None, :]
        within = inside[:, None] & (k < STRIDE)[None, :]
        high = tl.load(s_high + at, mask=within, other=0.0)
        low = tl.load(s_low + at, mask=within, other=0.0) if EXACT else high
        h = _product(high, low, theta_high, theta_low, EXACT) * scale
        h = tl.where((m < M)[None, :], h, float("-inf"))
        choice = tl.argmax(h + uniform(run_key, start + first, t, TILE, M_PAD), axis=1)
        e = tl.exp(h - tl.max(h, axis=1)[:, None])
        pi = e / tl.sum(e, axis=1)[:, None]
        cell = i[:, None] * M + m[None, :]
        tl.store(probs + cell, pi, mask=inside[:, None] & (m < M)[None, :])
        # An example's place in its expert's list: how many came before it. Sums of
        # ones are exact in any precision.
        chosen = (choice[:, None] == m[None, :]) & inside[:, None]
        before = tl.dot(earlier, chosen.to(tl.float16)) + sent[None, :]
        place = tl.sum(tl.where(chosen, before, 0.0), axis=1).to(tl.int32)
        tl.store(order + choice * CHUNK + place, i, mask=inside)
        sent += tl.sum(chosen.to(tl.float32), axis=0)
        if K > 0:
            c = tl.load(cluster + i, mask=inside, other=-1)
            member = (tl.arange(0, K_PAD)[:, None] == c[None, :]).to(tl.float16)
            table += tl.dot(member, chosen.to(tl.float16))
    tl.store(load + part * M + m, sent.to(tl.int32), mask=m < M)
    if K > 0:
        c = tl.arange(0, K_PAD)
        tl.atomic_add(
            counts + run * K * M + c[:, None] * M + m[None, :],
            table.to(tl.int32),
            mask=(c < K)[:, None] & (m < M)[None, :],
        )


@triton.jit
@no_type_check
def learn(
    x_high,  # [S or 1, n, P, STRIDE]
    x_low,
    x_scale,
    y,  # [S or 1, n]
    expert_weight,  # [S, M, J, D]
    order,  # as in route
    load,
    probs,
    grad_expert,  # [S, chunks, M, J, D]
    grad_router,  # [S, chunks, M, D, M]
    sums,  # [S, chunks, M, 2]: loss, correct predictions
    n,
    data_stride,
    CHUNK: tl.constexpr,
    P: tl.constexpr,
    P_PAD: tl.constexpr,
    D: tl.constexpr,
    D_PAD: tl.constexpr,
    STRIDE: tl.constexpr,
    M: tl.constexpr,
    M_PAD: tl.constexpr,
    J: tl.constexpr,
    J_PAD: tl.constexpr,
    ROUTED: tl.constexpr,
    ACTIVATION: tl.constexpr,
    EXACT: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Add up loss and gradients over the examples of one expert in one chunk."""
    run = tl.program_id(0).to(tl.int64)
    expert = tl.program_id(2)
    start = tl.program_id(1) * CHUNK
    part = (run * tl.num_programs(1) + tl.program_id(1)) * M + expert
    x_high += run * data_stride * P * STRIDE
    x_low += run * data_stride * P * STRIDE
    y += run * data_stride
    probs += run * n * M
    order += part * CHUNK
    GROUP: tl.constexpr = ROWS // P_PAD  # examples that are computed together

    k = tl.arange(0, D_PAD)
    m = tl.arange(0, M_PAD)
    j = tl.arange(0, J_PAD)
    row = tl.arange(0, ROWS)
    p = row % P_PAD
    filters = j[:, None] * D + k[None, :]
    is_filter = (j < J)[:, None] & (k < D)[None, :]
    own = expert_weight + (run * M + expert) * J * D
    weight = tl.load(own + filters, mask=is_filter, other=0.0)
    w_high, w_low, scale = _split(weight, EXACT)
    w_high, w_low = tl.trans(w_high), tl.trans(w_low)
    scale *= x_scale
    grad = tl.zeros([J_PAD, D_PAD], tl.float32)
    grad_theta = tl.zeros([M_PAD, D_PAD], tl.float32)
    loss = tl.zeros([ROWS], tl.float32)
    correct = tl.zeros([ROWS], tl.float32)
    size = tl.load(load + part) if ROUTED else tl.minimum(CHUNK, n - start)
    for first in range(0, size, GROUP):
        place = first + row // P_PAD
        inside = place < size
        if ROUTED:
            i = tl.load(order + place, mask=inside, other=0)
            gate = tl.load(probs + i * M + expert, mask=inside, other=0.0)
        else:
            i = start + place
            gate = tl.full([ROWS], 1.0, tl.float32)
        label = tl.load(y + i, mask=inside, other=1.0)
        at = (i * P + p)[:, None] * STRIDE + k[None, :]
        within = (inside & (p < P))[:, None] & (k < STRIDE)[None, :]
        high = tl.load(x_high + at, mask=within, other=0.0)
        low = tl.load(x_low + at, mask=within, other=0.0) if EXACT else high
        z = _product(high, low, w_high, w_low, EXACT) * scale
        # Padded filters and patches respond with 0, and every sigma(0) = 0.
        value, slope = _activate(z, ACTIVATION)
        f = tl.sum(tl.sum(value, axis=1).reshape(GROUP, P_PAD), axis=1)
        f = tl.broadcast_to(f[:, None], GROUP, P_PAD).reshape(ROWS)
        margin = label * gate * f
        once = inside & (p == 0)
        log_loss = tl.maximum(-margin, 0.0) + tl.log(1 + tl.exp(-tl.abs(margin)))
        loss += tl.where(once, log_loss, 0.0)
        correct += tl.where(once & (margin > 0), 1.0, 0.0)
        back = tl.where(inside, -label * gate * tl.sigmoid(-margin) / n, 0.0)
        a_high, a_low, a_scale = _split(slope * back[:, None], EXACT)
        a_high, a_low = tl.trans(a_high), tl.trans(a_low)
        grad += _product(a_high, a_low, high, low, EXACT) * (a_scale * x_scale)
        if ROUTED:
            cell = i[:, None] * M + m[None, :]
            is_expert = inside[:, None] & (m < M)[None, :]
            pi = tl.load(probs + cell, mask=is_expert, other=0.0)
            toward = tl.where(m[None, :] == expert, 1.0, 0.0) - pi
            a_high, a_low, a_scale = _split((back * f)[:, None] * toward, EXACT)
            a_high, a_low = tl.trans(a_high), tl.trans(a_low)
            push = _product(a_high, a_low, high, low, EXACT)
            grad_theta += push * (a_scale * x_scale)
    tl.store(grad_expert + part * J * D + filters, grad, mask=is_filter)
    if ROUTED:
        tl.store(
            grad_router + part * D * M + k[None, :] * M + m[:, None],
            grad_theta,
            mask=(m < M)[:, None] & (k < D)[None, :],
        )
    tl.store(sums + part * 2, tl.sum(loss))
    tl.store(sums + part * 2 + 1, tl.sum(correct))


@triton.jit
@no_type_check
def move_experts(
    weight,  # [S, M, SIZE]
    grad,  # [S, chunks, M, SIZE]
    lr,
    chunks,
    M: tl.constexpr,
    SIZE: tl.constexpr,
    SIZE_PAD: tl.constexpr,
):
    """Move one expert by ``lr`` along its gradient: NormalizedGD."""
    run = tl.program_id(0).to(tl.int64)
    expert = tl.program_id(1)
    at = tl.arange(0, SIZE_PAD)
    total = tl.zeros([SIZE_PAD], tl.float32)
    for chunk in range(chunks):
        total += tl.load(
            grad + ((run * chunks + chunk) * M + expert) * SIZE + at,
            mask=at < SIZE,
            other=0.0,
        )
    # scaled by the largest entry first: squares of a tiny gradient would underflow
    largest = tl.max(tl.abs(total))
    scaled = total / tl.where(largest > 0, largest, 1.0)
    norm = tl.maximum(tl.sqrt(tl.sum(scaled * scaled)), 1.0)
    own = weight + (run * M + expert) * SIZE + at
    old = tl.load(own, mask=at < SIZE, other=0.0)
    tl.store(own, old - lr * scaled / norm, mask=at < SIZE)
