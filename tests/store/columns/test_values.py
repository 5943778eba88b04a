import dataclasses
import datetime as dt
import io
import json
import pickle
import threading
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch.errors import PickleError, StorageError
from daskresearch.store.columns.values import Pickled, decode, encode, joined, split
from daskresearch.store.record import MISSING
from tests.support.recorded import columns, same, same_column
from tests.support.strategies import law


@dataclasses.dataclass
class Point:
    x: int


class Stubborn:
    @property
    def dtype(self):
        raise RuntimeError("never")


def through_parquet(encoded):
    """Return array and tags after a file of them was written and read."""
    file = io.BytesIO()
    types = joined({"a": encoded.tags}, len(encoded.array))
    table = pa.table({"a": encoded.array} | ({} if types is None else {"_types": types}))
    pq.write_table(table, file)
    read = pq.read_table(file)
    return read["a"], split(read["_types"] if types is not None else None).get("a")


def back(values, **options):
    """Return what comes of values through a file."""
    return list(decode(*through_parquet(encode(values)), **options))


@given(columns())
@law
def test_values_come_back_as_they_were(values):
    assert same_column(decode(*encode(values), allow_pickle=True), values)


@given(columns())
@law
def test_values_come_back_as_they_were_through_a_file(values):
    assert same_column(back(values, allow_pickle=True), values)


@given(columns())
@law
def test_pandas_reads_the_files(values):
    file = io.BytesIO()
    encoded = encode(values)
    pq.write_table(pa.table({"a": encoded.array}), file)
    assert len(pd.read_parquet(file)) == len(values)


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.sampled_from(["int", "json", "x=\ud800"])),
        max_size=5,
    )
)
@law
def test_split_tags_are_those_that_were_joined(rows):
    tags = {name: [row.get(name) for row in rows] for name in "abc"}
    kept = {name: own for name, own in tags.items() if any(own)}
    assert split(joined(tags, len(rows))) == kept


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, False], pa.bool_()),
        ([1, MISSING], pa.int64()),
        ([0.5, float("nan")], pa.float64()),
        (["a", ""], pa.string()),
        ([b"a", b""], pa.binary()),
        ([dt.date(2026, 1, 2)], pa.date32()),
        ([dt.datetime(2026, 1, 2)], pa.timestamp("us")),
        ([dt.datetime(2026, 1, 2, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
        (
            [dt.datetime(2026, 7, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))],
            pa.timestamp("us", "Europe/Berlin"),
        ),
        ([dt.timedelta(seconds=1)], pa.duration("us")),
        ([pd.Timestamp("2026-01-02").as_unit("ns")], pa.timestamp("ns")),
        ([[1, 2], []], pa.list_(pa.int64())),
        ([["a"], [None]], pa.list_(pa.string())),
        ([{"a": 1, "b": [0.5]}], pa.struct({"a": pa.int64(), "b": pa.list_(pa.float64())})),
    ],
)
def test_values_of_one_kind_have_the_type_that_readers_expect_and_mostly_no_tags(values, kind):
    encoded = encode(values)
    assert encoded.array.type == kind
    assert encoded.tags is None or "list:null" in encoded.tags
    assert same_column(back(values), values)


@pytest.mark.parametrize(
    ("values", "kind", "tags"),
    [
        ([dt.timedelta.max, 1], pa.binary(), ["pickle", "int"]),
        ([np.datetime64("2026-01-02", "ns")], pa.timestamp("ns"), ["np:datetime64[ns]"]),
        ([pd.Timestamp("2026-01-02").as_unit("s")], pa.timestamp("ms"), ["timestamp:s"]),
        ([np.datetime64("20260-01-02", "s")], pa.binary(), ["npy0"]),
        ([np.timedelta64("NaT", "s"), MISSING], pa.duration("s"), ["np:timedelta64[s]", None]),
        ([1, 0.5, True, MISSING], pa.float64(), ["int", None, "bool", None]),
        ([1, 2**53 + 1, 0.5], pa.float64(), ["int", f"int={2**53 + 1}", None]),
        ([1, 2**64], pa.float64(), ["int", f"int={2**64}"]),
        ([10**400, 1], pa.float64(), [f"int={hex(10**400)}", "int"]),
        ([None, 1], pa.int64(), ["none", None]),
        ([None, None], pa.null(), ["none", "none"]),
        ([MISSING], pa.null(), None),
        ([1, "a"], pa.string(), ["int", None]),
        ([1, "a", b"b"], pa.binary(), ["int", "str", None]),
        ([(1, 2)], pa.list_(pa.int64()), ["tuple:int64"]),
        ([np.float32(0.1), MISSING], pa.float32(), None),
        ([np.float16(0.5)], pa.float32(), ["np:float16"]),
        ([np.datetime64("2026-01-02", "s")], pa.timestamp("ms"), ["np:datetime64[s]"]),
        ([np.array([1, 2], dtype="int8")], pa.list_(pa.int8()), ["ndarray:int8"]),
        ([[1], [0.5], [1, 0.5]], pa.list_(pa.float64()), ["list:int64", None, "json=[1, 0.5]"]),
        ([{"a": 1}, {"a": 0.5}], pa.struct({"a": pa.float64()}), ['json={"a": 1}', None]),
        ([{"a": 1}, {"b": 1}], pa.string(), ["json", "json"]),
        ([{1, 2}], pa.string(), ["literal"]),
    ],
)
def test_a_tag_tells_what_the_type_does_not(values, kind, tags):
    encoded = encode(values)
    assert (encoded.array.type, encoded.tags) == (kind, tags)
    assert same_column(back(values, allow_pickle=True), values)


