"""Definition 3.1: what every example must look like, and how it must be drawn."""

import itertools
import math
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moe_lib import PatchDataset, make_data, setting, stack_runs
from moe_lib.data import PatchRole, make_split, sample_dataset, sample_signals
from moe_lib.rng import generator
from tests.toys import data_config, draw, normal, source


@st.composite
def configs(draw):
    """Draw any K, P, d >= 2K, strengths and noise level."""
    k = draw(st.integers(2, 6))
    strength = st.floats(0.1, 3.0)
    ranges = st.tuples(strength, strength).map(lambda r: tuple(sorted(r)))
    return data_config(
        num_clusters=k,
        num_patches=draw(st.integers(3, 7)),
        dim=draw(st.integers(2 * k, 2 * k + 9)),
        alpha=draw(ranges),
        beta=draw(ranges),
        gamma=draw(ranges),
        sigma_p=draw(st.floats(0.0, 3.0)),
    )


seeds = st.integers(0, 2**31)
CONFIG = data_config(num_clusters=3, num_patches=4, dim=20, sigma_p=1.5)
MANY = 40_000


def patches_of(data, role):
    """Return the one patch of this role in each example, [n, d], in float64."""
    return data.x[data.patch_role == role].double()


def strengths(data):
    """Return alpha, beta and gamma of each example, read off the patches."""
    v, c = data.signals.feature.double(), data.signals.center.double()
    feature = patches_of(data, PatchRole.FEATURE)
    center = patches_of(data, PatchRole.CENTER)
    noise = patches_of(data, PatchRole.FEATURE_NOISE)
    return (
        data.y * (feature * v[data.cluster]).sum(-1),
        (center * c[data.cluster]).sum(-1),
        data.noise_sign * (noise * v[data.noise_cluster]).sum(-1),
    )


def assert_uniform(codes, num_cells):
    """Chi-square test that integer codes are uniform, at the fixed seed of the test."""
    counts = torch.bincount(codes, minlength=num_cells).numpy()
    assert len(counts) == num_cells
    assert stats.chisquare(counts).pvalue > 0.001


@given(config=configs(), seed=seeds)
def test_signals_are_orthonormal(config, seed):
    signals = sample_signals(config, generator=source(seed))
    both = torch.cat([signals.feature, signals.center])
    assert signals.feature.shape == (config.num_clusters, config.dim)
    torch.testing.assert_close(both @ both.T, torch.eye(len(both)), rtol=0, atol=1e-5)


def test_signals_have_no_preferred_direction():
    config = data_config()
    draws = [sample_signals(config, generator=source(seed)) for seed in range(2000)]
    both = torch.stack([torch.cat([s.feature, s.center]) for s in draws])
    # each coordinate of a uniform unit vector: mean 0, variance 1/d; five standard
    # errors, since 24 coordinates are looked at together
    assert both.mean(0).abs().max() < 5 * (1 / config.dim / 2000) ** 0.5
    assert ((both**2).mean(0) - 1 / config.dim).abs().max() < 5 * 0.2 / 2000**0.5


@given(config=configs(), seed=seeds)
def test_each_example_has_one_patch_of_each_role_and_noise_elsewhere(config, seed):
    role = draw(config, 20, seed).patch_role
    for one in (PatchRole.FEATURE, PatchRole.CENTER, PatchRole.FEATURE_NOISE):
        assert ((role == one).sum(dim=1) == 1).all()
    assert ((role == PatchRole.NOISE).sum(dim=1) == config.num_patches - 3).all()


@given(config=configs(), seed=seeds)
def test_each_patch_is_what_its_role_says(config, seed):
    data = draw(config, 20, seed)
    v, c = data.signals.feature.double(), data.signals.center.double()
    alpha, beta, gamma = (s[:, None] for s in strengths(data))
    y, sign = data.y[:, None], data.noise_sign[:, None]
    for role, expected in (
        (PatchRole.FEATURE, y * alpha * v[data.cluster]),
        (PatchRole.CENTER, beta * c[data.cluster]),
        (PatchRole.FEATURE_NOISE, sign * gamma * v[data.noise_cluster]),
    ):
        patch = patches_of(data, role)
        torch.testing.assert_close(patch, expected, rtol=0, atol=1e-5)
    for strength, name in ((alpha, "alpha"), (beta, "beta"), (gamma, "gamma")):
        low, high = getattr(config, name)
        assert (strength > low - 1e-5).all()
        assert (strength < high + 1e-5).all()


