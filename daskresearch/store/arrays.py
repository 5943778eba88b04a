"""Large arrays of a results folder, in Zarr, next to the table that refers to them.

A part is what one writer wrote at once. Its arrays of one variable, dtype and shape are the rows of one zarr array
below ``arrays.zarr/<part>``, so ``zarr.open_group("arrays.zarr")["<part>/<variable>"][7]`` is what the reference
``"<part>/<variable>[7]"`` stands for. No chunk holds two arrays, except of small ones.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from daskresearch.errors import MissingFileError, StorageError
from daskresearch.store.chunks import CHUNK_BYTES, check_array, chunk_keys, chunk_shape, keeps_dtype, runs
from daskresearch.store.files import Files, safe_name, storage_error
from daskresearch.store.parts import ARRAYS

if TYPE_CHECKING:
    import numpy as np
    import zarr

    AnyArray = np.ndarray[Any, np.dtype[Any]]
    ZarrArray = zarr.Array[Any]

GROUP: Final = b'{"attributes": {}, "zarr_format": 3, "node_type": "group"}'
REFERENCE: Final = re.compile(r"([\w@%~-][\w@%~.-]*/[\w@%~-][\w@%~.-]*)\[([0-9]{1,18})\]", re.ASCII)


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
    >>> from daskresearch.store.files import open_files
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
                raise StorageError(f"{variable!r} holds an array of dtype {array.dtype}; convert it, as to float64")
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
                loaded.update({(path, index): rows[index - start] for index in indices & set(range(start, stop))})
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
                array = zarr.open_array(self._files.zarr_store(where, read_only=True), mode="r", zarr_format=3)
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
                raise MissingFileError(errno.ENOENT, f"there is no {full!r}; was the folder copied in part?")
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
    >>> from daskresearch.store.files import open_files
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
            raise ValueError("an array in a file cannot be used without a copy; leave copy=False out")
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
        raise StorageError(f"{reference!r} refers to no array; references read as 'part/variable[7]'")
    return match[1], int(match[2])


@contextmanager
def foreign(files: Files, path: str, done: str, *mistakes: type[Exception]) -> Iterator[None]:
    """Turn what zarr raises into a `StorageError`, but for mistakes of the caller."""
    full = f"{files.url}/{path}"
    passed: tuple[type[Exception], ...] = (StorageError, *mistakes)
    try:
        yield
    except passed:
        raise
    except OSError as error:
        raise storage_error(error, full, done) from error
    except Exception as error:  # files that others made, or stores, raise anything
        reason = f"{type(error).__name__}: {error}"
        raise StorageError(f"{full!r} cannot be {done} ({reason}); was the folder changed?") from error
