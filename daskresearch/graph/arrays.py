"""The content of arrays and frames: what they hold, with dtype, shape, memory order, names and index.

Also that of other objects whose pickled state says too much, such as what a library keeps to be faster next time.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import sys
import types
import typing
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, final

from daskresearch.errors import HashError
from daskresearch.graph.code import (
    PLAIN,
    Inside,
    code_content,
    framed,
    home_of,
    is_users_code,
    library_content,
)

Content = Callable[[Any], bytes]

_TENSOR_PACKAGES = frozenset({"torch", "jax", "jaxlib", "cupy", "tensorflow"})
_REMEMBERED = 10_000
_DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)

# what the process has one of, whatever it holds at the moment
_ONLY_ONES = (
    ("random", "_inst"),
    ("numpy.random.mtrand", "_rand"),
    ("os", "environ"),
    ("sys", "stdin"),
    ("sys", "stdout"),
    ("sys", "stderr"),
    ("sys", "__stdin__"),
    ("sys", "__stdout__"),
    ("sys", "__stderr__"),
)


@final
class Memory:
    """The digests of objects that are alive, and of a number of small ones that are kept alive for it."""

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
        """Keep the digest of an object; the object itself only if it is small and tells nobody when it goes."""
        address, known = id(value), self._weakly
        try:
            known[address] = weakref.ref(value, lambda _: known.pop(address, None)), digest
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
    """Return whether a value is a DataFrame, a Series or an Index of pandas, or one of its arrays.

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
    return str(kind.__module__).partition(".")[0] in _TENSOR_PACKAGES and hasattr(value, "__array__")


def _is_of(package: str, kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] == package


def attributes_of(value: Any) -> dict[str, Any]:
    """Return what an array or frame has besides, if its class is a subclass by another library or the user."""
    kind = type(value)
    if _is_of("numpy", kind) or _is_of("pandas", kind):
        return {}
    if is_array(value):
        own: dict[str, Any] = {**getattr(value, "__dict__", {})}
        return own
    return {name: getattr(value, name, None) for name in value._metadata} if hasattr(value, "_metadata") else {}


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
    """Return the axes in the order of memory, the one along which elements lie closest last."""
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
        lengths = repr([len(one) for one in encoded]).encode()
        return hashlib.sha256(b"str" + lengths + b"".join(encoded)).digest()
    return content(values)


def frame_content(frame: Any, content: Content) -> bytes:
    """Return the digest of a DataFrame, Series, Index or extension array of pandas, of 32 bytes."""
    import pandas as pd

    parts: list[Any]
    if isinstance(frame, pd.DataFrame):
        parts = [frame.columns, frame.index, *[frame.iloc[:, i].array for i in range(frame.shape[1])]]
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
        describe = frame_content if is_frame(part) else array_content if is_array(part) else _elements
        digest.update(describe(part, content))
    digest.update(content(extra))
    return digest.digest()


def _elements(values: Any, content: Content) -> bytes:
    """Return the content of a list of texts, or of an array that pandas does not know from inside."""
    content_of_all = _objects_content(values, content) if isinstance(values, list) else content(values)
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
        return [missing, ["" if gone else text for text, gone in zip(array.tolist(), missing, strict=True)]]
    kind = getattr(array.dtype, "numpy_dtype", None)
    if kind is not None and kind.kind in "biuf" and not isinstance(array, pd.arrays.NumpyExtensionArray):
        return [missing, array.to_numpy(dtype=kind, na_value=kind.type(0))]
    return [array.to_numpy()]


def short_text(value: Any) -> str:
    """Return a short text of a value, without asking users' code for it."""
    kind = type(value)
    if kind in PLAIN or (kind in (list, tuple) and PLAIN.issuperset(map(type, value[:20]))):
        with suppress(ValueError):  # repr refuses the longest integers
            text = repr(value[:20] if kind in (list, tuple, str, bytes) else value)
            return text if len(text) <= 80 else f"{text[:79]}…"
    if isinstance(value, (types.FunctionType, type, types.BuiltinFunctionType)):
        return value.__qualname__
    if is_array(value) or is_frame(value):
        return f"{kind.__qualname__} {getattr(value, 'dtype', '')} {value.shape}".replace("  ", " ")
    return kind.__qualname__


def tensor_content(tensor: Any, content: Content) -> bytes:
    """Return the digest of an array of another library, with its device and whether it has a gradient."""
    import numpy as np

    about = [str(getattr(tensor, name, "")) for name in ("dtype", "device", "requires_grad")]
    for step in ("detach", "cpu"):
        tensor = getattr(tensor, step)() if hasattr(tensor, step) else tensor
    try:
        array = np.asarray(tensor)
    except TypeError:  # numpy has no bfloat16
        array = np.asarray(tensor.float())
    return hashlib.sha256(repr(about).encode() + array_content(array, content)).digest()