@given(config=configs(), seed=seeds)
def test_hidden_labels_are_in_range_and_the_clusters_differ(config, seed):
    data = draw(config, 20, seed)
    for cluster in (data.cluster, data.noise_cluster):
        assert cluster.min() >= 0
        assert cluster.max() < config.num_clusters
    assert (data.cluster != data.noise_cluster).all()
    for sign in (data.y, data.noise_sign):
        assert (sign.abs() == 1).all()


def test_clusters_label_and_noise_sign_are_uniform_and_independent():
    data = draw(CONFIG, MANY)
    shift = (data.noise_cluster - data.cluster) % 3 - 1
    y, sign = (data.y > 0).long(), (data.noise_sign > 0).long()
    # one cell for each (k, k', y, epsilon): 3 * 2 * 2 * 2, all equally likely
    assert_uniform(((data.cluster * 2 + shift) * 2 + y) * 2 + sign, 24)


def test_positions_are_shuffled_uniformly():
    role = draw(data_config(num_patches=4), MANY).patch_role
    codes = {o: i for i, o in enumerate(itertools.permutations(range(4)))}
    assert_uniform(torch.tensor([codes[tuple(r)] for r in role.tolist()]), 24)


def test_positions_do_not_depend_on_cluster_and_label():
    data = draw(CONFIG, MANY)
    position = (data.patch_role == PatchRole.FEATURE).long().argmax(dim=1)
    group = data.cluster * 2 + (data.y > 0)
    assert_uniform(group * 4 + position, 24)


def test_strengths_are_uniform_on_their_ranges():
    data = draw(CONFIG, MANY)
    ranges = (CONFIG.alpha, CONFIG.beta, CONFIG.gamma)
    for strength, (low, high) in zip(strengths(data), ranges, strict=True):
        assert stats.kstest(strength, "uniform", (low, high - low)).pvalue > 0.001


def test_strengths_are_independent_of_each_other_and_of_the_labels():
    data = draw(CONFIG, MANY)
    columns = [*strengths(data), data.y, data.noise_sign, data.cluster.double()]
    correlation = torch.corrcoef(torch.stack([c.double() for c in columns]))
    off_diagonal = correlation - torch.eye(len(columns))
    assert off_diagonal.abs().max() < 4 / MANY**0.5  # four standard errors


def test_gaussian_patches_have_standard_deviation_sigma_p_over_root_d():
    config = data_config(num_patches=5, dim=50, sigma_p=2.0)
    noise = patches_of(draw(config, 2000), PatchRole.NOISE)
    assert noise.shape == (2 * 2000, 50)
    expected, count = 2 / math.sqrt(50), noise.numel()
    # four standard errors of the standard deviation and of the mean
    assert noise.std() == pytest.approx(expected, rel=4 / math.sqrt(2 * count))
    assert abs(noise.mean()) < 4 * expected / math.sqrt(count)
    assert stats.kstest(noise.flatten() / expected, "norm").pvalue > 0.001


def test_gaussian_patches_of_an_example_are_independent():
    config = data_config(num_patches=5, dim=50)
    noise = patches_of(draw(config, 2000), PatchRole.NOISE)
    first, second = noise[0::2], noise[1::2]
    cosine = (first * second).sum() / (first.norm() * second.norm())
    assert abs(cosine) < 4 / math.sqrt(first.numel())


def test_without_gaussian_noise_its_patches_are_zero():
    data = draw(data_config(num_patches=5, sigma_p=0.0), 50)
    assert not patches_of(data, PatchRole.NOISE).any()


def test_a_range_that_is_one_point_gives_that_strength():
    alpha, _, _ = strengths(draw(data_config(alpha=(1.5, 1.5)), 50))
    torch.testing.assert_close(alpha, torch.full((50,), 1.5).double())


