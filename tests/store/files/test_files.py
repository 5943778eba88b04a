"""The files of a results folder are whole, stay inside, and say what went wrong."""

from __future__ import annotations

import errno
import os
import pickle
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch.errors import MissingFileError, StorageError
from daskresearch.store.files.base import safe_name
from daskresearch.store.files.opening import open_files
from tests.support.processes import python, running

OF_ANOTHER_PROCESS = {"skip_instance_cache": True}  # fsspec shares what it remembers in one process
BAD_PATHS = ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "a\0b"]


def test_what_is_written_is_read(folder):
    files = open_files(folder)
    files.write("parts/a.bin", b"first")
    files.write("parts/a.bin", b"second, which is longer")
    assert files.read("parts/a.bin") == b"second, which is longer"
    assert files.size("parts/a.bin") == 23


def test_empty_content_is_kept(folder):
    files = open_files(folder)
    files.write("empty", b"")
    assert files.read("empty") == b""
    assert files.exists("empty")


def test_what_is_appended_stands_behind_what_was_written(folder):
    files = open_files(folder)
    files.append("notes/a.log", b"one\n")
    files.append("notes/a.log", b"two\n")
    assert files.read("notes/a.log") == b"one\ntwo\n"
    assert files.names("notes") == ["a.log"]


def test_names_are_sorted_and_fresh_though_another_writes(folder):
    files, other = open_files(folder), open_files(folder, OF_ANOTHER_PROCESS)
    assert files.names("") == []
    other.write("b", b"")
    assert files.names("") == ["b"]
    other.write("a/deep/file", b"")
    assert files.names("") == ["a", "b"]
    assert files.names("a") == ["deep"]
    assert files.names("nowhere/at/all") == []
    other.remove("b")
    assert files.names("") == ["a"]


def test_existence_is_fresh_though_another_writes(folder):
    files, other = open_files(folder), open_files(folder, OF_ANOTHER_PROCESS)
    files.names("")
    assert not files.exists("a/b")
    other.write("a/b", b"x")
    assert files.exists("a/b")
    assert files.exists("a")
    other.write("a/b", b"longer")
    assert files.size("a/b") == 6


def test_a_missing_file_is_a_file_not_found(folder):
    files = open_files(folder)
    with pytest.raises(
        FileNotFoundError, match=r"there is no '.*nowhere/a'; it was removed, or never written"
    ):
        files.read("nowhere/a")
    with pytest.raises(MissingFileError, match=r"there is no '.*a'"):
        files.size("a")
    with pytest.raises(MissingFileError, match=r"there is no '.*a'"):
        files.opened("a")


def test_removing_what_is_missing_is_fine(folder):
    files = open_files(folder)
    files.remove("nowhere/a")
    files.remove_tree("nowhere")
    files.write("a/b/c", b"")
    files.write("ab", b"")
    files.remove_tree("a")
    assert files.names("") == ["ab"]


