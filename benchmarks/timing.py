"""Time things in turns, and count what a training step must do at least."""

from itertools import cycle
from statistics import median


def alternate(benchmark, cases, *, rounds):
    """Time all cases once in each round, so that a slow moment hits them all.

    A case is a pair: how often one call does the thing, and what to call. One round
    before the others warms up. The seconds for doing the thing once go to
    ``extra_info["seconds"]``.
    """
    turns = cycle(work for _, work in cases.values())
    benchmark.pedantic(
        lambda work: work(),
        setup=lambda: ((next(turns),), {}),
        rounds=rounds * len(cases),
        warmup_rounds=len(cases),
    )
    times = benchmark.stats.stats.data
    benchmark.extra_info["seconds"] = {
        name: statistics([t / count for t in times[place :: len(cases)]])
        for place, (name, (count, _)) in enumerate(cases.items())
    }


def statistics(times):
    return {"median": median(times), "min": min(times), "rounds": len(times)}


def needed_flop(n, num_patches, dim, num_filters, num_experts):
    """Count the operations that no step of Algorithm 1 can do without, for one run.

    Each example meets its own expert and the router, whose gradients take as many
    operations again; a multiplication and an addition are two. Activations, softmax,
    loss and noise are left out, and so is all recomputation.
    """
    forward = 2 * n * num_patches * dim * num_filters + 2 * n * dim * num_experts
    return 2 * forward
