"""Algorithm 1 on a GPU: thousands of runs, three kernels to a step.

The first kernel routes: it chooses an expert for each example and lists who goes
where. In the second, one program takes the examples of one expert, so every example
meets its own expert only, and the gradients stay in registers until all are done. The
third moves the experts. Axes: T steps, S runs, n examples, P patches, d dimensions,
M experts, J filters, K clusters.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from moe_lib.checks import check_choice
from moe_lib.config import TrainConfig
from moe_lib.data import PatchDataset
from moe_lib.model import MoE, SingleExpert
from moe_lib.rng import philox_key
from moe_lib.train import Callback, History, train

PRECISIONS = ("float32", "half")
MAX_FILTERS = 128
MAX_GRADIENT = {"num_experts": 2**12, "num_filters": 2**14}  # kept on the chip
MAX_OFFSET = 2**31  # kernels count in 32 bits within a run
PROGRAMS = 1056  # enough to fill a GPU: eight for each of an H100's 132 processors
MIN_CHUNK = 256  # examples


def fits(model: MoE | SingleExpert, data: PatchDataset) -> bool:
    """Say whether :func:`train_fused` can train this model on these data."""
    return _objection(model, data) is None


def fastest(model: MoE | SingleExpert, data: PatchDataset) -> Callable[..., History]:
    """Return :func:`train_fused` where it can train this, and else ``train``."""
    return train_fused if fits(model, data) else train


def _objection(model: MoE | SingleExpert, data: PatchDataset) -> str | None:
    """Say what speaks against the kernels."""
    weight, x = model.expert_weight, data.x
    if find_spec("triton") is None:
        return "Triton must be installed to train by train_fused"
    if weight.device.type != "cuda" or x.device != weight.device:
        return f"model and data must be on one GPU, got {weight.device} and {x.device}"
    if (weight.dtype, x.dtype) != (torch.float32, torch.float32):
        return f"model and data must be float32, got {weight.dtype} and {x.dtype}"
    if weight.shape[2] > MAX_FILTERS:
        return f"num_filters must be at most {MAX_FILTERS}, got {weight.shape[2]}"
    _, num_experts, num_filters, dim = weight.shape
    for name, size in (("num_experts", num_experts), ("num_filters", num_filters)):
        if _power_of_two(size) * _power_of_two(dim) > MAX_GRADIENT[name]:
            return (
                f"{name} times dim, both rounded up to powers of two, must be at most "
                f"{MAX_GRADIENT[name]}, got {size} and {dim}"
            )
    n, num_patches, _ = x.shape[-3:]
    if max(n * num_patches * (dim + 8), n * num_experts) >= MAX_OFFSET:
        return f"data must have less than {MAX_OFFSET} numbers in a run, got n = {n}"
    return None


def train_fused(
    model: MoE | SingleExpert,
    data: PatchDataset,
    config: TrainConfig,
    *,
    callback: Callback | None = None,
    precision: str = "float32",
) -> History:
    """Train all runs of ``model`` in place, as :func:`moe_lib.train.train` does.

    Parameters
    ----------
    model : MoE or SingleExpert
        On a GPU, float32, with at most 128 filters in each expert.
    data : PatchDataset
        Training set on the same GPU: shared, or one for each run.
    config : TrainConfig
        Steps and learning rates.
    callback : callable, optional
        Called as ``callback(step, model, None)`` before each step and once after the
        last one: outputs are not kept.
    precision : str
        Of the matrix products: ``float32`` (each number split in two halves, errors
        near 1e-6) or ``half`` (errors near 1e-3, nearly twice as fast). Weights and
        sums are float32 in both.

    Returns
    -------
    History
        The one of ``train`` up to rounding: the routing noise is the same.

    Raises
    ------
    ValueError
        If the model or the data do not fit, the precision is unknown, or Triton is
        missing.

    References
    ----------
    Chen et al. (2022), Algorithm 1. The evaluation order is ours.
    """
    check_choice("precision", precision, PRECISIONS)
    objection = _objection(model, data)
    if objection is not None:
        raise ValueError(objection)
    step = _Step(model, data, config, exact=precision == "float32")
    name = f"{type(model).__name__}, {model.config.activation}"
    for t in tqdm(range(config.steps), desc=name, leave=False, disable=None):
        if callback is not None:
            callback(t, model, None)
        step.run(t)
    if callback is not None:
        callback(config.steps, model, None)
    return step.history()


def _power_of_two(size: int, least: int = 16) -> int:
    """Round up: tiles are powers of two, and matrix units take 16 or more."""
    return max(least, 1 << max(size - 1, 0).bit_length())


def _halves(name: str, x: Tensor, exact: bool) -> dict[str, Any]:
    """Split x into a scale and two parts of half precision, rows of 16 bytes each."""
    scale = x.abs().max().item() or 1.0
    rows = (*x.shape[:-1], x.shape[-1] + -x.shape[-1] % 8)
    high = x.new_zeros(rows, dtype=torch.half)
    low = torch.zeros_like(high) if exact else high
    inner = (..., slice(x.shape[-1]))
    slices = (part.split(64) for part in (x, high[inner], low[inner]))
    for part, upper, lower in zip(*slices, strict=True):  # so temporaries stay small
        upper.copy_(part / scale)
        if exact:
            lower.copy_(part / scale - upper)
    return {f"{name}_high": high, f"{name}_low": low, f"{name}_scale": scale}


class _Step:
    """The buffers and the launches of one training step."""

    def __init__(
        self,
        model: MoE | SingleExpert,
        data: PatchDataset,
        config: TrainConfig,
        exact: bool,
    ) -> None:
        from moe_lib import kernels  # needs Triton

        self.kernels, self.model, self.config = kernels, model, config
        weight = model.expert_weight.data
        num_runs, num_experts, num_filters, dim = weight.shape
        linear = model.config.activation == "linear"  # sees the sum of the patches only
        x = data.patch_sum.unsqueeze(-2) if linear else data.x
        self.n, num_patches = n, _ = x.shape[-3:-1]
        chunks = max(1, min(PROGRAMS // num_runs, n // MIN_CHUNK))
        chunk_size = -(-n // chunks)
        chunk_size += -chunk_size % kernels.TILE
        self.grid = (num_runs, -(-n // chunk_size), num_experts)
        routed = isinstance(model, MoE)
        counted = routed and data.cluster is not None
        num_clusters = (data.num_clusters or 0) if counted else 0

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=weight.device)

        runs_and_steps = (config.steps, num_runs)
        self.sums = empty(*runs_and_steps, *self.grid[1:], 2)
        self.counts = torch.zeros(
            (*runs_and_steps, num_clusters, num_experts),
            dtype=torch.int32,
            device=weight.device,
        )
        self.grad_expert = empty(*self.grid, num_filters, dim)
        self.grad_router = empty(*self.grid, dim, num_experts if routed else 0)
        common = {
            "order": empty(*self.grid, chunk_size, dtype=torch.int32),
            "load": empty(*self.grid, dtype=torch.int32),
            "probs": empty(num_runs, n, num_experts if routed else 0),
            "n": n,
            "data_stride": 0 if x.dim() == 3 else n,
            "CHUNK": chunk_size,
            "D": dim,
            "D_PAD": _power_of_two(dim),
            "STRIDE": dim + -dim % 8,
            "M": num_experts,
            "M_PAD": _power_of_two(num_experts),
            "EXACT": exact,
        }
        keys = [philox_key(seed, "router_noise") for seed in model.seeds]
        words = torch.tensor(keys, dtype=torch.int64, device=weight.device)
        self.route_arguments = common | {
            "key": words[:, 0] | words[:, 1] << 32,
            "cluster": data.cluster if counted else common["load"],
            "K": num_clusters,
            "K_PAD": _power_of_two(num_clusters),
            "TILE": kernels.TILE,
            "num_warps": 2,
        }
        if routed:
            self.route_arguments |= _halves("s", data.patch_sum, exact)
        filters = _power_of_two(num_filters)
        self.learn_arguments = common | {
            "y": data.y.contiguous(),
            "expert_weight": weight,
            "grad_expert": self.grad_expert,
            "grad_router": self.grad_router,
            "P": num_patches,
            "P_PAD": _power_of_two(num_patches, least=1),
            "J": num_filters,
            "J_PAD": filters,
            "ROUTED": routed,
            "ACTIVATION": model.config.activation,
            "ROWS": kernels.ROWS if filters <= 32 else kernels.ROWS // 4,
            **_halves("x", x, exact),
        }

    def run(self, t: int) -> None:
        """Launch step t."""
        weight = self.model.expert_weight.data
        num_experts, num_filters, dim = weight.shape[1:]
        if isinstance(self.model, MoE):
            self.kernels.route[self.grid[:2]](
                router_weight=self.model.router_weight.data,
                counts=self.counts[t],
                t=t,
                **self.route_arguments,
            )
        self.kernels.learn[self.grid](sums=self.sums[t], **self.learn_arguments)
        self.kernels.move_experts[self.grid[::2]](
            weight,
            self.grad_expert,
            self.config.expert_lr,
            self.grid[1],
            M=num_experts,
            SIZE=num_filters * dim,
            SIZE_PAD=_power_of_two(num_filters * dim),
        )
        if isinstance(self.model, MoE):
            grad = self.grad_router.sum(dim=(1, 2))
            self.model.router_weight.data.sub_(grad, alpha=self.config.router_lr)

    def history(self) -> History:
        """Wait for the GPU and bring home what it saw."""
        sums = self.sums.double().sum(dim=(2, 3)).cpu() / self.n
        return History(
            loss=sums[..., 0].float(),
            accuracy=sums[..., 1],
            dispatch_counts=self.counts.long().cpu() if self.counts.numel() else None,
        )
