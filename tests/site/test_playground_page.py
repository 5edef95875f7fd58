"""The playground as a reader meets it, in a real browser."""

import gzip
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.site.audit import DESK, PHONE, violations
from tests.site.checks import Page, html_files

STATIC = Path(__file__).parents[2] / "book" / "_static"
LN4 = 1.3863


@pytest.fixture
def visit(browser, site_address):
    """Open the playground at an address; no error may reach the console."""
    opened, errors = [], []

    def go(hash="", viewport=DESK, **context):
        page = browser.new_page(viewport=viewport, **context)
        opened.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and errors.append(message.text),
        )
        page.goto(f"{site_address}/book/playground.html{hash}")
        page.wait_for_function("window.playground?.stats().testAccuracy !== undefined")
        return page

    yield go
    for page in opened:
        page.close()
    assert errors == []


def stats(page):
    return page.evaluate("window.playground.stats()")


def wait_for_steps(page, steps):
    page.wait_for_function(
        f"window.playground.stats().steps >= {steps}", timeout=120_000
    )
    return stats(page)


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def messages(page):
    return page.locator(".pg-messages").inner_text()


def dispatch(page):
    return page.locator("#playground table").inner_text()


def walk(page, steps):
    """Take steps one by one and return all that the page says then."""
    for _ in range(steps):
        before = stats(page)["steps"]
        press(page, "Step")
        page.wait_for_function(f"window.playground.stats().steps === {before + 1}")
    page.wait_for_timeout(100)  # for the picture
    told = page.locator("#playground canvas").evaluate_all(
        "all => all.map((one) => [one.ariaLabel, one.toDataURL()])"
    )
    now = stats(page)
    now.pop("stepsPerSecond")
    return now, dispatch(page), told


# The stories.


STORIES = {
    "nonlinear": (
        200,
        lambda s: s["testAccuracy"] >= 0.99 and s["dispatchEntropy"] < 0.05,
        "Solved",
    ),
    "linear": (
        600,
        lambda s: s["testAccuracy"] > 0.94 and s["dispatchEntropy"] > 0.9,
        "the colours cut through the boxes",
    ),
    "single": (
        300,
        lambda s: 0.6 < s["testAccuracy"] < 0.925,
        "most crosses sit beyond the diagonals",
    ),
    "too-few": (
        300,
        lambda s: s["testAccuracy"] > 0.85 and 0.34 < s["dispatchEntropy"] < 1,
        "somebody has to share",
    ),
    "no-noise": (
        400,
        lambda s: s["testAccuracy"] > 0.9 and 0.1 < s["dispatchEntropy"] < 1,
        "The router divides the work",
    ),
    "plain-gd": (
        150,
        lambda s: s["testAccuracy"] < 0.9 and s["dispatchEntropy"] > 0.98 * LN4,
        "Stuck: the loss is still ln 2",
    ),
}


@pytest.mark.parametrize("preset", STORIES)
def test_each_story_ends_as_it_is_told(visit, preset):
    steps, holds, sentence = STORIES[preset]
    page = visit(f"#preset={preset}&autoplay=1")
    wait_for_steps(page, steps)
    page.get_by_role("button", name="Pause", exact=True).or_(
        page.get_by_role("button", name="Play", exact=True)
    ).click()
    assert holds(stats(page))
    page.wait_for_function(
        "words => document.querySelector('.pg-verdict').textContent.includes(words)",
        arg=sentence,
    )
    pressed = page.locator(".pg-presets [aria-pressed=true]")
    assert pressed.get_attribute("data-preset") == preset


def test_before_the_turn_the_cubic_story_is_not_told_as_the_linear_one(visit):
    page = visit()
    walk(page, 40)
    assert stats(page)["testAccuracy"] > 0.9
    assert stats(page)["dispatchEntropy"] > 1.3
    assert "leans the right way" in page.locator(".pg-verdict").inner_text()


EXPLODING = "#n=300&normalised=0&expert_lr=10&alpha=9,10&gamma=9,10"


@pytest.mark.parametrize("hash", ["#expert_lr=10&n=500", EXPLODING])
def test_a_training_that_blows_up_says_so_and_does_not_hang(visit, hash):
    page = visit(hash + "&autoplay=1")
    page.wait_for_function(
        "document.querySelector('.pg-verdict').textContent.includes('blown up')"
    )
    press(page, "Reset")
    page.wait_for_function("window.playground.stats().steps === 0")


def test_a_loss_that_is_no_number_stops_the_training(visit):
    page = visit(EXPLODING)
    press(page, "Play")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    assert 0 < stats(page)["steps"] < 600


