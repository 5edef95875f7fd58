"""CIFAR-10 without a network: a fake of its form, and fakes that are broken."""

import cmath
import itertools
import math
from http.client import IncompleteRead
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image
from scipy import ndimage

from moe_lib import cifar, rng, splits
from moe_lib.cifar import cifar10, cifar10_rotate, load_cifar10
from moe_lib.transforms import crop_and_enlarge, gaussian_blur, rotate_nearest
from tests.errors import rejects
from tests.toys import uniform

SIDES = ("train", "validation", "test")
MEAN = np.array([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1)
STD = np.array([0.2023, 0.1994, 0.2010]).reshape(3, 1, 1)


def fetcher(data, target):
    return lambda name, **options: SimpleNamespace(data=data, target=target)


@pytest.fixture(scope="module")
def pixels():
    """Return 60,000 rows of noise, all different; as in the real data, uint8 values."""
    source = np.random.default_rng(0)
    return source.integers(0, 256, (60_000, 3072), dtype=np.uint8)


@pytest.fixture(scope="module")
def target():
    """Return the classes as OpenML gives them, and equally often on both sides."""
    return np.array([str(i % 10) for i in range(60_000)], dtype=object)


@pytest.fixture(scope="module")
def fetch(pixels, target):
    return fetcher(pixels, target)


def sides(split):
    return {side: getattr(split, side) for side in SIDES}


def originals(part, pixels):
    """Find the row of each example that was only normalised."""
    x = part.x.reshape(-1, 3, 32, 32).double().numpy()
    found = np.rint((x * STD + MEAN) * 255).astype(np.uint8).reshape(len(x), -1)
    known = {row[:64].tobytes(): i for i, row in enumerate(pixels)}
    rows = [known[row[:64].tobytes()] for row in found]
    assert (found == pixels[rows]).all()
    return rows


# Loading


def test_images_and_classes_come_as_they_are(fetch, pixels):
    images, classes = load_cifar10(fetch=fetch)
    assert images.shape == (60_000, 3, 32, 32)
    assert images.dtype == np.uint8
    # planar: first all red, row by row
    assert images[7, 0, 1, 2] == pixels[7, 32 + 2]
    assert images[7, 2, 31, 31] == pixels[7, 3071]
    assert classes.dtype == np.int64
    assert (classes == np.arange(60_000) % 10).all()


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_pixels_of_another_dtype_become_bytes(dtype, target):
    row = np.arange(3072) % 256
    data = np.broadcast_to(row.astype(dtype), (60_000, 3072))
    images, _ = load_cifar10(fetch=fetcher(data, target))
    assert images.dtype == np.uint8
    assert (images[59_999].ravel() == row).all()


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, str])
def test_classes_of_another_dtype_become_integers(pixels, target, dtype):
    _, classes = load_cifar10(fetch=fetcher(pixels, target.astype(dtype)))
    assert (classes == np.arange(60_000) % 10).all()


def test_by_default_scikit_learn_fetches(monkeypatch, pixels, target, tmp_path):
    asked = []

    def fetch_openml(name, **options):
        asked.append((name, options))
        return SimpleNamespace(data=pixels, target=target)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    load_cifar10(data_home=tmp_path)
    options = {"version": 1, "as_frame": False, "parser": "auto"}
    assert asked == [("CIFAR_10", {**options, "data_home": tmp_path})]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError("Name or service\nnot known"), "<urlopen error Name or service not"),
        (TimeoutError(), "TimeoutError"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
        (IncompleteRead(b"12", 3), "IncompleteRead(2 bytes read, 3 more expected)"),
    ],
)
@pytest.mark.parametrize("load", [cifar10, cifar10_rotate])
def test_without_a_network_one_line_says_what_to_do(load, error, reason):
    def fetch(name, **options):
        raise error

    with pytest.raises(RuntimeError) as caught:
        load(seed=0, fetch=fetch)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        f"CIFAR-10 could not be fetched from openml.org ({reason}"
    )
    assert message.endswith(
        "connect to the network, or pass as data_home a folder into which it was "
        "fetched before"
    )


