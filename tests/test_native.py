"""The compiled loops against plain torch in float64, for each width of vectors.

The numbers of most tests are small multiples of 1/8: products and their sums are then
exact, so responses at the kink of relu and ties of logits are the same on both sides.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import ModelConfig, MoE, SingleExpert, TrainConfig, native, train
from moe_lib.experts import dense_expert_outputs, routed_expert_outputs
from moe_lib.router import route, route_patch_sum, router_logits, sample_router_noise
from tests import reference
from tests.toys import data_config, draw, integers, normal, uniform

ROOT = Path(__file__).parents[1]
FIND = native.library  # also while tests replace it
NAN, INF = float("nan"), float("inf")
BUILDS = {"installed": None, "8 lanes": "-mavx2 -mfma", "4 lanes": ""}
ACTIVATIONS = list(native.ACTIVATIONS)
sizes = st.integers(1, 40)


def compile_for(flags, path):
    """Compile native.c as pyproject.toml says, for another processor."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (extension,) = project["tool"]["setuptools"]["ext-modules"]
    options = [o for o in extension["extra-compile-args"] if o != "-march=native"]
    command = ["cc", "-shared", "-fPIC", *options, *shlex.split(flags), "-o", str(path)]
    sources = [str(ROOT / source) for source in extension["sources"]]
    command += [*sources, *extension["extra-link-args"]]
    subprocess.run(command, check=True, capture_output=True)
    return native.load(path)


@pytest.fixture(scope="module", params=BUILDS)
def _compiled(request, tmp_path_factory):
    """Let the library use the loops of one build."""
    flags = BUILDS[request.param]
    if flags is None:
        library = FIND()
    elif shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    else:
        path = tmp_path_factory.mktemp("native") / "native.so"
        try:
            library = compile_for(flags, path)
        except subprocess.CalledProcessError:
            pytest.skip(f"the compiler cannot make {request.param}")
    if library is None:
        pytest.skip(f"this machine does not run the build {request.param!r}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", lambda: library)
        yield


compiled = pytest.mark.usefixtures("_compiled")


def eighths(*shape, seed=0, most=12):
    """Draw multiples of 1/8, at most ``most`` of them."""
    return (integers(2 * most + 1, *shape, seed=seed) - most).float() / 8


def assert_near(got, want, tolerance=1e-5):
    """Compare the norm of the difference with that of the result."""
    assert got.shape == want.shape
    error, size = (got.double() - want).norm(), want.norm()
    assert error <= tolerance * size + 1e-30


# Experts


def oracle(x, weight, index, activation):
    outputs = dense_expert_outputs(x, weight, activation)
    return outputs.gather(-1, index.long()[..., None]).squeeze(-1)


def assert_experts_agree(x, weight, index, activation):
    weight, exact = weight.requires_grad_(), weight.detach().double().requires_grad_()
    got = routed_expert_outputs(x, weight, index, activation)
    want = oracle(x.double(), exact, index, activation)
    assert type(got.grad_fn).__name__ == "_CompiledExpertsBackward"
    assert got.dtype == torch.float32
    assert_near(got.detach(), want.detach())
    upstream = eighths(*index.shape, seed=3)
    (got,) = torch.autograd.grad(got, weight, upstream)
    (want,) = torch.autograd.grad(want, exact, upstream.double())
    assert_near(got, want)


@compiled
@given(
    runs=st.integers(1, 3),
    n=st.integers(1, 70),
    patches=st.integers(1, 7),
    dim=st.integers(1, 60),
    num_experts=sizes,
    num_filters=sizes,
    shared=st.booleans(),
    activation=st.sampled_from(ACTIVATIONS),
)
def test_experts_equal_the_formula(
    runs, n, patches, dim, num_experts, num_filters, shared, activation
):
    x = eighths(*([] if shared else [runs]), n, patches, dim)
    weight = eighths(runs, num_experts, num_filters, dim, seed=1)
    index = integers(num_experts, runs, n, seed=2)
    assert_experts_agree(x, weight, index, activation)


