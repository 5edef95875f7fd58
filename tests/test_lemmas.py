"""The paper's lemmas on exploration and router learning, at a size that tests allow."""

import pytest
import torch

from moe_lib import ModelConfig, MoE, TrainConfig, make_data, setting, train
from moe_lib.diagnostics import alignments, expert_accuracy, specialists
from moe_lib.router import router_logits


@pytest.fixture(scope="module")
def run():
    """Train a mixture on Setting 1, with a look at it when exploration ends."""
    data, test = make_data(setting(1), seed=5)
    model = MoE(ModelConfig(), dim=50, seeds=[5])
    seen = {}

    def watch(step, model, _):
        if step in (0, 40):
            now = alignments(model, data.signals).expert_feature
            seen[step] = specialists(now)[0]
        if step == 40:
            seen["error"] = 1 - expert_accuracy(model, test)[0]

    train(model, data, TrainConfig(steps=150), callback=watch)
    return model, test, seen


def test_exploration_makes_specialists(run):
    _, _, seen = run
    own = torch.nn.functional.one_hot(seen[40], 4).bool()
    assert seen["error"][own].max() < 0.05
    assert seen["error"][~own].min() > 0.14
    assert seen["error"][~own].max() < 0.55
    assert (seen[0] == seen[40]).all()  # this seed's forecast comes true


def test_the_router_finds_the_specialists(run):
    model, test, seen = run
    logits = router_logits(test.patch_sum, model.router_weight)[0].detach()
    at_home = seen[40] == test.cluster[:, None]
    lead = logits.where(at_home, -torch.inf).amax(1)
    lead -= logits.where(~at_home, -torch.inf).amax(1)
    assert (lead > 0).double().mean() > 0.999
    assert lead.quantile(0.01) > 0.7
