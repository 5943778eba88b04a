"""Large arrays come back as they were, and what others wrote is not believed."""

from __future__ import annotations

import errno
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daskresearch.errors import MissingFileError, StorageError
from daskresearch.store.arrays.reader import ArrayReader, LazyArray
from daskresearch.store.arrays.writer import ArrayWriter, can_keep
from daskresearch.store.files.opening import open_files
from tests.support.processes import python

DTYPES = ["?", "i1", "u1", "<i2", ">i4", "<i8", ">u8", "f2", ">f4", "f8", "c8", ">c16"]
SHAPES = [(), (0,), (3,), (0, 3), (2, 3), (2, 1, 4)]


def kept(folder, arrays, variable="x", part="p"):
    files = open_files(folder)
    return ArrayReader(files), ArrayWriter(files, part).keep(variable, arrays)


def edit_metadata(local, **fields):
    path = Path(local, "arrays.zarr", "p", "x", "zarr.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_arrays_of_all_kinds_come_back_as_they_were(folder):
    arrays = [
        np.arange(max(1, size := int(np.prod(shape)))).astype(dtype)[:size].reshape(shape)
        for dtype in DTYPES
        for shape in SHAPES
    ]
    if folder.startswith("s3"):
        arrays = arrays[:: 2 * len(SHAPES) + 1]  # fewer, as each is several requests
    reader, references = kept(folder, arrays)
    for array, loaded in zip(arrays, reader.load_many(references), strict=True):
        assert loaded.shape == array.shape
        assert loaded.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(loaded, array)


@settings(max_examples=30)
@given(
    st.lists(
        hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)),
        max_size=8,
    )
)
def test_arrays_come_back_in_their_order(arrays):
    reader, references = kept("memory://law", arrays)
    for array, reference in zip(arrays, references, strict=True):
        np.testing.assert_array_equal(reader.load(reference), array)
    for array, loaded in zip(reversed(arrays), reader.load_many(references[::-1]), strict=True):
        np.testing.assert_array_equal(loaded, array)


def test_anyone_reads_a_reference_with_zarr(local):
    _, references = kept(local, [np.full(4, i) for i in range(9)], variable="weights")
    assert references[7] == "p/weights[7]"
    root: Any = zarr.open_group(Path(local, "arrays.zarr"), mode="r")
    assert root["p/weights"][7].tolist() == [7, 7, 7, 7]
    assert list(root) == ["p"]
    assert list(root["p"]) == ["weights"]


def test_further_groups_and_calls_have_names_of_their_own():
    files = open_files("memory://names")
    writer = ArrayWriter(files, "p")
    assert writer.groups == []
    first = writer.keep("x", [np.zeros(2), np.zeros(3), np.zeros(2, "f4"), np.ones(2)])
    assert first == ["p/x[0]", "p/x.1[0]", "p/x.2[0]", "p/x[1]"]
    assert writer.keep("x.1", [np.ones(1)]) == ["p/x.1.1[0]"]
    assert writer.keep("x", [np.ones(1)]) == ["p/x.3[0]"]
    assert writer.keep("x", []) == []
    assert writer.groups == ["p"]


@pytest.mark.parametrize(
    "variable", ["a/b", "..", "", "zarr.json", "x[3]", "größe \ud800", "n" * 300]
)
def test_any_text_names_a_variable(local, variable):
    reader, (reference,) = kept(local, [np.arange(3)], variable)
    np.testing.assert_array_equal(reader.load(reference), np.arange(3))


def test_a_part_of_the_same_name_that_was_not_finished_is_replaced(folder):
    kept(folder, [np.zeros(5)] * 4)
    reader, references = kept(folder, [np.ones(2)])
    assert reader.load(references[0]).tolist() == [1, 1]


def test_small_arrays_share_chunks_and_large_ones_do_not(local):
    kept(local, [np.ones(250)] * 1000, "small")
    kept(local, [np.ones(200_000)] * 3, "large", part="q")
    small = zarr.open_array(Path(local, "arrays.zarr", "p", "small"), mode="r")
    large = zarr.open_array(Path(local, "arrays.zarr", "q", "large"), mode="r")
    assert small.chunks == (524, 250)
    assert large.chunks == (1, 200_000)