@compiled
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_experts_equal_the_formula_at_the_paper_s_sizes(activation):
    x, weight = normal(500, 4, 50).float(), normal(2, 8, 16, 50, seed=1).float()
    assert_experts_agree(x, weight, integers(8, 2, 500, seed=2), activation)


@compiled
def test_experts_that_nobody_was_sent_to_have_gradient_zero():
    weight = eighths(1, 5, 3, 6).requires_grad_()
    index = torch.tensor([[1, 3, 1, 3, 3, 1, 1]])
    output = routed_expert_outputs(eighths(7, 4, 6, seed=1), weight, index, "cubic")
    output.sum().backward()
    reached = (weight.grad != 0).any(dim=(2, 3))
    assert reached.tolist() == [[False, True, False, True, False]]


@compiled
def test_tensors_need_not_be_contiguous():
    x = eighths(4, 9, 7, 2).permute(3, 1, 0, 2)  # S, n, P, d
    weight = eighths(7, 3, 5, 2, seed=1).permute(3, 1, 2, 0)
    index = integers(3, 9, 2, seed=2).T
    assert not any(t.is_contiguous() for t in (x, weight, index))
    assert_experts_agree(x, weight.detach(), index, "cubic")
    output = routed_expert_outputs(x, weight.requires_grad_(), index, "relu")
    output.sum().backward()  # the upstream gradient is one number, expanded
    exact = weight.detach().double().requires_grad_()
    oracle(x.double(), exact, index, "relu").sum().backward()
    assert_near(weight.grad, exact.grad)


@compiled
def test_weights_changed_before_the_backward_pass_are_noticed():
    weight = eighths(1, 2, 3, 6).requires_grad_()
    index = torch.tensor([[0, 1, 0, 1]])
    output = routed_expert_outputs(eighths(4, 3, 6, seed=1), weight, index, "cubic")
    with torch.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@compiled
def test_logits_and_probabilities_may_be_changed_in_place():
    theta = eighths(1, 6, 3, seed=1).requires_grad_()
    routing = route_patch_sum(eighths(4, 6), theta)
    before = routing.probs.detach().clone()
    routing.logits.add_(1)
    assert torch.equal(routing.probs, before)


@compiled
def test_indices_of_32_bits_are_understood():
    index = integers(3, 1, 9).int()
    assert_experts_agree(eighths(9, 2, 5), eighths(1, 3, 2, 5, seed=1), index, "cubic")


@compiled
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_weight_that_is_no_number_is_not_hidden(activation):
    weight = eighths(1, 2, 3, 6)
    weight[0, 1, 2, 4] = NAN
    index = torch.tensor([[0, 1, 0, 1]])
    output = routed_expert_outputs(
        1 + eighths(4, 3, 6, seed=1).abs(), weight, index, activation
    )
    assert output.isnan().tolist() == [[False, True, False, True]]


@compiled
@pytest.mark.parametrize("activation", ["cubic", "gelu"])
def test_what_the_loops_cannot_do_takes_the_plain_path(monkeypatch, activation):
    def forbidden(*_):
        raise AssertionError("the compiled loops were called")

    monkeypatch.setattr(native, "experts_forward", forbidden)
    monkeypatch.setattr(native, "route_forward", forbidden)
    index = integers(3, 2, 9)
    x, weight = normal(9, 4, 5), normal(2, 3, 2, 5, seed=1)
    if activation == "cubic":  # a gradient in x, or double precision
        with pytest.raises(AssertionError, match="compiled loops were called"):
            routed_expert_outputs(x.float(), weight.float(), index, activation)
        cases = [(x.float().requires_grad_(), weight.float()), (x, weight)]
    else:
        cases = [(x.float(), weight.float())]
    for patches, filters in cases:
        routed = filters.clone().requires_grad_()
        output = routed_expert_outputs(patches, routed, index, activation)
        output.sum().backward()
        exact = weight.clone().requires_grad_()
        exact_x = x.clone().requires_grad_()
        oracle(exact_x, exact, index, activation).sum().backward()
        assert_near(routed.grad, exact.grad)
        if patches.requires_grad:
            assert_near(patches.grad, exact_x.grad)
    s, theta = normal(9, 5), normal(2, 5, 3)
    with pytest.raises(AssertionError, match="compiled loops were called"):
        route_patch_sum(s.float(), theta.float())
    assert route_patch_sum(s, theta).logits.dtype == torch.float64
    through = s.float().requires_grad_()
    route_patch_sum(through, theta.float()).gate_value.sum().backward()
    assert through.grad.abs().max() > 0


