"""Pictures, artist by artist: arrays in, the right marks in the right Axes."""

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.markers import MarkerStyle

from moe_lib.plotting import (
    CLUSTER_COLORS,
    CLUSTER_MARKERS,
    EXPERT_COLORS,
    INK,
    LABEL_COLORS,
    LABEL_MARKERS,
    MODEL_COLORS,
    cycle,
    legend_of_groups,
    plot_curves,
    plot_dispatch,
    plot_example,
    plot_points,
    plot_regions,
    region_grid,
    tint,
    use_style,
)

COUNTS = np.array([[90, 0, 10], [1, 995, 4], [0, 0, 0], [25, 25, 50]])


@pytest.fixture(autouse=True)
def _no_window():
    plt.switch_backend("agg")
    with mpl.rc_context():
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def source(seed=0):
    return np.random.default_rng(seed)


def plane(n=40, seed=0):
    return source(seed).normal(size=(n, 2)) * (3, 20) + (1, -50)


def groups(high, n=40, seed=1):
    return source(seed).integers(0, high, n)


def same_color(one, other):
    return np.allclose(to_rgb(one), to_rgb(other))


def marker_of(scatter):
    """Name the marker of a scatter, by its outline."""
    vertices = scatter.get_paths()[0].vertices
    for name in ("o", "s", "^", "D", "v", "P"):
        style = MarkerStyle(name)
        outline = style.get_path().transformed(style.get_transform()).vertices
        if outline.shape == vertices.shape and np.allclose(outline, vertices):
            return name
    raise AssertionError("a marker that no group has")


def marks(ax):
    """List every point that is drawn, as (x, y, colour, marker)."""
    found = []
    for scatter in ax.collections:
        [color] = scatter.get_facecolors()
        for x, y in np.asarray(scatter.get_offsets()):
            found.append((x, y, mpl.colors.to_hex(color).upper(), marker_of(scatter)))
    return sorted(found)


def expected_marks(points, colors, markers):
    return sorted((*p, c, m) for p, c, m in zip(points, colors, markers, strict=True))


