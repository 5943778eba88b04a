"""The rows of chosen experiments, read from the row groups that hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from daskresearch.errors import StorageError
from daskresearch.store.columns.values import TYPES, decode, split
from daskresearch.store.columns.widen import concatenated
from daskresearch.store.contents import RESULTS
from daskresearch.store.files.base import Files
from daskresearch.store.folder.parquet import reading, selected, with_fields
from daskresearch.store.record import MISSING
from daskresearch.store.snapshot import Rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class Request(NamedTuple):
    """The experiments of a part whose rows are asked for.

    Attributes
    ----------
    part : str
    n_rows : ndarray
        How many rows each experiment of the part has.
    chosen : ndarray
        The ascending places of the chosen ones in the part.
    owners : ndarray
        Their places in the snapshot.
    """

    part: str
    n_rows: NDArray[np.int64]
    chosen: NDArray[np.int64]
    owners: NDArray[np.int64]


class _Reference(str):
    """The reference to a large array, where a value would be."""

    __slots__ = ()


def read_rows(
    files: Files,
    requests: Sequence[Request],
    names: Sequence[str],
    iterations: Sequence[int] | None,
    load: Callable[[list[str]], Sequence[Any]],
    *,
    allow_pickle: bool,
) -> Rows:
    """Return the rows that are asked for.

    Parameters
    ----------
    files : Files
    requests : sequence of Request
    names : sequence of str
        The variables.
    iterations : sequence of int, optional
        Row groups that hold none of these are left out.
    load : callable
        Gives the arrays of references.
    allow_pickle : bool
        Whether values are unpickled.
    """
    import numpy as np

    tables, owners = [], []
    for request in requests:
        if len(request.chosen) and request.n_rows.any():
            table, owner = read_request(files, request, names, iterations)
            tables.append(table)
            owners.append(owner)
    if not tables:
        nothing = np.zeros(0, np.int64)
        return Rows(nothing, nothing, {name: [] for name in names})
    table = concatenated(tables)
    types = split(table.column(TYPES)) if TYPES in table.column_names else {}
    columns: dict[str, list[Any] | NDArray[Any]] = {}
    for name in names:
        if name not in table.column_names:
            columns[name] = [MISSING] * table.num_rows
            continue
        values = decode(
            table.column(name), types.get(name), open_array=_Reference, allow_pickle=allow_pickle
        )
        columns[name] = _with_arrays(values, load) if name in types else values
    numbers = np.asarray(table.column("iteration").to_numpy(), dtype=np.int64)
    return Rows(np.concatenate(owners), numbers, columns)


def _with_arrays(
    values: list[Any] | NDArray[Any], load: Callable[[list[str]], Sequence[Any]]
) -> Any:
    places = [place for place, value in enumerate(values) if type(value) is _Reference]
    if places:
        for place, array in zip(
            places, load([str(values[place]) for place in places]), strict=True
        ):
            values[place] = array
    return values


def read_request(
    files: Files, request: Request, names: Sequence[str], iterations: Sequence[int] | None
) -> tuple[Any, NDArray[np.int64]]:
    """Return the rows that are asked for, and for each the index of its experiment."""
    import numpy as np

    path = f"{RESULTS}/{request.part}.parquet"
    n_rows = request.n_rows
    with reading(files, path) as file:
        n_there = file.metadata.num_rows
        if n_rows.sum() != n_there or bool(((n_rows < 0) | (n_rows > n_there)).any()):
            raise StorageError(
                f"{files.url}/{path} has {n_there} rows, but its experiments recorded "
                f"{n_rows.sum()}, from {n_rows.min()} to {n_rows.max()} each; "
                f"one of the two files is not the one that was written"
            )
        columns = [name for name in file.schema_arrow.names if name in (*names, "iteration", TYPES)]
        counts = n_rows[request.chosen]
        owner = np.repeat(request.owners, counts)
        if len(request.chosen) == len(n_rows) and iterations is None:
            return _with_integers(selected(file, columns)), owner
        starts = np.cumsum(n_rows) - n_rows
        ends = np.cumsum(counts)
        # the place of each wanted row in the file
        wanted = np.arange(len(owner)) + np.repeat(starts[request.chosen] - (ends - counts), counts)
        groups, kept, places = _groups_of(file, wanted, iterations)
        table = selected(file, columns, groups)
        return _with_integers(table.take(places)), owner[kept]


def _with_integers(table: pa.Table) -> pa.Table:
    """Return a table of results whose iterations are integers."""
    import pyarrow as pa

    return with_fields(table, {"iteration": pa.field("iteration", pa.int64(), nullable=False)})


def _groups_of(
    file: Any, wanted: NDArray[np.int64], iterations: Sequence[int] | None
) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
    """Find wanted rows in the row groups of a file.

    Returns
    -------
    groups : list of int
        The row groups that hold wanted rows and, if iterations are given, may hold one of these.
    kept : ndarray
        The indices of the wanted rows in these groups.
    places : ndarray
        Where each of them is among all rows of these groups.
    """
    import numpy as np

    metadata = file.metadata
    sizes = np.array(
        [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)], dtype=np.int64
    )
    ends = np.cumsum(sizes)
    group = np.searchsorted(ends, wanted, side="right")
    chosen = np.unique(group)
    if iterations is not None:
        column = file.schema_arrow.names.index("iteration")
        chosen = np.array(
            [i for i in chosen.tolist() if _may_hold(metadata, i, column, iterations)],
            dtype=np.int64,
        )
    kept = np.flatnonzero(np.isin(group, chosen))
    before = np.zeros(len(sizes), np.int64)
    before[chosen] = np.cumsum(sizes[chosen]) - sizes[chosen]
    places = wanted[kept] - (ends - sizes)[group[kept]] + before[group[kept]]
    return chosen.tolist(), kept, places


def _may_hold(metadata: Any, group: int, column: int, iterations: Sequence[int]) -> bool:
    statistics = metadata.row_group(group).column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= number <= statistics.max for number in iterations)
