"""The common type of columns, and casts to it that change no decoded value."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any

from daskresearch.store.columns.cell_type import Coded, Tag, Tags, is_number
from daskresearch.store.columns.cell_types import carrying, implied_tag

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


def _wider(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    if is_number(left) and is_number(right):
        return _wider_number(left, right)
    if pa.types.is_list(left) and pa.types.is_list(right):
        element, elements = left.value_type, right.value_type
        if _can_widen(element, elements):
            return pa.list_(_wider(element, elements))
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        pairs = list(zip(left, right, strict=False))
        if left.num_fields == right.num_fields and all(
            [
                field.name == other.name and _can_widen(field.type, other.type)
                for field, other in pairs
            ]
        ):
            return pa.struct(
                [(field.name, _wider(field.type, other.type)) for field, other in pairs]
            )
    return pa.binary() if is_binary(left) or is_binary(right) else pa.string()


def _can_widen(left: pa.DataType, right: pa.DataType) -> bool:
    import pyarrow as pa

    if left == right:
        return not _holds_null_lists(left)
    has_null = pa.types.is_null(left) or pa.types.is_null(right)
    return has_null or (is_number(left) and is_number(right))


def _holds_null_lists(kind: pa.DataType) -> bool:
    """Return whether a list of nulls is inside.

    A cast to its own type, as pyarrow makes it in structs, breaks such a list.
    """
    import pyarrow as pa

    if pa.types.is_list(kind):
        return pa.types.is_null(kind.value_type) or _holds_null_lists(kind.value_type)
    return pa.types.is_struct(kind) and any([_holds_null_lists(field.type) for field in kind])


def _wider_number(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    has_floats = pa.types.is_floating(left) or pa.types.is_floating(right)
    return pa.float64() if has_floats or pa.uint64() in (left, right) else pa.int64()


def is_binary(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds bytes."""
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def in_one_piece(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def raws(array: pa.Array) -> list[Any]:
    """Return raw values of an array: None for nulls, scalars of numpy for times."""
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
    """Return a column in a wider type, with tags that keep its decoded values.

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
    return _carrying(array, _tags(array, tags, implied_tag(array.type)), _inexact(array, kind))


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
    tags = _tags(array, tags, implied_tag(array.type))
    flat = _inexact(array.flatten(), kind.value_type)
    return _carrying(array, tags, range(len(array)) if flat else [])


def _carrying(array: pa.Array, tags: Tags | None, rows: Iterable[int]) -> Tags:
    """Return the tags with those of some rows carrying the values themselves."""
    tags = [None] * len(array) if tags is None else list(tags)
    for row in rows:
        tag, raw = tags[row], array[row].as_py()
        if raw is None or (tag is not None and "=" in tag):
            continue
        tags[row] = str(carrying(tag, raw))
    return tags


def _as_texts(array: pa.Array, tags: Tags | None) -> Coded:
    import pyarrow as pa

    base = implied_tag(array.type)
    if tags is None and pa.types.is_integer(array.type):
        return array.cast(pa.string()), _tags(array, None, base)
    texts: list[str | None] = []
    new: Tags = []
    for raw, tag in zip(raws(array), tags or [None] * len(array), strict=True):
        parts = None if tag is None else Tag.parse(tag)
        if (parts is None or parts.text is None) and raw is not None:
            parts = carrying(tag or base or None, raw)
        texts.append(None if parts is None else parts.text)
        new.append(None if parts is None else parts.head)
    return pa.array(texts, pa.string()), new
