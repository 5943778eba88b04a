"""Every scheduler, grouping and number of workers gives the rows of the plain loop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.plans import RunSpec, UnitSpec, research_of, runs
from tests.reference import run_reference

PLACES: dict[str, dict[str, Any]] = {
    "in_process": {},
    "threads": {"scheduler": "threads", "workers": 3},
    "two_workers": {"workers": 2},
}


def rows_of(spec: RunSpec, place: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the rows and failures of a run in the form of the reference."""
    research = research_of(spec).run(
        n_iters=spec.n_iters, branches=spec.branches, finalize=spec.finalize, executor_target=spec.target,
        seed=spec.seed, bar=False, **place,
    )  # fmt: skip
    table = research.results.to_df()
    variables = [name for name in table.columns if name not in ("id", "a", "b", "iteration")]
    rows = []
    for record in table.to_dict("records"):
        recorded = {name: record[name] for name in variables if is_given(record[name])}
        rows.append((record["id"], record["iteration"], recorded))
    failures = research.results.failures
    return rows, list(zip(failures.id, failures.unit, failures.iteration, strict=True))


def is_given(value: Any) -> bool:
    """Return whether a cell holds something."""
    return value is not None and value == value


def as_reference(spec: RunSpec) -> tuple[list[Any], list[Any]]:
    """Return what the plain loop gives, without the cells that hold None."""
    rows, failures = run_reference(spec)
    return [(one, i, {name: v for name, v in row.items() if is_given(v)}) for one, i, row in rows], failures


FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
THOROUGH = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("place", PLACES)
@FAST
@given(spec=runs())
@example(spec=RunSpec((UnitSpec("generator", "g", length=0, save="v"),), (1,), ()))
def test_random_plans_give_the_rows_of_the_plain_loop(place: str, spec: RunSpec) -> None:
    assert rows_of(spec, PLACES[place]) == as_reference(spec)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@THOROUGH
@given(spec=runs())
def test_many_random_plans_give_the_rows_of_the_plain_loop(place: str, spec: RunSpec) -> None:
    assert rows_of(spec, PLACES[place]) == as_reference(spec)
