"""What a run holds in memory beyond its results, whatever the size of the domain.

Measured is the memory that Python and numpy hold (`tracemalloc`), less what they held before the run, when the domain
had already been written down. Of each run these are taken:

- *first*: what is held when the first experiment runs. A domain that is made a list beforehand shows here.
- *peak*: the most that is held at any moment of the run.
- *kept*: what is held when all is deleted but the results, which are outputs, configs and ids.

*Beyond results* is the larger of first, and of peak less kept. The table, `results.df`, is not made.
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

_MORE = Target(64, "more")


def memory(sizes: Sizes) -> list[Row]:
    """Run ever more experiments, and as many of ever larger domains, in this process."""
    least, middle, most = sizes.growing
    beyond_results(_grid(least), least)  # what is imported on first use counts for no run
    while_iterating(_endless(), least)
    exact, exact_name = beyond_results(_grid(middle), middle), f"{middle:,} of {middle:,} configs"
    return [
        _growing("experiments", _grid, least, most),
        _growing("experiments of a sum", _sum, least, most),
        _row(f"{middle:,} of {sizes.huge:,} configs", beyond_results(_cube(sizes.huge), middle), exact, exact_name),
        _row(
            f"{middle:,} of an endless domain",
            beyond_results(_endless(), middle),
            beyond_results(_endless(), least),
            f"{least:,} of it",
        ),
        _row(
            f"iterating {middle:,} of an endless domain",
            while_iterating(_endless(), middle),
            while_iterating(_endless(), least),
            f"{least:,} of it",
        ),
    ]


def _growing(what: str, domain_of: Callable[[int], Domain], least: int, most: int) -> Row:
    few, many = [beyond_results(domain_of(n), n) for n in (least, most)]
    return _row(f"{most:,} {what}", many, few, f"{least:,} {what}")


def _row(what: str, ours: int, floor: int, floor_name: str) -> Row:
    return Row(f"memory: {what}", ours / 1000, floor / 1000, "kB beyond results", floor_name, _MORE)


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
        raise WrongRowsError(f"{unit.n_calls} calls gave {len(results)} experiments, not {n_configs}")
    return max(unit.first - before, peak - kept)


def _results(domain: Domain, n_configs: int, unit: _Unit) -> ResearchResults:
    research = Research(domain=domain, n_configs=n_configs)
    return research.add_callable("unit", unit, kwargs=EC(), save_to="number").run(bar=False).results


def while_iterating(domain: Domain, n_configs: int) -> int:
    """Return the most bytes that are held while configs are drawn from a domain and none is kept."""
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


def _grid(n_configs: int) -> Domain:
    return Domain(a=range(n_configs // 10), b=range(10))


def _sum(n_configs: int) -> Domain:
    """Return two models, each with its own values of a parameter that both have."""
    values = Option("x", range(n_configs // 2))
    return Option("model", ["line"]) * values + Option("model", ["curve"]) * values


def _cube(n_configs: int) -> Domain:
    side = range(round(n_configs ** (1 / 3)))
    return Domain(a=side, b=side, c=side)


def _endless() -> Domain:
    return Domain(x=NumpySampler("uniform"))