DRAWINGS = {
    "points": lambda **k: plot_points(plane(), groups(3), **k),
    "dispatch": lambda **k: plot_dispatch(COUNTS, **k),
    "curves": lambda **k: plot_curves([0, 1], [[1.0, 2], [2, 3]], label="a", **k),
    "example": lambda **k: plot_example(np.eye(3, 4), ["a", "b", "c"], **k),
    "regions": lambda **k: plot_regions(plane(), groups(8), groups(4), **k),
    "chosen": lambda **k: plot_regions(
        plane(), groups(8), groups(4), chosen=groups(8), **k
    ),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_is_drawn_in_its_axes_and_nowhere_else(draw):
    figure, (given, current) = plt.subplots(1, 2)
    empty = len(current.get_children())
    plt.sca(current)
    assert draw(ax=given) is given
    assert given.has_data()
    assert not current.has_data()
    assert len(current.get_children()) == empty
    assert figure.axes == [given, current]
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_without_axes_a_picture_is_drawn_in_the_current_ones(draw):
    _, (current, other) = plt.subplots(1, 2)
    plt.sca(current)
    assert draw() is current
    assert current.has_data()
    assert not other.has_data()


@pytest.mark.parametrize(
    "palette",
    [
        CLUSTER_COLORS,
        EXPERT_COLORS,
        tuple(LABEL_COLORS.values()),
        tuple(MODEL_COLORS.values()),
    ],
)
def test_the_colours_of_a_palette_can_be_told_apart(palette):
    values = np.array([to_rgb(color) for color in palette])
    distance = np.linalg.norm(values[:, None] - values, axis=-1)
    assert (distance[~np.eye(len(palette), dtype=bool)] > 0.2).all()


def test_there_is_a_colour_for_each_expert_and_a_marker_for_each_cluster():
    assert len(EXPERT_COLORS) == 8
    assert len(set(CLUSTER_MARKERS)) == len(CLUSTER_MARKERS) == len(CLUSTER_COLORS)
    assert set(LABEL_COLORS) == set(LABEL_MARKERS) == {-1, 1}
    assert len(set(LABEL_MARKERS.values())) == 2


def test_the_palettes_start_again_at_their_end():
    assert [cycle("abc", i) for i in range(5)] == list("abcab")


def test_a_tint_mixes_with_white():
    assert tint("#204060", 1.0) == pytest.approx(to_rgb("#204060"))
    assert tint("#204060", 0.0) == (1, 1, 1)
    assert tint("#204060", 0.25) == pytest.approx(
        [0.25 * c + 0.75 for c in to_rgb("#204060")]
    )


def test_the_style_is_the_book_s(ax):
    plt.rcParams["axes.spines.top"] = True
    use_style()
    assert plt.rcParams["axes.spines.top"] is False
    assert plt.rcParams["image.interpolation"] == "nearest"


def test_points_have_the_colour_and_the_marker_of_their_cluster(ax):
    points, cluster = plane(), groups(6)
    plot_points(points, cluster, ax=ax)
    colors = [CLUSTER_COLORS[k] for k in cluster]
    shapes = [CLUSTER_MARKERS[k] for k in cluster]
    assert marks(ax) == expected_marks(points, colors, shapes)


def test_a_seventh_cluster_looks_like_the_first(ax):
    plot_points([[0.0, 1]], [6], ax=ax)
    assert marks(ax) == [(0, 1, CLUSTER_COLORS[0], CLUSTER_MARKERS[0])]


def test_the_marker_can_tell_something_else_than_the_colour(ax):
    points, expert, cluster = plane(), groups(8), groups(4, seed=2)
    plot_points(
        points,
        expert,
        colors=EXPERT_COLORS,
        marker_group=cluster,
        name="expert",
        ax=ax,
    )
    colors = [EXPERT_COLORS[m] for m in expert]
    shapes = [CLUSTER_MARKERS[k] for k in cluster]
    assert marks(ax) == expected_marks(points, colors, shapes)
    names = {f"expert {m}" for m in expert}
    assert set(ax.get_legend_handles_labels()[1]) == names


def test_labels_have_colours_and_markers_by_dictionary_and_true_minus_signs(ax):
    plot_points(
        [[0.0, 0], [1, 1]],
        [-1, 1],
        colors=LABEL_COLORS,
        markers=LABEL_MARKERS,
        name="label",
        ax=ax,
    )
    assert marks(ax) == [(0, 0, "#7A5195", "v"), (1, 1, "#DE7C00", "^")]
    assert ax.get_legend_handles_labels()[1] == ["label −1", "label +1"]


def test_an_embedding_has_no_ticks_and_no_frame(ax):
    plot_points(plane(), groups(2), ax=ax)
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert not any(spine.get_visible() for spine in ax.spines.values())


def test_a_legend_has_one_entry_for_each_group_in_its_colour(ax):
    plot_points(plane(), groups(3), marker_group=groups(4, seed=2), ax=ax)
    legend_of_groups(ax, ncols=2)
    legend = ax.get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["cluster 0", "cluster 1", "cluster 2"]
    for handle, color in zip(legend.legend_handles, CLUSTER_COLORS, strict=False):
        assert same_color(handle.get_facecolors()[0], color)
        assert handle.get_sizes() == [40]


def test_a_cell_of_the_dispatch_is_as_strong_as_its_share(ax):
    plot_dispatch(COUNTS, ax=ax)
    [image] = ax.images
    cells = np.asarray(image.get_array())
    assert cells.shape == (4, 3, 3)
    for k, row in enumerate(COUNTS):
        for m, count in enumerate(row):
            share = count / max(1, row.sum())
            expected = [1 - share * (1 - c) for c in to_rgb(CLUSTER_COLORS[k])]
            assert cells[k, m] == pytest.approx(expected)
    strongest = cells.sum(axis=-1).argmin(axis=1)
    assert strongest[[0, 1, 3]].tolist() == [0, 1, 2]


def test_the_dispatch_says_its_shares_in_percent_and_is_silent_below_one(ax):
    plot_dispatch(COUNTS, ax=ax)
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts == {
        (0, 0): "90",
        (2, 0): "10",
        (1, 1): "100",  # 99.5 percent
        (0, 3): "25",
        (1, 3): "25",
        (2, 3): "50",
    }


def test_the_dispatch_names_clusters_and_experts_in_their_colours(ax):
    plot_dispatch(COUNTS, ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("expert", "cluster")
    for ticks, size, colors in (
        (ax.get_xticklabels(), 3, EXPERT_COLORS),
        (ax.get_yticklabels(), 4, CLUSTER_COLORS),
    ):
        assert [tick.get_text() for tick in ticks] == [str(i) for i in range(size)]
        for tick, color in zip(ticks, colors, strict=False):
            ground = tick.get_bbox_patch().get_facecolor()
            assert same_color(ground, tint(color, 0.6))
    assert ax.get_xticks().tolist() == [0, 1, 2]
    assert ax.get_yticks().tolist() == [0, 1, 2, 3]


def luminance(color):
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def test_every_number_of_the_dispatch_stands_out_from_its_cell(ax):
    share = np.arange(2, 99)
    counts = np.stack([share, 100 - share], axis=1)
    for k in range(len(CLUSTER_COLORS)):
        ax.clear()
        plot_dispatch(np.concatenate([np.ones((k, 2)), counts[[0, 24, 48, 72]]]), ax=ax)
        cells = np.asarray(ax.images[0].get_array())
        for text in ax.texts:
            m, row = text.get_position()
            pair = sorted([luminance(text.get_color()), luminance(cells[row, m])])
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 3  # WCAG's least contrast


def test_a_curve_is_the_mean_over_runs_in_the_band_of_all_runs(ax):
    steps, values = np.array([0, 10, 20, 50]), source().normal(size=(4, 5))
    plot_curves(steps, values, color="#B3261E", linestyle="--", ax=ax)
    [line] = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), steps)
    np.testing.assert_allclose(line.get_ydata(), np.mean(values, axis=1))
    assert (line.get_color(), line.get_linestyle()) == ("#B3261E", "--")
    [band] = ax.collections
    assert same_color(band.get_facecolor()[0][:3], "#B3261E")
    assert 0 < band.get_facecolor()[0][3] < 0.5
    vertices = band.get_paths()[0].vertices
    for step, run_values in zip(steps, values, strict=True):
        ends = vertices[vertices[:, 0] == step, 1]
        assert ends.min() == pytest.approx(np.min(run_values))
        assert ends.max() == pytest.approx(np.max(run_values))
    assert len(ax.texts) == 0


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_run_is_a_line_without_a_band(ax, shape):
    plot_curves([0, 1, 2], np.reshape([4.0, 5, 3], shape), ax=ax)
    assert ax.lines[0].get_ydata().tolist() == [4, 5, 3]
    assert len(ax.collections) == 0


