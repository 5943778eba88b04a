import datetime as dt
import io
import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch.errors import StorageError
from daskresearch.store.columns.values import decode, encode, joined, split
from daskresearch.store.columns.widen import common_schema, concatenated, fitted
from daskresearch.store.record import MISSING
from tests.support.recorded import columns, same_column
from tests.support.strategies import law


def part(**variables):
    """Return the table of a part."""
    encoded = {name: encode(values) for name, values in variables.items()}
    n_rows = len(next(iter(variables.values())))
    types = joined({name: column.tags for name, column in encoded.items()}, n_rows)
    arrays = {name: column.array for name, column in encoded.items()}
    return pa.table(arrays if types is None else arrays | {"_types": types})


def pythonic(values):
    """Return values with Python's numbers for those of numpy that Python has, too."""
    return [
        value.item() if type(value) in (np.float64, np.int64, np.bool_) else value
        for value in values
    ]


def values_of(table):
    """Return the values of all columns of a table."""
    names = [name for name in table.column_names if name != "_types"]
    tags = split(table["_types"] if "_types" in table.column_names else None)
    columns = {name: decode(table[name], tags.get(name), allow_pickle=True) for name in names}
    return {name: pythonic(values) for name, values in columns.items()}


def in_file(table):
    """Return a table after it was written and read, which pandas can read, too."""
    file = io.BytesIO()
    pq.write_table(table, file)
    assert len(pd.read_parquet(file)) == len(table)
    return pq.read_table(file)


def decoded_alone(tables):
    """Return what each table decodes to alone, MISSING where it has no such column."""
    parts = [values_of(table) for table in tables]
    names = list(dict.fromkeys(itertools.chain.from_iterable(parts)))
    lengths = [len(next(iter(part.values()))) for part in parts]
    return {
        name: [
            value
            for part, n in zip(parts, lengths, strict=True)
            for value in part.get(name, [MISSING] * n)
        ]
        for name in names
    }


@given(st.lists(columns(max_size=4), min_size=1, max_size=4))
@law
def test_parts_decode_together_to_what_they_decode_to_alone(recorded):
    parts = [in_file(part(a=values)) for values in recorded]
    together = values_of(in_file(concatenated(parts)))
    alone = decoded_alone(parts)
    assert together.keys() == alone.keys()
    assert all([same_column(together[name], alone[name]) for name in alone])


@given(st.lists(columns(max_size=4), min_size=1, max_size=4))
@law
def test_parts_decode_together_to_what_was_recorded(recorded):
    together = values_of(concatenated([part(a=values) for values in recorded]))
    whole = [value for values in recorded for value in values]
    assert same_column(together["a"], pythonic(whole))


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), columns(max_size=3), min_size=1),
        min_size=1,
        max_size=3,
    )
)
@law
def test_parts_of_different_columns_decode_together(recorded):
    parts = [
        part(**{name: (values * 3 + [None] * 3)[:3] for name, values in variables.items()})
        for variables in recorded
    ]
    schema = common_schema([table.schema for table in parts])
    tables = [in_file(fitted(table, schema)) for table in parts]
    assert all([table.schema.equals(schema) for table in tables])
    together, alone = values_of(pa.concat_tables(tables)), decoded_alone(parts)
    assert list(together) == list(alone)
    assert all([same_column(together[name], alone[name]) for name in alone])


@given(st.lists(columns(max_size=3), min_size=3, max_size=3))
@law
def test_tables_can_be_widened_again_and_again(recorded):
    parts = [part(a=values) for values in recorded]
    step = concatenated([concatenated(parts[:2]), parts[2]])
    assert same_column(values_of(step)["a"], decoded_alone(parts)["a"])


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ([1, MISSING], [0.5], pa.float64()),
        ([2**53 + 1, 1], [0.5], pa.float64()),
        ([True], [2], pa.int64()),
        ([1], ["a"], pa.string()),
        (["a"], [b"a"], pa.binary()),
        ([None], [1], pa.int64()),
        ([[1]], [[0.5]], pa.list_(pa.float64())),
        ([[2**53 + 1]], [[0.5]], pa.list_(pa.float64())),
        ([{"a": 1}], [{"a": 0.5}], pa.struct({"a": pa.float64()})),
        ([{"a": 1}], [{"b": 1}], pa.string()),
        ([{"a": [None, None], "b": None}], [{"a": [None, None], "b": 1}], pa.string()),
        ([[[None, None]]], [[[1.5]]], pa.string()),
        ([pd.Timestamp("2026-01-02")], ["a"], pa.string()),
        ([np.uint64(2**63)], [-1], pa.float64()),
        ([np.float32(0.1)], [0.1], pa.float64()),
        ([np.array([2**63], dtype="uint64")], [[1]], pa.list_(pa.float64())),
    ],
)
def test_a_column_widens_to_what_is_of_use_to_readers(first, second, kind):
    table = concatenated([part(a=first), part(a=second)])
    assert table.schema.field("a").type == kind
    assert same_column(values_of(in_file(table))["a"], [*first, *second])


def test_one_schema_is_left_as_it_is():
    table = part(a=[1, 2], b=["x", 1])
    assert common_schema([table.schema, table.schema]) is table.schema or common_schema(
        [table.schema]
    ).equals(table.schema)
    assert fitted(table, table.schema).equals(table)


def test_columns_come_in_the_order_in_which_they_are_seen_and_tags_last():
    first, second = part(a=[None], c=[1]), part(b=[1], a=[2])
    assert common_schema([first.schema, second.schema]).names == ["a", "c", "b", "_types"]


def test_a_column_that_widens_brings_a_column_of_tags():
    schema = common_schema([part(a=[1]).schema, part(a=[0.5]).schema])
    assert schema.names == ["a", "_types"]
    assert "_types" not in common_schema([part(a=[1]).schema, part(a=[MISSING]).schema]).names


def test_a_column_that_no_part_of_ours_has_is_refused_when_it_must_widen():
    other = pa.table({"a": pa.array([[dt.time(1)]])})
    with pytest.raises(StorageError, match="a cell of type list has no text"):
        concatenated([other, part(a=["x"])])


def test_a_damaged_cell_is_refused_when_it_must_widen():
    damaged = pa.table({"a": [0.5], "_types": ['{"a":"np:int8x"}']})
    with pytest.raises(StorageError, match="a cell with the tag"):
        values_of(concatenated([damaged, part(a=["x"])]))


def test_a_tag_of_a_later_version_stays_while_its_column_widens():
    later = pa.table({"a": [1], "_types": ['{"a":"fraction:3"}']})
    table = concatenated([later, part(a=["x"])])
    assert table.to_pydict() == {"a": ["1", "x"], "_types": ['{"a":"fraction:3"}', None]}


def test_no_tables_make_an_empty_one():
    assert len(concatenated([])) == 0


def test_a_pickle_stays_closed_while_it_is_widened():
    table = concatenated([part(a=[range(3)]), part(a=[1])])
    assert values_of(table) == {"a": [range(3), 1]}
