"""Data of Python's own types, and the texts that bring it back as it was."""

from __future__ import annotations

import ast
import json
import sys
from typing import Any, Final

LITERAL_LIMIT: Final = 100_000
WIDTHS: Final = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMBERS: Final = frozenset(["bool", *WIDTHS, "float16", "float32", "float64"])
PLAIN: Final = frozenset([type(None), bool, int, float, complex, str, bytes])
COLLECTIONS: Final = frozenset([list, tuple, set, frozenset, dict])
_NUMBERS: Final = frozenset([bool, int, float, complex])


class NotPlain(Exception):  # noqa: N818
    """A value is, or holds, something other than data of Python's own types and numpy's scalars."""


def plain(value: Any) -> Any:
    """Return nested data with Python's scalars for those of numpy.

    Raises
    ------
    NotPlain

    Examples
    --------
    >>> import numpy as np
    >>> plain([1, (np.float64(2.0), {"a": np.int8(3)})])
    [1, (2.0, {'a': 3})]
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is dict:
        same = {plain(key): plain(own) for key, own in value.items()}
        if len(same) == len(value):
            return same
    elif kind in COLLECTIONS:
        if PLAIN.issuperset(map(type, value)):
            return value
        return kind([plain(element) for element in value])
    elif is_numpy(value):
        return _python_scalar(value)
    raise NotPlain


def is_numpy(value: Any) -> bool:
    """Return whether a value is an array or a scalar of numpy, without importing it."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic))


def _python_scalar(value: Any) -> Any:
    import numpy as np

    if not isinstance(value, np.generic):
        raise NotPlain
    scalar = str(value) if type(value) is np.str_ else value.item()
    if type(scalar) in _NUMBERS or type(value) is np.str_:
        return scalar
    raise NotPlain


def alike(left: Any, right: Any) -> bool:
    """Return whether two plain values are the same, also in the types within and the order of keys.

    Examples
    --------
    >>> alike([1, float("nan")], [1, float("nan")]), alike([1], [1.0])
    (True, False)
    >>> alike({1, "a"}, {"a", 1}), alike((), [])
    (True, False)
    """
    kind = type(left)
    if kind is not type(right):
        return False
    if kind in (list, tuple):
        return len(left) == len(right) and all(map(alike, left, right))
    if kind is dict:
        return alike(list(left.items()), list(right.items()))
    if kind in (set, frozenset):
        return _typed_texts(left) == _typed_texts(right)
    if kind in (float, complex):
        return repr(left) == repr(right)
    return bool(left == right)


def _typed_texts(values: set[Any] | frozenset[Any]) -> set[tuple[type, str]]:
    return {(type(element), repr(element)) for element in values}


def text_cell(value: Any) -> tuple[str, str]:
    """Return tag and text of plain data: JSON if that brings it back, else a Python literal.

    Raises
    ------
    NotPlain
        If neither does.

    Examples
    --------
    >>> text_cell({"a": [1, None]}), text_cell((1, {2}))
    (('json', '{"a": [1, null]}'), ('literal', '(1, {2})'))
    """
    text = json_text(value)
    return ("literal", literal_text(value)) if text is None else ("json", text)


def json_text(value: Any) -> str | None:
    """Return plain data as JSON, None if that would not bring it back."""
    try:
        text = json.dumps(value)
        return text if alike(json.loads(text), value) else None
    except (TypeError, ValueError, RecursionError):
        return None


def literal_text(value: Any) -> str:
    """Return plain data as a Python literal.

    Raises
    ------
    NotPlain
        If that would not bring it back.
    """
    try:
        text = repr(value)
        if len(text) < LITERAL_LIMIT and is_utf8(text) and alike(literal(text), value):
            return text
    except (TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    raise NotPlain


def literal(text: str) -> Any:
    """Return the value of a Python literal, in which ``nan`` and ``inf`` may stand, too.

    Examples
    --------
    >>> literal("(1, nan, -inf, {2j})")
    (1, nan, -inf, {2j})
    """
    if len(text) >= LITERAL_LIMIT:
        raise ValueError(f"a literal of {len(text)} letters")
    tree = _Numbers().visit(ast.parse(text, mode="eval"))
    return ast.literal_eval(tree)


class _Numbers(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node


def is_utf8(text: str) -> bool:
    """Return whether a text has no lone surrogates, which files cannot hold."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_of(raw: Any) -> str:
    """Return the text of a number, point in time or span of time, from which readers make it again.

    Examples
    --------
    >>> import numpy as np
    >>> text_of(np.datetime64("2026-01-02T03:04", "us")), text_of(np.timedelta64(5, "ms"))
    ('2026-01-02T03:04:00.000000', '5 ms')
    >>> text_of(0.1), text_of(True)
    ('0.1', 'True')
    """
    if isinstance(raw, str):
        return raw
    if type(raw) is int:
        return digits(raw)
    if type(raw) in (bool, float):
        return repr(raw)
    import numpy as np

    if isinstance(raw, np.timedelta64):
        return f"{raw.astype('int64')} {np.datetime_data(raw.dtype)[0]}"
    if isinstance(raw, np.datetime64):
        return str(raw)
    return text_of(raw.item())


def digits(number: int) -> str:
    """Return the text of an int of any size: hexadecimal where decimal takes Python too long."""
    return str(number) if number.bit_length() < 1000 else hex(number)


def whole(raw: Any) -> int:
    """Return the int that a number or its text stands for.

    Examples
    --------
    >>> whole("0x10"), whole(2.0), whole(True)
    (16, 2, 1)
    """
    if isinstance(raw, str):
        return int(raw, 0)
    return int(raw)


def boolean(raw: Any) -> bool:
    """Return the bool that a number or its text stands for."""
    return {"True": True, "False": False}[raw] if isinstance(raw, str) else bool(raw)


def number(name: str, raw: Any) -> Any:
    """Return the number of Python that a cell of one of the dtypes `NUMBERS` stands for."""
    if name.startswith(("int", "uint")):
        return whole(raw)
    return boolean(raw) if name == "bool" else float(raw)