# Router


@compiled
@given(
    runs=st.integers(1, 3),
    n=st.integers(1, 70),
    dim=st.integers(1, 60),
    num_experts=sizes,
    shared=st.booleans(),
    noisy=st.booleans(),
)
def test_routing_equals_plain_torch(runs, n, dim, num_experts, shared, noisy):
    s = eighths(*([] if shared else [runs]), n, dim)
    theta = eighths(runs, dim, num_experts, seed=1, most=3)
    noise = uniform(runs, n, num_experts, seed=2).float() if noisy else None
    got, want = route_patch_sum(s, theta, noise), route(router_logits(s, theta), noise)
    assert torch.equal(got.logits, want.logits)  # exact, so ties are ties
    assert torch.equal(got.expert_index, want.expert_index)
    exact = route(router_logits(s.double(), theta.double()))
    torch.testing.assert_close(got.probs.double(), exact.probs, rtol=1e-5, atol=1e-30)
    chosen = got.probs.gather(-1, got.expert_index[..., None]).squeeze(-1)
    assert torch.equal(got.gate_value, chosen)


@compiled
def test_routing_of_any_numbers_is_near_to_double_precision():
    s, theta = normal(2000, 50), 0.3 * normal(2, 50, 30, seed=1)
    noise = uniform(2, 2000, 30, seed=2)
    got = route_patch_sum(s.float(), theta.float(), noise.float())
    want = route(router_logits(s, theta), noise)
    assert_near(got.logits, want.logits)
    assert_near(got.probs, want.probs)
    scores = want.logits + noise
    chosen = scores.gather(-1, got.expert_index[..., None]).squeeze(-1)
    assert (scores.amax(dim=-1) - chosen).max() < 1e-5  # the largest, up to rounding
    assert (got.expert_index != got.logits.argmax(dim=-1)).any()


PARTS = ["gate_value", "probs", "logits"]


@compiled
@given(
    runs=st.integers(1, 3),
    n=st.integers(1, 70),
    dim=st.integers(1, 20),
    num_experts=sizes,
    parts=st.sets(st.sampled_from(PARTS), min_size=1),
)
def test_router_gradients_equal_autograd(runs, n, dim, num_experts, parts):
    s, noise = eighths(runs, n, dim), uniform(runs, n, num_experts, seed=2).float()
    theta = eighths(runs, dim, num_experts, seed=1, most=2).requires_grad_()
    routing = route_patch_sum(s, theta, noise)
    assert type(routing.gate_value.grad_fn).__name__ == "_CompiledRouteBackward"
    assert not routing.expert_index.requires_grad
    exact = theta.detach().double().requires_grad_()
    logits = s.double() @ exact
    probs = logits.softmax(dim=-1)
    gate = probs.gather(-1, routing.expert_index[..., None]).squeeze(-1)
    want = {"gate_value": gate, "probs": probs, "logits": logits}
    factor = {name: eighths(*want[name].shape, seed=4) for name in PARTS}
    sum((factor[p] * getattr(routing, p)).sum() for p in parts).backward()
    sum((factor[p].double() * want[p]).sum() for p in parts).backward()
    scale = sum(f.abs().sum() for f in factor.values())  # terms may cancel
    assert (theta.grad.double() - exact.grad).abs().max() <= 1e-6 * scale
    if parts == {"gate_value"} and num_experts > 1:
        assert theta.grad.abs().max() > 0