def test_a_story_starts_by_its_button(visit):
    page = visit()
    press(page, "Linear mixture")
    wait_for_steps(page, 5)
    assert page.evaluate("location.hash") == "#preset=linear"


@pytest.mark.parametrize("start", ["", "#preset=linear"])
def test_links_in_the_text_play_their_stories(visit, start):
    page = visit(start, viewport=PHONE)
    page.get_by_role("link", name="A linear mixture").click()
    page.wait_for_selector("[data-preset=linear][aria-pressed=true]")
    wait_for_steps(page, 5)
    assert page.get_by_role("radio", name="linear").is_checked()
    assert page.locator("#playground").bounding_box()["y"] > -100


@pytest.mark.parametrize("name", ["#main-content", "#the-stories", "#"])
def test_places_in_the_page_are_no_settings(visit, name):
    page = visit("#n=300&seed=3")
    walk(page, 3)
    page.evaluate(f"location.hash = {name!r}")
    page.wait_for_timeout(100)
    assert messages(page) == ""
    assert stats(page)["steps"] == 3
    assert page.locator("input[name=seed]").input_value() == "3"
    assert messages(visit(name)) == ""


def test_links_to_situations_are_understood(visit, site):
    hashes = {
        "#" + urlsplit(address).fragment
        for path in html_files(site)
        for address in Page(path).links
        if "=" in urlsplit(address).fragment
    }
    assert {f"#preset={name}" for name in ("single", "linear")} <= hashes
    for hash in hashes:
        page = visit(hash)
        assert messages(page) == ""
        page.close()


def test_it_pauses_by_itself_after_a_leg_and_goes_on_when_asked(visit):
    page = visit("#preset=linear&n=100&autoplay=1")
    wait_for_steps(page, 600)
    page.get_by_role("button", name="Play", exact=True).wait_for()
    assert stats(page)["steps"] == 600
    press(page, "Play")
    wait_for_steps(page, 601)


# Play, pause, step, reset.


def test_pause_really_pauses(visit):
    page = visit("#n=300")
    press(page, "Play")
    wait_for_steps(page, 10)
    press(page, "Pause")
    page.wait_for_timeout(200)  # a slice of work may be on its way
    before = stats(page)
    page.wait_for_timeout(600)
    assert stats(page) == before
    press(page, "Play")
    wait_for_steps(page, before["steps"] + 5)


def test_quick_presses_do_not_confuse_the_button(visit):
    page = visit("#n=1000")
    page.evaluate(
        """() => {
          const [play, step] = document.querySelectorAll(".live-transport button");
          for (let i = 0; i < 5; i++) play.click();  // plays
          step.click();
          play.click();
        }"""
    )
    wait_for_steps(page, 20)
    before = stats(page)["steps"]
    press(page, "Pause")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.wait_for_timeout(200)
    before = stats(page)
    page.wait_for_timeout(400)
    assert stats(page) == before


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_fewer_clusters_can_be_asked_for_while_it_plays(visit, motion):
    page = visit("#n=300&K=6", reduced_motion=motion)
    press(page, "Play")
    page.locator("#playground summary").click()
    for number in ("2", "6", "3"):
        wait_for_steps(page, 3)
        page.locator("input[name=K]").fill(number)
        page.keyboard.press("Enter")
    wait_for_steps(page, 30)
    page.wait_for_function(
        "document.querySelectorAll('#playground tbody tr').length == 3"
    )


def test_held_out_examples_are_looked_at_after_each_single_step(visit):
    page = visit("#n=300")
    accuracies = [walk(page, 1)[0]["testAccuracy"] for _ in range(4)]
    assert len({*accuracies}) > 1


def test_reset_reproduces_the_run(visit):
    page = visit("#n=300&seed=5")
    first = walk(page, 12)
    press(page, "Play")
    wait_for_steps(page, 20)
    press(page, "Reset")
    page.wait_for_function("window.playground.stats().steps === 0")
    assert walk(page, 12) == first


def test_another_seed_gives_another_run(visit):
    one, two = (walk(visit(f"#n=300&seed={seed}"), 6) for seed in (5, 6))
    assert one[0]["testAccuracy"] != two[0]["testAccuracy"]
    assert one[1] != two[1]


