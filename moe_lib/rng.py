"""One seed, several independent streams of random numbers.

Nothing else in the library creates or seeds a generator, and nothing reads torch's
global one: the same seed on the same machine gives the same bits.
"""

import numpy as np
import torch

from moe_lib.checks import check_choice, check_int

STREAMS = (
    "signals",
    "train_data",
    "test_data",
    "init",
    "router_noise",
    "evaluation_noise",
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
    check_int("seed", seed, at_least=0)
    if seed >= 2**32:  # beyond, SeedSequence would mix the seed with the stream
        raise ValueError(f"seed must be less than 2**32, got {seed}")
    check_choice("stream", stream, STREAMS)
    sequence = np.random.SeedSequence([seed, STREAMS.index(stream)])
    state = sequence.generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
