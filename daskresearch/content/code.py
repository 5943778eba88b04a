"""What code is: whose it is, which version of a library, what it refers to, members of classes."""

from __future__ import annotations

import enum
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import marshal
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from daskresearch.content.instructions import code_content, reads_of
from daskresearch.content.modules import is_users_module, is_users_path
from daskresearch.content.parts import KeyPart

PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""Types whose repr is their content."""

Inside = Callable[[str, Any], bytes]
"""Gives the content of a part of a value, of which the first argument says where it is, for errors."""

_HEAP_TYPE = 1 << 9
_KNOWN = 4_096

# what Python or the machinery of abstract and data classes puts into a class, and what says nothing of its behaviour
_NOT_MEMBERS = frozenset(
    """
    __module__ __dict__ __weakref__ __doc__ __qualname__ __annotate__ __annotate_func__ __annotations_cache__
    __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl __dataclass_params__ __parameters__
    __match_args__ __slotnames__
    """.split()  # noqa: SIM905
)
_OF_ENUMS = frozenset({*vars(enum.Enum("One", "A")), *vars(enum.IntFlag("One", "A"))})


def is_users(module: str | None) -> bool:
    """Return whether a module is the user's own, as namespace packages and modules made by hand can be, too.

    Examples
    --------
    >>> is_users("__main__"), is_users("json"), is_users("sys"), is_users(None)
    (True, False, False, True)
    """
    if module is None or is_users_module(module):
        return True
    loaded = sys.modules[module]
    if getattr(loaded, "__file__", None) is not None:
        return False
    folders = [*getattr(loaded, "__path__", ())]
    return getattr(loaded, "__spec__", None) is None or any(
        [is_users_path(module, folder) for folder in folders]
    )


def is_users_scope(scope: Mapping[str, Any]) -> bool:
    """Return whether these globals are of a module of the user's, or of text that was run."""
    name = scope.get("__name__")
    return is_users(name) or vars(sys.modules[str(name)]) is not scope


def is_users_code(value: Any) -> bool:
    """Return whether a function or class counts by its content: the user's, or one that a library made while running.

    Examples
    --------
    >>> import json
    >>> is_users_code(json.dumps), is_users_code(dict), is_users_code(type("Mine", (), {"__module__": "__main__"}))
    (False, False, True)
    """
    module = value.__module__
    if isinstance(value, types.FunctionType):
        if is_users_scope(value.__globals__):
            return True
    elif not value.__flags__ & _HEAP_TYPE:
        return False
    return not isinstance(module, str) or is_users(module) or not _is_found(value, module)


def _is_found(value: Any, module: str) -> bool:
    found: Any = sys.modules.get(module)
    for name in value.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(name)
        found = getattr(found, "__func__", found)
    return found is value or getattr(found, "fget", None) is value


def home_of(value: Any, name: str | None) -> str | None:
    """Return the module of a library that has a value under a name, or with None under any, and this name.

    Examples
    --------
    >>> import os
    >>> home_of(os.getpid, "getpid"), home_of(object(), None)
    ('os.getpid', None)
    """
    homes = []
    for module, loaded in list(sys.modules.items()):
        members = getattr(loaded, "__dict__", {})
        names = (
            [name] if name else [one for one, member in list(members.items()) if member is value]
        )
        homes += [
            f"{module}.{one}" for one in names if members.get(one) is value and not is_users(module)
        ]
    # libraries that import it from its home may be loaded or not
    return min(
        homes,
        key=lambda home: (home.partition(".")[0] not in {"os", "numpy", "scipy"}, home),
        default=None,
    )


@functools.lru_cache(maxsize=_KNOWN)
def library_content(module: str, name: str) -> bytes:
    """Return what stands for something that a library defines: its name, and the version of the library.

    Examples
    --------
    >>> library_content("json", "dumps")
    b'json.dumps Python ...'
    """
    return f"{module}.{name} {_version_of(module)}".encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=_KNOWN)
def _version_of(module: str) -> str:
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names or package in sys.builtin_module_names:
        return f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    if _is_users_package(package):
        return _digest_of_compiled(module)
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    for distribution in importlib.metadata.distributions():
        if f"{package}/__init__.py," in (distribution.read_text("RECORD") or ""):
            return distribution.version
    return str(getattr(sys.modules.get(package), "__version__", ""))


def _digest_of_compiled(module: str) -> str:
    path = getattr(sys.modules.get(module), "__file__", None) or ""
    if not path.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
        return ""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def attributes_read(module: types.ModuleType, code: types.CodeType) -> dict[str, Any]:
    """Return what a module has under names that code uses anywhere, as in ``module.helper(x)``."""
    members = vars(module)
    names = sorted(reads_of(code).names)
    found = {name: members[name] for name in names if name in members}
    if "__getattr__" in members:
        found["__getattr__"] = members["__getattr__"]
        for name in names:
            with suppress(Exception):
                found[name] = getattr(module, name)
    return found


