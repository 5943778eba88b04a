"""The texts that stand in a table for a large array, as ``part/variable[7]``."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from daskresearch.errors import StorageError
from daskresearch.store.files.base import Files, translated

if TYPE_CHECKING:
    import numpy as np
    import zarr

    AnyArray = np.ndarray[Any, np.dtype[Any]]
    ZarrArray = zarr.Array[Any]


REFERENCE: Final = re.compile(r"([\w@%~-][\w@%~.-]*/[\w@%~-][\w@%~.-]*)\[([0-9]{1,18})\]", re.ASCII)


def parsed(reference: str) -> tuple[str, int]:
    """Return the path below ``arrays.zarr`` and the index.

    Raises
    ------
    StorageError

    Examples
    --------
    >>> parsed("a1/weights[7]")
    ('a1/weights', 7)
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise StorageError(
            f"{reference!r} refers to no array; references read as 'part/variable[7]'"
        )
    return match[1], int(match[2])


def foreign(
    files: Files, path: str, done: str, *mistakes: type[Exception]
) -> AbstractContextManager[None]:
    """Turn what zarr raises into a `StorageError`, but for mistakes of the caller."""
    # files that others made, or stores, raise anything
    return translated(f"{files.url}/{path}", done, "was the folder changed?", passed=mistakes)