def without_caches(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an object without docstrings and what libraries keep there to be faster next time."""
    module = str(kind.__module__)
    if module.startswith("scipy.sparse"):
        return {name: value for name, value in state.items() if not name.startswith("_has_") and name != "maxprint"}
    if module.startswith("scipy.stats"):
        return {name: value for name, value in state.items() if not name.endswith("_cache") and name != "__doc__"}
    if module == "numpy" and kind.__name__ == "vectorize":
        return {name: value for name, value in state.items() if name not in {"_ufunc", "_doc", "__doc__"}}
    return state if "__doc__" not in state else {name: value for name, value in state.items() if name != "__doc__"}


def special_content(value: Any, kind: type, inside: Inside) -> bytes | None:
    """Return the content of an object that tells it better than its pickled state does, else None."""
    if hasattr(kind, "__dask_keys__") and hasattr(kind, "__dask_graph__"):
        return framed(b"k", kind.__qualname__.encode(), repr(value.__dask_keys__()).encode())
    if is_tensor(value):
        return framed(b"T", inside("", kind), tensor_content(value, lambda part: inside("", part)))
    if isinstance(value, weakref.ReferenceType):
        return framed(b"w", inside("", value()))
    if isinstance(value, weakref.WeakSet):
        return framed(b"ws", inside("", kind), inside("", set(value)))
    if isinstance(value, (weakref.WeakKeyDictionary, weakref.WeakValueDictionary)):
        return framed(b"wd", inside("", kind), inside("", {**value}))
    if kind.__name__ in {"KDTree", "cKDTree"} and str(kind.__module__).startswith("scipy."):
        return framed(b"K", inside("", kind), inside("", [value.leafsize, value.boxsize, value.indices, value.data]))
    if isinstance(value, typing.ForwardRef):
        return framed(b"F", value.__forward_arg__.encode())
    for module, name in _ONLY_ONES:
        if getattr(sys.modules.get(module), name, None) is value:
            return framed(b"1", f"{module}.{name.strip('_')}".encode())
    return None


def callable_content(value: Any, kind: type, inside: Inside) -> bytes | None:
    """Return the content of what is called or makes an attribute, but is no function of Python's, else None.

    Raises
    ------
    HashError
        If it does not tell which function it calls.
    """
    if kind is types.MethodType:
        return framed(b"b", inside("", value.__func__), inside(".__self__", value.__self__))
    if kind is functools.partial:
        return framed(b"P", *[inside(f".{name}", getattr(value, name)) for name in ("func", "args", "keywords")])
    if isinstance(value, (types.BuiltinFunctionType, types.MethodWrapperType)):
        owner = value.__self__
        if owner is not None and not isinstance(owner, types.ModuleType):
            return framed(b"B", value.__name__.encode(), inside(".__self__", owner))
        module = getattr(value, "__module__", None) or getattr(owner, "__name__", "")
        return framed(b"B", library_content(module, value.__qualname__))
    if isinstance(value, _DESCRIPTORS):
        return framed(b"D", inside("", value.__objclass__), value.__name__.encode())
    if isinstance(value, (property, functools.cached_property, staticmethod, classmethod)):
        names = [name for name in ("fget", "fset", "fdel", "func", "__func__") if hasattr(value, name)]
        own = _own_of(value) if is_users_code(kind) else {}
        return framed(b"M", inside("", kind), inside("", own), *[inside("", getattr(value, name)) for name in names])
    if kind is types.CodeType:
        return framed(b"c", code_content(value))
    if kind.__module__ == "numpy" and kind.__name__ in {"ufunc", "_ArrayFunctionDispatcher"}:
        return framed(b"B", _numpys_content(value))
    if str(kind.__module__).startswith("numba.") and hasattr(value, "py_func"):
        return framed(b"J", inside("", kind), inside("", value.py_func), inside("", {**value.targetoptions}))
    if "__wrapped__" in getattr(value, "__dict__", {}) and not is_users_code(kind):
        return framed(b"W", inside("", kind), inside("", vars(value)["__wrapped__"]), inside("", _own_of(value)))
    return None


def _own_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object without those that say what it wraps."""
    own = getattr(value, "__dict__", {})
    return {name: part for name, part in own.items() if name[:2] != "__" and name != "cache_parameters"}


def _numpys_content(value: Any) -> bytes:
    if type(value).__name__ != "ufunc":
        return library_content(value.__module__, value.__qualname__)
    home = home_of(value, value.__name__)
    if home is None:
        raise HashError("numpy.ufunc", "it does not tell which function it was made of")
    return library_content(home.partition(".")[0], value.__name__)


def taken_apart(value: Any, kind: type, *, may_be_empty: bool) -> Any:
    """Return how pickle would make an object again: a name, or a function with arguments and the state.

    Raises
    ------
    HashError
        If pickle cannot, or if nothing but its place in memory tells the object from others.
    """
    if kind is object and not may_be_empty:
        home = home_of(value, None)
        if home is None:
            raise HashError("object", "it has no content to compare")
        return home
    try:
        reduce = copyreg.dispatch_table.get(kind)
        return reduce(value) if reduce is not None else value.__reduce_ex__(4)
    except Exception as error:
        raise HashError(f"{kind.__module__}.{kind.__qualname__}", str(error)) from None
