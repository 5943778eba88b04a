"""Parquet files of a folder, written and read, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from daskresearch.store.files.base import Files, translated

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

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
                # else each thread keeps what it has freed
                pa.default_memory_pool().release_unused()
        if len(rest):
            writer.write_table(rest)
    content: bytes = sink.getvalue().to_pybytes()
    del sink, rest
    pa.default_memory_pool().release_unused()
    return content


@contextmanager
def reading(files: Files, path: str) -> Iterator[pq.ParquetFile]:
    """Give an opened Parquet file of a folder.

    Raises
    ------
    StorageError
        For whatever is raised inside, as it may be any file that others have put there.
    """
    import pyarrow.parquet as pq

    with (
        translated(f"{files.url}/{path}", "read", "remove it, or restore it"),
        pq.ParquetFile(files.opened(path)) as file,
    ):
        yield file


class Footer(NamedTuple):
    """What the footer of a Parquet file tells of it."""

    metadata: pq.FileMetaData
    schema_arrow: pa.Schema


def read_footer(files: Files, path: str) -> Footer:
    """Return the footer of a Parquet file of a folder."""
    with reading(files, path) as file:
        return Footer(file.metadata, file.schema_arrow)


def read_table(files: Files, path: str, columns: Sequence[str]) -> pa.Table:
    """Return some columns of a Parquet file of a folder."""
    with reading(files, path) as file:
        return selected(file, columns)


def selected(
    file: pq.ParquetFile, columns: Sequence[str], groups: Sequence[int] | None = None
) -> pa.Table:
    """Return columns that must each be there once, of all row groups or some."""
    if groups is None:
        return file.read(columns=columns).select(columns)
    return file.read_row_groups(groups, columns=columns).select(columns)


def with_fields(table: pa.Table, fields: Mapping[str, pa.Field]) -> pa.Table:
    """Return a table with other fields for some of its columns.

    `pyarrow.Table.cast` casts also the columns that stay, which breaks lists of nulls in structs.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = pa.table({"a": pa.array([1], pa.int8()), "b": ["x"]})
    >>> with_fields(table, {"a": pa.field("a", pa.int64(), nullable=False)}).schema.field("a")
    pyarrow.Field<a: int64 not null>
    """
    import pyarrow as pa

    places = [table.column_names.index(name) for name in fields]
    changed = table.select(places).cast(pa.schema(fields.values()))
    for place, (name, field) in zip(places, fields.items(), strict=True):
        table = table.set_column(place, field, changed[name])
    return table
