"""Results as a Dask DataFrame: one partition for each part of the folder, read when it is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from daskresearch.store import FolderStore, Store

if TYPE_CHECKING:
    import pandas as pd

ReadPart = Callable[[str | None], "pd.DataFrame"]


def dask_frame(store: Store, read: ReadPart) -> Any:
    """Return the table of results as a dask.dataframe.

    Parameters
    ----------
    store : Store
    read : callable
        Gives the table of one part, by name, or of all for None.
    """
    import dask.dataframe as dd
    import pandas as pd

    names = store.part_names() if isinstance(store, FolderStore) else []
    if len(names) < 2:
        return dd.from_pandas(read(None), npartitions=1)
    # a column has one type in all partitions, whatever each part would be read as by itself
    kinds = [read(name).dtypes for name in names]
    dtypes = {}
    for column in dict.fromkeys(column for one in kinds for column in one.index):
        known = {one[column] for one in kinds if column in one.index}
        is_whole = all(column in one.index for one in kinds)
        dtypes[column] = _common(known, is_whole=is_whole)
    meta = pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in dtypes.items()})
    return dd.from_map(_Fitted(read, dtypes), names, meta=meta)


def _common(dtypes: set[Any], *, is_whole: bool) -> Any:
    import numpy as np
    from pandas.api.types import is_numeric_dtype

    if len(dtypes) == 1 and is_whole:
        return next(iter(dtypes))
    numbers = all(is_numeric_dtype(dtype) and dtype.kind in "iuf" for dtype in dtypes)
    return np.dtype("float64") if numbers else np.dtype(object)


class _Fitted:
    """Reads a part, with the columns and types that all parts have."""

    def __init__(self, read: ReadPart, dtypes: dict[str, Any]) -> None:
        self._read = read
        self._dtypes = dtypes

    def __call__(self, name: str) -> pd.DataFrame:
        return self._read(name).reindex(columns=list(self._dtypes)).astype(self._dtypes)
