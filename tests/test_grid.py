"""Configurations of a sweep: which there are, in which order, and what is refused."""

import itertools
import re
from dataclasses import fields
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lib import SETTINGS, DataConfig, ModelConfig, TrainConfig, setting
from moe_lib.grid import FIELDS, configure, expand_grid, parse_grid, read_list


@pytest.fixture(autouse=True, scope="module")
def _as_a_reader():
    """Switch off the shape checker of the tests, which is stricter on numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        yield


def refuses(error, message, function, *args, **kwargs):
    with pytest.raises(error, match=re.escape(message)):
        function(*args, **kwargs)


def test_every_field_of_the_three_configurations_can_be_swept():
    parts = (DataConfig, ModelConfig, TrainConfig)
    names = [f.name for part in parts for f in fields(part)]
    assert list(FIELDS) == ["setting", "model", *names]
    assert len(set(FIELDS)) == len(FIELDS)


def test_without_a_choice_all_is_default():
    plain = configure()
    assert (plain.setting, plain.model) == ("1", "moe")
    assert plain.data == DataConfig() == setting(1)
    assert plain.layer == ModelConfig()
    assert plain.training == TrainConfig()
    assert str(plain) == "all defaults"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_gives_the_data_fields_that_are_not_chosen(name):
    assert configure(setting=name).data == setting(name)
    changed = configure(setting=name, sigma_p=7.0).data
    assert changed.sigma_p == 7.0
    assert changed.gamma == setting(name).gamma


def test_each_field_reaches_its_part():
    chosen = {
        "setting": "3",
        "model": "single",
        "num_clusters": 3,
        "num_patches": 5,
        "dim": 9,
        "alpha": (0.1, 0.2),
        "beta": (0.3, 0.4),
        "gamma": (0.5, 0.6),
        "sigma_p": 0.7,
        "num_train": 8,
        "num_test": 10,
        "num_experts": 11,
        "num_filters": 12,
        "activation": "relu",
        "init_scale": 0.13,
        "steps": 14,
        "expert_lr": 0.15,
        "router_lr": 0.16,
    }
    made = configure(**chosen)
    for name, value in chosen.items():
        parts = (made, made.data, made.layer, made.training)
        assert [getattr(p, name) for p in parts if hasattr(p, name)] == [value]
    pairs = {"alpha": "0.1:0.2", "beta": "0.3:0.4", "gamma": "0.5:0.6"}
    assert made.values() == chosen | pairs
    assert list(made.values()) == list(FIELDS)


def test_equal_numbers_of_other_kinds_make_equal_configurations():
    plain = configure(router_lr=1.0, num_experts=4, gamma=(1.0, 2.0), setting="2")
    other = configure(
        router_lr=1, num_experts=np.int64(4), gamma=(1, np.float32(2)), setting=2
    )
    assert other == plain
    assert repr(other) == repr(plain)
    assert type(configure(router_lr=np.float64(0.5)).training.router_lr) is float


def test_the_name_has_what_differs_from_the_defaults():
    made = configure(gamma=(0.5, 2.0), num_experts=4, router_lr=1)
    assert str(made) == "gamma=0.5:2.0 num_experts=4"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"router_rate": 1}, "field must be one of setting, model, num_clusters"),
        ({"setting": 9}, "setting must be one of 1, 2, 3, 4, verify, got '9'"),
        ({"model": "moe_cubic"}, "model must be one of moe, single, got 'moe_cubic'"),
        ({"num_experts": 0}, "num_experts must be at least 1, got 0"),
        ({"gamma": (2.0, 1.0)}, "gamma must have low <= high"),
        ({"num_clusters": 30}, "dim must be at least 2 * num_clusters = 60"),
        ({"router_lr": float("nan")}, "router_lr must be finite"),
    ],
)
def test_what_a_configuration_refuses(chosen, message):
    refuses(ValueError, message, configure, **chosen)


def test_values_of_a_wrong_type_are_not_converted():
    refuses(TypeError, "num_experts must be an integer", configure, num_experts=2.0)
    refuses(TypeError, "gamma must be a pair", configure, gamma=[0.5, 3.0])
    refuses(TypeError, "router_lr must be a number", configure, router_lr="1")


@given(
    rates=st.lists(st.floats(0, 10), min_size=1, max_size=4),
    experts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_a_grid_is_every_combination_the_last_field_fastest(rates, experts):
    made = expand_grid({"router_lr": rates, "num_experts": experts}, steps=7)
    pairs = [(c.training.router_lr, c.layer.num_experts) for c in made]
    assert pairs == [(r, e) for r in rates for e in experts]
    assert {c.training.steps for c in made} == {7}


def test_values_may_come_from_an_array_or_a_generator():
    made = expand_grid({"router_lr": np.linspace(0, 1, 3), "dim": (d for d in (8, 9))})
    assert [(c.training.router_lr, c.data.dim) for c in made] == [
        *itertools.product((0.0, 0.5, 1.0), (8, 9))
    ]


@pytest.mark.parametrize(
    ("error", "grid", "fixed", "message"),
    [
        (ValueError, {}, {}, "grid must hold at least one field, got none"),
        (ValueError, {"dim": []}, {}, "grid must hold a value for dim, got none"),
        (TypeError, {"dim": 50}, {}, "grid must hold a list for dim, got 50"),
        (TypeError, {"model": "moe"}, {}, "must hold a list for model, got 'moe'"),
        (ValueError, {"steps": [1]}, {"steps": 2}, "given once, got steps twice"),
        (ValueError, {"size": [1]}, {}, "field must be one of"),
        (ValueError, {"dim": [50, 1]}, {}, "dim must be at least 8"),
    ],
)
def test_what_a_grid_refuses(error, grid, fixed, message):
    if "at least 8" in message:
        message = "dim must be at least 2 * num_clusters = 8"
    refuses(error, message, expand_grid, grid, **fixed)


def test_a_grid_is_read_by_the_kind_of_each_field():
    read = parse_grid(
        ["router_lr=0.3,1", "num_experts=4,8", "model=moe, single", "gamma=0.5:3,1:2"]
    )
    assert read == {
        "router_lr": [0.3, 1.0],
        "num_experts": [4, 8],
        "model": ["moe", "single"],
        "gamma": [(0.5, 3.0), (1.0, 2.0)],
    }
    assert list(read) == ["router_lr", "num_experts", "model", "gamma"]
    assert type(read["router_lr"][1]) is float
    assert type(read["num_experts"][0]) is int


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["router_lr"], "grid must read FIELD=VALUE,VALUE, got 'router_lr'"),
        (["speed=1"], "field must be one of setting, model"),
        (["=1"], "field must be one of setting, model"),
        (["dim=8", "dim=9"], "a field must be given once, got dim twice"),
        (["dim="], "dim must be an integer, got ''"),
        (["dim=8,"], "dim must be an integer, got ''"),
        (["dim=8.5"], "dim must be an integer, got '8.5'"),
        (["router_lr=fast"], "router_lr must be a number, got 'fast'"),
        (["gamma=1"], "gamma must be a pair low:high, got '1'"),
        (["gamma=1:2:3"], "gamma must be a pair low:high, got '1:2:3'"),
        (["gamma=1:b"], "gamma must be a pair low:high, got '1:b'"),
    ],
)
def test_what_the_text_of_a_grid_refuses(texts, message):
    refuses(ValueError, message, parse_grid, texts)


def listed(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text)
    return path


def test_a_list_is_one_configuration_in_each_line(tmp_path):
    path = listed(tmp_path, "gamma, router_lr\n0.5:2,0.3\n\n1:2 , 3\n")
    assert read_list(path, steps=7) == [
        configure(gamma=(0.5, 2.0), router_lr=0.3, steps=7),
        configure(gamma=(1.0, 2.0), router_lr=3.0, steps=7),
    ]


def test_the_columns_of_a_table_can_be_a_list_again(tmp_path):
    wanted = expand_grid({"setting": [1, 3], "num_experts": [2, 4]}, alpha=(1.0, 1.5))
    lines = [",".join(map(str, c.values().values())) for c in wanted]
    path = listed(tmp_path, "\n".join([",".join(FIELDS), *lines]))
    assert read_list(path) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list must hold at least one configuration, got none"),
        ("dim\n", "list must hold at least one configuration, got none"),
        ("dim,dim\n8,9\n", "line 1: a field must be given once, got dim twice"),
        ("dim,steps\n8,9\n", "line 1: a field must be given once, got steps twice"),
        ("size\n8\n", "line 2: field must be one of setting"),
        ("dim\n8\nwide\n", "line 3: dim must be an integer, got 'wide'"),
        ("dim\n8\n9,9\n", "line 3: a line must have 1 cells, got 2"),
        ("dim,model\n8\n", "line 2: a line must have 2 cells, got 1"),
        ("dim\n8\n2\n", "line 3: dim must be at least 2 * num_clusters = 8"),
    ],
)
def test_what_a_list_refuses(tmp_path, text, message):
    refuses(ValueError, message, read_list, listed(tmp_path, text), steps=5)


def test_a_list_that_is_not_text_or_not_there(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b"dim\n\xff\xfe\x00\n")
    refuses(ValueError, "list.csv, line 0: 'utf-8' codec can't decode", read_list, path)
    refuses(FileNotFoundError, "none.csv", read_list, Path("none.csv"))
