"""Benchmarks: the right rival, the right count, and a page that shows the numbers."""

import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import images, page, report
from benchmarks.reference import DenseMixture
from benchmarks.timing import alternate, needed_flop
from moe_lib import TrainConfig, train
from moe_lib.config import setting
from moe_lib.losses import logistic_loss
from moe_lib.networks import CNN
from moe_lib.router import sample_router_noise
from tests import toys


def problem(seed, num_examples=40):
    """Return the same weights in both forms, and examples in both layouts."""
    data = toys.draw(toys.data_config(), num_examples, seed=seed).to(torch.float64)
    model = toys.moe(experts=3, seed=seed)
    return model, DenseMixture(model), data, data.x.flatten(1).unsqueeze(1)


@pytest.mark.parametrize("seed", range(3))
def test_the_dense_reference_has_our_loss_and_gradients(seed):
    model, dense, data, flat = problem(seed)
    noise = 4 * toys.uniform(len(data), 3, seed=seed + 1)  # so that no expert is idle
    out = model(data.x, router_noise=noise[None])
    assert len(out.routing.expert_index.unique()) == 3
    [loss] = logistic_loss(out.output, data.y)
    loss.backward()
    # A step of length 0 leaves the gradients behind.
    still = TrainConfig(expert_lr=0.0, router_lr=0.0)
    torch.testing.assert_close(dense.step(flat, data.y, noise, still), loss.detach())
    [theta] = model.router_weight.grad
    assert theta.abs().max() > 1e-4
    torch.testing.assert_close(dense.router.weight.grad[:, 0].T, theta)
    for expert, grad in zip(dense.experts, model.expert_weight.grad[0], strict=True):
        assert grad.abs().max() > 1e-4
        torch.testing.assert_close(expert.weight.grad[:, 0], grad)


def test_the_dense_reference_takes_our_steps():
    model, dense, data, flat = problem(seed=0)
    config = TrainConfig(steps=3, expert_lr=0.1, router_lr=0.5)
    history = train(model, data, config)
    for step in range(config.steps):
        [noise] = sample_router_noise(len(data), 3, seeds=[0], step=step).double()
        loss = dense.step(flat, data.y, noise, config)
        torch.testing.assert_close(history.loss[step, 0], loss)
    torch.testing.assert_close(dense.router.weight[:, 0].T, model.router_weight[0])
    for expert, weight in zip(dense.experts, model.expert_weight[0], strict=True):
        torch.testing.assert_close(expert.weight[:, 0], weight)


def test_every_expert_of_the_dense_reference_looks_at_every_example():
    _, dense, data, flat = problem(seed=0)
    seen = []
    for expert in dense.experts:
        expert.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    dense(flat, toys.uniform(len(data), 3))
    assert seen == [flat.shape] * 3


@pytest.mark.parametrize(
    ("n", "num_patches", "dim", "num_filters", "num_experts"),
    [(40, 3, 6, 2, 3), (7, 4, 9, 5, 1)],
)
def test_the_count_is_that_of_each_example_at_its_own_expert(
    n, num_patches, dim, num_filters, num_experts
):
    x = toys.normal(n, num_patches, dim)
    theta = toys.normal(dim, num_experts).requires_grad_()
    filters = [toys.normal(num_filters, dim).requires_grad_() for _ in range(3)]
    with FlopCounterMode(display=False) as counter:
        total = (x.sum(dim=1) @ theta).sum()
        for rows, weight in zip(torch.arange(n).split(n // 2), filters, strict=False):
            total = total + ((x[rows].flatten(0, 1) @ weight.T) ** 3).sum()
        total.backward()
    count = needed_flop(n, num_patches, dim, num_filters, num_experts)
    assert count == counter.get_total_flops()


def test_the_count_at_the_size_of_the_paper():
    data = setting(1)
    count = needed_flop(data.num_train, data.num_patches, data.dim, 16, 8)
    assert count == 230_400_000


class FakeBenchmark:
    """Calls as pytest-benchmark does; each call takes a second more than the last."""

    def __init__(self):
        self.extra_info, self.called = {}, []

    def pedantic(self, target, *, setup, rounds, warmup_rounds):
        for _ in range(warmup_rounds + rounds):
            args, kwargs = setup()
            target(*args, **kwargs)
        times = [float(warmup_rounds + i) for i in range(rounds)]
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=times))


