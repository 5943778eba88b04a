"""A results folder is held by one run at a time, and by none that has died."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from daskresearch.errors import BusyError, StorageError
from daskresearch.store.files.lock import FolderLock
from daskresearch.store.files.opening import open_files
from tests.support.processes import running, wait_until

HOLDER = """
import sys
from daskresearch.store.files.opening import open_files
from daskresearch.store.files.lock import FolderLock
lock = FolderLock(open_files(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


def renewals():
    return [thread for thread in threading.enumerate() if thread.name == "daskresearch-lease"]


def test_two_runs_of_one_process_do_not_hold_a_folder(folder):
    first, second = FolderLock(open_files(folder)), FolderLock(open_files(folder))
    first.acquire()
    text = (
        rf"another run is writing to '.*' \(process {os.getpid()} on host .*\); "
        "wait for it, end it, or give"
    )
    for lock in (first, second):
        with pytest.raises(BusyError, match=text):
            lock.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_lock_is_released_also_by_an_error(folder):
    files = open_files(folder)
    with pytest.raises(ValueError, match="mine"), FolderLock(files):
        raise ValueError("mine")
    with FolderLock(files):
        pass
    assert files.names("") in ([], [".lock"])


def test_releasing_what_is_not_held_does_nothing(folder):
    files = open_files(folder)
    lock = FolderLock(files)
    lock.release()
    with FolderLock(files):
        lock.release()
        with pytest.raises(BusyError, match="another run is writing"):
            lock.acquire()


def test_of_many_threads_one_holds_a_local_folder(local):
    held, refused = [], []
    barrier = threading.Barrier(8)

    def take():
        lock = FolderLock(open_files(local))
        barrier.wait()
        try:
            lock.acquire()
            held.append(lock)
        except BusyError:
            refused.append(lock)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 7)
    held[0].release()


@pytest.mark.slow
def test_the_folder_of_another_process_is_free_when_it_releases(local):
    lock = FolderLock(open_files(local))
    with running(HOLDER, local) as holder:
        with pytest.raises(BusyError, match=rf"\(process {holder.pid} on host"):
            lock.acquire()
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "released\n"
        lock.acquire()
    lock.release()


@pytest.mark.slow
def test_the_local_folder_of_a_killed_process_is_free_at_once(local):
    lock = FolderLock(open_files(local))
    with running(HOLDER, local) as holder:
        with pytest.raises(BusyError, match="another run is writing"):
            lock.acquire()
        holder.kill()
        holder.wait()
        lock.acquire()
    lock.release()


@pytest.mark.slow
def test_the_remote_folder_of_a_killed_process_is_free_when_its_lease_expires(s3_url):
    files = open_files(f"{s3_url}/killed")
    with running(HOLDER, files.url) as holder:
        with pytest.raises(BusyError, match=rf"\(process {holder.pid} on host"):
            FolderLock(files).acquire()
        holder.kill()
        holder.wait()
    with pytest.raises(BusyError, match=rf"\(process {holder.pid} on host"):
        FolderLock(files).acquire()
    with FolderLock(files, clock=lambda: time.time() + 60):
        pass


def test_a_remote_lease_is_renewed_until_it_is_released(remote):
    files = open_files(remote)
    lock = FolderLock(files, renew_s=0.01)
    before = renewals()
    lock.acquire()
    first = json.loads(files.read("lock.json"))["renewed_at"]
    wait_until(lambda: json.loads(files.read("lock.json"))["renewed_at"] > first)
    assert len(renewals()) == len(before) + 1
    lock.release()
    assert renewals() == before
    assert not files.exists("lock.json")


def test_a_lease_not_renewed_for_long_is_taken_and_its_holder_knows():
    files = open_files("memory://slept")
    sleeper = FolderLock(files, renew_s=0.05, clock=lambda: 0.0)
    sleeper.acquire()
    sleeper.check()
    with FolderLock(files):

        def is_lost():
            try:
                sleeper.check()
            except BusyError:
                return True
            return False

        wait_until(is_lost)
        sleeper.release()
        assert files.exists("lock.json")  # it is the other's


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{}", b'{"token": 1, "host": "h", "pid": "x", "renewed_at": 0}'],
)
def test_a_lease_that_nobody_wrote_holds_nothing(content):
    files = open_files("memory://garbled")
    files.write("lock.json", content)
    with FolderLock(files):
        pass


def test_the_files_behind_hostile_links_stay(local, tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    Path(local).mkdir()
    Path(local, "lock.json").symlink_to(tmp_path / "precious")
    with FolderLock(open_files(local)):
        pass
    Path(local, ".lock").unlink()
    Path(local, ".lock").symlink_to(Path(local, "other"))
    with pytest.raises(StorageError, match="is a link"):
        FolderLock(open_files(local)).acquire()
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not Path(local, "other").exists()


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        FolderLock(open_files(tmp_path / "file" / "results")).acquire()
