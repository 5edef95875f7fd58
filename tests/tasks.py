"""Tasks that other processes can import, and a small cluster to call them."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Square:
    """Return a square, or do what tasks should not do.

    Where ``marks`` is given, dying leaves a mark there, and a task that finds its mark
    has had enough and works; waiting ends when a file ``go`` is there.
    """

    number: int
    fault: str = ""
    marks: str = ""

    def __str__(self):
        return f"number={self.number}"

    def __call__(self):
        if self.fault == "raise":
            raise ArithmeticError("first line\nsecond line")
        if self.fault == "die once":
            mark = Path(self.marks) / str(self)
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "wait":
            wait_until((Path(self.marks) / "go").exists)
        if self.fault == "sleep":
            time.sleep(5)
        return self.number**2


@contextmanager
def cluster(folder, workers):
    """Start a Dask scheduler and its workers by hand; yield address and processes."""
    file = folder / "scheduler.json"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    }

    def start(module, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
        log = (folder / f"{module}.log").open("a")
        with log:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log
            )

    where = ["--scheduler-file", str(file), "--no-dashboard"]
    processes = [start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", *where)]
    try:
        wait_until(file.exists)
        one = ["--nthreads", "1", "--local-directory", str(folder), *where]
        processes += [start("dask_worker", *one) for _ in range(workers)]
        wait_until(lambda: file.read_text().endswith("}"))
        yield json.loads(file.read_text())["address"], processes
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=30)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s in vain")
        time.sleep(0.02)
