"""The cell type of what no other takes: pickles, which stay closed unless one asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

from daskresearch.errors import PickleError
from daskresearch.store.columns.cell_type import CellType


@final
@dataclass(frozen=True, slots=True)
class Pickled:
    """A value that is kept as a pickle, and was not unpickled, because a pickle can run any code.

    Attributes
    ----------
    content : bytes

    Examples
    --------
    >>> import pickle
    >>> Pickled(pickle.dumps(range(3)))
    <pickled value of ... bytes; read with allow_pickle=True>
    >>> Pickled(pickle.dumps(range(3))).load()
    range(0, 3)
    """

    content: bytes

    def __repr__(self) -> str:
        return f"<pickled value of {len(self.content)} bytes; read with allow_pickle=True>"

    def load(self) -> Any:
        """Return the value itself; this can run any code that the file brings."""
        import pickle

        return pickle.loads(self.content)


class _Pickle(CellType):
    """A value that no other cell type takes."""

    name = "pickle"
    arrow = "binary"
    holds_bytes = True

    def fit(self, value: Any) -> tuple[str, bytes]:
        return "", value.content if type(value) is Pickled else pickled(value)

    def read(self, argument: str, raw: bytes) -> Pickled:
        return Pickled(raw)


PICKLE: Final = _Pickle()


def pickled(value: Any) -> bytes:
    """Return the pickle of a value.

    Raises
    ------
    PickleError
        If it has none.
    """
    import cloudpickle

    try:
        content: bytes = cloudpickle.dumps(value)
    except Exception as error:
        raise PickleError(
            f"a recorded value of type {type(value).__qualname__} cannot be pickled "
            f"({type(error).__name__}: {error}); "
            "save something simpler, or run with dump_results=False"
        ) from error
    return content


def unpickled(closed: Pickled) -> Any:
    """Return the value of a pickle, or the pickle as it is if it cannot be loaded here."""
    try:
        return closed.load()
    except Exception:  # the class may be gone, or the library of another version
        return closed
