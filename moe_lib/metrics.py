"""Numbers that describe a trained model: pure functions of tensors.

Axes: S runs, n examples, K clusters (or any other grouping), M experts.
"""

from math import log

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from moe_lib.checks import check_index, check_int

TINY = torch.finfo(torch.double).tiny  # in place of a sum of nothing


def accuracy(
    output: Float[Tensor, "S n"], y: Float[Tensor, "*runs n"]
) -> Float[Tensor, " S"]:
    """Return the fraction of examples with y F(x) > 0; an output of 0 is an error.

    References
    ----------
    Chen et al. (2022), Theorem 4.1 counts y F(x) <= 0 as the error.
    """
    return (y * output > 0).double().mean(dim=-1)


def dispatch_counts(
    group: Int[Tensor, "*runs n"],
    expert_index: Int[Tensor, "S n"],
    *,
    num_groups: int,
    num_experts: int,
) -> Int[Tensor, "S K M"]:
    """Count the examples of each group that go to each expert.

    Parameters
    ----------
    group : Tensor
        Group (usually the cluster) in [0, num_groups) of each example, [n] or [S, n].
    expert_index : Tensor
        Expert in [0, num_experts) of each example, shape [S, n].
    num_groups, num_experts : int
        K and M.

    Raises
    ------
    ValueError
        If an index is out of its range.
    """
    check_int("num_groups", num_groups, at_least=1)
    check_int("num_experts", num_experts, at_least=1)
    check_index("group", group, num_groups)
    check_index("expert_index", expert_index, num_experts)
    num_runs = expert_index.shape[0]
    run = torch.arange(num_runs, device=expert_index.device)[:, None]
    cell = (run * num_groups + group) * num_experts + expert_index
    counts = torch.bincount(
        cell.flatten(), minlength=num_runs * num_groups * num_experts
    )
    return counts.view(num_runs, num_groups, num_experts)


def _entropy_of_rows(counts: Float[Tensor, "... K"]) -> Float[Tensor, "..."]:
    share = counts / counts.sum(dim=-1, keepdim=True).clamp(min=TINY)
    return -torch.xlogy(share, share).sum(dim=-1)


def dispatch_entropy(counts: Real[Tensor, "*S K M"]) -> Float[Tensor, "*S"]:
    """Return H(cluster | expert) in nats: how mixed each expert's examples are.

    It lies in [0, ln K], and is 0 exactly when every expert in use receives a single
    cluster. Several experts may share a cluster at no cost.

    Parameters
    ----------
    counts : Tensor
        Examples of cluster k sent to expert m, or their shares, shape [..., K, M].

    References
    ----------
    Chen et al. (2022), equation (6.1).
    """
    counts = counts.double()
    load = counts.sum(dim=-2)
    share = load / load.sum(dim=-1, keepdim=True).clamp(min=TINY)
    return (share * _entropy_of_rows(counts.mT)).sum(dim=-1)


def turn_step(entropy: Float[Tensor, "T ..."], num_clusters: int) -> Int[Tensor, "..."]:
    """Return the first step at which the entropy is below half of ln K; T if none is.

    Parameters
    ----------
    entropy : Tensor
        Dispatch entropy under noise at each step, shape [T, ...].
    num_clusters : int
        K.

    References
    ----------
    Ours: what the book calls the turn of the router.
    """
    low = entropy < log(num_clusters) / 2
    return torch.where(low.any(dim=0), low.int().argmax(dim=0), len(entropy))


def mutual_information(counts: Int[Tensor, "*S K M"]) -> Float[Tensor, "*S"]:
    """Return I(group; expert) in nats: what the chosen expert tells of the group.

    Parameters
    ----------
    counts : Tensor
        Examples of group k sent to expert m, shape [..., K, M].
    """
    group_entropy = _entropy_of_rows(counts.double().sum(dim=-1))
    return group_entropy - dispatch_entropy(counts)
