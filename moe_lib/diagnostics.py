"""What the weights have learned, read against the signals that made the data.

Axes: S runs, K clusters, M experts, J filters, d dimensions.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moe_lib.checks import check_choice
from moe_lib.data import PatchDataset, PatchRole, Signals
from moe_lib.experts import routed_expert_outputs
from moe_lib.metrics import accuracy, dispatch_counts, mutual_information
from moe_lib.model import MoE
from moe_lib.router import route, router_logits

#: What an expert may tell; "noise" is the cluster and the sign of the feature noise.
GROUPS = ("cluster", "label", "cluster and label", "noise", "all four")
SLICE = 2048  # examples that are worked on at a time


@dataclass(frozen=True, eq=False)
class Alignments:
    """Inner products of weights and signals.

    Attributes
    ----------
    expert_feature : Tensor
        max_j <w_mj, v_k>, signed, shape [S, M, K].
    router_center : Tensor
        <theta_m, c_k>, shape [S, M, K].
    router_feature : Tensor
        <theta_m, v_k>, shape [S, M, K].
    """

    expert_feature: Float[Tensor, "S M K"]
    router_center: Float[Tensor, "S M K"]
    router_feature: Float[Tensor, "S M K"]


@torch.no_grad()
def alignments(model: MoE, signals: Signals) -> Alignments:
    """Measure how far experts and router point along the signals.

    The maximum over filters is signed, as in the definition of the specialist sets:
    a large negative product does not count.

    References
    ----------
    Chen et al. (2022), Section 5 (specialist sets) and the inner-product figures.
    """
    filters = model.expert_weight @ signals.feature.unsqueeze(-3).mT
    theta = model.router_weight.mT
    return Alignments(
        expert_feature=filters.amax(dim=2),
        router_center=theta @ signals.center.mT,
        router_feature=theta @ signals.feature.mT,
    )


def specialists(expert_feature: Float[Tensor, "S M K"]) -> Int[Tensor, "S M"]:
    """Return the cluster k whose signal each expert is best aligned with.

    At initialisation this is the paper's prediction: expert m belongs to M_k.

    References
    ----------
    Chen et al. (2022), Section 5: M_k = {m : argmax_k' max_j <v_k', w_mj> = k}.
    """
    return expert_feature.argmax(dim=-1)


def majority_cluster(counts: Int[Tensor, "S K M"]) -> Int[Tensor, "S M"]:
    """Return the cluster that sends each expert the most examples, -1 if none does."""
    return torch.where(counts.sum(dim=1) > 0, counts.argmax(dim=1), -1)


def information(
    data: PatchDataset, expert_index: Int[Tensor, "S n"], num_experts: int
) -> dict[str, Float[Tensor, " S"]]:
    """Return what the chosen expert tells of an example, in nats.

    Parameters
    ----------
    data : PatchDataset
        Examples of Definition 3.1: clusters, noise clusters and signs are known.
    expert_index : Tensor
        The chosen expert, shape [S, n].
    num_experts : int
        M.

    Returns
    -------
    dict
        Mutual information of the expert with each of :data:`GROUPS`.

    Raises
    ------
    ValueError
        If the data do not know their noise clusters and signs.
    """
    if data.cluster is None or data.noise_cluster is None or data.noise_sign is None:
        raise ValueError("data must know their clusters and noise, got None")
    k = data.num_clusters
    assert k is not None
    label, sign = (data.y > 0).long(), (data.noise_sign > 0).long()
    own, noise = 2 * data.cluster + label, 2 * data.noise_cluster + sign
    groups = (data.cluster, label, own, noise, 2 * k * own + noise)
    sizes = (k, 2, 2 * k, 2 * k, 4 * k * k)
    return {
        name: mutual_information(
            dispatch_counts(
                group, expert_index, num_groups=size, num_experts=num_experts
            )
        )
        for name, group, size in zip(GROUPS, groups, sizes, strict=True)
    }


@torch.no_grad()
def expert_accuracy(model: MoE, data: PatchDataset) -> Float[Tensor, "S M K"]:
    """Return the accuracy of every expert alone on every cluster.

    Raises
    ------
    ValueError
        If the clusters of ``data`` are unknown.
    """
    if data.cluster is None or data.num_clusters is None:
        raise ValueError("data must have cluster ids, got cluster=None")
    num_runs, num_experts = model.expert_weight.shape[:2]
    rows = []
    for expert in range(num_experts):
        output = routed_expert_outputs(
            data.x,
            model.expert_weight[:, expert : expert + 1],
            torch.zeros(num_runs, len(data), dtype=torch.long, device=data.x.device),
            model.config.activation,
        )
        correct = (data.y * output > 0).double()
        member = [(data.cluster == k).double() for k in range(data.num_clusters)]
        rows.append(
            torch.stack([(correct * m).sum(-1) / m.sum(-1) for m in member], dim=-1)
        )
    return torch.stack(rows, dim=1)


@torch.no_grad()
def accuracy_when_hidden(
    model: MoE, data: PatchDataset, role: PatchRole, *, hidden_from: str
) -> Float[Tensor, " S"]:
    """Return the accuracy when one kind of patch is erased for one part of the model.

    Parameters
    ----------
    model : MoE
        A trained mixture.
    data : PatchDataset
        Examples whose patch roles are known.
    role : PatchRole
        What to erase (set to zero).
    hidden_from : str
        ``router``: the experts still see the patch; or ``experts``: the router does.

    Raises
    ------
    ValueError
        If the roles are unknown or ``hidden_from`` is neither of the two.

    References
    ----------
    Ours: an intervention that tells who reads which patch.
    """
    check_choice("hidden_from", hidden_from, ("router", "experts"))
    if data.patch_role is None:
        raise ValueError("data must have patch roles, got patch_role=None")
    parts = zip(
        data.x.split(SLICE, dim=-3),
        data.patch_role.split(SLICE, dim=-2),
        data.y.split(SLICE, dim=-1),
        strict=True,
    )
    correct = torch.zeros(len(model.seeds), dtype=torch.double, device=data.x.device)
    for x, roles, y in parts:  # so that the erased copy stays small
        erased = x.masked_fill((roles == role)[..., None], 0)
        by_router, by_experts = erased, x
        if hidden_from == "experts":
            by_router, by_experts = by_experts, by_router
        routing = route(router_logits(by_router.sum(dim=-2), model.router_weight))
        output = routed_expert_outputs(
            by_experts,
            model.expert_weight,
            routing.expert_index,
            model.config.activation,
        )
        correct += accuracy(routing.gate_value * output, y) * y.shape[-1]
    return correct / len(data)
