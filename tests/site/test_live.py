"""Live figures and films in a real browser: what moves, and what stays if it cannot."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from moe_lib.notebook import LIVE_KINDS
from moe_lib.plotting import CLUSTER_COLORS, EXPERT_COLORS, MODEL_COLORS
from moe_lib.results import load_committed
from moe_lib.theory import additive_error_bound
from tests.site.conftest import serve

LIVE = Path(__file__).parents[2] / "book" / "_static" / "live"
FIGURES = {
    "ceiling": ("02_single_expert", "fig-single-gap"),
    "factorial": ("07_reproduction_audit", "fig-audit-factorial"),
    "stages": ("06_training_stages", "fig-stages-two"),
    "training": ("05_router_analysis", "fig-router-scrub"),
}
FILMS = "05_router_analysis"


def visit(browser, address, **options):
    """Open a page; its console errors are in ``page.errors``."""
    page = browser.new_page(**options)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on(
        "console",
        lambda message: message.type == "error" and page.errors.append(message.text),
    )
    page.goto(address, wait_until="load")
    return page


@pytest.fixture
def chapter(browser, site_address):
    """Open the chapter of a live figure and return the page and its figure."""
    pages = []

    def open_chapter(kind, **options):
        name, figure = FIGURES[kind]
        pages.append(visit(browser, f"{site_address}/notebooks/{name}.html", **options))
        return pages[-1], pages[-1].locator(f"#{figure}")

    yield open_chapter
    for page in pages:
        page.close()


@pytest.fixture
def modules(browser, tmp_path):
    """A page beside copies of the scripts, to import from."""
    shutil.copytree(LIVE, tmp_path / "live")
    (tmp_path / "index.html").write_text('<link rel="icon" href="data:,">')
    with serve(tmp_path) as address:
        page = visit(browser, f"{address}/index.html")
        yield page
        page.close()


def words_of(figure):
    """What the slider of a figure says it shows."""
    return figure.locator("input[type=range]").get_attribute("aria-valuetext")


def ink(page, canvas):
    """The pixels of a canvas, as text to compare."""
    return page.evaluate("canvas => canvas.toDataURL()", canvas.element_handle())


def test_every_kind_of_the_library_has_a_renderer(modules):
    kinds = modules.evaluate("import('./live/figures.js').then(m => m.KINDS)")
    assert sorted(kinds) == sorted(LIVE_KINDS) == sorted(FIGURES)
    for kind in kinds:
        render = f"import('./live/{kind}.js').then(m => typeof m.render)"
        assert modules.evaluate(render) == "function"


def test_the_palette_is_that_of_the_still_pictures(modules):
    there = modules.evaluate("import('./live/draw.js').then(m => ({ ...m }))")
    assert tuple(there["CLUSTER_COLORS"]) == CLUSTER_COLORS
    assert tuple(there["EXPERT_COLORS"]) == EXPERT_COLORS
    assert there["MODEL_COLORS"] == MODEL_COLORS


def test_the_ceiling_is_that_of_the_library(modules):
    tops = [0.8, 1.0, 1.7, 2.0, 2.1, 3.0, 6.0]
    bound = """tops => import('./live/bound.js').then(m =>
      tops.map(top => m.errorBound([0.5, 2], [0.5, top])))"""
    expected = [additive_error_bound((0.5, 2.0), (0.5, top)) for top in tops]
    np.testing.assert_allclose(modules.evaluate(bound, tops), expected, rtol=1e-12)


def test_the_chance_of_a_stronger_signal_is_what_sampling_gives(modules):
    tops = [1.0, 2.0, 3.5]
    chance = """tops => import('./live/ceiling.js').then(m =>
      tops.map(top => m.signalWins([0.5, 2], [0.5, top])))"""
    draws = np.random.default_rng(0).random((2, 400_000))
    expected = [
        (0.5 + 1.5 * draws[0] > 0.5 + (top - 0.5) * draws[1]).mean() for top in tops
    ]
    np.testing.assert_allclose(modules.evaluate(chance, tops), expected, atol=4e-3)


@pytest.mark.parametrize("color", [*EXPERT_COLORS, *CLUSTER_COLORS, "#222222"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_stand_out_from_the_paper(modules, color, theme):
    contrast = """([color, theme]) => import('./live/draw.js').then(m => {
      document.documentElement.dataset.theme = theme;
      return m.contrast(m.legible(color, m.inks()), m.inks().paper);
    })"""
    assert modules.evaluate(contrast, [color, theme]) >= 3


@pytest.mark.parametrize("kind", FIGURES)
def test_a_live_figure_takes_the_place_of_its_picture(chapter, kind):
    page, figure = chapter(kind)
    figure.locator(".live canvas").first.wait_for()
    assert not figure.locator("img").is_visible()
    caption = figure.locator("figcaption")
    assert caption.is_visible()
    assert caption.inner_text().startswith("Fig. ")
    assert figure.locator(".live").get_attribute("aria-label")
    for canvas in figure.locator("canvas").all():
        assert canvas.get_attribute("role") == "img"
        assert len(canvas.get_attribute("aria-label")) > 20
        assert canvas.bounding_box()["height"] > 50
    assert page.errors == []


@pytest.mark.parametrize("kind", FIGURES)
def test_on_paper_it_is_the_picture_again(chapter, kind):
    page, figure = chapter(kind)
    figure.locator(".live canvas").first.wait_for()
    page.emulate_media(media="print")
    assert figure.locator("img").is_visible()
    assert not figure.locator(".live").is_visible()


@pytest.mark.parametrize("kind", ["factorial", "training"])
def test_words_about_the_still_picture_go_with_it(chapter, kind):
    page, figure = chapter(kind)
    figure.locator(".live canvas").first.wait_for()
    still = figure.locator("figcaption .live-still")
    assert not still.is_visible()
    page.emulate_media(media="print")
    assert still.is_visible()
    _, figure = chapter(kind, java_script_enabled=False)
    assert figure.locator("figcaption .live-still").is_visible()


@pytest.mark.parametrize("kind", FIGURES)
def test_without_javascript_there_is_the_picture(chapter, kind):
    _, figure = chapter(kind, java_script_enabled=False)
    assert figure.locator("img").is_visible()
    assert figure.locator(".live").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", FIGURES)
def test_it_fits_a_phone(chapter, kind, scheme):
    phone = {"width": 360, "height": 740}
    page, figure = chapter(kind, viewport=phone, color_scheme=scheme)
    figure.locator(".live canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for part in figure.locator(".live *:not(svg, svg *)").all():
        box = part.bounding_box()
        assert box is None or box["x"] + box["width"] <= 360.5


@pytest.mark.parametrize("kind", [k for k in FIGURES if k != "factorial"])
def test_the_keyboard_moves_it(chapter, kind):
    page, figure = chapter(kind)
    canvas = figure.locator("canvas").first
    canvas.wait_for()
    slider = figure.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    seen = {(words_of(figure), ink(page, canvas))}
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        seen.add((words_of(figure), ink(page, canvas)))
    assert len({words for words, _ in seen}) == 4
    assert len({picture for _, picture in seen}) == 4
    label = canvas.get_attribute("aria-label")
    page.keyboard.press("End")
    assert canvas.get_attribute("aria-label") != label


@pytest.mark.parametrize("kind", [k for k in FIGURES if k != "factorial"])
def test_play_moves_on_and_pause_holds(chapter, kind):
    page, figure = chapter(kind)
    slider = figure.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    start = words_of(figure)
    page.wait_for_timeout(500)
    assert words_of(figure) == start  # it does not start by itself
    figure.get_by_role("button", name="Play").press("Enter")
    page.wait_for_timeout(700)
    assert words_of(figure) != start
    figure.get_by_role("button", name="Pause").press("Space")
    held = words_of(figure)
    page.wait_for_timeout(500)
    assert words_of(figure) == held
    figure.get_by_role("button", name="Back").click()
    back = words_of(figure)
    figure.get_by_role("button", name="Step").click()
    assert words_of(figure) == held != back


def test_the_ceiling_shown_is_the_bound(chapter):
    _, figure = chapter("ceiling")
    slider = figure.locator("input[type=range]")
    for top in (2.0, 3.0, 4.5):
        slider.fill(str(round(10 * (top - 1))))
        expected = 100 - 100 * additive_error_bound((0.5, 2.0), (0.5, top))
        assert f"the ceiling is {expected:.1f} %" in figure.inner_text()
        assert words_of(figure) == f"strongest decoy {top:.1f}"


def test_the_reader_chooses_the_experts(chapter):
    page, figure = chapter("training")
    cubic = figure.get_by_role("button", name="cubic experts")
    linear = figure.get_by_role("button", name="linear experts")
    figure.locator("input[type=range]").focus()
    page.keyboard.press("End")
    pictures = [ink(page, canvas) for canvas in figure.locator("canvas").all()]
    table = figure.locator("table").inner_text()
    assert "Entropy under noise: 0.00 nats" in figure.inner_text()
    linear.press("Space")
    assert linear.get_attribute("aria-pressed") == "true"
    assert cubic.get_attribute("aria-pressed") == "false"
    assert "Entropy under noise: 1." in figure.inner_text()
    others = [ink(page, canvas) for canvas in figure.locator("canvas").all()]
    assert len({*pictures, *others}) == 6
    assert figure.locator("table").inner_text() != table
    assert words_of(figure) == "step 300"  # the step stays
    cubic.press("Enter")
    assert cubic.get_attribute("aria-pressed") == "true"
    assert [ink(page, canvas) for canvas in figure.locator("canvas").all()] == pictures
    assert figure.locator("table").inner_text() == table


def test_the_dispatch_shown_is_that_of_the_step(chapter):
    _, figure = chapter("training")
    data = json.loads(figure.page.locator("script.live-figure").first.inner_text())
    frame = data["steps"].index(92)
    figure.locator("input[type=range]").fill(str(frame))
    for k, row in enumerate(figure.locator("tbody tr").all()):
        shares = [int(cell or 0) for cell in row.locator("td").all_inner_texts()]
        np.testing.assert_allclose(
            shares, np.array(data["runs"][0]["counts"][frame][k]) / 10, atol=0.51
        )


def test_each_switch_shows_its_cell_of_the_design(chapter):
    page, figure = chapter("factorial")
    cells = load_committed("audit_factorial").data["cells"]

    def shown(quantity):
        label = figure.locator(f"canvas[aria-label^={quantity}]")
        return label.get_attribute("aria-label")

    def check(place, end, loss, gate):
        for kind in MODEL_COLORS:
            name = f"setting {place}, {kind}, {end}, {loss}, {gate}"
            values = np.array(cells[name]["values"]["clean_accuracy"])
            low, high = stats.t.interval(
                0.95, len(values) - 1, values.mean(), stats.sem(values)
            )
            words = f"{kind} experts {values.mean():.1f} plus or minus "
            assert words + f"{(high - low) / 2:.1f}" in shown("accuracy")
            values = np.array(cells[name]["values"]["clean_entropy"])
            words = f"{kind} experts {values.mean():.2f} plus or minus "
            assert words in shown("entropy")

    check(1, "authors", "double_softmax", "noisy_logit")
    canvas = figure.locator("canvas").first
    pictures = {ink(page, canvas)}
    for name, key, cell in (
        ("one softmax", "Enter", (1, "authors", "cross_entropy", "noisy_logit")),
        ("Setting 2", "Space", (2, "authors", "cross_entropy", "noisy_logit")),
        ("paper", "Enter", (2, "paper", "cross_entropy", "noisy_logit")),
        ("softmax", "Space", (2, "paper", "cross_entropy", "softmax")),
    ):
        button = figure.get_by_role("button", name=name, exact=True)
        assert button.get_attribute("aria-pressed") == "false"
        button.press(key)
        assert button.get_attribute("aria-pressed") == "true"
        assert figure.locator("button[aria-pressed=true]").count() == 4
        assert f"now {name}: linear experts" in figure.inner_text()
        check(*cell)
        pictures.add(ink(page, canvas))
    assert len(pictures) == 5


def test_a_stage_is_named_by_the_entropy_of_the_run(chapter):
    page, figure = chapter("stages")
    data = json.loads(page.locator("script.live-figure").first.inner_text())
    slider = figure.locator("input[type=range]")
    names = []
    for frame in (0, *range(35, 60), 80):  # both thresholds lie between
        slider.fill(str(frame))
        entropy = data["entropy"]["trained"][frame]
        share = entropy / np.log(4)
        bounds = {"exploration": 0.9, "router learning": 0.1, "settled": -1}
        expected = next(name for name, least in bounds.items() if share > least)
        names.append(expected)
        assert words_of(figure) == f"step {2 * frame}: {expected}"
        equations = data["entropy"]["equations"][frame]
        said = figure.inner_text()
        assert f"{entropy:.2f} (equations {equations:.2f})" in said
    assert set(names) == {"exploration", "router learning", "settled"}


# Each film has the same controls.

ARRIVED = """([video, time]) =>
  !video.seeking && Math.abs(video.currentTime - time) < 0.02"""


def open_films(browser, site_address, **options):
    return visit(browser, f"{site_address}/notebooks/{FILMS}.html", **options)


def test_a_film_moves_by_the_shared_controls(browser, site_address):
    page = open_films(browser, site_address)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    video = page.locator("video").first
    holder = page.locator("video + .live").first
    slider = holder.locator("input[type=range]")
    assert video.get_attribute("controls") is None
    assert words_of(holder) == "step 600"
    slider.focus()
    assert not any(url.endswith(".mp4") for url in asked)  # not before it is used
    frame = 21
    slider.fill(str(frame))
    fps = float(video.get_attribute("data-fps"))
    step = video.get_attribute("data-steps").split()[frame]
    assert words_of(holder) == f"step {step}"
    page.wait_for_function(ARRIVED, arg=[video.element_handle(), (frame + 0.5) / fps])
    assert sum(url.endswith(".mp4") for url in asked) == 1
    page.keyboard.press("ArrowRight")
    page.wait_for_function(ARRIVED, arg=[video.element_handle(), (frame + 1.5) / fps])
    assert page.errors == []
    page.close()


def test_a_film_plays_and_pauses(browser, site_address):
    page = open_films(browser, site_address)
    holder = page.locator("video + .live").first
    holder.get_by_role("button", name="Play").press("Enter")
    page.wait_for_timeout(1200)
    holder.get_by_role("button", name="Pause").press("Enter")
    held = words_of(holder)
    assert held not in ("step 600", "step 0")
    page.wait_for_timeout(600)
    assert words_of(holder) == held
    page.close()


def test_a_film_that_is_gone_gets_the_controls_of_the_browser(browser, site_address):
    page = open_films(browser, site_address)
    page.route("**/*.mp4", lambda route: route.abort())
    video = page.locator("video").first
    page.locator("video + .live input").first.fill("3")
    page.wait_for_function("video => video.controls", arg=video.element_handle())
    assert page.locator("video + .live").count() == 1  # that of the other film
    page.close()


def test_without_javascript_a_film_has_the_controls_of_the_browser(
    browser, site_address
):
    page = open_films(browser, site_address, java_script_enabled=False)
    assert page.locator("video[controls]").count() == page.locator("video").count() == 2
    page.close()


# Whatever is wrong with the numbers, the picture stays.

GOOD = {"alpha": [0.5, 2], "low": 0.5, "start": 3, "marks": []}
PAGE = """<!doctype html>
<html lang="en"><head><title>Test</title><link rel="icon" href="data:,">
<script type="module" src="live/figures.js"></script></head><body>
<figure id="fig-test"><div class="picture-box"><img alt="A plot" width="40" height="40"
src="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"></div>
<figcaption>Words</figcaption></figure>
<script type="application/json" class="live-figure" data-kind="KIND"
data-figure="FIGURE" data-label="A test">JSON</script></body></html>"""


@pytest.mark.parametrize(
    ("kind", "figure", "data", "lives"),
    [
        ("ceiling", "fig-test", json.dumps(GOOD), True),
        ("ceiling", "fig-test", json.dumps(GOOD)[:-3], False),
        ("ceiling", "fig-test", "{}", False),
        ("ceiling", "fig-test", json.dumps({**GOOD, "marks": 3}), False),
        ("ceiling", "fig-gone", json.dumps(GOOD), False),
        ("film", "fig-test", json.dumps(GOOD), False),
    ],
    ids=["good", "cut off", "empty", "wrong type", "no such figure", "no such kind"],
)
def test_broken_numbers_leave_the_picture(browser, tmp_path, kind, figure, data, lives):
    shutil.copytree(LIVE, tmp_path / "live")
    filled = PAGE.replace("KIND", kind).replace("FIGURE", figure)
    (tmp_path / "index.html").write_text(filled.replace("JSON", data))
    with serve(tmp_path) as address:
        page = browser.new_page()
        warnings = []
        page.on("console", lambda message: warnings.append(message.text))
        page.goto(f"{address}/index.html", wait_until="load")
        page.wait_for_timeout(300)
        assert page.locator("img").is_visible() != lives
        assert page.locator(".live").count() == lives
        assert page.locator("figcaption").is_visible()
        assert bool(warnings) != lives
        assert all(figure in words for words in warnings)
        page.close()