def test_the_same_seed_gives_the_same_bits():
    for one, other in zip(make_data(CONFIG, 3), make_data(CONFIG, 3), strict=True):
        for field in fields(PatchDataset):
            a, b = getattr(one, field.name), getattr(other, field.name)
            if field.name == "signals":
                assert torch.equal(a.feature, b.feature)
                assert torch.equal(a.center, b.center)
            elif field.name in ("num_clusters", "num_classes"):
                assert a == b == getattr(CONFIG, field.name, 2)
            else:
                assert torch.equal(a, b)


def test_different_seeds_give_different_signals_and_examples():
    one, other = make_data(CONFIG, 3)[0], make_data(CONFIG, 4)[0]
    assert not torch.isclose(one.signals.feature, other.signals.feature).any()
    assert not torch.isclose(one.patch_sum, other.patch_sum).any(dim=1).all()


def test_train_and_test_share_signals_and_nothing_else():
    config = data_config(num_train=MANY, num_test=MANY)
    train, test = make_data(config, 0)
    assert torch.equal(train.signals.feature, test.signals.feature)
    assert torch.equal(train.signals.center, test.signals.center)
    both = [d.cluster * 4 + (d.y > 0) * 2 + (d.noise_sign > 0) for d in (train, test)]
    assert_uniform(both[0] * 8 + both[1], 64)


def test_signals_train_and_test_come_from_the_streams_of_these_names():
    signals = sample_signals(CONFIG, generator=generator(3, "signals"))
    for data, name in zip(make_data(CONFIG, 3), ("train", "test"), strict=True):
        stream = generator(3, f"{name}_data")
        again = sample_dataset(CONFIG, signals, len(data), generator=stream)
        assert torch.equal(data.x, again.x)
        assert torch.equal(data.signals.center, signals.center)


def test_more_training_examples_leave_the_test_set_as_it_is():
    _, test = make_data(data_config(num_train=10), 0)
    _, again = make_data(data_config(num_train=999), 0)
    assert torch.equal(test.x, again.x)


@pytest.mark.parametrize("name", ["1", "2", "3", "4", "verify"])
def test_every_setting_of_the_paper_can_be_drawn(name):
    data = draw(setting(name), 100)
    assert data.x.shape == (100, 4, 50)
    assert data.x.dtype == torch.float32
    assert data.num_clusters == 4


def test_patch_sum_is_the_sum_over_patches():
    data = draw(CONFIG, 10)
    loop = torch.stack([sum(patch for patch in example) for example in data.x])
    torch.testing.assert_close(data.patch_sum, loop)


# Data from outside


def test_from_tensors_keeps_patches_labels_and_clusters():
    x, y, cluster = normal(3, 4, 5), torch.tensor([1.0, -1, 1]), torch.tensor([2, 0, 1])
    data = PatchDataset.from_tensors(x, y, cluster)
    assert torch.equal(data.x, x)
    assert torch.equal(data.y, y)
    assert torch.equal(data.cluster, cluster)
    assert data.num_clusters == 3
    assert len(data) == 3
    assert data.signals is data.patch_role is data.noise_cluster is None


def test_from_tensors_unfolds_the_flat_layout():
    x, y = normal(3, 4, 5), torch.tensor([1, -1, 1])
    flat = PatchDataset.from_tensors(x.reshape(3, 1, 20), y)
    assert torch.equal(flat.x, x)
    two = PatchDataset.from_tensors(x.reshape(3, 1, 20), y, num_patches=2)
    assert torch.equal(two.x, x.reshape(3, 2, 10))


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int8, torch.uint8, torch.float32, torch.bool]
)
def test_from_tensors_reads_labels_zero_and_one(dtype):
    y = torch.tensor([0, 1, 1]).to(dtype)
    data = PatchDataset.from_tensors(normal(3, 4, 5), y)
    assert data.y.tolist() == [-1, 1, 1]
    assert data.y.dtype == data.x.dtype


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.float32])
def test_from_tensors_reads_labels_minus_one_and_one(dtype):
    y = torch.tensor([-1, 1, -1]).to(dtype)
    assert PatchDataset.from_tensors(normal(3, 4, 5), y).y.tolist() == [-1, 1, -1]


