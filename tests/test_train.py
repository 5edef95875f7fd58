"""Algorithm 1 against the slow loop; runs side by side; History and evaluation."""

import math

import pytest
import torch

from moe_lib import (
    ModelConfig,
    MoE,
    PatchDataset,
    SingleExpert,
    TrainConfig,
    evaluate,
    stack_runs,
    train,
)
from moe_lib.train import algorithm_1
from tests import reference
from tests.toys import data_config, draw, integers, moe, normal, signs, single

KINDS = [(MoE, "cubic"), (MoE, "linear"), (SingleExpert, "cubic")]
CONFIG = data_config(num_clusters=3, num_patches=4, dim=8)
RATES = TrainConfig(steps=3, expert_lr=0.05, router_lr=2.0)


def fresh(model_class, activation, seeds, **sizes):
    config = ModelConfig(num_filters=2, activation=activation, **sizes)
    return model_class(config, dim=8, seeds=seeds).double()


def toy_data(seeds):
    """Return float64 data, of each run its own."""
    parts = [draw(CONFIG, 50, seed) for seed in seeds]
    return stack_runs(parts).to(torch.float64)


def run_of(data, run):
    """Return the data of one run, with a runs axis of length one."""
    return stack_runs(
        [PatchDataset(x=data.x[run], y=data.y[run], cluster=data.cluster[run])]
    )


# Algorithm 1


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("activation", ["cubic", "linear", "gelu"])
def test_training_a_mixture_equals_the_loop(activation, steps):
    x, y = normal(2, 12, 4, 6), signs(2, 12, seed=1)
    model = moe(runs=2, experts=3, activation=activation)
    theta = list(model.router_weight.detach().clone())
    filters = list(model.expert_weight.detach().clone())
    rates = TrainConfig(steps=steps, expert_lr=0.05, router_lr=2.0)
    history = train(model, PatchDataset(x=x, y=y), rates)
    for s in range(2):
        for t in range(steps):
            noise = reference.router_noise(s, t, 12, 3)  # drawn anew each step
            theta[s], filters[s], loss = reference.algorithm_1_step(
                x[s], y[s], theta[s], filters[s], activation, noise, 0.05, 2.0
            )
            assert history.loss[t, s].item() == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(model.router_weight.detach(), torch.stack(theta))
    torch.testing.assert_close(model.expert_weight.detach(), torch.stack(filters))


@pytest.mark.parametrize("activation", ["cubic", "linear"])
def test_training_a_single_expert_equals_normalised_descent(activation):
    x, y = normal(12, 4, 6), signs(12, seed=1)
    model = single(activation=activation)
    slow = model.expert_weight.detach()[0, 0].clone()
    train(model, PatchDataset(x=x, y=y), RATES)
    for _ in range(RATES.steps):
        slow.requires_grad_()
        loss = reference.loss(reference.single_outputs(x, slow, activation), y)
        (gradient,) = torch.autograd.grad(loss, [slow])
        moved = reference.normalised_step([slow.detach()], [gradient], RATES.expert_lr)
        slow = moved[0]
    torch.testing.assert_close(model.expert_weight.detach()[0, 0], slow)


@pytest.mark.parametrize(("model_class", "activation"), KINDS)
def test_seeds_in_a_batch_equal_seeds_one_by_one(model_class, activation):
    seeds, config = [3, 5, 11], TrainConfig(steps=20)
    data = toy_data(seeds)
    batch = fresh(model_class, activation, seeds)
    together = train(batch, data, config)
    for run, seed in enumerate(seeds):
        model = fresh(model_class, activation, [seed])
        alone = train(model, run_of(data, run), config)
        close = {"rtol": 0, "atol": 1e-9}
        for a, b in zip(model.parameters(), batch.parameters(), strict=True):
            torch.testing.assert_close(a[0], b[run], **close)
        torch.testing.assert_close(alone.loss[:, 0], together.loss[:, run], **close)
        if model_class is MoE:
            counts = together.dispatch_counts[:, run]
            assert torch.equal(alone.dispatch_counts[:, 0], counts)