@pytest.mark.slow
def test_an_array_over_64_megabytes_is_split(local):
    array = np.zeros((9, 1 << 20))
    array[::2] = 1
    reader, references = kept(local, [array])
    assert zarr.open_array(Path(local, "arrays.zarr", "p", "x"), mode="r").chunks == (1, 8, 1 << 20)
    np.testing.assert_array_equal(reader.load(references[0]), array)
    assert reader.lazy(references[0])[8, 5] == 1


@pytest.mark.parametrize("dtype", ["O", "U3", "M8[s]", "V4", "g"])
def test_dtypes_that_zarr_does_not_keep_are_refused(dtype):
    array = np.zeros(2, dtype)
    assert not can_keep(array)
    with pytest.raises(StorageError, match=r"'x' holds an array of dtype .*; convert it"):
        kept("memory://refused", [array])


def test_a_part_that_is_no_name_is_refused():
    with pytest.raises(StorageError, match="is no name for a folder"):
        ArrayWriter(open_files("memory://part"), "../p")


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "x[0]",
        "p/x",
        "p/x[-1]",
        "p/x[]",
        "../x[0]",
        "p/..[0]",
        "/x[0]",
        "a/b/c[0]",
        "p/x[0]\n",
        "p\\q/x[0]",
    ],
)
def test_malformed_references_are_refused(reference):
    reader, _ = kept("memory://malformed", [np.zeros(2)])
    with pytest.raises(StorageError, match="refers to no array; references read as"):
        reader.load(reference)


def test_arrays_that_are_not_there_are_missing(folder):
    reader, _ = kept(folder, [np.zeros(2)])
    for reference in ("p/y[0]", "q/x[0]"):
        with pytest.raises(MissingFileError, match=r"there is no '.*arrays.zarr/"):
            reader.load(reference)
    for read in (reader.load, reader.lazy):
        with pytest.raises(StorageError, match=r"there is no 'p/x\[1\]': only 1 were kept"):
            read("p/x[1]")


@pytest.mark.parametrize("shape", [[2, 1 << 50], [2, 1 << 30, 1 << 30]])
def test_an_array_larger_than_memory_is_refused_before_it_is_read(local, shape):
    reader, references = kept(local, [np.zeros(shape=(1,) * (len(shape) - 1))] * 2)
    edit_metadata(local, shape=shape)
    for read in (reader.load, reader.lazy):
        with pytest.raises(
            StorageError, match=r"declares an array of .* bytes, more than this machine's memory"
        ):
            read(references[0])


def test_a_chunk_larger_than_memory_is_refused_before_it_is_read(local):
    reader, references = kept(local, [np.zeros(4)])
    edit_metadata(
        local, chunk_grid={"name": "regular", "configuration": {"chunk_shape": [1 << 40, 1 << 10]}}
    )
    with pytest.raises(
        StorageError, match=r"declares a chunk of .* bytes, more than this machine's memory"
    ):
        reader.load(references[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data_type", "string"),
        ("data_type", "nonsense"),
        ("codecs", []),
        ("shape", []),
        ("shape", "x"),
        ("codecs", [{"name": "no"}]),
    ],
)
def test_metadata_that_no_writer_wrote_is_refused(local, field, value):
    reader, references = kept(local, [np.ones(4)])
    edit_metadata(local, **{field: value})
    with pytest.raises(StorageError, match="was the folder changed"):
        reader.load(references[0])


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x28\xb5\x2f\xfd"])
def test_a_damaged_chunk_is_a_storage_error(local, content):
    reader, references = kept(local, [np.ones(4)])
    Path(local, "arrays.zarr", "p", "x", "c", "0", "0").write_bytes(content)
    with pytest.raises(StorageError, match="cannot be read"):
        reader.load(references[0])


def test_a_lost_chunk_is_no_array_of_zeros(folder):
    files = open_files(folder)
    reader, references = kept(folder, [np.ones(4), np.zeros(4)])
    files.remove("arrays.zarr/p/x/c/0/0")
    for read in (reader.load, lambda reference: reader.lazy(reference)[1]):
        with pytest.raises(MissingFileError, match="was the folder copied in part"):
            read(references[0])