def test_from_tensors_works_without_clusters():
    data = PatchDataset.from_tensors(normal(3, 4, 5), torch.tensor([1, 0, 1]))
    assert data.cluster is None
    assert data.num_clusters is None


# Reshaping


def test_stack_runs_puts_every_part_of_every_run_side_by_side():
    parts = [draw(CONFIG, 10, seed) for seed in range(3)]
    stacked = stack_runs(parts)
    assert len(stacked) == 10
    assert stacked.num_clusters == 3
    for run, part in enumerate(parts):
        for name in ("x", "y", "cluster", "noise_cluster", "noise_sign", "patch_role"):
            assert torch.equal(getattr(stacked, name)[run], getattr(part, name))
        assert torch.equal(stacked.signals.feature[run], part.signals.feature)
        assert torch.equal(stacked.signals.center[run], part.signals.center)
        assert torch.equal(stacked.patch_sum[run], part.patch_sum)


def test_stack_runs_works_without_clusters():
    plain = PatchDataset.from_tensors(normal(3, 4, 5), torch.tensor([1, 0, 1]))
    stacked = stack_runs([plain, plain])
    assert stacked.x.shape == (2, 3, 4, 5)
    assert stacked.cluster is None


def test_head_takes_the_first_examples_of_all_parts():
    data = draw(CONFIG, 10)
    few = data.head(4)
    assert len(few) == 4
    for name in ("x", "y", "cluster", "noise_cluster", "noise_sign", "patch_role"):
        assert torch.equal(getattr(few, name), getattr(data, name)[:4])
    assert torch.equal(few.patch_sum, data.patch_sum[:4])
    assert few.signals is data.signals


def test_head_of_stacked_runs_cuts_every_run():
    parts = [draw(CONFIG, 10, seed) for seed in range(2)]
    few = stack_runs(parts).head(4)
    assert few.x.shape == (2, 4, 4, 20)
    assert torch.equal(few.x[1], parts[1].x[:4])
    assert torch.equal(few.cluster[1], parts[1].cluster[:4])


def test_head_of_more_than_all_is_all():
    assert len(draw(CONFIG, 10).head(99)) == 10


def test_to_a_dtype_changes_real_parts_only():
    data = draw(CONFIG, 10).to(torch.float64)
    for real in (data.x, data.y, data.noise_sign, data.patch_sum, data.signals.center):
        assert real.dtype == torch.float64
    for whole in (data.cluster, data.noise_cluster, data.patch_role):
        assert whole.dtype == torch.int64


@pytest.mark.parametrize("device", ["meta", torch.device("meta")])
def test_to_a_device_moves_every_part(device):
    data = draw(CONFIG, 10).to(device)
    for field in fields(PatchDataset):
        part = getattr(data, field.name)
        if field.name in ("num_clusters", "num_classes"):
            continue
        moved = part.feature if field.name == "signals" else part
        assert moved.device.type == "meta"


def test_a_part_of_data_from_outside_keeps_the_number_of_clusters():
    data = PatchDataset.from_tensors(
        torch.ones(3, 4, 5), torch.ones(3), torch.tensor([0, 1, 2])
    )
    assert data.head(1).num_clusters == 3


def test_class_indices_stay_whole_numbers_wherever_the_data_go():
    y, x = torch.tensor([0, 9, 4]), normal(3, 4, 5)
    data = PatchDataset(x=x, y=y, num_classes=10)
    whole = (data, data.to(torch.float32), stack_runs([data, data]), data.head(2))
    for part in whole:
        assert part.num_classes == 10
        assert part.y.dtype == torch.int64
    assert torch.equal(data.y, y)
    assert data.head(2).y.tolist() == [0, 9]
    assert data.to("meta").y.is_meta


def test_the_splits_of_make_data_can_be_drawn_alone():
    for data, split in zip(make_data(CONFIG, 3), ("train", "test"), strict=True):
        alone = make_split(CONFIG, 3, split)
        assert torch.equal(alone.x, data.x)
        assert torch.equal(alone.y, data.y)
        assert torch.equal(alone.signals.center, data.signals.center)


def test_an_unknown_split_is_refused():
    message = "split must be one of train, test, got 'validation'"
    with pytest.raises(ValueError, match=message):
        make_split(CONFIG, 3, "validation")
