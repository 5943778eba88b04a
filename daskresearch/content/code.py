"""What code is made of, apart from where it stands.

That is its instructions and constants, the names that it reads, and the members of classes.
"""

from __future__ import annotations

import enum
import importlib
import importlib.util
import os
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from daskresearch.content.digests import framed
from daskresearch.content.instructions import code_content, reads_of
from daskresearch.content.libraries import is_users_package

Inside = Callable[[str, Any], bytes]
"""Gives the content of a part of a value; the first argument says where it is, for errors."""


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
