"""What the weights have learned, against loops."""

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import mutual_info_score

from moe_lib import ModelConfig, MoE, PatchDataset, stack_runs
from moe_lib.data import PatchRole
from moe_lib.diagnostics import (
    GROUPS,
    accuracy_when_hidden,
    alignments,
    expert_accuracy,
    information,
    majority_cluster,
    specialists,
)
from tests import reference
from tests.toys import data_config, draw, integers, moe, normal

CONFIG = data_config(num_clusters=3, dim=7)


def toy(shared, runs=2):
    parts = [draw(CONFIG, 30, seed) for seed in range(runs)]
    data = parts[0] if shared else stack_runs(parts)
    return data.to(torch.float64), moe(runs=runs, experts=4, dim=7)


def of_run(tensor, run, shared):
    return tensor if shared else tensor[run]


@pytest.mark.parametrize("shared", [True, False])
def test_alignments_equal_the_loop(shared):
    data, model = toy(shared)
    got = alignments(model, data.signals)
    for s in range(2):
        v = of_run(data.signals.feature, s, shared)
        c = of_run(data.signals.center, s, shared)
        for m in range(4):
            filters, theta = model.expert_weight[s, m], model.router_weight[s, :, m]
            for k in range(3):
                best = max((w * v[k]).sum().item() for w in filters)
                toward_c = (theta * c[k]).sum().item()
                toward_v = (theta * v[k]).sum().item()
                assert got.expert_feature[s, m, k].item() == pytest.approx(best)
                assert got.router_center[s, m, k].item() == pytest.approx(toward_c)
                assert got.router_feature[s, m, k].item() == pytest.approx(toward_v)


def test_alignments_carry_no_gradient():
    data, model = toy(shared=True)
    assert not alignments(model, data.signals).expert_feature.requires_grad


def test_specialists_go_by_the_signed_maximum():
    expert_feature = torch.tensor([[[-9.0, 0.1, 0.2], [0.3, -0.5, 0.2]]])
    assert specialists(expert_feature).tolist() == [[2, 0]]


def test_majority_cluster_names_the_largest_share_and_idle_experts():
    counts = torch.tensor([[[5, 0, 0, 1], [2, 0, 7, 3]]])
    assert majority_cluster(counts).tolist() == [[0, -1, 1, 1]]


def groups_by_name(data):
    """What each example is, as tuples."""
    rows = zip(
        *(
            t.int().tolist()
            for t in (data.cluster, data.y, data.noise_cluster, data.noise_sign)
        ),
        strict=True,
    )
    parts = {
        "cluster": slice(0, 1),
        "label": slice(1, 2),
        "cluster and label": slice(0, 2),
        "noise": slice(2, 4),
        "all four": slice(0, 4),
    }
    rows = [*rows]
    return {name: [str(row[part]) for row in rows] for name, part in parts.items()}


@pytest.mark.parametrize("shared", [True, False])
def test_information_equals_that_of_sklearn(shared):
    parts = [draw(CONFIG, 90, seed) for seed in range(2)]
    data = parts[0] if shared else stack_runs(parts)
    # a choice that is made of all four and of chance
    index = integers(3, 2, 90)
    for run in range(2):
        of_run = parts[0] if shared else parts[run]
        index[run] += of_run.cluster + (of_run.y > 0) * 2
        index[run] += of_run.noise_cluster * (of_run.noise_sign > 0)
    told = information(data, index, 9)
    assert tuple(told) == GROUPS
    for run in range(2):
        groups = groups_by_name(parts[0] if shared else parts[run])
        for name in GROUPS:
            slow = mutual_info_score(groups[name], index[run].tolist())
            assert told[name][run].item() == pytest.approx(slow, abs=1e-12)
    assert all(value.shape == (2,) for value in told.values())


