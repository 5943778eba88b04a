"""What a user runs: many small experiments, long loops, and ever more experiments.

The first two run on one process and on two.

Each group of rows checks its first results against those of its floor before anything is measured.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.pool import Pool
from typing import TYPE_CHECKING, Any

from benchmarks.floors import (
    long_loop,
    long_loop_in_two,
    mix,
    scale,
    small_loop,
    small_loop_in_two,
    small_outputs,
    small_values,
    walk,
)
from benchmarks.measure import Row, Sizes, Target, WrongRowsError, in_turn
from daskresearch import EC, Domain, O, Research, shutdown

if TYPE_CHECKING:
    import pandas as pd

_EXPERIMENT = "µs an experiment"
_ITERATION = "µs an iteration"
_LOOP, _PROCESSES = "plain loop", "two processes by hand"


def small(sizes: Sizes) -> list[Row]:
    """Many small experiments, in this process."""
    n = sizes.n_experiments
    times_s = in_turn({"ours": run_small(n), _LOOP: partial(small_loop, n)}, sizes.n_rounds)
    return _rows(f"{n:,} small experiments", times_s, n, _EXPERIMENT, Target(40))


def small_in_two(sizes: Sizes) -> list[Row]:
    """Many small experiments, on two warm workers."""
    n = sizes.n_experiments
    with _two_processes() as pool:
        floors = {_LOOP: partial(small_loop, n), _PROCESSES: partial(small_loop_in_two, pool, n)}
        times_s = in_turn({"ours": run_small(n, workers=2), **floors}, sizes.n_rounds)
    return _rows(f"{n:,} small experiments, 2 workers", times_s, n, _EXPERIMENT, Target(70))


def loops(sizes: Sizes) -> list[Row]:
    """Long loops of a generator and a callable, both saved, in this process."""
    starts = range(sizes.n_loops)
    floor = partial(long_loop, starts, sizes.n_iters)
    times_s = in_turn({"ours": _run_long(sizes), _LOOP: floor}, sizes.n_rounds)
    return _rows(_loops_text(sizes), times_s, sizes.n_loops * sizes.n_iters, _ITERATION, Target(3))


def loops_in_two(sizes: Sizes) -> list[Row]:
    """Long loops of a generator and a callable, both saved, on two warm workers."""
    starts = range(sizes.n_loops)
    with _two_processes() as pool:
        floors = {
            _LOOP: partial(long_loop, starts, sizes.n_iters),
            _PROCESSES: partial(long_loop_in_two, pool, starts, sizes.n_iters),
        }
        times_s = in_turn({"ours": _run_long(sizes, workers=2), **floors}, sizes.n_rounds)
    text = f"{_loops_text(sizes)}, 2 workers"
    return _rows(text, times_s, sizes.n_loops * sizes.n_iters, _ITERATION, Target(3))


def growth(sizes: Sizes) -> list[Row]:
    """How the time of small experiments grows with their number, in this process."""
    floors = {_LOOP: small_loop, "plain loop, outputs alone": small_outputs}
    functions: dict[tuple[str, int], Callable[[], object]] = {}
    for n in sizes.growing:
        functions["ours", n] = run_small(n)
        functions |= {(name, n): partial(floor, n) for name, floor in floors.items()}
    times_s = in_turn(functions, sizes.n_rounds)
    rows = []
    for n in sizes.growing:
        of_n = {name: times_s[name, n] for name in ("ours", _LOOP)}
        rows += _rows(f"{n:,} experiments", of_n, n, _EXPERIMENT)
    _, before, most = sizes.growing
    text = f"growth of time, {before:,} to {most:,} experiments"
    times = {name: times_s[name, most] / times_s[name, before] for name in ("ours", *floors)}
    return rows + [
        Row(text, times["ours"], times[name], "times", name, Target(1.1, "ratio"))
        for name in floors
    ]


@contextmanager
def _two_processes() -> Iterator[Pool]:
    """Give two forked processes; close both them and the workers of ours at the end."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(abs, range(2))  # they must be there before threads are, which no fork may copy
        try:
            yield pool
        finally:
            shutdown()


def _rows(
    workload: str, times_s: dict[str, float], n_items: int, unit: str, target: Target | None = None
) -> list[Row]:
    """Return a row for each floor; the target stands in the first."""
    in_us = {name: seconds * 1e6 / n_items for name, seconds in times_s.items()}
    ours = in_us.pop("ours")
    targets = [target, *[None] * (len(in_us) - 1)]
    return [
        Row(workload, ours, floor, unit, name, bound)
        for (name, floor), bound in zip(in_us.items(), targets, strict=True)
    ]


def small_rows(
    workload: str, times_s: dict[str, float], n_experiments: int, target: Target
) -> list[Row]:
    """Return a row for each floor of small experiments."""
    return _rows(workload, times_s, n_experiments, _EXPERIMENT, target)


def _loops_text(sizes: Sizes) -> str:
    return f"{sizes.n_loops} loops of {sizes.n_iters:,} iterations"


def run_small(n_experiments: int, **options: Any) -> Callable[[], pd.DataFrame]:
    """Return what runs small experiments and gives the table, which has been checked."""
    a, b = small_values(n_experiments)
    research = Research(domain=Domain(a=a, b=b)).add_callable(
        mix, a=EC("a"), b=EC("b"), save_to="mixed"
    )
    run = partial(_table_of, research, **options)
    expected = [(*row[:2], 0, row[2]) for row in small_loop(n_experiments)]
    check_table(run(), ["a", "b", "iteration", "mixed"], expected, n_experiments)
    return run


def _run_long(sizes: Sizes, workers: int | None = None) -> Callable[[], pd.DataFrame]:
    """Return what runs long experiments and gives the table, which has been checked."""
    starts = range(sizes.n_loops)
    research = (
        Research(domain=Domain(start=starts))
        .add_generator(walk, start=EC("start"), save_to="step")
        .add_callable(scale, args=[O("walk")], save_to="scaled")
    )
    run = partial(_table_of, research, workers=workers, n_iters=sizes.n_iters)
    expected = [
        (start, iteration, *outputs)
        for start, *columns in long_loop(starts, sizes.n_iters)
        for iteration, outputs in enumerate(zip(*columns, strict=True))
    ]
    check_table(run(), ["start", "iteration", "step", "scaled"], expected, sizes.n_loops)
    return run


def _table_of(research: Research, **options: Any) -> pd.DataFrame:
    return research.run(bar=False, dump_results=False, **options).results.df


def check_table(
    frame: pd.DataFrame, columns: list[str], expected: Iterable[tuple[Any, ...]], n_ids: int
) -> None:
    """Raise WrongRowsError unless a table has its columns, rows and number of ids."""
    if list(frame.columns) != ["id", *columns]:
        raise WrongRowsError(
            f"the table has the columns {list(frame.columns)}, not {['id', *columns]}"
        )
    if frame["id"].nunique() != n_ids:
        raise WrongRowsError(f"the table has {frame['id'].nunique()} ids, not {n_ids}")
    rows = frame[columns].itertuples(index=False, name=None)
    for number, (row, wanted) in enumerate(zip(rows, expected, strict=True)):
        if row != wanted:
            raise WrongRowsError(
                f"row {number} of the table is {dict(zip(columns, row, strict=True))}, not {wanted}"
            )
