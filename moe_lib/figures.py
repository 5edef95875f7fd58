"""Figures of several Axes, made of the pictures of :mod:`moe_lib.plotting`."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from moe_lib.plotting import INK, MUTED, plot_dispatch, plot_regions


@dataclass(frozen=True)
class Snapshot:
    """What a router does at one step of training.

    Attributes
    ----------
    step : int
        Steps taken.
    accuracy : float
        Test accuracy in percent, without routing noise.
    entropy : float
        Dispatch entropy in nats of ``counts``.
    counts : array of int, shape [K, M]
        Dispatch of the test set under routing noise, as in training.
    leaning : array of int, shape [n]
        The expert with the highest logit, for the examples that are shown.
    chosen : array of int, shape [n]
        The expert that each of them went to under routing noise.
    """

    step: int
    accuracy: float
    entropy: float
    counts: NDArray
    leaning: NDArray
    chosen: NDArray


@dataclass(frozen=True)
class Story:
    """A training run as a sequence of snapshots over fixed examples of the plane.

    Attributes
    ----------
    title : str
        What was trained.
    points : array, shape [n, 2]
        An embedding of n test examples.
    cluster : array of int, shape [n]
        Their true clusters.
    snapshots : list of Snapshot
        In the order of training.
    """

    title: str
    points: NDArray
    cluster: NDArray
    snapshots: list[Snapshot]


def describe(snapshot: Snapshot) -> str:
    """Return the line of numbers that stands on a frame."""
    return (
        f"step {snapshot.step} · test accuracy {snapshot.accuracy:.1f} % · "
        f"entropy under noise {snapshot.entropy:.2f}"
    )


def draw_entropy(story: Story, now: Snapshot, *, ax: Axes) -> None:
    """Draw the dispatch entropy of the whole run, with the present step marked."""
    steps = [s.step for s in story.snapshots]
    entropies = [s.entropy for s in story.snapshots]
    ax.plot(steps, entropies, color=MUTED, linewidth=1)
    done = [s.step <= now.step for s in story.snapshots]
    ax.plot(np.array(steps)[done], np.array(entropies)[done], color=INK)
    ax.plot([now.step], [now.entropy], "o", color=INK, markersize=5, clip_on=False)
    num_clusters = len(now.counts)
    ax.set(ylim=(0, np.log(num_clusters) * 1.08), xlim=(0, steps[-1]))
    ax.set_yticks([0, np.log(num_clusters)], ["0", f"ln {num_clusters}"])
    ax.set(xlabel="step", title="dispatch entropy under noise")


def frame_figure(story: Story, now: Snapshot) -> Figure:
    """Draw one frame: router regions, the dispatch matrix and the entropy so far."""
    figure = plt.figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    figure.suptitle(f"{story.title}\n{describe(now)}", x=0.02, ha="left", fontsize=10.5)
    axes = figure.subplot_mosaic(
        [["map", "dispatch"], ["map", "entropy"]], width_ratios=[1.2, 1]
    )
    plot_regions(
        story.points, now.leaning, story.cluster, chosen=now.chosen, ax=axes["map"]
    )
    plot_dispatch(now.counts, ax=axes["dispatch"])
    axes["dispatch"].set_title("% of a cluster to an expert")
    draw_entropy(story, now, ax=axes["entropy"])
    return figure


def strip_figure(story: Story, steps: Sequence[int]) -> Figure:
    """Draw the router's regions at a few steps, three in a row.

    Raises
    ------
    ValueError
        If there is no snapshot of one of the steps.
    """
    by_step = {s.step: s for s in story.snapshots}
    missing = [step for step in steps if step not in by_step]
    if missing:
        raise ValueError(f"steps must be among {sorted(by_step)}, got {missing}")
    columns = min(3, len(steps))
    rows = -(-len(steps) // columns)
    size = (2.4 * columns, 2.75 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for ax, step in zip(axes.flat, steps, strict=False):
        now = by_step[step]
        plot_regions(story.points, now.leaning, story.cluster, chosen=now.chosen, ax=ax)
        ax.set_title(f"step {step}")
        ax.set_xlabel(
            f"accuracy {now.accuracy:.1f} %, noisy entropy {now.entropy:.2f}",
            fontsize=8,
        )
    for ax in axes.flat[len(steps) :]:
        ax.remove()
    return figure