def test_links_out_of_the_folder_are_not_followed(local, tmp_path):
    kept(str(tmp_path / "other"), [np.ones(4)])
    reader, _ = kept(local, [np.ones(4)])
    Path(local, "arrays.zarr", "q").symlink_to(tmp_path / "other" / "arrays.zarr" / "p")
    with pytest.raises(StorageError, match="is a link that leads out"):
        reader.load("q/x[0]")
    with pytest.raises(StorageError, match="is a link that leads out"):
        ArrayWriter(open_files(local), "q").keep("y", [np.ones(4)])


def test_a_lazy_array_selects_as_numpy_does(folder):
    array = np.arange(24.0).reshape(4, 6)
    reader, references = kept(folder, [array * 0, array])
    lazy = reader.lazy(references[1])
    assert (lazy.shape, lazy.dtype, lazy.ndim, lazy.nbytes, len(lazy)) == (
        (4, 6),
        np.dtype("f8"),
        2,
        192,
        4,
    )
    assert repr(lazy) == "<LazyArray of shape (4, 6), float64>"
    for key in (
        0,
        -1,
        slice(1, 3),
        (1, 2),
        ...,
        (..., 1),
        (slice(None, None, -1), 2),
        [0, 2],
        array > 3,
        None,
        (slice(2), [1]),
    ):
        selected = lazy[key]
        np.testing.assert_array_equal(selected, array[key])
        assert type(selected) is type(array[key])
    with pytest.raises(IndexError, match="4"):
        lazy[4]
    np.testing.assert_array_equal(np.asarray(lazy, "f4"), array.astype("f4"))
    with pytest.raises(ValueError, match="cannot be used without a copy"):
        np.array(lazy, copy=False)


def test_lazy_arrays_without_elements_or_dimensions_are_read():
    reader, (empty, scalar) = kept("memory://few", [np.zeros((0, 3)), np.array(5)])
    assert reader.lazy(empty)[:, 1].shape == (0,)
    assert reader.lazy(scalar)[()] == 5
    with pytest.raises(TypeError, match="has no length"):
        len(reader.lazy(scalar))


def test_a_lazy_array_travels_and_is_read_by_dask(folder):
    array = np.arange(100).reshape(10, 10)
    reader, references = kept(folder, [array])
    lazy = pickle.loads(pickle.dumps(reader.lazy(references[0])))
    assert isinstance(lazy, LazyArray)
    assert da.from_array(lazy, chunks=4).sum().compute(scheduler="threads") == array.sum()


def test_many_arrays_side_by_side_are_read_at_once(local, monkeypatch):
    reader, references = kept(local, [np.full(10, i) for i in range(100)])
    reads: list[Any] = []
    monkeypatch.setattr(zarr.Array, "__getitem__", counted(zarr.Array.__getitem__, reads))
    loaded = reader.load_many([references[i] for i in (5, 3, 4, 3, 90)])
    assert [int(array[0]) for array in loaded] == [5, 3, 4, 3, 90]
    assert reads == [(slice(3, 91),)]  # they lie in one chunk


def counted(get, reads):
    def counting(array, key):
        reads.append(key)
        return get(array, key)

    return counting


FULL_DISK = """
import resource, sys
import numpy as np
from daskresearch.errors import StorageError
from daskresearch.store.arrays.reader import ArrayWriter
from daskresearch.store.files.opening import open_files
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    ArrayWriter(open_files(sys.argv[1]), "p").keep("x", [np.random.default_rng(0).random(100_000)])
except StorageError as error:
    print(error.errno, error)
"""


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_no_halves(local):
    printed = python(FULL_DISK, local)
    assert printed.startswith(f"{errno.EFBIG} ")
    assert f"no space left to write '{local}/arrays.zarr/p/x'" in printed
    assert [path for path in Path(local).rglob("*") if "part" in path.suffix] == []


def test_the_arrays_of_one_folder_are_removed_with_it(local):
    reader, references = kept(local, [np.ones(4)])
    reader.load(references[0])
    shutil.rmtree(local)
    with pytest.raises(StorageError, match="there is no"):
        ArrayReader(open_files(local)).load(references[0])
