"""A training step must not copy the examples for its experts."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from moe_lib import ModelConfig, MoE, TrainConfig, train
from moe_lib.experts import dense_expert_outputs, routed_expert_outputs
from tests.toys import data_config, draw

EXPERTS = 8
DATA = draw(data_config(num_patches=4, dim=50), 30_000)


class FreshMemory(TorchDispatchMode):
    """Watch every operation: its largest new tensor, and all new memory alive.

    New memory is a storage that no earlier tensor owns: views and in-place results
    do not count.
    """

    def __init__(self, known):
        super().__init__()
        self.sizes = {}  # bytes of each storage alive, by address
        self.old = {t.untyped_storage().data_ptr() for t in known}
        self.largest = self.alive = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.note(tensor)
        return result

    def note(self, tensor):
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if size == 0 or address in self.old or address in self.sizes:
            return
        self.sizes[address] = size
        self.largest = max(self.largest, tensor.numel())
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self.forget, address)

    def forget(self, address):
        self.alive -= self.sizes.pop(address)


def watched_step():
    """Take one step of Algorithm 1 with a cubic mixture; return what was watched."""
    model = MoE(ModelConfig(num_experts=EXPERTS), dim=50, seeds=[0])
    known = [DATA.x, DATA.y, DATA.cluster, DATA.patch_sum, *model.parameters()]
    with FreshMemory(known) as watch:
        train(model, DATA, TrainConfig(steps=1))
    assert model.router_weight.any()
    return watch


def breaks_the_limit(watch):
    # far below M n P d numbers, which a copy for each of the M = 8 experts would take
    return watch.largest >= DATA.x.numel() / 4 or watch.peak >= DATA.x.nbytes / 2


def test_a_step_makes_no_tensor_as_large_as_the_data():
    watch = watched_step()
    assert watch.peak > 0
    assert not breaks_the_limit(watch)


@pytest.mark.usefixtures("_plain")
def test_nor_does_a_step_without_the_compiled_loops():
    test_a_step_makes_no_tensor_as_large_as_the_data()


def every_expert(x, weight, expert_index, activation):
    outputs = dense_expert_outputs(x, weight, activation)
    return outputs.gather(-1, expert_index[..., None]).squeeze(-1)


def after_one_copy(x, weight, expert_index, activation):
    return routed_expert_outputs(x.clone(), weight, expert_index, activation)


@pytest.mark.parametrize("kernel", [every_expert, after_one_copy])
def test_a_copy_of_the_data_would_be_noticed(monkeypatch, kernel):
    monkeypatch.setattr("moe_lib.model.routed_expert_outputs", kernel)
    watch = watched_step()
    assert watch.largest >= DATA.x.numel()
    assert watch.peak >= DATA.x.nbytes
    assert breaks_the_limit(watch)
