"""Formulas are set when the reader comes near them, and all of them for paper."""

import pytest

UNSET = "document.querySelectorAll('.math:not(:has(mjx-container))').length"
LAST = "[...document.querySelectorAll('p .math:not(details *)')].at(-1)"
LOADED = "!!window.MathJax?.typesetPromise"


@pytest.fixture
def chapter(browser, site_address):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{site_address}/notebooks/02_single_expert.html", wait_until="load")
    page.evaluate("new Promise((go) => setTimeout(go, 300))")
    yield page
    page.close()


def test_without_a_formula_near_mathjax_does_not_load(chapter):
    assert not chapter.evaluate(LOADED)


def test_a_formula_is_set_before_it_is_seen_and_the_others_wait(chapter):
    chapter.evaluate(f"{LAST}.scrollIntoView()")
    chapter.wait_for_function(f"{LAST}.querySelector('mjx-container')")
    assert chapter.evaluate(UNSET) > 100


def test_all_are_set_if_asked(chapter):
    chapter.evaluate("window.setAllFormulas()")
    assert chapter.evaluate(UNSET) == 0


def test_all_are_set_for_paper(chapter):
    chapter.keyboard.press("Control")
    chapter.wait_for_function(LOADED)
    chapter.evaluate("window.print()")
    assert chapter.evaluate(UNSET) == 0
