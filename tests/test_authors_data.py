import numpy as np
import pytest
import torch

from moe_lib.authors_data import SEEDS, authors_data
from moe_lib.config import setting
from moe_lib.data import PatchRole

# As their notebooks print them for the training sets.
SIZES = {
    "1": [4035, 3999, 4006, 3960],
    "2": [4143, 3897, 4062, 3898],
    "3": [4143, 3897, 4062, 3898],
    "4": [4143, 3897, 4062, 3898],
}


@pytest.fixture(scope="module")
def drawn():
    return {name: authors_data(name) for name in SEEDS}


@pytest.mark.parametrize("name", SIZES)
def test_cluster_sizes_are_the_published_ones(drawn, name):
    train_data, test_data = drawn[name]
    assert train_data.cluster.bincount().tolist() == SIZES[name]
    assert len(train_data) == len(test_data) == 16_000


@pytest.mark.parametrize("name", SEEDS)
def test_signals_are_the_orthonormal_frame_of_the_first_draws(drawn, name):
    signals = drawn[name][0].signals
    frame = torch.cat([signals.feature, signals.center]).double().numpy()
    raw = np.random.RandomState(SEEDS[name]).randn(8, 50)
    q, r = np.linalg.qr(raw.T)
    np.testing.assert_allclose(frame, (q * np.sign(np.diag(r))).T, atol=1e-6)


@pytest.mark.parametrize("name", SEEDS)
def test_every_patch_is_what_its_role_says(drawn, name):
    config = setting(name)
    for data in drawn[name]:
        role, v, c = data.patch_role, data.signals.feature, data.signals.center
        assert role.sort(dim=1).values.eq(torch.arange(4)).all()
        assert (data.noise_cluster != data.cluster).all()
        rows = {
            PatchRole.FEATURE: (v[data.cluster] * data.y[:, None], config.alpha),
            PatchRole.CENTER: (c[data.cluster], config.beta),
            PatchRole.FEATURE_NOISE: (
                v[data.noise_cluster] * data.noise_sign[:, None],
                config.gamma,
            ),
        }
        for kind, (direction, (low, high)) in rows.items():
            patch = data.x[role == kind]
            strength = (patch * direction).sum(dim=1)
            torch.testing.assert_close(
                patch, strength[:, None] * direction, atol=2e-6, rtol=0
            )
            assert low - 1e-5 <= strength.min() <= low + 0.01
            assert high - 0.01 <= strength.max() <= high + 1e-5
        noise = data.x[role == PatchRole.NOISE]
        expected = config.sigma_p / 50**0.5
        assert abs(noise.std().item() - expected) < 0.01 * expected
        # the order is a uniform one
        places = [(role == kind).float().mean(dim=0) for kind in PatchRole]
        assert (torch.stack(places) - 0.25).abs().max() < 0.02


def test_settings_2_to_4_share_their_labels(drawn):
    two, three, four = (drawn[name][0] for name in "234")
    for other in (three, four):
        assert torch.equal(two.y, other.y)
        assert torch.equal(two.cluster, other.cluster)
        assert torch.equal(two.signals.feature, other.signals.feature)
    assert not torch.equal(two.cluster, drawn["1"][0].cluster)


def test_the_same_draw_twice_and_no_global_state(drawn):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    again = authors_data(1)[1]
    assert torch.equal(again.x, drawn["1"][1].x)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="setting must be one of 1, 2, 3, 4, verify"):
        authors_data(5)


@pytest.mark.parametrize(
    ("name", "seed"), [("1", 12), ("2", 11), ("3", 11), ("4", 11), ("verify", 11)]
)
def test_draws_come_in_the_order_of_their_notebooks(drawn, name, seed):
    """Label, cluster, noise, sign, noise cluster, three strengths; then the order."""
    config, data = setting(name), drawn[name][0]
    legacy, shuffler = np.random.RandomState(seed), torch.Generator().manual_seed(seed)
    for _ in range(8):
        legacy.randn(50)
    for i in range(20):
        assert legacy.choice([-1, 1], 1)[0] == data.y[i]
        k = legacy.choice([0, 1, 2, 3])
        assert k == data.cluster[i]
        noise = legacy.normal(0, config.sigma_p / 50**0.5, size=50)
        assert legacy.choice([-1, 1], 1)[0] == data.noise_sign[i]
        assert legacy.choice(sorted({0, 1, 2, 3} - {k})) == data.noise_cluster[i]
        alpha, beta, gamma = (
            legacy.uniform(*bounds)
            for bounds in (config.alpha, config.beta, config.gamma)
        )
        length = [alpha, beta, np.linalg.norm(noise), gamma]  # before the shuffle
        order = torch.randperm(4, generator=shuffler).tolist()
        expected = [length[j] for j in order]
        np.testing.assert_allclose(data.x[i].norm(dim=1), expected, rtol=1e-5)