def test_cases_take_turns_and_keep_their_own_times():
    benchmark = FakeBenchmark()
    cases = {
        "once": (1, lambda: benchmark.called.append("once")),
        "twice": (2, lambda: benchmark.called.append("twice")),
    }
    alternate(benchmark, cases, rounds=3)
    assert benchmark.called == ["once", "twice"] * 4
    assert benchmark.extra_info["seconds"] == {
        "once": {"median": 4.0, "min": 2.0, "rounds": 3},  # calls 2, 4 and 6
        "twice": {"median": 2.5, "min": 1.5, "rounds": 3},  # calls 3, 5 and 7, halved
    }


def seconds(**medians):
    return {k: {"median": v, "min": 0.8 * v, "rounds": 5} for k, v in medians.items()}


CPU_TESTS = {
    "test_step": {
        "seconds": seconds(train=4e-3, plain=2e-2, dense=8e-2, read=1e-4)
        | seconds(gemm_10=2e-5, gemm_20=5e-5),
        "gemm_flop": {"gemm_10": 2_000, "gemm_20": 16_000},
        "flop": 400_000,
    },
    "test_growth[n]": {"seconds": seconds(**{"16000": 4e-3, "64000": 2e-2})},
    "test_growth[M]": {"seconds": seconds(**{"8": 4e-3, "64": 6e-3})},
    "test_growth[J]": {"seconds": seconds(**{"4": 3e-3, "16": 4e-3})},
    "test_growth[S]": {"seconds": seconds(**{"1": 4e-3, "10": 4.4e-2})},
    "test_memory": {"import_mb": 200.0, "total_mb": 650.0},
}


def gpu_test(runs, precision, shared=False):
    whole = {"median": 2.0, "min": 1.9, "rounds": 2}
    training = {"median": 1.5, "min": 1.4, "rounds": 2}
    case = {"runs": runs, "precision": precision, "shared": shared, "steps": 500}
    return case | {
        "seconds": whole,
        "training_seconds": training,
        "floor_seconds": 0.5,
    }


GPU_TESTS = {
    f"test_runs[{runs}-{precision}]": gpu_test(runs, precision)
    for runs in (1, 10, 100, 1000)
    for precision in ("float32", "half")
} | {"test_runs[1000_shared-half]": gpu_test(1000, "half", shared=True)}


def measured(tests):
    """Return what pytest-benchmark writes, as far as we read it."""
    return {
        "machine_info": {
            "node": "secret-host",
            "machine": "x86_64",
            "cpu": {"brand_raw": "A processor", "count": 2, "flags": ["sse"]},
            "python_version": "3.11.0",
            "threads": 2,
            "torch": "2.0",
            "compiled": True,
            "commit": "abc1234",
        },
        "datetime": "2026-01-02T03:04:05",
        "benchmarks": [
            {"name": name, "extra_info": info, "stats": {"data": [1.0] * 1000}}
            for name, info in tests.items()
        ],
    }


@pytest.fixture
def record_of(tmp_path):
    def load(tests):
        path = tmp_path / "measured.json"
        path.write_text(json.dumps(measured(tests)))
        return report.load(path)

    return load


def test_the_line_of_numbers(record_of):
    numbers = report.summary(record_of(CPU_TESTS))
    # 400,000 operations at 16,000 in 0.04 ms take 1 ms; one read takes 0.08 ms.
    assert numbers["floor_ms"] == pytest.approx(1.08)
    assert numbers["gflop_per_s"] == pytest.approx(0.4)
    assert numbers["ratio_floor"] == pytest.approx(4 / 1.08, abs=1e-3)
    assert numbers["ratio_dense"] == pytest.approx(20)
    assert numbers["ratio_m64_m8"] == pytest.approx(1.5)
    assert numbers["ratio_n"] == pytest.approx(1.25)
    assert numbers["peak_mb"] == pytest.approx(450)
    assert (numbers["step_ms"], numbers["dense_ms"]) == (4, 80)
    assert (numbers["cpu"], numbers["threads"]) == ("A processor", 2)


def test_the_line_of_a_gpu(record_of):
    numbers = report.summary(record_of(GPU_TESTS))
    assert numbers["runs_per_s_half_1000"] == 500
    assert numbers["runs_per_s_half_1000_shared"] == 500
    assert numbers["ratio_floor_float32_10"] == 4


def test_the_line_comes_last(tmp_path, monkeypatch, capsys):
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(measured(CPU_TESTS)))
    monkeypatch.setattr("sys.argv", ["report", str(path)])
    report.main()
    *tables, last = capsys.readouterr().out.splitlines()
    assert json.loads(last)["ratio_dense"] == 20
    assert "| Dense reference | 80 | 64 | 20 |" in tables


def test_nothing_kept_names_the_host_or_repeats_each_time(record_of):
    kept = json.dumps(record_of(CPU_TESTS))
    assert "secret-host" not in kept
    assert len(kept) < 5000


