"""Digests of values by their content: the same in every process, and other for whatever could change a result.

Content is what a value holds, not where it lies: code counts without its file, lines, comments and docstrings, arrays
with dtype, shape and memory order, objects with their class and state. What a library defines counts by its name and
the library's version. dask.tokenize is not used: it differs between interpreters for users' classes, follows line
numbers, does not see the edits of imported functions, and takes an array and its transpose for one.

Terms: a *part* is one thing that a digest is made of, such as the code of one function. A *listing* holds the parts
that are reached from one start, in order of discovery; parts refer to each other by label, so that recursion and
cycles need no care.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import marshal
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from daskresearch.errors import HashError
from daskresearch.graph.arrays import array_content, frame_content, is_array, is_frame
from daskresearch.graph.code import (
    attributes_read,
    code_content,
    is_users_code,
    library_content,
    location_of,
    members_of,
    modules_imported,
    names_read,
)
from daskresearch.plan import E, Expression, O
from daskresearch.store import Part
from daskresearch.worker.travel import is_users_module

PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""Types whose repr is their content."""

_FORMAT = "1"
_SHORT = 1_024
_REMEMBERED = 10_000
_ARRAY_PACKAGES = frozenset({"torch", "jax", "jaxlib", "cupy", "tensorflow"})


@final
class Fingerprints:
    """The digests of a run's values, each large one computed once.

    Examples
    --------
    >>> fingerprints = Fingerprints()
    >>> fingerprints.value([1, 2]) == fingerprints.value([1, 2]), fingerprints.value([1, 2]) == fingerprints.value([2, 1])
    (True, False)
    """

    def __init__(self) -> None:
        self._values: OrderedDict[int, tuple[Any, bytes]] = OrderedDict()

    def value(self, value: Any, names: dict[str, int] | None = None) -> bytes:
        """Return the digest of a value, of 16 bytes.

        Parameters
        ----------
        value : object
        names : dict of str to int, optional
            Numbers the units that expressions in the value ask for; new ones are added. With it the digest does not
            depend on how these units are called.

        Raises
        ------
        HashError
            If something in it has no content that could be compared; says what and where.
        """
        known = self._values.get(id(value))
        if known is not None:
            return known[1]
        listing = _Listing(self, names)
        content = listing.content(value)
        digest = _digest(content, combined(listing.finished()))
        if names is None and type(value) not in PLAIN:
            self.remember(value, digest)
        return digest

    def function(self, function: Callable[..., Any]) -> tuple[Part, ...]:
        """Return the parts that a function's behaviour is made of: its code, what it reads and calls, and so on.

        Raises
        ------
        HashError
            If a default, a global or a closure of it or of what it calls has no content that could be compared.
        """
        listing = _Listing(self)
        content = listing.content(function)
        parts = listing.finished()
        if not parts or not isinstance(function, (types.FunctionType, type)):
            parts = [Part("function", short_text(function), "", _digest(content)), *parts]
        return tuple(parts)

    def remember(self, value: Any, digest: bytes) -> None:
        """Keep the digest of an object, and the object itself, as its address stands for it."""
        self._values[id(value)] = (value, digest)
        if len(self._values) > _REMEMBERED:
            self._values.popitem(last=False)

    def remembered(self, value: Any) -> bytes | None:
        """Return the digest of an object if it is known."""
        known = self._values.get(id(value))
        return None if known is None else known[1]


def combined(parts: Iterable[Part]) -> bytes:
    """Return the digest of parts together, whatever their order; their texts are without influence."""
    return _digest(*sorted([_framed(part.kind.encode(), part.name.encode(), part.digest) for part in parts]))


