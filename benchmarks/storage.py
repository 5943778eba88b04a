"""What a folder costs: to write, to read all or a little, and in memory.

Times of writing are those of `run(name)` alone, from the description to the tidied folder; no table
is made. A folder that is read was left by a run, and is opened anew each time. Its rows are checked
against those of the floor.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.floors import mix, small_loop, small_values
from benchmarks.floors_storage import (
    N_FOLDS,
    curve_rows,
    curve_values,
    curves,
    small_to_parquet,
    small_to_parquet_in_two,
)
from benchmarks.measure import Row, Sizes, Target, WrongRowsError, in_fresh_interpreter, in_turn
from benchmarks.workloads import check_table
from daskresearch import EC, Domain, Research, ResearchResults, shutdown
from daskresearch.domain import Option
from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.store.files.opening import open_files
from daskresearch.store.folder.compact import compact
from daskresearch.store.folder.experiments_table import Ended
from daskresearch.store.folder.writer import Target as Where
from daskresearch.store.record import Record

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ["loss", "shifted", "inverse"]
_COLUMNS = ["rate", "fold", "iteration", *_NUMBERS]
_FOLD = 7
_PAGE_KB = 4
_EXPERIMENT = "µs an experiment"
_FILE, _FILES, _PANDAS, _ALL = (
    "loop, one Parquet file",
    "two processes by hand",
    "pandas, one file",
    "all of it",
)


def folder(sizes: Sizes) -> list[Row]:
    """Run many small experiments into a new folder, here and on two warm workers."""
    n = sizes.n_experiments
    with (
        multiprocessing.get_context("fork").Pool(
            2
        ) as pool,  # before there are threads, which no fork may copy
        tempfile.TemporaryDirectory() as parent,
    ):
        pool.map(abs, range(2))
        try:
            alone, in_two = [
                _small_rows(n, parent, pool, workers, sizes.n_rounds) for workers in (None, 2)
            ]
        finally:
            shutdown()
    return [*alone, *in_two]


def _small_rows(n: int, parent: str, pool: Pool, workers: int | None, n_rounds: int) -> list[Row]:
    """Return the rows of small experiments: a time for each floor, and the files left."""
    names = (os.path.join(parent, f"{workers or 1}-{number}") for number in itertools.count())
    run = partial(_run_small, n, names, workers)
    checked = run()
    a_b = [(*row[:2], 0, row[2]) for row in small_loop(n)]
    check_table(ResearchResults(checked).df, ["a", "b", "iteration", "mixed"], a_b, n)
    functions: dict[str, Callable[[], object]] = {
        "ours": run,
        _FILE: partial(small_to_parquet, n, parent),
    }
    if workers:
        functions[_FILES] = partial(small_to_parquet_in_two, pool, n, parent)
    in_us = {name: 1e6 * seconds / n for name, seconds in in_turn(functions, n_rounds).items()}
    text, ours = (
        f"{n:,} experiments into a folder" + (f", {workers} workers" if workers else ""),
        in_us.pop("ours"),
    )
    target = None if workers else Target(150)
    rows = [Row(text, ours, floor, _EXPERIMENT, name, target) for name, floor in in_us.items()]
    n_files = sum(len(files) for _, _, files in os.walk(checked))
    return [
        *rows,
        Row(f"{text}: left behind", n_files, 2, "files", "a table and a description", Target(20)),
    ]


def _run_small(n: int, names: Iterator[str], workers: int | None) -> str:
    """Run small experiments into a new folder, and return its name."""
    name = next(names)
    _small(n, name).run(bar=False, workers=workers)
    return name


def _small(n: int, name: str) -> Research:
    a, b = small_values(n)
    return Research(name, Domain(a=a, b=b)).add_callable(mix, a=EC("a"), b=EC("b"), save_to="mixed")


def frame(sizes: Sizes) -> list[Row]:
    """Read a folder of short curves to a table."""
    n, n_iters = sizes.n_curves, sizes.short_iters
    with tempfile.TemporaryDirectory() as parent:
        name, path = _curves(n, n_iters, parent), os.path.join(parent, "table.parquet")
        read = _reading(name, path, curve_rows(n, n_iters), n)
        in_ms = {who: 1000 * seconds for who, seconds in in_turn(read, sizes.n_rounds).items()}
    text = f"{n:,} x {n_iters:,} rows to a table"
    return [Row(text, in_ms["ours"], in_ms[_PANDAS], "ms", _PANDAS, Target(8, "ratio"))]


def filtered(sizes: Sizes) -> list[Row]:
    """Read a folder of long curves to a table: all of it, and the 1 % with one value.

    That hundredth is all over the folder.
    """
    import pandas as pd

    n, n_iters = sizes.n_curves, sizes.long_iters
    with tempfile.TemporaryDirectory() as parent:
        name, path = _curves(n, n_iters, parent), os.path.join(parent, "table.parquet")
        functions = _reading(name, path, curve_rows(n, n_iters), n)
        functions["some"] = lambda: ResearchResults(name).to_df(fold=_FOLD)
        functions["some by pandas"] = lambda: pd.read_parquet(path, filters=[("fold", "==", _FOLD)])
        _check_equal(
            functions["some"](), functions["some by pandas"](), n_rows=n // N_FOLDS * n_iters
        )
        in_s = in_turn(functions, sizes.n_long_rounds)
    text = f"{n * n_iters:,} rows in {n:,} experiments"
    some = f"{text}, 1 % of them"
    return [
        Row(text, in_s["ours"], in_s[_PANDAS], "s", _PANDAS, Target(2)),
        Row(some, in_s["some"], in_s["ours"], "s", _ALL, Target(0.1, "ratio")),
        Row(some, in_s["some"], in_s["some by pandas"], "s", f"{_PANDAS}, filters="),
        *_rows_of_many(sizes),
    ]


def _rows_of_many(sizes: Sizes) -> list[Row]:
    """Return the row of a table with one iteration of each of very many experiments."""
    n = sizes.n_curves * sizes.long_iters
    with tempfile.TemporaryDirectory() as parent:
        name, path = os.path.join(parent, "many"), os.path.join(parent, "table.parquet")
        _write_many(n, name)
        in_s = in_turn(_reading(name, path, curve_rows(n, 1), n), sizes.n_long_rounds)
    return [Row(f"{n:,} rows in as many experiments", in_s["ours"], in_s[_PANDAS], "s", _PANDAS)]


def _curves(n_experiments: int, n_iters: int, parent: str) -> str:
    """Return the name of a folder that a run has left, with curves in domain order.

    Of the parameters `fold` varies fastest.
    """
    name = os.path.join(parent, "curves")
    _research(name, *curve_values(n_experiments)).run(bar=False, n_iters=n_iters)
    return name


def _research(name: str, rates: range, folds: range) -> Research:
    research = Research(name, Option("rate", rates) * Option("fold", folds))
    return research.add_generator(curves, rate=EC("rate"), fold=EC("fold"), save_to=_NUMBERS)


def _write_many(n_experiments: int, name: str) -> None:
    """Leave a folder like one of `_curves` with one iteration each.

    The first experiment is of a run, which describes the folder; the others are appended by the
    writer of runs, without running anything, as they would take minutes to run.
    """
    _research(name, range(1), range(1)).run(bar=False, n_iters=1)
    files = open_files(name)
    writer = Where(files.url, "", 0, "").writer()
    for position, row in enumerate(itertools.islice(curve_rows(n_experiments, 1), 1, None), 1):
        rate, fold, _, *numbers = row
        columns = {column: [number] for column, number in zip(_NUMBERS, numbers, strict=True)}
        record = Record(position, 1, [0], columns)
        values, texts = {"rate": rate, "fold": fold}, (str(rate), str(fold))
        experiment = PlannedExperiment(
            position, f"{position:016x}", b"", b"", values, 0, 0, None, texts
        )
        writer.append(Ended(record, experiment))
    writer.close()
    compact(files)


def _reading(
    name: str, path: str, expected: Iterator[tuple[Any, ...]], n_experiments: int
) -> dict[str, Callable[[], pd.DataFrame]]:
    """Return what reads a folder, and what reads one file of the same table.

    The table has been checked and written.
    """
    import pandas as pd

    table = ResearchResults(name).df
    check_table(table, _COLUMNS, expected, n_experiments)
    table.to_parquet(path, index=False)
    _check_equal(table, pd.read_parquet(path), n_rows=len(table))
    return {"ours": lambda: ResearchResults(name).df, _PANDAS: lambda: pd.read_parquet(path)}


def _check_equal(table: pd.DataFrame, other: pd.DataFrame, n_rows: int) -> None:
    if len(table) != n_rows or not table.equals(other):
        raise WrongRowsError(f"{len(table)} rows are not the {n_rows} that pandas reads")


def folder_memory(sizes: Sizes) -> list[Row]:
    """Run ever more experiments into a folder, each time in a process of its own."""
    _, few, many = sizes.growing
    peaks: dict[int, list[float]] = {few: [], many: []}
    for _ in range(min(sizes.n_long_rounds, 3)):
        for n, found in peaks.items():
            found.append(in_fresh_interpreter(partial(_peak_mb, n), sizes))
    least, most = map(statistics.median, peaks.values())
    text = f"memory: {many:,} experiments into a folder"
    return [
        Row(text, most, least, "MB resident beyond the start", f"{few:,} of it", Target(24, "more"))
    ]


def _peak_mb(n_experiments: int, sizes: Sizes) -> float:
    """Return the MB that this process has at the peak of a run beyond small runs."""
    with tempfile.TemporaryDirectory() as parent:
        names = (os.path.join(parent, str(number)) for number in itertools.count())
        # what is imported on first use counts for no run: neither to write parts, nor to merge
        # those of two runs
        name = _run_small(sizes.growing[0], names, None)
        _small(sizes.growing[1], name).run(bar=False, resume=True)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
        before = peak_kb()
        _run_small(n_experiments, names, None)
        return max(peak_kb() - before, _PAGE_KB) / 1000


def peak_kb() -> int:
    """Return the most memory that this process has had in its pages, says Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
