"""How fast the playground is in a browser, and how free it leaves the page.

python -m benchmarks.playground

Wants the built site, Chromium and a machine that does nothing else. The nonlinear
preset, and a seed that takes longer, are played from a fresh page until their task is
solved.
"""

import json

from playwright.sync_api import sync_playwright

from tests.site.conftest import SITE, WHOLE_BROWSERS, find_chromium, serve

WATCH = """() => {
  window.longest = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      window.longest = Math.max(window.longest, entry.duration);
    }
  }).observe({ type: "longtask" });  // those over 50 ms
}"""
SOLVED = """() => {
  const { testAccuracy, dispatchEntropy, steps } = window.playground.stats();
  return steps > 0 && testAccuracy >= 0.99 && dispatchEntropy < 0.05;
}"""


def measure(page, address, seed):
    """Play until solved, then for five seconds more."""
    page.goto(f"{address}/book/playground.html#preset=nonlinear&seed={seed}")
    page.wait_for_function("window.playground?.stats().testAccuracy !== undefined")
    page.wait_for_timeout(2000)  # the theme's own scripts are done
    page.evaluate(WATCH)
    began = page.evaluate("performance.now()")
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(SOLVED, timeout=60_000)
    seconds = (page.evaluate("performance.now()") - began) / 1000
    page.wait_for_timeout(5000)
    return {
        "steps per second": round(page.evaluate("playground.stats().stepsPerSecond")),
        "seconds to 99 % and entropy 0.05": round(seconds, 1),
        "longest task of the page over 50 ms": page.evaluate("window.longest"),
    }


def main():
    """Print one line of JSON for a desk and for a phone's width."""
    with serve(SITE) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(WHOLE_BROWSERS), args=["--no-sandbox"]
        )
        for width, seed in ((1280, 1), (1280, 4), (360, 1)):
            page = browser.new_page(viewport={"width": width, "height": 800})
            found = measure(page, address, seed)
            print(json.dumps({"width": width, "seed": seed, **found}))
            page.close()


if __name__ == "__main__":
    main()
