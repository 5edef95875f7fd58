"""What a notebook displays: tables, values for prose, films, numbers for the site."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from moe_lib import notebook
from moe_lib.notebook import LIVE_KINDS, glue, show_film, show_live, show_table


@pytest.fixture
def shown(monkeypatch):
    """Collect the calls of ``display``."""
    calls = []
    monkeypatch.setattr(notebook, "display", lambda *a, **k: calls.append((a, k)))
    return calls


def only(shown):
    [((item,), keywords)] = shown
    return item, keywords


class Tags(HTMLParser):
    """The tags of a page, each with its attributes as a browser reads them."""

    def __init__(self, page):
        super().__init__()
        self.opened, self.closed, self.text = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.opened.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self.closed.append(tag)

    def handle_data(self, data):
        self.text += data


def film(shown, path="media/film.mp4", label="A film"):
    show_film(path, label=label, steps=(0, 10, 300), fps=2.5)
    item, keywords = only(shown)
    assert keywords == {}
    page = Tags(item._repr_html_())
    assert page.closed == ["video"]
    assert page.text == ""
    [(tag, attributes)] = page.opened
    assert tag == "video"
    return attributes


def test_a_table_is_markdown_with_the_first_column_left_and_numbers_right(shown):
    show_table(["model", "accuracy", "entropy"], [["a", "1", "2"], ["b", "3", ""]])
    item, keywords = only(shown)
    assert keywords == {}
    assert item._repr_markdown_() == (
        "| model | accuracy | entropy |\n"
        "| :-- | --: | --: |\n"
        "| a | 1 | 2 |\n"
        "| b | 3 |  |"
    )


def test_a_table_of_one_column(shown):
    show_table(["only"], [["x"]])
    assert only(shown)[0]._repr_markdown_() == "| only |\n| :-- |\n| x |"


@pytest.mark.parametrize("row", [["a"], ["a", "b", "c"], []])
def test_a_ragged_row_is_refused_before_anything_is_shown(shown, row):
    with pytest.raises(ValueError, match=r"^rows must have 2 cells, got ") as caught:
        show_table(["x", "y"], [["1", "2"], row])
    assert str(caught.value).endswith(repr(row))
    assert shown == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (np.float64(2.5), "2.5"),
        ("ten seeds", "ten seeds"),
    ],
)
def test_glue_stores_the_value_under_its_name(shown, value, text):
    glue("best", value)
    bundle, keywords = only(shown)
    assert bundle == {"application/papermill.record/text/plain": text}
    assert keywords == {
        "metadata": {
            "scrapbook": {
                "name": "best",
                "mime_prefix": "application/papermill.record/",
            }
        },
        "raw": True,
    }


def test_a_glued_number_loses_no_digit(shown):
    glue("pi", np.pi)
    [text] = only(shown)[0].values()
    assert float(text) == np.pi


def test_a_film_has_controls_and_waits_for_the_reader(shown):
    attributes = film(shown)
    assert "controls" in attributes
    assert "autoplay" not in attributes
    assert attributes["preload"] == "none"


def test_a_film_names_its_file_and_its_poster(shown):
    attributes = film(shown, "media/of.mp4/a.mp4")
    assert attributes["src"] == "media/of.mp4/a.mp4"
    assert attributes["poster"] == "media/of.mp4/a.png"


@pytest.mark.parametrize(
    "text", ['the "best" expert', "a < b & c > d", "l'expert", '"><script>x</script>']
)
def test_whatever_a_label_says_it_stays_a_label(shown, text):
    assert film(shown, label=text)["aria-label"] == text


def test_a_path_is_escaped_too(shown):
    attributes = film(shown, 'a"b&c.mp4')
    assert attributes["src"] == 'a"b&c.mp4'
    assert attributes["poster"] == 'a"b&c.png'


def test_a_film_tells_the_step_of_each_frame_and_its_speed(shown):
    attributes = film(shown)
    assert attributes["data-steps"] == "0 10 300"
    assert attributes["data-fps"] == "2.5"


def live(shown, data, figure="fig-test", label="A figure"):
    """Show data live; return what a browser reads: attributes and text."""
    show_live(LIVE_KINDS[0], data, figure=figure, label=label)
    item, keywords = only(shown)
    assert keywords == {}
    page = Tags(item._repr_html_())
    assert page.closed == ["script"]
    [(tag, attributes)] = page.opened
    assert tag == "script"
    return attributes, page.text


def test_live_numbers_stand_in_a_script_that_nothing_executes(shown):
    attributes, text = live(shown, {"a": [1, 2.5]}, "fig-a", 'the "best" < all')
    assert attributes == {
        "type": "application/json",
        "class": "live-figure",
        "data-kind": LIVE_KINDS[0],
        "data-figure": "fig-a",
        "data-label": 'the "best" < all',
    }
    assert text == '{"a":[1,2.5]}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.3333"),
        (98765.4321, "98770"),
        (123456789, "123456789"),
        (2.0, "2"),
        (1.23456e-7, "1.235e-07"),
        (np.float64(0.25), "0.25"),
        (np.array([[1.0, 0.5]]), "[[1,0.5]]"),
        (torch.tensor([1, 2]), "[1,2]"),
        ((0.1, "words", True), '[0.1,"words",true]'),
    ],
)
def test_numbers_are_short_and_arrays_are_lists(shown, value, text):
    assert live(shown, value)[1] == text


def test_words_cannot_end_the_script(shown):
    data = {"</script><img>": "</script><!-- <script>"}
    _, text = live(shown, data)
    assert "<" not in text
    assert json.loads(text) == data


@pytest.mark.parametrize("value", [np.nan, np.inf, np.array([0.0, -np.inf])])
def test_numbers_that_are_none_are_refused(shown, value):
    with pytest.raises(ValueError, match=r"^data must hold finite numbers, got -?[ni]"):
        show_live(LIVE_KINDS[0], {"a": [value]}, figure="fig-a", label="A figure")
    assert shown == []


def test_an_unknown_kind_is_refused(shown):
    with pytest.raises(ValueError, match=r"^kind must be one of .*, got 'pie'$"):
        show_live("pie", [], figure="fig-a", label="A figure")
    assert shown == []


def test_a_name_that_is_no_figure_is_refused(shown):
    with pytest.raises(ValueError, match=r"^figure must start with 'fig-', got 'a'$"):
        show_live(LIVE_KINDS[0], [], figure="a", label="A figure")
    assert shown == []
