"""The content of objects of libraries whose pickled state misleads.

Such a state says too much or too little.
"""

from __future__ import annotations

import copyreg
import functools
import sys
import types
import typing
import weakref
from contextlib import suppress
from typing import Any

from daskresearch.content.arrays import is_array, is_frame, is_tensor, tensor_content
from daskresearch.content.code import Inside
from daskresearch.content.digests import PLAIN, framed
from daskresearch.content.instructions import code_content
from daskresearch.content.libraries import home_of, is_users_code, library_content
from daskresearch.errors import HashError

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


def without_caches(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an object without docstrings and the caches of libraries."""
    module = str(kind.__module__)
    if module.startswith("scipy.sparse"):
        return {
            name: value
            for name, value in state.items()
            if not name.startswith("_has_") and name != "maxprint"
        }
    if module.startswith("scipy.stats"):
        return {
            name: value
            for name, value in state.items()
            if not name.endswith("_cache") and name != "__doc__"
        }
    if module == "numpy" and kind.__name__ == "vectorize":
        return {
            name: value
            for name, value in state.items()
            if name not in {"_ufunc", "_doc", "__doc__"}
        }
    return (
        state
        if "__doc__" not in state
        else {name: value for name, value in state.items() if name != "__doc__"}
    )


def special_content(value: Any, kind: type, inside: Inside) -> bytes | None:
    """Return the content of an object that its pickled state tells badly, else None."""
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
        return framed(
            b"K",
            inside("", kind),
            inside("", [value.leafsize, value.boxsize, value.indices, value.data]),
        )
    if isinstance(value, typing.ForwardRef):
        return framed(b"F", value.__forward_arg__.encode())
    for module, name in _ONLY_ONES:
        if getattr(sys.modules.get(module), name, None) is value:
            return framed(b"1", f"{module}.{name.strip('_')}".encode())
    return None


def callable_content(value: Any, kind: type, inside: Inside) -> bytes | None:
    """Return the content of a callable or descriptor, else None.

    Raises
    ------
    HashError
        If it does not tell which function it calls.
    """
    if kind is types.MethodType:
        return framed(b"b", inside("", value.__func__), inside(".__self__", value.__self__))
    if kind is functools.partial:
        return framed(
            b"P",
            *[inside(f".{name}", getattr(value, name)) for name in ("func", "args", "keywords")],
        )
    if isinstance(value, (types.BuiltinFunctionType, types.MethodWrapperType)):
        owner = value.__self__
        if owner is not None and not isinstance(owner, types.ModuleType):
            return framed(b"B", value.__name__.encode(), inside(".__self__", owner))
        module = getattr(value, "__module__", None) or getattr(owner, "__name__", "")
        return framed(b"B", library_content(module, value.__qualname__))
    if isinstance(value, _DESCRIPTORS):
        return framed(b"D", inside("", value.__objclass__), value.__name__.encode())
    if isinstance(value, (property, functools.cached_property, staticmethod, classmethod)):
        names = [
            name for name in ("fget", "fset", "fdel", "func", "__func__") if hasattr(value, name)
        ]
        own = _own_of(value) if is_users_code(kind) else {}
        return framed(
            b"M",
            inside("", kind),
            inside("", own),
            *[inside("", getattr(value, name)) for name in names],
        )
    if kind is types.CodeType:
        return framed(b"c", code_content(value))
    if kind.__module__ == "numpy" and kind.__name__ in {"ufunc", "_ArrayFunctionDispatcher"}:
        return framed(b"B", _numpys_content(value))
    if str(kind.__module__).startswith("numba.") and hasattr(value, "py_func"):
        return framed(
            b"J", inside("", kind), inside("", value.py_func), inside("", {**value.targetoptions})
        )
    if "__wrapped__" in getattr(value, "__dict__", {}) and not is_users_code(kind):
        return framed(
            b"W",
            inside("", kind),
            inside("", vars(value)["__wrapped__"]),
            inside("", _own_of(value)),
        )
    return None


def _own_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object without those that say what it wraps."""
    own = getattr(value, "__dict__", {})
    return {
        name: part for name, part in own.items() if name[:2] != "__" and name != "cache_parameters"
    }


def _numpys_content(value: Any) -> bytes:
    if type(value).__name__ != "ufunc":
        return library_content(value.__module__, value.__qualname__)
    home = home_of(value, value.__name__)
    if home is None:
        raise HashError("numpy.ufunc", "it does not tell which function it was made of")
    return library_content(home.partition(".")[0], value.__name__)


def taken_apart(value: Any, kind: type, *, may_be_empty: bool) -> Any:
    """Return how pickle makes an object: a name, or a function, arguments and state.

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