def test_seeds_in_a_batch_equal_seeds_one_by_one_on_shared_data():
    data, config = draw(CONFIG, 50).to(torch.float64), TrainConfig(steps=20)
    batch = fresh(MoE, "cubic", [0, 1, 2])
    train(batch, data, config)
    for seed in range(3):
        alone = fresh(MoE, "cubic", [seed])
        train(alone, data, config)
        torch.testing.assert_close(
            alone.expert_weight[0], batch.expert_weight[seed], rtol=0, atol=1e-9
        )


@pytest.mark.parametrize(("model_class", "activation"), KINDS)
def test_the_same_seed_gives_the_same_bits_twice(model_class, activation):
    data = draw(CONFIG, 50)
    models = [fresh(model_class, activation, [7]).float() for _ in range(2)]
    losses = [train(m, data, TrainConfig(steps=20)).loss for m in models]
    assert torch.equal(*losses)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("model_class", "activation"), KINDS)
def test_cuda_equals_the_cpu(model_class, activation):
    data, config = toy_data([0, 1]), TrainConfig(steps=20)
    models = [fresh(model_class, activation, [0, 1]) for _ in range(2)]
    expected = train(models[0], data, config)
    history = train(models[1].to("cuda"), data.to("cuda"), config)
    assert history.loss.device.type == "cpu"
    torch.testing.assert_close(history.loss, expected.loss, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        models[1].expert_weight.cpu(), models[0].expert_weight, rtol=0, atol=1e-9
    )


def test_every_used_expert_moves_by_the_learning_rate_and_the_router_sums_to_zero():
    model = moe(experts=3, dim=8)
    experts, router = model.expert_weight.detach().clone(), model.router_weight.clone()
    data = draw(CONFIG, 50).to(torch.float64)
    train(model, data, TrainConfig(steps=1, expert_lr=0.05, router_lr=2.0))
    moved = torch.linalg.matrix_norm(model.expert_weight.detach() - experts)
    torch.testing.assert_close(moved, torch.full((1, 3), 0.05).double())
    change = (model.router_weight - router).detach()
    assert change.abs().max() > 0
    assert change.sum(dim=-1).abs().max() < 1e-12


def test_a_mixture_of_one_trains_like_the_single_expert():
    data, mixture = toy_data([4]), fresh(MoE, "cubic", [4], num_experts=1)
    one = fresh(SingleExpert, "cubic", [4])
    train(mixture, data, RATES)
    train(one, data, RATES)
    torch.testing.assert_close(mixture.expert_weight, one.expert_weight)


def test_training_learns():
    config = data_config(num_clusters=2, dim=10, gamma=(0.5, 1.0), alpha=(1.0, 2.0))
    model = MoE(ModelConfig(num_experts=4, num_filters=2), dim=10, seeds=[0])
    history = train(model, draw(config, 500), TrainConfig(steps=150))
    assert history.loss[0].item() == pytest.approx(math.log(2), abs=1e-3)
    assert history.loss[-1] < 0.4
    assert history.accuracy[-1] > 0.9


def test_the_paper_s_optimisers():
    experts, router = algorithm_1(moe(), RATES)
    assert experts.param_groups[0]["lr"] == 0.05
    assert type(router) is torch.optim.SGD
    assert router.param_groups[0]["lr"] == 2.0
    assert router.param_groups[0]["momentum"] == 0
    assert len(algorithm_1(single(), RATES)) == 1


def test_other_optimisers_replace_those_of_the_paper():
    model, data = fresh(SingleExpert, "cubic", [0]), toy_data([0])
    before = model.expert_weight.detach().clone()
    frozen = torch.optim.SGD([model.expert_weight], lr=0.0)
    train(model, data, RATES, optimizers=[frozen])
    assert torch.equal(model.expert_weight, before)


# History


def test_history_of_a_mixture_has_a_row_for_each_step_and_run():
    model, data = moe(runs=2, experts=5, dim=8), toy_data([0, 1])
    history = train(model, data, RATES)
    assert history.loss.shape == history.accuracy.shape == (3, 2)
    assert history.dispatch_counts.shape == (3, 2, 3, 5)
    assert (history.dispatch_counts.sum(dim=(2, 3)) == 50).all()
    assert history.loss.dtype == torch.float64
    assert not history.loss.requires_grad


