"""Train a mixture or a single expert as a recipe says, and evaluate it.

Axes: T steps, S runs, n examples, M experts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from moe_lib import metrics
from moe_lib.authors import Recipe
from moe_lib.authors_model import (
    RecipeModel,
    RecipeOutput,
    load_balancing_term,
    recipe_loss,
)
from moe_lib.data import PatchDataset
from moe_lib.router import sample_router_noise
from moe_lib.train import cluster_counts

STOP_LOSS, STOP_RISE, LATE = 0.314, 0.02, 500  # of the early stop


@dataclass(frozen=True, eq=False)
class RecipeHistory:
    """What training saw at each step, before the step was taken.

    Attributes
    ----------
    loss : Tensor
        Shape [T, S]; after a run has stopped, its last value is repeated.
    dispatch_entropy : Tensor or None
        Of the training set under that step's noise, in nats, shape [T, S], likewise;
        None for a single expert or where clusters are unknown.
    steps : Tensor
        The steps that each run took, shape [S].
    """

    loss: Float[Tensor, "T S"]
    dispatch_entropy: Float[Tensor, "T S"] | None
    steps: Int[Tensor, " S"]


Callback = Callable[[int, RecipeModel, RecipeOutput], None]


def train_recipe(
    model: RecipeModel, data: PatchDataset, *, callback: Callback | None = None
) -> RecipeHistory:
    """Train all runs of ``model`` in place as its recipe says.

    Parameters
    ----------
    model : RecipeModel
        Its ``seeds`` also seed the routing noise.
    data : PatchDataset
        Training set on the model's device: shared, or one for each run.
    callback : callable, optional
        Called as ``callback(step, model, output)`` before each step.

    References
    ----------
    Chen et al. (2022), Algorithm 1, and the code published with it.
    """
    recipe = model.recipe
    x, patch_sum = model.inputs(data)
    tensors = [p for p in (model.weight, model.bias) if p is not None]
    adam = None
    if recipe.adam:
        decay = recipe.weight_decay
        adam = torch.optim.Adam(tensors, lr=recipe.expert_lr, weight_decay=decay)
    best = torch.full((len(model.seeds),), float("inf"), device=x.device)
    active = torch.ones_like(best, dtype=torch.bool)
    steps = torch.zeros_like(best, dtype=torch.long)
    losses: list[Tensor] = []
    entropies: list[Tensor] = []
    noise = None
    name = f"recipe, {model.config.activation}"
    for step in tqdm(range(recipe.steps), desc=name, leave=False, disable=None):
        noise = _noise(model, data, step, out=noise)
        out = model(x, patch_sum, None if noise is None else noise.to(x))
        loss = recipe_loss(recipe, out.output, data.y)
        total = loss
        if recipe.load_balancing and out.scores is not None:
            assert out.expert_index is not None
            balance = load_balancing_term(out.scores, out.expert_index)
            total = loss + recipe.load_balancing * balance
        seen = total.detach()
        losses.append(torch.where(active, seen, losses[-1] if losses else seen))
        entropy = _entropy(model, data, out)
        if entropy is not None:
            last = entropies[-1] if entropies else entropy
            entropies.append(torch.where(active, entropy, last))
        if callback is not None:
            callback(step, model, out)
        active = active & ~_stops(recipe, step, seen, best)
        if not active.any():
            break
        best = torch.minimum(best, seen)
        steps += active
        for parameter in model.parameters():
            parameter.grad = None
        total.sum().backward()
        _move(model, adam, active)
    return RecipeHistory(
        loss=_padded(losses, recipe.steps),
        dispatch_entropy=_padded(entropies, recipe.steps) if entropies else None,
        steps=steps.cpu(),
    )


def _padded(values: list[Tensor], num_steps: int) -> Tensor:
    return torch.stack(values + [values[-1]] * (num_steps - len(values))).cpu()


def _noise(
    model: RecipeModel,
    data: PatchDataset,
    step: int,
    out: Tensor | None = None,
    stream: str = "router_noise",
) -> Tensor | None:
    noise = model.recipe.noise
    if noise == "none" or model.router_weight is None:
        return None
    if noise == "fixed" and out is not None:
        return out
    return sample_router_noise(
        len(data),
        model.config.num_experts,
        seeds=model.seeds,
        step=step,
        stream=stream,
        out=out,
        device=data.x.device,
    )


def _entropy(
    model: RecipeModel, data: PatchDataset, out: RecipeOutput
) -> Tensor | None:
    counts = cluster_counts(data, out.expert_index, model.config.num_experts)
    return None if counts is None else metrics.dispatch_entropy(counts)


def _stops(recipe: Recipe, step: int, loss: Tensor, best: Tensor) -> Tensor:
    rises = loss > best + STOP_RISE
    if recipe.early_stop == "floor":
        return (loss > best) & (rises | (loss <= STOP_LOSS))
    late = recipe.early_stop == "late" and step > LATE
    return rises if late else torch.zeros_like(rises)


@torch.no_grad()
def _move(model: RecipeModel, adam: torch.optim.Adam | None, active: Tensor) -> None:
    """Take one step, in the runs that are still active."""
    recipe, weight, bias = model.recipe, model.weight, model.bias
    before = None if active.all() else [p.clone() for p in model.parameters()]
    if adam is not None:
        adam.step()
    else:
        assert weight.grad is not None
        norm = torch.linalg.vector_norm(weight.grad, dim=(-2, -1))
        bias_norm = torch.zeros_like(norm)
        if bias is not None and bias.grad is not None:
            bias_norm = torch.linalg.vector_norm(bias.grad, dim=-1)
        by_weight = by_bias = {
            "frobenius": torch.hypot(norm, bias_norm),
            "sum": norm + bias_norm,
            "per_tensor": norm,
            "none": torch.ones_like(norm),
        }[recipe.norm]
        if recipe.norm == "per_tensor":
            by_bias = bias_norm
        _descend(weight, by_weight[..., None, None], recipe.expert_lr)
        if bias is not None:
            _descend(bias, by_bias[..., None], recipe.expert_lr)
    if model.router_weight is not None:
        assert model.router_weight.grad is not None
        model.router_weight.sub_(model.router_weight.grad, alpha=recipe.router_lr)
    if before is None:
        return
    for parameter, old in zip(model.parameters(), before, strict=True):
        runs = active.view(-1, *[1] * (parameter.dim() - 1))
        parameter.copy_(torch.where(runs, parameter, old))


def _descend(parameter: nn.Parameter, norm: Tensor, lr: float) -> None:
    assert parameter.grad is not None
    step = torch.where(norm > 0, parameter.grad / norm, 0)
    parameter.sub_(step, alpha=lr)


@dataclass(frozen=True, eq=False)
class RecipeEvaluation:
    """How a model does on a data set.

    Attributes
    ----------
    accuracy : Tensor
        Shape [S].
    dispatch_entropy : Tensor or None
        In nats, shape [S]; None for a single expert. Before the router has learned, it
        is far lower without noise than under noise.
    live_experts : Tensor or None
        How many experts get an example, shape [S]; None for a single expert.
    """

    accuracy: Float[Tensor, " S"]
    dispatch_entropy: Float[Tensor, " S"] | None
    live_experts: Int[Tensor, " S"] | None


@torch.no_grad()
def evaluate_recipe(
    model: RecipeModel, data: PatchDataset, *, noisy: bool = False
) -> RecipeEvaluation:
    """Evaluate all runs on ``data``.

    Parameters
    ----------
    model : RecipeModel
    data : PatchDataset
    noisy : bool
        Under routing noise: where the recipe's noise is ``fixed``, that of training,
        row by row, as in the authors' code; otherwise a draw of its own.

    Raises
    ------
    ValueError
        If noise is asked for where the recipe has none.
    """
    if noisy and model.recipe.noise == "none":
        raise ValueError("noisy must be False where the recipe's noise is none")
    stream = "router_noise" if model.recipe.noise == "fixed" else "evaluation_noise"
    noise = _noise(model, data, 0, stream=stream) if noisy else None
    x, patch_sum = model.inputs(data)
    out = model(x, patch_sum, None if noise is None else noise.to(x))
    live = None
    if out.expert_index is not None:
        experts = torch.arange(model.config.num_experts, device=x.device)
        live = (out.expert_index[..., None] == experts).any(dim=1).sum(dim=-1).cpu()
    entropy = _entropy(model, data, out)
    return RecipeEvaluation(
        accuracy=metrics.accuracy(out.output, data.y).cpu(),
        dispatch_entropy=None if entropy is None else entropy.cpu(),
        live_experts=live,
    )
