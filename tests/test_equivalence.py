"""Every scheduler, grouping and number of workers gives the rows of the plain loop."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any

import dask
import pandas as pd
import pytest
from distributed import Client
from hypothesis import example, given, settings

from daskresearch import Research
from tests.support.plans import RunSpec, UnitSpec, research_of, runs
from tests.support.reference import run_reference
from tests.support.running import local_cluster, on_workers

PLACES: dict[str, dict[str, Any]] = {
    "in_process": {},
    "threads": {"scheduler": "threads", "workers": 3},
    "two_workers": {"workers": 2},
    "folder_in_process": {"dump_results": True},
    "folder_of_threads": {"scheduler": "threads", "workers": 3, "dump_results": True},
    "folder_of_two_workers": {"workers": 2, "dump_results": True},
}
places = pytest.mark.parametrize(
    "place", [on_workers(name) if "workers" in name else name for name in PLACES]
)


def options_of(spec: RunSpec) -> dict[str, Any]:
    """Return the options that a run of a spec has in every place."""
    return {
        "n_iters": spec.n_iters, "branches": spec.branches, "finalize": spec.finalize,
        "executor_target": spec.target,
        "seed": spec.seed,
    }  # fmt: skip


def rows_of(spec: RunSpec, place: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the rows and failures of a run in the form of the reference."""
    options = {"dump_results": False, **options_of(spec), **place}
    with tempfile.TemporaryDirectory() as folder:
        results = research_of(spec).run(f"{folder}/research", bar=False, **options).results
        failures = results.failures
        return as_rows(results.df), list(
            zip(failures.id, failures.unit, failures.iteration, strict=True)
        )


def rows_of_graph(
    spec: RunSpec, compute: Callable[[Research], pd.DataFrame]
) -> tuple[list[Any], list[Any]]:
    """Return the rows and failures of a computed graph in the form of the reference."""
    frame = compute(research_of(spec).options(**options_of(spec)))
    failures = [
        (one["id"], one["unit"], one["iteration"]) for one in frame.attrs.get("failures", [])
    ]
    return as_rows(frame), failures


def as_rows(frame: pd.DataFrame) -> list[Any]:
    """Return the rows of a table in the form of the reference."""
    variables = [name for name in frame.columns if name not in ("id", "a", "b", "iteration")]
    rows = []
    for record in frame.to_dict("records"):
        recorded = {name: record[name] for name in variables if is_given(record[name])}
        rows.append((record["id"], record["iteration"], recorded))
    return rows


@pytest.fixture(
    scope="module",
    params=["synchronous", "threads", on_workers("processes"), on_workers("two workers")],
)
def compute(request: pytest.FixtureRequest) -> Iterator[Callable[[Research], pd.DataFrame]]:
    """Give what computes the graph of a research on each of Dask's schedulers."""
    with ExitStack() as stack:
        options: dict[str, Any] = {"scheduler": request.param}
        if request.param == "processes":
            pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
            options["pool"] = stack.enter_context(pool)
        if request.param == "two workers":
            cluster = stack.enter_context(local_cluster())
            options["scheduler"] = stack.enter_context(Client(cluster, set_as_default=False))
        yield lambda research: dask.compute(research, **options)[0]


def is_given(value: Any) -> bool:
    """Return whether a cell holds something."""
    return value is not None and value == value


def as_reference(spec: RunSpec) -> tuple[list[Any], list[Any]]:
    """Return what the plain loop gives, without the cells that hold None."""
    rows, failures = run_reference(spec)
    return [
        (one, i, {name: v for name, v in row.items() if is_given(v)}) for one, i, row in rows
    ], failures


FAST = settings(max_examples=40)
THOROUGH = settings(max_examples=300)


@places
@FAST
@given(spec=runs())
@example(spec=RunSpec((UnitSpec("generator", "g", length=0, save="v"),), (1,), ()))
def test_random_plans_give_the_rows_of_the_plain_loop(place: str, spec: RunSpec) -> None:
    assert rows_of(spec, PLACES[place]) == as_reference(spec)


@pytest.mark.filterwarnings("ignore::daskresearch.errors.FailedExperimentsWarning")
@FAST
@given(spec=runs())
def test_graphs_of_random_plans_give_the_rows_of_the_plain_loop(
    compute: Any, spec: RunSpec
) -> None:
    assert rows_of_graph(spec, compute) == as_reference(spec)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::daskresearch.errors.FailedExperimentsWarning")
@settings(THOROUGH, max_examples=100)
@given(spec=runs())
def test_many_graphs_of_random_plans_give_the_rows_of_the_plain_loop(
    compute: Any, spec: RunSpec
) -> None:
    assert rows_of_graph(spec, compute) == as_reference(spec)


@pytest.mark.slow
@places
@THOROUGH
@given(spec=runs())
def test_many_random_plans_give_the_rows_of_the_plain_loop(place: str, spec: RunSpec) -> None:
    assert rows_of(spec, PLACES[place]) == as_reference(spec)
