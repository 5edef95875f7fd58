"""One seed, independent streams."""

import pytest
import torch

from moe_lib.rng import STREAMS, generator


def draw(seed, stream, size=1000):
    return torch.rand(size, generator=generator(seed, stream), dtype=torch.float64)


@pytest.mark.parametrize("stream", STREAMS)
def test_same_seed_and_stream_give_the_same_bits(stream):
    assert torch.equal(draw(5, stream), draw(5, stream))


def test_every_seed_and_stream_draws_its_own_numbers():
    first = {draw(s, stream, 1).item() for s in range(20) for stream in STREAMS}
    assert len(first) == 20 * len(STREAMS)


def test_streams_of_one_seed_are_uncorrelated():
    draws = torch.stack([draw(5, stream, 10_000) for stream in STREAMS])
    off_diagonal = torch.corrcoef(draws) - torch.eye(len(STREAMS))
    assert off_diagonal.abs().max() < 4 / 10_000**0.5  # four standard errors


def test_drawing_from_one_stream_changes_nothing_in_another():
    alone = draw(3, "router_noise")
    mixed = generator(3, "router_noise")
    torch.rand(77, generator=generator(3, "init"))
    assert torch.equal(torch.rand(1000, generator=mixed, dtype=torch.float64), alone)


def test_the_global_generator_is_neither_read_nor_moved():
    before = torch.get_rng_state()
    first = draw(5, "init")
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert torch.equal(draw(5, "init"), first)


def test_all_draws_are_made_on_the_cpu():
    assert generator(0, "init").device == torch.device("cpu")
