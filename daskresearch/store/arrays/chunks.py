"""The chunks of Zarr in which large arrays lie, and checks of what others wrote."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from daskresearch.errors import StorageError
from daskresearch.store.environment import memory_bytes

if TYPE_CHECKING:
    import numpy as np
    import zarr

    ZarrArray = zarr.Array[Any]

KINDS: Final = "biufc"
SHARED_BYTES: Final = 1 << 20  # small arrays share chunks of up to this size
CHUNK_BYTES: Final = 1 << 26  # larger arrays are split
LEAST_BYTES: Final = 1 << 16  # no chunk of a split array is much smaller
MOST_CHUNKS: Final = 10_000


def keeps_dtype(dtype: np.dtype[Any]) -> bool:
    """Return whether zarr keeps a dtype: bool, integer, float or complex.

    Floats of a platform's own precision are not kept.
    """
    return dtype.kind in KINDS and dtype.itemsize <= (16 if dtype.kind == "c" else 8)


def chunk_shape(n: int, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the shape of the chunks of `n` arrays; only small arrays share a chunk.

    Examples
    --------
    >>> chunk_shape(1000, (250,), 8), chunk_shape(5, (1000, 1000), 8)
    ((524, 250), (1, 1000, 1000))
    >>> chunk_shape(5, (10_000, 1000), 8)
    (1, 8388, 1000)
    """
    array_bytes = math.prod(shape) * itemsize
    if array_bytes <= SHARED_BYTES // 2:
        return (
            min(n, SHARED_BYTES // max(itemsize, array_bytes)),
            *(max(1, length) for length in shape),
        )
    chunk = list(shape)
    for axis, length in enumerate(shape):
        if math.prod(chunk) * itemsize > CHUNK_BYTES:
            chunk[axis] = max(1, CHUNK_BYTES // (math.prod(chunk) // length * itemsize))
    return (1, *chunk)


def runs(indices: Sequence[int], array: ZarrArray) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows to read for ascending indices.

    A range also has rows that nobody asked for if they share a chunk with asked ones.
    """
    n_rows = array.chunks[0]
    most = max(n_rows, CHUNK_BYTES // max(1, row_bytes(array)))
    start = last = indices[0]
    for index in indices[1:]:
        is_near = index == last + 1 or index // n_rows == last // n_rows
        if not is_near or index - start >= most:
            yield start, last + 1
            start = index
        last = index
    yield start, last + 1


def row_bytes(array: ZarrArray) -> int:
    """Return the number of bytes of a kept array, which is a row of zarr's."""
    return math.prod(array.shape[1:]) * array.dtype.itemsize


def check_array(array: ZarrArray, where: str) -> None:
    """Raise StorageError for a zarr array that no `ArrayWriter` can have written."""
    if not array.shape or not keeps_dtype(array.dtype):
        raise StorageError(
            f"{where!r} holds no arrays of numbers, but {array.dtype}; was the folder changed?"
        )
    memory = memory_bytes() or sys.maxsize
    for what, n_bytes in (
        ("an array", row_bytes(array)),
        ("a chunk", math.prod(array.chunks) * array.dtype.itemsize),
    ):
        if n_bytes > memory:
            raise StorageError(
                f"{where!r} declares {what} of {n_bytes} bytes, "
                f"more than this machine's memory of {memory}; "
                "read it by slices with zarr if it is yours"
            )
    n_chunks = math.prod(
        [-(-size // chunk) for size, chunk in zip(array.shape[1:], array.chunks[1:], strict=True)]
    )
    if n_chunks > max(MOST_CHUNKS, row_bytes(array) // LEAST_BYTES):
        raise StorageError(
            f"{where!r} splits each array into {n_chunks} chunks, which this library never does"
        )


def chunk_keys(array: ZarrArray, rows: slice | int) -> Iterator[str]:
    """Yield the keys of all chunks of some of the kept arrays."""
    start, stop = (rows, rows + 1) if isinstance(rows, int) else (rows.start, rows.stop)
    length, *lengths = array.chunks
    first = range(start // length, (stop - 1) // length + 1)
    others = [
        range(-(-size // chunk)) for size, chunk in zip(array.shape[1:], lengths, strict=True)
    ]
    for place in itertools.product(first, *others):
        yield array.metadata.encode_chunk_key(place)
