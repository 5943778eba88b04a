"""Recorded values as columns of a Parquet file, and back as they were.

Values of one cell type make a column of the Arrow type that readers expect of them. Where the type
of the column does not tell the cell type, and where cell types are mixed, each cell has a *tag*.
The tags of all columns are in one more, `TYPES`: in each row a JSON object of tags by column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from daskresearch.errors import StorageError
from daskresearch.store.columns.casts import cast, common_type, in_one_piece, raws
from daskresearch.store.columns.cell_type import Coded, Tags, is_number
from daskresearch.store.columns.cell_types import (
    RAW,
    Fitted,
    fitted,
    implied_tag,
    implied_type,
    reader_of,
    sole_type,
)
from daskresearch.store.columns.numpy_types import KEPT_ARRAY
from daskresearch.store.columns.pickles import Pickled
from daskresearch.store.record import MISSING, Missing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["TYPES", "Encoded", "Pickled", "decode", "encode", "joined", "split"]

TYPES: Final = "_types"

Keep = Callable[[list["np.ndarray"]], list[str]]


class Encoded(NamedTuple):
    """A column as a file holds it.

    Attributes
    ----------
    array : pyarrow.Array
    tags : list of str or None, optional
        How each cell is decoded where the type of the array does not tell it.
    """

    array: pa.Array
    tags: Tags | None


def encode(values: Sequence[Any], keep_arrays: Keep | None = None) -> Encoded:
    """Return values as one Arrow array, with tags where its type does not tell how to decode.

    Parameters
    ----------
    values : Sequence
        Anything, `MISSING` where there is nothing.
    keep_arrays : callable, optional
        Takes the large arrays of numbers among them, and returns a text for each, by which `decode`
        finds it.

    Raises
    ------
    PickleError
        If no other cell type takes a value, and it cannot be pickled.

    Examples
    --------
    >>> encode([1, 2]).array.type, encode([1, 2]).tags
    (DataType(int64), None)
    >>> encode([1, 0.5, MISSING]).array.type, encode([1, 0.5, MISSING]).tags
    (DataType(double), ['int', None, None])
    """
    sole = _sole(values)
    if sole is not None:
        return Encoded(sole, None)
    groups: dict[Fitted, tuple[list[int], list[Any]]] = {}
    for i, value in enumerate(values):
        if value is MISSING:
            continue
        key = RAW.get(type(value))
        if key is None:
            key, value = fitted(value, keep_arrays is not None)
        rows, members = groups.setdefault(key, ([], []))
        rows.append(i)
        members.append(value)
    parts = []
    for (cell_type, argument), (_, members) in groups.items():
        if cell_type is KEPT_ARRAY and keep_arrays is not None:
            members = keep_arrays(members)
        parts.append(cell_type.encode(argument, members))
    return _merged(len(values), [rows for rows, _ in groups.values()], parts)


def _sole(values: Sequence[Any]) -> pa.Array | None:
    """Return the array of values that are all of one cell type and need no tags, else None."""
    import pyarrow as pa

    kinds = set(map(type, values))
    has_missing = Missing in kinds
    kinds.discard(Missing)
    cell_types = set(map(sole_type, kinds))
    cell_type = cell_types.pop() if len(cell_types) == 1 else None
    if cell_type is None:
        return None
    present = [None if value is MISSING else value for value in values] if has_missing else values
    try:
        return pa.array(present, cell_type.arrow_type())
    except (OverflowError, UnicodeEncodeError, pa.ArrowException):
        return None


def _merged(n_rows: int, rows: list[list[int]], parts: list[Coded]) -> Encoded:
    import numpy as np
    import pyarrow as pa

    kind = common_type([array.type for array, _ in parts])
    cells = [cast(array, tags, kind) for array, tags in parts]
    if not cells:
        return Encoded(pa.nulls(n_rows), None)
    flat = [row for group in rows for row in group]
    places = np.full(n_rows, -1)
    places[flat] = np.arange(len(flat))
    array = pa.concat_arrays([array for array, _ in cells])
    if len(parts) > 1 or len(flat) < n_rows:
        array = array.take(pa.array(places, mask=places < 0))
    tags: Tags = [None] * n_rows
    for group, (_, own) in zip(rows, cells, strict=True):
        if own is not None:
            for row, tag in zip(group, own, strict=True):
                tags[row] = tag
    base = implied_tag(kind)
    tags = [None if tag == base else tag for tag in tags]
    return Encoded(array, tags if any(tags) else None)


def decode(
    array: pa.Array | pa.ChunkedArray,
    tags: Sequence[str | None] | None = None,
    open_array: Callable[[str], Any] | None = None,
    *,
    allow_pickle: bool = False,
) -> list[Any] | np.ndarray:
    """Return the values of a column as they were recorded.

    Numbers of one type without gaps come as an ndarray.

    Parameters
    ----------
    array : pyarrow.Array or pyarrow.ChunkedArray
    tags : Sequence of str or None, optional
    open_array : callable, optional
        Takes the text that stands for a large array, and returns the array; else the text stays.
    allow_pickle : bool, default False
        Whether pickles are loaded, which can run any code that the file brings.

    Raises
    ------
    StorageError
        If a cell is damaged.

    Examples
    --------
    >>> decode(*encode([1, 0.5, MISSING, None, (2, 3)]))
    [1, 0.5, MISSING, None, (2, 3)]
    >>> decode(*encode([1.0, 0.5]))
    array([1. , 0.5])
    """
    import pyarrow as pa

    whole = _whole(array)
    has_tags = tags is not None and any(tags)
    if not has_tags and is_number(whole.type) and not whole.null_count:
        numbers: np.ndarray = whole.to_numpy(zero_copy_only=False)
        return numbers
    try:
        found = raws(whole)
    except (pa.ArrowException, ValueError, ArithmeticError) as error:
        raise StorageError(
            f"a column of type {whole.type} cannot be read ({error}); its file is damaged"
        ) from None
    tags = [None] * len(found) if tags is None else tags
    if len(tags) != len(found):
        raise StorageError(
            f"a column of {len(found)} rows has {len(tags)} tags; its file is damaged"
        )
    readers = {
        tag: reader_of(tag, open_array, allow_pickle) for tag in set(tags) if tag is not None
    }
    base = _base_reader(whole.type)
    if base is None:
        if not has_tags:
            return [MISSING if raw is None else raw for raw in found]
        return [
            readers[tag](raw) if tag is not None else MISSING if raw is None else raw
            for raw, tag in zip(found, tags, strict=True)
        ]
    return [
        readers[tag](raw) if tag is not None else MISSING if raw is None else base(raw)
        for raw, tag in zip(found, tags, strict=True)
    ]


def _base_reader(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """Return the reader of cells without a tag, None if they hold the values themselves."""
    cell_type, _ = implied_type(kind)
    return None if cell_type.is_raw else reader_of(implied_tag(kind))


def _whole(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, of a type that `encode` gives, whoever wrote the file."""
    import pyarrow as pa

    array = in_one_piece(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return array.cast(pa.string())
    if pa.types.is_large_binary(array.type) or pa.types.is_binary_view(array.type):
        return array.cast(pa.binary())
    return array


def joined(tags: Mapping[str, Sequence[str | None] | None], n_rows: int) -> pa.Array | None:
    """Return the column of the tags of all columns, or None if there is none.

    Examples
    --------
    >>> joined({"a": ["int", None], "b": None}, 2).to_pylist()
    ['{"a":"int"}', None]
    """
    import pyarrow as pa

    tagged = {name: list(own) for name, own in tags.items() if own is not None and any(own)}
    if not tagged:
        return None
    texts: dict[tuple[str | None, ...], str | None] = {}
    rows = list(zip(*tagged.values(), strict=True))
    if len(rows) != n_rows:
        raise ValueError(f"{n_rows} rows have {len(rows)} tags")
    for row in set(rows):
        named = {name: tag for name, tag in zip(tagged, row, strict=True) if tag is not None}
        texts[row] = json.dumps(named, separators=(",", ":")) if named else None
    return pa.array([texts[row] for row in rows], pa.string())


def split(types: pa.Array | pa.ChunkedArray | None) -> dict[str, list[str | None]]:
    """Return the tags by column.

    Raises
    ------
    StorageError
        If the column holds something else.

    Examples
    --------
    >>> split(joined({"a": ["int", None], "b": None}, 2))
    {'a': ['int', None]}
    """
    if types is None:
        return {}
    import numpy as np
    import pyarrow as pa

    whole = _whole(types)
    if whole.null_count == len(whole):
        return {}
    if not pa.types.is_string(whole.type):
        raise StorageError(
            f"column {TYPES!r} is of type {whole.type}, which holds no tags; its file is damaged"
        )
    coded = whole.dictionary_encode()
    places = coded.indices.fill_null(len(coded.dictionary)).to_numpy(zero_copy_only=False)
    objects = [*map(_tags_of, coded.dictionary.to_pylist()), {}]
    names = dict.fromkeys(name for tags in objects for name in tags)
    return {
        name: np.array([tags.get(name) for tags in objects], dtype=object)[places].tolist()
        for name in names
    }


def _tags_of(text: Any) -> dict[str, str]:
    try:
        tags = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        tags = None
    if not isinstance(tags, dict) or not all([isinstance(tag, str) for tag in tags.values()]):
        raise StorageError(
            f"column {TYPES!r} holds {text!r:.80}, which are no tags; its file is damaged"
        )
    return tags
