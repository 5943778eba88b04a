"""What code is made of, apart from where it stands.

That is its instructions and constants, the names that it reads, and the members of classes.
"""

from __future__ import annotations

import dis
import enum
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from daskresearch.content.digests import framed
from daskresearch.content.libraries import is_users_package

Inside = Callable[[str, Any], bytes]
"""Gives the content of a part of a value; the first argument says where it is, for errors."""

_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_OF_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"})
_CONSTANTS = frozenset({*dis.hasconst, dis.opmap.get("KW_NAMES", -1)})
_NAMES = frozenset(dis.hasname)
_VARIABLES = frozenset({*dis.hasname, *dis.haslocal, *dis.hasfree})
_PLACES = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
_KNOWN = 4_096

# what Python or the machinery of abstract and data classes puts into a class, and what says nothing
# of its behaviour
_NOT_MEMBERS = frozenset(
    """
    __module__ __dict__ __weakref__ __doc__ __qualname__
    __annotate__ __annotate_func__ __annotations_cache__
    __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl
    __dataclass_params__ __parameters__
    __match_args__ __slotnames__
    """.split()  # noqa: SIM905
)
_OF_ENUMS = frozenset({*vars(enum.Enum("One", "A")), *vars(enum.IntFlag("One", "A"))})


class Reads(NamedTuple):
    """What code reads by name, also in functions and classes inside it.

    Attributes
    ----------
    globals : tuple of str
        In order of first use; names of builtins among them.
    names : frozenset of str
        These, and the names of attributes.
    bare : frozenset of str
        Names of any kind whose value is used otherwise than for one of its attributes.
    imports : tuple
        The level, name and wanted names of each import.
    """

    globals: tuple[str, ...]
    names: frozenset[str]
    bare: frozenset[str]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


@functools.lru_cache(maxsize=_KNOWN)
def code_content(code: types.CodeType) -> bytes:
    """Return what a code object does, without its name, file and lines.

    Docstrings count only if the code reads one.

    Examples
    --------
    >>> code_content((lambda x: x + 1).__code__) == code_content((lambda x:
    ...     x + 1).__code__)
    True
    """
    instructions = _instructions(code)
    steps: list[tuple[int, Any]] = []
    for instruction, after in zip(instructions, [*instructions[1:], None], strict=True):
        if _says_place(instruction) or (after is not None and _says_place(after)):
            continue
        if instruction.opcode in _CONSTANTS:
            steps.append((instruction.opcode, _constant(code.co_consts[instruction.arg or 0])))
        else:
            is_name = instruction.opcode in _NAMES
            steps.append((instruction.opcode, instruction.argval if is_name else instruction.arg))
    flags = code.co_flags & 0xFFFF  # those above are of the file: its imports from __future__
    numbers = (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        flags,
        sys.version_info[:2],
    )
    names = (
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        sorted({*code.co_names} - _PLACES),
    )
    texts = [repr(steps), repr(code.co_exceptiontable), repr(numbers), repr(names)]
    if "__doc__" in code.co_names:
        texts += map(_constant, code.co_consts[:1])
    return "\n".join(texts).encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=64)  # content and names are asked for one after the other
def _instructions(code: types.CodeType) -> list[dis.Instruction]:
    return [
        instruction
        for instruction in dis.get_instructions(code)
        if instruction.opname not in {"EXTENDED_ARG", "CACHE"}
    ]


def _says_place(instruction: dis.Instruction) -> bool:
    """Return whether an instruction stores the docstring or lines of a class in code."""
    return instruction.opname == "STORE_NAME" and instruction.argval in _PLACES


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return f"code({code_content(value)!r})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))},)"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    return hex(value) if type(value) is int else repr(value)  # repr refuses the longest integers


@functools.lru_cache(maxsize=_KNOWN)
def reads_of(code: types.CodeType) -> Reads:
    """Return what code reads by name.

    Examples
    --------
    >>> reads_of((lambda x: [len(y) for y in sorted(x.items())]).__code__).globals
    ('sorted', 'len')
    """
    read: dict[str, None] = {}
    names: set[str] = set(code.co_names)
    bare: set[str] = set()
    imports: dict[tuple[int, str, tuple[str, ...]], None] = {}
    bound: list[tuple[str, str]] = []
    source = ""
    instructions = _instructions(code)
    for i, instruction in enumerate(instructions):
        if instruction.opname in _GLOBALS:
            read[instruction.argval] = None
        elif instruction.opname == "IMPORT_NAME":
            level, wanted = instructions[i - 2].argval, instructions[i - 1].argval
            imports[level, instruction.argval, tuple(wanted or ())] = None
        if instruction.opname in {"IMPORT_NAME", "IMPORT_FROM"}:
            source = instruction.argval
        elif instruction.opname.startswith("STORE_") and source:
            bound.append((str(instruction.argval), source))
        is_loaded = instruction.opcode in _VARIABLES and instruction.opname.startswith("LOAD_")
        if is_loaded and instructions[i + 1].opname not in _OF_ATTRIBUTES:
            loaded = instruction.argval
            bare.update(loaded if isinstance(loaded, tuple) else [loaded])
    for constant in code.co_consts:
        if isinstance(constant, str) and not names.isdisjoint({"import_module", "__import__"}):
            imports[0, constant, ()] = None
        if isinstance(constant, types.CodeType):
            inner = reads_of(constant)
            read |= dict.fromkeys(inner.globals)
            imports |= dict.fromkeys(inner.imports)
            names |= inner.names
            bare |= inner.bare
    bare |= {source for name, source in bound if name in bare}
    return Reads(tuple(read), frozenset(names), frozenset(bare), tuple(imports))


def attributes_read(module: types.ModuleType, code: types.CodeType) -> dict[str, Any]:
    """Return what a module has under names that code uses, as in ``module.helper(x)``."""
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
    """Return what code imports while it runs.

    That is the user's modules by name, imported now, and the names of libraries' modules.
    """
    users: dict[str, types.ModuleType] = {}
    libraries = []
    for level, name, wanted in reads_of(code).imports:
        with suppress(Exception):  # the unit itself may want to meet this
            full = importlib.util.resolve_name("." * level + name, scope.get("__package__") or "")
            if not all([step.isidentifier() for step in full.split(".")]):
                continue  # a text of code that imports by name
            if not is_users_package(full.partition(".")[0]):
                libraries.append(full)
                continue
            steps = full.split(".")
            for end in range(1, len(steps) + 1):
                package = ".".join(steps[:end])
                users[package] = importlib.import_module(package)
            for part in wanted:
                if not hasattr(users[full], part):
                    importlib.import_module(f"{full}.{part}")
    return users, libraries


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
    """Return the variables around a function that it reads and that have a value."""
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            values[name] = cell.cell_contents
    return values


def draft_of(value: Any) -> bytes:
    """Return what tells most functions and classes of the same name apart."""
    if isinstance(value, type):
        return framed(*[draft_of(member) for _, member in members_of(value)])
    if not isinstance(value, types.FunctionType):
        return b""
    plain = [
        repr(held)
        for held in (defaults_of(value) | closure_of(value)).values()
        if type(held) in (int, float, str)
    ]
    return framed(code_content(value.__code__), repr(plain).encode("utf-8", "surrogatepass"))


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