def test_information_of_pure_choices():
    data = draw(CONFIG, 90)
    same = information(data, torch.zeros(1, 90, dtype=torch.long), 1)
    assert [value.item() for value in same.values()] == pytest.approx([0] * 5)
    label = (data.y > 0).long()
    told = information(data, label[None], 2)
    share = label.double().mean()
    entropy = -(share * share.log() + (1 - share) * (1 - share).log()).item()
    for name in ("label", "cluster and label", "all four"):
        assert told[name].item() == pytest.approx(entropy)
    assert max(told["cluster"].item(), told["noise"].item()) < 0.1


@pytest.mark.parametrize("unknown", ["cluster", "noise_cluster", "noise_sign"])
def test_information_needs_clusters_and_noise(unknown):
    data = replace(draw(CONFIG, 5), **{unknown: None})
    message = r"^data must know their clusters and noise, got None$"
    with pytest.raises(ValueError, match=message):
        information(data, torch.zeros(1, 5, dtype=torch.long), 2)


def test_information_refuses_an_expert_that_is_none():
    index = torch.full((1, 5), 2)
    with pytest.raises(ValueError, match=r"^expert_index must lie in \[0, 2\), got"):
        information(draw(CONFIG, 5), index, 2)


@pytest.mark.parametrize("shared", [True, False])
def test_expert_accuracy_equals_the_loop(shared):
    data, model = toy(shared)
    got = expert_accuracy(model, data)
    assert got.shape == (2, 4, 3)
    for s in range(2):
        x, y, cluster = (of_run(t, s, shared) for t in (data.x, data.y, data.cluster))
        for m in range(4):
            output = reference.single_outputs(
                x, model.expert_weight[s, m].detach(), "cubic"
            )
            for k in range(3):
                member = cluster == k
                slow = reference.accuracy(output[member], y[member])
                assert got[s, m, k].item() == pytest.approx(slow)


def test_expert_accuracy_on_a_cluster_without_examples_is_nan():
    data, model = toy(shared=True)
    few = data.head(1)
    seen = int(few.cluster)
    known = expert_accuracy(model, few).isfinite()
    assert known[..., seen].all()
    assert known.sum() == known[..., seen].numel()


def test_expert_accuracy_needs_clusters():
    data = PatchDataset.from_tensors(normal(3, 4, 7), torch.tensor([1, 0, 1]))
    with pytest.raises(ValueError, match=r"^data must have cluster ids, got cluster="):
        expert_accuracy(moe(dim=7), data)


@pytest.mark.parametrize("part", ["router", "experts"])
def test_hiding_a_patch_equals_a_loop_that_skips_it(part):
    data = draw(data_config(num_patches=4, dim=8), 40)
    model = MoE(ModelConfig(num_experts=3, num_filters=2), dim=8, seeds=[1])
    with torch.no_grad():
        model.router_weight += normal(1, 8, 3, seed=5).float()
    right = 0
    for i in range(len(data)):
        shown = [p for p in range(4) if data.patch_role[i, p] != PatchRole.CENTER]
        by_router, by_experts = data.x[i][shown], data.x[i]
        if part == "experts":
            by_router, by_experts = by_experts, by_router
        m = (by_router.sum(0) @ model.router_weight[0]).argmax()
        output = ((by_experts @ model.expert_weight[0, m].T) ** 3).sum()
        right += bool(data.y[i] * output > 0)
    found = accuracy_when_hidden(model, data, PatchRole.CENTER, hidden_from=part)
    assert found.tolist() == [right / len(data)]


def test_hiding_needs_roles_and_a_known_part():
    data = draw(data_config(num_clusters=2, dim=8), 4)
    model = MoE(ModelConfig(num_experts=3), dim=8, seeds=[1])
    with pytest.raises(ValueError, match=r"^hidden_from must be one of router, exp"):
        accuracy_when_hidden(model, data, PatchRole.CENTER, hidden_from="both")
    bare = replace(data, patch_role=None)
    with pytest.raises(ValueError, match=r"^data must have patch roles, got patch_"):
        accuracy_when_hidden(model, bare, PatchRole.CENTER, hidden_from="router")
