"""Formulas are set when the reader comes near them, and all of them for paper."""

import pytest

UNSET = "document.querySelectorAll('.math:not(:has(mjx-container))').length"


@pytest.fixture
def chapter(browser, site_address):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{site_address}/notebooks/02_single_expert.html", wait_until="load")
    page.wait_for_function("!!window.MathJax?.typesetPromise")
    yield page
    page.close()


def test_formulas_far_below_wait(chapter):
    chapter.wait_for_timeout(300)
    assert chapter.evaluate(UNSET) > 100


def test_a_formula_is_set_before_it_is_seen(chapter):
    last = "[...document.querySelectorAll('p .math:not(details *)')].at(-1)"
    assert not chapter.evaluate(f"!!{last}.querySelector('mjx-container')")
    chapter.evaluate(f"{last}.scrollIntoView()")
    chapter.wait_for_function(f"{last}.querySelector('mjx-container')")


@pytest.mark.parametrize("ask", ["setAllFormulas()", "print()"])
def test_all_are_set_if_asked_and_for_paper(chapter, ask):
    chapter.evaluate(f"window.{ask}")
    chapter.wait_for_function(f"{UNSET} === 0")
