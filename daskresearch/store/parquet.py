"""Parquet files of a folder, with errors that say which one and what to do."""

from __future__ import annotations

from typing import Any

from daskresearch.errors import MissingFileError, StorageError
from daskresearch.store.files import Files


def parquet_bytes(table: Any, *, rows_a_group: int = 10_000) -> bytes:
    """Return a pyarrow table as the bytes of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=rows_a_group)
    content: bytes = sink.getvalue().to_pybytes()
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
        raise StorageError(f"{files.url}/{path} has two columns of one name; remove it, or restore it")
    return file


def read(file: Any, files: Files, path: str, *, groups: list[int] | None = None, columns: list[str]) -> Any:
    """Return some columns of a Parquet file as a table, of all row groups or some.

    Raises
    ------
    StorageError
        If its content is broken.
    """
    import pyarrow as pa

    try:
        return file.read(columns=columns) if groups is None else file.read_row_groups(groups, columns=columns)
    except FileNotFoundError as error:
        raise MissingFileError(f"{files.url}/{path} is not there") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StorageError(f"{files.url}/{path} is broken ({error}); remove it, or restore it") from error
