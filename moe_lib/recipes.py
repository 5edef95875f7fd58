"""One function for each table or figure of the paper.

Each docstring gives the command, the run time and what to expect.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from moe_lib.checks import check_device
from moe_lib.config import DataConfig, ModelConfig, TrainConfig
from moe_lib.model import SingleExpert
from moe_lib.runs import MODELS, ModelRun, data_of_runs, rows_of, train_model
from moe_lib.train import evaluate, train

WIDTHS = (80, 128, 512)  # filters of the single experts that the authors compare
STRENGTHS = (2.0, 3.0, 4.0, 6.0)  # upper ends of the range of gamma


def four_model_table(
    data_config: DataConfig,
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    device: str = "cpu",
) -> Iterator[ModelRun]:
    """Yield the four rows of the paper's main table, each as soon as it is done.

    Command: ``python -m moe_lib table --setting 1 --seeds 10``.
    Run time: about 20 seconds on one H100, 4 minutes on two cores.
    Expect in Setting 1 (accuracy in percent): single linear 65.6, single cubic 65.0,
    linear mixture 98.3 (dispatch entropy 1.22 nats), cubic mixture 100.00 (0.000).

    References
    ----------
    Chen et al. (2022), Section 6, table of Settings 1 to 4. The authors' notebooks
    train single experts by Adam; here all four models are trained by Algorithm 1.
    """
    for name in MODELS:
        yield train_model(name, data_config, seeds, steps=steps, device=device)


def noise_strength(
    data_config: DataConfig,
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    device: str = "cpu",
) -> Iterator[ModelRun]:
    """Yield both mixtures, trained on ever stronger feature noise, as they are done.

    Command: ``python -m moe_lib strength --setting 1 --seeds 10``.
    Run time: about 5 minutes on one H100.
    Expect in Setting 1: cubic experts find the clusters while gamma stays below 3, and
    fail when it reaches 6; linear experts stay near 98 percent.

    References
    ----------
    Ours.
    """
    for strongest in STRENGTHS:
        config = replace(data_config, gamma=(data_config.gamma[0], strongest))
        for name in ("moe_linear", "moe_cubic"):
            yield train_model(name, config, seeds, steps=steps, device=device)


def single_widths(
    data_config: DataConfig,
    seeds: Sequence[int],
    *,
    steps: int = 800,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Train single experts of growing width by Adam, as the authors do.

    Command: ``python -m moe_lib widths --setting 2 --seeds 10``.
    Run time: about half a minute on one H100.
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
            found = rows_of(
                seeds, evaluate(model, test_data), evaluate(model, train_data).accuracy
            )
            rows += [{"activation": activation, "width": width, **r} for r in found]
    return rows