def test_numbers_without_gaps_decode_to_arrays():
    assert type(decode(*encode([0.5, 1.5]))) is np.ndarray
    assert np.asarray(decode(*encode([np.int8(1)]))).dtype == np.int8
    assert type(decode(*encode([0.5, MISSING]))) is list


def test_numpy_scalars_of_the_default_types_come_back_as_python_numbers():
    assert encode([np.float64(1.0), 2.0]) == encode([1.0, 2.0])
    assert same_column(back([np.int64(1), MISSING, np.int64(2)]), [1, MISSING, 2])
    assert same_column(back(["a", np.float64(1.0)]), ["a", np.float64(1.0)])


def test_a_string_of_lone_surrogates_comes_back():
    values = ["a", "\ud800", "", "\udc80x"]
    assert encode(values).array.type == pa.string()
    assert back(values) == values


def test_large_arrays_are_handed_on_in_one_call_and_opened_by_their_text():
    large, calls = [np.arange(200.0), np.ones((20, 20))], []

    def keep(arrays):
        calls.append(arrays)
        return [f"ref{i}" for i in range(len(arrays))]

    encoded = encode([large[0], MISSING, np.arange(3), "text", large[1]], keep)
    assert len(calls) == 1
    assert encoded.tags == ["array", None, "ndarray:int64", None, "array"]
    kept = {f"ref{i}": array for i, array in enumerate(calls[0])}
    values, tags = through_parquet(encoded)
    found = decode(values, tags, kept.get)
    assert same_column(found, [large[0], MISSING, np.arange(3), "text", large[1]])
    assert decode(*encoded)[0] == "ref0"


def test_large_arrays_stay_in_the_cell_if_nobody_keeps_them():
    assert encode([np.arange(200.0)]).tags == ["npy"]


def test_a_pickle_is_loaded_only_if_allowed():
    found = back([Point(1), 1])
    assert type(found[0]) is Pickled
    assert repr(found[0]).endswith("bytes; read with allow_pickle=True>")
    assert found[0].load() == Point(1)
    assert back([Point(1), 1], allow_pickle=True) == [Point(1), 1]


def test_a_pickle_that_was_not_loaded_can_be_written_again():
    assert back(back([Point(1)]), allow_pickle=True) == [Point(1)]


def test_a_pickle_that_cannot_be_loaded_stays_one():
    content = b"\x80\x04cgone_module\nGone\n."
    array = pa.array([content], pa.binary())
    assert decode(array, ["pickle"], allow_pickle=True) == [Pickled(content)]


def test_what_cannot_be_pickled_is_refused_with_the_way_out():
    with pytest.raises(
        PickleError,
        match=r"of type lock cannot be pickled .*; save something simpler, or run with dump",
    ):
        encode([1, threading.Lock()])


def test_a_value_whose_attributes_raise_is_pickled():
    found = back([Stubborn()], allow_pickle=True)
    assert type(found[0]) is Stubborn


def test_an_array_of_objects_is_pickled():
    assert encode([np.array([Point(1), None], dtype=object)]).tags == ["pickle"]


def test_data_that_holds_itself_comes_back():
    cycle: list[Any] = [1]
    cycle.append(cycle)
    found = back([cycle], allow_pickle=True)[0]
    assert found[1] is found


def test_deeply_nested_data_is_refused_or_comes_back():
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    assert back([deep, 1], allow_pickle=True) == [deep, 1]
    for _ in range(20_000):
        deep = (deep,)
    with pytest.raises(PickleError, match="of type tuple cannot be pickled"):
        encode([deep])


def test_nested_data_of_numpy_scalars_comes_back_with_those_of_python():
    assert same(back([{"a": np.float32(0.5), "b": [np.int64(1)]}])[0], {"a": 0.5, "b": [1]})


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_strings_that_another_writer_wrote_decode(kind):
    assert decode(pa.array(["1", None], pa.string()).cast(kind), ["int", None]) == [1, MISSING]


