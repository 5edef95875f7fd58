"""Fresh processes that start at once: forks of one that has loaded what loads slowly.

Neither the shape checker nor the measuring of coverage reaches them: there the library
is as its users have it.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch", "torch._dynamo", "nbval.plugin", "hypothesis.strategies", "scipy.stats"]
)


def call(function: Callable, *arguments: object) -> object:
    """Return or raise what the function does in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as process:
        return process.submit(function, *arguments).result()