def test_parquet_is_read_from_what_is_opened(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = open_files(folder)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    files.write("parts/p.parquet", sink.getvalue().to_pybytes())
    with pq.ParquetFile(files.opened("parts/p.parquet")) as opened:
        assert opened.read().to_pydict() == {"a": [1, 2]}


def test_a_local_folder_is_uploaded_with_what_is_below(folder, tmp_path):
    files = open_files(folder)
    for content in (b"old", b"new"):
        source = tmp_path / "source" / "deep"
        source.mkdir(parents=True, exist_ok=True)
        (source / "file").write_bytes(content)
        (source.parent / "top").write_bytes(b"top")
        files.upload(str(source.parent), "copies/one")
    assert files.read("copies/one/deep/file") == b"new"
    assert files.names("copies/one") == ["deep", "top"]


def test_a_copy_made_by_pickle_opens_the_same_folder(folder):
    files = open_files(folder)
    files.write("a", b"x")
    copy = pickle.loads(pickle.dumps(files))
    assert copy == files
    assert copy.read("a") == b"x"


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_could_lead_out_are_refused(folder, path):
    files = open_files(folder)
    for act in (files.read, files.remove, files.remove_tree, files.opened, files.size):
        with pytest.raises(StorageError, match="is no path inside of a results folder"):
            act(path)
    with pytest.raises(StorageError, match="is no path inside of a results folder"):
        files.write(path, b"")
    with pytest.raises(StorageError, match="is no path inside of a results folder"):
        files.names(path or "..")


@pytest.mark.parametrize("url", ["", "a\0b", "file://"])
def test_a_place_that_is_none_is_refused(url):
    with pytest.raises(StorageError, match="no place for a results folder"):
        open_files(url)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(StorageError, match="nothing to open 'nope://x' with"):
        open_files("nope://x")


def test_wildcards_of_a_url_are_refused():
    with pytest.raises(StorageError, match="holds wildcards"):
        open_files("memory://runs/*")
    with pytest.raises(StorageError, match="holds wildcards"):
        open_files("memory://runs").remove_tree("*")


def test_a_url_of_a_file_is_a_local_folder(tmp_path):
    files = open_files(f"file://{tmp_path}/r")
    assert files.is_local
    assert files == open_files(tmp_path / "r")


def test_a_relative_folder_is_absolute_afterwards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_files("r").url == str(tmp_path / "r")


def test_a_bucket_that_is_missing_is_not_made(s3_url):
    files = open_files("s3://misspelt/run")
    with pytest.raises(StorageError, match="misspelt"):
        files.write("a", b"")
    assert files.names("") == []


def test_a_store_out_of_reach_is_a_storage_error():
    options = {
        "key": "k",
        "secret": "s",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    files = open_files("s3://bucket/run", options)
    with pytest.raises(StorageError, match=r"'s3://bucket/run/a' cannot be read .*connect"):
        files.read("a")


def test_secrets_are_not_shown():
    assert "hidden" not in repr(open_files("memory://x", {"token": "hidden"}))


def test_files_being_written_are_not_named_and_swept_when_stale(local):
    files = open_files(local)
    files.write("a/b", b"")
    stale = Path(local, "a", f"b.{'0' * 32}.part")
    stale.write_bytes(b"half")
    Path(local, "a", "own.part").write_bytes(b"")
    assert files.names("a") == ["b", "own.part"]
    files.sweep()
    assert not stale.exists()
    assert files.names("a") == ["b", "own.part"]


def test_a_folder_may_be_a_link_itself(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files = open_files(tmp_path / "link")
    files.write("a/b", b"x")
    assert files.read("a/b") == b"x"
    assert (tmp_path / "real" / "a" / "b").read_bytes() == b"x"


def test_links_inside_that_lead_out_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    files = open_files(tmp_path / "results")
    files.write("inner/file", b"x")
    (tmp_path / "results" / "file").symlink_to(outside / "secret")
    (tmp_path / "results" / "sub").symlink_to(outside)
    (tmp_path / "results" / "ahead").symlink_to(outside / "not" / "yet")
    for path in ("file", "sub/secret"):
        for act in (files.read, files.opened, files.size, files.exists, files.local_path):
            with pytest.raises(
                StorageError, match="is a link that leads out of the results folder"
            ):
                act(path)
    with pytest.raises(StorageError, match="is a link that leads out"):
        files.names("sub")
    with pytest.raises(StorageError, match="is a link that leads out"):
        files.zarr_store("sub", read_only=True)
    for path in ("sub/new", "sub/deep/new", "ahead/new"):
        with pytest.raises(StorageError, match="is a link that leads out"):
            files.write(path, b"")
    with pytest.raises(StorageError, match="is a link that leads out"):
        files.remove_tree("sub/secret")
    assert os.listdir(outside) == ["secret"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_stays(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    files = open_files(tmp_path / "results")
    files.write("a", b"")
    (tmp_path / "results" / "link").symlink_to(tmp_path / "secret")
    files.write("link", b"ours")
    assert files.read("link") == b"ours"
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_links_are_removed_and_their_targets_stay(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"")
    files = open_files(tmp_path / "results")
    files.write("tree/file", b"")
    (tmp_path / "results" / "tree" / "link").symlink_to(outside)
    (tmp_path / "results" / "top").symlink_to(outside)
    files.remove_tree("tree")
    files.remove_tree("top")
    assert files.names("") == []
    assert os.listdir(outside) == ["kept"]


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    files = open_files(tmp_path / "file" / "results")
    with pytest.raises(
        StorageError, match=r"results/a' cannot be written .*; choose another name"
    ) as caught:
        files.write("a", b"")
    assert caught.value.errno == errno.ENOTDIR


FULL_DISK = """
import resource, sys
from daskresearch.errors import StorageError
from daskresearch.store.files.opening import open_files
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
files = open_files(sys.argv[1])
files.write("a", b"kept")
try:
    files.write("a", bytes(200_000))
except StorageError as error:
    print(error.errno, error)
"""


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_there_and_says_what_to_do(local):
    printed = python(FULL_DISK, local)
    assert printed.startswith(f"{errno.EFBIG} ")
    assert (
        f"no space left to write '{local}/a'; what was committed before is kept: free some space"
        in printed
    )
    assert os.listdir(local) == ["a"]
    assert open_files(local).read("a") == b"kept"


FORBIDDEN = """
import os, sys
from daskresearch.errors import StorageError
from daskresearch.store.files.opening import open_files
files = open_files(sys.argv[1])
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
acts = (
    lambda: files.write("a", b""),
    lambda: files.write("sub/a", b""),
    lambda: files.remove("b"),
)
for act in acts:
    try:
        act()
    except StorageError as error:
        print(error.errno, error)
"""


@pytest.mark.slow
def test_a_folder_without_permission_is_named_with_the_way_out():
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # not tmp_path, which is closed to all but its owner
        open_files(folder).write("b", b"")
        os.chmod(folder, 0o555)
        lines = python(FORBIDDEN, folder).splitlines()
        os.chmod(folder, 0o755)
    way = "cannot be written (Permission denied); choose another name or change its permissions"
    paths = [f"{folder}/{path}" for path in ("a", "sub/a", "b")]
    assert lines == [f"{errno.EACCES} [Errno {errno.EACCES}] {path!r} {way}" for path in paths]


WRITER = """
import itertools, sys
from daskresearch.store.files.opening import open_files
files = open_files(sys.argv[1])
contents = [bytes([letter]) * 3_000_000 for letter in b"ab"]
files.write("a", contents[0])
print("ready", flush=True)
for content in itertools.cycle(contents):
    files.write("a", content)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_time_leaves_the_old_file_or_the_new(local):
    files = open_files(local)
    for round_ in range(4):
        with running(WRITER, local) as writer:
            deadline = time.monotonic() + 0.02 + 0.013 * round_
            while time.monotonic() < deadline:
                content = files.read("a")
                assert content in (b"a" * 3_000_000, b"b" * 3_000_000)
            writer.kill()
            writer.wait()
        assert files.read("a") in (b"a" * 3_000_000, b"b" * 3_000_000)
        assert files.names("") == ["a"]
    files.sweep()
    assert os.listdir(local) == ["a"]


@given(st.text(), st.text())
def test_texts_have_the_same_name_only_if_they_are_the_same(a, b):
    assert (safe_name(a) == safe_name(b)) == (a == b)


@given(st.text(st.characters(), max_size=300))
def test_safe_names_are_names_of_files(text):
    name = safe_name(text)
    assert 0 < len(name) <= 100
    assert name.isascii()
    assert not set(name) & set("/\\*?[] \0:")
    assert not name.startswith(".")


def test_long_texts_of_one_beginning_have_different_names():
    assert safe_name("x" * 101) != safe_name("x" * 102)
    assert safe_name(safe_name("x" * 101)) != safe_name("x" * 101)
