"""Algorithm 1: full-batch training, and the evaluation of what came out.

Axes: T steps, S runs, n examples, K clusters, M experts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from moe_lib import metrics
from moe_lib.config import TrainConfig
from moe_lib.data import PatchDataset
from moe_lib.losses import logistic_loss
from moe_lib.model import ModelOutput, MoE, SingleExpert
from moe_lib.optim import NormalizedGD
from moe_lib.router import sample_router_noise

Callback = Callable[[int, MoE | SingleExpert, ModelOutput | None], None]


@dataclass(frozen=True, eq=False)
class History:
    """What training saw at each step t, before the step was taken.

    All of it is measured on the training set under that step's routing noise.

    Attributes
    ----------
    loss, accuracy : Tensor
        Shape [T, S].
    dispatch_counts : Tensor or None
        Examples of cluster k sent to expert m, shape [T, S, K, M]; None for a single
        expert, or where clusters are unknown.
    """

    loss: Float[Tensor, "T S"]
    accuracy: Float[Tensor, "T S"]
    dispatch_counts: Int[Tensor, "T S K M"] | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a model does on a data set, without routing noise.

    Attributes
    ----------
    loss, accuracy : Tensor
        Shape [S].
    expert_index : Tensor or None
        The chosen expert, shape [S, n]; None for a single expert.
    dispatch_counts : Tensor or None
        Shape [S, K, M]; None for a single expert, or where clusters are unknown.
    """

    loss: Float[Tensor, " S"]
    accuracy: Float[Tensor, " S"]
    expert_index: Int[Tensor, "S n"] | None
    dispatch_counts: Int[Tensor, "S K M"] | None

    @property
    def dispatch_entropy(self) -> Float[Tensor, " S"] | None:
        """H(cluster | expert) in nats, or None where there are no counts."""
        if self.dispatch_counts is None:
            return None
        return metrics.dispatch_entropy(self.dispatch_counts)


def cluster_counts(
    data: PatchDataset, expert_index: Int[Tensor, "S n"] | None, num_experts: int
) -> Int[Tensor, "S K M"] | None:
    """Count the examples of each cluster at each expert; None if either is unknown."""
    if expert_index is None or data.cluster is None or data.num_clusters is None:
        return None
    return metrics.dispatch_counts(
        data.cluster,
        expert_index,
        num_groups=data.num_clusters,
        num_experts=num_experts,
    )


def _counts(
    model: MoE | SingleExpert, data: PatchDataset, out: ModelOutput
) -> Tensor | None:
    index = None if out.routing is None else out.routing.expert_index
    return cluster_counts(data, index, model.config.num_experts)


def algorithm_1(
    model: MoE | SingleExpert, config: TrainConfig
) -> list[torch.optim.Optimizer]:
    """Return the paper's optimisers: normalised GD for experts, plain GD for routers.

    References
    ----------
    Chen et al. (2022), Algorithm 1.
    """
    optimizers: list[torch.optim.Optimizer] = [
        NormalizedGD([model.expert_weight], lr=config.expert_lr)
    ]
    if isinstance(model, MoE):
        optimizers.append(torch.optim.SGD([model.router_weight], lr=config.router_lr))
    return optimizers


def train(
    model: MoE | SingleExpert,
    data: PatchDataset,
    config: TrainConfig,
    *,
    optimizers: Sequence[torch.optim.Optimizer] | None = None,
    callback: Callback | None = None,
) -> History:
    """Train all runs of ``model`` in place by full-batch steps.

    Parameters
    ----------
    model : MoE or SingleExpert
        Its ``seeds`` also seed the routing noise, fresh at every step. A second call
        trains on, but draws the same noise again from its start.
    data : PatchDataset
        Training set on the model's device: shared, or one for each run.
    config : TrainConfig
        Steps and learning rates.
    optimizers : sequence of torch.optim.Optimizer, optional
        Instead of those of Algorithm 1 (then the learning rates are not read).
    callback : callable, optional
        Called as ``callback(step, model, model_output)`` before each step and once
        after the last one, as ``callback(steps, model, None)``.

    Returns
    -------
    History
        Loss, accuracy and dispatch before each step, on the CPU.

    References
    ----------
    Chen et al. (2022), Algorithm 1.
    """
    optimizers = algorithm_1(model, config) if optimizers is None else optimizers
    losses, accuracies, counts, noise = [], [], [], None
    name = f"{type(model).__name__}, {model.config.activation}"
    for step in tqdm(range(config.steps), desc=name, leave=False, disable=None):
        if isinstance(model, MoE):
            noise = sample_router_noise(
                len(data),
                model.config.num_experts,
                seeds=model.seeds,
                step=step,
                out=noise,
                device=data.x.device,
            )
            moved = noise.to(data.x)
            out = model(data.x, patch_sum=data.patch_sum, router_noise=moved)
        else:
            out = model(data.x, patch_sum=data.patch_sum)
        loss = logistic_loss(out.output, data.y)
        losses.append(loss.detach())
        accuracies.append(metrics.accuracy(out.output.detach(), data.y))
        dispatched = _counts(model, data, out)
        if dispatched is not None:
            counts.append(dispatched)
        if callback is not None:
            callback(step, model, out)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    if callback is not None:
        callback(config.steps, model, None)
    return History(
        loss=torch.stack(losses).cpu(),
        accuracy=torch.stack(accuracies).cpu(),
        dispatch_counts=torch.stack(counts).cpu() if counts else None,
    )


@torch.no_grad()
def evaluate(model: MoE | SingleExpert, data: PatchDataset) -> Evaluation:
    """Evaluate all runs on ``data`` without routing noise, as at test time."""
    out = model(data.x, patch_sum=data.patch_sum)
    counts = _counts(model, data, out)
    return Evaluation(
        loss=logistic_loss(out.output, data.y).cpu(),
        accuracy=metrics.accuracy(out.output, data.y).cpu(),
        expert_index=None if out.routing is None else out.routing.expert_index.cpu(),
        dispatch_counts=None if counts is None else counts.cpu(),
    )