@compiled
def test_router_tensors_need_not_be_contiguous():
    turned = [eighths(6, 9, 2), eighths(5, 6, 2, most=3), uniform(5, 9, 2).float()]
    gradients = []
    for contiguous in (False, True):
        s, theta, noise = (t.permute(2, 1, 0) for t in turned)
        if contiguous:
            s, theta, noise = s.contiguous(), theta.contiguous(), noise.contiguous()
        assert all(t.is_contiguous() == contiguous for t in (s, theta, noise))
        theta.requires_grad_()
        gate = route_patch_sum(s, theta, noise).gate_value
        gradients += torch.autograd.grad(gate.sum(), theta)
    assert gradients[0].abs().max() > 0
    assert torch.equal(*gradients)


@compiled
@pytest.mark.parametrize("num_experts", [1, 3, 8, 16, 17, 40])
def test_ties_go_to_the_lowest_index(num_experts):
    s, theta = eighths(20, 5), torch.zeros(1, 5, num_experts)
    for noise in (None, torch.full((1, 20, num_experts), 0.25)):
        assert not route_patch_sum(s, theta, noise).expert_index.any()
    first, last = num_experts // 3, num_experts - 1
    theta[..., [first, last]] = 1.0
    index = route_patch_sum(1 + s.abs(), theta).expert_index
    assert (index == first).all()


@compiled
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_large_logits_and_large_noise_do_not_overflow(size):
    s, theta = torch.ones(3, 1), torch.tensor([[[0.0, size, -size, size / 2]]])
    for noise in (None, torch.zeros(1, 3, 4), -theta.expand(1, 3, 4)):
        got = route_patch_sum(s, theta, noise)
        want = route(router_logits(s, theta), noise)
        assert torch.equal(got.expert_index, want.expert_index)
        torch.testing.assert_close(got.probs, want.probs, rtol=0, atol=1e-30)
        torch.testing.assert_close(got.gate_value, want.gate_value, rtol=0, atol=1e-30)


@compiled
@pytest.mark.parametrize("num_experts", [1, 7, 8, 16, 30])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("everywhere", [False, True])
def test_what_is_not_finite_chooses_an_expert_that_exists(
    num_experts, value, everywhere
):
    theta = eighths(1, 5, num_experts)
    theta[..., slice(None) if everywhere else 0] = value
    got = route_patch_sum(1 + eighths(9, 5, seed=1).abs(), theta)
    assert got.expert_index.min() >= 0
    assert got.expert_index.max() < num_experts
    if value == -INF and not everywhere and num_experts > 1:
        assert (got.expert_index > 0).all()
        assert got.gate_value.isfinite().all()
    else:
        assert got.gate_value.isnan().all()


@compiled
@pytest.mark.parametrize("num_experts", [native.MAX_EXPERTS, native.MAX_EXPERTS + 1])
def test_thousands_of_experts_are_no_problem(num_experts):
    s, theta = eighths(9, 5), eighths(1, 5, num_experts, seed=1)
    got, want = route_patch_sum(s, theta), route(router_logits(s, theta))
    assert torch.equal(got.expert_index, want.expert_index)


# Routing noise


@compiled
@given(n=st.integers(1, 40), num_experts=sizes, step=st.integers(0, 2**32 - 1))
def test_noise_equals_the_loop(n, num_experts, step):
    noise = sample_router_noise(n, num_experts, seeds=[3], step=step)[0]
    expected = reference.router_noise(3, step, n, num_experts)
    assert torch.equal(noise.double(), expected)


# Runs and threads


