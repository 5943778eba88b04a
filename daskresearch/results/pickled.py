"""Results as a pickle: of a run that goes on what they are so far."""

from __future__ import annotations

from collections.abc import Sequence

from daskresearch.errors import PickleError
from daskresearch.store import FolderStore, MemoryStore, Store
from daskresearch.worker.catching import portable
from daskresearch.worker.pickling import can_travel, dumps


def pickled(store: Store, parameters: Sequence[str]) -> bytes:
    """Return a store and the parameters as bytes that any process can unpickle.

    Values and classes of the user's modules travel with them. Of a folder only its place does.

    Raises
    ------
    PickleError
        If a value cannot be pickled; names the variable or parameter.
    """
    if isinstance(store, MemoryStore):
        store = store.copied(portable)
    elif isinstance(store, FolderStore):
        store = store.copied()
    try:
        return dumps((store, tuple(parameters)))
    except Exception as error:
        _check_values(store, parameters)
        raise PickleError(f"these results cannot be pickled: {error}") from error


def _check_values(store: Store, parameters: Sequence[str]) -> None:
    snapshot = store.snapshot()
    columns = {f"variable {name!r}": values for name, values in snapshot.rows().columns.items()}
    columns |= {f"parameter {name!r}": snapshot.values(name) for name in parameters}
    for name, values in columns.items():
        for value in values:
            if not can_travel(value):
                raise PickleError(
                    f"these results cannot be pickled: {name} has a value of type "
                    f"{type(value).__qualname__}, which cannot; save something simpler"
                )
