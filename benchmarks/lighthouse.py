"""What Lighthouse says of the built site, served compressed as a web host does.

python -m benchmarks.lighthouse

Wants the built site, Chromium, a machine that does nothing else, and Node.js, whose
`npx` fetches Lighthouse from the net.
"""

import gzip
import json
import os
import subprocess
from http import HTTPStatus
from pathlib import Path

from tests.site.conftest import SITE, QuietHandler, find_chromium, serve

PAGES = (
    "book/index.html",
    "notebooks/04_linear_vs_nonlinear.html",
    "book/playground.html",
)
COMMAND = [
    "npx",
    "--yes",
    "--loglevel=error",
    "lighthouse@13",
    "--quiet",
    "--output=json",
]
FLAGS = "--chrome-flags=--headless=new --no-sandbox"
DEVICES = {"phone": [], "desk": ["--preset=desktop"]}


class Compressing(QuietHandler):
    """Send text compressed."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content, kind = path.read_bytes(), self.guess_type(path)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        if "text" in kind or "javascript" in kind or "svg" in kind:
            content = gzip.compress(content)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def scores(address, options):
    """Return the score of each category, out of 100."""
    said = subprocess.run(
        [*COMMAND, FLAGS, *options, address],
        env={"CHROME_PATH": find_chromium() or "chromium", **os.environ},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    categories = json.loads(said)["categories"].values()
    return {one["title"]: round(100 * one["score"]) for one in categories}


def main():
    """Print one line of JSON for each page and device."""
    with serve(SITE, Compressing) as address:
        for page in PAGES:
            for device, options in DEVICES.items():
                found = scores(f"{address}/{page}", options)
                print(json.dumps({"page": page, "device": device, **found}), flush=True)


if __name__ == "__main__":
    main()
