"""Writes the large arrays of experiments into the Zarr group of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, final

from daskresearch.errors import StorageError
from daskresearch.store.arrays.chunks import CHUNK_BYTES, chunk_shape, keeps_dtype
from daskresearch.store.arrays.references import foreign
from daskresearch.store.contents import ARRAYS
from daskresearch.store.files.base import Files, safe_name

if TYPE_CHECKING:
    import numpy as np
    import zarr

    AnyArray = np.ndarray[Any, np.dtype[Any]]
    ZarrArray = zarr.Array[Any]


GROUP: Final = b'{"attributes": {}, "zarr_format": 3, "node_type": "group"}'


def can_keep(value: object) -> bool:
    """Return whether a value is an array that zarr keeps as it is.

    Examples
    --------
    >>> import numpy as np
    >>> can_keep(np.zeros(3)), can_keep(np.array([None])), can_keep([1, 2])
    (True, False, False)
    """
    import numpy as np

    return type(value) is np.ndarray and keeps_dtype(value.dtype)


@final
class ArrayWriter:
    """Writes the large arrays of one part.

    Parameters
    ----------
    files : Files
    part : str
        A name which no other writer has, and which is safe for a file.

    Examples
    --------
    >>> import numpy as np
    >>> from daskresearch.store.arrays.reader import ArrayReader
    >>> from daskresearch.store.files.opening import open_files
    >>> files = open_files("memory://ArrayWriter")
    >>> ArrayWriter(files, "a1").keep("weights", [np.zeros(3), np.ones(3), np.ones(2)])
    ['a1/weights[0]', 'a1/weights[1]', 'a1/weights.1[0]']
    >>> ArrayReader(files).load("a1/weights[1]")
    array([1., 1., 1.])
    """

    def __init__(self, files: Files, part: str) -> None:
        if safe_name(part) != part:
            raise StorageError(f"part {part!r} is no name for a folder; quote it with safe_name")
        self._files, self._part = files, part
        self._taken = {"zarr.json"}  # lies in the folder of a part itself
        self._has_groups = False

    @property
    def groups(self) -> list[str]:
        """The part, if anything was written."""
        return [self._part] if self._has_groups else []

    def keep(self, variable: str, arrays: Sequence[AnyArray]) -> list[str]:
        """Write arrays, and return a reference to each.

        Parameters
        ----------
        variable : str
        arrays : sequence of ndarray
            Of bool, integers, floats or complex numbers; bytes in the other order are turned.

        Raises
        ------
        StorageError
            If an array is of another dtype, or cannot be written.
        """
        import numpy as np

        places: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        for place, array in enumerate(arrays):
            if not keeps_dtype(array.dtype):
                raise StorageError(
                    f"{variable!r} holds an array of dtype {array.dtype}; convert it, as to float64"
                )
            places.setdefault((array.dtype.newbyteorder("=").str, array.shape), []).append(place)
        references = [""] * len(arrays)
        for (dtype, _), group in places.items():
            name = self._free_name(safe_name(variable))
            self._write(name, np.dtype(dtype), [arrays[place] for place in group])
            for index, place in enumerate(group):
                references[place] = f"{self._part}/{name}[{index}]"
        return references

    def _free_name(self, name: str) -> str:
        names = (name if n == 0 else f"{name}.{n}" for n in range(len(self._taken) + 1))
        free = next(name for name in names if name not in self._taken)
        self._taken.add(free)
        return free

    def _write(self, name: str, dtype: np.dtype[Any], arrays: Sequence[AnyArray]) -> None:
        import numpy as np
        import zarr

        self._write_groups()
        path = f"{ARRAYS}/{self._part}/{name}"
        chunks = chunk_shape(len(arrays), arrays[0].shape, dtype.itemsize)
        with foreign(self._files, path, "written"):
            target = zarr.create_array(
                self._files.zarr_store(path, read_only=False),
                shape=(len(arrays), *arrays[0].shape),
                chunks=chunks,
                dtype=dtype,
                zarr_format=3,
                overwrite=True,  # a part of the same name was never finished
                config={"write_empty_chunks": True},  # a chunk that is not there was lost
            )
            n_rows = max(1, CHUNK_BYTES // max(1, arrays[0].nbytes) // chunks[0]) * chunks[0]
            for start in range(0, len(arrays) if arrays[0].size else 0, n_rows):
                target[start : start + n_rows] = np.stack(arrays[start : start + n_rows])

    def _write_groups(self) -> None:
        if self._has_groups:
            return
        for folder in (ARRAYS, f"{ARRAYS}/{self._part}"):
            if not self._files.exists(f"{folder}/zarr.json"):
                self._files.write(f"{folder}/zarr.json", GROUP)  # all writers write the same
        self._has_groups = True
