"""Tables of parts brought to one schema, which changes no decoded value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from daskresearch.store.columns.casts import cast, common_type, in_one_piece
from daskresearch.store.columns.cell_type import Tags
from daskresearch.store.columns.values import TYPES, joined, split

if TYPE_CHECKING:
    import pyarrow as pa


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the schema to which tables of all these schemas can be fitted.

    Columns come in the order in which they are first seen, that of the tags last.

    Parameters
    ----------
    schemas : Sequence of pyarrow.Schema

    Examples
    --------
    >>> import pyarrow as pa
    >>> schemas = [pa.schema({"a": pa.int64()}), pa.schema({"a": pa.float64(), "b": pa.string()})]
    >>> common_schema(schemas).names
    ['a', 'b', '_types']
    """
    import pyarrow as pa

    if all([schema.equals(schemas[0]) for schema in schemas[1:]]):
        return schemas[0] if schemas else pa.schema([])
    kinds: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            kinds.setdefault(field.name, []).append(field.type)
    has_tags = kinds.pop(TYPES, None) is not None
    fields = {name: common_type(own) for name, own in kinds.items()}
    if has_tags or any([_needs_tags(own, fields[name]) for name, own in kinds.items()]):
        fields[TYPES] = pa.string()
    return pa.schema(fields, schemas[0].metadata)


def _needs_tags(kinds: list[pa.DataType], wider: pa.DataType) -> bool:
    import pyarrow as pa

    return any([kind != wider and not pa.types.is_null(kind) for kind in kinds])


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table in a schema that `common_schema` gave for it and others.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table, other = pa.table({"a": [1, 2]}), pa.table({"a": [0.5]})
    >>> fitted(table, common_schema([table.schema, other.schema])).to_pydict()
    {'a': [1.0, 2.0], '_types': ['{"a":"int"}', '{"a":"int"}']}
    """
    import pyarrow as pa

    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    wider = {
        field.name: field.type
        for field in schema
        if field.name in table.column_names and table.schema.field(field.name).type != field.type
    }
    columns = {name: table[name] for name in table.column_names}
    if any([not pa.types.is_null(columns[name].type) for name in wider if name != TYPES]):
        tags: dict[str, Tags | None] = {**split(columns.get(TYPES))}
        for name in wider:
            if name != TYPES:
                columns[name], tags[name] = cast(
                    in_one_piece(columns[name]), tags.get(name), wider[name]
                )
        types = joined(tags, len(table))
        columns[TYPES] = pa.nulls(len(table), pa.string()) if types is None else types
    else:
        columns |= {name: pa.nulls(len(table), kind) for name, kind in wider.items()}
    arrays = [columns.get(field.name, None) for field in schema]
    arrays = [
        pa.nulls(len(table), field.type) if array is None else array
        for array, field in zip(arrays, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all tables in one, in the schema that they have in common.

    Examples
    --------
    >>> import pyarrow as pa
    >>> concatenated([pa.table({"a": [1]}), pa.table({"b": ["x"]})]).to_pydict()
    {'a': [1, None], 'b': [None, 'x']}
    """
    import pyarrow as pa

    schema = common_schema([table.schema for table in tables])
    return (
        pa.concat_tables([fitted(table, schema) for table in tables])
        if tables
        else schema.empty_table()
    )
