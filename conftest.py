"""Cells tagged ``close-numbers`` may differ from their stored output in rounding only.

What live training prints is not the same to the last digit on another processor. In
such a cell nbval compares the words exactly and each number within a tolerance: two
per cent and a hundredth or, if that is more, one step of its last decimal, for rounding
can turn 0.149 into 0.1 here and 0.2 there. Where training is chaotic, so that another
processor finds other weights, the cell says in its metadata how much its numbers may
differ: ``"tolerance": 1.5``. Of the many numbers of a live figure a few may differ
more: an example that changes its expert, a place on a map by t-SNE.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy

from nbval.plugin import IPyNbCell

TAG = "close-numbers"
RELATIVE, ABSOLUTE = 0.02, 0.01
LIVE = re.compile(r'(<script [^>]*class="live-figure"[^>]*>)(.*)</script>', re.DOTALL)
LIVE_SHARE = 0.95  # of a live figure's numbers must be close
NUMBER = re.compile(r"[-+−]?\d+(?:\.(\d+))?(?:e[-+]?\d+)?")


def snap(fresh: str, stored: str, tolerance: float = 0) -> str:
    """Replace each number of ``fresh`` by its partner in ``stored`` if they are close.

    Where the two texts do not hold equally many numbers, nothing is replaced.
    """
    partners = list(NUMBER.finditer(stored))
    if len(list(NUMBER.finditer(fresh))) != len(partners):
        return fresh
    rest = iter(partners)

    def replace(match: re.Match) -> str:
        partner = next(rest)
        both = [float(one[0].replace("−", "-")) for one in (match, partner)]
        step = 1.001 * 10 ** -len(partner[1]) if partner[1] else 0
        return partner[0] if is_close(*both, max(tolerance, step)) else match[0]

    return NUMBER.sub(replace, fresh)


def is_close(number: float, partner: float, tolerance: float = 0) -> bool:
    """Tell whether a number is as good as the stored one."""
    least = RELATIVE * abs(partner) + ABSOLUTE
    return abs(number - partner) <= max(least, tolerance)


def leaves(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Yield words and numbers of JSON with their places; of digits, one by one."""
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{2,}", value):
        parts = list(enumerate(map(int, value)))
    else:
        yield place, value
        return
    for key, part in parts:
        yield from leaves(part, f"{place}/{key}")


def snap_live(fresh: str, stored: str) -> str:
    """Return ``stored`` if both are the same live figure, nearly; else ``fresh``."""
    both = [LIVE.fullmatch(text) for text in (fresh, stored)]
    if not all(both) or both[0][1] != both[1][1]:
        return fresh
    new, old = (dict(leaves(json.loads(match[2]))) for match in both)
    if new.keys() != old.keys():
        return fresh
    near = []
    for place, value in new.items():
        pair = (value, old[place])
        if all(isinstance(one, int | float) for one in pair):
            near.append(is_close(*pair))
        elif value != old[place]:
            return fresh
    return stored if sum(near) >= LIVE_SHARE * len(near) else fresh


def snap_outputs(fresh: list, stored: list, tolerance: float = 0) -> list:
    """Snap the text of each output to the stored output of the same place."""
    snapped = deepcopy(fresh)
    for new, old in zip(snapped, stored, strict=False):
        if "text" in new and "text" in old:
            new["text"] = snap(new["text"], old["text"], tolerance)
        for kind, value in new.get("data", {}).items():
            if isinstance(value, str) and not kind.startswith("image/"):
                partner = old.get("data", {}).get(kind, "")
                if LIVE.fullmatch(value):
                    new["data"][kind] = snap_live(value, partner)
                else:
                    new["data"][kind] = snap(value, partner, tolerance)
    return snapped


_exact = IPyNbCell.compare_outputs


def _compare(self, test, ref, skip_compare=None):
    if TAG in self.cell.metadata.get("tags", []):
        test = snap_outputs(test, ref, self.cell.metadata.get("tolerance", 0))
    return _exact(self, test, ref, skip_compare)


IPyNbCell.compare_outputs = _compare
