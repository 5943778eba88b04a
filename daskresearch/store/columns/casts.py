"""The types that columns have in common, and columns cast to them without losing what they decode to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any

from daskresearch.errors import StorageError
from daskresearch.store.columns.cells import NUMBERS, Tag, reader_of, text_of
from daskresearch.store.columns.kinds import Coded, Tags
from daskresearch.store.columns.plain import NotPlain, text_cell

if TYPE_CHECKING:
    import pyarrow as pa

EXACT = 2**53  # float64 holds all ints up to here


def common_type(kinds: Iterable[pa.DataType]) -> pa.DataType:
    """Return the narrowest type to which columns of these types can be cast.

    Examples
    --------
    >>> import pyarrow as pa
    >>> common_type([pa.int64(), pa.null(), pa.float32()]), common_type([pa.int64(), pa.string()])
    (DataType(double), DataType(string))
    """
    import pyarrow as pa

    return reduce(_wider, kinds, pa.null())


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if is_number(one) and is_number(other):
        return _wider_number(one, other)
    if pa.types.is_list(one) and pa.types.is_list(other):
        element, elements = one.value_type, other.value_type
        if _can_widen(element, elements):
            return pa.list_(_wider(element, elements))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        pairs = list(zip(one, other, strict=False))
        if one.num_fields == other.num_fields and all(
            [left.name == right.name and _can_widen(left.type, right.type) for left, right in pairs]
        ):
            return pa.struct([(left.name, _wider(left.type, right.type)) for left, right in pairs])
    return pa.binary() if is_binary(one) or is_binary(other) else pa.string()


def _can_widen(one: pa.DataType, other: pa.DataType) -> bool:
    import pyarrow as pa

    return (
        one == other
        or (is_number(one) and is_number(other))
        or pa.types.is_null(one)
        or pa.types.is_null(other)
    )


def _wider_number(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    has_floats = pa.types.is_floating(one) or pa.types.is_floating(other)
    return pa.float64() if has_floats or pa.uint64() in (one, other) else pa.int64()


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds bools, ints or floats."""
    import pyarrow as pa

    return bool(
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    )


def is_binary(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds bytes."""
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def canonical_tag(kind: pa.DataType) -> str:
    """Return the tag of which a cell in a column of this type has no need, empty for nested data.

    Examples
    --------
    >>> import pyarrow as pa
    >>> canonical_tag(pa.int64()), canonical_tag(pa.int8()), canonical_tag(pa.timestamp("us", "UTC"))
    ('int', 'np:int8', 'datetime:UTC')
    """
    import numpy as np
    import pyarrow as pa

    if is_number(kind):
        name = np.dtype(kind.to_pandas_dtype()).name
        return {"bool": "bool", "int64": "int", "float64": "float"}.get(name, f"np:{name}")
    if pa.types.is_timestamp(kind):
        head = "datetime" if kind.unit == "us" else f"timestamp:{kind.unit}"
        return f"{head}:{kind.tz}" if kind.tz else head
    if pa.types.is_duration(kind):
        return "timedelta" if kind.unit == "us" else f"Timedelta:{kind.unit}"
    if pa.types.is_date32(kind):
        return "date"
    if is_binary(kind):
        return "bytes"
    if pa.types.is_list(kind) and is_number(kind.value_type):
        return f"list:{np.dtype(kind.value_type.to_pandas_dtype()).name}"
    return "" if pa.types.is_nested(kind) else "str"


def raws(array: pa.Array) -> list[Any]:
    """Return what the cells of an array hold: None for nulls, scalars of numpy for times."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_temporal(kind):
        plain = (
            array.cast(pa.timestamp(kind.unit))
            if pa.types.is_timestamp(kind) and kind.tz
            else array
        )
        values = list(plain.to_numpy(zero_copy_only=False))
    elif is_number(kind):
        filled = (
            array.fill_null(False if pa.types.is_boolean(kind) else 0)
            if array.null_count
            else array
        )
        values = filled.to_numpy(zero_copy_only=False).tolist()
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        values = array.to_numpy(zero_copy_only=False).tolist()
    else:
        return list(array.to_pylist())
    if array.null_count:
        for i in array.is_null().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
            values[i] = None
    return values


def cast(array: pa.Array, tags: Tags | None, kind: pa.DataType) -> Coded:
    """Return a column in a wider type, with the tags by which it decodes to the same values.

    Examples
    --------
    >>> import pyarrow as pa
    >>> cast(pa.array([1, None]), None, pa.float64())[1]
    ['int', None]
    """
    import pyarrow as pa

    if array.type == kind:
        return array, tags
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind), tags
    if is_number(kind):
        return array.cast(kind, safe=False), _number_tags(array, tags, kind)
    if pa.types.is_list(kind):
        return array.cast(kind, safe=False), _list_tags(array, tags, kind)
    if pa.types.is_struct(kind):
        return array.cast(kind, safe=False), _carrying(array, tags, range(len(array)))
    if not pa.types.is_string(array.type):
        array, tags = _as_texts(array, tags)
    if is_binary(kind):
        return array.cast(kind), _tags(array, tags, "str")
    return array, tags


