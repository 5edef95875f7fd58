"""Mixtures trained in numbers, to test what the theory foretells of them."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from moe_lib.checks import check_int, check_real
from moe_lib.config import DataConfig, ModelConfig, TrainConfig, setting
from moe_lib.data import PatchDataset
from moe_lib.diagnostics import (
    alignments,
    information,
    majority_cluster,
    specialists,
)
from moe_lib.fused import fastest
from moe_lib.metrics import dispatch_entropy, turn_step
from moe_lib.model import ModelOutput, MoE, SingleExpert
from moe_lib.runs import data_of_runs, rounded
from moe_lib.train import evaluate

COMMITTED_AT = 40  # steps: at the usual rates experts have chosen, routing is random
LIVE = 0.01  # least share of the test examples


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Cubic mixtures by Algorithm 1 on Setting 1 or a variant of it.

    Attributes
    ----------
    name : str
        Unique within its experiment.
    num_clusters, dim, num_train : int
        Of the data; 16,000 test examples.
    data_scale : float
        Factor > 0 of all patches.
    num_experts : int
        M, each of 16 filters.
    init_scale, expert_lr, router_lr : float
        As in :class:`moe_lib.config.ModelConfig` and ``TrainConfig``.
    steps : int
        At least 40.
    seeds : int
        How many runs; each seed has data of its own.
    """

    name: str
    num_clusters: int = 4
    dim: int = 50
    num_train: int = 16_000
    data_scale: float = 1.0
    num_experts: int = 8
    init_scale: float = 1e-3
    expert_lr: float = 0.01
    router_lr: float = 1.0
    steps: int = 300
    seeds: int = 200

    def __post_init__(self) -> None:
        check_real("data_scale", self.data_scale, positive=True)
        check_int("seeds", self.seeds, at_least=1)
        check_int("steps", self.steps, at_least=COMMITTED_AT)
        self.data(), self.model(), self.training()

    def data(self) -> DataConfig:
        """Return the distribution of the data."""
        base, c = setting(1), self.data_scale
        return replace(
            base,
            num_clusters=self.num_clusters,
            dim=self.dim,
            num_train=self.num_train,
            alpha=(c * base.alpha[0], c * base.alpha[1]),
            beta=(c * base.beta[0], c * base.beta[1]),
            gamma=(c * base.gamma[0], c * base.gamma[1]),
            sigma_p=c * base.sigma_p,
        )

    def model(self) -> ModelConfig:
        """Return the sizes of the mixture."""
        return ModelConfig(num_experts=self.num_experts, init_scale=self.init_scale)

    def training(self) -> TrainConfig:
        """Return steps and learning rates."""
        return TrainConfig(
            steps=self.steps, expert_lr=self.expert_lr, router_lr=self.router_lr
        )

    def run(self, seeds: range, device: str) -> dict[str, list]:
        """Train; return one list of values for each quantity.

        Returns
        -------
        dict of list
            By seed: ``half_step``, the first step at which the dispatch entropy of the
            training set, under its noise, is below half of ln K (``steps`` if there is
            none); of the test set in the end ``test_accuracy`` in percent and
            ``dispatch_entropy`` in nats. By seed and expert, a cluster: the one that
            the initial weights foretell (``foretold``), the one it points to at step 40
            (``committed``), and the one it gets most examples from in the end
            (``took``; -1 if less than 1 percent of all come to it).
        """
        train_data, test_data = _data(self.data(), seeds, device)
        signals = train_data.signals
        assert signals is not None
        model = MoE(self.model(), dim=self.dim, seeds=seeds).to(device)
        chosen: dict[int, torch.Tensor] = {}

        def watch(step: int, model: MoE | SingleExpert, _: ModelOutput | None) -> None:
            assert isinstance(model, MoE)
            if step in (0, COMMITTED_AT):
                now = alignments(model, signals)
                chosen[step] = specialists(now.expert_feature)

        history = fastest(model, train_data)(
            model, train_data, self.training(), callback=watch
        )
        assert history.dispatch_counts is not None
        noisy = dispatch_entropy(history.dispatch_counts)
        test = evaluate(model, test_data)
        assert test.dispatch_counts is not None
        assert test.dispatch_entropy is not None
        took = majority_cluster(test.dispatch_counts)
        load = test.dispatch_counts.sum(dim=1) / len(test_data)
        return {
            "seed": [*seeds],
            "half_step": turn_step(noisy, self.num_clusters).tolist(),
            "test_accuracy": rounded(100 * test.accuracy),
            "dispatch_entropy": rounded(test.dispatch_entropy),
            "foretold": chosen[0].tolist(),
            "committed": chosen[COMMITTED_AT].tolist(),
            "took": torch.where(load >= LIVE, took, -1).tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class Census:
    """Mixtures of the main table, asked what their router's choice tells.

    Attributes
    ----------
    name : str
        Unique within its experiment.
    setting, activation : str
    steps : int
    seeds : int
        How many runs; each seed has data of its own.
    """

    name: str
    setting: str
    activation: str
    steps: int
    seeds: int = 10

    def __post_init__(self) -> None:
        setting(self.setting), ModelConfig(activation=self.activation)
        TrainConfig(steps=self.steps)
        check_int("seeds", self.seeds, at_least=1)

    def run(self, seeds: range, device: str) -> dict[str, list]:
        """Train; return one list of values for each quantity.

        Returns
        -------
        dict of list
            By seed, of the test set without noise: ``test_accuracy`` in percent and
            ``dispatch_entropy`` in nats; the mutual information, in nats, of the chosen
            expert with each of ``moe_lib.diagnostics.GROUPS``.
        """
        config = setting(self.setting)
        train_data, test_data = _data(config, seeds, device)
        sizes = ModelConfig(activation=self.activation)
        model = MoE(sizes, dim=config.dim, seeds=seeds).to(device)
        plan = TrainConfig(steps=self.steps)
        fastest(model, train_data)(model, train_data, plan)
        test = evaluate(model, test_data)
        assert test.expert_index is not None
        assert test.dispatch_entropy is not None
        return {
            "seed": [*seeds],
            "test_accuracy": rounded(100 * test.accuracy),
            "dispatch_entropy": rounded(test.dispatch_entropy),
            **{
                name: rounded(value)
                for name, value in information(
                    test_data.to("cpu"), test.expert_index, sizes.num_experts
                ).items()
            },
        }


@lru_cache(maxsize=1)  # probes that share data follow one another
def _data(
    config: DataConfig, seeds: range, device: str
) -> tuple[PatchDataset, PatchDataset]:
    return data_of_runs(config, seeds, device)
