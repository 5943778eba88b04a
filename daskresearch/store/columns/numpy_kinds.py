"""The kinds of arrays and scalars of numpy; see `kinds`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from daskresearch.store.columns.cells import comes_back, npy_array
from daskresearch.store.columns.times import UNITS

if TYPE_CHECKING:
    import numpy as np

Kind = tuple[Any, ...]

SMALL_ARRAY: Final = 1024
_ELEMENTS: Final = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
)
_KEPT: Final = frozenset([*_ELEMENTS, "float16", "complex64", "complex128"])


def kind_of_numpy(value: Any, keeps_arrays: bool) -> tuple[Kind, Any] | None:
    """Return the kind of an array or a scalar of numpy, and what its encoder takes; None if it must be pickled.

    Examples
    --------
    >>> import numpy as np
    >>> kind_of_numpy(np.float32(0.5), keeps_arrays=False), kind_of_numpy(np.arange(3), keeps_arrays=False)
    ((('scalar', 'float32'), np.float32(0.5)), (('ndarray', 'int64'), array([0, 1, 2])))
    """
    import numpy as np

    if isinstance(value, np.generic):
        return _kind_of_scalar(value)
    if type(value) not in (np.ndarray, np.memmap):
        return None
    value = value.view(np.ndarray)
    name = _name(value.dtype)
    if keeps_arrays and value.nbytes > SMALL_ARRAY and name in _KEPT:
        return ("array",), value
    if value.ndim == 1 and value.nbytes <= SMALL_ARRAY and name in _ELEMENTS:
        return ("ndarray", name), value
    content = _npy_bytes(value)
    return None if content is None else (("npy", "npy"), content)


def is_readable(moment: Any) -> bool:
    """Return whether a point in time is none, or one that a datetime could hold."""
    import numpy as np

    if moment.dtype == "datetime64[ns]":
        return True  # and the comparison with far days would overflow
    return bool(
        np.isnat(moment) or np.datetime64("0001-01-01") <= moment < np.datetime64("9999-12-31")
    )


@lru_cache(maxsize=256)
def _name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype in native order of bytes, empty for one that is numpy's only in part."""
    return dtype.name if dtype.isbuiltin == 1 or dtype.kind in "mM" else ""


def _kind_of_scalar(value: np.generic) -> tuple[Kind, Any] | None:
    import numpy as np

    name = _name(value.dtype)
    if type(value) is not value.dtype.type:
        return None
    if name in _ELEMENTS or name == "float16":
        return ("scalar", name), value
    if isinstance(value, (np.datetime64, np.timedelta64)):
        unit, step = np.datetime_data(value.dtype)
        is_moment = isinstance(value, np.datetime64)
        if unit in UNITS and step == 1 and (not is_moment or is_readable(value)):
            held = (
                "ms" if unit == "s" and is_moment else unit
            )  # Parquet has no points in time of seconds
            return ("moment", held, "", f"np:{name}") if is_moment else (
                "span",
                held,
                f"np:{name}",
            ), value
    array = np.asarray(value)
    content = _npy_bytes(array)
    if content is None or (value.dtype.kind in "SUV" and not comes_back(value, "npy0", content)):
        return None
    return ("npy", "npy0"), content


def _npy_bytes(array: np.ndarray) -> bytes | None:
    """Return an array in numpy's own format, or None if that would lose something or need a pickle."""
    import io
    import warnings

    import numpy as np

    if array.dtype.kind not in "biufcmMSUV" or array.dtype.hasobject or array.dtype.itemsize == 0:
        return None
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.lib.format.write_array(file, array, allow_pickle=False)
        content = file.getvalue()
        is_whole = array.dtype.kind in "biufc" or npy_array(content).dtype == array.dtype
    except (ValueError, TypeError, UserWarning):
        return None
    return content if is_whole else None
