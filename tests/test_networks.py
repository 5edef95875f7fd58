"""Image networks have the sizes of the field's; a mixture routes, and nothing else."""

import re
from functools import partial

import jaxtyping
import pytest
import torch
from torch import nn

from moe_lib.image_mixture import ImageMixture
from moe_lib.networks import CNN, MOBILENET, MobileNetV2, ResNet18
from moe_lib.rng import drawing_from
from tests.toys import source

NETWORKS = [CNN, ResNet18, MobileNetV2]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def images(n, channels=3, size=8, seed=0):
    return torch.randn(n, channels, size, size, generator=source(seed))


def small_network(classes=2, channels=3):
    """Return a network with batch normalisation that is small enough for loops."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )


def mixture(build=small_network, *, experts=3, size=8, seed=0, **options):
    """Return a mixture in float64 whose router is random, not zero."""
    made = ImageMixture(
        build, num_experts=experts, image_size=size, generator=source(seed), **options
    )
    with torch.no_grad():
        for parameter in made.router.parameters():
            parameter.normal_(0, 0.2, generator=source(seed + 1))
    return made.double()


def gradients(module):
    return [
        None if parameter.grad is None else parameter.grad.clone()
        for parameter in module.parameters()
    ]


def mobilenet_parameters(channels):
    """Count the weights of MobileNetV2 for ten classes, by its table of blocks."""
    total, width = channels * (9 * 3 + 2), channels
    for expansion, usual, count, stride in MOBILENET:
        out = usual * channels // 32
        for place in range(count):
            wide = expansion * width
            total += wide * (width + 9 + out) + 2 * (wide + wide + out)
            if (stride == 1 or place > 0) and out != width:
                total += width * out + 2 * out  # the shortcut
            width = out
    last = 40 * channels
    return total + last * width + 2 * last + 10 * (last + 1)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (ResNet18, 11_173_962),  # both as in kuangliu/pytorch-cifar
        (MobileNetV2, 2_296_922),
        (CNN, 64 * 28 + 64 * 577 + 128 * 4097 + 10 * 129),
        (partial(ResNet18, in_channels=1), 11_173_962 - 2 * 9 * 64),
        (partial(MobileNetV2, num_classes=2), 2_296_922 - 8 * 1281),
        (MobileNetV2, mobilenet_parameters(32)),
        (partial(MobileNetV2, channels=64), mobilenet_parameters(64)),
        (partial(CNN, num_classes=2, image_size=16), 1792 + 36_928 + 131_200 + 258),
        (
            partial(
                CNN, num_classes=2, in_channels=1, image_size=16, channels=4, hidden=16
            ),
            40 + 148 + 1040 + 34,
        ),
    ],
)
def test_parameters(build, expected):
    with torch.device("meta"):
        assert count(build()) == expected


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_takes_both_sizes(network, size):
    sizes = {"image_size": size} if network is CNN else {}
    model = network(num_classes=5, in_channels=2, **sizes)
    out = model(images(2, 2, size))
    assert out.shape == (2, 5)
    out.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_deep_networks_halve_the_image_three_times():
    x, seen = images(1, size=32), []
    for network in (ResNet18(), MobileNetV2()):
        network.bn1.register_forward_hook(lambda *a: seen.append(a[2].shape[-1]))
        last = network.layer4 if isinstance(network, ResNet18) else network.layers
        last.register_forward_hook(lambda *a: seen.append(a[2].shape[-1]))
        network.eval()(x)
    assert seen == [32, 4, 32, 4]


def test_first_weights_come_from_the_generator_only():
    before = torch.get_rng_state()
    with drawing_from(source(3)):
        single = small_network()
    models = [mixture(experts=2, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (model.state_dict() for model in models)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["experts.0.0.weight"], other["experts.0.0.weight"])
    assert not torch.equal(first["experts.0.0.weight"], first["experts.1.0.weight"])
    assert torch.equal(first["experts.0.0.weight"], single[0].weight.double())


@pytest.mark.parametrize("build", [small_network, ResNet18, MobileNetV2])
def test_a_mixture_of_one_is_its_network(build):
    one = mixture(build, experts=1)
    with drawing_from(source(0)):
        network = build().double()
    x = images(5).double()
    mixed, alone = one(x).output, network(x)
    assert torch.equal(mixed, alone)
    mixed.square().sum().backward()
    alone.square().sum().backward()
    for found, expected in zip(gradients(one.experts), gradients(network), strict=True):
        assert torch.equal(found, expected)
    for key, value in network.state_dict().items():
        assert torch.equal(one.experts[0].state_dict()[key], value)


@pytest.mark.parametrize("router", ["linear", "conv"])
@pytest.mark.parametrize("noisy", [False, True])
def test_routed_equals_dense(router, noisy):
    model = mixture(router=router).eval()
    for expert in model.experts:  # as if trained: no mean is 0, no variance 1
        expert[1].running_mean.normal_(generator=source(5))
        expert[1].running_var.uniform_(0.5, 2, generator=source(6))
    x = images(20).double()
    noise = torch.rand(20, 3, generator=source(7)).double() if noisy else None
    out = model(x, noise)

    if router == "linear":
        logits = x.flatten(1) @ model.router.weight.T + model.router.bias
    else:
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4)
        logits = torch.einsum("ncabij,mcij->nm", patches, model.router.weight)
        logits = logits + 4 * model.router.bias
    index = (logits if noise is None else logits + noise).argmax(dim=1)
    every = torch.stack([expert(x) for expert in model.experts], dim=1)
    probs = logits.softmax(dim=1)
    rows = torch.arange(20)
    dense = probs[rows, index, None] * every[rows, index]

    assert len(index.unique()) == 3
    assert torch.equal(out.expert_index, index)
    torch.testing.assert_close(out.probs, probs)
    torch.testing.assert_close(out.output, dense)
    found = torch.autograd.grad(out.output.square().sum(), model.parameters())
    expected = torch.autograd.grad(dense.square().sum(), model.parameters())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_batch_norm_sees_the_expert_s_own_images_only():
    model = mixture()
    with drawing_from(source(0)):
        alone = [small_network().double() for _ in range(3)]
    for seed in range(3):
        x = images(30, seed=seed).double()
        index = model(x).expert_index
        for m, network in enumerate(alone):
            assert (index == m).sum() > 1
            network(x[index == m])
    for expert, network in zip(model.experts, alone, strict=True):
        for key, value in network.state_dict().items():
            assert torch.equal(expert.state_dict()[key], value)


def send(model, index):
    """Return noise that sends each image to the expert of ``index``."""
    return 1000.0 * nn.functional.one_hot(torch.tensor(index), len(model.experts))


def test_an_expert_without_images_is_left_alone():
    model = mixture()
    before = {key: v.clone() for key, v in model.experts[1].state_dict().items()}
    out = model(images(4).double(), send(model, [0, 2, 2, 0]).double())
    out.output.sum().backward()
    assert gradients(model.experts[1]) == [None] * 6
    assert all(torch.equal(model.experts[1].state_dict()[k], before[k]) for k in before)
    assert None not in gradients(model.experts[0])


def test_a_lone_image_is_normalised_as_in_evaluation():
    model = mixture(lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192)))
    x = images(3).double()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model.experts[1](x[:1])  # what torch says to a lone image
    before = model.experts[1][1].running_mean.clone()
    out = model(x, send(model, [0, 1, 0]).double())
    gate = out.probs[1, 1]
    assert all(expert.training and expert[1].training for expert in model.experts)
    assert torch.equal(model.experts[1][1].running_mean, before)
    expected = gate * model.experts[1].eval()(x[1:2])[0]
    torch.testing.assert_close(out.output[1], expected)
    out.output.square().sum().backward()
    assert gradients(model.experts[1])[0].abs().sum() > 0


def test_at_first_noise_alone_chooses():
    model = ImageMixture(small_network, image_size=8, generator=source())
    x, noise = images(400), torch.rand(400, 4, generator=source(1))
    out = model(x, noise)
    assert torch.equal(out.probs, torch.full((400, 4), 0.25))
    assert torch.equal(out.expert_index, noise.argmax(dim=1))
    counts = out.expert_index.bincount(minlength=4)
    assert (counts - 100).abs().max() < 4 * (400 * 3 / 16) ** 0.5
    assert torch.equal(model(x).expert_index, torch.zeros(400, dtype=torch.long))


def test_a_router_by_lot_draws_once_and_for_all():
    model = ImageMixture(small_network, image_size=8, router="lot", generator=source())
    model.eval()
    x = images(4000)
    out = model(x)
    again = model(x.flip(0), torch.rand(4000, 4, generator=source(1)))
    assert torch.equal(again.expert_index.flip(0), out.expert_index)
    counts = out.expert_index.bincount(minlength=4)
    assert (counts - 1000).abs().max() < 4 * (4000 * 3 / 16) ** 0.5
    grain = 1e-3 * images(4000)  # nor does it depend on what is shown
    nearly = model(x + grain).expert_index
    assert (nearly == out.expert_index).double().mean() == pytest.approx(0.25, abs=0.03)
    chosen = [model.experts[m](x[i : i + 1]) for i, m in enumerate(out.expert_index)]
    torch.testing.assert_close(out.output, torch.cat(chosen))  # the gate is 1
    assert not [*model.router.parameters()]


def rejects(error, message, function, *args, **kwargs):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        function(*args, **kwargs)


@pytest.fixture
def _as_a_reader(monkeypatch):
    """Switch off the shape checker of the tests, which would raise first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize("network", NETWORKS)
def test_bad_sizes(network):
    rejects(ValueError, "num_classes must be at least 2, got 1", network, num_classes=1)
    message = "in_channels must be an integer, got 3.0"
    rejects(TypeError, message, network, in_channels=3.0)


@pytest.mark.usefixtures("_as_a_reader")
def test_bad_arguments_of_a_mixture():
    build = partial(ImageMixture, small_network, generator=source())
    rejects(ValueError, "num_experts must be at least 1, got 0", build, num_experts=0)
    message = "router must be one of linear, conv, lot, got 'mlp'"
    rejects(ValueError, message, build, router="mlp")
    message = "image_size must be a multiple of 4 for the router conv, got 18"
    rejects(ValueError, message, build, router="conv", image_size=18)
    model = build(image_size=8)
    message = "x must have shape [2, 3, 8, 8], got [2, 3, 16, 16]"
    rejects(ValueError, message, model, images(2, size=16))
    message = "router_noise must have shape [2, 4], got [2, 3]"
    rejects(ValueError, message, model, images(2), torch.zeros(2, 3))
    message = "number of images in x must be at least 1, got 0"
    rejects(ValueError, message, model, images(0))