def test_playing_takes_the_same_steps_as_stepping(visit):
    page = visit("#n=100&J=2&expert_lr=0.02")
    press(page, "Play")
    wait_for_steps(page, 600)
    page.get_by_role("button", name="Play", exact=True).wait_for()
    played = stats(page)
    again = visit("#n=100&J=2&expert_lr=0.02")
    button = again.get_by_role("button", name="Step", exact=True)
    button.evaluate("(button) => { for (let i = 0; i < 600; i++) button.click(); }")
    stepped = wait_for_steps(again, 600)
    for one in (played, stepped):
        one.pop("stepsPerSecond")
    assert stepped == played


# By keyboard.


def focusable(page):
    """Name what Tab reaches: radio buttons of a group are one stop."""
    return page.evaluate(
        """() => [...document.querySelectorAll(
            "#playground :is(button, input, summary)")]
          .filter((e) => e.type !== "radio" || e.checked)
          .map((e) => e.name || e.textContent || e.type)"""
    )


STOPS = [
    *("One expert", "Linear mixture", "Cubic mixture", "Too few experts"),
    *("No routing noise", "Plain gradient", "pg-model", "pg-activation", "range"),
    *("Play", "Step", "Reset"),
    *("All settings", "gamma", "gamma", "alpha", "alpha", "sigma_p", "M", "J", "K"),
    *("d", "P", "n", "expert_lr", "router_lr", "noise", "normalised", "pg-recipe"),
    "seed",
]


def test_tab_reaches_every_control_in_order(visit):
    page = visit()
    page.locator("#playground summary").click()
    wanted = focusable(page)
    assert wanted == STOPS
    page.locator("#playground button").first.focus()
    reached = []
    for _ in wanted:
        reached.append(
            page.evaluate(
                "(({ name, textContent, type }) => name || textContent || type)"
                "(document.activeElement)"
            )
        )
        page.keyboard.press("Tab")
    assert reached == wanted
    assert page.evaluate("!document.activeElement.closest('#playground')")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_buttons_work_by_keyboard(visit, key):
    page = visit("#n=300")
    page.get_by_role("button", name="Step", exact=True).focus()
    page.keyboard.press(key)
    wait_for_steps(page, 1)
    page.get_by_role("button", name="Reset", exact=True).focus()
    page.keyboard.press(key)
    page.wait_for_function("window.playground.stats().steps === 0")
    page.get_by_role("button", name="Play", exact=True).focus()
    page.keyboard.press(key)
    wait_for_steps(page, 3)
    page.keyboard.press(key)
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.get_by_role("button", name="Too few experts", exact=True).focus()
    page.keyboard.press(key)
    page.wait_for_function("location.hash === '#preset=too-few'")


NEW_VALUES = {
    "alpha": "0.7,1.5",
    "sigma_p": "0.5",
    "M": "5",
    "J": "8",
    "K": "3",
    "d": "30",
    "P": "5",
    "n": "400",
    "expert_lr": "0.02",
    "router_lr": "2",
    "seed": "7",
}


@pytest.mark.parametrize(("key", "words"), NEW_VALUES.items())
def test_fields_take_values_by_keyboard(visit, key, words):
    page = visit()
    page.locator("#playground summary").focus()
    page.keyboard.press("Enter")
    for field, word in zip(
        page.locator(f"#playground input[name={key}]").all(),
        words.split(","),
        strict=True,
    ):
        field.focus()
        page.keyboard.press("Control+a")
        page.keyboard.type(word)
        page.keyboard.press("Enter")
    hash = page.evaluate("decodeURIComponent(location.hash)")
    assert hash == f"#preset=nonlinear&{key}={words}"
    assert page.locator("[aria-pressed=true]").count() == 0
    walk(page, 1)


@pytest.mark.parametrize(
    ("name", "key", "hash"),
    [
        ("pg-model", "ArrowRight", "model=single"),
        ("pg-activation", "ArrowRight", "activation=relu"),
        ("pg-recipe", "ArrowRight", "recipe=authors"),
        ("noise", "Space", "noise=0"),
        ("normalised", "Space", "normalised=0"),
    ],
)
def test_choices_are_made_by_keyboard(visit, name, key, hash):
    page = visit()
    page.locator("#playground summary").click()
    chosen = page.locator(f"#playground input[name={name}]:checked")
    chosen.focus()
    page.keyboard.press(key)
    assert page.evaluate("location.hash") == f"#preset=nonlinear&{hash}"
    walk(page, 1)


def test_the_slider_moves_by_keyboard(visit):
    page = visit()
    page.get_by_label("Feature noise (decoy) up to").focus()
    page.keyboard.press("ArrowRight")
    hash = page.evaluate("decodeURIComponent(location.hash)")
    assert hash == "#preset=nonlinear&gamma=0.5,3.1"
    walk(page, 1)