def test_a_kept_record_reads_back_equal(record_of, tmp_path):
    record, path = record_of(CPU_TESTS), tmp_path / "kept.json"
    path.write_text(json.dumps(record))
    assert report.load(path) == record


@pytest.mark.parametrize(
    ("value", "text"),
    [(1263.4, "1,260"), (0.01914, "0.0191"), (83.94, "83.9"), (2.0, "2")],
)
def test_numbers_have_three_digits(value, text):
    assert report.number(value) == text


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Let the committed page and its numbers be copies."""
    copy = tmp_path / "performance.md"
    copy.write_text(page.PAGE.read_text())
    monkeypatch.setattr(page, "PAGE", copy)
    monkeypatch.setattr(page, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(page, "PLOTS", tmp_path / "plots")
    return copy


@pytest.mark.parametrize("tests", [CPU_TESTS, GPU_TESTS])
def test_the_page_shows_what_was_measured(record_of, book, tests):
    record = record_of(tests)
    page.show(record)
    assert all(
        content in book.read_text() for content in report.sections(record).values()
    )
    [plot] = page.PLOTS.glob("*.svg")
    assert page.digest(record) in plot.read_text()
    assert page.kept() == {plot.stem: record}
    once = book.read_text()
    page.show(record)
    assert book.read_text() == once


def test_a_page_without_a_place_for_a_table_is_refused(record_of, book):
    book.write_text(book.read_text().replace("<!-- numbers: step -->", ""))
    with pytest.raises(ValueError, match=r"^page must have one place for step, got 0$"):
        page.show(record_of(CPU_TESTS))


def test_the_committed_page_agrees_with_the_committed_numbers():
    records, text = page.kept(), page.PAGE.read_text()
    assert "cpu" in records
    assert page.rewritten(text, records) == text
    for name, record in records.items():
        plot = (page.PLOTS / f"{name}.svg").read_text()
        assert page.digest(record) in plot


def test_other_numbers_would_be_noticed():
    records, text = page.kept(), page.PAGE.read_text()
    records["cpu"]["tests"]["test_step"]["seconds"]["train"]["median"] *= 1.1
    assert page.rewritten(text, records) != text


def test_the_committed_numbers_give_the_whole_line():
    wanted = {"ratio_dense", "ratio_floor", "ratio_m64_m8", "ratio_n", "peak_mb"}
    wanted |= {"step_ms", "dense_ms", "floor_ms", "gflop_per_s", "threads", "cpu"}
    assert wanted <= set(report.summary(page.kept()["cpu"]))


def test_a_busy_machine_is_named():
    quiet, slow = {"median": 1.4, "min": 1.0}, {"median": 1.6, "min": 1.0}
    assert not report.busy({"tests": {"a": {"seconds": {"train": quiet}}}})
    assert report.busy({"tests": {"a": {"seconds": {"train": quiet, "dense": slow}}}})
    assert report.busy({"tests": {"a": {"seconds": slow}, "memory": {}}})


def test_the_benchmark_of_images_runs(monkeypatch, capsys):
    network = partial(CNN, num_classes=2, image_size=16, channels=4, hidden=4)
    monkeypatch.setattr(images, "build", network)
    images.main(["--tiny"])
    found = json.loads(capsys.readouterr().out)
    assert [(r["precision"], r["memory_format"]) for r in found["results"]] == [
        (precision, memory_format)
        for precision in ("fp32", "bf16")
        for memory_format in ("channels_first", "channels_last")
    ]
    for result in found["results"]:
        small, mixture, large = result["images_per_s"].values()
        ratios = [result[f"ratio_at_equal_batch{name}"] for name in ("_per_expert", "")]
        assert ratios == pytest.approx([mixture / small, mixture / large], rel=0.1)
        assert sum(result["images_of_each_expert"]) == 16


def test_the_page_shows_what_was_measured_of_networks():
    root = Path(__file__).parents[1]
    record = json.loads((root / "benchmarks" / "images_h100.json").read_text())
    page = (root / "book" / "performance.md").read_text()
    for row in record["results"]:
        layout = row["memory_format"].replace("_", " ")
        speeds = r" \| ".join(f"{v:,.0f}" for v in row["images_per_s"].values())
        ratios = [row["ratio_at_equal_batch_per_expert"], row["ratio_at_equal_batch"]]
        found = re.search(
            rf"\| {row['precision']}, {layout} \| {speeds} \| (\S+) \| (\S+) \|", page
        )
        assert found, row
        assert [float(v) for v in found.groups()] == pytest.approx(ratios, abs=0.0051)
