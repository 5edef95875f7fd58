"""Show kept numbers on `book/performance.md`: its tables and its plots."""

import hashlib
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

from benchmarks.report import gpu_cases, growth, load, ms, number, sections
from moe_lib.plotting import INK, MUTED, STYLE

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "book" / "performance.md"
PLOTS = ROOT / "book" / "_static" / "performance"


def show(record):
    """Keep the numbers of one machine, and rewrite what the page shows of them."""
    name = "gpu" if gpu_cases(record) else "cpu"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(rewritten(PAGE.read_text(), kept()))
    PLOTS.mkdir(parents=True, exist_ok=True)
    PLOT[name](record, PLOTS / f"{name}.svg")


def kept():
    """Return the committed measurements, by name."""
    return {path.stem: load(path) for path in sorted(RESULTS.glob("*.json"))}


def rewritten(text, records):
    """Fill in the numbers between ``<!-- numbers: name -->`` and the next comment."""
    for kind, record in records.items():
        shown = sections(record) | {f"{kind}-figure": FIGURE[kind](record)}
        for name, content in shown.items():
            between = rf"(<!-- numbers: {name} -->\n).*?(<!-- end of numbers -->)"
            text, count = re.subn(
                between,
                lambda match, content=content: f"{match[1]}{content}\n{match[2]}",
                text,
                flags=re.DOTALL,
            )
            if count != 1:
                raise ValueError(f"page must have one place for {name}, got {count}")
    return text


def digest(record):
    """Return what a plot notes of the numbers that it was drawn from."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _save(figure, record, path):
    note = {"Date": None, "Description": digest(record)}
    figure.savefig(path, metadata=note)
    plt.close(figure)


def plot_growth(record, path):
    """Draw the time of a step against n, M, J and S: dots, and a line of slope one."""
    names = {"n": "examples n", "M": "experts M", "J": "filters J", "S": "runs S"}
    with plt.style.context([STYLE, {"svg.hashsalt": "growth"}]):
        figure, axes = plt.subplots(2, 2, figsize=(6.4, 5.0), sharey=True)
        quickest = float("inf")
        for (axis, name), ax in zip(names.items(), axes.flat, strict=True):
            sizes, seconds = growth(record, axis)
            times = [1e3 * value for value in seconds]
            line = [times[-1] * size / sizes[-1] for size in sizes]
            ax.plot(sizes, line, color=MUTED, linestyle=":", linewidth=1.2)
            ax.plot(sizes, times, color=INK, marker="o", markersize=4)
            ax.set(xscale="log", yscale="log", xlabel=name)
            ax.minorticks_off()
            ax.set_xticks(sizes, [_thousands(size) for size in sizes])
            quickest = min(quickest, *times)
            _name_heights(ax)
        ax.set_ylim(bottom=quickest / 1.5)
        figure.supylabel("milliseconds for a step", fontsize=10, color="#333333")
        _save(figure, record, path)


def _name_heights(ax):
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:,.10g}")


def _thousands(size):
    return f"{size // 1000}k" if size >= 1000 else str(size)


def plot_runs(record, path):
    """Draw runs per second against runs at once, and what the floor would allow."""
    with plt.style.context([STYLE, {"svg.hashsalt": "runs"}]):
        figure, ax = plt.subplots(figsize=(6.4, 3.6))
        for precision, color in (("half", INK), ("float32", MUTED)):
            cases = [
                case
                for case in gpu_cases(record)
                if case["precision"] == precision and not case["shared"]
            ]
            runs = [case["runs"] for case in cases]
            times = [case["seconds"]["median"] for case in cases]
            floors = [case["floor_seconds"] for case in cases]
            speeds = [s / t for s, t in zip(runs, times, strict=True)]
            bounds = [s / t for s, t in zip(runs, floors, strict=True)]
            ax.plot(runs, speeds, color=color, marker="o", markersize=4)
            ax.plot(runs, bounds, color=color, linestyle=":", linewidth=1.2)
            for height, label in ((speeds, precision), (bounds, f"{precision}, floor")):
                ax.annotate(
                    label,
                    (runs[-1], height[-1]),
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                    color="#555555" if color == MUTED else color,
                    annotation_clip=False,
                )
        ax.set(
            xscale="log", yscale="log", xlabel="runs at once", ylabel="runs per second"
        )
        ax.minorticks_off()
        ax.set_xticks(runs, [f"{size:,}" for size in runs])
        _name_heights(ax)
        _save(figure, record, path)


def _figure(kind, alt, caption):
    return f"""```{{figure}} _static/performance/{kind}.svg
:name: fig-performance-{kind}
:alt: {alt}

{caption}
```"""


def growth_figure(record):
    """Return the figure of the page, with what the plot shows in words."""
    told = []
    for axis, name in (("n", "examples"), ("M", "experts"), ("J", "filters")):
        sizes, seconds = growth(record, axis)
        told.append(
            f"from {sizes[0]:,} to {sizes[-1]:,} {name}, a step goes from "
            f"{ms(seconds[0])} to {ms(seconds[-1])} milliseconds"
        )
    sizes, seconds = growth(record, "S")
    told.append(f"{sizes[-1]} runs take {number(seconds[-1] / seconds[0])} times one")
    return _figure(
        "cpu",
        f"Four panels on logarithmic axes: {'; '.join(told)}.",
        "The time of a step when one size grows and the others are those of the\n"
        "paper. Dotted: in proportion to that size, through the last point.",
    )


def runs_figure(record):
    """Return the figure of the page, with what the plot shows in words."""
    told = []
    for case in gpu_cases(record):
        if not case["shared"] and case["runs"] in (1, 1000):
            speed = number(case["runs"] / case["seconds"]["median"])
            one = f"{case['runs']:,} at once in {case['precision']} make {speed}"
            told.append(one)
    return _figure(
        "gpu",
        f"Runs per second against runs at once, logarithmic axes: {'; '.join(told)}.",
        "Finished runs per second, each of 500 steps on data of its own, with the\n"
        "metrics at the end. Dotted: what the floor would allow.",
    )


PLOT = {"cpu": plot_growth, "gpu": plot_runs}
FIGURE = {"cpu": growth_figure, "gpu": runs_figure}
