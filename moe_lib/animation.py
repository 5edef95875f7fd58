"""The dispatch animations: who gets which example while a mixture learns.

Each becomes a GIF, a smaller MP4 of the same frames and a still poster.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import imageio.v3 as iio
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from tqdm import tqdm

from moe_lib.config import DataConfig, ModelConfig, TrainConfig, setting
from moe_lib.data import make_data
from moe_lib.figures import Snapshot, Story, frame_figure, strip_figure
from moe_lib.metrics import accuracy, dispatch_counts, dispatch_entropy
from moe_lib.model import ModelOutput, MoE, SingleExpert
from moe_lib.plotting import STYLE
from moe_lib.router import route, sample_router_noise
from moe_lib.train import Callback, train

# Dense at the start, where things happen; the last frame is held.
FRAME_STEPS = (
    *range(0, 20, 2),
    *range(20, 140, 5),
    *range(140, 300, 20),
    300,
    450,
    600,
)
FRAMES_PER_SECOND = 5
KEY_STEPS = (0, 90, 600)
HOLD_BEATS = 10  # how long the last frame stays
NUM_POINTS = 900


def embed(patch_sum: NDArray) -> NDArray:
    """Place examples in the plane by t-SNE of their patch sums, [n, d] to [n, 2]."""
    return TSNE(init="pca", perplexity=40, random_state=0).fit_transform(patch_sum)


def record_story(
    activation: str,
    data_config: DataConfig,
    *,
    seed: int = 0,
    frame_steps: Sequence[int] = FRAME_STEPS,
    num_points: int = NUM_POINTS,
    callback: Callback | None = None,
) -> Story:
    """Train a mixture at the rates of the main table and keep what its router did.

    Parameters
    ----------
    activation : str
        Of the experts.
    data_config : DataConfig
        The setting.
    seed : int
        Seed of data, weights and noise.
    frame_steps : sequence of int
        Steps to keep, increasing; the last one ends the training.
    num_points : int
        Test examples to place in the plane.
    callback : callable, optional
        Also called at every step, as by :func:`moe_lib.train.train`.
    """
    train_data, test_data = make_data(data_config, seed)
    config = ModelConfig(activation=activation)
    model = MoE(config, dim=data_config.dim, seeds=[seed])
    snapshots: list[Snapshot] = []

    @torch.no_grad()
    def keep(step: int, model: MoE | SingleExpert, now: ModelOutput | None) -> None:
        if callback is not None:
            callback(step, model, now)
        if step not in frame_steps:
            return
        out = model(test_data.x, patch_sum=test_data.patch_sum)
        assert out.routing is not None
        assert test_data.cluster is not None
        noise = sample_router_noise(
            len(test_data),
            config.num_experts,
            seeds=[seed],
            step=step,
            stream="evaluation_noise",
        )
        chosen = route(out.routing.logits, noise).expert_index
        counts = dispatch_counts(
            test_data.cluster,
            chosen,
            num_groups=data_config.num_clusters,
            num_experts=config.num_experts,
        )
        snapshots.append(
            Snapshot(
                step=step,
                accuracy=100 * accuracy(out.output, test_data.y).item(),
                entropy=dispatch_entropy(counts).item(),
                counts=counts[0].numpy(),
                leaning=out.routing.expert_index[0, :num_points].numpy(),
                chosen=chosen[0, :num_points].numpy(),
            )
        )

    train(model, train_data, TrainConfig(steps=frame_steps[-1]), callback=keep)
    shown = test_data.head(num_points)
    assert shown.cluster is not None
    return Story(
        title=f"Mixture of {activation} experts",
        points=embed(shown.patch_sum.numpy()),
        cluster=shown.cluster.numpy(),
        snapshots=snapshots,
    )


def render(story: Story) -> list[NDArray]:
    """Draw all frames of a story, each an RGB array [height, width, 3] of uint8."""
    frames = []
    with plt.style.context(STYLE):
        for now in tqdm(story.snapshots, desc="frames", leave=False, disable=None):
            figure = frame_figure(story, now)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
            plt.close(figure)
    return frames


def save_animation(frames: Sequence[NDArray], path: Path) -> list[Path]:
    """Write ``path`` with the endings .gif and .mp4, and the last frame as .png.

    Raises
    ------
    ValueError
        If there are fewer than two frames.
    """
    if len(frames) < 2:
        raise ValueError(f"frames must be at least two, got {len(frames)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    gif, mp4, poster = (path.with_suffix(s) for s in (".gif", ".mp4", ".png"))
    beat = 1000 // FRAMES_PER_SECOND
    durations = [beat] * (len(frames) - 1) + [HOLD_BEATS * beat]
    # Sixteen levels a channel look the same here and make a GIF a third smaller.
    coarse = [(frame & 0xF0) | 0x0F for frame in frames]
    iio.imwrite(gif, coarse, duration=durations, loop=0)
    held = [*frames, *[frames[-1]] * (HOLD_BEATS - 1)]
    iio.imwrite(mp4, held, fps=FRAMES_PER_SECOND, codec="libx264", quality=5)
    iio.imwrite(poster, frames[-1])
    return [gif, mp4, poster]


def make_animations(folder: Path) -> Iterator[Path]:
    """Make the animations of the linear and the cubic mixture, yielding each file.

    Beside each, a strip of key frames. Command: ``python -m moe_lib animate``.
    Run time: about two minutes on two idle cores.
    """
    for activation in ("cubic", "linear"):
        story = record_story(activation, setting(1))
        path = folder / f"dispatch_{activation}"
        yield from save_animation(render(story), path)
        with plt.style.context(STYLE):
            figure = strip_figure(story, KEY_STEPS)
            figure.savefig(path.with_name(f"{path.name}_strip.png"), dpi=110)
            plt.close(figure)
        yield path.with_name(f"{path.name}_strip.png")
