"""The cell types of the arrays and scalars of numpy."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from daskresearch.store.columns.cell_type import (
    CellType,
    Fit,
    Tag,
    checked_text,
    is_number,
    loaded,
)
from daskresearch.store.columns.nested import elements
from daskresearch.store.columns.plain import NUMBERS, number, text_of
from daskresearch.store.columns.times import UNITS, is_readable, moment, moments, span, spans

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SMALL_BYTES: Final = 1024
_ELEMENTS: Final = NUMBERS - {"float16"}
_KEPT: Final = NUMBERS | {"complex64", "complex128"}


class _Scalar(CellType):
    """A scalar of numpy."""

    def takes(self, kind: type) -> bool:
        return issubclass(kind, loaded("numpy", "generic") or ())


class _Array(CellType):
    """An array of numpy."""

    def takes(self, kind: type) -> bool:
        return kind in (loaded("numpy", "ndarray"), loaded("numpy", "memmap"))


class _NumpyScalar(_Scalar):
    """A number, point in time or span of time of numpy; its tag tells the dtype."""

    name = "np"

    def fit(self, value: np.generic) -> Fit:
        import numpy as np

        name = _name(value.dtype)
        if type(value) is not value.dtype.type:
            return None
        if name in NUMBERS:
            return name, value
        if isinstance(value, (np.datetime64, np.timedelta64)):
            unit, step = np.datetime_data(value.dtype)
            if unit in UNITS and step == 1:
                is_kept = isinstance(value, np.timedelta64) or is_readable(value)
                return (name, value) if is_kept else None
        return None

    def array(self, name: str, raws: list[Any]) -> pa.Array:
        import numpy as np
        import pyarrow as pa

        kind, _, unit = name.rstrip("]").partition("[")
        if unit:
            return moments(unit, "", raws) if kind == "datetime64" else spans(unit, raws)
        held = "float32" if name == "float16" else name  # few readers know half floats
        return pa.array(np.array(raws, dtype=held))

    def implied(self, kind: pa.DataType) -> str | None:
        import numpy as np

        if not is_number(kind):
            return None
        name = np.dtype(kind.to_pandas_dtype()).name
        return None if name in ("bool", "int64", "float64") else name

    def read(self, name: str, raw: Any) -> Any:
        import numpy as np

        kind, _, unit = name.rstrip("]").partition("[")
        if kind == "datetime64":
            return moment(raw, unit)
        if kind == "timedelta64":
            return span(raw, unit)
        if name not in NUMBERS:
            raise ValueError(f"dtype {name!r}")
        return np.dtype(name).type(number(name, raw))

    def carrying(self, name: str, raw: Any) -> Tag:
        return Tag(self.name, name, text_of(self.read(name, raw) if name in NUMBERS else raw))


class _NpyScalar(_Scalar):
    """Any other scalar of numpy, in numpy's own format for arrays."""

    name = "npy0"
    arrow = "binary"
    holds_bytes = True

    def fit(self, value: np.generic) -> Fit:
        import numpy as np

        if type(value) is not value.dtype.type:
            return None
        content = npy_bytes(np.asarray(value))
        is_lost = content is None or (
            value.dtype.kind in "SUV" and not self.gives_back(value, "", content)
        )
        return None if is_lost else ("", content)

    def read(self, argument: str, raw: bytes) -> Any:
        return npy_array(raw)[()]


class _KeptArray(_Array):
    """A large array of numbers that is kept elsewhere; the cell has a text that refers to it."""

    name = "array"
    arrow = "string"

    def fit(self, value: np.ndarray) -> Fit:
        import numpy as np

        is_large = value.nbytes > SMALL_BYTES and _name(value.dtype) in _KEPT
        return ("", value.view(np.ndarray)) if is_large else None

    def read(self, argument: str, raw: Any) -> str:
        return checked_text(raw)


class _SmallArray(_Array):
    """A small flat array of numbers, as a list; its tag tells the dtype."""

    name = "ndarray"

    def fit(self, value: np.ndarray) -> Fit:
        import numpy as np

        name = _name(value.dtype)
        is_small = value.ndim == 1 and value.nbytes <= SMALL_BYTES and name in _ELEMENTS
        return (name, value.view(np.ndarray)) if is_small else None

    def array(self, name: str, raws: list[np.ndarray]) -> pa.Array:
        import numpy as np
        import pyarrow as pa

        offsets = np.cumsum([0, *map(len, raws)], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(raws)))

    def read(self, name: str, raw: Any) -> np.ndarray:
        import numpy as np

        if name not in NUMBERS:
            raise ValueError(f"dtype {name!r}")
        return np.array(elements(name, raw), dtype=name)

    def carrying(self, name: str, raw: Any) -> Tag:
        return Tag(self.name, name, json.dumps(raw))


class _NpyArray(_Array):
    """Any other array without objects, in numpy's own format."""

    name = "npy"
    arrow = "binary"
    holds_bytes = True

    def fit(self, value: np.ndarray) -> Fit:
        import numpy as np

        content = npy_bytes(value.view(np.ndarray))
        return None if content is None else ("", content)

    def read(self, argument: str, raw: bytes) -> np.ndarray:
        return npy_array(raw)


KEPT_ARRAY: Final = _KeptArray()
NUMPY: Final[tuple[CellType, ...]] = (
    _NumpyScalar(), _NpyScalar(), KEPT_ARRAY, _SmallArray(), _NpyArray()
)  # fmt: skip


@lru_cache(maxsize=256)
def _name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype of numpy's own in native order of bytes, else an empty one."""
    return dtype.name if dtype.isbuiltin == 1 or dtype.kind in "mM" else ""


def npy_bytes(array: np.ndarray) -> bytes | None:
    """Return an array in numpy's own format, None if that would lose something or need a pickle."""
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


def npy_array(content: bytes) -> np.ndarray:
    """Return the array that numpy's own format holds.

    Raises
    ------
    ValueError
        If it is not of the size that its head says; no memory is given to what is not there.
    """
    import io

    import numpy as np

    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format {version}")
    heads = np.lib.format
    read = heads.read_array_header_1_0 if version == (1, 0) else heads.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject or dtype.itemsize == 0 or any([size < 0 for size in shape]):
        raise ValueError(f"an array of dtype {dtype} and shape {shape}")
    size = dtype.itemsize
    for length in shape:
        size *= length
    n_bytes = len(content) - file.tell()
    if size != n_bytes:
        raise ValueError(f"an array of {size} bytes in a cell of {n_bytes} bytes")
    buffer = bytearray(content[file.tell() :])
    return np.ndarray(shape, dtype, buffer=buffer, order="F" if is_fortran else "C")
