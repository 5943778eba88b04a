"""What code is made of, apart from where it stands: bytecode, constants, the names it reads, members of classes."""

from __future__ import annotations

import dis
import enum
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from daskresearch.worker.travel import is_users_module, is_users_path

_EXTENDED = dis.opmap["EXTENDED_ARG"]
_GLOBAL = dis.opmap["LOAD_GLOBAL"]
_NAMED = frozenset({dis.opmap[name] for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if name in dis.opmap})
_IMPORT = dis.opmap["IMPORT_NAME"]
_FIRST_CONSTANT = [bytes([dis.opmap[name], 0]) for name in ("LOAD_CONST", "RETURN_CONST") if name in dis.opmap]
_KNOWN = 4_096

# what Python or the machinery of abstract and data classes puts into a class, and what says nothing of its behaviour
_NOT_MEMBERS = frozenset(
    """
    __module__ __dict__ __weakref__ __doc__ __qualname__ __annotations__ __annotate__ __annotate_func__
    __annotations_cache__ __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl __dataclass_fields__
    __dataclass_params__ __parameters__ __orig_bases__ __match_args__ __slotnames__
    """.split()  # noqa: SIM905
)


def is_users_code(value: Any) -> bool:
    """Return whether a function or class counts by its content: the user's, or one that a library made while running.

    Examples
    --------
    >>> import json
    >>> is_users_code(json.dumps), is_users_code(dict), is_users_code(type("Mine", (), {"__module__": "__main__"}))
    (False, False, True)
    """
    if isinstance(value, types.FunctionType):
        return "<" in value.__qualname__ or is_users_module(value.__globals__.get("__name__"))
    module = value.__module__
    return not isinstance(module, str) or is_users_module(module)


@lru_cache(maxsize=_KNOWN)
def library_content(module: str, name: str) -> bytes:
    """Return what stands for something that a library defines: its name, and the version of the library.

    Examples
    --------
    >>> library_content("json", "dumps")
    b'json.dumps Python ...'
    """
    top = module.partition(".")[0]
    return f"{module}.{name} {_version_of(top)}".encode("utf-8", "surrogatepass")


@lru_cache(maxsize=_KNOWN)
def _version_of(package: str) -> str:
    if package in sys.stdlib_module_names or package in sys.builtin_module_names:
        return f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    version = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@lru_cache(maxsize=_KNOWN)
def code_content(code: types.CodeType, doc: str | None = None) -> bytes:
    """Return what a code object does, without its name, file, lines and docstring."""
    constants = list(code.co_consts)
    # the docstring is the first constant; it counts if the code may use it otherwise
    if doc is not None and constants and constants[0] == doc:
        if not any([load in code.co_code for load in _FIRST_CONSTANT]):
            constants[0] = None
    numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, sys.version_info[:2])
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    texts = [repr(code.co_code), repr(code.co_exceptiontable), repr(numbers), repr(names), *map(_constant, constants)]
    return "\n".join(texts).encode("utf-8", "surrogatepass")


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return f"code({code_content(value)!r})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))},)"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    return repr(value)


def names_read(code: types.CodeType) -> tuple[str, ...]:
    """Return the global names that code reads, also in functions and comprehensions inside it.

    Examples
    --------
    >>> names_read((lambda x: [len(y) for y in sorted(x.items())]).__code__)
    ('sorted', 'len')
    """
    return _scanned(code)[0]


@lru_cache(maxsize=_KNOWN)
def _scanned(code: types.CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names that code reads and those of modules that it imports."""
    read: dict[str, None] = {}
    imported: dict[str, None] = {}
    high, names = 0, code.co_names
    instructions = code.co_code
    for operation, low in zip(instructions[::2], instructions[1::2], strict=True):
        if operation == _EXTENDED:
            high = (high | low) << 8
            continue
        if operation == _GLOBAL:
            read[names[(high | low) >> 1]] = None
        elif operation in _NAMED:
            read[names[high | low]] = None
        elif operation == _IMPORT:
            imported[names[high | low]] = None
        high = 0
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner_read, inner_imported = _scanned(constant)
            read |= dict.fromkeys(inner_read)
            imported |= dict.fromkeys(inner_imported)
    return tuple(read), tuple(imported)


@lru_cache(maxsize=_KNOWN)
def _all_names(code: types.CodeType) -> frozenset[str]:
    inner = [_all_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(code.co_names).union(*inner)


def attributes_read(module: types.ModuleType, code: types.CodeType) -> dict[str, Any]:
    """Return what a module has under names that code uses anywhere, as in ``module.helper(x)``."""
    members = vars(module)
    return {name: members[name] for name in sorted(_all_names(code)) if name in members}


def modules_imported(code: types.CodeType, scope: Mapping[str, Any]) -> dict[str, types.ModuleType]:
    """Return the user's modules that code imports while it runs; they are imported now, to be looked at."""
    modules = {}
    for name in _scanned(code)[1]:
        for full in (name, f"{scope.get('__package__') or ''}.{name}".strip(".")):
            if full in sys.modules:
                modules[full] = sys.modules[full]
            elif _is_users_file(full):
                try:
                    modules[full] = importlib.import_module(full)
                except Exception:  # the unit itself may want to meet this
                    continue
    return modules


def _is_users_file(name: str) -> bool:
    """Return whether a module that is not imported yet lies in a file of the user's."""
    top = name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    return spec is not None and isinstance(spec.origin, str) and is_users_path(top, spec.origin) and spec.has_location


def location_of(code: types.CodeType) -> str:
    """Return where code stands, for people."""
    return f"line {code.co_firstlineno} of {code.co_filename.rpartition(os.sep)[2]}"


def members_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the members of a class that say how it behaves, sorted by name."""
    if issubclass(kind, enum.Enum):
        yield from [(f"member {name}", member.value) for name, member in kind.__members__.items()]
    for name, member in sorted(vars(kind).items()):
        is_of_enum = issubclass(kind, enum.Enum) and not isinstance(
            member, (types.FunctionType, staticmethod, classmethod)
        )
        is_generated = name == "__slots__" or isinstance(
            member, (types.MemberDescriptorType, types.GetSetDescriptorType)
        )
        if name in _NOT_MEMBERS or is_of_enum:
            continue
        yield name, None if is_generated else member