def test_another_setting_goes_on_playing(visit):
    page = visit("#n=300&autoplay=1")
    wait_for_steps(page, 30)
    page.get_by_role("radio", name="linear").check()
    page.wait_for_function("window.playground.stats().steps < 30")
    wait_for_steps(page, 10)


# The address.


def test_the_address_says_all_that_is_set(visit):
    page = visit("#preset=linear&M=5&gamma=0.5%2C4&seed=9&n=300&recipe=authors")
    here = page.evaluate("location.hash")
    assert page.get_by_role("radio", name="linear").is_checked()
    assert page.locator("input[name=M]").input_value() == "5"
    assert page.locator("input[name=expert_lr]").input_value() == "0.001"
    first = walk(page, 5)
    page.locator("#playground summary").click()
    page.locator("input[name=seed]").fill("10")
    page.keyboard.press("Enter")
    page.locator("input[name=seed]").fill("9")
    page.keyboard.press("Enter")
    there = page.evaluate("location.hash")
    assert "seed=9" in there
    for address in (here, there):
        assert walk(visit(address), 5) == first


def test_a_recipe_brings_its_rates_and_takes_them_away(visit):
    page = visit()
    page.locator("#playground summary").click()
    rates = [page.locator(f"input[name={name}_lr]") for name in ("expert", "router")]
    assert [rate.input_value() for rate in rates] == ["0.01", "1"]
    page.get_by_role("radio", name="the authors' code").check()
    assert [rate.input_value() for rate in rates] == ["0.001", "0.1"]
    page.get_by_role("radio", name="the paper's").check()
    assert [rate.input_value() for rate in rates] == ["0.01", "1"]
    assert page.evaluate("location.hash") == "#preset=nonlinear"


def test_a_rate_that_was_chosen_stays_where_the_recipe_stays(visit):
    page = visit("#expert_lr=0.03")
    page.get_by_role("radio", name="linear").check()
    assert page.locator("input[name=expert_lr]").input_value() == "0.03"


def test_a_choice_that_is_refused_is_not_shown_as_made(visit):
    page = visit("#J=3&n=300")
    page.locator("#playground summary").click()
    page.get_by_role("radio", name="the authors' code").click()
    assert "must be even" in page.locator("#pg-error-recipe").inner_text()
    assert page.get_by_role("radio", name="the paper's").is_checked()
    walk(page, 1)


def test_what_has_no_effect_cannot_be_set(visit):
    page = visit("#preset=single")
    for name, idle in (("M", True), ("noise", True), ("J", False)):
        assert page.locator(f"input[name={name}]").is_disabled() == idle


def test_a_bad_address_loses_only_what_is_in_conflict(visit):
    page = visit("#recipe=authors&J=3&K=5&seed=8")
    values = {name: page.locator(f"input[name={name}]").input_value() for name in "JK"}
    assert values == {"J": "16", "K": "5"}
    assert page.locator("input[name=seed]").input_value() == "8"


@pytest.mark.parametrize(
    ("hash", "message"),
    [
        ("#preset=nonsense", "no preset “nonsense”"),
        ("#preset=__proto__", "no preset"),
        ("#toString=1", "no setting “toString”"),
        ("#K=30&d=100&n=200", "Clusters K must be a whole number from 2 to 6"),
        ("#K=6&d=10", "Clusters K must be at most d / 2 = 5"),
        ("#M=0", "Experts M must be a whole number from 1 to 8; got 0"),
        ("#M=NaN", "Experts M must be a whole number from 1 to 8; got NaN"),
        ("#M=2.5", "whole number"),
        ("#M=0x5", "whole number"),
        ("#preset=no-noise&recipe=authors", "Routing noise must be on"),
        ("#M=", "got nothing"),
        ("#n=1e12", "Examples n must be a whole number from 100 to 8000"),
        ("#n=8000&P=8&d=200", "Examples n must be at most 1250"),
        ("#sigma_p=-1", "must be a number from 0 to 5"),
        ("#sigma_p=Infinity", "must be a number from 0 to 5"),
        ("#gamma=3,0.5", "two numbers from 0.05 to 10, the lower first"),
        ("#gamma=1", "two numbers"),
        ("#gamma=0.5,NaN", "two numbers"),
        ("#gamma=1,2,3", "two numbers"),
        ("#activation=tanh", "must be linear or cubic or relu"),
        ("#noise=yes", "must be 0 or 1"),
        ("#recipe=authors&J=3", "must be even"),
        ("#seed=<img src=x onerror=alert(1)>", "Seed must be"),
    ],
)
def test_a_bad_address_gets_a_message_and_safe_values(visit, hash, message):
    page = visit(hash)
    assert message in messages(page)
    walk(page, 2)
    assert stats(page)["testAccuracy"] > 0.3


