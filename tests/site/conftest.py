"""The built site, a server for it and a browser."""

import os
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "_build" / "html"


class QuietHandler(SimpleHTTPRequestHandler):
    """A file server that keeps no log."""

    def log_message(self, *args):
        pass


@contextmanager
def serve(folder, handler=QuietHandler):
    """Serve a folder on a free port of this machine and yield its address."""
    answer = partial(handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def site():
    assert (SITE / "index.html").is_file(), "no built site: run `make book` first"
    return SITE


@pytest.fixture(scope="session")
def site_address(site):
    with serve(site) as address:
        yield address


WHOLE_BROWSERS = ("chromium", "chromium-browser")
# The first is Chromium without its windows: the same pages, and it opens them sooner.
BROWSERS = ("chromium-headless-shell", *WHOLE_BROWSERS)


def find_chromium(names=BROWSERS):
    """Return the path of the browser, or None."""
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser():
    chromium = find_chromium()
    if not chromium:
        install = "apt install chromium-headless-shell"
        message = f"no Chromium on this machine (on Debian: {install})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-background-networking"],
        )
        yield running
        running.close()
