"""What notebooks need to show numbers: tables, and values that prose can quote."""

from collections.abc import Sequence
from html import escape

from IPython.display import HTML, Markdown, display

PAPERMILL = "application/papermill.record/"


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


def show_film(path: str, *, label: str) -> None:
    """Display an MP4 with play and pause, still until the reader starts it.

    Parameters
    ----------
    path : str
        The film, relative to the notebook; its poster has the same name with ``.png``.
    label : str
        What the film shows, for those who cannot see it.
    """
    poster = path.removesuffix(".mp4") + ".png"
    display(
        HTML(
            f'<video controls loop muted playsinline preload="none" width="640" '
            f'height="400" src="{escape(path)}" poster="{escape(poster)}" '
            f'aria-label="{escape(label)}"></video>'
        )
    )