def zeros(dtype):
    """Return pixels of which no page of memory is written."""
    return np.zeros((60_000, 3072), dtype)


def with_value(dtype, value, row=0):
    data = zeros(dtype)
    data[row, 5] = value
    return data


WHOLE = "data must hold whole numbers in [0, 255], got "
AGAIN = ": delete what is in data_home and fetch again"


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: zeros(np.uint8)[:-1],
            ValueError,
            f"data must have shape [60000, 3072], got [59999, 3072]{AGAIN}",
        ),
        (
            lambda: zeros(np.uint8)[:, :-1],
            ValueError,
            f"data must have shape [60000, 3072], got [60000, 3071]{AGAIN}",
        ),
        (
            lambda: zeros(np.uint8).reshape(60_000, 3, 1024),
            ValueError,
            f"data must have shape [60000, 3072], got [60000, 3, 1024]{AGAIN}",
        ),
        (
            lambda: [[0] * 3072],
            TypeError,
            "data must be a NumPy array, got list",
        ),
        (
            lambda: np.array([["a", "b"]]),
            TypeError,
            "data must hold numbers, got dtype <U1",
        ),
        (
            lambda: np.zeros((1, 1), bool),
            TypeError,
            "data must hold numbers, got dtype bool",
        ),
        *(
            (
                lambda dtype=dtype, value=value: with_value(dtype, value),
                ValueError,
                f"{WHOLE}{value} in one of the rows 0 to 999",
            )
            for dtype, value in (
                (np.float32, 256.0),
                (np.float32, -1.0),
                (np.float64, 0.5),
                (np.float64, math.nan),
                (np.float32, math.inf),
                (np.int64, 300),
                (np.int16, -1),
            )
        ),
        (
            lambda: with_value(np.int16, 256, 59_999),
            ValueError,
            f"{WHOLE}256 in one of the rows 59000 to 59999",
        ),
    ],
)
def test_broken_pixels_are_named(make, error, message, target):
    rejects(error, message, load_cifar10, fetch=fetcher(make(), target))


def replaced(target, row, value):
    target = target.copy()
    target[row] = value
    return target


EACH = "target must hold each class "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda target: target[:-1],
            "target must have shape [60000], got [59999]",
        ),
        (
            lambda target: replaced(target, 7, "cat"),
            "target must be 0 to 9, got 'cat'",
        ),
        (
            lambda target: replaced(target, 7, "10"),
            "target must be 0 to 9, got '10'",
        ),
        (
            lambda target: replaced(target, 7, "1.5"),
            "target must be 0 to 9, got '1.5'",
        ),
        (
            lambda target: replaced(target, 7, None),
            "target must be 0 to 9, got None",
        ),
        (
            lambda target: replaced(target, 0, "1"),
            EACH + "5000 times in the first 50000 rows, got [4999, 5001, 5000, 5000, "
            "5000, 5000, 5000, 5000, 5000, 5000]",
        ),
        (
            lambda target: replaced(target, 59_999, "0"),
            EACH + "1000 times in the last 10000 rows, got [1001, 1000, 1000, 1000, "
            "1000, 1000, 1000, 1000, 1000, 999]",
        ),
        (
            np.sort,
            EACH + "5000 times in the first 50000 rows, got [6000, 6000, 6000, 6000, "
            "6000, 6000, 6000, 6000, 2000, 0]",
        ),
    ],
)
def test_broken_classes_are_named(change, message, pixels, target):
    rejects(ValueError, message, load_cifar10, fetch=fetcher(pixels, change(target)))


# Splits


@pytest.mark.parametrize("seed", [0, 1])
def test_validation_comes_from_the_training_images(fetch, seed):
    rows, images, classes = cifar._load(seed, None, fetch, None)
    assert [len(rows[side]) for side in SIDES] == [45_000, 5_000, 10_000]
    both = np.concatenate([rows["train"], rows["validation"]])
    assert (np.sort(both) == np.arange(50_000)).all()
    assert (rows["test"] == np.arange(50_000, 60_000)).all()
    assert len(images) == len(classes) == 60_000


def test_the_split_is_a_function_of_the_seed(fetch):
    one, same, other = (cifar._load(s, None, fetch, None)[0] for s in (5, 5, 6))
    assert (one["validation"] == same["validation"]).all()
    shared = np.intersect1d(one["validation"], other["validation"])
    assert 400 < len(shared) < 600  # a tenth of 5000, at random


def test_plain_images_are_normalised_and_nothing_else(fetch, pixels, target):
    split = cifar10(seed=3, fetch=fetch, limit=200)
    assert split.image_shape == (3, 32, 32)
    assert split.cluster_names[3] == "cat"
    assert len(split.cluster_names) == 10
    rows = {}
    for side, part in sides(split).items():
        assert part.x.shape == (200, 3, 1024)
        assert part.x.dtype == torch.float32
        assert part.num_classes == part.num_clusters == 10
        rows[side] = originals(part, pixels)
        assert len(set(rows[side])) == 200
        expected = [int(target[row]) for row in rows[side]]
        assert part.y.tolist() == part.cluster.tolist() == expected
        assert part.y.dtype == torch.int64
    assert not set(rows["train"]) & set(rows["validation"])
    assert max(rows["train"] + rows["validation"]) < 50_000 <= min(rows["test"])


def test_images_beyond_one_chunk_are_all_there(fetch, pixels, monkeypatch):
    whole = cifar10(seed=3, fetch=fetch, limit=50).train.x
    turned = cifar10_rotate(seed=3, fetch=fetch, limit=50).test.x
    monkeypatch.setattr(cifar, "CHUNK", 20)
    assert torch.equal(cifar10(seed=3, fetch=fetch, limit=50).train.x, whole)
    again = cifar10_rotate(seed=3, fetch=fetch, limit=50).test.x
    assert torch.equal(again, turned)


