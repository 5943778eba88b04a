"""Which tags the cells of each column have, as the schema of a table lists them.

A reader that sees the schema knows what is in a column, without a look at its cells. The list is
JSON in the metadata of the column `TYPES`. A tag stands in it without the value that it carries,
``"int="`` for ``"int=0x10"``, and ``""`` for the cells that have a value and no tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from daskresearch.store.columns.cell_type import Tags
from daskresearch.store.columns.values import TYPES

if TYPE_CHECKING:
    import pyarrow as pa

_LISTED: Final = b"tags"


def with_listed(table: pa.Table, tags: Mapping[str, Tags | None]) -> pa.Table:
    """Return a table whose schema lists the tags of its columns.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = pa.table({"a": [1, None], TYPES: ['{"a":"np:int8"}', None]})
    >>> listed_in(with_listed(table, {"a": ["np:int8", None]}).schema)
    {'a': ['np:int8']}
    """
    import pyarrow as pa

    lists = {}
    for name, own in tags.items():
        if own is not None:
            is_valid = table.column(name).is_valid().to_pylist()
            pairs = set(zip(own, is_valid, strict=True)) - {(None, False)}
            lists[name] = {_without_value(tag or "") for tag, _ in pairs}
    return pa.Table.from_arrays(table.columns, schema=listing(table.schema, lists))


def _without_value(tag: str) -> str:
    head, equals, _ = tag.partition("=")
    return head + equals


def listing(schema: pa.Schema, lists: Mapping[str, Iterable[str]] | None) -> pa.Schema:
    """Return a schema that lists tags by column, or none if nobody knows them."""
    place = schema.get_field_index(TYPES)
    if place < 0:
        return schema
    field = schema.field(place).remove_metadata()
    if lists is not None:
        text = json.dumps({name: sorted(own) for name, own in lists.items()})
        field = field.with_metadata({_LISTED: text})
    return schema.set(place, field)


def listed_in(schema: pa.Schema) -> dict[str, list[str]] | None:
    """Return the tags by column that a schema lists, None if nobody knows them."""
    if TYPES not in schema.names:
        return {}
    metadata = schema.field(TYPES).metadata or {}
    try:
        lists = json.loads(metadata.get(_LISTED, b"null"))
    except (ValueError, RecursionError):
        return None
    return lists if isinstance(lists, dict) and all(map(_are_texts, lists.values())) else None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all([isinstance(text, str) for text in value])
