"""Rows of a table: those that are asked for, in the order of the domain."""

from __future__ import annotations

from typing import Any

from daskresearch.store import Rows, Snapshot, recorded, taken


def narrowed(rows: Rows, iterations: list[int] | None, *, must_record: bool) -> Rows:
    """Return the rows of some iterations, and if asked those in which any of the variables was recorded."""
    import numpy as np

    mask = np.ones(len(rows.iterations), dtype=bool)
    if iterations is not None:
        mask &= np.isin(rows.iterations, iterations)
    if must_record:
        mask &= np.logical_or.reduce([recorded(values) for values in rows.columns.values()])
    return rows if bool(mask.all()) else _taken_rows(rows, np.flatnonzero(mask))


def in_order(snapshot: Snapshot, rows: Rows) -> Rows:
    """Return the rows in domain order; those of one experiment stay as they are."""
    import numpy as np

    positions = snapshot.positions[rows.experiments]
    if positions.size < 2 or bool((positions[1:] >= positions[:-1]).all()):
        return rows
    return _taken_rows(rows, np.argsort(positions, kind="stable"))


def _taken_rows(rows: Rows, index: Any) -> Rows:
    columns = {name: taken(values, index) for name, values in rows.columns.items()}
    return Rows(rows.experiments[index], rows.iterations[index], columns)
