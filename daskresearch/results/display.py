"""The results of a run as a notebook shows them: how many, and the head of the table, however long that is."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from numbers import Number
from typing import Any

from daskresearch.markup import attempted, counted, cut, page, paragraph, section, table, text_of
from daskresearch.store import MISSING, Experiments, Failure, Rows

_N_ROWS = 10
_N_FAILURES = 5
_MOST_COLUMNS = 20


def head_of(experiments: Experiments, rows: Rows) -> tuple[Experiments, Rows]:
    """Return the first rows in domain order with their experiments, without ordering the others."""
    recorded = set(rows.experiments)
    first = heapq.nsmallest(_N_ROWS, recorded, key=experiments.positions.__getitem__)
    rank = {experiment: i for i, experiment in enumerate(first)}
    found = [row for row, experiment in enumerate(rows.experiments) if experiment in rank]
    chosen = heapq.nsmallest(_N_ROWS, found, key=lambda row: (rank[rows.experiments[row]], row))
    return (
        Experiments(
            [experiments.positions[i] for i in first],
            [experiments.ids[i] for i in first],
            [experiments.configs[i] for i in first],
            [experiments.groups[i] for i in first],
        ),
        Rows(
            [rank[rows.experiments[row]] for row in chosen],
            [rows.iterations[row] for row in chosen],
            {name: [values[row] for row in chosen] for name, values in rows.columns.items()},
        ),
    )


def results_html(
    experiments: Experiments, rows: Rows, failures: Sequence[tuple[str, Failure]], parameters: Sequence[str],
    n_experiments: int, n_rows: int, n_failures: int,
) -> str:  # fmt: skip
    """Return the repr of results in a notebook.

    Parameters
    ----------
    experiments : Experiments
    rows : Rows
        The rows to show.
    failures : sequence of (str, Failure)
        Those to show, each with the id of its experiment.
    parameters : sequence of str
    n_experiments, n_rows, n_failures : int
        How many there are in all.
    """
    facts = [counted(n_experiments, "experiment"), counted(n_rows, "row"), counted(n_failures, "failure")]
    body = section("Table", _rows_table(experiments, rows, parameters), _shown(rows, n_rows), is_open=True)
    if failures:
        note = f"the first {len(failures)} of {n_failures:,}" if n_failures > len(failures) else ""
        body += section("Failures", _failures_table(failures), note)
    return page("ResearchResults", "", facts, body)


def first_failures(failures: Sequence[tuple[int, Failure]], experiments: Experiments) -> list[tuple[str, Failure]]:
    """Return the first failures in domain order, each with the id of its experiment."""
    first = heapq.nsmallest(_N_FAILURES, failures, key=lambda pair: experiments.positions[pair[0]])
    return [(experiments.ids[index], failure) for index, failure in first]


def _shown(rows: Rows, n_rows: int) -> str:
    n_shown = len(rows.iterations)
    return f"the first {n_shown} of {counted(n_rows, 'row')}" if n_shown < n_rows else counted(n_rows, "row")


def _rows_table(experiments: Experiments, rows: Rows, parameters: Sequence[str]) -> str:
    if not rows.iterations:
        return paragraph("nothing was recorded yet")
    names = [*parameters, *rows.columns]
    columns = ["id", *parameters, "iteration", *rows.columns][:_MOST_COLUMNS]
    lines = []
    for i, experiment in enumerate(rows.experiments):
        texts = experiments.configs[experiment].texts()
        described = [cut(texts.get(name, ""), 40) for name in parameters]
        values = [_cell(column[i]) for column in rows.columns.values()]
        lines.append([experiments.ids[experiment], *described, str(rows.iterations[i]), *values][:_MOST_COLUMNS])
    n_hidden = len(names) + 2 - len(columns)
    more = paragraph(f"and {counted(n_hidden, 'more column')}") if n_hidden else ""
    numbers = [cut(name) for name, column in rows.columns.items() if all(_is_number(value) for value in column)]
    return table([cut(name) for name in columns], lines, {"iteration", *numbers}) + more


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
        return attempted(lambda: f"{value:.6g}" if isinstance(value, float) else str(value), value, 40)
    return text_of(value, 40)
