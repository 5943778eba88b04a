"""The table of all cell types, which is asked by value, by tag and by the type of a column.

The order counts. The first cell type that takes a value writes it. The first that finds itself
implied by the type of a column reads its cells without a tag.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from daskresearch.errors import StorageError
from daskresearch.store.columns.cell_type import DAMAGES, CellType, Tag
from daskresearch.store.columns.nested import COLLECTION_TYPES, NESTED
from daskresearch.store.columns.numpy_types import KEPT_ARRAY, NUMPY
from daskresearch.store.columns.pickles import PICKLE, Pickled, unpickled
from daskresearch.store.columns.plain import NotPlain, text_of
from daskresearch.store.columns.scalars import SCALARS, STR
from daskresearch.store.columns.times import TIMES

if TYPE_CHECKING:
    import pyarrow as pa

CELL_TYPES: Final = (*SCALARS, *TIMES, *NUMPY, *COLLECTION_TYPES, PICKLE)

Fitted = tuple[CellType, Any]

RAW: Final[dict[type, Fitted]] = {
    kind: (cell_type, "") for cell_type in CELL_TYPES for kind in cell_type.raw_types
}
_BY_NAME: Final = {cell_type.name: cell_type for cell_type in CELL_TYPES if cell_type.name}


def fitted(value: Any, keeps_arrays: bool) -> tuple[Fitted, Any]:
    """Return the cell type of a value with its argument, and the raw value.

    Raises
    ------
    PickleError
        If no other cell type takes the value, and it cannot be pickled.

    Examples
    --------
    >>> import numpy as np
    >>> (cell_type, argument), raw = fitted(np.float32(0.5), keeps_arrays=False)
    >>> cell_type.name, argument, raw
    ('np', 'float32', np.float32(0.5))
    """
    kind: type = type(value)
    for cell_type in _takers(kind):
        if cell_type is KEPT_ARRAY and not keeps_arrays:
            continue
        try:
            fit = cell_type.fit(value)
        except (NotPlain, RecursionError):
            continue
        if fit is not None:
            return (cell_type, fit[0]), fit[1]
    return (PICKLE, ""), PICKLE.fit(value)[1]


@lru_cache(maxsize=256)
def _takers(kind: type) -> tuple[CellType, ...]:
    return tuple([cell_type for cell_type in CELL_TYPES if cell_type.takes(kind)])


@lru_cache(maxsize=256)
def sole_type(kind: type) -> CellType | None:
    """Return the cell type of a column that holds only this Python type, without tags, or None."""
    for cell_type in CELL_TYPES:
        is_twin = kind.__module__ == "numpy" and kind.__name__ in cell_type.numpy_twins
        if cell_type.arrow and (kind in cell_type.raw_types or is_twin):
            return cell_type
    return None


def implied_type(kind: pa.DataType) -> tuple[CellType, str]:
    """Return type and argument of the cells without a tag in a column of an Arrow type.

    Examples
    --------
    >>> import pyarrow as pa
    >>> cell_type, argument = implied_type(pa.timestamp("us", "UTC"))
    >>> cell_type.name, argument
    ('datetime', 'UTC')
    """
    for cell_type in CELL_TYPES:
        argument = cell_type.implied(kind)
        if argument is not None:
            return cell_type, argument
    return STR, ""


def implied_tag(kind: pa.DataType) -> str:
    """Return the tag that cells of an Arrow type need not have, empty for nested data.

    Examples
    --------
    >>> import pyarrow as pa
    >>> implied_tag(pa.int64()), implied_tag(pa.int8()), implied_tag(pa.timestamp("us", "UTC"))
    ('int', 'np:int8', 'datetime:UTC')
    """
    cell_type, argument = implied_type(kind)
    return Tag(cell_type.name, argument).head


def carrying(tag: str | None, raw: Any) -> Tag:
    """Return a tag for the same cell that carries its value, whatever becomes of the column.

    Raises
    ------
    StorageError
        If the value has no text.
    """
    name, argument, _ = Tag("") if tag is None else Tag.parse(tag)
    cell_type = _BY_NAME.get(name) if name else NESTED
    try:
        if cell_type is None:  # a later version wrote it
            return Tag(name, argument, text_of(raw))
        return cell_type.carrying(argument, raw)
    except (NotPlain, *DAMAGES):
        raise StorageError(
            f"a cell of type {type(raw).__name__} has no text; its file is not of daskresearch"
        ) from None


def reader_of(
    tag: str, open_array: Callable[[str], Any] | None = None, allow_pickle: bool = False
) -> Callable[[Any], Any]:
    """Return the function that makes the value from what is in the column, None for a null.

    Raises
    ------
    StorageError
        If no cell type has the name in the tag. The function raises it where the column holds
        something else than the tag says.

    Examples
    --------
    >>> reader_of("int")(3.0), reader_of("int")("3")
    (3, 3)
    >>> reader_of("int=9007199254740993")(9007199254740992.0)
    9007199254740993
    """
    name, argument, carried = Tag.parse(tag)
    cell_type = _BY_NAME.get(name)
    if cell_type is None:
        raise StorageError(
            f"a cell has the tag {tag[:80]!r}, which this version of daskresearch does not know"
        )
    raw_of, read = cell_type.raw_of, cell_type.read

    def value(raw: Any) -> Any:
        try:
            found = read(argument, raw_of(raw if carried is None else carried))
        except DAMAGES as error:
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise StorageError(
                f"a cell with the tag {tag[:80]!r} cannot be read ({reason}); its file is damaged"
            ) from None
        if cell_type is KEPT_ARRAY and open_array is not None:
            return open_array(found)
        return unpickled(found) if allow_pickle and type(found) is Pickled else found

    return value