def bits():
    """Return all that the loops compute."""
    x, weight = normal(2, 301, 4, 50).float(), normal(2, 8, 16, 50, seed=1).float()
    theta = normal(2, 50, 8, seed=2).float()
    noise = sample_router_noise(301, 8, seeds=[0, 1], step=3)
    weight.requires_grad_(), theta.requires_grad_()
    routing = route_patch_sum(x.sum(dim=-2), theta, noise)
    outputs = routed_expert_outputs(x, weight, routing.expert_index, "cubic")
    (routing.gate_value * outputs).sum().backward()
    parts = [routing.logits, routing.probs, routing.gate_value, outputs]
    return [noise, *parts, weight.grad, theta.grad]


@compiled
@pytest.mark.parametrize("threads", [2, 3, 11])
def test_the_bits_do_not_depend_on_the_number_of_threads(threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = bits()
        torch.set_num_threads(threads)
        together = bits()
    finally:
        torch.set_num_threads(before)
    for a, b in zip(alone, together, strict=True):
        assert torch.equal(a, b)


@compiled
def test_a_run_has_the_same_bits_alone_and_among_others():
    data, models = draw(data_config(dim=50), 200), []
    for seeds in ([0, 1, 2], [1]):
        models.append(MoE(ModelConfig(), dim=50, seeds=seeds))
        train(models[-1], data, TrainConfig(steps=5))
    among, alone = models
    assert torch.equal(among.expert_weight[1], alone.expert_weight[0])


# With and without


@compiled
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("model_class", [MoE, SingleExpert])
def test_training_is_the_same_with_and_without_the_loops(model_class, activation):
    data, called = draw(data_config(dim=50), 200), []

    def trained(library):
        model = model_class(ModelConfig(activation=activation), dim=50, seeds=[0, 1])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "library", library)
            history = train(model, data, TrainConfig(steps=10))
        return model, history

    loops = native.library()

    def watched():
        called.append(1)
        return loops

    (fast, seen), (slow, expected) = trained(watched), trained(lambda: None)
    assert called
    torch.testing.assert_close(seen.loss, expected.loss, rtol=1e-5, atol=0)
    for a, b in zip(fast.parameters(), slow.parameters(), strict=True):
        assert_near(a.detach(), b.detach().double(), tolerance=1e-4)
    if model_class is MoE:
        assert torch.equal(seen.dispatch_counts, expected.dispatch_counts)


@compiled
@given(count=sizes, dim=st.integers(1, 9))
def test_packing_can_be_undone(count, dim):
    vectors = normal(2, count, dim).float()
    packed = native.pack(vectors)
    lanes = native.library().width()
    assert packed.shape == (2, -(-count // lanes), dim, lanes)
    assert packed.is_contiguous()
    assert torch.equal(native.unpack(packed, count), vectors)
    assert packed.double().sum().item() == pytest.approx(vectors.double().sum().item())


# Finding the library


@pytest.fixture
def found(monkeypatch, tmp_path):
    """Look for the library in an empty folder: return where it should lie, and how."""
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    path = tmp_path / f"_native{EXTENSION_SUFFIXES[0]}"
    return SimpleNamespace(path=path, library=FIND.__wrapped__)


def test_without_a_file_there_is_no_library(found):
    assert found.library() is None


def test_a_file_that_cannot_be_loaded_is_not_used(found):
    found.path.write_text("not a library")
    assert found.library() is None


def test_a_library_for_another_processor_is_not_used(found, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(width=lambda: 0))
    found.path.touch()
    assert found.library() is None


@pytest.mark.skipif(FIND() is None, reason="no loops were compiled here")
def test_a_library_is_found_where_the_installation_puts_it(found):
    shutil.copy(FIND()._name, found.path)
    assert found.library().width() == FIND().width()


@pytest.mark.skipif("CI" not in os.environ, reason="a C compiler is optional here")
def test_continuous_integration_tests_the_compiled_loops():
    assert FIND() is not None
