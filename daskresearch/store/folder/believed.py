"""What is believed of a table of experiments, which anybody may have written: its own columns, if they are sound.

Columns of parameters are left to `decode`, which checks each cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from daskresearch.errors import StorageError
from daskresearch.store.columns.values import TYPES
from daskresearch.store.folder.parts import ALIASES, OWN, failures_type

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGERS: Final = ("repetition", "updates", "n_rows", "position", "run")
_TEXTS: Final = ("id", "status", "definition", "content", "stdout", "stderr", "log", ALIASES, TYPES)
_MOST_ROWS: Final = 2**62
_AT_ONCE: Final = 10_000


def check_columns(names: list[str], where: str) -> None:
    """Refuse a table of experiments without one of its own columns.

    Raises
    ------
    StorageError
    """
    missing = [name for name in OWN if name not in names]
    if missing:
        raise StorageError(f"{where} is no table of experiments: it has no column {missing[0]!r}")


def believed(table: pa.Table, where: str) -> pa.Table:
    """Return a table of experiments whose own columns have the types that they must have.

    Parameters
    ----------
    table : pyarrow.Table
        With all columns, or some.
    where : str
        The file, for the text of an error.

    Raises
    ------
    StorageError
        If a column holds something else.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = {
        **dict.fromkeys(_INTEGERS, pa.int64()),
        **dict.fromkeys(_TEXTS, pa.string()),
        "group": pa.binary(),
        "failures": failures_type(),
    }
    for place, name in enumerate(table.column_names):
        kind = kinds.get(name)
        if kind is None:
            continue
        column = table.column(place)
        if column.type != kind:
            try:
                column = column.cast(kind)
            except pa.ArrowException as error:
                raise _damaged(name, where, str(error)) from None
            table = table.set_column(place, name, column)
        if column.null_count and (name in _INTEGERS or name == "id"):
            raise _damaged(name, where, "a cell is empty")
    if "n_rows" in table.column_names and table.num_rows:
        least, most = pc.min_max(table.column("n_rows")).as_py().values()
        if least < 0 or most > _MOST_ROWS // table.num_rows:
            raise _damaged("n_rows", where, f"nothing has {least if least < 0 else most} rows")
    return table


def are_distinct(ids: pa.ChunkedArray) -> bool:
    """Return whether no id is there twice, as far as their hashes tell, which need less memory than the ids."""
    import numpy as np

    hashes = np.zeros(len(ids), np.int64)
    for start in range(0, len(ids), _AT_ONCE):
        texts = ids.slice(start, _AT_ONCE).to_pylist()
        hashes[start : start + _AT_ONCE] = [hash(text) for text in texts]
    hashes.sort()
    return not bool((hashes[1:] == hashes[:-1]).any())


def _damaged(name: str, where: str, reason: str) -> StorageError:
    return StorageError(
        f"column {name!r} of {where} is damaged ({reason:.200}); remove the file, or restore it"
    )
