"""Large arrays of a results folder, in Zarr, next to the table that refers to them.

A part is what one writer wrote at once. Its arrays of one variable, dtype and shape are the rows of one zarr array
below ``arrays.zarr/<part>``, so ``zarr.open_group("arrays.zarr")["<part>/<variable>"][7]`` is what the reference
``"<part>/<variable>[7]"`` stands for. No chunk holds two arrays, except of small ones.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from daskresearch.errors import MissingFileError, StorageError
from daskresearch.store.arrays.chunks import check_array, chunk_keys, runs
from daskresearch.store.arrays.references import foreign, parsed
from daskresearch.store.contents import ARRAYS
from daskresearch.store.files.base import Files

if TYPE_CHECKING:
    import numpy as np
    import zarr

    AnyArray = np.ndarray[Any, np.dtype[Any]]
    ZarrArray = zarr.Array[Any]


@final
class ArrayReader:
    """Reads the large arrays of a results folder by their references.

    Nothing in the folder is trusted: what a file says is checked before memory is given to it.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._arrays: dict[str, ZarrArray] = {}
        self._present: set[str] = set()  # chunks that are known to be there

    def __reduce__(self) -> tuple[type[ArrayReader], tuple[Files]]:
        return ArrayReader, (self._files,)

    def load(self, reference: str) -> AnyArray:
        """Return the array that a reference stands for.

        Raises
        ------
        StorageError
            If there is none, or it is larger than the memory of this machine.
        """
        return self.load_many([reference])[0]

    def load_many(self, references: Iterable[str]) -> list[AnyArray]:
        """Return arrays, of which those that lie side by side are read at once.

        Raises
        ------
        StorageError
            If there is one that cannot be read.
        """
        found = [parsed(reference) for reference in references]
        wanted: dict[str, set[int]] = {}
        for path, index in found:
            wanted.setdefault(path, set()).add(index)
        loaded: dict[tuple[str, int], AnyArray] = {}
        for path, indices in wanted.items():
            for start, stop in runs(sorted(indices), self._opened(path, max(indices))):
                rows = self.select(path, slice(start, stop))
                loaded.update(
                    {
                        (path, index): rows[index - start]
                        for index in indices & set(range(start, stop))
                    }
                )
        return [as_array(loaded[key]) for key in found]

    def lazy(self, reference: str) -> LazyArray:
        """Return an array that is read when it is used.

        Raises
        ------
        StorageError
            If there is none, or it is larger than the memory of this machine.
        """
        path, index = parsed(reference)
        array = self._opened(path, index)
        return LazyArray(self, reference, array.shape[1:], array.dtype)

    def select(self, path: str, rows: slice | int, keys: tuple[Any, ...] = ()) -> Any:
        """Return a selection of rows of a zarr array."""
        import numpy as np

        where = f"{ARRAYS}/{path}"
        last = rows if isinstance(rows, int) else rows.stop - 1
        array = self._opened(path, last)
        with foreign(self._files, where, "read", IndexError):
            selected = array[(rows, *keys)]
        if not np.all(selected):
            self._check_present(path, array, rows)
        return selected

    def _opened(self, path: str, index: int) -> ZarrArray:
        import zarr

        if path not in self._arrays:
            where = f"{ARRAYS}/{path}"
            with foreign(self._files, where, "read"):
                array = zarr.open_array(
                    self._files.zarr_store(where, read_only=True), mode="r", zarr_format=3
                )
                check_array(array, where)
            self._arrays[path] = array
        array = self._arrays[path]
        if index >= array.shape[0]:
            advice = f"only {array.shape[0]} were kept; was the folder changed?"
            raise StorageError(f"there is no '{path}[{index}]': {advice}")
        return array

    def _check_present(self, path: str, array: ZarrArray, rows: slice | int) -> None:
        """Raise StorageError if zarr made zeros of a chunk that is not there."""
        for chunk in chunk_keys(array, rows):
            where = f"{ARRAYS}/{path}/{chunk}"
            if where in self._present:
                continue
            if not self._files.exists(where):
                full = f"{self._files.url}/{where}"
                raise MissingFileError(
                    errno.ENOENT, f"there is no {full!r}; was the folder copied in part?"
                )
            self._present.add(where)


@final
@dataclass(frozen=True, eq=False, repr=False, slots=True)
class LazyArray:
    """An array in a results folder, of which only what is selected is read.

    Attributes
    ----------
    reader : ArrayReader
    reference : str
    shape : tuple of int
    dtype : numpy.dtype

    Examples
    --------
    >>> import numpy as np
    >>> from daskresearch.store.arrays.writer import ArrayWriter
    >>> from daskresearch.store.files.opening import open_files
    >>> files = open_files("memory://LazyArray")
    >>> lazy = ArrayReader(files).lazy(ArrayWriter(files, "a1").keep("weights", [np.arange(6.0)])[0])
    >>> lazy, lazy[2:4]
    (<LazyArray of shape (6,), float64>, array([2., 3.]))
    """

    reader: ArrayReader
    reference: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes in memory."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"<LazyArray of shape {self.shape}, {self.dtype}>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array of no dimensions has no length; use its size")
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if not self.size or not all([is_simple(step) for step in keys]):
            return self.__array__()[key]
        path, index = parsed(self.reference)
        selected = as_array(self.reader.select(path, index, keys))
        return selected if Ellipsis in keys else selected[()]  # a scalar, as numpy gives

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError(
                "an array in a file cannot be used without a copy; leave copy=False out"
            )
        loaded = self.reader.load(self.reference)
        return loaded if dtype is None else loaded.astype(dtype, copy=False)


def as_array(value: Any) -> AnyArray:
    """Return what zarr selected as an array, also of no dimensions."""
    import numpy as np

    return np.asarray(value)


def is_simple(step: Any) -> bool:
    """Return whether zarr selects by a key as numpy does."""
    if isinstance(step, slice):
        return step.step is None or (isinstance(step.step, int) and step.step > 0)
    return step is Ellipsis or (isinstance(step, int) and not isinstance(step, bool))
