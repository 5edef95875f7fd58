"""Fresh processes that start at once: forks of one that has loaded what loads slowly.

Neither the shape checker nor the measuring of coverage reaches them: in them the library
is what its users have.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch", "torch._dynamo", "nbval.plugin", "hypothesis.strategies", "scipy.stats"]
)


def call(function: Callable, *arguments: object) -> object:
    """Return what the function returns in a process of its own, or raise what it does."""
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as process:
        return process.submit(function, *arguments).result()
