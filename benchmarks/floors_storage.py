"""The least one could do where results stay.

That is a loop that writes one Parquet file, and pandas that reads one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import product
from multiprocessing.pool import Pool
from typing import Any

from benchmarks.floors import halves, run_small, small_loop, small_values

N_FOLDS = 100
"""How many values the parameter has that varies fastest, in a table that is read."""


def small_to_parquet(n_experiments: int, folder: str) -> None:
    """Write a, b and the output of each experiment to one Parquet file."""
    _write_small(small_loop(n_experiments), os.path.join(folder, "small.parquet"))


def small_to_parquet_in_two(pool: Pool, n_experiments: int, folder: str) -> None:
    """Write the same, each half of it from a process of its own to a file of its own."""
    configs = list(product(*small_values(n_experiments)))
    paths = [os.path.join(folder, f"half-{i}.parquet") for i in range(2)]
    pool.starmap(_run_and_write_small, zip(halves(configs), paths, strict=True))


def _run_and_write_small(configs: Sequence[tuple[int, int]], path: str) -> None:
    _write_small(run_small(configs), path)


def _write_small(rows: list[tuple[int, int, int]], path: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table(dict(zip(("a", "b", "mixed"), zip(*rows, strict=True), strict=True))), path
    )


def curves(rate: int, fold: int) -> Iterator[tuple[float, float, float]]:
    """Yield the three numbers of each iteration of an experiment, without end."""
    loss = float(1 + rate)
    while True:
        loss *= 0.99
        yield loss, loss + fold, 1 / loss


def curve_values(n_experiments: int) -> tuple[range, range]:
    """Return `rate` and `fold` whose product has so many configs, a multiple of 100."""
    return range(n_experiments // N_FOLDS), range(N_FOLDS)


def curve_rows(n_experiments: int, n_iters: int) -> Iterator[tuple[Any, ...]]:
    """Yield rate, fold, iteration and the three numbers of each row."""
    for rate, fold in product(*curve_values(n_experiments)):
        for iteration, numbers in zip(range(n_iters), curves(rate, fold), strict=False):
            yield (rate, fold, iteration, *numbers)
