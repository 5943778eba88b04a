"""The results of a run as a notebook shows them: counts and the head of the table."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from numbers import Number
from typing import Any

from daskresearch.markup import attempted, counted, cut, page, paragraph, section, table, text_of
from daskresearch.store import MISSING, Failure, Rows, Snapshot, taken

_N_ROWS = 10
_N_FAILURES = 5
_MOST_COLUMNS = 20


def head_of(snapshot: Snapshot) -> Rows:
    """Return the first rows in domain order; the other configs are not looked at."""
    import numpy as np

    order = np.argsort(snapshot.positions, kind="stable")
    n_chosen = _N_ROWS
    while True:
        chosen = np.sort(order[:n_chosen])
        rows = snapshot.rows(chosen)
        if len(rows.iterations) >= min(_N_ROWS, snapshot.n_rows) or n_chosen >= len(order):
            break
        n_chosen *= 16
    first = np.argsort(snapshot.positions[rows.experiments], kind="stable")[:_N_ROWS]
    columns = {name: taken(values, first) for name, values in rows.columns.items()}
    return Rows(rows.experiments[first], rows.iterations[first], columns)


def results_text(snapshot: Snapshot) -> str:
    """Return the repr of results."""
    failures = snapshot.failures()
    n_ended = len(snapshot.ids)
    if n_ended and _n_failed(failures) == n_ended:
        facts = _all_failed(n_ended)
    else:
        facts = f"{n_ended} experiments, {len(failures)} failures"
    return f"<ResearchResults: {facts}>"


def _n_failed(failures: Sequence[tuple[int, Failure]]) -> int:
    return len({index for index, _ in failures})


def _all_failed(n_ended: int) -> str:
    which = "the only experiment" if n_ended == 1 else f"all {n_ended:,} experiments"
    return f"{which} failed; `failures` tells why"


def _no_rows(snapshot: Snapshot, variables: Collection[str]) -> str:
    """Return why a table has no rows."""
    n_ended, n_failed = len(snapshot.ids), _n_failed(snapshot.failures())
    if n_ended and n_failed == n_ended:
        return _all_failed(n_ended)
    if n_ended and not variables:
        return "the plan records nothing; give a unit `save_to`"
    if not n_failed:
        return "nothing was recorded yet"
    failed = f"{n_failed:,} of {counted(n_ended, 'experiment')} failed; `failures` tells why"
    return f"{failed}. The others recorded nothing"


def results_html(
    snapshot: Snapshot,
    rows: Rows,
    parameters: Sequence[str],
    variables: Collection[str],
    kind: str,
    name: str,
) -> str:
    """Return the repr of results in a notebook.

    Parameters
    ----------
    snapshot : Snapshot
    rows : Rows
        The rows to show.
    parameters : sequence of str
    variables : collection of str
        Those that the plan declares, and those that were recorded.
    kind, name : str
        What has these results, and what the user calls it.
    """
    failures = snapshot.failures()
    n_rows, n_failures = snapshot.n_rows, len(failures)
    facts = [
        counted(len(snapshot.ids), "experiment"),
        counted(n_rows, "row"),
        counted(n_failures, "failure"),
    ]
    if len(rows.iterations):
        shown = _rows_table(snapshot, rows, parameters)
    else:
        shown = paragraph(_no_rows(snapshot, variables))
    body = section("Table", shown, _shown(rows, n_rows), is_open=True)
    if failures:
        first = heapq.nsmallest(_N_FAILURES, failures, key=lambda pair: snapshot.positions[pair[0]])
        note = f"the first {len(first)} of {n_failures:,}" if n_failures > len(first) else ""
        body += section(
            "Failures", _failures_table([(snapshot.ids[i], failure) for i, failure in first]), note
        )
    return page(kind, name, facts, body)


def _shown(rows: Rows, n_rows: int) -> str:
    n_shown = len(rows.iterations)
    return (
        f"the first {n_shown} of {counted(n_rows, 'row')}"
        if n_shown < n_rows
        else counted(n_rows, "row")
    )


def _rows_table(snapshot: Snapshot, rows: Rows, parameters: Sequence[str]) -> str:
    if not len(rows.iterations):
        return paragraph("nothing was recorded yet")
    experiments = [snapshot.experiment(i) for i in rows.experiments.tolist()]
    found = (name for experiment in experiments for name in experiment.values)
    parameters = list(dict.fromkeys([*parameters, *found]))
    names = [*parameters, *rows.columns]
    columns = ["id", *parameters, "iteration", *rows.columns][:_MOST_COLUMNS]
    lines = []
    for i, experiment in enumerate(experiments):
        texts = dict(zip(experiment.values, experiment.texts, strict=True))
        values = [_cell(column[i]) for column in rows.columns.values()]
        shown = [cut(texts.get(name, ""), 40) for name in parameters]
        lines.append([experiment.id, *shown, str(rows.iterations[i]), *values][:_MOST_COLUMNS])
    n_hidden = len(names) + 2 - len(columns)
    hidden = paragraph(f"and {counted(n_hidden, 'more column')}") if n_hidden else ""
    numbers = [
        cut(name)
        for name, column in rows.columns.items()
        if all(_is_number(value) for value in column)
    ]
    return table([cut(name) for name in columns], lines, {"iteration", *numbers}) + hidden


def _failures_table(failures: Sequence[tuple[str, Failure]]) -> str:
    lines = [
        (experiment_id, cut(failure.unit), str(failure.iteration), text_of(failure.exception, 200))
        for experiment_id, failure in failures
    ]
    return table(["id", "unit", "iteration", "exception"], lines, {"iteration"})


def _is_number(value: Any) -> bool:
    return value is MISSING or issubclass(type(value), Number)


def _cell(value: Any) -> str:
    if value is MISSING:
        return ""
    if issubclass(type(value), Number) or type(value) is str:
        return attempted(
            lambda: f"{value:.6g}" if isinstance(value, float) else str(value), value, 40
        )
    return text_of(value, 40)
