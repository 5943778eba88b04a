"""What sharing is worth.

A slow load and its branches run on two processes; a sweep shares its early steps.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.floors_shared import (
    SWEEP,
    accuracy,
    load_table,
    prefix_in_two,
    reduce,
    score_of,
    split,
    steps_a_second,
    sweep_loop,
)
from benchmarks.measure import Row, Sizes, Target, WrongRowsError, in_turn
from benchmarks.workloads import check_table
from daskresearch import EC, Domain, O, Research, shutdown

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

FORKS, _LOOP = "load, fork, two halves", "loops, one core"
_RUN, _COMPUTE = "run(workers=2)", "dask.compute"
_ALONE, _IN_TWO = "one core", "2 workers"


def shared_prefix(sizes: Sizes) -> list[Row]:
    """Run a load and its branches, each a fixed amount of work, on two warm processes."""
    with (
        multiprocessing.get_context("fork").Pool(1) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        pool.map(abs, range(1))  # it must be there before threads are: it is what forks
        a_second = pool.apply(steps_a_second)
        n_load, n_score = round(sizes.load_s * a_second), round(sizes.branch_s * a_second)
        n = sizes.n_branches
        expected = list(enumerate(pool.apply(prefix_in_two, (os.devnull, n_load, n_score, n))))
        with _two_workers() as client:
            functions: dict[str, Callable[[str], object]] = {
                _RUN: lambda path: run_prefix(path, n_load, n_score, expected, workers=2),
                _COMPUTE: lambda path: _compute_prefix(path, n_load, n_score, expected, client),
                FORKS: lambda path: pool.apply(prefix_in_two, (path, n_load, n_score, n)),
            }
            paths = map(str, itertools.count())
            runs = {
                name: partial(once, function, folder, paths) for name, function in functions.items()
            }
            times_s = in_turn(runs, sizes.n_long_rounds)
    text = f"load of {sizes.load_s:g} s, {n} branches of {sizes.branch_s:g} s"
    floor = times_s.pop(FORKS)
    return [
        Row(f"{text}, {name}", ours, floor, "s", FORKS, Target(1.08, "ratio"))
        for name, ours in times_s.items()
    ]


def sweep(sizes: Sizes) -> list[Row]:
    """Run classifiers on folds that are split and reduced once, on one core and two."""
    from threadpoolctl import threadpool_limits

    n_samples = sizes.n_samples
    research = (
        Research(domain=Domain(SWEEP))
        .add_callable("split", split, args=[EC("fold"), n_samples], root=True)
        .add_callable("reduce", reduce, args=[O("split"), EC("n_components")], root=True)
        .add_callable(
            "accuracy", accuracy, args=[O("reduce"), EC("alpha"), EC("loss")], save_to="accuracy"
        )
    )
    functions: dict[str, Callable[[], Any]] = {
        _ALONE: lambda: research.run(bar=False, dump_results=False).results.df,
        _IN_TWO: lambda: research.run(bar=False, dump_results=False, workers=2).results.df,
        _LOOP: partial(sweep_loop, n_samples),
    }
    try:
        with threadpool_limits(
            1
        ):  # as in the workers of ours: more threads would round in another way
            expected = sweep_loop(n_samples)
            for name in (_ALONE, _IN_TWO):
                check_table(
                    functions[name]().drop(columns="iteration"),
                    [*SWEEP, "accuracy"],
                    expected,
                    len(expected),
                )
            times_s = in_turn(functions, sizes.n_long_rounds)
    finally:
        shutdown()
    text = f"sweep of {len(expected)} classifiers"
    targets = {_ALONE: Target(1.15, "ratio"), _IN_TWO: Target(0.7, "ratio")}
    return [
        Row(f"{text}, {name}", times_s[name], times_s[_LOOP], "s", _LOOP, target)
        for name, target in targets.items()
    ]


@contextmanager
def _two_workers() -> Iterator[Client]:
    """Give a client of two processes, which no run takes by itself.

    Close them and ours at the end.
    """
    from distributed import Client, LocalCluster

    settings: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **settings) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        try:
            yield client
        finally:
            shutdown()


def once(run: Callable[[str], object], folder: str, names: Iterator[str]) -> object:
    """Run with the path of a new file, and see that one load was noted in it."""
    path = os.path.join(folder, next(names))
    output = run(path)
    with open(path) as notes:
        n_loads = len(notes.readlines())
    if n_loads != 1:
        raise WrongRowsError(f"{n_loads} loads, not one")
    return output


def _prefix(path: str, n_load: int, n_score: int, n_branches: int) -> Research:
    research = Research(domain=Domain(branch=range(n_branches)))
    research = research.add_callable("load", load_table, args=[path, n_load], root=True)
    return research.add_callable(
        "score", score_of, args=[O("load"), EC("branch"), n_score], save_to="score"
    )


def run_prefix(
    path: str, n_load: int, n_score: int, expected: list[tuple[int, float]], **options: Any
) -> None:
    """Run a load and its branches, and see that the scores are right."""
    research = _prefix(path, n_load, n_score, len(expected))
    _check_scores(research.run(bar=False, dump_results=False, **options).results.df, expected)


def _compute_prefix(
    path: str, n_load: int, n_score: int, expected: list[tuple[int, float]], client: Client
) -> None:
    import dask

    (frame,) = dask.compute(_prefix(path, n_load, n_score, len(expected)), scheduler=client)
    _check_scores(frame, expected)


def _check_scores(frame: pd.DataFrame, expected: list[tuple[int, float]]) -> None:
    check_table(frame.drop(columns="iteration"), ["branch", "score"], expected, len(expected))
