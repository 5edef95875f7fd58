"""Turn what pytest-benchmark measured into tables and one line of numbers.

python -m benchmarks.report FILE [--page]

With --page, the numbers are also kept in `benchmarks/results/` and shown on the page
`book/performance.md`.
"""

import argparse
import json
from pathlib import Path


def load(path):
    """Keep what the tables need, of a measurement or of one that was kept before."""
    raw = json.loads(Path(path).read_text())
    if "tests" in raw:
        return raw
    info = raw["machine_info"]
    machine = {
        "cpu": info["cpu"].get("brand_raw") or info["machine"],
        "cores": info["cpu"].get("count"),
    }
    known = ("gpu", "threads", "compiled", "python_version", "torch", "commit")
    machine |= {key: info[key] for key in known if key in info}
    return {
        "machine": machine,
        "date": raw["datetime"][:10],
        "tests": {b["name"]: _short(b["extra_info"]) for b in raw["benchmarks"]},
    }


def _short(value):
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def floor(step):
    """Return the seconds of the needed operations and of one read of the data."""
    return step["flop"] / gemm_rate(step) + step["seconds"]["read"]["min"]


def busy(record):
    """Say whether something else used the machine: half of the rounds were slow."""
    for test in record["tests"].values():
        seconds = test.get("seconds", {})
        cases = [seconds] if "median" in seconds else seconds.values()
        if any(case["median"] > 1.5 * case["min"] for case in cases):
            return True
    return False


def gemm_rate(step):
    """Return the best rate of the square products, in operations per second."""
    seconds = step["seconds"]
    return max(flop / seconds[name]["min"] for name, flop in step["gemm_flop"].items())


def growth(record, axis):
    """Return sizes and the median seconds of a step."""
    seconds = record["tests"][f"test_growth[{axis}]"]["seconds"]
    return [int(size) for size in seconds], [s["median"] for s in seconds.values()]


def gpu_cases(record):
    """Return what was measured on a GPU, ordered by precision and number of runs."""
    cases = [t for name, t in record["tests"].items() if name.startswith("test_runs")]
    return sorted(cases, key=lambda c: (c["precision"], c["shared"], c["runs"]))


def summary(record):
    """Return the numbers that one compares between machines and versions."""
    tests, numbers = record["tests"], {}
    if "test_step" in tests:
        step = tests["test_step"]
        train = step["seconds"]["train"]["median"]
        dense = step["seconds"]["dense"]["median"]
        numbers |= {
            "ratio_dense": dense / train,
            "ratio_floor": train / floor(step),
            "step_ms": 1e3 * train,
            "plain_ms": 1e3 * step["seconds"]["plain"]["median"],
            "dense_ms": 1e3 * dense,
            "floor_ms": 1e3 * floor(step),
            "gflop_per_s": gemm_rate(step) / 1e9,  # of the best square product
        }
    if "test_growth[M]" in tests:
        of_size = dict(zip(*growth(record, "M"), strict=True))
        numbers["ratio_m64_m8"] = of_size[64] / of_size[8]
    if "test_growth[n]" in tests:
        of_size = dict(zip(*growth(record, "n"), strict=True))
        numbers["ratio_n"] = (of_size[64_000] / 64_000) / (of_size[16_000] / 16_000)
    if "test_memory" in tests:
        memory = tests["test_memory"]
        numbers["peak_mb"] = memory["total_mb"] - memory["import_mb"]
        numbers["import_mb"] = memory["import_mb"]
    for case in gpu_cases(record):
        name = f"{case['precision']}_{case['runs']}" + "_shared" * case["shared"]
        seconds = case["seconds"]["median"]
        numbers[f"runs_per_s_{name}"] = case["runs"] / seconds
        numbers[f"ratio_floor_{name}"] = seconds / case["floor_seconds"]
    return {key: round(value, 3) for key, value in numbers.items()} | record["machine"]


