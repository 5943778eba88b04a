"""Results as a Dask DataFrame: one partition for each part of the folder, read when it is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

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
        Gives the table of one part, by name, or of all for None; may travel to workers if `store` is a folder.
    """
    import dask
    import dask.dataframe as dd
    import pandas as pd

    names: list[str | None] = [*(store.part_names() if isinstance(store, FolderStore) else [])] or [
        None
    ]
    if not isinstance(store, FolderStore):
        read = _Whole(read(None))
    # a column has one type in all partitions, whatever each part would be read as by itself
    kinds = [_kinds(read(name)) for name in names]
    dtypes = {
        name: _common([one[name] for one in kinds if name in one]) for one in kinds for name in one
    }
    meta = pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in dtypes.items()})
    with dask.config.set(
        {"dataframe.convert-string": False}
    ):  # it would make texts of lists and arrays
        return dd.from_map(_Fitted(read, dtypes), names, meta=meta)


def _kinds(frame: pd.DataFrame) -> dict[str, tuple[Any, bool, bool]]:
    """Return the type of each column, whether it has any value, and whether it has gaps."""
    kinds = {}
    for name in frame.columns:
        is_missing = frame[name].isna()
        kinds[name] = frame[name].dtype, not is_missing.all(), bool(is_missing.any())
    return kinds


def _common(kinds: list[tuple[Any, bool, bool]]) -> Any:
    """Return the type that the whole column would have."""
    import numpy as np
    from pandas.api.types import is_numeric_dtype

    known = {dtype for dtype, has_values, _ in kinds if has_values}
    if not known:
        return kinds[0][0]
    has_gaps = any(gaps for _, _, gaps in kinds)
    if len(known) == 1:
        dtype = next(iter(known))
        if not has_gaps or dtype.kind not in "biu":
            return dtype
    numbers = all(is_numeric_dtype(dtype) and dtype.kind in "iuf" for dtype in known)
    return np.dtype("float64") if numbers else np.dtype(object)


class _Whole:
    """The table of results that are kept in memory, which no other process could read there."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __call__(self, name: str | None) -> pd.DataFrame:
        return self._frame


class _Fitted:
    """Reads a part, with the columns and types that all parts have."""

    def __init__(self, read: ReadPart, dtypes: dict[str, Any]) -> None:
        self._read = read
        self._dtypes = dtypes
        self._token = uuid4().hex

    def __dask_tokenize__(self) -> str:
        return self._token

    def __call__(self, name: str | None) -> pd.DataFrame:
        return self._read(name).reindex(columns=list(self._dtypes)).astype(self._dtypes)