@pytest.mark.parametrize("load", [cifar10, cifar10_rotate])
def test_a_seed_means_the_same_examples(load, fetch):
    before = torch.get_rng_state()
    one, same, other = (load(seed=s, fetch=fetch, limit=30) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for side in SIDES:
        assert torch.equal(getattr(one, side).x, getattr(same, side).x)
        assert not torch.equal(getattr(one, side).x, getattr(other, side).x)


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize("load", [cifar10, cifar10_rotate])
def test_bad_arguments_raise_before_anything_is_fetched(load):
    def fetch(name, **options):
        raise AssertionError("fetched")

    for arguments, error, message in (
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": "1"}, TypeError, "seed must be an integer, got '1'"),
        ({"seed": 0, "limit": 0}, ValueError, "limit must be at least 1, got 0"),
        ({"seed": 0, "limit": 2.0}, TypeError, "limit must be an integer, got 2.0"),
    ):
        rejects(error, message, load, fetch=fetch, **arguments)


@pytest.mark.parametrize("package", ["sklearn.datasets", "PIL.Image"])
def test_a_missing_package_is_named_with_its_cure(monkeypatch, fetch, package):
    def absent(name):
        assert name == package
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(splits, "import_module", absent)
    wanted = None if package == "sklearn.datasets" else fetch
    with pytest.raises(ImportError, match=r"pip install 'moe-lib\[real\]'$"):
        cifar10_rotate(seed=0, fetch=wanted, limit=3)


# CIFAR-10-Rotate


def slow_image(image, turned, sigma):
    """Prepare one image [3, 32, 32] as the authors' code does, by Pillow and loops."""
    picture = Image.fromarray(image.transpose(1, 2, 0))
    if turned:
        picture = picture.rotate(30, Image.Resampling.NEAREST)
    picture = picture.crop((4, 4, 28, 28)).resize((32, 32), Image.Resampling.BILINEAR)
    unit = np.asarray(picture).transpose(2, 0, 1) / 255
    if sigma is not None:
        weights = {
            (i, j): math.exp(-(i * i + j * j) / (2 * sigma**2))
            for i in range(-3, 4)
            for j in range(-1, 2)
        }
        wide = np.pad(unit, ((0, 0), (3, 3), (1, 1)), mode="reflect")
        unit = sum(
            w * wide[:, 3 + i : 35 + i, 1 + j : 33 + j] for (i, j), w in weights.items()
        ) / sum(weights.values())
    return torch.from_numpy((unit - MEAN) / STD).float().reshape(3, 1024)


def test_both_copies_of_each_image_are_prepared_as_the_authors_do(
    fetch, pixels, target
):
    split = cifar10_rotate(seed=3, fetch=fetch, limit=25)
    plain = cifar10(seed=3, fetch=fetch, limit=25)
    draws = rng.generator(3, "train_data")
    sigma = [1.1 + 1.1 * torch.rand(25, generator=draws) for _ in range(2)]
    assert split.image_shape == plain.image_shape
    assert split.cluster_names == plain.cluster_names
    for side, part in sides(split).items():
        rows = originals(getattr(plain, side), pixels)
        assert part.x.shape == (50, 3, 1024)
        assert part.x.dtype == part.y.dtype == torch.float32
        assert part.y.tolist() == [-1, 1] * 25
        assert part.cluster.tolist() == [int(target[i]) for i in rows for _ in "01"]
        for (k, row), copy in itertools.product(enumerate(rows), range(2)):
            width = sigma[copy][k].item() if side == "train" else None
            image = pixels[row].reshape(3, 32, 32)
            expected = slow_image(image, turned=copy == 1, sigma=width)
            torch.testing.assert_close(
                part.x[2 * k + copy], expected, rtol=0, atol=2e-5
            )


def test_the_label_cannot_be_read_from_the_corners(target):
    white = np.broadcast_to(np.uint8(255), (60_000, 3072))
    split = cifar10_rotate(seed=0, fetch=fetcher(white, target), limit=5)
    for part in sides(split).values():
        torch.testing.assert_close(part.x[::2], part.x[1::2])


# Steps


def slow_rotation(image, degrees):
    """Fill one pixel after another; the plane is the complex numbers."""
    height, width = image.shape
    turn = cmath.exp(1j * math.radians(degrees))
    turn = complex(round(turn.real, 15), round(turn.imag, 15))
    new = np.zeros_like(image)
    for i, j in itertools.product(range(height), range(width)):
        point = complex(j + 0.5 - width / 2, i + 0.5 - height / 2) * turn
        row = math.floor(point.imag + height / 2)
        column = math.floor(point.real + width / 2)
        if 0 <= row < height and 0 <= column < width:
            new[i, j] = image[row, column]
    return new


ANGLES = [0.0, 30.0, -30.0, 7.3, 45.0, 90.0, 135.0, 180.0, 270.0, 299.9, 390.0]


@pytest.mark.parametrize("degrees", ANGLES)
@pytest.mark.parametrize("shape", [(32, 32), (9, 9), (8, 13)])
def test_every_pixel_of_a_rotation_is_the_one_of_the_formula(degrees, shape):
    images = np.random.default_rng(1).integers(1, 256, (3, 2, *shape), dtype=np.uint8)
    fast = rotate_nearest(images, degrees)
    assert fast.dtype == np.uint8
    for index in itertools.product(range(3), range(2)):
        expected = slow_rotation(images[index], degrees)
        np.testing.assert_array_equal(fast[index], expected)


@pytest.mark.parametrize("degrees", ANGLES)
def test_a_rotation_is_pillows(degrees):
    images = np.random.default_rng(2).integers(1, 256, (20, 32, 32), dtype=np.uint8)
    on_border = np.zeros((32, 32), bool)
    if degrees in (45, 135):  # of two pixels, on the diagonals
        on_border = np.eye(32, dtype=bool) | np.eye(32, dtype=bool)[::-1]
    for image, fast in zip(images, rotate_nearest(images, degrees), strict=True):
        pillows = Image.fromarray(image).rotate(degrees, Image.Resampling.NEAREST)
        assert ((fast == np.asarray(pillows)) | on_border).all()


def test_a_quarter_turn_goes_to_the_left_and_four_go_home():
    image = np.arange(35.0).reshape(5, 7)[:, :5]
    np.testing.assert_array_equal(rotate_nearest(image, 90.0), np.rot90(image))
    np.testing.assert_array_equal(rotate_nearest(image, 360.0), image)
    assert image[0, 0] == 0
    assert (rotate_nearest(image + 1, 90.0) > 0).all()


def test_only_nearest_pixels_leave_no_black_corner_inside_the_crop():
    white = np.full((32, 32), 255, np.uint8)
    middle = (slice(4, 28), slice(4, 28))
    assert (rotate_nearest(white, 30.0)[middle] == 255).all()
    assert (rotate_nearest(white, 30.0) == 0).any()
    blended = ndimage.rotate(
        white.astype(float), 30, reshape=False, order=1, mode="grid-constant"
    )
    assert (blended[middle] < 254).sum() == 4


def test_the_middle_is_enlarged():
    images = np.zeros((2, 3, 32, 32), np.uint8)
    images[:, :, 4:28, 4:28] = 200
    images[1, 0] = np.arange(32)  # a ramp along the columns
    large = crop_and_enlarge(images)
    assert large.dtype == np.uint8
    assert (large[0] == 200).all()
    ramp = (np.arange(32) + 0.5) * 24 / 32 - 0.5 + 4
    np.testing.assert_allclose(large[1, 0, 5], ramp.clip(4, 27), atol=0.51)


def test_a_blur_is_a_weighted_mean_over_three_columns_and_seven_rows():
    point = torch.zeros(2, 1, 15, 15, dtype=torch.float64)
    point[:, 0, 7, 7] = 1
    sigma = torch.tensor([1.1, 2.2], dtype=torch.float64)
    blurred = gaussian_blur(point, sigma)
    for image, s in zip(blurred[:, 0], (1.1, 2.2), strict=True):
        rows, columns = image.nonzero().unbind(dim=1)
        assert (rows.min(), rows.max()) == (4, 10)
        assert (columns.min(), columns.max()) == (6, 8)
        assert image.sum() == pytest.approx(1)
        ratio = image[10, 8] / image[7, 7]
        assert ratio.item() == pytest.approx(math.exp(-(9 + 1) / (2 * s**2)))


def test_a_blur_keeps_what_is_constant_also_at_the_border():
    flat = torch.full((1, 3, 8, 8), 0.7)
    torch.testing.assert_close(gaussian_blur(flat, torch.tensor([2.0])), flat)


@pytest.mark.usefixtures("_as_a_reader")
def test_bad_arguments_of_steps():
    image = np.zeros((4, 4))
    message = "degrees must be finite, got inf"
    rejects(ValueError, message, rotate_nearest, image, math.inf)
    message = "degrees must be a number, got '30'"
    rejects(TypeError, message, rotate_nearest, image, "30")
    message = "images must be a NumPy array, got Tensor"
    rejects(TypeError, message, rotate_nearest, torch.zeros(4, 4), 30.0)
    message = "images must have at least 2 axes, none of them empty, got shape [4]"
    rejects(ValueError, message, rotate_nearest, image[0], 30.0)
    images = uniform(2, 3, 8, 8)
    message = "sigma must have shape [2], got [3]"
    rejects(ValueError, message, gaussian_blur, images, uniform(3))
    message = "sigma must be positive, got 0.0"
    rejects(ValueError, message, gaussian_blur, images, torch.tensor([1.0, 0.0]))
    message = "images must have shape [n, 3, 32, 32] and dtype uint8, got "
    rejects(
        ValueError,
        message + "[2, 3, 8, 8] of float64",
        crop_and_enlarge,
        images.numpy(),
    )
