"""What a sweep trains: configurations, from a grid or from a list in a file.

Every field of :class:`moe_lib.config.DataConfig`, :class:`moe_lib.config.ModelConfig`
and :class:`moe_lib.config.TrainConfig` can be swept by its name, and so can ``setting``
(the data that the other fields start from) and ``model`` (``moe`` or ``single``).
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from moe_lib.checks import check_choice
from moe_lib.config import DataConfig, ModelConfig, TrainConfig, setting

FIELDS: Mapping[str, Any] = MappingProxyType(
    {"setting": str, "model": str}
    | {
        f.name: f.type
        for c in (DataConfig, ModelConfig, TrainConfig)
        for f in fields(c)
    }
)
KINDS = {int: "an integer", float: "a number"}  # and pairs, and words

_Part = TypeVar("_Part", DataConfig, ModelConfig, TrainConfig)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """All that is chosen for one training, but for the seeds: see :func:`configure`.

    Attributes
    ----------
    setting : str
        Name of the setting that ``data`` was made from.
    model : str
        ``moe`` or ``single``.
    data : DataConfig
    layer : ModelConfig
    training : TrainConfig
    """

    setting: str
    model: str
    data: DataConfig
    layer: ModelConfig
    training: TrainConfig

    def values(self) -> dict[str, Any]:
        """Return the value of each of :data:`FIELDS`; a pair reads ``0.5:3.0``."""
        chosen: dict[str, Any] = {"setting": self.setting, "model": self.model}
        for part in (self.data, self.layer, self.training):
            chosen |= asdict(part)
        return {
            name: ":".join(map(str, value)) if isinstance(value, tuple) else value
            for name, value in chosen.items()
        }

    def __str__(self) -> str:
        """Name the fields that differ from their defaults."""
        usual = configure().values()
        chosen = [f"{k}={v}" for k, v in self.values().items() if v != usual[k]]
        return " ".join(chosen) or "all defaults"


def configure(**chosen: Any) -> Configuration:
    """Make a configuration of some :data:`FIELDS`; the others have their defaults.

    Parameters
    ----------
    **chosen
        Values by field. ``setting`` (default 1) gives the data fields that are not
        chosen, ``model`` is ``moe`` (default) or ``single``.

    Raises
    ------
    TypeError, ValueError
        If a field is unknown or its value is refused.

    Examples
    --------
    >>> print(configure(setting=3, num_experts=4))
    setting=3 gamma=0.5:2.0 num_experts=4
    """
    for name in chosen:
        check_choice("field", name, tuple(FIELDS))
    name, model = str(chosen.get("setting", "1")), chosen.get("model", "moe")
    check_choice("model", model, ("moe", "single"))
    return Configuration(
        setting=name,
        model=model,
        data=_changed(setting(name), chosen),
        layer=_changed(ModelConfig(), chosen),
        training=_changed(TrainConfig(), chosen),
    )


def _changed(part: _Part, chosen: Mapping[str, Any]) -> _Part:
    """Put the chosen values in, as plain numbers: 1 and 1.0 are one learning rate."""
    mine = {f.name: chosen[f.name] for f in fields(part) if f.name in chosen}
    checked = replace(part, **mine)
    plain: dict[str, Any] = {}
    for name in mine:
        kind, value = FIELDS[name], getattr(checked, name)
        is_pair = isinstance(value, tuple)
        plain[name] = tuple(map(float, value)) if is_pair else kind(value)
    return replace(checked, **plain)


def expand_grid(grid: Mapping[str, Iterable[Any]], **fixed: Any) -> list[Configuration]:
    """Return every combination of the values, the last field changing fastest.

    Parameters
    ----------
    grid : mapping
        A list of values for each swept field.
    **fixed
        Fields with one value for all.

    Raises
    ------
    TypeError, ValueError
        If there is nothing to sweep, a field is unknown or given twice, or any of the
        configurations is refused.

    Examples
    --------
    >>> for c in expand_grid({"router_lr": [0.3, 3], "num_experts": [4, 2]}, steps=100):
    ...     print(c)
    num_experts=4 steps=100 router_lr=0.3
    num_experts=2 steps=100 router_lr=0.3
    num_experts=4 steps=100 router_lr=3.0
    num_experts=2 steps=100 router_lr=3.0
    """
    if not grid:
        raise ValueError("grid must hold at least one field, got none")
    _check_once([*grid, *fixed])
    lists = []
    for name, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"grid must hold a list for {name}, got {values!r}")
        lists.append(list(values))
        if not lists[-1]:
            raise ValueError(f"grid must hold a value for {name}, got none")
    return [
        configure(**dict(zip(grid, values, strict=True)), **fixed)
        for values in product(*lists)
    ]


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read a grid as the command line has it: ``["router_lr=0.3,1", "dim=50"]``.

    A pair is written ``gamma=0.5:3.0``.

    Raises
    ------
    ValueError
        If a text is not of this form, a field is unknown or given twice, or a value
        is not of the field's kind.
    """
    grid = {}
    _check_once([text.partition("=")[0] for text in texts])
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise ValueError(f"grid must read FIELD=VALUE,VALUE, got {text!r}")
        grid[name] = [_parse(name, value) for value in values.split(",")]
    return grid


def read_list(path: Path, **fixed: Any) -> list[Configuration]:
    """Read configurations from a CSV file: a header of fields, then one in each line.

    Parameters
    ----------
    path : Path
        The file. A pair is written ``0.5:3.0``.
    **fixed
        Fields with one value for all, which the file must not name.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If it holds no configuration, a field is unknown or given twice, or a value is
        refused; the message names the line.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            header = [name.strip() for name in next(reader, [])]
            _check_once([*header, *fixed])
            configurations = [_of_line(header, c, fixed) for c in reader if c]
        except (TypeError, ValueError, csv.Error) as error:
            where = f"{path}, line {reader.line_num}"
            raise ValueError(f"{where}: {error}") from error
    if not configurations:
        raise ValueError(f"list must hold at least one configuration, got none: {path}")
    return configurations


def _of_line(
    header: Sequence[str], cells: Sequence[str], fixed: Mapping[str, Any]
) -> Configuration:
    if len(cells) != len(header):
        raise ValueError(f"a line must have {len(header)} cells, got {len(cells)}")
    chosen = {n: _parse(n, cell) for n, cell in zip(header, cells, strict=True)}
    return configure(**chosen, **fixed)


def _parse(name: str, text: str) -> Any:
    check_choice("field", name, tuple(FIELDS))
    kind, text = FIELDS[name], text.strip()
    try:
        if kind in (str, int, float):
            return kind(text)
        low, high = text.split(":")
        return float(low), float(high)
    except ValueError:
        rule = KINDS.get(kind, "a pair low:high")
        raise ValueError(f"{name} must be {rule}, got {text!r}") from None


def _check_once(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"a field must be given once, got {name} twice")
