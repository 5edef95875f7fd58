"""Many runs at once on a GPU: each with data of its own, or all on the same data."""

import gc
import time

import pytest
import torch

from benchmarks.timing import needed_flop, statistics
from moe_lib import ModelConfig, MoE, TrainConfig, evaluate, setting, stack_runs
from moe_lib.data import PatchDataset, make_split
from moe_lib.fused import PRECISIONS, train_fused

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU here"
)
DATA, SIZES = setting(1), ModelConfig()
STEPS = 500
SETS = 8  # different data sets; each run has a copy of one of them to itself
RUNS = (1, 10, 100, 1000)


@pytest.fixture(scope="module")
def splits():
    """Return the training and the test sets, side by side on the GPU."""
    return [
        stack_runs([make_split(DATA, seed, split) for seed in range(SETS)]).to("cuda")
        for split in ("train", "test")
    ]


def data_of(num_runs, several, shared):
    """Give each run a copy of its own, or all of them one data set."""
    rows = 0 if shared else torch.arange(num_runs, device="cuda") % SETS
    return PatchDataset(
        several.x[rows],
        several.y[rows],
        several.cluster[rows],
        num_clusters=several.num_clusters,
    )


def shortest(work, rounds=10):
    """Return the shortest time of one call, in seconds."""
    work()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.fixture(scope="module")
def rates():
    """Measure the best half-precision products and copies of this GPU."""
    products = []
    for size in (4096, 8192):
        square = torch.rand(size, size, dtype=torch.half, device="cuda")
        seconds = shortest(lambda square=square: square @ square)
        products.append(2 * size**3 / seconds)
    source = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    target = torch.zeros_like(source)
    copied = 2 * source.nbytes / shortest(lambda: target.copy_(source))
    return {"flop_per_s": max(products), "bytes_per_s": copied}


def floor(num_runs, precision, shared, rates):
    """Return the seconds that reading the data, or the products, take at least.

    A product in float32 is made of three in half precision.
    """
    numbers = DATA.num_train * DATA.num_patches * DATA.dim
    stored = numbers * {"float32": 4, "half": 2}[precision]
    flop = needed_flop(
        DATA.num_train, DATA.num_patches, DATA.dim, SIZES.num_filters, SIZES.num_experts
    )
    reading = stored * (1 if shared else num_runs) / rates["bytes_per_s"]
    products = {"float32": 3, "half": 1}[precision]
    computing = num_runs * products * flop / rates["flop_per_s"]
    return STEPS * max(reading, computing)


CASES = [(runs, False) for runs in RUNS] + [(RUNS[-1], True)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("runs", "shared"), CASES, ids=[f"{r}{'_shared' * s}" for r, s in CASES]
)
def test_runs(benchmark, splits, rates, runs, shared, precision):
    gc.collect()  # what the case before held
    torch.cuda.empty_cache()
    train_data, test_data = (data_of(runs, several, shared) for several in splits)

    def model(steps):
        fresh = MoE(SIZES, dim=DATA.dim, seeds=range(runs)).to("cuda")
        return (fresh, TrainConfig(steps=steps)), {}

    training = []

    def train_and_evaluate(model, config):
        start = time.perf_counter()
        train_fused(model, train_data, config, precision=precision)
        training.append(time.perf_counter() - start)
        return evaluate(model, test_data)

    train_and_evaluate(*model(steps=2)[0])  # compiles the kernels
    training.clear()
    found = benchmark.pedantic(
        train_and_evaluate,
        setup=lambda: model(STEPS),
        rounds=3 if runs >= 1000 else 5,
    )
    benchmark.extra_info |= {
        "runs": runs,
        "steps": STEPS,
        "precision": precision,
        "shared": shared,
        "seconds": statistics(benchmark.stats.stats.data),
        "training_seconds": statistics(training),
        "floor_seconds": floor(runs, precision, shared, rates),
        "rates": rates,
        "accuracy": found.accuracy.mean().item(),
        "dispatch_entropy": found.dispatch_entropy.mean().item(),
    }
    assert found.accuracy.mean() > 0.9  # speed counts only where the runs succeed
