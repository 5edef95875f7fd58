"""One function for each table or figure of the paper.

Each docstring gives the command, the run time and what to expect.
Axes: T steps, S runs, n examples, K clusters, M experts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from moe_lib.checks import check_choice, check_device, check_seeds
from moe_lib.config import DataConfig, ModelConfig, TrainConfig
from moe_lib.data import PatchDataset, make_data, stack_runs
from moe_lib.diagnostics import alignments, majority_cluster, specialists
from moe_lib.model import ModelOutput, MoE, SingleExpert
from moe_lib.train import Evaluation, evaluate, train

CURVE_EVERY = 10  # steps between two points of a stored curve
WIDTHS = (80, 128, 512)  # filters of the single experts that the authors compare


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
        and the one that its initial weights foretold.
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
    pairs = [make_data(config, seed) for seed in seeds]
    train_data, test_data = (stack_runs(part) for part in zip(*pairs, strict=True))
    return train_data.to(device), test_data.to(device)


def _rounded(values: torch.Tensor, digits: int = 4) -> list[float]:
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
        self.points["test_accuracy"].append(_rounded(100 * seen.accuracy))
        if seen.dispatch_entropy is not None:
            entropies = self.points.setdefault("dispatch_entropy", [])
            entropies.append(_rounded(seen.dispatch_entropy))


def _rows(
    seeds: Sequence[int], test: Evaluation, train_accuracy: torch.Tensor
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"seed": seed, "test_accuracy": a, "train_accuracy": b, "test_loss": c}
        for seed, a, b, c in zip(
            seeds,
            _rounded(100 * test.accuracy),
            _rounded(100 * train_accuracy),
            _rounded(test.loss, 6),
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
    history = train(model, train_data, train_config, callback=curves)
    rows = _rows(
        seeds, evaluate(model, test_data), evaluate(model, train_data).accuracy
    )
    if foretold is not None:
        for row, clusters in zip(rows, foretold, strict=True):
            row["foretold_cluster"] = clusters
    config = {
        "data": asdict(data_config),
        "model": asdict(spec.model),
        "train": asdict(train_config),
    }
    losses = [_rounded(loss) for loss in history.loss[::CURVE_EVERY]]
    return ModelRun(name, config, rows, {**curves.points, "train_loss": losses})


def four_model_table(
    data_config: DataConfig,
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    device: str = "cpu",
) -> Iterator[ModelRun]:
    """Yield the four rows of the paper's main table, each as soon as it is done.

    Command: ``python -m moe_lib table --setting 1 --seeds 10``.
    Run time: about 1.5 minutes on one H100, RUNTIME on two cores.
    Expect in Setting 1 (accuracy in percent): single linear 65.6, single cubic 65.0,
    linear mixture 97.7 (dispatch entropy 1.23 nats), cubic mixture 100.00 (0.000).

    References
    ----------
    Chen et al. (2022), Section 6, table of Settings 1 to 4. There, single experts are
    trained by Adam; here all four models are trained by Algorithm 1.
    """
    for name in MODELS:
        yield train_model(name, data_config, seeds, steps=steps, device=device)


def single_widths(
    data_config: DataConfig,
    seeds: Sequence[int],
    *,
    steps: int = 800,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Train single experts of growing width by Adam, as the authors do.

    Command: ``python -m moe_lib widths --setting 2 --seeds 10``.
    Run time: about half a minute on one H100, WRUNTIME on two cores.
    Expect in Setting 2, cubic: training accuracy 84, 95 and 99 percent as the width
    grows, test accuracy 52 to 53 percent whatever the width.

    Returns
    -------
    list of dict
        One row for each activation, width and seed: accuracies in percent.

    References
    ----------
    The authors' notebooks: Adam with weight decay 5e-4, learning rate 0.003 (linear)
    or 0.01 (cubic), about 800 full-batch steps, default initial scale. They also
    multiply the data by ten, add biases and use two output heads, which we do not.
    """
    check_device(device)
    train_data, test_data = data_of_runs(data_config, seeds, device)
    default_scale = (3 * data_config.dim) ** -0.5  # sd of Uniform(-1, 1) / sqrt(d)
    rows = []
    for activation, lr in (("linear", 0.003), ("cubic", 0.01)):
        for width in WIDTHS:
            config = ModelConfig(
                num_filters=width, activation=activation, init_scale=default_scale
            )
            model = SingleExpert(config, dim=data_config.dim, seeds=seeds).to(device)
            adam = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=5e-4)
            train(model, train_data, TrainConfig(steps=steps), optimizers=[adam])
            found = _rows(
                seeds, evaluate(model, test_data), evaluate(model, train_data).accuracy
            )
            rows += [{"activation": activation, "width": width, **r} for r in found]
    return rows
