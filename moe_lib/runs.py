"""The four models of the main table, and one of them trained with several seeds.

Axes: T steps, S runs, n examples, K clusters, M experts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from moe_lib.checks import check_choice, check_device, check_seeds
from moe_lib.config import DataConfig, ModelConfig, TrainConfig
from moe_lib.data import PatchDataset, PatchRole, make_split, stack_runs
from moe_lib.diagnostics import (
    accuracy_when_hidden,
    alignments,
    majority_cluster,
    specialists,
)
from moe_lib.fused import fastest
from moe_lib.model import ModelOutput, MoE, SingleExpert
from moe_lib.train import Evaluation, evaluate

CURVE_EVERY = 10  # steps between two points of a stored curve


@dataclass(frozen=True)
class Spec:
    """A model and how it is trained."""

    model_class: type[MoE] | type[SingleExpert]
    model: ModelConfig
    train: TrainConfig


# Singles have as many filters as all experts of a mixture together: 8 x 16 = 128.
MODELS: Mapping[str, Spec] = MappingProxyType(
    {
        "single_linear": Spec(
            SingleExpert,
            ModelConfig(num_filters=128, activation="linear"),
            TrainConfig(steps=600),
        ),
        "single_cubic": Spec(
            SingleExpert,
            ModelConfig(num_filters=128, activation="cubic"),
            TrainConfig(steps=600),
        ),
        "moe_linear": Spec(
            MoE, ModelConfig(activation="linear"), TrainConfig(steps=1000)
        ),
        "moe_cubic": Spec(MoE, ModelConfig(activation="cubic"), TrainConfig(steps=600)),
    }
)


@dataclass(frozen=True)
class ModelRun:
    """One model, trained with several seeds.

    Attributes
    ----------
    model : str
        A key of :data:`MODELS`.
    config : dict
        The configuration, as plain values.
    rows : list of dict
        One for each seed: test and train accuracy in percent and test loss; for a
        mixture also, on the test set without routing noise, the dispatch entropy in
        nats, the dispatch counts [K, M], the cluster that each expert took (-1: none)
        and the one that its initial weights foretold, and the test accuracy when the
        cluster-centre patch is hidden from the router or from the experts.
    curves : dict
        ``step``, and at each of these steps a value for each seed: ``test_accuracy``
        in percent, for a mixture ``dispatch_entropy`` (test set), and ``train_loss``
        (at all but the last, after which no step is taken).
    """

    model: str
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    curves: dict[str, list]

    def summary(self) -> dict[str, Any]:
        """Return mean and standard deviation (ddof 0, as in the paper) over seeds."""
        summary: dict[str, Any] = {"model": self.model}
        for name in ("test_accuracy", "dispatch_entropy"):
            values = [row[name] for row in self.rows if name in row]
            known = torch.tensor(values, dtype=torch.float64)
            summary[f"{name}_mean"] = known.mean().item() if values else None
            summary[f"{name}_sd"] = known.std(correction=0).item() if values else None
        return summary


def data_of_runs(
    config: DataConfig, seeds: Sequence[int], device: str
) -> tuple[PatchDataset, PatchDataset]:
    """Draw training and test data for each seed and stack them on ``device``."""
    check_seeds(seeds)
    train_data, test_data = (
        stack_runs([make_split(config, seed, split) for seed in seeds]).to(device)
        for split in ("train", "test")
    )
    return train_data, test_data


def rounded(values: torch.Tensor, digits: int = 4) -> list[float]:
    """Return the values as plain numbers of few digits."""
    return [round(value, digits) for value in values.tolist()]


class _Curves:
    """A training callback that evaluates the test set every few steps."""

    def __init__(self, test_data: PatchDataset, last_step: int) -> None:
        self.test_data, self.last_step = test_data, last_step
        self.points: dict[str, list] = {"step": [], "test_accuracy": []}

    def __call__(
        self, step: int, model: MoE | SingleExpert, _: ModelOutput | None
    ) -> None:
        if step % CURVE_EVERY and step != self.last_step:
            return
        seen = evaluate(model, self.test_data)
        self.points["step"].append(step)
        self.points["test_accuracy"].append(rounded(100 * seen.accuracy))
        if seen.dispatch_entropy is not None:
            entropies = self.points.setdefault("dispatch_entropy", [])
            entropies.append(rounded(seen.dispatch_entropy))


def rows_of(
    seeds: Sequence[int], test: Evaluation, train_accuracy: torch.Tensor
) -> list[dict[str, Any]]:
    """Return one row for each seed: see :class:`ModelRun`."""
    rows: list[dict[str, Any]] = [
        {"seed": seed, "test_accuracy": a, "train_accuracy": b, "test_loss": c}
        for seed, a, b, c in zip(
            seeds,
            rounded(100 * test.accuracy),
            rounded(100 * train_accuracy),
            rounded(test.loss, 6),
            strict=True,
        )
    ]
    if test.dispatch_counts is not None and test.dispatch_entropy is not None:
        took = majority_cluster(test.dispatch_counts).tolist()
        for run, row in enumerate(rows):
            row["dispatch_entropy"] = round(test.dispatch_entropy[run].item(), 6)
            row["dispatch_counts"] = test.dispatch_counts[run].tolist()
            row["expert_cluster"] = took[run]
    return rows


def train_model(
    name: str,
    data_config: DataConfig,
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    device: str = "cpu",
) -> ModelRun:
    """Train one of :data:`MODELS` with several seeds, each on data of its own.

    Parameters
    ----------
    name : str
        ``single_linear``, ``single_cubic``, ``moe_linear`` or ``moe_cubic``.
    data_config : DataConfig
        The setting.
    seeds : sequence of int
        Seed s draws signals, examples, initial weights and routing noise of run s.
    steps : int, optional
        Instead of the model's own number of steps.
    device : str
        ``cpu`` or ``cuda``.

    Raises
    ------
    ValueError
        If the model is unknown or the device is not available.
    """
    check_choice("name", name, tuple(MODELS))
    check_device(device)
    spec = MODELS[name]
    train_config = spec.train if steps is None else replace(spec.train, steps=steps)
    model = spec.model_class(spec.model, dim=data_config.dim, seeds=seeds).to(device)
    train_data, test_data = data_of_runs(data_config, seeds, device)
    foretold = None
    if isinstance(model, MoE) and train_data.signals is not None:
        initial = alignments(model, train_data.signals)
        foretold = specialists(initial.expert_feature).tolist()

    curves = _Curves(test_data, train_config.steps)
    fit = fastest(model, train_data)
    history = fit(model, train_data, train_config, callback=curves)
    rows = rows_of(
        seeds, evaluate(model, test_data), evaluate(model, train_data).accuracy
    )
    if isinstance(model, MoE) and foretold is not None:
        for part in ("router", "experts"):
            left = accuracy_when_hidden(
                model, test_data, PatchRole.CENTER, hidden_from=part
            )
            for row, value in zip(rows, rounded(100 * left), strict=True):
                row[f"center_hidden_from_{part}"] = value
        for row, clusters in zip(rows, foretold, strict=True):
            row["foretold_cluster"] = clusters
    config = {
        "data": asdict(data_config),
        "model": asdict(spec.model),
        "train": asdict(train_config),
    }
    losses = [rounded(loss) for loss in history.loss[::CURVE_EVERY]]
    return ModelRun(name, config, rows, {**curves.points, "train_loss": losses})
