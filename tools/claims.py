"""Compute the ledger of published claims, and write the page that shows it.

python -m tools.claims

Rows are written by hand in `book/claims.yml`. Where a row has the key `from`, its keys
`ours`, `interval`, `seeds` and `status` are computed from the committed results.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import yaml
from scipy import stats

from moe_lib.cells import CURVE_EVERY
from moe_lib.reproduce import series
from moe_lib.results import load_committed
from tools.prose import prose

BOOK = Path(__file__).parent.parent / "book"
LEDGER, PAGE = BOOK / "claims.yml", BOOK / "claims.md"
STATUSES = ("reproduced", "better", "differs", "not attempted")
KEYS = ("id", "source", "statement", "published", "ours", "interval", "seeds")
KEYS += ("status", "cell", "test", "from", "note")  # the order in a row
# Of a quantity: digits, unit, a difference that is never called one, and one that
# always is, however much our runs scatter.
UNITS = {
    "accuracy": (2, "%", 0.5, 3.0),
    "entropy": (3, "nats", 0.01, 0.2),
    "experts": (1, "experts", 1.0, 2.0),
}
GROUP = re.compile(", (?:Setting|Section|Theorem|Lemma) ")  # before it: a section
TIGHT = re.compile(r" (?=±|%|nats)|(?<=±) ")  # where a line must not break
MARK = "<!-- numbers: claims -->"
Row = dict[str, Any]
NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
UNIT = r"[\s\u00a0\u202f]?(?:%|per ?cent\b|nats?\b|points?\b)"
RESULT = re.compile(  # numbers before a unit, alone or in a list, and a ± b
    rf"(?<![\w.,]){NUMBER}(?:(?:,? and|,? or| to|,|–| ±) ?{NUMBER})*{UNIT}"
    rf"|(?<![\w.,]){NUMBER} ?± ?{NUMBER}"
)


def numbers(text: str) -> list[float]:
    """Return all numbers of a text, without signs."""
    return [float(n.replace(",", "")) for n in re.findall(NUMBER, text)]


@cache
def _parts(result: str) -> dict[str, dict[str, list]]:
    return series(load_committed(result))


def measured(row: Row) -> np.ndarray:
    """Return our values of a row by seed."""
    source = row["from"]
    values = _parts(source["result"])[source["part"]][source["quantity"]]
    step = source.get("step")
    return np.array(values if step is None else values[step // CURVE_EVERY])


def unit_of(quantity: str) -> tuple[int, str, float, float]:
    """Return digits, unit, least and largest tolerance of a quantity."""
    return next(unit for name, unit in UNITS.items() if name in quantity)


def published(text: str) -> tuple[float, float, float | None]:
    """Read, outside of brackets, the ends of a range (mostly equal) and a deviation.

    Only `mean ± sd` has a deviation, and a list, which is read as its mean ± sd.
    """
    found = numbers(text := text.split("(")[0])
    if "±" in text:
        return found[0], found[0], found[1]
    if " to " in text or len(found) == 1:
        return found[0], found[-1], None
    return float(np.mean(found)), float(np.mean(found)), float(np.std(found))


def decide(row: Row, values: np.ndarray) -> str:
    """Compare what is published with our values, by the rule that the page states."""
    quantity = row["from"]["quantity"]
    (low, high, sd), mean = published(row["published"]), values.mean()
    beyond = max(mean - high, 0) or min(mean - low, 0)
    _, _, least, most = unit_of(quantity)
    near = better = min(max(2 * values.std(), least), most)
    if sd is not None:
        near = 2 * np.sqrt((sd**2 + values.var()) / 2)
        better = near * np.sqrt(2 / (len(values) - 1))  # standard errors of ddof 0
    part, result = row["from"]["part"], row["from"]["result"]
    of_paper = ", paper" in part or result.startswith("table_")
    good = beyond < 0 if "entropy" in quantity else beyond > 0
    if of_paper and good and abs(beyond) > better:
        return "better"
    return "reproduced" if abs(beyond) <= near else "differs"


def fill(row: Row) -> Row:
    """Return the row with all that is computed, its keys in order."""
    row = dict(row)
    if "from" in row:
        values, (digits, unit, *_) = measured(row), unit_of(row["from"]["quantity"])
        mean, n = values.mean(), len(values)
        half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5
        low, high = (f"{end:.{digits}f}" for end in (mean - half, mean + half))
        row["ours"] = f"{mean:.{digits}f} ± {values.std():.{digits}f} {unit}"
        row["interval"] = f"{low} to {high}".replace("-", "−")
        row["seeds"] = n
        if row["status"] != "not attempted" and numbers(row["published"].split("(")[0]):
            row["status"] = decide(row, values)
    return {key: row[key] for key in KEYS if key in row}


def dump(rows: Iterable[Row]) -> str:
    """Write rows as the ledger holds them."""
    style = {"sort_keys": False, "allow_unicode": True, "width": 88}
    header = "# Rows as on the page. After a change: python -m tools.claims\n\n"
    return header + "\n".join(yaml.safe_dump([row], **style) for row in rows)


def page(rows: list[Row], old: str) -> str:
    """Write the tables below what stands by hand above the mark of the old page."""
    count = Counter(row["status"] for row in rows)
    counts = ", ".join(f"{count[status]} {status}" for status in STATUSES)
    text = [old.split(MARK)[0] + MARK, f"The ledger has {len(rows)} rows: {counts}.\n"]
    text += ["What differs:\n"]
    for row in rows:
        if row["status"] == "differs":
            text.append(f"- {row['statement']} {row['published']}; ours {row['ours']}.")
    text.append("")
    for group, chosen in groupby(rows, lambda row: GROUP.split(row["source"])[0]):
        text += [f"## {group[0].upper()}{group[1:]}\n", *_table(list(chosen))]
    return "\n".join(text)


def _table(rows: list[Row]) -> Iterator[str]:
    notes = list(dict.fromkeys(row["note"] for row in rows if "note" in row))
    tests = list(dict.fromkeys(row["test"] for row in rows))
    yield "| Claim | Published | Ours | Status | Where | Test |"
    yield "| :-- | :-- | :-- | :-- | :-- | :-- |"
    for row in rows:
        ours, status, where = row["ours"], row["status"], "–"
        if "interval" in row:
            ours += f"<br>95 %: {row['interval']}<br>{row['seeds']} seeds"
        if "note" in row:
            status += f"<br>(note {notes.index(row['note']) + 1})"
        if "cell" in row:
            file, cell = row["cell"].split("#")
            link = f"../notebooks/{file.removesuffix('.ipynb')}.html#cell-{cell}"
            where = f'<a href="{link}">{file[:2]}, {cell}</a>'
        cells = [row["statement"], row["published"], ours, status, where]
        cells.append(ascii_lowercase[tests.index(row["test"])])
        yield TIGHT.sub("\u00a0", f"| {' | '.join(cells)} |")
    yield from ("", "Tests:", "")
    yield from (f"- {ascii_lowercase[i]}: `{test}`" for i, test in enumerate(tests))
    if notes:
        yield from ("", "Notes:", "")
        yield from (f"{i}. {note}" for i, note in enumerate(notes, start=1))
    yield ""


def unbacked_numbers(text: str, backed: Iterable[float]) -> list[str]:
    """List what looks like a result in the prose of a page and is not backed."""
    backed, words = set(backed), prose(text).replace("*", "")
    found = [match[0] for match in RESULT.finditer(words)]
    return [" ".join(f.split()) for f in found if not backed.issuperset(numbers(f))]


def main() -> None:
    """Compute the rows, and write ledger and page."""
    rows = [fill(row) for row in yaml.safe_load(LEDGER.read_text())]
    LEDGER.write_text(dump(rows))
    PAGE.write_text(page(rows, PAGE.read_text()))


if __name__ == "__main__":
    main()
