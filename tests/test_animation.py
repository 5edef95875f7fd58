"""Films of dispatch: what is recorded, what is written, what the book shows."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import imageio_ffmpeg
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from moe_lib import DataConfig, ModelConfig, MoE, TrainConfig, evaluate, make_data
from moe_lib.animation import (
    FRAME_STEPS,
    FRAMES_PER_SECOND,
    HOLD_BEATS,
    KEY_STEPS,
    record_story,
    render,
    save_animation,
)
from moe_lib.train import train
from tests import reference

MEDIA = Path(__file__).parents[1] / "notebooks" / "media"
CONFIG = DataConfig(num_train=200, num_test=200)
SEED, STEPS, NUM_POINTS = 3, (0, 2, 4), 60
BEAT, HOLD = 1000 // FRAMES_PER_SECOND, HOLD_BEATS * 1000 // FRAMES_PER_SECOND


@pytest.fixture(autouse=True, scope="module")
def _no_window():
    plt.switch_backend("agg")


@pytest.fixture(scope="module", params=["cubic", "linear"])
def told(request):
    """Record a story, and what its callback saw."""
    calls = []

    def callback(step, model, output):
        router = model.router_weight.detach().clone()
        calls.append(SimpleNamespace(step=step, router=router, output=output))

    story = record_story(
        request.param,
        CONFIG,
        seed=SEED,
        frame_steps=STEPS,
        num_points=NUM_POINTS,
        callback=callback,
    )
    return SimpleNamespace(activation=request.param, story=story, calls=calls)


@pytest.fixture(scope="module")
def alone(told):
    """Train the same seed without a camera."""
    training, test = make_data(CONFIG, SEED)
    config = ModelConfig(activation=told.activation)
    model = MoE(config, dim=CONFIG.dim, seeds=[SEED])
    train(model, training, TrainConfig(steps=STEPS[-1]))
    return SimpleNamespace(model=model, test=test, seen=evaluate(model, test))


def test_a_snapshot_is_kept_at_each_named_step(told):
    assert [s.step for s in told.story.snapshots] == list(STEPS)


def test_the_camera_does_not_change_the_run(told, alone):
    assert torch.equal(told.calls[-1].router, alone.model.router_weight)
    final = told.story.snapshots[-1]
    assert final.accuracy == pytest.approx(100 * alone.seen.accuracy.item())


def test_the_callback_is_called_before_each_step_and_once_after(told):
    assert [call.step for call in told.calls] == [0, 1, 2, 3, 4]
    assert [call.output is None for call in told.calls] == [False] * 4 + [True]


def test_a_story_shows_the_first_test_examples(told, alone):
    story = told.story
    assert story.points.shape == (NUM_POINTS, 2)
    assert np.isfinite(story.points).all()
    assert story.cluster.tolist() == alone.test.cluster[:NUM_POINTS].tolist()
    assert told.activation in story.title


def test_every_test_example_is_dispatched_once(told, alone):
    sizes = torch.bincount(alone.test.cluster, minlength=CONFIG.num_clusters)
    for snapshot in told.story.snapshots:
        assert snapshot.counts.shape == (CONFIG.num_clusters, 8)
        assert snapshot.counts.sum() == CONFIG.num_test
        assert snapshot.counts.sum(axis=1).tolist() == sizes.tolist()


def test_the_shown_examples_are_among_the_dispatched(told):
    for snapshot in told.story.snapshots:
        shown = np.zeros_like(snapshot.counts)
        np.add.at(shown, (told.story.cluster, snapshot.chosen), 1)
        assert shown.sum() == NUM_POINTS
        assert (shown <= snapshot.counts).all()


def test_the_entropy_is_that_of_the_counts(told):
    for snapshot in told.story.snapshots:
        slow = reference.dispatch_entropy(snapshot.counts.tolist())
        assert snapshot.entropy == pytest.approx(slow)


def test_the_router_leans_to_the_largest_logit(told, alone):
    routers = {call.step: call.router for call in told.calls}
    for snapshot in told.story.snapshots[1:]:
        logits = alone.test.patch_sum[:NUM_POINTS] @ routers[snapshot.step][0]
        assert snapshot.leaning.tolist() == logits.argmax(dim=-1).tolist()


def test_at_the_start_the_router_leans_nowhere_and_noise_alone_dispatches(told):
    start = told.story.snapshots[0]
    assert len(np.unique(start.leaning)) == 1
    assert set(start.chosen) == set(range(8))
    assert start.counts.sum(axis=0).min() > CONFIG.num_test / 8 / 2


def test_other_examples_are_chosen_by_fresh_noise_at_each_snapshot():
    config = DataConfig(num_train=50, num_test=50)
    story = record_story("cubic", config, frame_steps=(0, 1), num_points=50)
    first, second = story.snapshots
    assert (first.chosen != second.chosen).any()


def test_frames_are_drawn_one_for_each_snapshot_and_their_figures_closed(told):
    before = plt.get_fignums()
    frames = render(told.story)
    assert plt.get_fignums() == before
    assert [frame.shape for frame in frames] == [(400, 640, 3)] * len(STEPS)
    assert all(frame.dtype == np.uint8 for frame in frames)
    assert all((a != b).any() for a, b in pairwise(frames))
    assert all(frame.std() > 10 for frame in frames)  # not an empty page


COLORS = [(255, 0, 0), (0, 160, 0), (0, 0, 255), (250, 250, 250), (30, 30, 30)]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Save a film of noisy frames, each about one colour; return frames and paths."""
    source = np.random.default_rng(0)
    frames = [
        np.clip(source.integers(-5, 5, (32, 48, 3)) + color, 0, 255).astype(np.uint8)
        for color in COLORS
    ]
    path = tmp_path_factory.mktemp("film") / "new" / "folder" / "film"
    return SimpleNamespace(frames=frames, path=path, files=save_animation(frames, path))