def test_a_good_address_gets_none(visit):
    assert messages(visit("#preset=single&K=3&n=300")) == ""


@pytest.mark.parametrize(
    ("key", "words", "message"),
    [
        ("M", "0", "must be a whole number from 1 to 8; got 0"),
        ("n", "1e9", "from 100 to 8000"),
        ("K", "many", "got many"),
        ("d", "6", "Clusters K must be at most d / 2 = 3"),
        ("sigma_p", "", "got nothing"),
    ],
)
def test_a_bad_field_gets_a_message_and_changes_nothing(visit, key, words, message):
    page = visit("#n=300")
    page.locator("#playground summary").click()
    field = page.locator(f"input[name={key}]")
    before = page.evaluate("location.hash")
    good = field.input_value()
    field.fill(words)
    page.keyboard.press("Enter")
    told = page.locator(f"#pg-error-{key}")
    assert message in told.inner_text()
    assert field.get_attribute("aria-invalid") == "true"
    assert field.get_attribute("aria-describedby") == told.get_attribute("id")
    assert page.evaluate("location.hash") == before
    walk(page, 2)
    field.fill(good)
    page.keyboard.press("Enter")
    assert told.inner_text() == ""
    assert field.get_attribute("aria-invalid") is None


# How it looks.


@pytest.mark.parametrize("hash", ["", "#M=8&K=6&n=300", "#preset=single&n=300"])
def test_nothing_scrolls_sideways_on_a_phone(visit, hash):
    page = visit(hash, viewport=PHONE)
    page.locator("#playground summary").click()
    walk(page, 2)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= PHONE["width"]
    inside = """() => [...document.querySelectorAll("#playground *")]
      .filter((e) => e.getClientRects().length && e.getBoundingClientRect().right > 360)
      .map((e) => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(inside) == []
    page.set_viewport_size(DESK)
    page.wait_for_timeout(200)
    assert page.locator(".pg-examples canvas").bounding_box()["width"] > 330
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(200)
    assert page.evaluate(width) <= PHONE["width"]


def test_pictures_follow_the_colour_scheme(visit):
    page = visit("#n=300", color_scheme="light")
    pixels = """() => [...document.querySelectorAll("#playground canvas")]
      .map((canvas) => canvas.toDataURL())"""
    light = page.evaluate(pixels)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.wait_for_timeout(100)
    dark = page.evaluate(pixels)
    assert all(a != b for a, b in zip(light, dark, strict=True))


def test_nothing_starts_by_itself_where_motion_is_not_wanted(visit):
    page = visit("#n=300&autoplay=1", reduced_motion="reduce")
    page.wait_for_timeout(300)
    assert stats(page)["steps"] == 0
    press(page, "Play")
    wait_for_steps(page, 5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("hash", ["#preset=linear&n=300", "#preset=single&M=0"])
def test_axe_finds_nothing_in_use(visit, hash, viewport, scheme):
    page = visit(hash, viewport=viewport, color_scheme=scheme)
    page.locator("#playground summary").click()
    page.locator("input[name=J]").fill("0")
    walk(page, 3)
    assert violations(page) == []


# How it arrives.


def test_a_page_opened_as_a_file_says_how_to_see_it(browser, site):
    page = browser.new_page()
    page.goto((site / "book" / "playground.html").as_uri())
    assert "make serve" in page.locator("#playground").inner_text()
    page.close()


def test_a_page_without_javascript_says_so(browser, site_address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site_address}/book/playground.html")
    assert "needs JavaScript" in page.locator("#playground").inner_text()
    context.close()


def test_code_and_data_are_small(visit, site):
    page = visit()
    loaded = page.evaluate(
        "() => performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    ours = {n.partition("/_static/")[2].partition("?")[0] for n in loaded}
    ours = {n for n in ours if n.startswith(("playground/", "live/"))}
    assert {"playground/page.js", "playground/page.css", "live/live.css"} <= ours
    ours |= {f"playground/{name}.js" for name in ("worker", "simulation", "model")}
    total = sum(len(gzip.compress((STATIC / name).read_bytes())) for name in ours)
    total += len(gzip.compress((site / "book" / "playground.html").read_bytes()))
    assert total <= 80_000