def table(head, rows):
    """Return a Markdown table: the first column left, numbers right."""
    lines = [head, [":--"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value):
    """Write three digits, as people do."""
    return f"{float(f'{value:.3g}'):,.10g}"


def ms(seconds):
    return number(1e3 * seconds)


def machine_table(record):
    machine = record["machine"]
    rows = {"Processor": f"{machine['cpu']}, {machine['cores']} cores"}
    if gpu_cases(record):
        rows["GPU"] = machine.get("gpu", "none")
    else:
        rows["Threads"] = str(machine["threads"])
        rows["Compiled loops"] = "yes" if machine["compiled"] else "no"
    rows["Versions"] = f"Python {machine['python_version']}, PyTorch {machine['torch']}"
    rows["Measured"] = f"{record['date']}, commit {machine['commit']}"
    return table(["Machine", "Value"], rows.items())


def step_table(record):
    step = record["tests"]["test_step"]
    seconds, lowest = step["seconds"], floor(step)
    ours = seconds["train"]["median"]
    names = {
        "train": "`train`, everything included",
        "plain": "The same without the compiled loops",
        "dense": "Dense reference",
    }
    rows = []
    for name, what in names.items():
        median, shortest = seconds[name]["median"], seconds[name]["min"]
        rows.append([what, ms(median), ms(shortest), number(median / ours)])
    rate = number(gemm_rate(step) / 1e9)
    what = f"Floor: {step['flop'] / 1e9:.2f} GFLOP at {rate} GFLOP/s, and one read"
    rows.append([what, ms(lowest), ms(lowest), number(lowest / ours)])
    return table(["One step", "Median, ms", "Shortest, ms", "In units of ours"], rows)


def growth_table(record, axis):
    what = {"n": "Examples n", "M": "Experts M", "J": "Filters J", "S": "Runs S"}
    seconds = record["tests"][f"test_growth[{axis}]"]["seconds"]
    rows = [
        [label, *(ms(s[which]) for s in seconds.values())]
        for label, which in (("Median, ms", "median"), ("Shortest, ms", "min"))
    ]
    return table([what[axis], *(f"{int(size):,}" for size in seconds)], rows)


def memory_table(record):
    memory = record["tests"]["test_memory"]
    imported, total = memory["import_mb"], memory["total_mb"]
    rows = [
        ["After `import torch`", f"{imported:.0f}"],
        ["At the peak", f"{total:.0f}"],
        ["The peak above the import", f"{total - imported:.0f}"],
    ]
    return table(["Ten runs, memory of the process", "MB"], rows)


def gpu_table(record):
    rows = [
        [
            f"{case['runs']:,}" + ", shared data" * case["shared"],
            case["precision"],
            number(case["seconds"]["median"]),
            number(case["training_seconds"]["median"]),
            number(case["runs"] / case["seconds"]["median"]),
            number(case["seconds"]["median"] / case["floor_seconds"]),
        ]
        for case in gpu_cases(record)
    ]
    head = ["Runs", "Precision", "Seconds", "of which training", "Runs per second"]
    return table([*head, "In units of the floor"], rows)


def sections(record):
    """Return each table by its name."""
    tests = record["tests"]
    if gpu_cases(record):
        return {"gpu-machine": machine_table(record), "gpu": gpu_table(record)}
    found = {"machine": machine_table(record), "step": step_table(record)}
    axes = [axis for axis in "nMJS" if f"test_growth[{axis}]" in tests]
    found["growth"] = "\n\n".join(growth_table(record, axis) for axis in axes)
    if "test_memory" in tests:
        found["memory"] = memory_table(record)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="what --benchmark-json wrote")
    parser.add_argument("--page", action="store_true", help="show them in the book")
    arguments = parser.parse_args()
    record = load(arguments.file)
    print("\n\n".join(sections(record).values()), end="\n\n")
    if busy(record):
        print("The machine was busy: do not trust these times.", end="\n\n")
    if arguments.page:
        from benchmarks import page  # needs matplotlib

        page.show(record)
    print(json.dumps(summary(record)))


if __name__ == "__main__":
    main()
