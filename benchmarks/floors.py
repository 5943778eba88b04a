"""The least one could do: the same work by plain code.

It keeps its outputs in lists and has no table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from multiprocessing.pool import Pool
from typing import TypeVar

Item = TypeVar("Item")


def mix(a: int, b: int) -> int:
    """Return the output of a small experiment."""
    return 3 * a + b


def walk(start: float) -> Iterator[float]:
    """Yield the steps of a long experiment without end."""
    while True:
        start += 0.5
        yield start


def scale(x: float) -> float:
    """Return what is made of a step."""
    return 2 * x


def small_values(n_experiments: int) -> tuple[range, range]:
    """Return the `a` and `b` whose product has so many configs, a multiple of 10."""
    return range(n_experiments // 10), range(10)


def small_loop(n_experiments: int) -> list[tuple[int, int, int]]:
    """Return a, b and the output of each experiment, from one loop over all configs."""
    return run_small(product(*small_values(n_experiments)))


def small_outputs(n_experiments: int) -> list[int]:
    """Return the output of each experiment alone, which no garbage collector tracks."""
    outputs = []
    for a, b in product(*small_values(n_experiments)):
        outputs.append(mix(a, b))
    return outputs


def run_small(
    configs: Iterator[tuple[int, int]] | Sequence[tuple[int, int]],
) -> list[tuple[int, int, int]]:
    """Return a, b and the output of each of some experiments."""
    rows = []
    for a, b in configs:
        rows.append((a, b, mix(a, b)))
    return rows


def long_loop(starts: Sequence[int], n_iters: int) -> list[tuple[int, list[float], list[float]]]:
    """Return start, steps and scaled steps of each experiment, from a loop in a loop."""
    experiments = []
    for start in starts:
        steps, scaled = [], []
        for step in islice(walk(start), n_iters):
            steps.append(step)
            scaled.append(scale(step))
        experiments.append((start, steps, scaled))
    return experiments


def small_loop_in_two(pool: Pool, n_experiments: int) -> list[tuple[int, int, int]]:
    """Return what `small_loop` does, each half of it from a process of its own."""
    configs = list(product(*small_values(n_experiments)))
    parts = pool.starmap(run_small, [(half,) for half in halves(configs)])
    return [row for part in parts for row in part]


def long_loop_in_two(
    pool: Pool, starts: Sequence[int], n_iters: int
) -> list[tuple[int, list[float], list[float]]]:
    """Return what `long_loop` does, each half of it from a process of its own."""
    parts = pool.starmap(long_loop, [(half, n_iters) for half in halves(starts)])
    return [experiment for part in parts for experiment in part]


def halves(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """Return the first half of some items and the rest."""
    middle = len(items) // 2
    return items[:middle], items[middle:]
