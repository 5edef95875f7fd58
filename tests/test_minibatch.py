"""Training in small batches: what a step is, which epoch stays, and going on."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jaxtyping
import pytest
import torch
from torch import nn

from moe_lib import PatchDataset, checkpoints
from moe_lib.image_evaluation import evaluate_images, to_classes, to_images
from moe_lib.image_mixture import ImageMixture
from moe_lib.minibatch import FitConfig, fit, training_loss
from moe_lib.networks import CNN, ResNet18
from moe_lib.rng import drawing_from, generator, shuffled
from moe_lib.router import sample_router_noise
from tests.toys import source

SHAPE = (1, 4, 4)


def bars(n, seed=0):
    """Return bright bars, upright (+1) or flat (-1), in bright or dark images."""
    draw = source(seed)
    y = torch.randint(0, 2, (n,), generator=draw) * 2 - 1
    cluster = torch.randint(0, 2, (n,), generator=draw)
    place = torch.randint(0, 4, (n,), generator=draw)
    flat = nn.functional.one_hot(place, 4).float()[:, :, None].expand(n, 4, 4)
    images = torch.where(y[:, None, None] > 0, flat.mT, flat) + cluster[:, None, None]
    noise = 0.1 * torch.randn(n, 1, 16, generator=draw)
    return PatchDataset(images.reshape(n, 1, 16) + noise, y.float(), cluster)


def expert():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 2),
    )


def mixture(seed=0, experts=2):
    draw = generator(seed, "init")
    return ImageMixture(
        expert, num_experts=experts, in_channels=1, image_size=4, generator=draw
    )


def single(seed=0):
    with drawing_from(generator(seed, "init")):
        return expert()


CONFIG = FitConfig(epochs=4, batch_size=16, lr=0.01)
TRAIN, VALIDATION = bars(100), bars(60, seed=1)


def train(model, config=CONFIG, **options):
    options = {"image_shape": SHAPE, "seed": 3, **options}
    return fit(model, TRAIN, VALIDATION, config, **options)


def same(first, second):
    """Tell whether two nested containers hold the same values, bit for bit."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            same(first[key], second[key]) for key in first
        )
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("make", [mixture, single])
def test_it_learns(make):
    model = make()
    before = evaluate_images(model, VALIDATION, image_shape=SHAPE).accuracy.item()
    result = train(model, replace(CONFIG, epochs=12))
    assert before < 0.8
    assert result.validation_accuracy.max() > 0.95
    assert result.loss[-1] < result.loss[0] / 2


@pytest.mark.parametrize("make", [mixture, single])
def test_fit_equals_the_loop(make):
    """Two epochs by hand, in plain torch."""
    model, slow = make(), make()
    config = replace(CONFIG, epochs=2, load_balancing=0.5)
    result = train(model, config)

    optimizer = torch.optim.Adam(slow.parameters(), lr=0.01)
    x, target, step = TRAIN.x.view(100, 1, 4, 4), (TRAIN.y > 0).long(), 0
    losses, weights, accuracies = [], [], []
    for epoch in range(2):
        slow.train()
        order = shuffled(100, seed=3, epoch=epoch)
        for begin in range(0, 100, 16):
            rows = order[begin : begin + 16]
            if make is mixture:
                noise = sample_router_noise(len(rows), 2, seeds=[3], step=step)[0]
                out = slow(x[rows], noise)
                share = torch.stack(
                    [(out.expert_index == m).float().mean() for m in (0, 1)]
                )
                balance = 2 * (share * out.probs.mean(dim=0)).sum()
                scores = out.output
            else:
                scores, balance = slow(x[rows]), 0
            loss = nn.functional.cross_entropy(scores, target[rows]) + 0.5 * balance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
        weights.append({k: v.clone() for k, v in slow.state_dict().items()})
        found = evaluate_images(slow, VALIDATION, image_shape=SHAPE)
        accuracies.append(found.accuracy.item())

    torch.testing.assert_close(result.loss, torch.tensor(losses).view(2, 7).mean(dim=1))
    assert result.validation_accuracy.tolist() == accuracies
    assert result.best_epoch == accuracies.index(max(accuracies))
    assert same(dict(model.state_dict()), weights[result.best_epoch])
    assert not model.training


def test_the_best_epoch_stays():
    """With steps this large, training comes and goes."""
    model = single()
    result = train(model, replace(CONFIG, epochs=8, lr=0.3))
    best = result.validation_accuracy.max()
    assert result.validation_accuracy[-1] < best
    assert result.validation_accuracy[result.best_epoch] == best
    assert (result.validation_accuracy[: result.best_epoch] < best).all()
    found = evaluate_images(model, VALIDATION, image_shape=SHAPE)
    assert found.accuracy.item() == best


