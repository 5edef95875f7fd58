"""Call tasks in several processes of this machine or of a cluster, by joblib.

A task is a hashable object that can be pickled and called without arguments; its
``str`` names it. What it returns comes back as soon as it is there, in any order.
"""

import asyncio
import os
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import joblib
from tqdm import tqdm

CONNECT_SECONDS = 5  # how long to try to reach a scheduler
WORKER_SECONDS = 30  # how long to wait for its first worker

Task = Callable[[], Any]
Results = Generator[tuple[Any, Any], None, None]


class SweepError(RuntimeError):
    """A task failed, a worker died too often, or a cluster cannot be reached."""


@dataclass(frozen=True)
class _Call:
    """A task that returns itself too, and says its name where it fails."""

    task: Task

    def __str__(self) -> str:  # what Dask calls it
        return str(self.task)

    def __call__(self) -> tuple[Task, Any]:
        try:
            return self.task, self.task()
        except Exception as error:
            kind = type(error).__name__
            raise SweepError(f"{self} failed: {kind}: {_line(error)}") from error


def _parallel(tasks: Sequence[Task], started: list[Task], **options: Any) -> Results:
    """Yield each task with its result, and list what was started."""

    def calls() -> Iterator[Any]:
        for task in tasks:
            started.append(task)
            yield joblib.delayed(_Call(task))()

    parallel = joblib.Parallel(batch_size=1, return_as="generator_unordered", **options)
    results = parallel(calls())
    try:
        for result in results:  # noqa: UP028 (close here, not by `yield from`)
            yield result
    finally:
        with warnings.catch_warnings():  # joblib warns of what is left undone
            warnings.simplefilter("ignore")
            results.close()


def _silence() -> None:
    """Keep progress bars and tracebacks of other processes off the terminal."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (open while the process lives)
    tqdm.set_lock(threading.RLock())  # the default one outlives a killed process


def locally(tasks: Sequence[Task], jobs: int, report: Callable[[str], None]) -> Results:
    """Call tasks in ``jobs`` processes of this machine (1: in this one).

    When a process dies, nobody knows which of the unfinished tasks killed it. So each
    of them is tried once more, alone.

    Raises
    ------
    SweepError
        If a task raises, or if its process dies again.
    """
    left = dict.fromkeys(tasks)
    jobs = min(jobs, max(2, len(left)))  # 1 would put the last task into this process
    with joblib.parallel_config("loky", n_jobs=jobs, initializer=_silence):
        while left:
            started: list[Task] = []
            try:
                for task, result in _parallel([*left], started):
                    del left[task]
                    yield task, result
            except BrokenProcessPool:
                suspects = [task for task in started if task in left]
                report(f"a process died: trying {len(suspects)} again, one by one")
                for task in suspects:
                    yield task, _alone(task)
                    del left[task]


def _alone(task: Task) -> Any:
    try:
        [(_, result)] = _parallel([task], [])
    except BrokenProcessPool:
        raise SweepError(f"{task} failed: its process died twice") from None
    return result


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def on_cluster(tasks: Sequence[Task], scheduler: str) -> Results:
    """Call tasks on the workers of a Dask scheduler, such as ``tcp://10.0.0.5:8786``.

    When a worker dies, Dask gives its tasks to others (by default three times).

    Raises
    ------
    SweepError
        If the scheduler cannot be reached, it has no worker, a task raises, or all
        workers that tried a task died.
    ImportError
        If Dask is not installed.
    """
    import distributed

    async def handshake() -> None:
        (await distributed.comm.connect(scheduler)).abort()

    try:
        # A Client waits for ever where something else than a scheduler listens, such
        # as its web page. (A thread: a notebook's own has an event loop already.)
        with ThreadPoolExecutor(1) as thread:
            limited = asyncio.wait_for(handshake(), CONNECT_SECONDS)
            thread.submit(asyncio.run, limited).result()
        client = distributed.Client(
            scheduler, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except Exception as error:
        reason = _line(error) or f"no answer within {CONNECT_SECONDS} s"
        raise SweepError(f"scheduler {scheduler} is not there: {reason}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
            futures = {client.submit(_Call(t), pure=False): t for t in tasks}
            for future in distributed.as_completed(futures, loop=client.loop):
                try:
                    yield future.result()
                except distributed.KilledWorker as error:
                    times = error.allowed_failures + 1
                    message = f"{futures[future]} failed: {times} workers died of it"
                    raise SweepError(message) from error
        except SweepError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {_line(error)}"
            raise SweepError(f"scheduler {scheduler} failed: {reason}") from error
