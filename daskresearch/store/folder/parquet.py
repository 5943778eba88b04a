"""Parquet files of a folder, with errors that say which one and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from daskresearch.errors import MissingFileError, StorageError
from daskresearch.store.files.base import Files

if TYPE_CHECKING:
    import pyarrow as pa


ROWS_A_GROUP: Final = 10_000


def parquet_bytes(schema: pa.Schema, tables: Iterable[pa.Table]) -> bytes:
    """Return tables of one schema as the bytes of one Parquet file.

    Of all tables only these bytes are held. Row groups have `ROWS_A_GROUP` rows, but for the last.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema) as writer:
        rest = schema.empty_table()
        for table in tables:
            rest = pa.concat_tables([rest, table])
            n_full = len(rest) - len(rest) % ROWS_A_GROUP
            if n_full:
                writer.write_table(rest.slice(0, n_full), ROWS_A_GROUP)
                rest = rest.slice(n_full)
                pa.default_memory_pool().release_unused()  # else each thread keeps what it has freed
        if len(rest):
            writer.write_table(rest)
    content: bytes = sink.getvalue().to_pybytes()
    del sink, rest
    pa.default_memory_pool().release_unused()
    return content


def opened(files: Files, path: str) -> Any:
    """Return a Parquet file of a folder, for reading.

    Raises
    ------
    StorageError
        If it is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(files.opened(path))
        names = file.schema_arrow.names
    except FileNotFoundError as error:
        raise MissingFileError(f"{files.url}/{path} is not there") from error
    except StorageError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        text = f"{files.url}/{path} cannot be read as Parquet ({error}); remove it, or restore it"
        raise StorageError(text) from error
    if len(set(names)) < len(names):
        raise StorageError(
            f"{files.url}/{path} has two columns of one name; remove it, or restore it"
        )
    return file


def read(
    file: Any, files: Files, path: str, *, groups: list[int] | None = None, columns: list[str]
) -> Any:
    """Return some columns of a Parquet file as a table, of all row groups or some.

    Raises
    ------
    StorageError
        If its content is broken.
    """
    import pyarrow as pa

    try:
        return (
            file.read(columns=columns)
            if groups is None
            else file.read_row_groups(groups, columns=columns)
        )
    except FileNotFoundError as error:
        raise MissingFileError(f"{files.url}/{path} is not there") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StorageError(
            f"{files.url}/{path} is broken ({error}); remove it, or restore it"
        ) from error
