"""One picture in one Axes: arrays in, the Axes out.

Every function draws in the Axes it is given (or the current one) and returns it. A
cluster and an expert keep their colours everywhere in the book, and clusters also have
a marker, so that nothing depends on colour alone. ``use_style()`` sets the look.
"""

from collections.abc import Sequence
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap, to_rgb
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import KNeighborsClassifier

CLUSTER_COLORS = ("#0A68A7", "#D85F00", "#008B59", "#CC79A7", "#409CD0", "#B76430")
CLUSTER_MARKERS = ("o", "s", "^", "D", "v", "P")
EXPERT_COLORS = (
    "#332288",
    "#609CBB",
    "#148160",
    "#E87430",
    "#A19557",
    "#D86D7F",
    "#A63E92",
    "#63636F",
)
LABEL_COLORS = {-1: "#7A5195", 1: "#DE7C00"}
LABEL_MARKERS = {-1: "v", 1: "^"}
MODEL_COLORS = {"linear": "#5B6770", "cubic": "#B3261E"}
INK, MUTED = "#222222", "#8A8A8A"
STYLE = str(resources.files("moe_lib") / "style.mplstyle")


def use_style() -> None:
    """Make the book's style matplotlib's own."""
    plt.style.use(STYLE)


def cycle(values: Sequence[str], index: int) -> str:
    """Return ``values[index]``, starting again at the end."""
    return values[index % len(values)]


def tint(color: str, strength: float) -> tuple[float, float, float]:
    """Mix a colour with white; ``strength`` 1 keeps it, 0 is white."""
    r, g, b = (1 - strength * (1 - channel) for channel in to_rgb(color))
    return r, g, b


