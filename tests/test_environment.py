"""One truth about dependencies: pyproject.toml; the other files only point to it."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text().split()


def plain_name(requirement):
    """Return the normalised name of a requirement."""
    name = re.match(r"[\w.-]+", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def declared_lists():
    extras = dict(PROJECT["optional-dependencies"])
    extras.pop("all")
    return [PROJECT["dependencies"], *extras.values()]


def test_environment_yml_adds_nothing_of_its_own():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"] == [
        f"python={PROJECT['requires-python'].removeprefix('>=')}",
        "c-compiler",
        "pip",
        {"pip": ["-c constraints.txt", "-e .[all]"]},
    ]


def test_each_dependency_is_declared_once_in_a_list_and_alike_in_all():
    for items in declared_lists():
        names = [plain_name(item) for item in items]
        assert sorted(names) == sorted(set(names))
    different = {item for items in declared_lists() for item in items}
    names = [plain_name(item) for item in different]
    assert sorted(names) == sorted(set(names))


def test_the_extra_all_means_all():
    *extras, last = PROJECT["optional-dependencies"]
    assert last == "all"
    named = f"{PROJECT['name']}[{','.join(extras)}]"
    assert PROJECT["optional-dependencies"]["all"] == [named]


def test_each_dependency_has_one_exact_pin():
    pinned = [plain_name(line) for line in CONSTRAINTS]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in CONSTRAINTS)
    assert sorted(pinned) == sorted(set(pinned))
    names = {plain_name(item) for items in declared_lists() for item in items}
    assert names <= set(pinned)