class _Listing:
    """The parts that are reached from one start."""

    def __init__(self, fingerprints: Fingerprints, names: dict[str, int] | None = None) -> None:
        self._fingerprints = fingerprints
        self._names = names
        self._labels: dict[int, str] = {}
        self._n_labelled: dict[str, int] = {}
        self._queue: deque[tuple[str, Any]] = deque()
        self._parts: list[Part] = []
        self._globals: set[tuple[int, str]] = set()
        self._followed: set[tuple[int, str]] = set()
        self._open: dict[int, int] = {}
        self._closed: dict[int, bytes] = {}
        self._alive: list[Any] = []
        self._n_returns = 0
        self._in_code = False

    def finished(self) -> list[Part]:
        """Return all parts, having described whatever is still to be described."""
        self._in_code = True
        while self._queue:
            label, value = self._queue.popleft()
            if isinstance(value, types.FunctionType):
                self._describe_function(label, value)
            else:
                self._describe_class(label, value)
        return self._parts

    def content(self, value: Any) -> bytes:
        """Return bytes that stand for a value and no other."""
        kind = type(value)
        if kind in PLAIN:
            return _framed(b"p", repr(value).encode("utf-8", "surrogatepass"))
        if kind is types.FunctionType or isinstance(value, type):
            return self._code(value)
        address = id(value)
        if address in self._open:
            self._n_returns += 1
            return _framed(b"^", b"%d" % (len(self._open) - self._open[address]))
        known = self._closed.get(address)
        if known is not None:
            return known
        self._open[address] = len(self._open)
        n_returns = self._n_returns
        try:
            content = self._content_of_kind(value, kind)
        finally:
            del self._open[address]
        if len(content) > _SHORT:
            content = _framed(b"#", hashlib.sha256(content).digest())
        if n_returns == self._n_returns:
            self._closed[address] = content
            self._alive.append(value)
        return content

    def _content_of_kind(self, value: Any, kind: type) -> bytes:
        if kind is list or kind is tuple:
            return self._sequence(kind.__name__, value)
        if kind is dict or kind is types.MappingProxyType:
            return _framed(b"d", *[self._item(key, part) for key, part in value.items()])
        if kind is set or kind is frozenset:
            return _framed(kind.__name__[:1].encode() + b"s", *sorted([self._inside("{...}", one) for one in value]))
        if isinstance(value, Expression):
            return self._expression(value)
        if is_array(value) or is_frame(value):
            return self._array(value)
        if isinstance(value, enum.Enum):
            return _framed(b"e", self._code(kind), value.name.encode())
        if kind is types.ModuleType:
            return _framed(b"m", library_content(value.__name__, ""))
        return self._callable(value, kind) or self._special(value, kind) or self._reduced(value, kind)

    def _sequence(self, name: str, values: Any) -> bytes:
        if PLAIN.issuperset(map(type, values)):
            return _framed(name[:1].encode(), repr(values).encode("utf-8", "surrogatepass"))
        parts = [self._inside(f"[{i}]", part) for i, part in enumerate(values)]
        return _framed(name[:1].upper().encode(), *parts)

    def _item(self, key: Any, value: Any) -> bytes:
        return _framed(b"i", self._inside("{key}", key), self._inside(f"[{short_text(key)}]", value))

    def _inside(self, where: str, value: Any) -> bytes:
        if type(value) in PLAIN:
            return _framed(b"p", repr(value).encode("utf-8", "surrogatepass"))
        try:
            return self.content(value)
        except HashError as error:
            raise error.inside(where) from None

    def _expression(self, value: Expression) -> bytes:
        name = getattr(value, "_name", None) if isinstance(value, (O, E)) else None
        if name is not None and self._names is not None:
            number = self._names.setdefault(name, len(self._names))
            return _framed(b"x", type(value).__name__.encode(), b"%d" % number)
        slots = [self._inside("", getattr(value, slot)) for slot in type(value).__slots__]
        return _framed(b"x", type(value).__name__.encode(), *slots)

    def _array(self, value: Any) -> bytes:
        digest = self._fingerprints.remembered(value)
        if digest is None:
            digest = (array_content if is_array(value) else frame_content)(value, self.content)
            self._fingerprints.remember(value, digest)
        return _framed(b"a", digest)

    def _callable(self, value: Any, kind: type) -> bytes | None:
        """Return the content of what is called but is no function of Python's, else None."""
        if kind is types.MethodType:
            return _framed(b"b", self.content(value.__func__), self._inside(".__self__", value.__self__))
        if kind is functools.partial:
            return _framed(b"P", *[self._inside(f".{n}", getattr(value, n)) for n in ("func", "args", "keywords")])
        if isinstance(value, (types.BuiltinFunctionType, types.MethodWrapperType)):
            owner = value.__self__
            if owner is None or isinstance(owner, types.ModuleType):
                return _framed(b"B", library_content(getattr(value, "__module__", "") or "", value.__qualname__))
            return _framed(b"B", value.__name__.encode(), self._inside(".__self__", owner))
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, types.FunctionType) and not is_users_code(kind):
            return _framed(b"W", library_content(kind.__module__, kind.__qualname__), self.content(wrapped))
        if not hasattr(kind, "__call__") or not hasattr(value, "__name__") or is_users_code(kind):
            return None
        if kind.__module__ == "numpy" or isinstance(value, (types.MethodDescriptorType, types.WrapperDescriptorType)):
            return _framed(b"B", library_content(kind.__module__, getattr(value, "__qualname__", value.__name__)))
        return None

    def _special(self, value: Any, kind: type) -> bytes | None:
        """Return the content of values whose pickled state says too much or too little, else None."""
        collection_keys = getattr(kind, "__dask_keys__", None)
        if collection_keys is not None and hasattr(kind, "__dask_graph__"):
            return _framed(b"k", kind.__qualname__.encode(), repr(value.__dask_keys__()).encode())
        if hasattr(value, "dist") and hasattr(value, "args") and hasattr(value, "kwds"):  # scipy's frozen ones
            own = {name: part for name, part in vars(value.dist).items() if type(part) in PLAIN}
            return _framed(
                b"D",
                self.content(type(value.dist)),
                self.content(own),
                self.content(value.args),
                self.content(value.kwds),
            )
        if kind.__module__.startswith("scipy.stats") and hasattr(value, "_dist"):
            state = {name: part for name, part in vars(value).items() if name not in ("_dist", "_random_state")}
            return _framed(b"D", self.content(kind), self.content(state))
        if kind.__module__.partition(".")[0] in _ARRAY_PACKAGES and hasattr(value, "__array__"):
            import numpy as np

            detached = value.detach() if hasattr(value, "detach") else value
            return _framed(b"T", self.content(kind), array_content(np.asarray(detached), self.content))
        if isinstance(value, (property, functools.cached_property, staticmethod, classmethod)):
            names = ("fget", "fset", "fdel", "func", "__func__")
            return _framed(b"M", *[self.content(getattr(value, name)) for name in names if hasattr(value, name)])
        return None

    def _reduced(self, value: Any, kind: type) -> bytes:
        """Return the content of an object as pickle would describe it: how it is made, and its state."""
        if kind is object and not self._in_code:
            raise HashError("object", "it has no content to compare")
        try:
            reduce = copyreg.dispatch_table.get(kind)
            reduced: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
        except Exception as error:
            raise HashError(f"{kind.__module__}.{kind.__qualname__}", str(error)) from None
        if isinstance(reduced, str):
            return _framed(b"g", library_content(getattr(value, "__module__", None) or kind.__module__, reduced))
        function, args, *rest = reduced
        pieces = [self.content(function), *[self._inside("", arg) for arg in args]]
        state = rest[0] if rest else None
        pieces.append(self._state(state))
        for items in rest[1:3]:
            listed = [] if items is None else list(items)
            pieces.append(_framed(b"I", *[self._inside(f"[{i}]", item) for i, item in enumerate(listed)]))
        return _framed(b"o", self._code(kind), *pieces)

    def _state(self, state: Any) -> bytes:
        if isinstance(state, dict) and all([type(name) is str for name in state]):
            return _framed(b"S", *[self._attribute(name, state[name]) for name in sorted(state)])
        if type(state) is tuple and len(state) == 2 and isinstance(state[1], dict):
            return _framed(b"U", self._state(state[0]), self._state(state[1]))
        return self.content(state)

    def _attribute(self, name: str, value: Any) -> bytes:
        return _framed(b"=", name.encode("utf-8", "surrogatepass"), self._inside(f".{name}", value))

    def _code(self, value: Any) -> bytes:
        """Return what stands for a function or class: its label, or its name if a library defines it."""
        if not is_users_code(value):
            return _framed(b"l", library_content(value.__module__ or "", value.__qualname__))
        label = self._labels.get(id(value))
        if label is None:
            name = value.__qualname__
            self._n_labelled[name] = self._n_labelled.get(name, 0) + 1
            label = name if self._n_labelled[name] == 1 else f"{name} #{self._n_labelled[name]}"
            self._labels[id(value)] = label
            self._alive.append(value)
            self._queue.append((label, value))
        return _framed(b"f", label.encode())

    def _describe_function(self, label: str, function: types.FunctionType) -> None:
        code = function.__code__
        pieces = [code_content(code, function.__doc__)]
        place = len(self._parts)
        if function.__defaults__ or function.__kwdefaults__:
            self._describe_data("default", label, _defaults(function))
        if function.__closure__:
            cells = zip(code.co_freevars, function.__closure__, strict=True)
            closure = {name: cell.cell_contents for name, cell in cells if not _is_empty(cell)}
            pieces += self._behind(label, closure, closure, code, "closure")
        if is_users_module(function.__globals__.get("__name__")):
            scope = function.__globals__
            read = {name: scope[name] for name in names_read(code) if name in scope} | modules_imported(code, scope)
            pieces += self._behind(label, read, scope, code, "global")
        if function.__dict__:
            own = {name: part for name, part in vars(function).items() if not name.startswith("__")}
            self._describe_data("attribute", label, own)
        self._parts.insert(place, Part("code", label, location_of(code), _digest(_FORMAT.encode(), *pieces)))

    def _behind(
        self, label: str, values: Mapping[str, Any], scope: Mapping[str, Any], code: types.CodeType, kind: str
    ) -> list[bytes]:
        """Return what stands for the code behind names; data behind names becomes parts of their own."""
        pieces, data = [], {}
        for name, value in values.items():
            if isinstance(value, types.ModuleType):
                pieces.append(_framed(b"N", name.encode(), library_content(value.__name__, "")))
                if (id(value), label) not in self._followed and is_users_module(value.__name__):
                    self._followed.add((id(value), label))
                    attributes = attributes_read(value, code)
                    pieces += self._behind(label, attributes, vars(value), code, "global")
            elif isinstance(value, (types.FunctionType, type)):
                pieces.append(_framed(b"N", name.encode(), self._code(value)))
            elif kind == "closure" or (id(scope), name) not in self._globals:
                self._globals.add((id(scope), name))
                data[name] = value
        self._describe_data(kind, label, data)
        return pieces

    def _describe_data(self, kind: str, label: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            try:
                content = self.content(value)
            except HashError as error:
                raise error.inside(f"{kind} {name!r} of {label}: ") from None
            shown = name if kind == "global" else f"{label}: {name}"
            self._parts.append(Part(kind, shown, short_text(value), _digest(name.encode(), content)))

    def _describe_class(self, label: str, value: type) -> None:
        pieces = [label.encode(), *[self._code(base) for base in value.__bases__]]
        if type(value) is not type:
            pieces.append(self._code(type(value)))
        for name, member in members_of(value):
            try:
                pieces += [name.encode(), self.content(member)]
            except HashError as error:
                raise error.inside(f"class {label}.{name}: ") from None
        self._parts.append(Part("class", label, value.__module__, _digest(_FORMAT.encode(), *pieces)))


def _defaults(function: types.FunctionType) -> dict[str, Any]:
    code = function.__code__
    values = function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return dict(zip(names, values, strict=True)) | (function.__kwdefaults__ or {})


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  (raises when there is nothing)
    except ValueError:
        return True
    return False


def _framed(*pieces: bytes) -> bytes:
    return marshal.dumps(pieces, 2)  # an old version of its format, which only ever wrote lengths and bytes


def _digest(*pieces: bytes) -> bytes:
    return hashlib.blake2b(marshal.dumps(pieces, 2), digest_size=16).digest()


def short_text(value: Any) -> str:
    """Return a short text of a value, without asking users' code for it."""
    if type(value) in PLAIN or (type(value) in (list, tuple) and PLAIN.issuperset(map(type, value[:20]))):
        text = repr(value[:20] if type(value) in (list, tuple, str, bytes) else value)
        return text if len(text) <= 80 else f"{text[:79]}…"
    if isinstance(value, (types.FunctionType, type, types.BuiltinFunctionType)):
        return value.__qualname__
    shape = getattr(value, "shape", None) if type(value).__module__.split(".")[0] in sys.modules else None
    kind = type(value).__qualname__
    return f"{kind} {getattr(value, 'dtype', '')} {shape}".replace("  ", " ") if isinstance(shape, tuple) else kind
