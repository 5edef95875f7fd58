"""The network and the loss of a recipe: the paper's, the authors', or in between.

Axes: S runs, n examples, P patches, d dimensions, M experts, J filters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from moe_lib.authors import Recipe
from moe_lib.checks import check_int, check_seeds, check_shape
from moe_lib.config import ModelConfig
from moe_lib.data import PatchDataset
from moe_lib.experts import routed_expert_outputs
from moe_lib.losses import load_balancing_loss
from moe_lib.rng import generator

ODD = ("linear", "cubic", "tanh")  # activations with sigma(-z) = -sigma(z)


@dataclass(frozen=True, eq=False)
class RecipeOutput:
    """What the network of a recipe returns.

    Attributes
    ----------
    output : Tensor
        F, shape [S, n]: with two heads, the second minus the first.
    scores : Tensor or None
        h + r, shape [S, n, M]; None for a single expert.
    expert_index : Tensor or None
        The chosen expert, shape [S, n].
    """

    output: Float[Tensor, "S n"]
    scores: Float[Tensor, "S n M"] | None
    expert_index: Int[Tensor, "S n"] | None


class RecipeModel(nn.Module):
    """A mixture or a single expert with the switches of a recipe.

    Parameters
    ----------
    recipe : Recipe
        Its ``heads``, ``gate``, ``bias``, ``init``, ``init_scale`` and ``data_scale``
        are read.
    config : ModelConfig
        Sizes and activation; its ``init_scale`` is not read.
    dim : int
        d, the length of a patch.
    seeds : sequence of int
        One for each run; a run depends on its own seed only.
    single : bool
        One expert and no router.

    Attributes
    ----------
    weight : Parameter
        Shape [S, M, J, d].
    bias : Parameter or None
        Shape [S, M, J].
    router_weight : Parameter or None
        Shape [S, d, M]; None for a single expert.

    Raises
    ------
    TypeError, ValueError
        If ``recipe`` is none, two heads cannot have as many filters each, or a single
        expert is asked for what a router does.
    """

    def __init__(
        self,
        recipe: Recipe,
        config: ModelConfig,
        *,
        dim: int,
        seeds: Sequence[int],
        single: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(recipe, Recipe):
            raise TypeError(f"recipe must be a Recipe, got {type(recipe).__name__}")
        check_seeds(seeds)
        check_int("dim", dim, at_least=1)
        if single and (recipe.gate, recipe.load_balancing) != ("softmax", 0):
            raise ValueError(
                "gate must be softmax and load_balancing 0 for a single expert (it "
                f"has no router), got {recipe.gate!r} and {recipe.load_balancing}"
            )
        if config.num_filters % recipe.heads:
            raise ValueError(
                f"num_filters must be even for two heads, got {config.num_filters}"
            )
        self.recipe, self.config, self.seeds = recipe, config, tuple(seeds)
        num_experts = 1 if single else config.num_experts

        def draw(source: torch.Generator, *shape: int) -> Tensor:
            if recipe.init == "normal":
                return torch.randn(shape, generator=source) * recipe.init_scale
            uniform = 2 * torch.rand(shape, generator=source) - 1
            return uniform * (recipe.init_scale / dim**0.5)

        sources = [generator(seed, "init") for seed in seeds]
        sizes = (num_experts, config.num_filters)
        self.weight = nn.Parameter(torch.stack([draw(s, *sizes, dim) for s in sources]))
        biases = [draw(s, *sizes) for s in sources] if recipe.bias else None
        self.bias = None if biases is None else nn.Parameter(torch.stack(biases))
        theta = torch.zeros(len(self.seeds), dim, num_experts)
        self.router_weight = None if single else nn.Parameter(theta)

    def inputs(self, data: PatchDataset) -> tuple[Tensor, Tensor]:
        """Return what experts and router read: scaled patches, and their sums.

        Raises
        ------
        ValueError
            If the patches of ``data`` are not as long as the filters, or the data are
            of another number of runs.
        """
        num_runs, _, _, dim = self.weight.shape
        runs = () if data.x.dim() == 3 else (num_runs,)
        check_shape("x of data", data.x, (*runs, *data.x.shape[-3:-1], dim))
        x, patch_sum = data.x * self.recipe.data_scale, data.patch_sum
        patch_sum = patch_sum * self.recipe.data_scale
        num_patches = x.shape[-2]
        if self.config.activation == "linear":  # it sees the sum of the patches only
            x = patch_sum.unsqueeze(-2)
        if self.bias is not None:  # a bias is the weight of one more coordinate
            one = float(num_patches) if self.config.activation == "linear" else 1.0
            x = torch.cat([x, x.new_full((*x.shape[:-1], 1), one)], dim=-1)
        return x, patch_sum

    def forward(
        self,
        x: Float[Tensor, "*runs n P inputs"],
        patch_sum: Float[Tensor, "*runs n d"],
        router_noise: Float[Tensor, "S n M"] | None = None,
    ) -> RecipeOutput:
        """Route each example and return its gated output.

        Parameters
        ----------
        x, patch_sum : Tensor
            From :meth:`inputs`: with biases, patches have d + 1 coordinates.
        router_noise : Tensor, optional
            r, shape [S, n, M].
        """
        if self.router_weight is None:
            n = x.shape[-3]
            index = torch.zeros(len(self.seeds), n, dtype=torch.long, device=x.device)
            return RecipeOutput(self._experts(x, index), None, None)
        num_runs, _, num_experts = self.router_weight.shape
        check_shape("router_noise", router_noise, (num_runs, x.shape[-3], num_experts))
        logits = patch_sum @ self.router_weight
        scores = logits if router_noise is None else logits + router_noise
        index = scores.detach().argmax(dim=-1)
        gate = {
            "softmax": lambda: logits.softmax(dim=-1),
            "noisy_softmax": lambda: scores.softmax(dim=-1),
            "noisy_logit": lambda: scores,
        }[self.recipe.gate]()
        gate_value = gate.gather(-1, index[..., None]).squeeze(-1)
        return RecipeOutput(gate_value * self._experts(x, index), scores, index)

    def _experts(self, x: Tensor, index: Tensor) -> Tensor:
        name = self.config.activation
        weight: Tensor = self.weight
        if self.bias is not None:
            weight = torch.cat([weight, self.bias[..., None]], dim=-1)
        if self.recipe.heads == 1:
            return routed_expert_outputs(x, weight, index, name)
        first, second = weight.chunk(2, dim=2)
        if name in ODD:  # -sigma(z) = sigma(-z), so two heads are one with other signs
            weight = torch.cat([-first, second], dim=2)
            return routed_expert_outputs(x, weight, index, name)
        negative = routed_expert_outputs(x, first.contiguous(), index, name)
        positive = routed_expert_outputs(x, second.contiguous(), index, name)
        return positive - negative


def recipe_loss(
    recipe: Recipe, output: Float[Tensor, "S n"], y: Float[Tensor, "*runs n"]
) -> Float[Tensor, " S"]:
    """Return the mean loss of each run.

    With two heads o, F is their difference, the cross entropy is log(1 + exp(-yF)), and
    softmax(o) differs by tanh(F / 2): taken for logits, it gives the double softmax.
    """
    margin = y * output
    if recipe.loss == "double_softmax":
        return softplus(-torch.tanh(margin / 2)).mean(dim=-1)
    return -logsigmoid(margin).mean(dim=-1)


def load_balancing_term(
    scores: Float[Tensor, "S n M"], expert_index: Int[Tensor, "S n"]
) -> Float[Tensor, " S"]:
    """Return M sum_m (share of the examples of m) (mean score of m), for each run.

    References
    ----------
    The code of Chen et al. (2022): noisy logits stand where the Switch Transformer has
    probabilities.
    """
    return load_balancing_loss(scores, expert_index)
