"""What is trained to test the theory: law of timing, forecasts, ceilings."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from moe_lib.additive import LOSSES, AdditiveRun
from moe_lib.probes import Census, Probe


def _timing() -> list[Probe]:
    """Return one change at a time of what the law of the router's turn contains."""
    changes: list[tuple[str, str, tuple[Any, ...]]] = [
        ("expert_lr", "expert rate", (0.0025, 0.005, 0.01, 0.02, 0.04)),
        ("router_lr", "router rate", (0.01, 0.1, 1.0, 10.0, 100.0)),
        ("num_experts", "experts", (4, 8, 16, 32, 64)),
        ("data_scale", "scale", (0.25, 0.5, 1.0, 2.0, 4.0)),
    ]
    cells = [
        Probe(name=f"{word} {value:g}", steps=900, seeds=10, **{field: value})
        for field, word, values in changes
        for value in values
    ]
    return cells + [
        Probe(name=f"clusters {k}", num_clusters=k, num_experts=16, steps=900, seeds=10)
        for k in (2, 3, 4, 6, 8, 12)
    ]


def _specialists() -> list[Probe]:
    """Return what could make the initial weights a better forecast."""
    cells = [Probe(name=f"sigma_0 {s:g}", init_scale=s) for s in (1e-4, 1e-3, 1e-2)]
    for n in (1000, 4000, 64_000):
        cells.append(Probe(name=f"examples {n}", num_train=n))
    return cells + [Probe(name=f"dimensions {d}", dim=d) for d in (10, 25, 100, 200)]


def _coverage() -> list[Probe]:
    """Return ever more experts for four and for eight clusters."""
    sizes = {4: (4, 6, 8, 12, 16, 24), 8: (8, 16, 32, 48)}
    return [
        Probe(
            name=f"{k} clusters, {m} experts",
            num_clusters=k,
            num_experts=m,
            steps=600,  # at 300, clusters without a specialist are often not yet won
        )
        for k, numbers in sizes.items()
        for m in numbers
    ]


def _additive() -> list[AdditiveRun]:
    """Return kinds of networks on Setting 1, then the two best over ranges of gamma."""
    deep_kinds = [(activation, 2, 256) for activation in ("relu", "gelu", "tanh")]
    kinds = [("relu", 1, 512), *deep_kinds, ("cubic", 1, 512)]
    cells = [
        AdditiveRun(
            name=f"{activation}, {layers} x {width}, {loss}, gamma 3",
            activation=activation,
            layers=layers,
            width=width,
            loss=loss,
        )
        for activation, layers, width in kinds
        for loss in LOSSES
    ]
    deep = AdditiveRun(name="", layers=3, width=256, loss="errors", steps=8000)
    cells.append(
        replace(
            deep, name="relu, 3 x 256, errors, gamma 3, long", steps=16_000, seeds=20
        )
    )
    flat = replace(deep, layers=2, loss="logistic", steps=4000)
    for strongest in (3.0, 1.0, 1.5, 2.0, 2.5, 4.0, 6.0):
        nets = (deep, flat) if strongest != 3 else (deep,)  # flat is among the kinds
        for net in nets:
            name = f"relu, {net.layers} x 256, {net.loss}, gamma {strongest:g}"
            cells.append(replace(net, name=name, strongest=strongest))
    return cells


def _control() -> list[AdditiveRun]:
    """Return the network that counts errors, trained as long on the logistic loss."""
    return [
        AdditiveRun(
            name=f"relu, 3 x 256, logistic, gamma {strongest:g}",
            strongest=strongest,
            layers=3,
            width=256,
            steps=8000,
        )
        for strongest in (3.0, 2.0)
    ]


def _information() -> list[Census]:
    """Return both mixtures in all settings, as in the main table."""
    steps = {"linear": 1000, "cubic": 600}
    return [
        Census(name=f"setting {s}, {a}", setting=s, activation=a, steps=steps[a])
        for s in "1234"
        for a in steps
    ]


PREDICTIONS: Mapping[str, tuple[Probe | Census | AdditiveRun, ...]]
PREDICTIONS = MappingProxyType(
    {
        "timing_law": tuple(_timing()),
        "specialists": tuple(_specialists()),
        "coverage": tuple(_coverage()),
        "information": tuple(_information()),
        "additive_training": tuple(_additive()),
        "additive_control": tuple(_control()),
    }
)
