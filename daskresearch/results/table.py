"""From recorded rows to DataFrames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from daskresearch.domain.config import AUXILIARY
from daskresearch.errors import OptionError
from daskresearch.results.select import Asked, as_names, chosen_experiments
from daskresearch.store import MISSING, Rows, Snapshot, recorded, taken

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_OF_FAILURES: Final[dict[str, Any]] = {
    "unit": str, "iteration": "int64", "exception": object, "traceback": str,
    "kind": str, "worker": str,
}  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class TableLayout:
    """Which columns describe the config in a table; see `ResearchResults.to_df`."""

    parameters: tuple[str, ...]
    include_config: bool = True
    use_alias: bool = False
    concat_config: bool = False
    remove_auxilary: bool = True
    drop_columns: bool = True


def check_columns(layout: TableLayout, variables: Collection[str], *, pivot: bool) -> None:
    """Refuse a table in which two columns would have one name.

    Raises
    ------
    OptionError
        Names the column and the ways out.
    """
    shown = layout.parameters if layout.include_config else ()
    if layout.include_config and layout.concat_config:
        shown = () if layout.drop_columns else shown
        if "config" in (*shown, *(variables if pivot else ())):
            raise OptionError(
                "concat_config=True makes a column 'config', but there is one already; rename that "
                "one"
            )
    clash = [name for name in ("name", "value") if name in shown]
    if clash and not pivot:
        raise OptionError(
            f"pivot=False makes a column {clash[0]!r}, as a parameter is named; use "
            "include_config=False"
        )


def table_of(
    snapshot: Snapshot, asked: Asked, layout: TableLayout, variables: list[str], *, pivot: bool
) -> pd.DataFrame:
    """Return the rows that are asked for, as a wide table or a long one."""
    check_columns(layout, variables, pivot=pivot)
    if asked.arrays not in ("eager", "lazy"):
        raise OptionError(f"arrays must be 'eager' or 'lazy', not {asked.arrays!r}")
    names = as_names(asked.name, variables)
    chosen = chosen_experiments(snapshot, layout.parameters, asked.filters)
    is_lazy = asked.arrays == "lazy"
    rows = snapshot.rows(chosen, names, iterations=asked.iterations, lazy=is_lazy)
    rows = in_order(snapshot, narrowed(rows, asked.iterations, must_record=asked.name is not None))
    return (wide if pivot else long)(snapshot, rows, layout)


def wide(snapshot: Snapshot, rows: Rows, layout: TableLayout) -> pd.DataFrame:
    """Return one row an iteration and one column a variable.

    Parameters
    ----------
    snapshot : Snapshot
    rows : Rows
        The rows of the table, in order.
    layout : TableLayout
    """
    import pandas as pd

    columns = _config_columns(snapshot, rows.experiments, layout)
    columns["iteration"] = pd.Series(rows.iterations, dtype="int64")
    for name, values in rows.columns.items():
        columns[name] = series(values)
    return pd.DataFrame(columns, copy=False)


def long(snapshot: Snapshot, rows: Rows, layout: TableLayout) -> pd.DataFrame:
    """Return one row for each recorded value, with the columns ``name`` and ``value``."""
    import numpy as np
    import pandas as pd

    names = list(rows.columns)
    masks = [recorded(values) for values in rows.columns.values()]
    # row by row, and within a row variable by variable
    row, variable = (
        np.nonzero(np.column_stack(masks)) if masks else (np.zeros(0, int), np.zeros(0, int))
    )
    lists = [values_of(values) for values in rows.columns.values()]
    columns = _config_columns(snapshot, rows.experiments[row], layout)
    columns["iteration"] = pd.Series(rows.iterations[row], dtype="int64")
    columns["name"] = series([names[i] for i in variable.tolist()])
    columns["value"] = series(
        [lists[i][j] for j, i in zip(row.tolist(), variable.tolist(), strict=True)]
    )
    return pd.DataFrame(columns, copy=False)


def values_of(values: list[Any] | NDArray[Any]) -> list[Any]:
    """Return the values in a list; types that Python has not stay scalars of numpy."""
    if isinstance(values, list):
        return values
    return values.tolist() if values.dtype.name in ("bool", "int64", "float64") else list(values)


def configs(snapshot: Snapshot, index: NDArray[np.int64], layout: TableLayout) -> pd.DataFrame:
    """Return one row for each experiment of an index with its id and config."""
    import pandas as pd

    return pd.DataFrame(_config_columns(snapshot, index, layout), copy=False)


def failures_table(snapshot: Snapshot) -> pd.DataFrame:
    """Return one row for each failure, in domain order."""
    import pandas as pd

    failures = sorted(snapshot.failures(), key=lambda pair: snapshot.positions[pair[0]])
    columns = {"id": pd.Series([snapshot.ids[index] for index, _ in failures], dtype=str)}
    for name, kind in _OF_FAILURES.items():
        column = [getattr(failure, name) for _, failure in failures]
        # a kind is a member of an enum here, and a plain text for users
        columns[name] = pd.Series(list(map(str, column)) if kind is str else column, dtype=kind)
    return pd.DataFrame(columns)


def _config_columns(
    snapshot: Snapshot, index: NDArray[np.int64], layout: TableLayout
) -> dict[str, Any]:
    """Return the id and config columns of rows, by the index of their experiments."""
    import numpy as np

    # each experiment is described once, however many rows it has
    is_used = np.zeros(int(index.max(initial=-1)) + 1, dtype=bool)
    is_used[index] = True
    used = np.flatnonzero(is_used)
    is_same = len(used) == len(index) and bool((used == index).all())
    place = None if is_same else (np.cumsum(is_used) - 1)[index]

    def spread(values: Any, kind: type | None = None) -> Any:
        if place is None or not isinstance(values, list):
            return series(values if place is None else values[place], kind)
        return series(values, kind).take(place).reset_index(drop=True)

    columns: dict[str, Any] = {"id": spread(taken(list(snapshot.ids), used), str)}
    if not layout.include_config:
        return columns
    names = (*layout.parameters, *(() if layout.remove_auxilary else AUXILIARY))
    if layout.concat_config:
        columns["config"] = spread(
            _joined({name: snapshot.texts(name, used) for name in names}, len(used)), str
        )
        if layout.drop_columns:
            return columns
    for name in names:
        columns[name] = spread(
            snapshot.texts(name, used) if layout.use_alias else snapshot.values(name, used)
        )
    return columns


def _joined(texts: dict[str, list[Any]], n: int) -> list[str]:
    names = sorted(texts)
    return [
        "-".join([f"{name}_{texts[name][i]}" for name in names if texts[name][i] is not MISSING])
        for i in range(n)
    ]


def series(values: Sequence[Any] | NDArray[Any], kind: type | None = None) -> pd.Series:
    """Return a column with the type that pandas infers, NaN where there is no value."""
    import numpy as np
    import pandas as pd

    if len(values) == 0:
        return pd.Series([], dtype=kind or object)
    if not isinstance(values, list):
        return pd.Series(values)
    if kind is not str and any([value is MISSING for value in values]):
        values = [np.nan if value is MISSING else value for value in values]
    try:
        series = pd.Series(values)
        if series.dtype.kind == "f" and _are_beyond_floats(values):
            series = pd.Series(values, dtype=object)
        return series
    except (ValueError, OverflowError):
        # (a) values that look like parts of one larger array; (b) texts that are not valid;
        # (c) integers beyond floats, in pandas before 3
        column = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):
            column[i] = value
        return pd.Series(column, dtype=object)


def _are_beyond_floats(values: list[Any]) -> bool:
    """Return whether a float64 may not hold some value.

    Such a value is a large integer or a longer float.
    """
    import numpy as np

    kinds = set(map(type, values))
    integers = {kind for kind in kinds if issubclass(kind, (int, np.integer))}
    is_large = bool(integers) and any(
        [type(value) in integers and abs(int(value)) > 2**53 for value in values]
    )
    return is_large or np.longdouble in kinds


def narrowed(rows: Rows, iterations: list[int] | None, *, must_record: bool) -> Rows:
    """Return the rows of some iterations, if asked those with any of the variables."""
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
