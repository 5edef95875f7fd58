"""One seed, several independent streams of random numbers.

Nothing else in the library creates or seeds a generator. Torch's own modules can draw
their first weights from torch's global one only: :func:`drawing_from` lends it to them,
and nothing else reads it. Data and initial weights come from torch generators on the
CPU. Routing noise, of which a long run needs billions of numbers, is a pure function of
seed and step, so that any device draws the same numbers at any step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from moe_lib import native
from moe_lib.checks import check_choice, check_int

STREAMS = (
    "signals",
    "train_data",
    "test_data",
    "init",
    "router_noise",
    "evaluation_noise",
    "batches",
    "split",
)


def generator(seed: int, stream: str) -> torch.Generator:
    """Return the generator of one named stream of ``seed``.

    All draws are made on the CPU, also for models on a GPU, so that what a seed means
    does not depend on the device.

    Parameters
    ----------
    seed : int
        The seed of a run, in [0, 2**32).
    stream : str
        One of :data:`STREAMS`.
        Streams of one seed are independent: drawing more from one of them changes
        nothing in another.

    Raises
    ------
    TypeError, ValueError
        If the seed is not an integer in [0, 2**32) or the stream is unknown.
    """
    state = _sequence(seed, stream).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@contextmanager
def drawing_from(source: torch.Generator) -> Iterator[None]:
    """Let torch's own modules draw their first weights from ``source``.

    For CPU modules built inside of the ``with``; torch's global generator is put back
    afterwards.

    Parameters
    ----------
    source : torch.Generator
        Gives one number, which seeds torch's global generator of the CPU.
    """
    seed = torch.randint(2**62, (), generator=source).item()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))
        yield


def _sequence(seed: int, stream: str) -> np.random.SeedSequence:
    _check_word("seed", seed)  # a longer one would be mixed with the stream
    check_choice("stream", stream, STREAMS)
    return np.random.SeedSequence([seed, STREAMS.index(stream)])


def _check_word(name: str, value: int) -> None:
    check_int(name, value, at_least=0)
    if value >= 2**32:
        raise ValueError(f"{name} must be less than 2**32, got {value}")


def philox_key(seed: int, stream: str) -> tuple[int, int]:
    """Return the key of :func:`fill_uniform`: two words of 32 bits."""
    _check_word("seed", seed)
    return _key(int(seed), stream)


@lru_cache(maxsize=1024)  # training asks for the same few keys at every step
def _key(seed: int, stream: str) -> tuple[int, int]:
    low, high = _sequence(seed, stream).generate_state(2, np.uint32)
    return int(low), int(high)


def fill_uniform(out: Float[Tensor, "n M"], *, key: tuple[int, int], step: int) -> None:
    """Fill ``out`` with independent Uniform[0, 1), a pure function of key and step.

    Number (i, m) is made of the upper 24 bits of word i % 4 of Philox4x32-10 at the
    counter (i // 4, m, step, 0): no state, and the same bits on every machine.

    Parameters
    ----------
    out : Tensor
        Shape [n, M]. Numbers of 24 bits are drawn whatever its precision.
    key : tuple of int
        From :func:`philox_key`.
    step : int
        In [0, 2**32).

    Raises
    ------
    TypeError, ValueError
        If the step is not an integer in its range.

    References
    ----------
    Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    _check_word("step", step)
    if native.handles(out) and out.is_contiguous():
        native.philox_uniform(out, key, step)
        return
    num_rows, num_columns = out.shape
    groups = -(-num_rows // 4)
    words = philox(np.arange(groups)[:, None], np.arange(num_columns), step, 0, key=key)
    rows = np.stack(words, axis=1).reshape(4 * groups, num_columns)[:num_rows]
    out.copy_(torch.from_numpy((rows >> np.uint64(8)).astype(np.float32) * 2.0**-24))


def shuffled(n: int, *, seed: int, epoch: int) -> Int[Tensor, " n"]:
    """Return 0 to n - 1 in the order of an epoch, a pure function of seed and epoch.

    Parameters
    ----------
    n : int
        The keys to sort by have 24 bits: a few of 100,000 are equal, and keep their
        order.
    seed, epoch : int
        In [0, 2**32).

    Raises
    ------
    TypeError, ValueError
        If seed or epoch is not an integer in its range.
    """
    keys = torch.empty(n, 1)
    fill_uniform(keys, key=philox_key(seed, "batches"), step=epoch)
    return keys[:, 0].argsort(stable=True)


def philox(*counter: NDArray | int, key: tuple[int, int]) -> list[NDArray]:
    """Return the four words of Philox4x32-10 at a counter of four words.

    Words are integers in [0, 2**32); those of the counter broadcast.

    References
    ----------
    Salmon, Moraes, Dror, Shaw (2011), Section 3.3.
    """
    words = np.broadcast_arrays(*counter)
    c0, c1, c2, c3 = (word.astype(np.uint64) for word in words)
    k0, k1 = key
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        a, b = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (b >> shift) ^ c1 ^ np.uint64(k0), b & low
        c2, c3 = (a >> shift) ^ c3 ^ np.uint64(k1), a & low
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]
