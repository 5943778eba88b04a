"""From recorded rows to DataFrames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from daskresearch.errors import OptionError
from daskresearch.store import MISSING, Experiments, Rows

if TYPE_CHECKING:
    import pandas as pd

_AUXILIARY = ("repetition", "updates")


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns describe the config in a table; see `ResearchResults.to_df`."""

    parameters: tuple[str, ...]
    include_config: bool = True
    use_alias: bool = False
    concat_config: bool = False
    remove_auxilary: bool = True
    drop_columns: bool = True


def check_columns(layout: Layout, variables: Collection[str], *, pivot: bool) -> None:
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
            raise OptionError("concat_config=True makes a column 'config', but there is one already; rename that one")
    clash = [name for name in ("name", "value") if name in shown]
    if clash and not pivot:
        raise OptionError(f"pivot=False makes a column {clash[0]!r}, as a parameter is named; use include_config=False")


def wide(experiments: Experiments, rows: Rows, chosen: Sequence[int], layout: Layout) -> pd.DataFrame:
    """Return one row an iteration and one column a variable.

    Parameters
    ----------
    experiments : Experiments
    rows : Rows
    chosen : sequence of int
        The indices of the rows of the table, in order.
    layout : Layout
    """
    import pandas as pd

    index = _taken(rows.experiments, chosen)
    columns = _config_columns(experiments, index, layout)
    columns["iteration"] = pd.Series(_taken(rows.iterations, chosen), dtype="int64")
    for name, values in rows.columns.items():
        columns[name] = _series(_taken(values, chosen))
    return pd.DataFrame(columns, copy=False)


def long(experiments: Experiments, rows: Rows, chosen: Sequence[int], layout: Layout) -> pd.DataFrame:
    """Return one row for each recorded value, with its variable in ``name`` and itself in ``value``."""
    import pandas as pd

    cells = [
        (rows.experiments[row], rows.iterations[row], name, values[row])
        for row in chosen
        for name, values in rows.columns.items()
        if values[row] is not MISSING
    ]
    columns = _config_columns(experiments, [cell[0] for cell in cells], layout)
    columns["iteration"] = pd.Series([cell[1] for cell in cells], dtype="int64")
    columns["name"] = _series([cell[2] for cell in cells])
    columns["value"] = _series([cell[3] for cell in cells])
    return pd.DataFrame(columns, copy=False)


def configs(experiments: Experiments, chosen: Sequence[int], layout: Layout) -> pd.DataFrame:
    """Return one row an experiment with its id and config."""
    import pandas as pd

    return pd.DataFrame(_config_columns(experiments, chosen, layout), copy=False)


def _config_columns(experiments: Experiments, index: Sequence[int], layout: Layout) -> dict[str, Any]:
    """Return the id and config columns of rows, given the index of the experiment of each."""
    columns: dict[str, Any] = {"id": _series(_taken(experiments.ids, index), str)}
    if not layout.include_config:
        return columns
    auxiliary = () if layout.remove_auxilary else _AUXILIARY
    texts: list[dict[str, Any]] = []
    if layout.concat_config or layout.use_alias:
        texts = [config.texts() | _as_texts(config.auxiliary()) for config in experiments.configs]
    if layout.concat_config:
        names = {*layout.parameters, *auxiliary}
        joined = ["-".join([f"{name}_{text[name]}" for name in sorted(text) if name in names]) for text in texts]
        columns["config"] = _series(_taken(joined, index), str)
        if layout.drop_columns:
            return columns
    described = texts
    if not layout.use_alias:
        described = [config.values() | config.auxiliary() for config in experiments.configs]
    for name in (*layout.parameters, *auxiliary):
        values = [one.get(name, MISSING) for one in described]
        columns[name] = _series(_taken(values, index))
    return columns


def _as_texts(values: dict[str, int]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _taken(values: Sequence[Any], index: Sequence[int]) -> Sequence[Any]:
    if isinstance(index, range) and index == range(len(values)):
        return values
    return [values[i] for i in index]


def _series(values: Sequence[Any], kind: type | None = None) -> pd.Series:
    """Return a column with the type that pandas infers, NaN where nothing was recorded."""
    import numpy as np
    import pandas as pd

    if not values:
        return pd.Series([], dtype=kind or object)
    if any([value is MISSING for value in values]):
        # a float cannot hold every integer
        is_large = any([type(value) is int and abs(value) > 2**53 for value in values])
        values = [np.nan if value is MISSING else value for value in values]
        if is_large:
            return pd.Series(values, dtype=object)
    try:
        return pd.Series(values)
    except ValueError:  # values that look like parts of one larger array
        column = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):
            column[i] = value
        return pd.Series(column)