def npy(head, body=b""):
    text = repr(head).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def head(shape, descr="<f8", fortran_order=False):
    return {"descr": descr, "fortran_order": fortran_order, "shape": shape}


HOSTILE = [
    ("npy", npy(head((10**12,)), b"x" * 8), "an array of 8000000000000 bytes in a cell of 8 bytes"),
    ("npy", npy(head((1,)), b"x" * 16), "an array of 8 bytes in a cell of 16 bytes"),
    ("npy", npy(head((-2, -1)), b"x" * 16), "shape"),
    ("npy", npy(head((10**30, 0))), "damaged"),
    ("npy", npy(head((1,), "|O"), pickle.dumps(Point(1))), "dtype object"),
    ("npy", npy(head((10**15,), "|V0")), "shape"),
    ("npy", b"\x93NUMPY\x09\x00", "format"),
    ("npy", b"", "damaged"),
    ("npy0", npy(head((1,), "nonsense"), b"x"), "damaged"),
    ("npy", "text", "damaged"),
    ("json", "[" * 100_000, "RecursionError"),
    ("json", "nonsense", "JSONDecodeError"),
    ("json", "9" * 100_000, "ValueError"),
    ("json", b"\xff", "UnicodeDecodeError"),
    ("json", None, "not a text but NoneType"),
    ("literal", "__import__('os').getcwd()", "malformed"),
    ("literal", "9**9**9**9", "malformed"),
    ("literal", "(" * 90_000, "damaged"),
    ("literal", "-" * 90_000 + "1", "damaged"),
    ("literal", "1+" * 40_000 + "1", "damaged"),
    ("literal", "[" * 90_000 + "]" * 90_000, "a literal of 180000 letters"),
    ("literal", "a.b", "malformed"),
    ("literal", "\x00", "damaged"),
    ("int", "nonsense", "ValueError"),
    ("int", "9" * 10_000, "ValueError"),
    ("int", "inf", "ValueError"),
    ("int", None, "TypeError"),
    ("bool", "yes", "KeyError"),
    ("np:int8", "300", "OverflowError"),
    ("np:object", "1", "dtype 'object'"),
    ("np:V1000000000000", "1", "dtype"),
    ("np:datetime64[s", "x", "ValueError"),
    ("np:datetime64[9999999999s]", "2026-01-01", "unit"),
    ("ndarray:object", "[1]", "dtype 'object'"),
    ("ndarray:float64", '[{"a": 1}]', "TypeError"),
    ("ndarray:int8", "[300]", "OverflowError"),
    ("list:int64", '{"a": 1}', "not a list but dict"),
    ("datetime:No/Where", "2026-01-01", "ZoneInfoNotFoundError"),
    ("datetime:../../etc/passwd", "2026-01-01", "ValueError"),
    ("datetime", None, "damaged"),
    ("datetime", "99999-01-01", "damaged"),
    ("timestamp:weeks", "2026-01-01", "unit"),
    ("timedelta", "5 weeks", "unit"),
    ("timedelta", "5", "unit"),
    ("date", "2026-99-01", "ValueError"),
    ("none", "1", "not a null but str"),
    ("str", None, "not a text but NoneType"),
    ("pickle", "text", "not bytes but str"),
    ("array", None, "not a text but NoneType"),
    ("gone", "1", "has the tag 'gone', which this version of daskresearch does not know"),
    ("", "1", "does not know"),
    ("exec:1=2", "1", "does not know"),
]


@pytest.mark.parametrize(("tag", "cell", "message"), HOSTILE)
def test_a_hostile_cell_is_refused(tag, cell, message):
    array = pa.array([cell], pa.binary() if type(cell) is bytes else pa.string())
    with pytest.raises(StorageError, match=message):
        decode(array, [tag], allow_pickle=True)


@pytest.mark.parametrize("text", ["nonsense", "[1]", '{"a": 1}', "[" * 100_000, '"a"'])
def test_a_column_of_tags_that_holds_something_else_is_refused(text):
    with pytest.raises(StorageError, match=r"which (are|holds) no tags"):
        split(pa.array([text, None]))


def test_a_column_of_tags_of_another_type_is_refused():
    with pytest.raises(StorageError, match=r"which (are|holds) no tags"):
        split(pa.array([1, 2]))


def test_tags_of_another_length_are_refused():
    with pytest.raises(StorageError, match="a column of 1 rows has 2 tags"):
        decode(pa.array(["1"]), ["int", "int"])
    with pytest.raises(ValueError, match="2 rows have 1 tags"):
        joined({"a": ["int"]}, 2)


def test_tags_are_json_that_other_tools_can_read():
    tags = joined({"a": ["int"], "b": ["json"]}, 1)
    assert tags is not None
    assert json.loads(tags[0].as_py()) == {"a": "int", "b": "json"}
