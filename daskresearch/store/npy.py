"""Arrays in numpy's own format, which needs no pickle and runs no code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def npy_bytes(array: np.ndarray) -> bytes | None:
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


def npy_array(content: bytes) -> np.ndarray:
    """Return the array that numpy's own format holds, which must be of the size that its head says."""
    import io

    import numpy as np

    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject or dtype.itemsize == 0 or any([size < 0 for size in shape]):
        raise ValueError(f"an array of dtype {dtype} and shape {shape}")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size != len(content) - file.tell():
        raise ValueError(f"an array of {size} bytes in a cell of {len(content) - file.tell()} bytes")
    return np.ndarray(shape, dtype, buffer=bytearray(content[file.tell() :]), order="F" if is_fortran else "C")
