"""The content of arrays and frames: what they hold, with dtype, shape, memory order, names and index."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

Content = Callable[[Any], bytes]


def is_array(value: Any) -> bool:
    """Return whether a value is an array or scalar of numpy."""
    if not hasattr(value, "__array_interface__"):
        return False
    import numpy as np

    return isinstance(value, (np.ndarray, np.generic))


def is_frame(value: Any) -> bool:
    """Return whether a value is a DataFrame, a Series or an Index of pandas, or an array that they hold."""
    if "pandas" not in sys.modules or not type(value).__module__.startswith("pandas."):
        return False
    import pandas as pd

    return isinstance(value, (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray))


def array_content(array: Any, content: Content) -> bytes:
    """Return the digest of a numpy array, of 32 bytes.

    Parameters
    ----------
    array : ndarray or numpy scalar
        Of any shape and dtype; the memory order counts, as floating point sums follow it.
    content : callable
        Gives the content of elements and masks that are objects.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.arange(4).reshape(2, 2)
    >>> array_content(a, repr) == array_content(a.copy(), repr), array_content(a, repr) == array_content(a.T, repr)
    (True, False)
    """
    import numpy as np

    is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    description = (type(array).__qualname__, _dtype_text(array.dtype), array.shape, "F" if is_fortran else "C")
    digest = hashlib.sha256(repr(description).encode())
    if isinstance(array, np.ma.MaskedArray):
        digest.update(array_content(np.ma.getmaskarray(array), content))
        digest.update(content(array.fill_value))
        array = array.filled()
    if array.dtype.hasobject or array.dtype.char == "T":
        digest.update(_objects_content(array.ravel().tolist(), content))
    elif array.size:
        plain = np.asarray(array.T if is_fortran else array, order="C")
        digest.update(plain.reshape(-1).view(np.uint8).data if plain.dtype.itemsize else b"")
    return digest.digest()


def _dtype_text(dtype: Any) -> str:
    if dtype.names is None:
        return f"{dtype.str} {dtype.metadata or ''}"
    return repr([(name, _dtype_text(field[0]), field[1]) for name, field in dtype.fields.items()])


def _objects_content(values: list[Any], content: Content) -> bytes:
    if all([type(value) is str for value in values]):
        encoded = [value.encode("utf-8", "surrogatepass") for value in values]
        lengths = repr([len(one) for one in encoded]).encode()
        return hashlib.sha256(b"str" + lengths + b"".join(encoded)).digest()
    return content(values)


def frame_content(frame: Any, content: Content) -> bytes:
    """Return the digest of a DataFrame, Series, Index or extension array of pandas, of 32 bytes."""
    import pandas as pd

    digest = hashlib.sha256(type(frame).__qualname__.encode())
    if isinstance(frame, pd.DataFrame):
        parts: list[Any] = [frame.columns, frame.index, *[frame.iloc[:, i].array for i in range(frame.shape[1])]]
        extra: Any = frame.attrs
    elif isinstance(frame, pd.Series):
        parts, extra = [frame.index, frame.array], (frame.name, frame.attrs)
    elif isinstance(frame, pd.MultiIndex):
        parts, extra = [frame.get_level_values(i) for i in range(frame.nlevels)], tuple(frame.names)
    elif isinstance(frame, pd.Index):
        parts, extra = [frame.array], (frame.name, str(getattr(frame, "freq", None)))
    else:
        parts, extra = _array_parts(frame, content), str(frame.dtype)
        return hashlib.sha256(digest.digest() + b"".join(parts) + content(extra)).digest()
    for part in parts:
        digest.update(frame_content(part, content))
    digest.update(content(extra))
    return digest.digest()


def _array_parts(array: Any, content: Content) -> list[bytes]:
    """Return digests of what an extension array holds."""
    import numpy as np
    import pandas as pd

    if isinstance(array, pd.Categorical):
        return [array_content(array.codes, content), frame_content(array.categories, content)]
    values = array.to_numpy()
    if isinstance(array.dtype, pd.StringDtype):
        missing = np.asarray(array.isna())
        filled = ["" if gone else text for text, gone in zip(array.tolist(), missing, strict=True)]
        return [array_content(missing, content), _objects_content(filled, content)]
    if values.dtype.hasobject and not values.flags.writeable:
        values = values.copy()
    return [array_content(values, content)]