def test_same_seed_same_bits_another_seed_others():
    models = [mixture() for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        train(model, seed=seed)
    first, again, other = (dict(model.state_dict()) for model in models)
    assert same(first, again)
    assert not same(first, other)


def test_the_global_generator_is_neither_read_nor_moved():
    before, first = torch.get_rng_state(), mixture()
    train(first)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        again = mixture()
        train(again)
    assert same(dict(first.state_dict()), dict(again.state_dict()))


def test_noise_and_balance_are_for_mixtures_only():
    x, classes = to_images(TRAIN, SHAPE), to_classes(TRAIN)
    options = {"seed": 0, "load_balancing": 0.0}
    model, alone = mixture(), single()
    losses = [
        training_loss(model, x, classes, step=step, **options).item() for step in (0, 1)
    ]
    assert losses[0] != losses[1]
    loss = training_loss(
        alone, x, classes, step=0, **{**options, "load_balancing": 9.0}
    )
    assert loss.item() == nn.functional.cross_entropy(alone(x), classes).item()


# Evaluation


def test_evaluation_equals_the_loop_in_any_batches():
    model = mixture(experts=3)
    train(model)
    model.eval()
    index, right, counts = [], [], torch.zeros(2, 3, dtype=torch.long)
    for i in range(len(VALIDATION)):
        out = model(VALIDATION.x[i].view(1, *SHAPE))
        index.append(out.expert_index.item())
        right.append(out.output.argmax().item() == (VALIDATION.y[i] > 0))
        counts[VALIDATION.cluster[i], index[-1]] += 1
    model.train()
    for size in (7, 1000):
        found = evaluate_images(model, VALIDATION, image_shape=SHAPE, batch_size=size)
        assert found.expert_index.tolist() == [index]
        assert found.accuracy.item() == sum(right) / len(right)
        assert torch.equal(found.dispatch_counts, counts[None])
        assert found.dispatch_entropy.shape == (1,)
    assert model.training


def test_a_single_network_has_no_counts():
    found = evaluate_images(single(), VALIDATION, image_shape=SHAPE)
    assert found.expert_index is None
    assert found.dispatch_counts is None


@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 4, 3), (1, 1, 12)])
def test_patches_become_images(shape):
    pixels = torch.arange(24.0)
    flat = PatchDataset(pixels.view(2, shape[0], -1), torch.tensor([1.0, -1.0]))
    assert torch.equal(to_images(flat, shape), pixels.view(2, *shape))
    assert to_classes(flat).tolist() == [1, 0]


@pytest.mark.parametrize("network", [CNN, ResNet18])
def test_the_networks_of_the_paper_can_be_trained(network):
    draw = source()
    data = PatchDataset(torch.randn(12, 3, 256, generator=draw), bars(12).y)
    sizes = {"image_size": 16, "channels": 4} if network is CNN else {}
    model = ImageMixture(
        lambda: network(num_classes=2, **sizes),
        num_experts=2,
        image_size=16,
        router="conv",
        generator=draw,
    )
    config = FitConfig(epochs=1, batch_size=5)
    result = fit(model, data, data, config, image_shape=(3, 16, 16), seed=0)
    assert result.loss.isfinite().all()


def test_more_than_two_classes():
    classes = torch.arange(60) % 3
    x = 0.1 * torch.randn(60, 1, 16, generator=source())
    x[range(60), 0, classes] += 2
    data = PatchDataset(x, classes, num_classes=3)
    assert torch.equal(to_classes(data), classes)
    with drawing_from(source()):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    config = FitConfig(epochs=10, batch_size=10, lr=0.05)
    result = fit(model, data, data, config, image_shape=SHAPE, seed=0)
    assert result.validation_accuracy.max() == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_bits_on_a_gpu_whether_interrupted_or_not(tmp_path):
    path = tmp_path / "fit.pt"
    sizes = {"image_shape": SHAPE, "seed": 3, "device": "cuda", "checkpoint": path}
    results = []
    for _ in range(2):
        model = mixture()
        train(model, **{**sizes, "checkpoint": None})
        results.append(dict(model.state_dict()))

    class Stop(Exception):
        pass

    def stop(path, state):
        save(path, state)
        if len(state["losses"]) == 2:
            raise Stop

    save = checkpoints.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "save", stop)
        with pytest.raises(Stop):
            train(mixture(), **sizes)
    model = mixture(seed=1)
    train(model, **sizes)
    assert same(results[0], results[1])
    assert same(results[0], dict(model.state_dict()))


# Going on

KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.test_minibatch import LONG, mixture, train
train(mixture(), LONG, checkpoint=Path(sys.argv[1]))
"""
LONG = replace(CONFIG, epochs=60)


def test_killed_training_goes_on_to_the_same_bits(tmp_path):
    whole, path = tmp_path / "whole.pt", tmp_path / "killed.pt"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    try:
        until = time.monotonic() + 60
        while not path.exists() and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert 1 <= len(checkpoints.load(path, {})["losses"]) < LONG.epochs

    uninterrupted, resumed = mixture(), mixture(seed=99)  # other first weights
    first = train(uninterrupted, LONG, checkpoint=whole)
    again = train(resumed, LONG, checkpoint=path)
    assert same(dict(uninterrupted.state_dict()), dict(resumed.state_dict()))
    assert torch.equal(first.loss, again.loss)
    assert torch.equal(first.validation_accuracy, again.validation_accuracy)
    last, other = checkpoints.load(whole, {}), checkpoints.load(path, {})
    assert same(last, other)  # with the last weights and the optimizer


def test_a_finished_training_is_not_done_again(tmp_path, monkeypatch):
    path, model = tmp_path / "new" / "folder" / "fit.pt", mixture()
    first = train(model, checkpoint=path)
    assert [file.name for file in path.parent.iterdir()] == ["fit.pt"]
    monkeypatch.setattr("moe_lib.minibatch.training_loss", None)  # cannot be called
    other = mixture(seed=1)
    again = train(other, checkpoint=path)
    assert torch.equal(first.loss, again.loss)
    assert first.best_epoch == again.best_epoch
    assert same(dict(model.state_dict()), dict(other.state_dict()))


def test_a_checkpoint_changes_nothing(tmp_path):
    models = mixture(), mixture()
    train(models[0])
    train(models[1], checkpoint=tmp_path / "fit.pt")
    assert same(*(dict(model.state_dict()) for model in models))


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "fit.pt"
    checkpoints.save(path, {"job": {}, "losses": [1.0]})

    def half(self, content):
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(path, {"job": {}, "losses": [1.0, 2.0]})
    assert checkpoints.load(path, {})["losses"] == [1.0]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "fit.pt"
    train(mixture(), replace(CONFIG, epochs=1), checkpoint=path)
    return path


@pytest.mark.parametrize("place", [0, 40, 0.1, 0.3, 0.5, 0.7, 0.9, -1])
def test_every_flipped_bit_is_noticed(saved, tmp_path, place):
    content = bytearray(saved.read_bytes())
    place = int(place * len(content)) if isinstance(place, float) else place
    content[place] ^= 1
    path = tmp_path / "fit.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^checkpoint must be a file as it was saved"):
        train(mixture(), replace(CONFIG, epochs=1), checkpoint=path)


@pytest.mark.parametrize("size", [0, 10, 32, 1000, -1])
def test_a_truncated_file_is_noticed(saved, tmp_path, size):
    path = tmp_path / "fit.pt"
    path.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"^checkpoint must be a file as it was saved"):
        checkpoints.load(path, {})


@pytest.mark.parametrize(
    ("name", "model", "options"),
    [
        ("config", mixture, {"config": replace(CONFIG, epochs=2)}),
        ("seed", mixture, {"seed": 4}),
        ("model", single, {}),
        ("model", lambda: mixture(experts=3), {}),
    ],
)
def test_a_checkpoint_of_another_training(saved, name, model, options):
    options = {"config": replace(CONFIG, epochs=1), **options}
    with pytest.raises(ValueError, match=f"^checkpoint must have the {name} .*, got "):
        train(model(), checkpoint=saved, **options)


@pytest.mark.parametrize("change", ["x", "y", "validation"])
def test_a_checkpoint_of_other_data(saved, change):
    first, second = TRAIN, VALIDATION
    if change == "validation":
        second = replace(second, x=second.x.flip(0))
    else:
        first = replace(first, **{change: getattr(first, change).flip(0)})
    config = replace(CONFIG, epochs=1)
    options = {"image_shape": SHAPE, "seed": 3, "checkpoint": saved}
    with pytest.raises(ValueError, match=r"^checkpoint must have the data .*, got "):
        fit(mixture(), first, second, config, **options)


# Bad input


@pytest.fixture
def _as_a_reader(monkeypatch):
    """Switch off the shape checker of the tests, which would raise first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def rejects(error, message, function, *args, **kwargs):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        function(*args, **kwargs)


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize(
    ("error", "message", "values"),
    [
        (ValueError, "epochs must be at least 1, got 0", {"epochs": 0}),
        (TypeError, "batch_size must be an integer, got 1.5", {"batch_size": 1.5}),
        (ValueError, "lr must be finite and non-negative, got -1", {"lr": -1}),
        (
            ValueError,
            "load_balancing must be finite and non-negative, got inf",
            {"load_balancing": float("inf")},
        ),
    ],
)
def test_bad_settings(error, message, values):
    rejects(error, message, FitConfig, **values)


@pytest.mark.usefixtures("_as_a_reader")
def test_bad_arguments_of_fit():
    message = "x must have 48 pixels, as image_shape = (3, 4, 4) has, got shape "
    rejects(
        ValueError, message + "[100, 1, 16]", train, single(), image_shape=(3, 4, 4)
    )
    rejects(ValueError, "seed must be at least 0, got -1", train, single(), seed=-1)
    message = "seed must be less than 2**32, got 4294967296"
    rejects(ValueError, message, train, single(), seed=2**32)
    message = "device must be cpu or cuda, got 'tpu'"
    rejects(ValueError, message, train, single(), device="tpu")
    message = "batch_size must be at least 1, got 0"
    options = {"image_shape": SHAPE, "batch_size": 0}
    rejects(ValueError, message, evaluate_images, single(), TRAIN, **options)
    empty = PatchDataset(TRAIN.x[:0], TRAIN.y[:0])
    message = "number of examples must be at least 1, got 0"
    rejects(ValueError, message, to_images, empty, SHAPE)


def test_a_class_without_an_output():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    message = "model must have 2 outputs, one for each class of the data, got 1"
    rejects(ValueError, message, train, model)
