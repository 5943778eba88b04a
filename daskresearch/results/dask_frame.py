"""Results as a Dask DataFrame, with a partition for each part of the folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from daskresearch.errors import StorageError
from daskresearch.results.table import series, values_of
from daskresearch.store import MISSING, FolderStore
from daskresearch.store.folder.footers import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

ReadPart = Callable[[str], "pd.DataFrame"]


def frame_in_memory(frame: pd.DataFrame) -> Any:
    """Return a table as a dask.dataframe of one partition, which is the table itself."""
    return _frame(lambda name: frame, [""], frame.iloc[:0])


def frame_of_folder(
    store: FolderStore,
    parameters: Iterable[str],
    reader: Callable[[Sequence[str]], ReadPart],
) -> Any:
    """Return the table of results as a dask.dataframe of one partition a part.

    The types of its columns come from the footers of the parts. Parts are read for columns alone
    whose footers do not tell, as those of cells of mixed types.

    Parameters
    ----------
    store : FolderStore
    parameters : iterable of str
        Those that the table has at least.
    reader : callable
        Takes all parameters, gives what reads the table of a part by name; that travels to workers.
    """
    import pandas as pd

    footers = store.footers()
    variables = dict.fromkeys(
        [*store.variables, *(name for part in footers for name in part.variables)]
    )
    if any([part.has_updates for part in footers]):
        parameters = [*parameters, *(name for part in footers for name in part.parameters)]
    parameters = tuple(dict.fromkeys(parameters))
    with_rows = [part for part in footers if part.results is not None]
    samples = {name: [part.parameters.get(name) for part in with_rows] for name in parameters}
    samples |= {name: [(part.results or {}).get(name) for part in with_rows] for name in variables}
    read, names = reader(parameters), [part.name for part in footers]
    unknown = [name for name in samples if any(map(_is_unknown, samples[name]))]
    tables = [read(name) for name in names] if unknown else []
    columns: dict[str, Any] = {"id": pd.Series(["id"] if with_rows else [], dtype=str)}
    for name in parameters:
        columns[name] = _joined(tables, name) if name in unknown else _column(samples[name])
    columns["iteration"] = pd.Series([], dtype="int64")
    for name in variables:
        columns[name] = _joined(tables, name) if name in unknown else _column(samples[name])
    meta = pd.DataFrame({name: column.iloc[:0] for name, column in columns.items()})
    if not footers:
        return frame_in_memory(meta)
    return _frame(read, names, meta)


def _is_unknown(sample: Any) -> bool:
    return isinstance(sample, list) and any(value is UNKNOWN for value in sample)


def _joined(tables: Sequence[pd.DataFrame], name: str) -> pd.Series:
    """Return a column of several tables with the type that one table would have."""
    import pandas as pd

    columns = [table[name] for table in tables if name in table]
    valued = [column for column in columns if not column.isna().all()]
    joined: pd.Series = pd.concat(valued or columns[:1])
    has_gaps = len(valued) < len(columns)
    if has_gaps and valued and joined.dtype.kind in "biu":
        return joined.astype(object if joined.dtype.kind == "b" else "float64")
    return joined


def _frame(read: ReadPart, names: list[str], meta: pd.DataFrame) -> Any:
    import dask
    import dask.dataframe as dd

    # it would make texts of lists and arrays
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_map(_Fitted(read, dict(meta.dtypes)), names, meta=meta)


def _column(samples: Sequence[Any]) -> pd.Series:
    """Return a column with the type of that for whose parts these samples stand."""
    import numpy as np

    samples = [[MISSING] if sample is None else sample for sample in samples]
    dtypes = {None if isinstance(sample, list) else sample.dtype for sample in samples}
    if len(dtypes) == 1 and None not in dtypes:
        return series(np.concatenate(samples))
    return series([value for sample in samples for value in values_of(sample)])


class _Fitted:
    """Reads a part, with the columns and types that all parts have."""

    def __init__(self, read: ReadPart, dtypes: dict[str, Any]) -> None:
        self._read = read
        self._dtypes = dtypes
        self._token = uuid4().hex

    def __dask_tokenize__(self) -> str:
        return self._token

    def __call__(self, name: str) -> pd.DataFrame:
        frame = self._read(name).reindex(columns=list(self._dtypes))
        try:
            return frame.astype(self._dtypes)
        except (TypeError, ValueError, OverflowError) as error:
            raise StorageError(
                f"part {name!r} holds other types than its footers tell ({error}); restore it"
            ) from None
