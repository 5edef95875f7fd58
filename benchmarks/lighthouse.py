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

from tests.site.conftest import (
    SITE,
    WHOLE_BROWSERS,
    QuietHandler,
    find_chromium,
    serve,
)

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
# To be like a phone, Lighthouse makes this machine four times slower. By its own table
# that is right for an index from 1500 on; below, where twice is right, see "phone, 2x".
DEVICES = {
    "phone": [],
    "phone, 2x": ["--throttling.cpuSlowdownMultiplier=2"],
    "desk": ["--preset=desktop"],
}


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
    """Return the score of each category, out of 100, and an index of this machine."""
    chromium = find_chromium(WHOLE_BROWSERS) or "chromium"
    said = subprocess.run(
        [*COMMAND, FLAGS, *options, address],
        env={"CHROME_PATH": chromium, **os.environ},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    report = json.loads(said)
    found = {one["title"]: one["score"] for one in report["categories"].values()}
    found = {title: round(100 * score) for title, score in found.items()}
    return {**found, "machine": round(report["environment"]["benchmarkIndex"])}


def main():
    """Print one line of JSON for each page and device."""
    with serve(SITE, Compressing) as address:
        for page in PAGES:
            for device, options in DEVICES.items():
                found = scores(f"{address}/{page}", options)
                print(json.dumps({"page": page, "device": device, **found}), flush=True)


if __name__ == "__main__":
    main()
