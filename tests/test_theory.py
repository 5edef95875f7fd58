"""The ceiling of additive classifiers: the bound, its exact case, the best of them."""

import math
from dataclasses import replace
from itertools import permutations, product

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from moe_lib import setting
from moe_lib.data import PatchRole, Signals, sample_dataset, sample_signals
from moe_lib.theory import (
    additive_ceiling,
    additive_error_bound,
    best_additive_output,
    best_additive_scores,
    configuration_error,
)
from tests.toys import data_config, draw, normal, source

bounds = st.floats(0.1, 3.0)
ranges = st.tuples(bounds, bounds).map(sorted).map(tuple)
# Ranges much longer than a cell of the grid that integrates over them.
wide = ranges.filter(lambda r: r[1] - r[0] > 0.3)


def shared(alpha, gamma):
    """The length of the intersection of two ranges; 0 or less if there is none."""
    return min(alpha[1], gamma[1]) - max(alpha[0], gamma[0])


@st.composite
def overlapping(draw, kind=ranges):
    """Two ranges, neither a point, that share more than a point."""
    alpha, gamma = draw(kind), draw(kind)
    assume(shared(alpha, gamma) > 1e-6)
    return alpha, gamma


@pytest.fixture
def _as_a_reader(monkeypatch):
    """Let errors of the library through that the shape checker would forestall."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def density(points, interval):
    low, high = interval
    return ((points >= low) & (points <= high)) / (high - low)


def exchanged(a, g, *, cell):
    """(1/8) of the integral of min{p_a(s) p_g(t), p_a(t) p_g(s)} over a grid."""
    joint = np.outer(a, g)
    return np.minimum(joint, joint.T).sum() * cell**2 / 8


def integrated_bound(alpha, gamma, cells=1500):
    width = 3.2 / cells
    points = (np.arange(cells) + 0.5) * width
    return exchanged(density(points, alpha), density(points, gamma), cell=width)


@given(overlapping(wide))
def test_bound_equals_the_numeric_integral(pair):
    # one cell too many or too few at each end of two ranges: about 3 per cent
    assert additive_error_bound(*pair) == pytest.approx(
        integrated_bound(*pair), rel=0.04, abs=2e-4
    )


@given(overlapping())
def test_bound_is_symmetric_and_between_zero_and_an_eighth(pair):
    alpha, gamma = pair
    bound = additive_error_bound(alpha, gamma)
    assert 0 < bound <= 1 / 8
    assert bound == pytest.approx(additive_error_bound(gamma, alpha))


@given(ranges)
def test_equal_laws_give_one_eighth(interval):
    assert additive_error_bound(interval, interval) == 1 / 8


@given(alpha=ranges, gamma=ranges)
def test_ranges_without_an_intersection_are_refused(alpha, gamma):
    assume(shared(alpha, gamma) <= 0 and alpha != gamma)
    with pytest.raises(ValueError, match="must have a common support"):
        additive_error_bound(alpha, gamma)


@pytest.mark.parametrize(
    ("alpha", "gamma", "bound"),
    [
        ((1.0, 1.0), (1.0, 1.0), 1 / 8),  # the same point
        ((1.0, 2.0), (1.0, 3.0), 1 / 16),
        ((1.0, 3.0), (2.0, 4.0), 1 / 32),
    ],
)
def test_special_ranges(alpha, gamma, bound):
    assert additive_error_bound(alpha, gamma) == bound


@pytest.mark.parametrize(
    ("alpha", "gamma"),
    [
        ((1.0, 2.0), (2.5, 3.0)),  # disjoint
        ((1.0, 2.0), (2.0, 3.0)),  # touching in one point
        ((1.0, 1.0), (2.0, 2.0)),  # two points
        ((1.0, 1.0), (0.5, 2.0)),  # a point inside a range
        (stats.uniform(1, 1), (2.5, 3.0)),
        (stats.uniform(1, 1), stats.uniform(2, 1)),
        (stats.randint(1, 3), stats.randint(3, 5)),
        (stats.randint(1, 4), stats.uniform(0.5, 4)),  # points in a continuum
    ],
)
def test_laws_without_a_common_support_are_refused(alpha, gamma):
    message = r"^alpha and gamma must have a common support .*, got .* and .*$"
    for pair in ((alpha, gamma), (gamma, alpha)):
        with pytest.raises(ValueError, match=message):
            additive_error_bound(*pair)


@pytest.mark.parametrize(
    ("name", "ceiling"),
    [("1", 0.925), ("2", 0.925), ("3", 0.875), ("4", 0.875), ("verify", 0.875)],
)
def test_ceilings_of_the_settings(name, ceiling):
    assert additive_ceiling(setting(name)) == pytest.approx(ceiling, abs=1e-12)


def test_disjoint_strengths_have_no_ceiling():
    with pytest.raises(ValueError, match=r"got \(1.0, 2.0\) and \(3.0, 4.0\)$"):
        additive_ceiling(data_config(alpha=(1.0, 2.0), gamma=(3.0, 4.0)))


# Laws of any kind.

CONTINUOUS = {
    "gammas": (stats.gamma(3), stats.gamma(5)),
    "long tails": (stats.lognorm(0.5), stats.lognorm(0.7, scale=1.5)),
    "narrow and wide": (stats.truncnorm(-5, 5, 3, 0.5), stats.gamma(9, scale=1 / 3)),
    "unbounded density": (stats.beta(0.8, 2), stats.uniform(0, 1)),
    "one inside the other": (stats.uniform(1, 1), stats.triang(0.5, 0, 3)),
}


@pytest.mark.parametrize("pair", CONTINUOUS.values(), ids=CONTINUOUS)
def test_bound_of_general_laws_equals_the_double_integral(pair):
    high = max(law.ppf(1 - 1e-5) for law in pair)
    width = high / 3000
    points = (np.arange(3000) + 0.5) * width
    a, g = (law.pdf(points) for law in pair)
    expected = exchanged(a / a.sum() / width, g / g.sum() / width, cell=width)
    assert additive_error_bound(*pair) == pytest.approx(expected, abs=3e-4)
    assert expected > 0.01


@given(overlapping(wide))
def test_a_uniform_law_is_a_range(pair):
    exact = additive_error_bound(*pair)
    alpha, gamma = (stats.uniform(low, high - low) for low, high in pair)
    for found in (
        additive_error_bound(alpha, gamma),
        additive_error_bound(alpha, pair[1]),
        additive_error_bound(pair[0], gamma),
    ):
        assert found == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(
    "law", [stats.gamma(2), stats.lognorm(0.3), stats.randint(1, 6)]
)
def test_equal_general_laws_give_one_eighth(law):
    assert additive_error_bound(law, law) == pytest.approx(1 / 8, abs=1e-12)


def test_bound_of_two_exponentials_equals_the_closed_form():
    """With rates a and b: 1 - TV = 2 min(a, b) / (a + b), as the ratio is monotone."""
    for rate in (1.5, 2.0, 7.0):
        found = additive_error_bound(stats.expon(), stats.expon(scale=1 / rate))
        assert found == pytest.approx(2 / (1 + rate) / 8, abs=1e-4)


def discrete(shares):
    return stats.rv_discrete(values=(np.arange(1, len(shares) + 1), shares))


counts = st.lists(st.integers(0, 8), min_size=5, max_size=5)


@given(a=counts, g=counts)
def test_bound_of_discrete_laws_equals_the_sum_over_pairs(a, g):
    assume(any(x * y for x, y in zip(a, g, strict=True)))
    a, g = np.array(a) / sum(a), np.array(g) / sum(g)
    alpha, gamma = discrete(a), discrete(g)
    slow = sum(min(a[s] * g[t], a[t] * g[s]) for s, t in product(range(5), repeat=2))
    assert additive_error_bound(alpha, gamma) == pytest.approx(slow / 8, abs=1e-4)


def test_discrete_laws_may_start_below_one():
    law = stats.rv_discrete(values=([0.5, 1.5], [0.5, 0.5]))
    assert additive_error_bound(law, law) == pytest.approx(1 / 8)


@pytest.mark.parametrize("pair", CONTINUOUS.values(), ids=CONTINUOUS)
def test_bound_is_a_quarter_of_what_auc_lacks(pair):
    alpha, gamma = pair
    random = np.random.default_rng(0)
    strengths = [law.rvs(200_000, random_state=random) for law in pair]
    both = np.concatenate(strengths)
    with np.errstate(divide="ignore"):
        ratio = alpha.logpdf(both) - gamma.logpdf(both)
    is_signal = np.repeat([1, 0], 200_000)
    auc = roc_auc_score(is_signal, np.clip(ratio, -1e9, 1e9))
    # the AUC of n pairs has a standard error below 1 / sqrt(4 n)
    assert additive_error_bound(*pair) == pytest.approx((1 - auc) / 4, abs=1e-3)


@pytest.mark.parametrize("pair", CONTINUOUS.values(), ids=CONTINUOUS)
def test_bound_of_general_laws_is_symmetric(pair):
    there, back = additive_error_bound(*pair), additive_error_bound(*pair[::-1])
    assert there == pytest.approx(back, abs=1e-4)


@pytest.mark.parametrize("law", [stats.norm(3, 1), stats.uniform(-0.1, 2)])
def test_a_law_of_negative_strengths_is_refused(law):
    with pytest.raises(ValueError, match=r"^alpha must be positive, got a law on \["):
        additive_error_bound(law, (1.0, 2.0))
    with pytest.raises(ValueError, match=r"^gamma must be positive, got a law on \["):
        additive_error_bound(stats.gamma(2), law)


def test_a_point_beside_a_law_is_refused():
    message = r"^{} must not be a single point beside a law .*, got \(1.0, 1.0\)$"
    with pytest.raises(ValueError, match=message.format("gamma")):
        additive_error_bound(stats.gamma(2), (1.0, 1.0))
    with pytest.raises(ValueError, match=message.format("alpha")):
        additive_error_bound((1.0, 1.0), stats.gamma(2))


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize("value", [[1.0, 2.0], 1.0, "law", None, (1.0,)])
def test_what_is_no_law_is_refused(value):
    for name, pair in (("alpha", (value, (1.0, 2.0))), ("gamma", ((1.0, 2.0), value))):
        with pytest.raises(TypeError, match=rf"^{name} must be a pair \(low, high\)"):
            additive_error_bound(*pair)


def test_a_bad_range_beside_a_law_is_refused():
    with pytest.raises(ValueError, match=r"^gamma must have low <= high, got \(2.0, 1"):
        additive_error_bound(stats.gamma(2), (2.0, 1.0))
    with pytest.raises(ValueError, match=r"^alpha bound must be finite and positive"):
        additive_error_bound((0.0, 1.0), stats.gamma(2))


# Equal strengths: all combinations can be counted.


@pytest.mark.parametrize("num_clusters", [*range(2, 11), 40])
def test_the_best_scores_err_in_exactly_an_eighth(num_clusters):
    a, b = (scores[None] for scores in best_additive_scores(num_clusters))
    assert configuration_error(a, -a, b).tolist() == [1 / 8]


@pytest.mark.parametrize("num_clusters", [*range(2, 11), 40])
def test_the_best_scores_satisfy_the_inequalities_of_the_proof(num_clusters):
    a, b = best_additive_scores(num_clusters)
    assert a.shape == b.shape == (num_clusters,)
    assert (np.diff(a) < 0).all()
    assert a[-1] > 0
    assert b[0] == 0
    for k in range(1, num_clusters):
        following = a[k + 1] if k + 1 < num_clusters else 0
        assert a[0] - a[k] < b[k] < a[k] - following
    gaps = -np.diff(a)
    assert (gaps[1:] == 2 * gaps[:-1]).all()


def score(feature, center, k, other, y, noise_sign):
    """F of an example of cluster k, all strengths equal."""
    return y * feature[k] + center[k] + noise_sign * feature[other]


@pytest.mark.parametrize("num_clusters", [2, 3, 4, 7])
def test_the_best_scores_err_once_for_each_pair_of_clusters(num_clusters):
    a, b = best_additive_scores(num_clusters)
    wrong = {
        (k, other, y, noise_sign)
        for k, other in permutations(range(num_clusters), 2)
        for y, noise_sign in product((1, -1), repeat=2)
        if y * score(a, b, k, other, y, noise_sign) <= 0
    }
    assert wrong == {
        (k, other, -1, 1) for k in range(num_clusters) for other in range(k)
    }


def slow_error(plus, minus, center):
    """One combination after the other."""
    wrong, total = 0, 0
    for k, other in permutations(range(len(plus)), 2):
        for y, noise_sign in product((1, -1), repeat=2):
            signal = plus[k] if y == 1 else minus[k]
            noise = plus[other] if noise_sign == 1 else minus[other]
            wrong += y * (signal + center[k] + noise) <= 0
            total += 1
    return wrong / total


@given(
    k=st.integers(2, 6),
    shape=st.sampled_from([(1,), (3,), (2, 2)]),
    seed=st.integers(0, 999),
    ties=st.booleans(),
)
def test_configuration_error_equals_the_loop(k, shape, seed, ties):
    random = np.random.default_rng(seed)
    parts = random.normal(size=(3, *shape, k))
    parts = np.round(2 * parts) if ties else parts
    found = configuration_error(*parts)
    assert found.shape == shape
    for run in np.ndindex(shape):
        slow = slow_error(*(part[run] for part in parts))
        assert found[run] == pytest.approx(slow, abs=1e-12)


def test_configuration_error_of_one_classifier():
    a, b = best_additive_scores(4)
    assert configuration_error(a, -a, b) == 1 / 8


@pytest.mark.parametrize("num_clusters", [2, 3, 4, 5, 8])
def test_no_additive_classifier_errs_in_less_than_an_eighth(num_clusters):
    """Random ones of many scales, odd and not, and small integers with their ties."""
    random = np.random.default_rng(num_clusters)
    many = (4000, num_clusters)
    scale = 10 ** random.uniform(-2, 2, size=(3, many[0], 1))
    plus, minus, center = random.normal(size=(3, *many)) * scale
    whole = np.round(random.integers(-4, 5, size=(3, *many)).astype(float))
    a, b = best_additive_scores(num_clusters)
    off = random.normal(size=(3, *many)) * scale
    families = {
        "any": (plus, minus, center),
        "odd": (plus, -plus, center),
        "falling": (np.abs(plus), -np.abs(plus), np.abs(center)),
        "integers": tuple(whole),
        "odd integers": (whole[0], -whole[0], whole[2]),
        "near the best": tuple(np.stack([a, -a, b])[:, None] + off),
    }
    errors = {name: configuration_error(*parts) for name, parts in families.items()}
    assert sum(len(e) for e in errors.values()) >= 10_000
    for name, error in errors.items():
        assert error.min() >= 1 / 8, name
    assert errors["near the best"].min() == 1 / 8


def test_a_constant_score_errs_in_all_examples():
    zero = np.zeros((1, 3))
    assert configuration_error(zero, zero, zero).item() == 1  # 0 is an error
    assert configuration_error(zero, zero, zero + 1).item() == 1 / 2


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (1, ValueError, "num_clusters must be at least 2, got 1"),
        (41, ValueError, "num_clusters must be at most 40, got 41"),
        (2.5, TypeError, "num_clusters must be an integer, got 2.5"),
    ],
)
def test_best_scores_of_too_few_or_too_many_clusters(value, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        best_additive_scores(value)


@pytest.mark.usefixtures("_as_a_reader")
def test_scores_that_do_not_fit_one_another_are_refused():
    message = r"must have equal shapes, got \(3,\), \(3,\) and \(4,\)$"
    with pytest.raises(ValueError, match=message):
        configuration_error(np.zeros(3), np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match=r"got \(2, 3\), \(3,\) and \(3,\)$"):
        configuration_error(np.zeros((2, 3)), np.zeros(3), np.zeros(3))
    one = np.zeros((5, 1))
    with pytest.raises(ValueError, match=r"^the last axis of plus must be at least 2"):
        configuration_error(one, one, one)


# Examples: patches, Gaussian noise, all strengths.

ODD = data_config(
    num_clusters=3, num_patches=5, dim=20, alpha=(1.0, 3.0), gamma=(0.5, 2.0)
)
CONFIGS = {name: setting(name) for name in ("1", "2", "3", "4", "verify")}
CONFIGS["strengths of signals only"] = ODD


def share_of_right(config, n, chunk=50_000):
    generator = source()
    signals = sample_signals(config, generator=generator)
    right = 0
    for _ in range(n // chunk):
        data = sample_dataset(config, signals, chunk, generator=generator)
        output = best_additive_output(data.x, signals, config.alpha, config.gamma)
        right += int((output * data.y > 0).sum())
    return right / n


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_best_additive_classifier_reaches_the_ceiling(config):
    """Of a million examples; the standard error is at most 0.033 points."""
    right = share_of_right(config, 1_000_000)
    assert right == pytest.approx(additive_ceiling(config), abs=0.001)


def test_the_best_additive_classifier_of_many_clusters():
    config = data_config(num_clusters=30, dim=60, alpha=(1.0, 2.0), gamma=(1.0, 2.0))
    right = share_of_right(config, 50_000)
    assert right == pytest.approx(additive_ceiling(config), abs=0.006)


def test_strengths_that_noise_cannot_have_settle_everything():
    config = replace(ODD, alpha=(2.0, 3.0), gamma=(0.5, 1.0))
    assert share_of_right(config, 5000, chunk=5000) == 1


def toy(config=ODD, n=400):
    data = draw(config, n)
    return data, best_additive_output(data.x, data.signals, config.alpha, config.gamma)


def test_the_best_output_is_a_sum_of_scores_of_single_patches():
    data, output = toy()
    single = [
        best_additive_output(data.x[:, [p]], data.signals, ODD.alpha, ODD.gamma)
        for p in range(data.x.shape[1])
    ]
    assert torch.equal(torch.stack(single).sum(dim=0), output)
    assert len({*output.tolist()}) > 10  # not the same number everywhere
    order = torch.rand(data.x.shape[:2], generator=source(3)).argsort(dim=1)
    shuffled = data.x.gather(1, order[..., None].expand_as(data.x))
    moved = best_additive_output(shuffled, data.signals, ODD.alpha, ODD.gamma)
    assert torch.equal(moved, output)


def test_the_best_output_scores_each_kind_of_patch_as_it_should():
    """By the hidden roles and strengths, which the classifier does not see."""
    data, output = toy()
    a, b = best_additive_scores(3)
    expected = []
    for i in range(len(data)):
        total = 0.0
        for patch, role in zip(data.x[i], data.patch_role[i], strict=True):
            k = int(data.cluster[i])
            sign = data.y[i].item()
            if role == PatchRole.CENTER:
                total += b[k]
            if role == PatchRole.FEATURE_NOISE:
                k, sign = int(data.noise_cluster[i]), data.noise_sign[i].item()
            if role in (PatchRole.FEATURE, PatchRole.FEATURE_NOISE):
                strength = patch.norm().item()
                total += sign * (
                    0 if strength < 1 else 2 * a[0] if strength > 2 else a[k]
                )
        expected.append(total)
    assert output.tolist() == expected


def test_the_best_output_moves_with_the_frame():
    """Turned examples with turned signals: the same output, in double precision."""
    data, output = toy()
    turn, _ = torch.linalg.qr(normal(20, 20, seed=5))
    signals = Signals(
        data.signals.feature.double() @ turn, data.signals.center.double() @ turn
    )
    turned = best_additive_output(data.x.double() @ turn, signals, ODD.alpha, ODD.gamma)
    assert turned.dtype == torch.float64
    assert torch.equal(turned.float(), output)


def test_signals_that_are_not_orthonormal_are_refused():
    data, _ = toy(n=3)
    v, c = data.signals.feature, data.signals.center
    for signals in (Signals(v, 1.01 * c), Signals(v, v), Signals(v + 0.01 * c, c)):
        with pytest.raises(
            ValueError, match=r"^signals must be orthonormal, got inner"
        ):
            best_additive_output(data.x, signals, ODD.alpha, ODD.gamma)


def test_bad_ranges_of_the_best_output_are_refused():
    data, _ = toy(n=3)
    with pytest.raises(ValueError, match=r"^alpha must have low <= high, got \(3.0, 1"):
        best_additive_output(data.x, data.signals, (3.0, 1.0), ODD.gamma)
    with pytest.raises(ValueError, match=r"^gamma bound must be finite and positive"):
        best_additive_output(data.x, data.signals, ODD.alpha, (math.nan, 1.0))


def test_scores_that_are_not_finite_are_refused():
    a, b = best_additive_scores(3)
    bad = a.copy()
    bad[1] = np.nan
    message = "^minus must be finite, got 1 NaN or infinite values$"
    with pytest.raises(ValueError, match=message):
        configuration_error(a, bad, b)


@pytest.mark.parametrize("fault", ["dimension", "nan"])
def test_patches_that_cannot_be_scored_are_refused(fault):
    data, _ = toy()
    x = data.x[..., :-1] if fault == "dimension" else data.x * np.nan
    with pytest.raises(ValueError, match=r"^x must be finite, with patches of"):
        best_additive_output(x, data.signals, ODD.alpha, ODD.gamma)