def plot_points(
    points: ArrayLike,
    group: ArrayLike,
    *,
    colors: Sequence[str] | dict[int, str] = CLUSTER_COLORS,
    markers: Sequence[str] | dict[int, str] = CLUSTER_MARKERS,
    marker_group: ArrayLike | None = None,
    name: str = "cluster",
    size: float = 9,
    ax: Axes | None = None,
) -> Axes:
    """Scatter points of the plane, coloured by group.

    Parameters
    ----------
    points : array, shape [n, 2]
        For example a t-SNE embedding: axes carry no meaning and are not drawn.
    group : array of int, shape [n]
        What the colour tells.
    colors, markers : sequence or dict
        By group; markers by ``marker_group``.
    marker_group : array of int, shape [n], optional
        What the marker tells, if not the group.
    name : str
        Legend entries read ``name`` and the group's number.
    """
    ax = plt.gca() if ax is None else ax
    points, group = np.asarray(points), np.asarray(group)
    marks = group if marker_group is None else np.asarray(marker_group)
    for g in np.unique(group):
        color = colors[g] if isinstance(colors, dict) else cycle(colors, int(g))
        for k in np.unique(marks[group == g]):
            chosen = (group == g) & (marks == k)
            marker = markers[k] if isinstance(markers, dict) else cycle(markers, int(k))
            ax.scatter(
                points[chosen, 0],
                points[chosen, 1],
                s=size,
                color=color,
                marker=marker,
                linewidths=0,
                label=f"{name} {g:+d}".replace("-", "−")
                if name == "label"
                else f"{name} {g}",
            )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def legend_of_groups(ax: Axes, **kwargs: object) -> None:
    """Draw a legend below the Axes, with one entry for each label."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    place: dict = {
        "loc": "upper center",
        "bbox_to_anchor": (0.5, 0.0),
        "ncols": 4,
        "handletextpad": 0.2,
        "columnspacing": 1.0,
    }
    legend = ax.legend(unique.values(), unique.keys(), **(place | kwargs))
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([40])


def plot_dispatch(counts: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw who gets what: a row for each cluster, a column for each expert.

    The strength of a cell's colour is the share of the cluster sent to the expert;
    the number is that share in percent (nothing below one percent).

    Parameters
    ----------
    counts : array of int, shape [K, M]
        Examples of cluster k sent to expert m.
    """
    ax = plt.gca() if ax is None else ax
    counts = np.asarray(counts, dtype=float)
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    image = np.array(
        [
            [tint(cycle(CLUSTER_COLORS, k), s) for s in row]
            for k, row in enumerate(share)
        ]
    )
    ax.imshow(image, aspect="equal")
    num_clusters, num_experts = share.shape
    for k, m in np.argwhere(share >= 0.01):
        dark = np.dot(image[k, m], (0.299, 0.587, 0.114)) < 0.4
        color = "white" if dark else INK
        text = f"{100 * share[k, m]:.0f}"
        ax.text(m, k, text, ha="center", va="center", fontsize=8.5, color=color)
    ax.set_xticks(np.arange(num_experts + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(num_clusters + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="#D0D0D0", linewidth=0.8)
    ax.tick_params(which="both", length=0)
    ax.set_xticks(range(num_experts), [str(m) for m in range(num_experts)])
    ax.set_yticks(range(num_clusters), [str(k) for k in range(num_clusters)])
    for axis, colors in ((ax.xaxis, EXPERT_COLORS), (ax.yaxis, CLUSTER_COLORS)):
        for index, tick in enumerate(axis.get_ticklabels()):
            box = {"facecolor": tint(cycle(colors, index), 0.6), "linewidth": 0}
            tick.set(bbox={**box, "boxstyle": "round,pad=0.25"}, color=INK)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="expert", ylabel="cluster")
    return ax


def plot_curves(
    steps: ArrayLike,
    values: ArrayLike,
    *,
    label: str | None = None,
    color: str = INK,
    linestyle: str = "-",
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean over runs against steps, with the band from lowest to highest run.

    Parameters
    ----------
    steps : array, shape [T]
        Training steps.
    values : array, shape [T] or [T, S]
        One value for each step (and run).
    label : str, optional
        Written beside the right end of the curve.
    """
    ax = plt.gca() if ax is None else ax
    steps, values = np.asarray(steps), np.asarray(values, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    mean = values.mean(axis=1)
    ax.plot(steps, mean, color=color, linestyle=linestyle)
    if values.shape[1] > 1:
        low, high = values.min(axis=1), values.max(axis=1)
        ax.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
    if label is not None:
        end = {"xytext": (5, 0), "textcoords": "offset points"}
        place = {
            "va": "center",
            "fontsize": 9,
            "color": color,
            "annotation_clip": False,
        }
        ax.annotate(label, (steps[-1], mean[-1]), **end, **place)  # type: ignore[arg-type]
    return ax


def plot_example(
    components: ArrayLike, role_names: Sequence[str], *, ax: Axes | None = None
) -> Axes:
    """Draw one example: a row for each patch, a column for each hidden direction.

    Parameters
    ----------
    components : array, shape [P, 2 K]
        Inner products of the patches with v_0..v_{K-1}, c_0..c_{K-1}.
    role_names : sequence of str
        What each patch is.
    """
    ax = plt.gca() if ax is None else ax
    components = np.asarray(components, dtype=float)
    num_patches, columns = components.shape
    bound = max(1.0, float(np.abs(components).max()))
    ax.imshow(components, cmap="PuOr_r", vmin=-bound, vmax=bound, aspect="equal")
    for p, j in np.argwhere(np.abs(components) >= 0.005):
        value = components[p, j]
        color = "white" if abs(value) > 0.75 * bound else INK
        text = f"{value:.2f}".replace("-", "−")
        ax.text(j, p, text, ha="center", va="center", fontsize=8.5, color=color)
    names = [f"${s}_{{{k}}}$" for s in "vc" for k in range(columns // 2)]
    ax.set_xticks(range(columns), names)
    ax.set_yticks(range(num_patches), role_names)
    ax.axvline(columns / 2 - 0.5, color=MUTED, linewidth=1)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def region_grid(
    points: NDArray, expert_index: NDArray, *, cells: int = 160
) -> tuple[NDArray, tuple[float, float, float, float]]:
    """Give each cell of the plane the expert of the nearest point.

    Parameters
    ----------
    points : array, shape [n, 2]
        An embedding of the examples.
    expert_index : array of int, shape [n]
        The expert of each example.

    Returns
    -------
    tuple
        Expert of each cell, shape [cells, cells], and the extent for ``imshow``.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    axes = [np.linspace(a, b, cells) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    nearest = KNeighborsClassifier(n_neighbors=1).fit(points, expert_index)
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    return nearest.predict(grid).reshape(cells, cells), extent


def plot_regions(
    points: ArrayLike,
    expert_index: ArrayLike,
    cluster: ArrayLike,
    *,
    chosen: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the router's decisions over an embedding of the examples.

    Parameters
    ----------
    points : array, shape [n, 2]
        An embedding of the examples.
    expert_index, cluster : array of int, shape [n]
        The expert that the router leans to, which colours the ground, and the true
        cluster, which is the marker.
    chosen : array of int, shape [n], optional
        The expert that each example went to, which colours its marker; without it
        markers have the colour of their cluster.
    """
    ax = plt.gca() if ax is None else ax
    points, expert_index = np.asarray(points), np.asarray(expert_index)
    cells, extent = region_grid(points, expert_index)
    grounds = [tint(color, 0.4) for color in EXPERT_COLORS]
    ax.imshow(
        cells % len(grounds),
        cmap=ListedColormap(grounds),
        vmin=-0.5,
        vmax=len(grounds) - 0.5,
        extent=extent,
        origin="lower",
        aspect="auto",
    )
    if chosen is None:
        return plot_points(points, cluster, size=4.0, ax=ax)
    colors = EXPERT_COLORS
    return plot_points(
        points, chosen, colors=colors, marker_group=cluster, name="expert", ax=ax
    )
