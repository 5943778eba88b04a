"""The cell types of lists, tuples, dicts and sets of Python's own types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from daskresearch.store.columns.cell_type import (
    CellType,
    Coded,
    Fit,
    Tag,
    Tags,
    checked_text,
    is_number,
)
from daskresearch.store.columns.pickles import pickled
from daskresearch.store.columns.plain import (
    COLLECTIONS,
    NUMBERS,
    NotPlain,
    alike,
    is_utf8,
    json_text,
    literal,
    literal_text,
    number,
    plain,
    text_cell,
)

if TYPE_CHECKING:
    import pyarrow as pa

_CARRIED_LIMIT: Final = 1000
_SHORT: Final = 100
_DEEP: Final = 8


class _Flat(CellType):
    """A flat list or tuple of numbers or texts of one type, which its tag tells."""

    def fit(self, value: Sequence[Any]) -> Fit:
        if not COLLECTIONS.isdisjoint(map(type, value)):
            return None
        value = plain(value)
        element = _element_of(value)
        return None if element is None else (element, value)

    def encode(self, element: str, raws: list[Any]) -> Coded:
        import pyarrow as pa

        if element == "mixed":
            tags: Tags = [str(NESTED.carrying("", raw)) for raw in raws]
            return pa.array([list(map(float, raw)) for raw in raws], pa.list_(pa.float64())), tags
        name = {"bool": "bool_"}.get(element, element)
        tag = None if self.is_raw else f"{self.name}:{element}"
        return pa.array(raws, pa.list_(getattr(pa, name)())), [tag] * len(raws)

    def read(self, argument: str, raw: Any) -> Any:
        return elements(argument, raw)

    def carrying(self, argument: str, raw: Any) -> Tag:
        return Tag(self.name, argument, json.dumps(raw))


class _List(_Flat):
    """A flat list."""

    name = "list"
    types = (list,)
    is_raw = True

    def implied(self, kind: pa.DataType) -> str | None:
        import numpy as np
        import pyarrow as pa

        is_numbers = pa.types.is_list(kind) and is_number(kind.value_type)
        return str(np.dtype(kind.value_type.to_pandas_dtype()).name) if is_numbers else None


class _Tuple(_Flat):
    """A flat tuple."""

    name = "tuple"
    types = (tuple,)

    def read(self, argument: str, raw: Any) -> tuple[Any, ...]:
        return tuple(elements(argument, raw))


class _Nested(CellType):
    """A list or dict as a nested cell of Arrow; a tag carries a value that Arrow would change."""

    types = (list, dict)
    is_raw = True

    def fit(self, value: Any) -> Fit:
        value = plain(value)
        if type(value) is list:
            return "list", value
        is_named = value and all([type(key) is str for key in value])
        return (tuple(value), value) if is_named else None

    def encode(self, argument: Any, raws: list[Any]) -> Coded:
        import pyarrow as pa

        try:
            array = pa.array(raws)
            if _is_storable(array.type):
                tags = [
                    None if alike(*pair) else str(self.carrying("", pair[1]))
                    for pair in zip(array.to_pylist(), raws, strict=True)
                ]
                if all([tag is None or len(tag) < _CARRIED_LIMIT for tag in tags]):
                    return array, tags
        except (pa.ArrowException, OverflowError, TypeError, ValueError, NotPlain):
            pass
        return _texts(raws)

    def implied(self, kind: pa.DataType) -> str | None:
        import pyarrow as pa

        return "" if pa.types.is_nested(kind) else None

    def read(self, argument: str, raw: Any) -> Any:
        return raw

    def carrying(self, argument: str, raw: Any) -> Tag:
        name, text = text_cell(raw)
        return Tag(name, "", text)


class _Json(CellType):
    """Data that JSON brings back as it was."""

    name = "json"
    types = (dict,)
    arrow = "string"

    def fit(self, value: Any) -> Fit:
        text = json_text(plain(value))
        return None if text is None else ("", text)

    def read(self, argument: str, raw: Any) -> Any:
        return json.loads(checked_text(raw))


class _Literal(CellType):
    """Data that a Python literal brings back as it was."""

    name = "literal"
    types = (tuple, dict, set, frozenset, complex)
    arrow = "string"

    def fit(self, value: Any) -> Fit:
        return "", literal_text(plain(value))

    def read(self, argument: str, raw: Any) -> Any:
        return literal(checked_text(raw))


NESTED: Final = _Nested()
COLLECTION_TYPES: Final[tuple[CellType, ...]] = (_List(), _Tuple(), NESTED, _Json(), _Literal())


def elements(name: str, raw: Any) -> list[Any]:
    """Return the elements of a list or of its JSON, those of a dtype as Python's numbers."""
    found = json.loads(raw) if isinstance(raw, str) else raw
    if type(found) is not list:
        raise TypeError(f"not a list but {type(found).__name__}")
    if name not in NUMBERS:
        return found
    return [None if element is None else number(name, element) for element in found]


def _element_of(values: Sequence[Any]) -> str | None:
    """Return the type of the elements, ``"mixed"`` for numbers, None if they need another way."""
    kinds = set(map(type, values))
    if not kinds:
        return "null"
    if int in kinds and (
        min(values) < -(2**63) or max(values) >= 2**63 if kinds <= {int, float, bool} else True
    ):
        return None
    if len(kinds) == 1:
        kind = kinds.pop()
        if kind is str and not is_utf8("".join(values)):
            return None
        return {bool: "bool", int: "int64", float: "float64", str: "string"}.get(kind)
    return "mixed" if kinds <= {bool, int, float} and len(values) < _SHORT else None


def _texts(raws: list[Any]) -> Coded:
    import pyarrow as pa

    tags: Tags = []
    texts: list[Any] = []
    for raw in raws:
        try:
            cell: tuple[str, Any] = text_cell(raw)
        except NotPlain:
            cell = "pickle", pickled(raw)
        tags.append(cell[0])
        texts.append(cell[1])
    if "pickle" not in tags:
        return pa.array(texts, pa.string()), tags
    contents = [text.encode() if type(text) is str else text for text in texts]
    return pa.array(contents, pa.binary()), tags


def _is_storable(kind: pa.DataType, depth: int = 0) -> bool:
    """Return whether Parquet can hold the type, and JSON its values when it is widened later."""
    import pyarrow as pa

    if depth > _DEEP or pa.types.is_binary(kind):
        return False
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all([_is_storable(field.type, depth + 1) for field in kind])
    return _is_storable(kind.value_type, depth + 1) if pa.types.is_list(kind) else True
