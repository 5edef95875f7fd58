from dataclasses import fields, replace

import jaxtyping
import pytest

from moe_lib.authors import (
    AUTHORS,
    AUTHORS_ENTROPY,
    AUTHORS_SINGLE,
    PAPER,
    RECIPES,
    Recipe,
)

CONTRADICTIONS = {
    "two heads, signed loss": ({"heads": 2}, "loss must be cross_entropy or double_"),
    "one head, softmax": ({"loss": "double_softmax"}, "loss must be logistic where"),
    "one head, cross entropy": ({"loss": "cross_entropy"}, "needs two outputs"),
    "sum of one norm": ({"norm": "sum"}, "norm must be frobenius or none without bias"),
    "each of one tensor": ({"norm": "per_tensor"}, "got 'per_tensor'"),
    "Adam and a norm": ({"adam": True}, "norm must be none where Adam"),
    "decay without Adam": (
        {"weight_decay": 0.1},
        "weight_decay must be 0 without Adam",
    ),
    "a noisy gate without noise": (
        {"noise": "none", "gate": "noisy_logit"},
        "gate must be softmax without noise",
    ),
    "test noise without noise": (
        {"noise": "none", "test_noise": True},
        "test_noise must be False where noise is none",
    ),
    "a floor that is not there": (
        {"early_stop": "floor"},
        "early_stop must be none or late unless loss is double_softmax",
    ),
}


@pytest.mark.parametrize(("switches", "message"), CONTRADICTIONS.values())
def test_contradictions_are_refused_with_a_reason(switches, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**switches)


WRONG = {
    "loss": ("hinge", "loss must be one of logistic, cross_entropy, double_softmax"),
    "gate": ("hard", "gate must be one of softmax, noisy_softmax, noisy_logit"),
    "norm": ("max", "norm must be one of frobenius, sum, per_tensor, none"),
    "noise": ("old", "noise must be one of fresh, fixed, none"),
    "init": ("zero", "init must be one of normal, uniform"),
    "early_stop": ("soon", "early_stop must be one of none, floor, late"),
    "data_scale": (0.0, "data_scale must be finite and positive, got 0.0"),
    "heads": (3, "heads must be at most 2, got 3"),
    "ddof": (2, "ddof must be at most 1, got 2"),
    "steps": (0, "steps must be at least 1, got 0"),
    "init_scale": (-1.0, "init_scale must be finite and non-negative"),
    "expert_lr": (float("nan"), "expert_lr must be finite"),
    "router_lr": (float("inf"), "router_lr must be finite"),
    "load_balancing": (-1e-4, "load_balancing must be finite and non-negative"),
    "weight_decay": (-1.0, "weight_decay must be finite and non-negative"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_out_of_range_are_named(name):
    value, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        Recipe(**{name: value})


@pytest.mark.parametrize("name", ["bias", "test_noise", "adam"])
def test_switches_are_true_or_false(name, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match=f"{name} must be True or False, got 1"):
        Recipe(**{name: 1})


def test_the_two_recipes_are_values_of_one_configuration():
    assert RECIPES == {"paper": PAPER, "authors": AUTHORS}
    assert Recipe() == PAPER
    differing = {
        f.name
        for f in fields(Recipe)
        if getattr(PAPER, f.name) != getattr(AUTHORS, f.name)
    }
    # The switches that the notebooks behind the published table throw.
    assert differing == {
        "data_scale",
        "heads",
        "loss",
        "gate",
        "bias",
        "norm",
        "test_noise",
        "init",
        "expert_lr",
        "router_lr",
        "steps",
        "early_stop",
    }


def test_their_other_notebooks_are_near_their_table():
    changes = {"noise": "fixed", "norm": "per_tensor", "early_stop": "none", "ddof": 1}
    assert replace(AUTHORS, **changes) == AUTHORS_ENTROPY
    assert (AUTHORS_SINGLE.loss, AUTHORS_SINGLE.adam) == ("cross_entropy", True)
    assert AUTHORS_SINGLE.weight_decay == 5e-4
