"""The content of arrays and frames: values, dtype, shape, memory order and names.

Also that of other objects whose pickled state says too much, such as what a library keeps to be
faster next time.
"""

from __future__ import annotations

import hashlib
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, final

Content = Callable[[Any], bytes]

_TENSOR_PACKAGES = frozenset({"torch", "jax", "jaxlib", "cupy", "tensorflow"})
_REMEMBERED = 10_000


@final
class Memory:
    """The digests of objects that are alive, by their addresses.

    Some small objects that have no weak references are kept alive for it.
    """

    def __init__(self) -> None:
        self._weakly: dict[int, tuple[weakref.ref[Any], bytes]] = {}
        self._strongly: OrderedDict[int, tuple[Any, bytes]] = OrderedDict()

    def get(self, value: Any) -> bytes | None:
        """Return the digest of an object if it is known."""
        strongly = self._strongly.get(id(value))
        if strongly is not None:
            return strongly[1]
        weakly = self._weakly.get(id(value))
        return weakly[1] if weakly is not None and weakly[0]() is value else None

    def keep(self, value: Any, digest: bytes, *, is_small: bool) -> None:
        """Keep the digest of an object.

        The object itself is kept only if it is small and has no weak references.
        """
        address, digests = id(value), self._weakly
        try:
            digests[address] = weakref.ref(value, lambda _: digests.pop(address, None)), digest
        except TypeError:
            if is_small:
                self._strongly[address] = value, digest
                if len(self._strongly) > _REMEMBERED:
                    self._strongly.popitem(last=False)


def is_array(value: Any) -> bool:
    """Return whether a value is an array or scalar of numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic))


def is_frame(value: Any) -> bool:
    """Return whether a value is a DataFrame, Series, Index or array of pandas.

    Subclasses count, but arrays that other libraries define do not.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "api"):
        return False
    if isinstance(value, (pandas.DataFrame, pandas.Series, pandas.Index)):
        return True
    return isinstance(value, pandas.api.extensions.ExtensionArray) and _is_of("pandas", type(value))


def is_tensor(value: Any) -> bool:
    """Return whether a value is an array of another library, which numpy can read."""
    kind = type(value)
    return str(kind.__module__).partition(".")[0] in _TENSOR_PACKAGES and hasattr(
        value, "__array__"
    )


def _is_of(package: str, kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] == package


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the further attributes of an array or frame of a subclass."""
    kind = type(value)
    if _is_of("numpy", kind) or _is_of("pandas", kind):
        return {}
    if is_array(value):
        own: dict[str, Any] = {**getattr(value, "__dict__", {})}
        return own
    return (
        {name: getattr(value, name, None) for name in value._metadata}
        if hasattr(value, "_metadata")
        else {}
    )


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
    >>> array_content(a, repr) == array_content(a.copy(), repr)
    True
    >>> array_content(a, repr) == array_content(a.T, repr)
    False
    """
    import numpy as np

    axes = _axes(array)
    description = (type(array).__qualname__, _dtype_text(array.dtype), array.shape, axes)
    digest = hashlib.sha256(repr(description).encode())
    if array is np.ma.masked:
        return digest.digest()
    if isinstance(array, np.ma.MaskedArray):
        digest.update(array_content(np.ma.getmaskarray(array), content))
        digest.update(content(array.fill_value))
        array = array.filled()
    for piece in _pieces(np.asarray(array).transpose(axes), content):
        digest.update(piece)
    return digest.digest()


def _axes(array: Any) -> tuple[int, ...]:
    """Return the axes in the order of memory, that of the closest elements last."""
    is_in_order = array.ndim < 2 or array.flags.c_contiguous
    # an axis of one element has no place in this order, so that it stays where it is
    long = [] if is_in_order else [i for i, length in enumerate(array.shape) if length > 1]
    ordered = dict(zip(long, sorted(long, key=lambda i: -abs(array.strides[i])), strict=True))
    return tuple([ordered.get(i, i) for i in range(array.ndim)])