def test_the_label_stands_at_the_right_end_in_the_colour_of_the_curve(ax):
    plot_curves([0, 5, 9], [[1, 2], [3, 4], [5, 8]], label="cubic", color=INK, ax=ax)
    [label] = ax.texts
    assert label.get_text() == "cubic"
    assert label.xy == (9, 6.5)
    assert label.get_color() == INK
    offset, _ = label.xyann
    assert offset > 0


def test_an_example_is_a_row_for_each_patch_with_its_numbers(ax):
    components = np.array([[0.0, -1.5, 0, 0.004], [0, 0, 2.25, 0]])
    plot_example(components, ["feature", "centre"], ax=ax)
    [image] = ax.images
    np.testing.assert_array_equal(image.get_array(), components)
    assert image.get_clim() == (-2.25, 2.25)
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts == {(1, 0): "−1.50", (2, 1): "2.25"}
    names = [tick.get_text() for tick in ax.get_xticklabels()]
    assert names == ["$v_{0}$", "$v_{1}$", "$c_{0}$", "$c_{1}$"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["feature", "centre"]
    assert ax.lines[0].get_xdata()[0] == 1.5  # between the v and the c


def test_small_components_are_drawn_on_the_scale_of_one(ax):
    plot_example(np.full((1, 4), 0.1), ["noise"], ax=ax)
    assert ax.images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("cells", [25, 160])
def test_each_cell_belongs_to_the_nearest_point(cells):
    points, expert = plane(30), groups(8, 30)
    grid, (left, right, bottom, top) = region_grid(points, expert, cells=cells)
    assert grid.shape == (cells, cells)
    size = np.array([right - left, top - bottom]) / cells
    middle = np.arange(cells) + 0.5
    for row in range(cells):
        x, y = left + middle * size[0], np.full(cells, bottom + middle[row] * size[1])
        places = np.stack([x, y], axis=-1)
        distance = np.linalg.norm(places[:, None] - points, axis=-1)
        of_expert = np.where(expert == grid[row][:, None], distance, np.inf)
        # On a border between two experts a cell may go either way.
        slack = np.linalg.norm(size)
        assert (of_expert.min(axis=1) <= distance.min(axis=1) + slack).all()


def test_the_grid_covers_all_points_with_a_small_margin():
    points = plane(30)
    _, (left, right, bottom, top) = region_grid(points, groups(8, 30), cells=5)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.04 * (high - low)
    assert (left, bottom) == pytest.approx(low - margin)
    assert (right, top) == pytest.approx(high + margin)


def ground(ax):
    """Return the colour of each cell, the lower left one first."""
    [image] = ax.images
    assert image.origin == "lower"
    return image.to_rgba(image.get_array())[..., :3]


def test_the_ground_has_the_tints_of_the_experts(ax):
    points, leaning = plane(), groups(8)
    plot_regions(points, leaning, groups(4), ax=ax)
    cells, extent = region_grid(points, leaning)
    grounds = np.array([tint(color, 0.4) for color in EXPERT_COLORS])
    assert len(np.unique(cells)) == 8
    np.testing.assert_allclose(ground(ax), grounds[cells], atol=1e-6)
    assert tuple(ax.images[0].get_extent()) == extent


@pytest.mark.parametrize("only", [0, 3, 7, 8])
def test_one_expert_alone_keeps_its_colour(ax, only):
    plot_regions(plane(), np.full(40, only), groups(4), ax=ax)
    color = tint(cycle(EXPERT_COLORS, only), 0.4)
    np.testing.assert_allclose(ground(ax), np.full((160, 160, 3), color), atol=1e-6)


def test_regions_show_each_example_in_the_colour_of_its_cluster(ax):
    points, cluster = plane(), groups(4)
    plot_regions(points, groups(8), cluster, ax=ax)
    colors = [CLUSTER_COLORS[k] for k in cluster]
    shapes = [CLUSTER_MARKERS[k] for k in cluster]
    assert marks(ax) == expected_marks(points, colors, shapes)


def test_regions_show_the_expert_that_each_example_went_to(ax):
    points, cluster, chosen = plane(), groups(4), groups(8, seed=3)
    plot_regions(points, groups(8), cluster, chosen=chosen, ax=ax)
    colors = [EXPERT_COLORS[m] for m in chosen]
    shapes = [CLUSTER_MARKERS[k] for k in cluster]
    assert marks(ax) == expected_marks(points, colors, shapes)


# How colour-blind readers see linear RGB: Machado, Oliveira and Fernandes (2009), full
# severity.
SEEN_BY = {
    "full sight": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Linear RGB to XYZ, in units of the white of daylight.
TO_XYZ = np.array(
    [
        [0.4339, 0.3762, 0.1899],
        [0.2126, 0.7152, 0.0722],
        [0.0178, 0.1095, 0.8727],
    ]
)
APART = 14  # a difference in CIELAB that nobody misses; about 2 is just seen


def lab(color, seen_by):
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(SEEN_BY[seen_by]) @ linear, 0, 1)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * 841 / 108 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def confused(colors, seen_by):
    """List the pairs of colours that look too much alike."""
    places = [lab(color, seen_by) for color in colors]
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(places)), 2)
        if np.linalg.norm(places[i] - places[j]) < APART
    ]


def test_the_measure_knows_white_and_red_from_green():
    np.testing.assert_allclose(lab("white", "full sight"), [100, 0, 0], atol=0.1)
    red_and_green = ["#C06000", "#609000"]
    assert confused(red_and_green, "full sight") == []
    assert confused(red_and_green, "deuteranopia") == [(0, 1)]


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_colour_blind_readers_tell_colours_apart(seen_by):
    palettes = (CLUSTER_COLORS, EXPERT_COLORS, LABEL_COLORS.values())
    for colors in (*palettes, MODEL_COLORS.values()):
        assert confused(colors, seen_by) == []


def test_marks_tell_clusters_and_labels_apart_without_colour():
    assert len(set(CLUSTER_MARKERS)) == len(CLUSTER_COLORS)
    assert len(set(LABEL_MARKERS.values())) == len(LABEL_COLORS)


@pytest.mark.parametrize(
    "color",
    [*CLUSTER_COLORS, *EXPERT_COLORS, *LABEL_COLORS.values(), *MODEL_COLORS.values()],
)
def test_marks_stand_out_from_the_paper(color):
    assert 1.05 / (luminance(color) + 0.05) >= 3
