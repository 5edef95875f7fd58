"""Figures of a run: every number on them is one of the story."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from moe_lib.figures import (
    Snapshot,
    Story,
    describe,
    draw_entropy,
    frame_figure,
    strip_figure,
)
from moe_lib.plotting import CLUSTER_MARKERS, EXPERT_COLORS, STYLE, region_grid, tint

NUM_POINTS, NUM_CLUSTERS, NUM_EXPERTS = 40, 3, 8
STEPS = (0, 5, 20, 60)


@pytest.fixture(autouse=True)
def _in_style_without_a_window():
    plt.switch_backend("agg")
    with mpl.rc_context(), plt.style.context(STYLE):
        yield
    plt.close("all")


def snapshot(step):
    source = np.random.default_rng(step)
    return Snapshot(
        step=step,
        accuracy=50 + 0.777 * step,
        entropy=1.0987 / (1 + step),
        counts=source.integers(1, 90, (NUM_CLUSTERS, NUM_EXPERTS)),
        leaning=source.integers(0, NUM_EXPERTS, NUM_POINTS),
        chosen=source.integers(0, NUM_EXPERTS, NUM_POINTS),
    )


@pytest.fixture
def story():
    source = np.random.default_rng(99)
    return Story(
        title="Mixture of tiny experts",
        points=source.normal(size=(NUM_POINTS, 2)),
        cluster=source.integers(0, NUM_CLUSTERS, NUM_POINTS),
        snapshots=[snapshot(step) for step in STEPS],
    )


def assert_shows_regions(ax, story, now):
    """The ground is where the router leans, the marks are where examples went."""
    cells, _ = region_grid(story.points, now.leaning)
    [image] = ax.images
    grounds = np.array([tint(color, 0.4) for color in EXPERT_COLORS])
    shown = image.to_rgba(image.get_array())[..., :3]
    np.testing.assert_allclose(shown, grounds[cells], atol=1e-6)
    marks = [
        (*point, mpl.colors.to_hex(scatter.get_facecolors()[0]).upper())
        for scatter in ax.collections
        for point in np.asarray(scatter.get_offsets())
    ]
    colors = [EXPERT_COLORS[m] for m in now.chosen]
    wanted = [(*p, c) for p, c in zip(story.points, colors, strict=True)]
    assert sorted(marks) == sorted(wanted)


def test_the_line_of_numbers():
    now = Snapshot(90, 97.26, 0.1349, *[np.zeros((1, 1))] * 3)
    assert describe(now) == "step 90 · test accuracy 97.3 % · entropy under noise 0.13"


@pytest.mark.parametrize("index", range(len(STEPS)))
def test_a_frame_says_step_accuracy_and_entropy(story, index):
    now = story.snapshots[index]
    title = frame_figure(story, now).get_suptitle()
    first, second = title.split("\n")
    assert first == "Mixture of tiny experts"
    assert f"step {now.step} " in second
    assert f"{now.accuracy:.1f} %" in second
    assert second.endswith(f"entropy under noise {now.entropy:.2f}")


def test_a_frame_is_of_the_size_of_a_film(story):
    figure = frame_figure(story, story.snapshots[0])
    width, height = figure.get_size_inches() * figure.dpi
    assert (width, height) == (640, 400)
    assert width % 16 == height % 16 == 0  # else the encoder rescales it


def test_a_frame_shows_map_dispatch_and_entropy_of_its_step(story):
    now = story.snapshots[2]
    figure = frame_figure(story, now)
    axes = {ax.get_label(): ax for ax in figure.axes}
    assert set(axes) == {"map", "dispatch", "entropy"}
    assert_shows_regions(axes["map"], story, now)

    share = now.counts / now.counts.sum(axis=1, keepdims=True)
    cells = np.asarray(axes["dispatch"].images[0].get_array())
    assert cells.shape == (NUM_CLUSTERS, NUM_EXPERTS, 3)
    darkness = (1 - cells).sum(axis=-1)
    darkness /= darkness.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(darkness, share, atol=1e-9)
    assert "%" in axes["dispatch"].get_title(loc="left")

    marker = axes["entropy"].lines[-1]
    assert marker.get_xydata().tolist() == [[now.step, now.entropy]]


@pytest.mark.parametrize("index", [0, 2, 3])
def test_the_entropy_is_drawn_for_the_whole_run_and_stronger_up_to_now(story, index):
    now = story.snapshots[index]
    ax = plt.subplots()[1]
    draw_entropy(story, now, ax=ax)
    whole, done, marker = (line.get_xydata().tolist() for line in ax.lines)
    curve = [[s.step, s.entropy] for s in story.snapshots]
    assert whole == curve
    assert done == curve[: index + 1]
    assert marker == [curve[index]]
    assert ax.lines[1].get_linewidth() > ax.lines[0].get_linewidth()


def test_the_scale_of_entropy_ends_at_the_logarithm_of_the_clusters(story):
    ax = plt.subplots()[1]
    draw_entropy(story, story.snapshots[0], ax=ax)
    assert ax.get_yticks().tolist() == [0, np.log(NUM_CLUSTERS)]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "ln 3"]
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] >= np.log(NUM_CLUSTERS)
    assert ax.get_xlim() == (0, STEPS[-1])


@pytest.mark.parametrize(
    ("steps", "rows", "columns"),
    [((20,), 1, 1), ((0, 60), 1, 2), ((60, 0, 5), 1, 3), (STEPS, 2, 3)],
)
def test_a_strip_has_a_map_for_each_key_step_in_the_order_asked(
    story, steps, rows, columns
):
    figure = strip_figure(story, steps)
    assert len(figure.axes) == len(steps)
    by_step = {s.step: s for s in story.snapshots}
    for place, (ax, step) in enumerate(zip(figure.axes, steps, strict=True)):
        now, grid = by_step[step], ax.get_subplotspec()
        assert ax.get_title(loc="left") == f"step {step}"
        assert f"{now.accuracy:.1f} %" in ax.get_xlabel()
        assert f"entropy {now.entropy:.2f}" in ax.get_xlabel()
        assert_shows_regions(ax, story, now)
        assert grid.get_gridspec().get_geometry() == (rows, columns)
        assert (grid.rowspan.start, grid.colspan.start) == divmod(place, columns)


def test_a_strip_marks_the_clusters_by_shape(story):
    [ax] = strip_figure(story, [5]).axes
    pairs = set(zip(story.snapshots[1].chosen, story.cluster, strict=True))
    assert len(ax.collections) == len(pairs)  # a colour and a shape for each pair
    shapes = {s.get_paths()[0].vertices.tobytes() for s in ax.collections}
    assert len(shapes) == NUM_CLUSTERS <= len(CLUSTER_MARKERS)


def test_a_strip_of_a_step_that_was_not_kept_is_refused_before_drawing(story):
    message = r"^steps must be among \[0, 5, 20, 60\], got \[7, 61\]$"
    with pytest.raises(ValueError, match=message):
        strip_figure(story, (0, 7, 60, 61))
    assert plt.get_fignums() == []