def modules_imported(
    code: types.CodeType, scope: Mapping[str, Any]
) -> tuple[dict[str, types.ModuleType], list[str]]:
    """Return what code imports while it runs: the user's modules, imported now, and the names of libraries' modules."""
    users: dict[str, types.ModuleType] = {}
    libraries = []
    for level, name, wanted in reads_of(code).imports:
        with suppress(Exception):  # the unit itself may want to meet this
            full = importlib.util.resolve_name("." * level + name, scope.get("__package__") or "")
            if not all([step.isidentifier() for step in full.split(".")]):
                continue  # a text of code that imports by name
            if not _is_users_package(full.partition(".")[0]):
                libraries.append(full)
                continue
            steps = full.split(".")
            for end in range(1, len(steps) + 1):
                one = ".".join(steps[:end])
                users[one] = importlib.import_module(one)
            for part in wanted:
                if not hasattr(users[full], part):
                    importlib.import_module(f"{full}.{part}")
    return users, libraries


def _is_users_package(package: str) -> bool:
    """Return whether a top module that may not be imported yet is the user's."""
    if package in sys.modules:
        return is_users(package)
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        return False
    places = [spec.origin] if spec.origin else [*(spec.submodule_search_locations or ())]
    return any([is_users_path(package, place) for place in places])


def location_of(code: types.CodeType) -> str:
    """Return where code stands, for people."""
    # ipykernel writes each cell to a file whose name says nothing
    file = (
        "a notebook cell"
        if "ipykernel_" in code.co_filename
        else code.co_filename.rpartition(os.sep)[2]
    )
    return f"line {code.co_firstlineno} of {file}"


def defaults_of(function: types.FunctionType) -> dict[str, Any]:
    """Return the defaults of a function by the names of its arguments."""
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return dict(zip(names, values, strict=True)) | (function.__kwdefaults__ or {})


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """Return the values of the variables around a function that it reads; those that have none yet are left out."""
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            values[name] = cell.cell_contents
    return values


def draft_of(value: Any) -> bytes:
    """Return what tells most functions and classes of the same name apart, whatever they refer to."""
    if isinstance(value, type):
        return framed(*[draft_of(member) for _, member in members_of(value)])
    if not isinstance(value, types.FunctionType):
        return b""
    plain = [
        repr(one)
        for one in (defaults_of(value) | closure_of(value)).values()
        if type(one) in (int, float, str)
    ]
    return framed(code_content(value.__code__), repr(plain).encode("utf-8", "surrogatepass"))


def framed(*pieces: bytes) -> bytes:
    """Return pieces as bytes from which they could be told apart again."""
    return marshal.dumps(
        pieces, 2
    )  # an old version of its format, which only ever wrote lengths and bytes


def digest_of(*pieces: bytes) -> bytes:
    """Return the digest of pieces in this order, of 16 bytes."""
    return hashlib.blake2b(marshal.dumps(pieces, 2), digest_size=16).digest()


def combined(parts: Iterable[KeyPart]) -> bytes:
    """Return the digest of parts together, whatever their order; their texts are without influence."""
    return digest_of(
        *sorted([framed(part.kind.encode(), encoded(part.name), part.digest) for part in parts])
    )


def encoded(text: str) -> bytes:
    """Return a text as bytes, with whatever can be in a text."""
    return text.encode("utf-8", "surrogatepass")


def plain_content(value: Any) -> bytes:
    """Return the content of a value of one of the plain types."""
    try:
        text = repr(value)
    except ValueError:  # repr refuses the longest integers
        text = hex(value)
    return framed(b"p", encoded(text))


def members_of(kind: type | types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the members of a class or module that say how it behaves, sorted by name."""
    if isinstance(kind, types.ModuleType):
        yield from [pair for pair in sorted(vars(kind).items()) if pair[0][:2] != "__"]
        return
    of_enum: frozenset[str] = frozenset()
    if issubclass(kind, enum.Enum):
        yield from [(f"member {name}", member.value) for name, member in kind.__members__.items()]
        of_enum = _OF_ENUMS - {"_new_member_", "__new_member__"}
        of_enum = frozenset(
            [name for name in of_enum if not _is_behaviour(vars(kind).get(name))]
        ) | {*kind.__members__}
    for name, member in sorted(vars(kind).items()):
        if name in _NOT_MEMBERS or name in of_enum:
            continue
        if name == "__dataclass_fields__":
            yield name, [(field.name, field.metadata) for field in member.values()]
        elif name == "__slots__" or isinstance(
            member, (types.MemberDescriptorType, types.GetSetDescriptorType)
        ):
            yield name, None
        else:
            yield name, member


def _is_behaviour(member: Any) -> bool:
    return isinstance(member, (types.FunctionType, staticmethod, classmethod, property))
