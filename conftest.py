"""Cells tagged ``close-numbers`` may differ from their stored output in rounding only.

What live training prints is not the same to the last digit on another processor. In
such a cell nbval compares the words exactly and each number within a tolerance.
"""

import re
from copy import deepcopy

from nbval.plugin import IPyNbCell

TAG = "close-numbers"
RELATIVE, ABSOLUTE = 0.02, 0.01
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def snap(fresh: str, stored: str) -> str:
    """Replace each number of ``fresh`` by its partner in ``stored`` if they are close.

    Where the two texts do not hold equally many numbers, nothing is replaced.
    """
    partners = NUMBER.findall(stored)
    if len(NUMBER.findall(fresh)) != len(partners):
        return fresh
    rest = iter(partners)

    def replace(match: re.Match) -> str:
        partner = next(rest)
        gap = abs(float(match[0]) - float(partner))
        close = gap <= RELATIVE * abs(float(partner)) + ABSOLUTE
        return partner if close else match[0]

    return NUMBER.sub(replace, fresh)


def snap_outputs(fresh: list, stored: list) -> list:
    """Snap the text of each output to the stored output of the same place."""
    snapped = deepcopy(fresh)
    for new, old in zip(snapped, stored, strict=False):
        if "text" in new and "text" in old:
            new["text"] = snap(new["text"], old["text"])
        for kind, value in new.get("data", {}).items():
            if isinstance(value, str) and not kind.startswith("image/"):
                new["data"][kind] = snap(value, old.get("data", {}).get(kind, ""))
    return snapped


_exact = IPyNbCell.compare_outputs


def _compare(self, test, ref, skip_compare=None):
    if TAG in self.cell.metadata.get("tags", []):
        test = snap_outputs(test, ref)
    return _exact(self, test, ref, skip_compare)


IPyNbCell.compare_outputs = _compare