def _pieces(array: Any, content: Content) -> Iterator[Any]:
    """Yield the bytes of an array, without those that only fill up its elements."""
    import numpy as np

    dtype = array.dtype
    if dtype.names is not None:
        for name in dtype.names:
            yield from _pieces(array[name], content)
    elif dtype.hasobject or dtype.char == "T":
        yield _objects_content(array.ravel().tolist(), content)
    elif array.size and dtype.itemsize:
        plain = np.asarray(array, order="C").reshape(-1).view(np.uint8)
        if dtype.char in "gG" and np.finfo(np.longdouble).nmant == 63:
            plain = plain.reshape(-1, np.longdouble().itemsize)[:, :10].copy().reshape(-1)
        yield plain.data


def _dtype_text(dtype: Any) -> str:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return f"{_dtype_text(base)} {shape}"
    if dtype.names is None:
        return f"{dtype.str} {dtype.metadata or ''}"
    return repr([(name, _dtype_text(field[0]), field[1]) for name, field in dtype.fields.items()])


def _objects_content(values: list[Any], content: Content) -> bytes:
    if all([type(value) is str for value in values]):
        encoded = [value.encode("utf-8", "surrogatepass") for value in values]
        lengths = repr([len(text) for text in encoded]).encode()
        return hashlib.sha256(b"str" + lengths + b"".join(encoded)).digest()
    return content(values)


def frame_content(frame: Any, content: Content) -> bytes:
    """Return the digest of a frame, series, index or array of pandas, of 32 bytes."""
    import pandas as pd

    parts: list[Any]
    if isinstance(frame, pd.DataFrame):
        parts = [
            frame.columns,
            frame.index,
            *[frame.iloc[:, i].array for i in range(frame.shape[1])],
        ]
        extra: Any = frame.attrs
    elif isinstance(frame, pd.Series):
        parts, extra = [frame.index, frame.array], (frame.name, frame.attrs)
    elif isinstance(frame, pd.MultiIndex):
        parts, extra = [frame.get_level_values(i) for i in range(frame.nlevels)], tuple(frame.names)
    elif isinstance(frame, pd.RangeIndex):
        parts, extra = [], (frame.start, frame.stop, frame.step, frame.name)
    elif isinstance(frame, pd.Index):
        parts, extra = [frame.array], (frame.name, getattr(frame, "freq", None))
    else:
        parts, extra = _array_parts(frame), (str(frame.dtype), getattr(frame, "ordered", None))
    digest = hashlib.sha256(type(frame).__qualname__.encode())
    for part in parts:
        describe = (
            frame_content if is_frame(part) else array_content if is_array(part) else _elements
        )
        digest.update(describe(part, content))
    digest.update(content(extra))
    return digest.digest()


def _elements(values: Any, content: Content) -> bytes:
    """Return the content of a list of texts, or of an array of unknown inside."""
    content_of_all = (
        _objects_content(values, content) if isinstance(values, list) else content(values)
    )
    return hashlib.sha256(content_of_all).digest()


def _array_parts(array: Any) -> list[Any]:
    """Return what an extension array of pandas holds."""
    import numpy as np
    import pandas as pd

    if isinstance(array, pd.Categorical):
        return [array.codes, array.categories]
    if isinstance(array, pd.arrays.IntervalArray):
        return [array.left, array.right]
    if hasattr(array, "asi8"):
        return [array.asi8]
    missing = np.asarray(array.isna())
    if isinstance(array.dtype, pd.StringDtype):
        return [
            missing,
            ["" if gone else text for text, gone in zip(array.tolist(), missing, strict=True)],
        ]
    kind = getattr(array.dtype, "numpy_dtype", None)
    if (
        kind is not None
        and kind.kind in "biuf"
        and not isinstance(array, pd.arrays.NumpyExtensionArray)
    ):
        return [missing, array.to_numpy(dtype=kind, na_value=kind.type(0))]
    return [array.to_numpy()]


def tensor_content(tensor: Any, content: Content) -> bytes:
    """Return the digest of another library's array, with its device and gradient flag."""
    import numpy as np

    about = [str(getattr(tensor, name, "")) for name in ("dtype", "device", "requires_grad")]
    for step in ("detach", "cpu"):
        tensor = getattr(tensor, step)() if hasattr(tensor, step) else tensor
    try:
        array = np.asarray(tensor)
    except TypeError:  # numpy has no bfloat16
        array = np.asarray(tensor.float())
    return hashlib.sha256(repr(about).encode() + array_content(array, content)).digest()
