"""The paper's lemma on exploration, on consecutive seeds, as far as it holds."""

import pytest
import torch

from moe_lib import ModelConfig, MoE, TrainConfig, make_data, setting, train
from moe_lib.diagnostics import alignments, expert_accuracy, specialists

SEEDS = range(5)


@pytest.fixture(scope="module")
def runs():
    """Train until exploration ends: errors, and clusters of experts before and then."""
    seen = []
    for seed in SEEDS:
        data, test = make_data(setting(1), seed)
        model, clusters = MoE(ModelConfig(), dim=50, seeds=[seed]), []

        def note(step, model, _, data=data, clusters=clusters):
            if step in (0, 40):
                now = alignments(model, data.signals).expert_feature
                clusters.append(specialists(now)[0])

        train(model, data, TrainConfig(steps=40), callback=note)
        seen.append((1 - expert_accuracy(model, test)[0], *clusters))
    return seen


def test_exploration_makes_specialists(runs):
    for error, _, committed in runs:
        own = torch.nn.functional.one_hot(committed, 4).bool()
        assert error[own].max() < 0.13
        assert error[~own].min() > 0.1
        assert 0.4 < error[~own].median() < 0.5


def test_the_initial_weights_foretell_most_specialists_not_all(runs):
    right = sum((foretold == committed).sum().item() for _, foretold, committed in runs)
    assert 0.6 < right / (8 * len(SEEDS)) < 0.95