def test_history_starts_before_the_first_step():
    model, data = single(dim=8), toy_data([0])
    before = evaluate(model, data)
    history = train(model, data, RATES)
    torch.testing.assert_close(history.loss[0], before.loss)
    torch.testing.assert_close(history.accuracy[0], before.accuracy)
    assert history.dispatch_counts is None


def test_history_counts_the_noisy_choices():
    model, data = fresh(MoE, "cubic", [0]), toy_data([0])
    noise = reference.router_noise(0, 0, 50, 8)
    chosen = noise.argmax(dim=1)  # a fresh router is zero: noise alone decides
    history = train(model, data, TrainConfig(steps=1))
    slow = reference.dispatch_counts(data.cluster[0], chosen, 3, 8)
    assert history.dispatch_counts[0, 0].tolist() == slow


def test_everything_works_without_clusters():
    x, y = normal(20, 4, 8), integers(2, 20)
    data, model = PatchDataset.from_tensors(x, y), moe(dim=8)
    assert train(model, data, RATES).dispatch_counts is None
    seen = evaluate(model, data)
    assert seen.dispatch_counts is None
    assert seen.dispatch_entropy is None
    assert seen.expert_index.shape == (1, 20)


# Callback


def test_callback_sees_every_step_before_it_is_taken_and_the_end():
    model, data, seen = moe(dim=8), toy_data([0]), []

    def callback(step, model, out):
        seen.append((step, out, model.expert_weight.detach().clone()))

    start = model.expert_weight.detach().clone()
    history = train(model, data, RATES, callback=callback)
    assert [step for step, _, _ in seen] == [0, 1, 2, 3]
    assert torch.equal(seen[0][2], start)
    assert torch.equal(seen[3][2], model.expert_weight)
    assert seen[3][1] is None
    for t, (_, out, _) in enumerate(seen[:3]):
        slow = reference.accuracy(out.output[0], data.y[0])
        assert history.accuracy[t, 0].item() == slow


@pytest.mark.parametrize(("model_class", "activation"), KINDS)
def test_watching_changes_nothing(model_class, activation):
    data = toy_data([0])
    models = [fresh(model_class, activation, [0]) for _ in range(2)]
    train(models[0], data, RATES)
    train(models[1], data, RATES, callback=lambda *_: evaluate(models[1], data))
    assert torch.equal(models[0].expert_weight, models[1].expert_weight)


# Evaluation


def test_evaluation_is_free_of_noise_and_equals_the_loop():
    model, data = moe(runs=2, experts=4, dim=8), toy_data([0, 1])
    seen = evaluate(model, data)
    for s in range(2):
        output, chosen = reference.moe_outputs(
            data.x[s],
            model.router_weight[s].detach(),
            model.expert_weight[s].detach(),
            "cubic",
        )
        counts = reference.dispatch_counts(data.cluster[s], chosen, 3, 4)
        assert seen.expert_index[s].tolist() == chosen
        assert seen.dispatch_counts[s].tolist() == counts
        assert seen.dispatch_entropy[s].item() == pytest.approx(
            reference.dispatch_entropy(counts)
        )
        assert seen.accuracy[s].item() == reference.accuracy(output, data.y[s])
        assert seen.loss[s].item() == pytest.approx(
            reference.loss(output, data.y[s]).item()
        )


def test_evaluation_of_a_single_expert_has_no_dispatch():
    seen = evaluate(single(dim=8), toy_data([0]))
    assert seen.expert_index is seen.dispatch_counts is seen.dispatch_entropy is None
    assert seen.accuracy.shape == seen.loss.shape == (1,)


def test_evaluation_changes_nothing_and_carries_no_gradient():
    model, data = moe(dim=8), toy_data([0])
    before = model.expert_weight.detach().clone()
    assert not evaluate(model, data).loss.requires_grad
    assert torch.equal(model.expert_weight, before)
    assert model.expert_weight.grad is None
