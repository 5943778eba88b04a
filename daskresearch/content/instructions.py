"""What bytecode does and reads, apart from where its source stands."""

from __future__ import annotations

import dis
import functools
import sys
import types
from bisect import bisect_left
from typing import Any, NamedTuple

_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_OF_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"})
_CONSTANTS = frozenset({*dis.hasconst, dis.opmap.get("KW_NAMES", -1)})
_NAMES = frozenset(dis.hasname)
_VARIABLES = frozenset({*dis.hasname, *dis.haslocal, *dis.hasfree})
_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})
_FUSED = {
    "LOAD_FAST_LOAD_FAST": ("LOAD_FAST", "LOAD_FAST"),
    "STORE_FAST_LOAD_FAST": ("STORE_FAST", "LOAD_FAST"),
    "STORE_FAST_STORE_FAST": ("STORE_FAST", "STORE_FAST"),
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW": ("LOAD_FAST_BORROW", "LOAD_FAST_BORROW"),
}
"""Instructions that newer versions of Python make of two."""
_FUSES = not _FUSED.keys().isdisjoint(dis.opmap)

_PLACES = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
_KNOWN = 4_096


class Reads(NamedTuple):
    """The names that code reads, also in the code that is nested in it.

    Nested code is that of functions, comprehensions and classes.

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

    Docstrings are left out too, unless the code reads one.

    Examples
    --------
    >>> code_content((lambda x: x + 1).__code__) == code_content((lambda x:
    ...     x + 1).__code__)
    True
    """
    instructions = _instructions(code)
    kept = [
        instruction
        for instruction, following in zip(instructions, [*instructions[1:], None], strict=True)
        if not _says_place(instruction) and not (following is not None and _says_place(following))
    ]
    offsets = [instruction.offset for instruction in kept]
    steps: list[tuple[int, Any]] = []
    for i, instruction in enumerate(kept):
        argument: Any = instruction.arg
        if instruction.opcode in _CONSTANTS:
            argument = _constant(code.co_consts[instruction.arg or 0])
        elif instruction.opcode in _NAMES:
            argument = instruction.argval
        elif instruction.opcode in _JUMPS and _FUSES:  # offsets would follow lines of the source
            argument = bisect_left(offsets, instruction.argval) - i
        steps.append((instruction.opcode, argument))
    handlers: Any = code.co_exceptiontable
    if _FUSES:
        handlers = [
            (*[bisect_left(offsets, offset) for offset in entry[:3]], *entry[3:])
            for entry in dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]
        ]
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
    texts = [repr(steps), repr(handlers), repr(numbers), repr(names)]
    if "__doc__" in code.co_names:
        texts += map(_constant, code.co_consts[:1])
    return "\n".join(texts).encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=64)  # content and names are asked for one after the other
def _instructions(code: types.CodeType) -> list[dis.Instruction]:
    """Return instructions with none fused, as which ones are depends on lines."""
    instructions = []
    for instruction in dis.get_instructions(code):
        if pair := _FUSED.get(instruction.opname):
            for name, variable, number in zip(
                pair, instruction.argval, divmod(instruction.arg or 0, 16), strict=True
            ):
                instructions.append(
                    instruction._replace(
                        opname=name, opcode=dis.opmap[name], arg=number, argval=variable
                    )
                )
        elif instruction.opname not in {"EXTENDED_ARG", "CACHE"}:
            instructions.append(instruction)
    return instructions


def _says_place(instruction: dis.Instruction) -> bool:
    """Return whether an instruction stores the docstring or the lines of a class."""
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
            bare.update(
                instruction.argval
                if isinstance(instruction.argval, tuple)
                else [instruction.argval]
            )
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