def watch(mp4, size):
    """Decode a film to frames of this (width, height), and tell its frame rate.

    imageio reads films too, but leaves its pipes to the garbage collector.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(mp4)]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run([*command, *raw], capture_output=True, check=True)
    told = re.search(r"Video: .* (\d+)x(\d+).*, ([\d.]+) fps", done.stderr.decode())
    assert (int(told[1]), int(told[2])) == size
    width, height = size
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    return frames, float(told[3])


def assert_about(image, color, tolerance):
    mean = np.asarray(image, dtype=float).mean(axis=(0, 1))
    assert np.abs(mean - color).max() < tolerance


def test_a_film_is_three_files(film):
    expected = [film.path.with_suffix(s) for s in (".gif", ".mp4", ".png")]
    assert film.files == expected
    assert sorted(film.path.parent.iterdir()) == sorted(expected)


def test_the_gif_has_each_frame_in_order_and_holds_the_last(film):
    with Image.open(film.files[0]) as gif:
        assert gif.n_frames == len(COLORS)
        assert gif.info["loop"] == 0  # for ever
        durations = []
        for index, color in enumerate(COLORS):
            gif.seek(index)
            durations.append(gif.info["duration"])
            assert_about(gif.convert("RGB"), color, 20)
    assert durations == [BEAT] * (len(COLORS) - 1) + [HOLD]


def test_the_mp4_shows_the_same_frames_at_the_same_pace(film):
    shown, pace = watch(film.files[1], (48, 32))
    assert pace == FRAMES_PER_SECOND
    held = [COLORS[-1]] * (HOLD_BEATS - 1)
    for frame, color in zip(shown, COLORS + held, strict=True):
        assert_about(frame, color, 40)


def test_the_poster_is_the_last_frame(film):
    np.testing.assert_array_equal(iio.imread(film.files[2]), film.frames[-1])


@pytest.mark.parametrize("number", [0, 1])
def test_fewer_than_two_frames_are_no_film(tmp_path, number):
    frames = [np.zeros((16, 16, 3), np.uint8)] * number
    with pytest.raises(
        ValueError, match=rf"^frames must be at least two, got {number}$"
    ):
        save_animation(frames, tmp_path / "film")
    assert list(tmp_path.iterdir()) == []


def test_the_steps_of_the_frames_increase_and_hold_the_key_steps():
    assert len(FRAME_STEPS) >= 40
    assert list(FRAME_STEPS) == sorted(set(FRAME_STEPS))
    assert FRAME_STEPS[0] == KEY_STEPS[0] == 0
    assert FRAME_STEPS[-1] == KEY_STEPS[-1]
    assert set(KEY_STEPS) <= set(FRAME_STEPS)


@pytest.mark.parametrize("name", ["dispatch_cubic", "dispatch_linear"])
class TestTheFilmsOfTheBook:
    """Those in the repository are what the code would draw."""

    def test_the_gif_has_a_frame_for_each_step_and_is_small(self, name):
        path = MEDIA / f"{name}.gif"
        assert path.stat().st_size <= 1_000_000
        with Image.open(path) as gif:
            assert gif.n_frames == len(FRAME_STEPS) >= 40
            assert gif.size == (640, 400)

    def test_the_mp4_is_smaller_and_has_the_same_frames(self, name):
        gif, mp4 = MEDIA / f"{name}.gif", MEDIA / f"{name}.mp4"
        assert mp4.stat().st_size < gif.stat().st_size
        frames, pace = watch(mp4, (640, 400))
        assert len(frames) == len(FRAME_STEPS) - 1 + HOLD_BEATS
        assert pace == FRAMES_PER_SECOND

    def test_the_poster_is_the_end_of_the_film(self, name):
        poster = iio.imread(MEDIA / f"{name}.png").astype(float)
        frames, _ = watch(MEDIA / f"{name}.mp4", (640, 400))
        to_last, to_first = (np.abs(poster - frames[i]).mean() for i in (-1, 0))
        assert to_last < 3 < 2 * to_last + 3 < to_first

    def test_the_strip_exists(self, name):
        height, width, _ = iio.imread(MEDIA / f"{name}_strip.png").shape
        assert width > height > 200
