"""Nested data of Python's own types, and the texts that bring it back as it was."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from daskresearch.store.columns.cells import LITERAL_LIMIT, literal

PLAIN: Final = frozenset([type(None), bool, int, float, complex, str, bytes])
_NUMBERS: Final = frozenset([bool, int, float, complex])
_COLLECTIONS: Final[tuple[type, ...]] = (list, tuple, set, frozenset)


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
    if kind in _COLLECTIONS:
        if PLAIN.issuperset(map(type, value)):
            return value
        return kind([plain(one) for one in value])
    if kind is dict:
        same = {plain(key): plain(one) for key, one in value.items()}
        if len(same) == len(value):
            return same
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


def alike(one: Any, other: Any) -> bool:
    """Return whether two plain values are the same, also in the types within and the order of keys.

    Examples
    --------
    >>> alike([1, float("nan")], [1, float("nan")]), alike([1], [1.0]), alike({1, "a"}, {"a", 1}), alike((), [])
    (True, False, True, False)
    """
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in (list, tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if kind is dict:
        return alike(list(one.items()), list(other.items()))
    if kind in (set, frozenset):
        return {(type(part), repr(part)) for part in one} == {
            (type(part), repr(part)) for part in other
        }
    if kind in (float, complex):
        return repr(one) == repr(other)
    return bool(one == other)


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
    try:
        text = json.dumps(value)
        if alike(json.loads(text), value):
            return "json", text
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        text = repr(value)
        if len(text) < LITERAL_LIMIT and is_utf8(text) and alike(literal(text), value):
            return "literal", text
    except (TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    raise NotPlain


def is_utf8(text: str) -> bool:
    """Return whether a text has no lone surrogates, which files cannot hold."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
