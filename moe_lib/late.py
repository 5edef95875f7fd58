"""Algorithm 1 without an end: how often, when and why a solved mixture falls apart."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from moe_lib.checks import check_int
from moe_lib.config import ModelConfig, TrainConfig, setting
from moe_lib.data import PatchDataset
from moe_lib.fused import fastest
from moe_lib.model import ModelOutput, MoE, SingleExpert
from moe_lib.runs import data_of_runs, rounded
from moe_lib.train import History, evaluate

START = 300  # steps after which practically every run has solved Setting 1
CHECK_EVERY = 25  # steps between two looks at the test set
FALLEN = 0.99  # test accuracy
WINDOW = 12  # steps that are kept before and after a fall


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Cubic mixtures on Setting 1, trained on from step 300 at other rates.

    All branches start from the same weights, on the same data, and draw the same noise:
    that of steps 0, 1, ... again.

    Attributes
    ----------
    name : str
    expert_lr, router_lr : float
        After step 300; before it they are 0.01 and 1.
    steps : int
        After step 300.
    seeds : int
        How many runs.
    """

    name: str
    expert_lr: float = 0.01
    router_lr: float = 1.0
    steps: int = 1700
    seeds: int = 100

    def __post_init__(self) -> None:
        self.training()
        check_int("seeds", self.seeds, at_least=1)

    def training(self) -> TrainConfig:
        """Return how it goes on after step 300."""
        return TrainConfig(
            steps=self.steps, expert_lr=self.expert_lr, router_lr=self.router_lr
        )

    def run(self, seeds: range, device: str) -> dict[str, list]:
        """Train; return one list of values for each quantity.

        Returns
        -------
        dict of list
            By seed: ``start_accuracy`` and final ``test_accuracy`` in percent,
            ``lowest_accuracy`` on the way, looked at every 25 steps, and ``fell_at``,
            the first step at which the noisy training accuracy is below 99 percent
            (None: never). ``traces`` has an entry for each run that fell, with lists
            over the steps around the fall: ``step``, training ``loss``, ``wrong``
            training examples, ``strays`` (examples away from the expert that most of
            their cluster go to) and ``router_step``, how far the router moved (the
            Frobenius norm).
        """
        model, train_data, test_data = _solved(seeds, device)
        accuracies: list[torch.Tensor] = []
        moved: list[torch.Tensor] = []
        before = model.router_weight.detach().clone()

        def watch(step: int, model: MoE | SingleExpert, _: ModelOutput | None) -> None:
            assert isinstance(model, MoE)
            now = model.router_weight.detach()
            moved.append((now - before).norm(dim=(1, 2)).cpu())
            before.copy_(now)
            if step % CHECK_EVERY == 0 or step == self.steps:
                accuracies.append(100 * evaluate(model, test_data).accuracy)

        fit = fastest(model, train_data)
        history = fit(model, train_data, self.training(), callback=watch)
        test = torch.stack(accuracies)
        fell = [_first_below(run) for run in history.accuracy.T.tolist()]
        return {
            "seed": [*seeds],
            "start_accuracy": rounded(test[0]),
            "test_accuracy": rounded(test[-1]),
            "lowest_accuracy": rounded(test.min(dim=0).values),
            "fell_at": [None if t is None else START + t for t in fell],
            "traces": [
                {"seed": seeds[run], **_trace(history, torch.stack(moved[1:]), run, t)}
                for run, t in enumerate(fell)
                if t is not None and test[0, run] > 100 * FALLEN
            ],
        }


def _first_below(accuracy: list[float]) -> int | None:
    below = np.flatnonzero(np.array(accuracy) < FALLEN)
    return int(below[0]) if len(below) else None


def _trace(history: History, moved: torch.Tensor, run: int, at: int) -> dict[str, list]:
    steps = slice(max(0, at - WINDOW), at + WINDOW)
    assert history.dispatch_counts is not None
    counts = history.dispatch_counts[steps, run]
    n = int(counts[0].sum())
    strays = n - counts.max(dim=-1).values.sum(dim=-1)
    wrong = n * (1 - history.accuracy[steps, run])
    return {
        "step": [START + t for t in range(steps.start, steps.start + len(counts))],
        "loss": [float(f"{loss:.4g}") for loss in history.loss[steps, run].tolist()],
        "wrong": wrong.round().long().tolist(),
        "strays": strays.tolist(),
        "router_step": [float(f"{v:.4g}") for v in moved[steps, run].tolist()],
    }


@lru_cache(maxsize=1)
def _start(
    seeds: range, device: str
) -> tuple[dict[str, torch.Tensor], PatchDataset, PatchDataset]:
    data = setting(1)
    train_data, test_data = data_of_runs(data, seeds, device)
    model = MoE(ModelConfig(), dim=data.dim, seeds=seeds).to(device)
    fastest(model, train_data)(model, train_data, TrainConfig(steps=START))
    return model.state_dict(), train_data, test_data


def _solved(seeds: range, device: str) -> tuple[MoE, PatchDataset, PatchDataset]:
    """Return the mixtures at step 300, as often as they are asked for."""
    state, train_data, test_data = _start(seeds, device)
    model = MoE(ModelConfig(), dim=train_data.x.shape[-1], seeds=seeds).to(device)
    model.load_state_dict(state)
    return model, train_data, test_data


BRANCHES = (
    Branch(name="both go on"),
    Branch(name="router frozen", router_lr=0.0),
    Branch(name="experts frozen", expert_lr=0.0),
    Branch(name="router ten times slower", router_lr=0.1),
    Branch(name="experts ten times slower", expert_lr=1e-3),
)
