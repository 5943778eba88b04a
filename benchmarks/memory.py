"""What a run holds in memory beyond its results, whatever the size of the domain.

Measured is the memory that Python and numpy hold (`tracemalloc`), less what they held before the
run, when the domain had already been written down. Of each run these are taken:

- *first*: what is held when the first experiment runs. A domain that is made a list beforehand
  shows here.
- *peak*: the most that is held at any moment of the run.
- *kept*: what is held when all is deleted but the results, which are outputs, configs and ids.

*Beyond results* is the larger of first, and of peak less kept. The table, `results.df`, is not
made.
"""

from __future__ import annotations

import collections
import gc
import itertools
import tracemalloc
from collections.abc import Callable
from typing import final

from benchmarks.measure import Row, Sizes, Target, WrongRowsError
from daskresearch import EC, Domain, NumpySampler, Option, Research, ResearchResults

_MORE_KB = Target(64, "more")


def memory(sizes: Sizes) -> list[Row]:
    """Run ever more experiments, and as many of ever larger domains, in this process."""
    least, middle, most = sizes.growing
    beyond_results(_decades(1), 10)  # what is imported on first use counts for no run
    while_iterating(_endless(), least)
    few, many = [beyond_results(_decades(n_parameters), middle) for n_parameters in (4, 9)]
    return [
        _growing("experiments", beyond_results, _decades(5), least, most),
        _growing("experiments of a sum", beyond_results, _sum(), least, most),
        _row(f"{middle:,} experiments of {10**9:,}", many, few, f"{middle:,} of {10**4:,}"),
        _growing("experiments of an endless domain", beyond_results, _endless(), middle, most),
        _growing(
            "configs of an endless domain, not run", while_iterating, _endless(), middle, most
        ),
    ]


def _growing(
    what: str, held_by: Callable[[Domain, int], int], domain: Domain, few: int, many: int
) -> Row:
    least, most = held_by(domain, few), held_by(domain, many)
    return _row(f"{many:,} {what}", most, least, f"{few:,} of it")


def _row(what: str, ours: int, floor: int, floor_name: str) -> Row:
    unit = "kB beyond results"
    return Row(f"memory: {what}", ours / 1000, floor / 1000, unit, floor_name, _MORE_KB)


def beyond_results(domain: Domain, n_configs: int) -> int:
    """Return the bytes that a run over configs of a domain holds beyond its results.

    Raises
    ------
    WrongRowsError
        If it makes another number of experiments.
    """
    unit = _Unit()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        results = _results(domain, n_configs, unit)
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    if not unit.n_calls == len(results) == n_configs:
        raise WrongRowsError(
            f"{unit.n_calls} calls gave {len(results)} experiments, not {n_configs}"
        )
    return max(unit.first - before, peak - kept)


def _results(domain: Domain, n_configs: int, unit: _Unit) -> ResearchResults:
    research = Research(domain=domain, n_configs=n_configs)
    return (
        research.add_callable("unit", unit, kwargs=EC(), save_to="number")
        .run(bar=False, dump_results=False)
        .results
    )


def while_iterating(domain: Domain, n_configs: int) -> int:
    """Return the most bytes held while configs are drawn from a domain and none kept."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        collections.deque(itertools.islice(domain, n_configs), maxlen=0)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@final
class _Unit:
    """Numbers its calls, and notes the memory that is held at the first."""

    def __init__(self) -> None:
        self.n_calls = 0
        self.first = 0

    def __call__(self, **config: object) -> int:
        if not self.n_calls:
            self.first = tracemalloc.get_traced_memory()[0]
        self.n_calls += 1
        return self.n_calls


def _decades(n_parameters: int) -> Domain:
    """Return a product whose size is a power of ten, though its lists stay short."""
    return Domain({name: range(10) for name in "abcdefghi"[:n_parameters]})


def _sum() -> Domain:
    """Return two models, each with the same parameters."""
    others = Option("x", range(5)) * _decades(4)
    return Option("model", ["line"]) * others + Option("model", ["curve"]) * others


def _endless() -> Domain:
    return Domain(x=NumpySampler("uniform"))
