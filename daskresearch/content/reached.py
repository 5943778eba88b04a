"""Listings: the parts that are reached from one value, which make its digest.

See `daskresearch.content.fingerprint` for the terms.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import types
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from daskresearch.content.arrays import (
    Memory,
    array_content,
    attributes_of,
    frame_content,
    is_array,
    is_frame,
)
from daskresearch.content.code import (
    attributes_read,
    closure_of,
    defaults_of,
    draft_of,
    location_of,
    members_of,
    modules_imported,
)
from daskresearch.content.digests import PLAIN, digest_of, encoded, framed, plain_content
from daskresearch.content.instructions import code_content, reads_of
from daskresearch.content.libraries import is_users, is_users_code, is_users_scope, library_content
from daskresearch.content.objects import (
    callable_content,
    short_text,
    special_content,
    taken_apart,
    without_caches,
)
from daskresearch.content.parts import KeyPart
from daskresearch.content.symbols import Symbol
from daskresearch.errors import HashError

_FORMAT = b"2"
_SHORT = 1_024


class Listing:
    """The parts that are reached from one start."""

    def __init__(
        self, arrays: Memory, names: dict[str, int] | None = None, *, is_draft: bool = False
    ) -> None:
        self.parts: list[KeyPart] = []
        self.has_arrays = False
        self._arrays = arrays
        self._names = names
        self._is_draft = is_draft
        self._in_code = False
        self._labels: dict[int, str] = {}
        self._n_labelled: dict[str, int] = {}
        self._queue: deque[tuple[str, Any]] = deque()
        self._globals: dict[tuple[int, str], str] = {}
        self._followed: set[tuple[int, str]] = set()
        self._open: dict[int, int] = {}
        self._members: dict[int, tuple[int, int]] = {}
        self._closed: dict[int, bytes] = {}
        self._alive: list[Any] = []
        self._reach = 0
        self._n_links = 0

    def start(self, value: Any) -> bytes:
        """Return the content of the start, having listed all parts."""
        try:
            content = self.content(value)
            self._in_code = True
            while self._queue:
                label, reached = self._queue.popleft()
                is_function = isinstance(reached, types.FunctionType)
                (self._describe_function if is_function else self._describe_members)(label, reached)
        except RecursionError:
            raise HashError(type(value).__qualname__, "it is nested too deep") from None
        return content

    def content(self, value: Any) -> bytes:
        """Return bytes that stand for a value and no other."""
        kind = type(value)
        if kind in PLAIN:
            return plain_content(value)
        if kind is types.FunctionType or issubclass(kind, type):
            return self._code(value)
        address = id(value)
        closed = self._closed.get(address)
        if closed is not None:
            self._n_links += 1
            return closed
        depth = len(self._open)
        if address in self._open or address in self._members:
            return self._link(address, depth)
        self._open[address] = depth
        outer, self._reach, n_members = self._reach, depth, len(self._members)
        try:
            content = self._content_of_kind(value, kind)
        finally:
            del self._open[address]
        if len(content) > _SHORT:
            content = framed(b"#", hashlib.sha256(content).digest())
        self._alive.append(value)
        if self._reach == depth:
            self._closed[address] = content
            while len(self._members) > n_members:
                member, (number, _) = self._members.popitem()
                self._closed[member] = framed(b"&", content, b"%d" % (number - n_members))
        else:
            self._members[address] = len(self._members), self._reach
        self._reach = min(outer, self._reach) if depth else 0
        return content

    def _link(self, address: int, depth: int) -> bytes:
        """Return what stands for a value that is met again inside of itself."""
        self._n_links += 1
        if address in self._open:
            place = reach = self._open[address]
            distance = depth - place
        else:
            number, reach = self._members[address]
            distance = number - len(self._members)
        self._reach = min(self._reach, reach)
        return framed(b"^", b"%d" % distance)

    def _content_of_kind(self, value: Any, kind: type) -> bytes:
        if kind is list or kind is tuple:
            return self._sequence(kind.__name__, value)
        if kind is dict or kind is types.MappingProxyType:
            tag = b"d" if kind is dict else b"dp"
            return framed(tag, *[self._item(key, part) for key, part in value.items()])
        if isinstance(value, (set, frozenset)):
            return self._set(value, kind)
        if isinstance(value, Symbol):
            return self._symbol(value)
        if is_array(value) or is_frame(value):
            return self._array(value, kind)
        if isinstance(value, enum.Enum):
            number = b"%d" % value._value_ if isinstance(value, enum.Flag) else b""
            return framed(b"e", self._code(kind), str(value.name).encode(), number)
        if kind is types.ModuleType:
            name = value.__name__
            return (
                self._label(value, name)
                if is_users(name)
                else framed(b"m", library_content(name, ""))
            )
        for describe in (special_content, callable_content):
            content = describe(value, kind, self._inside)
            if content is not None:
                return content
        return self._reduced(value, kind)

    def _sequence(self, name: str, values: Any) -> bytes:
        if PLAIN.issuperset(map(type, values)):
            with suppress(ValueError):  # repr refuses the longest integers
                return framed(name[:1].encode(), repr(values).encode("utf-8", "surrogatepass"))
        parts = [self._inside(f"[{i}]", part) for i, part in enumerate(values)]
        return framed(name[:1].upper().encode(), *parts)

    def _item(self, key: Any, value: Any) -> bytes:
        where = "" if type(value) in PLAIN else f"[{short_text(key)}]"
        return framed(b"i", self._inside("{key}", key), self._inside(where, value))

    def _set(self, values: Any, kind: type) -> bytes:
        tags = [kind.__name__[:1].encode() + b"s"]
        if kind is not set and kind is not frozenset:
            tags += [self._code(kind), self._inside("", values.__reduce_ex__(4)[2:])]
        if self._is_draft:
            values = [value if type(value) in PLAIN else type(value) for value in values]
        elif not PLAIN.issuperset(map(type, values)):
            values = sorted(
                values, key=self._draft
            )  # labels and distances must not depend on the order
        return framed(*tags, *sorted([self._inside("{...}", value) for value in values]))

    def _draft(self, value: Any) -> bytes:
        """Return what orders the values of a set; further sets inside are not looked into."""
        try:
            return Listing(self._arrays, is_draft=True).content(value)
        except HashError:
            return b""

    def _inside(self, where: str, value: Any) -> bytes:
        if type(value) in PLAIN:
            return plain_content(value)
        try:
            return self.content(value)
        except HashError as error:
            raise error.inside(where) from None

    def _symbol(self, value: Symbol) -> bytes:
        name = value._asks_for
        self._n_links += 1
        if name is not None and self._names is not None:
            number = self._names.setdefault(name, len(self._names))
            return framed(b"x", type(value).__name__.encode(), b"%d" % number)
        slots: tuple[str, ...] = type(value).__slots__
        return framed(
            b"x",
            type(value).__name__.encode(),
            *[self._inside("", getattr(value, slot)) for slot in slots],
        )

    def _array(self, value: Any, kind: type) -> bytes:
        self.has_arrays = True
        digest = self._arrays.get(value)
        if digest is None:
            n_links = self._n_links
            digest = (array_content if is_array(value) else frame_content)(value, self.content)
            if n_links == self._n_links:  # it holds nothing that is described elsewhere
                self._arrays.keep(value, digest, is_small=False)
        own = attributes_of(value)
        return framed(b"a", digest, self._code(kind), self._state(own, kind) if own else b"")

    def _reduced(self, value: Any, kind: type) -> bytes:
        """Return the content of an object as pickle describes it: constructor and state."""
        reduced = taken_apart(value, kind, may_be_empty=self._in_code)
        if isinstance(reduced, str):
            home = getattr(value, "__module__", None) or kind.__module__
            return framed(b"g", self._code(kind), library_content(str(home), reduced))
        function, args, *rest = reduced
        pieces = [self.content(function), *[self._inside("", arg) for arg in args]]
        pieces.append(self._state(rest[0] if rest else None, kind))
        for items in rest[1:3]:
            listed = [] if items is None else list(items)
            pieces.append(
                framed(b"I", *[self._inside(f"[{i}]", item) for i, item in enumerate(listed)])
            )
        return framed(
            b"o", self._code(kind), *pieces, *[self._inside("", setter) for setter in rest[3:]]
        )

    def _state(self, state: Any, kind: type) -> bytes:
        if isinstance(state, dict) and all([type(name) is str for name in state]):
            told = without_caches(kind, state)
            return framed(b"S", *[self._attribute(name, told[name]) for name in sorted(told)])
        if type(state) is tuple and len(state) == 2 and isinstance(state[1], dict):
            return framed(b"U", self._state(state[0], kind), self._state(state[1], kind))
        return self.content(state)

    def _attribute(self, name: str, value: Any) -> bytes:
        return framed(b"=", encoded(name), self._inside(f".{name}", value))

    def _code(self, value: Any) -> bytes:
        """Return what stands for a function or class: its label, or its name in a library."""
        if not is_users_code(value):
            return framed(b"l", library_content(value.__module__ or "", value.__qualname__))
        return self._label(value, value.__qualname__)

    def _label(self, value: Any, name: str) -> bytes:
        self._n_links += 1
        if self._is_draft:
            return framed(b"f", encoded(name), draft_of(value))
        label = self._labels.get(id(value))
        if label is None:
            label = self._labels[id(value)] = self._numbered(name)
            self._alive.append(value)
            self._queue.append((label, value))
        return framed(b"f", encoded(label))

    def _numbered(self, name: str) -> str:
        self._n_labelled[name] = self._n_labelled.get(name, 0) + 1
        return name if self._n_labelled[name] == 1 else f"{name} #{self._n_labelled[name]}"

    def _describe_function(self, label: str, function: types.FunctionType) -> None:
        code, scope = function.__code__, function.__globals__
        pieces = [_FORMAT, code_content(code)]
        place = len(self.parts)
        if function.__defaults__ or function.__kwdefaults__:
            self._describe("default", label, defaults_of(function))
        own = {name: part for name, part in vars(function).items() if name[:2] != "__"}
        if (
            own and scope is vars(functools) and "registry" in own
        ):  # singledispatch caches in its closure
            own = {"registry": {**own["registry"]}}
        elif function.__closure__:
            closure = closure_of(function)
            pieces += self._behind(label, closure, closure, code, "closure")
        if is_users_scope(scope):
            reads = reads_of(code)
            read = {name: scope[name] for name in reads.globals if name in scope}
            if reads.imports:
                modules, libraries = modules_imported(code, scope)
                read |= modules
                pieces += [
                    framed(b"N", name.encode(), library_content(name, "")) for name in libraries
                ]
            pieces += self._behind(label, read, scope, code, "global")
        else:
            pieces.append(library_content(scope["__name__"], ""))
        self._describe("attribute", label, own)
        self.parts.insert(place, KeyPart("code", label, location_of(code), digest_of(*pieces)))

    def _behind(
        self,
        label: str,
        values: Mapping[str, Any],
        scope: Mapping[str, Any],
        code: types.CodeType,
        kind: str,
    ) -> Iterator[bytes]:
        """Yield what stands for names in code; data behind names become further parts."""
        for name, value in values.items():
            if isinstance(value, types.ModuleType):
                yield framed(b"N", name.encode(), library_content(value.__name__, ""))
                if is_users(value.__name__) and (id(value), label) not in self._followed:
                    self._followed.add((id(value), label))
                    if not reads_of(code).bare.isdisjoint({name, name.rpartition(".")[2]}):
                        yield self.content(value)
                    yield from self._behind(
                        label, attributes_read(value, code), vars(value), code, "global"
                    )
            elif isinstance(value, (types.FunctionType, type)):
                yield framed(b"N", name.encode(), self._code(value))
            elif kind == "closure":
                self._describe(kind, label, {name: value})
            else:
                shown = self._globals.get((id(scope), name))
                if shown is None:
                    shown = self._globals[id(scope), name] = self._numbered(f"global {name}")[7:]
                    self._describe(kind, label, {name: value}, shown)
                yield framed(b"G", name.encode(), shown.encode())

    def _describe(self, kind: str, label: str, values: Mapping[str, Any], shown: str = "") -> None:
        for name, value in values.items():
            try:
                content = self.content(value)
            except HashError as error:
                raise error.inside(f"{kind} {name!r} of {label}: ") from None
            digest = digest_of(encoded(name), content)
            self.parts.append(KeyPart(kind, shown or f"{label}: {name}", short_text(value), digest))

    def _describe_members(self, label: str, value: Any) -> None:
        """Add a class or a module, with all that it has."""
        kind, pieces, text = "module", [], ""
        if isinstance(value, type):
            kind, text = "class", str(value.__module__)
            pieces = [self._code(base) for base in (*value.__bases__, type(value))]
        for name, member in members_of(value):
            try:
                pieces += [encoded(name), self.content(member)]
            except HashError as error:
                raise error.inside(f"{kind} {label}.{name}: ") from None
        self.parts.append(KeyPart(kind, label, text, digest_of(_FORMAT, *pieces)))