def _tags(array: pa.Array, tags: Tags | None, base: str) -> Tags:
    """Return the tags with `base` for the cells that have none, but for nulls."""
    tags = [None] * len(array) if tags is None else tags
    if not array.null_count:
        return [tag or base for tag in tags]
    is_valid = array.is_valid().to_numpy(zero_copy_only=False).tolist()
    return [tag or (base if valid else None) for tag, valid in zip(tags, is_valid, strict=True)]


def _number_tags(array: pa.Array, tags: Tags | None, kind: pa.DataType) -> Tags:
    return _carrying(array, _tags(array, tags, canonical_tag(array.type)), _inexact(array, kind))


def _inexact(array: pa.Array, kind: pa.DataType) -> list[int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_floating(kind) and array.type in (pa.int64(), pa.uint64())):
        return []
    is_large = pc.greater(array, pa.scalar(EXACT, array.type))
    if array.type == pa.int64():
        is_large = pc.or_(is_large, pc.less(array, pa.scalar(-EXACT, array.type)))
    found: list[int] = (
        is_large.fill_null(False).to_numpy(zero_copy_only=False).nonzero()[0].tolist()
    )
    return found


def _list_tags(array: pa.Array, tags: Tags | None, kind: pa.DataType) -> Tags | None:
    import pyarrow as pa

    if not is_number(array.type.value_type):
        return (
            tags
            if pa.types.is_null(array.type.value_type)
            else _carrying(array, tags, range(len(array)))
        )
    tags = _tags(array, tags, canonical_tag(array.type))
    flat = _inexact(array.flatten(), kind.value_type)
    return _carrying(array, tags, range(len(array)) if flat else [])


def _carrying(array: pa.Array, tags: Tags | None, rows: Iterable[int]) -> Tags:
    """Return the tags with those of some rows carrying the values themselves."""
    tags = [None] * len(array) if tags is None else list(tags)
    for row in rows:
        tag, raw = tags[row], array[row].as_py()
        if raw is None or (tag is not None and "=" in tag):
            continue
        tags[row] = str(_with_text(tag, raw))
    return tags


def _with_text(tag: str | None, raw: Any) -> Tag:
    kind, argument, _ = Tag("") if tag is None else Tag.parse(tag)
    if kind in ("ndarray", "list", "tuple"):
        return Tag(kind, argument, json.dumps(raw))
    try:
        if isinstance(raw, (list, dict)):
            head, text = text_cell(raw)
            return Tag(head, "", text)
        if tag is not None and (kind in ("bool", "int") or argument in NUMBERS):
            raw = reader_of(tag)(raw)  # an int may stand in a column of floats
        return Tag(kind, argument, text_of(raw))
    except (NotPlain, AttributeError):
        raise StorageError(
            f"a cell of type {type(raw).__name__} has no text; its file is not of daskresearch"
        ) from None


def _as_texts(array: pa.Array, tags: Tags | None) -> Coded:
    import pyarrow as pa

    base = canonical_tag(array.type)
    if tags is None and pa.types.is_integer(array.type):
        return array.cast(pa.string()), _tags(array, None, base)
    texts: list[str | None] = []
    new: Tags = []
    for raw, tag in zip(raws(array), tags or [None] * len(array), strict=True):
        parts = None if tag is None else Tag.parse(tag)
        if (parts is None or parts.text is None) and raw is not None:
            parts = _with_text(tag or base or None, raw)
        texts.append(None if parts is None else parts.text)
        new.append(None if parts is None else parts.head)
    return pa.array(texts, pa.string()), new
