"""The step of Algorithm 1 on a CPU: its rivals, its growth, its memory."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.reference import DenseMixture
from benchmarks.timing import alternate, needed_flop
from moe_lib import ModelConfig, MoE, TrainConfig, native, setting, stack_runs, train
from moe_lib.data import make_split

DATA = setting(1)
STEPS = 10  # in one round: noise, routing, experts, loss, gradients, update, history
GEMM_SIZES = (512, 1024, 2048)
GROWTH = {
    "n": (4_000, 8_000, 16_000, 32_000, 64_000),
    "M": (1, 2, 4, 8, 16, 32, 64),
    "J": (4, 8, 16, 32, 64),
    "S": (1, 2, 5, 10),
}


def training(data, *, runs=1, steps=STEPS, **sizes):
    """Return the case of a cubic mixture that trains on, round after round."""
    model = MoE(ModelConfig(**sizes), dim=DATA.dim, seeds=range(runs))
    return steps, lambda: train(model, data, TrainConfig(steps=steps))


def without_compiler(case):
    count, work = case

    def run():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "library", lambda: None)
            work()

    return count, run


def test_step(benchmark):
    """Our step, the dense one, and what this machine needs for the work at least."""
    data, sizes = make_split(DATA, 0, "train"), ModelConfig()
    n, num_experts = len(data), sizes.num_experts
    dense = DenseMixture(MoE(sizes, dim=DATA.dim, seeds=[0]))
    flat = data.x.flatten(1).unsqueeze(1)

    def dense_step():
        dense.step(flat, data.y, torch.rand(n, num_experts), TrainConfig())

    cases = {
        "train": training(data),
        "plain": without_compiler(training(data, steps=1)),
        "dense": (1, dense_step),
        "read": (10, lambda: [data.x.sum() for _ in range(10)]),
    }
    for size in GEMM_SIZES:
        square = torch.rand(size, size)
        cases[f"gemm_{size}"] = 1, lambda square=square: square @ square
    alternate(benchmark, cases, rounds=30)
    benchmark.extra_info["gemm_flop"] = {f"gemm_{s}": 2 * s**3 for s in GEMM_SIZES}
    benchmark.extra_info["flop"] = needed_flop(
        n, DATA.num_patches, DATA.dim, sizes.num_filters, num_experts
    )


def growing(axis):
    """Yield a size and its case, all else at the size of the paper."""
    most = max(GROWTH["n"])
    if axis == "n":
        data = make_split(replace(DATA, num_train=most), 0, "train")
        yield from ((n, training(data.head(n))) for n in GROWTH["n"])
    elif axis == "S":
        sets = [make_split(DATA, seed, "train") for seed in range(max(GROWTH["S"]))]
        for runs in GROWTH["S"]:
            yield runs, training(stack_runs(sets[:runs]), runs=runs)
    else:
        data = make_split(DATA, 0, "train")
        name = {"M": "num_experts", "J": "num_filters"}[axis]
        yield from ((size, training(data, **{name: size})) for size in GROWTH[axis])


@pytest.mark.parametrize("axis", GROWTH)
def test_growth(benchmark, axis):
    cases = {str(size): case for size, case in growing(axis)}
    alternate(benchmark, cases, rounds=15)


MEMORY = """
import json, re, torch
from pathlib import Path

def most_megabytes():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1e6

imported = most_megabytes()
from moe_lib import setting
from moe_lib.runs import train_model
train_model("moe_cubic", setting(1), range(10), steps=20)
print(json.dumps({"import_mb": imported, "total_mb": most_megabytes()}))
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells the peak"
)
def test_memory(benchmark):
    """Ten seeds at the size of the paper in a process of their own."""
    done = benchmark.pedantic(
        subprocess.run,
        args=([sys.executable, "-c", MEMORY],),
        kwargs={"check": True, "capture_output": True, "text": True},
    )
    benchmark.extra_info |= json.loads(done.stdout)
