"""How much slower a mixture of four ResNet-18 trains than one ResNet-18.

python -m benchmarks.images          (one GPU that does nothing else, some minutes)
python -m benchmarks.images --tiny   (any CPU, some seconds: to see that it runs)

100,000 random images of 3 x 32 x 32, as many as the training set of CIFAR-10-Rotate,
lie in the memory of the device. A step is that of moe_lib.minibatch.fit: batch, routing
noise, loss with load balancing, backward, Adam. Three trainings are timed in turns,
after a warm-up, and images per second are compared in two ways:

- equal batch per expert: the mixture has batches of 4 x 128, so that an expert gets 128
  on average (its own router decides, so the four differ), against one network with 128.
  Both run the network on batches of about 128; the mixture does so four times a step.
- equal batch: the same 512 images through the mixture and through one network.

An image passes one expert, so both ratios would be 1 if routing, small batches and the
optimiser's work on four times as many weights were free. `cold` is the speed of the
warm-up: on a GPU, cuDNN prepares anew for each batch size that an expert gets first.
"""

import argparse
import json
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count
from statistics import median

import torch

from moe_lib.image_mixture import ImageMixture
from moe_lib.minibatch import FitConfig, repeatable, training_loss
from moe_lib.networks import ResNet18
from moe_lib.rng import drawing_from, generator, shuffled

EXPERTS, CONFIG = 4, FitConfig()
FORMATS = {
    "channels_first": torch.contiguous_format,
    "channels_last": torch.channels_last,
}
build = partial(ResNet18, num_classes=2)


class Training:
    """A model in training, one step after the other."""

    def __init__(self, model, images, classes, *, batch_size, autocast):
        self.model, self.images, self.classes = model, images, classes
        self.batch_size, self.autocast = batch_size, autocast
        fused = images.is_cuda  # as fit does
        self.optimizer = torch.optim.Adam(model.parameters(), lr=CONFIG.lr, fused=fused)
        self.batches, self.step = self._batches(), 0

    def _batches(self):
        for epoch in count():
            order = shuffled(len(self.images), seed=0, epoch=epoch)
            yield from order.to(self.images.device).split(self.batch_size)

    def advance(self, steps):
        """Return images per second over ``steps``."""
        device, seen = self.images.device, 0
        _wait(device)
        start = time.perf_counter()
        for _ in range(steps):
            rows = next(self.batches)
            with self.autocast():
                loss = training_loss(
                    self.model,
                    self.images[rows],
                    self.classes[rows],
                    seed=0,
                    step=self.step,
                    load_balancing=CONFIG.load_balancing,
                )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.step += 1
            seen += len(rows)
        _wait(device)
        return seen / (time.perf_counter() - start)


def _wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def _model(kind, size, memory_format, device):
    source = generator(0, "init")
    if kind == "mixture":
        model = ImageMixture(
            build, num_experts=EXPERTS, image_size=size, generator=source
        )
    else:
        with drawing_from(source):
            model = build()
    return model.train().to(device, memory_format=memory_format)


@contextmanager
def _tf32(allowed):
    """Let products of float32 on a GPU round to TF32, or not."""
    places = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = allowed
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


@repeatable()
def compare(
    images, classes, *, precision, memory_format, per_expert, warmup, steps, rounds
):
    """Time the three trainings in turns; return speeds and their ratios."""
    half = partial(torch.autocast, images.device.type, torch.bfloat16)
    images = images.contiguous(memory_format=FORMATS[memory_format])
    trainings = {
        f"{kind} {batch_size}": Training(
            _model(kind, images.shape[-1], FORMATS[memory_format], images.device),
            images,
            classes,
            batch_size=batch_size,
            autocast=half if precision == "bf16" else nullcontext,
        )
        for kind, batch_size in (
            ("single", per_expert),
            ("mixture", EXPERTS * per_expert),
            ("single", EXPERTS * per_expert),
        )
    }
    times = {name: [] for name in trainings}
    with _tf32(precision != "fp32"):
        cold = {name: training.advance(warmup) for name, training in trainings.items()}
        for _ in range(rounds):
            for name, training in trainings.items():
                times[name].append(training.advance(steps))
    speed = {name: median(found) for name, found in times.items()}
    small, mixture, large = speed.values()
    return {
        "precision": precision,
        "memory_format": memory_format,
        "images_per_s": {name: round(value, 1) for name, value in speed.items()},
        "cold": {name: round(value, 1) for name, value in cold.items()},
        "ratio_at_equal_batch_per_expert": round(mixture / small, 3),
        "ratio_at_equal_batch": round(mixture / large, 3),
        "images_of_each_expert": _shares(trainings, per_expert),
    }


@torch.no_grad()
def _shares(trainings, per_expert):
    """Count, in one more batch, who would get which image."""
    training = trainings[f"mixture {EXPERTS * per_expert}"]
    images = training.images[next(training.batches)]
    noise = torch.rand(len(images), EXPERTS, generator=generator(0, "evaluation_noise"))
    found = training.model(images, noise.to(images))
    return found.expert_index.bincount(minlength=EXPERTS).tolist()


def main(arguments=None):
    """Print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args(arguments).tiny
    device = "cuda" if torch.cuda.is_available() and not tiny else "cpu"
    sizes = {"per_expert": 128, "warmup": 150, "steps": 30, "rounds": 7}
    num_images, size, precisions = 100_000, 32, ("fp32", "tf32", "bf16")
    if tiny:
        sizes = {"per_expert": 4, "warmup": 1, "steps": 1, "rounds": 2}
        num_images, size, precisions = 64, 16, ("fp32", "bf16")
    source = generator(0, "train_data")
    images = torch.rand(num_images, 3, size, size, generator=source).to(device)
    classes = torch.randint(0, 2, (num_images,), generator=source).to(device)
    results = [
        compare(
            images, classes, precision=precision, memory_format=memory_format, **sizes
        )
        for precision in precisions
        for memory_format in FORMATS
    ]
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    known = {"device": name, "torch": torch.__version__, "network": "ResNet18"}
    print(json.dumps({**known, "images": num_images, **sizes, "results": results}))


if __name__ == "__main__":
    main()
