"""What notebooks show but pictures: tables, values for prose, films, live figures."""

import json
import math
from collections.abc import Sequence
from html import escape

from IPython.display import HTML, Markdown, display

from moe_lib.checks import check_choice

PAPERMILL = "application/papermill.record/"
#: What the site can draw: each has a script in ``book/_static/live``.
LIVE_KINDS = ("ceiling", "factorial", "stages", "training")
LIVE_DIGITS = 4  # of each number


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Display a table; the first column is aligned left, the others right.

    Raises
    ------
    ValueError
        If a row is not as long as the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"rows must have {len(header)} cells, got {list(row)}")
    rule = [":--"] + ["--:"] * (len(header) - 1)
    lines = ["| " + " | ".join(line) + " |" for line in [header, rule, *rows]]
    display(Markdown("\n".join(lines)))


def glue(name: str, value: float | str) -> None:
    """Store a value in the notebook under a name, for prose to quote.

    References
    ----------
    The mime type is that of MyST-NB's ``glue``.
    """
    text = value if isinstance(value, str) else repr(float(value))
    display(
        {f"{PAPERMILL}text/plain": text},
        metadata={"scrapbook": {"name": name, "mime_prefix": PAPERMILL}},
        raw=True,
    )


def show_film(path: str, *, label: str, steps: Sequence[int], fps: float) -> None:
    """Display an MP4 with play and pause, still until the reader starts it.

    In the built site the controls are those of live figures.

    Parameters
    ----------
    path : str
        The film, relative to the notebook; its poster has the same name with ``.png``.
    label : str
        What the film shows, for those who cannot see it.
    steps : sequence of int
        The training step that each frame shows.
    fps : float
        Frames per second.
    """
    poster = path.removesuffix(".mp4") + ".png"
    frames = " ".join(str(step) for step in steps)
    display(
        HTML(
            f'<video controls loop muted playsinline preload="none" width="640" '
            f'height="400" src="{escape(path)}" poster="{escape(poster)}" '
            f'data-fps="{fps:g}" data-steps="{frames}" '
            f'aria-label="{escape(label)}"></video>'
        )
    )


def show_live(kind: str, data: object, *, figure: str, label: str) -> None:
    """Give the site the numbers of a figure that the reader can move.

    In a notebook this shows nothing. In the built site a script draws the numbers in
    place of the picture of the figure; without JavaScript the picture stays.

    Parameters
    ----------
    kind : str
        One of :data:`LIVE_KINDS`: which script draws.
    data : object
        Dicts and lists of numbers and strings; arrays become lists, and numbers are
        rounded to four significant digits.
    figure : str
        The figure's name on the page, "fig-" and more.
    label : str
        What can be moved, for those who cannot see it.

    Raises
    ------
    ValueError
        If the kind is unknown, ``figure`` does not start with "fig-", or a number is
        not finite.
    """
    check_choice("kind", kind, LIVE_KINDS)
    if not figure.startswith("fig-"):
        raise ValueError(f"figure must start with 'fig-', got {figure!r}")
    # No tag can begin inside: within strings, JSON may write < by its number.
    text = json.dumps(_short(data), separators=(",", ":")).replace("<", "\\u003c")
    display(
        HTML(
            f'<script type="application/json" class="live-figure" data-kind="{kind}" '
            f'data-figure="{escape(figure)}" data-label="{escape(label)}">'
            f"{text}</script>"
        )
    )


def _short(value: object) -> object:
    """Make arrays lists and round the numbers, whole ones to integers."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise ValueError(f"data must hold finite numbers, got {value}")
    rounded = float(f"{value:.{LIVE_DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded
