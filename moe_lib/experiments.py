"""All experiments, and what is trained for the audit.

An experiment is a list of cells, which become the entries of one result file.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from moe_lib.additive import AdditiveRun
from moe_lib.authors import AUTHORS, AUTHORS_ENTROPY, AUTHORS_SINGLE, PAPER
from moe_lib.cells import DATA, Cell
from moe_lib.config import ACTIVATION_NAMES
from moe_lib.image_runs import IMAGES, ImageRun
from moe_lib.late import BRANCHES, Branch
from moe_lib.predictions import PREDICTIONS
from moe_lib.probes import Census, Probe

MIXTURES = ("linear", "cubic")
STEPS = AUTHORS.steps


def _table() -> list[Cell]:
    """Return the mixtures of the main table: both recipes, on the authors' data."""
    recipes = {
        ("authors", "linear"): AUTHORS,
        ("authors", "cubic"): AUTHORS,
        ("paper", "linear"): replace(PAPER, steps=1000),
        ("paper", "cubic"): PAPER,
    }
    return [
        Cell(
            name=f"setting {s}, {activation}, {name}, {data} data",
            setting=s,
            recipe=recipe,
            activation=activation,
            data=data,
            seeds=10,
        )
        for s in "1234"
        for data in DATA
        for (name, activation), recipe in recipes.items()
    ]


def _filters() -> list[Cell]:
    """Return the single experts by number of filters."""
    rates = {"linear": 0.003, "cubic": 0.01}
    return [
        Cell(
            name=f"setting {s}, {activation}, {filters} filters",
            setting=s,
            recipe=replace(AUTHORS_SINGLE, expert_lr=rates[activation]),
            activation=activation,
            num_filters=filters,
            single=True,
            data="authors",
            seeds=10,
        )
        for s in "1234"
        for activation in MIXTURES
        for filters in (80, 128, 512)
    ]


def _activations() -> list[Cell]:
    """Return the single experts by activation: the authors' check of Theorem 4.1."""
    return [
        Cell(
            name=f"setting {s}, {activation}",
            setting=s,
            recipe=replace(
                AUTHORS_SINGLE, expert_lr=0.001 if activation == "linear" else 0.01
            ),
            activation=activation,
            num_filters=128,
            single=True,
            data="authors",
            seeds=10,
        )
        for s in ("verify", "1", "2")
        for activation in ACTIVATION_NAMES
    ]


def _balancing() -> list[Cell]:
    """Return the load-balancing ablation: what is without it is in the table."""
    recipe = replace(AUTHORS, load_balancing=1e-4)
    return [
        Cell(
            name=f"setting 1, {activation}, balanced",
            setting="1",
            recipe=recipe,
            activation=activation,
            data="authors",
            seeds=10,
        )
        for activation in MIXTURES
    ]


def _entropy() -> list[Cell]:
    """Return the entropy during training, as recorded by the authors, and ours."""
    return [
        Cell(
            name=f"setting {s}, {activation}, {name}",
            setting=s,
            recipe=recipe,
            activation=activation,
            data="authors",
            seeds=10,
            curves=True,
        )
        for s in "12"
        for name, recipe in (
            ("authors", AUTHORS_ENTROPY),
            ("paper", replace(PAPER, steps=STEPS)),
        )
        for activation in MIXTURES
    ]


FROM_PAPER: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "nothing": {},
        "two heads": {"heads": 2, "loss": "cross_entropy"},
        "double softmax": {"heads": 2, "loss": "double_softmax"},
        "raw noisy logit as gate": {"gate": "noisy_logit"},
        "softmax of noisy logits as gate": {"gate": "noisy_softmax"},
        "biases": {"bias": True},
        "biases, sum of norms": {"bias": True, "norm": "sum"},
        "biases, norm per tensor": {"bias": True, "norm": "per_tensor"},
        "no normalisation": {"norm": "none"},
        "uniform initialisation": {"init": "uniform"},
        "data times ten, their rates": {
            "data_scale": 10.0,
            "expert_lr": 1e-3,
            "router_lr": 0.1,
            "init_scale": 1e-4,  # relative to the data, as before
        },
        "fixed noise": {"noise": "fixed"},
        "no noise": {"noise": "none"},
        "load balancing": {"load_balancing": 1e-4},
        "twice the steps": {"steps": 2 * STEPS},
    }
)
FROM_AUTHORS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "nothing": {},
        "no early stop": {"early_stop": "none"},
        "cross entropy, no early stop": {"loss": "cross_entropy", "early_stop": "none"},
        "softmax gate": {"gate": "softmax"},
        "softmax of noisy logits as gate": {"gate": "noisy_softmax"},
        "no biases": {"bias": False, "norm": "frobenius"},
        "Frobenius norm": {"norm": "frobenius"},
        "norm per tensor": {"norm": "per_tensor"},
        "no normalisation": {"norm": "none"},
        "normal initialisation": {"init": "normal"},
        "unscaled data, our rates": {
            "data_scale": 1.0,
            "expert_lr": 0.01,
            "router_lr": 1.0,
            "init_scale": 1e-2,  # relative to the data, as before
        },
        "unscaled data, their rates": {
            "data_scale": 1.0,
            "expert_lr": 0.01,
            "router_lr": 10.0,
            "init_scale": 1e-2,
        },
        "fixed noise": {"noise": "fixed"},
        "load balancing": {"load_balancing": 1e-4},
        "twice the steps": {"steps": 2 * STEPS},
        "twice the steps, no early stop": {"steps": 2 * STEPS, "early_stop": "none"},
        "2,000 steps, no early stop": {"steps": 2000, "early_stop": "none"},
    }
)


def _factors(s: str) -> list[Cell]:
    """Return one change at a time, from either end."""
    ends = (
        ("paper", replace(PAPER, steps=STEPS), FROM_PAPER),
        ("authors", AUTHORS, FROM_AUTHORS),
    )
    return [
        Cell(
            name=f"setting {s}, {activation}, from {end}: {change}",
            setting=s,
            recipe=replace(recipe, **chosen),
            activation=activation,
        )
        for end, recipe, changes in ends
        for change, chosen in changes.items()
        for activation in MIXTURES
    ]


def _factorial() -> list[Cell]:
    """Return loss x gate x activation, all else from either end."""
    ends = (
        ("paper", replace(PAPER, steps=STEPS, heads=2, loss="cross_entropy")),
        ("authors", replace(AUTHORS, early_stop="none")),
    )
    return [
        Cell(
            name=f"setting {s}, {activation}, {end}, {loss}, {gate}",
            setting=s,
            recipe=replace(recipe, loss=loss, gate=gate),
            activation=activation,
        )
        for s in "12"
        for end, recipe in ends
        for loss in ("cross_entropy", "double_softmax")
        for gate in ("softmax", "noisy_logit")
        for activation in MIXTURES
    ]


EXPERIMENTS: Mapping[
    str, tuple[Cell | Branch | Probe | Census | AdditiveRun | ImageRun, ...]
] = MappingProxyType(
    {
        "authors_table": tuple(_table()),
        "authors_filters": tuple(_filters()),
        "authors_activations": tuple(_activations()),
        "authors_balancing": tuple(_balancing()),
        "authors_entropy": tuple(_entropy()),
        "audit_factors_setting1": tuple(_factors("1")),
        "audit_factors_setting2": tuple(_factors("2")),
        "audit_factorial": tuple(_factorial()),
        "late_falls": BRANCHES,
        **PREDICTIONS,
        "images": IMAGES,
    }
)
