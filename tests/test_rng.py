"""One seed, independent streams; noise as a function of seed and step."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import native
from moe_lib.rng import (
    STREAMS,
    drawing_from,
    fill_uniform,
    generator,
    philox,
    philox_key,
    shuffled,
)
from tests import reference


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


def test_modules_of_torch_can_draw_from_a_generator():
    before = torch.get_rng_state()
    weights = []
    for seed in (1, 1, 2):
        with drawing_from(generator(seed, "init")):
            weights.append(torch.nn.Linear(3, 3).weight)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_global_generator_is_put_back_after_an_error_too():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), drawing_from(generator(0, "init")):
        torch.rand(3) / (1 // 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_all_draws_are_made_on_the_cpu():
    assert generator(0, "init").device == torch.device("cpu")


def test_orders_are_permutations_of_their_own():
    orders = [shuffled(50, seed=s, epoch=e) for s in (0, 1) for e in (0, 1)]
    for place, order in enumerate(orders):
        assert torch.equal(order.sort().values, torch.arange(50))
        assert not any(torch.equal(order, other) for other in orders[:place])
    assert torch.equal(orders[3], shuffled(50, seed=1, epoch=1))


# Routing noise

# kat_vectors of Random123, the code of Salmon et al. (2011)
KNOWN = """
counter 00000000 00000000 00000000 00000000 key 00000000 00000000
is 6627e8d5 e169c58d bc57ac4c 9b00dbd8
counter ffffffff ffffffff ffffffff ffffffff key ffffffff ffffffff
is 408f276d 41c83b0e a20bc7c6 6d5451fd
counter 243f6a88 85a308d3 13198a2e 03707344 key a4093822 299f31d0
is d16cfe09 94fdcceb 5001e420 24126ea1
"""
WORD = st.integers(0, 2**32 - 1)


def fast_philox(counter, key):
    drawn = philox(*np.array(counter)[:, None], key=key)
    return tuple(word.item() for word in drawn)


@pytest.mark.parametrize("known", KNOWN.split("counter")[1:])
def test_philox_equals_the_published_numbers(known):
    words = [int(word, 16) for word in known.split() if len(word) == 8]
    counter, key, expected = words[:4], tuple(words[4:6]), tuple(words[6:])
    assert fast_philox(counter, key) == expected
    assert reference.philox(counter, key) == expected


@given(counter=st.tuples(WORD, WORD, WORD, WORD), key=st.tuples(WORD, WORD))
def test_philox_equals_the_loop(counter, key):
    assert fast_philox(counter, key) == reference.philox(counter, key)


def noise(n=12, num_experts=5, *, seed=0, stream="router_noise", step=0):
    out = torch.empty(n, num_experts)
    fill_uniform(out, key=philox_key(seed, stream), step=step)
    return out


@given(n=st.integers(1, 40), num_experts=st.integers(1, 40), step=WORD)
def test_noise_equals_the_loop_with_and_without_the_compiled_loops(
    n, num_experts, step
):
    expected = reference.router_noise(3, step, n, num_experts)
    assert torch.equal(noise(n, num_experts, seed=3, step=step).double(), expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", lambda: None)
        again = noise(n, num_experts, seed=3, step=step)
    assert torch.equal(again.double(), expected)


def test_the_noise_of_a_step_is_the_same_whatever_was_drawn_before():
    late = noise(step=9)
    for step in range(9):
        noise(step=step)
    assert torch.equal(noise(step=9), late)


def test_the_noise_of_an_example_does_not_depend_on_how_many_there_are():
    assert torch.equal(noise(100, 20)[:7, :3], noise(7, 3))


def test_noise_of_another_seed_stream_or_step_is_different():
    change = [{}, {"seed": 1}, {"stream": "evaluation_noise"}, {"step": 1}]
    change += [{"step": 2**31}, {"seed": 2**32 - 1}]
    drawn = torch.stack([noise(500, 8, **c).flatten() for c in change])
    assert len(drawn.unique()) > 0.99 * drawn.numel()
    off_diagonal = torch.corrcoef(drawn.double()) - torch.eye(len(change))
    assert off_diagonal.abs().max() < 4 / 4000**0.5  # four standard errors


@pytest.mark.parametrize("offset", [(1, 0), (4, 0), (0, 1), (4, 1)])
def test_neighbouring_examples_and_experts_are_uncorrelated(offset):
    rows, columns = offset
    drawn = noise(2000, 20).double()
    here = drawn[: 2000 - rows, : 20 - columns].flatten()
    there = drawn[rows:, columns:].flatten()
    correlation = torch.corrcoef(torch.stack([here, there]))[0, 1]
    assert correlation.abs() < 4 / len(here) ** 0.5


def distance_from_uniform(sample):
    """Kolmogorov-Smirnov: sqrt(n) times the largest gap between distributions."""
    ordered, n = sample.flatten().double().sort().values, sample.numel()
    below = (ordered - torch.arange(n) / n).abs().max()
    above = (ordered - torch.arange(1, n + 1) / n).abs().max()
    return n**0.5 * max(below, above).item()


@pytest.mark.parametrize("step", [0, 1, 599])
def test_noise_is_uniform(step):
    drawn = noise(5000, 20, step=step)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    # 100,000 draws; 1.95 is exceeded by chance once in a thousand
    assert distance_from_uniform(drawn) < 1.95
    four_errors = 4 / 1e5**0.5
    assert abs(drawn.double().mean() - 1 / 2) < (1 / 12) ** 0.5 * four_errors
    assert abs(drawn.double().var() - 1 / 12) < (1 / 180) ** 0.5 * four_errors


@pytest.mark.parametrize("bent", [lambda r: 0.99 * r, lambda r: r**1.02])
def test_noise_a_little_bent_would_be_noticed(bent):
    assert distance_from_uniform(bent(noise(5000, 20))) > 1.95


def test_any_tensor_can_be_filled():
    expected = noise(12, 5)
    for out in (torch.empty(5, 12).T, torch.empty(12, 5, dtype=torch.float64)):
        fill_uniform(out, key=philox_key(0, "router_noise"), step=0)
        assert torch.equal(out.float(), expected)
