"""Whatever ends a run, its folder holds whole experiments, and the same call goes on with it."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import Worker

import daskresearch.store.folder.writer
from daskresearch import EC, Option, Research, ResearchResults
from daskresearch.errors import BusyError, StorageError
from daskresearch.store.files.local import LocalFiles
from tests.support.crashing import (
    N_ITERS,
    SEED,
    Study,
    are_gone,
    asides,
    contents,
    end_group,
    expected_of,
    fill_disk,
    held_research,
    hold_on,
    research_of,
    started,
    workers_of,
)
from tests.support.running import note, noted, on_workers, wait_for

RANDOM_SEED = 7
N_MANY = 40
PAUSE_S = 0.05


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    """Give the rows of an uninterrupted run."""
    return expected_of()


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    """Give the rows of an uninterrupted run of more experiments."""
    return expected_of(N_MANY)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let experiments be written three at a time."""
    monkeypatch.setattr(daskresearch.store.folder.writer, "_MOST_EXPERIMENTS", 3)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of a few kilobytes, if this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or not mounted(
        "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)
    ):
        pytest.skip("this process may not mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def mounted(*arguments: str) -> bool:
    """Mount, and return whether it could be done."""
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def run(study: Study, *, resume: bool = True) -> None:
    """Run in this process."""
    study.place.mkdir(exist_ok=True)
    study.research().run(str(study.folder), bar=False, seed=SEED, n_iters=N_ITERS, resume=resume)


def n_written(study: Study) -> int:
    """Return how many experiments the folder holds."""
    parts = (study.folder / "experiments").glob("[!.]*.parquet")
    return sum(pq.read_metadata(part).num_rows for part in parts)


def test_a_second_run_of_this_process_into_a_folder_is_refused_while_the_first_goes_on(tmp_path):
    gate = tmp_path / "gate"

    def hold(x: int) -> int:
        note(tmp_path / "calls", x)
        wait_for(gate.exists)
        return x

    research = Research(domain=Option("x", [1, 2])).hold(EC("x"), save_to="y")
    name = str(tmp_path / "results")
    first = research.run(name, bar=False, detach=True)
    wait_for(lambda: noted(tmp_path / "calls") == ["1"])
    with pytest.raises(
        BusyError, match=rf"another run is writing to '.*' \(process {os.getpid()} on host"
    ):
        research.run(name, bar=False, resume=True)
    gate.touch()
    assert first.wait(60)
    assert first.results.df.y.tolist() == [1, 2]
    assert research.run(name, bar=False, resume=True).results.df.y.tolist() == [1, 2]
    assert noted(tmp_path / "calls") == ["1", "2"]


def test_a_folder_in_which_a_killed_run_had_just_begun_is_taken_by_the_next(tmp_path, expected):
    study = Study(tmp_path, expected)
    study.folder.mkdir()
    for name in (
        ".lock",
        "lock.json",
        f"lock.json.{'0' * 32}.part",
        f"research.json.{'1' * 32}.part",
    ):
        (study.folder / name).write_bytes(b"{")
    run(study, resume=False)
    study.look()
    study.check_complete()


def test_what_a_killed_run_left_is_removed_when_the_next_goes_on(tmp_path, expected, small_parts):
    study = Study(tmp_path, expected)
    run(study)
    study.look()
    (part,) = (study.folder / "results").iterdir()
    shutil.copy(part, study.folder / "results" / "stray.parquet")
    shutil.copy(part, study.folder / "experiments" / f"stray.parquet.{'0' * 32}.part")
    (group, *_) = [one for one in (study.folder / "arrays.zarr").iterdir() if one.is_dir()]
    shutil.copytree(group, study.folder / "arrays.zarr" / "stray")
    (study.folder / "arrays.zarr" / "stray" / "big" / f"zarr.json.{'0' * 32}.partial").touch()
    study.look()
    run(study)
    study.look()
    study.check_complete()
    assert set(study.n_begun().values()) == {1}


def test_a_part_whose_rows_are_gone_is_run_again(tmp_path, expected, small_parts):
    study = Study(tmp_path, expected)
    run(study)
    (part,) = (study.folder / "results").iterdir()
    part.unlink()
    assert ResearchResults(str(study.folder)).df.empty
    run(study)
    study.look()
    study.check_complete()
    assert set(study.n_begun().values()) == {2}


def test_a_research_that_was_killed_while_it_wrote_can_be_removed(tmp_path, expected):
    study = Study(tmp_path, expected)
    run(study)
    for folder in (".", "results", "arrays.zarr"):
        (study.folder / folder / f"file.{'0' * 32}.part").touch()
    Research.remove(str(study.folder), ask=False)
    assert not study.folder.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.usefixtures("small_parts")
def test_a_full_disk_is_told_and_costs_what_was_not_written(
    tmp_path, expected, monkeypatch, number
):
    study = Study(tmp_path, expected)
    replace = os.replace

    def refuse(source: str | Path, target: str | Path) -> None:
        if "/experiments/" in str(target) and n_written(study):
            raise OSError(number, os.strerror(number))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(
            StorageError, match=r"no space left to write '.*experiments.*run again with resume=True"
        ):
            run(study)
    assert asides(study.folder) == []
    study.look()
    assert study.finished == {0, 1, 2}
    run(study)
    study.look()
    study.check_complete()


@pytest.mark.usefixtures("small_parts")
def test_a_small_file_system_that_fills_up_keeps_what_was_committed(small_disk, expected):
    study = Study(small_disk, expected)
    with pytest.raises(StorageError, match=r"no space left to write '.*resume=True"):
        run(study)
    study.look()
    assert 0 < len(study.finished) < len(expected)
    with pytest.raises(StorageError, match=r"no space left to write '.*resume=True"):
        run(study)
    study.look()
    assert mounted("-o", "remount,size=4m", str(small_disk))
    run(study)
    study.look()
    study.check_complete()


@pytest.mark.usefixtures("small_parts")
def test_a_read_only_folder_is_told_is_read_and_is_left_as_it_was(small_disk, expected, tmp_path):
    assert mounted("-o", "remount,size=4m", str(small_disk))
    calls = str(tmp_path / "calls")
    study = Study(small_disk, expected)
    research_of(calls).run(str(study.folder), bar=False, seed=SEED, n_iters=N_ITERS)
    study.look()
    before = contents(small_disk)
    assert mounted("-o", "remount,ro", str(small_disk))
    for name, resume in ((study.folder, True), (small_disk / "other", False)):
        with pytest.raises(
            StorageError, match=r"cannot be written \(Read-only file system\); choose another name"
        ):
            research_of(calls).run(str(name), bar=False, seed=SEED, n_iters=N_ITERS, resume=resume)
    study.look()
    assert contents(small_disk) == before
    assert mounted("-o", "remount,rw", str(small_disk))
    research_of(calls).run(str(study.folder), bar=False, seed=SEED, n_iters=N_ITERS, resume=True)
    study.look()
    study.check_complete()
    assert len(noted(calls)) == len(expected) // N_ITERS


@pytest.mark.slow
def test_a_limit_of_the_size_of_files_is_a_full_disk(tmp_path, expected):
    study = Study(tmp_path, expected)
    text = study.run(before="open .*/results/results/", at=4, act=fill_disk)
    assert text.startswith("StorageError: [Errno 27] no space left to write '")
    assert text.endswith("free some space and run again with resume=True")
    assert study.finished == {0, 1, 2, 3, 4, 5}
    study.complete()
    study.check_complete()


@pytest.mark.slow
def test_a_folder_is_refused_to_another_process_until_its_owner_is_killed(tmp_path, many):
    study = Study(tmp_path, many, {"n": N_MANY, "pause_s": PAUSE_S})
    owner = study.start()
    wait_for(lambda: n_written(study) > 0)
    with pytest.raises(
        BusyError, match=rf"another run is writing to '.*' \(process {owner.pid} on host .*\); wait"
    ):
        run(study)
    owner.kill()
    assert study.ended(owner) == "killed"
    assert len(study.finished) >= 3
    study.complete()
    study.check_complete()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, on_workers(2)])
def test_an_interrupt_leaves_finished_experiments_readable_and_goes_on(tmp_path, many, workers):
    study = Study(tmp_path, many, {"n": N_MANY, "pause_s": PAUSE_S})
    process = study.start(workers=workers, part_size=10_000)
    wait_for(lambda: len(noted(study.calls)) >= 12)
    # a terminal sends it to every process of the group
    os.killpg(process.pid, signal.SIGINT)
    assert study.ended(process).startswith("KeyboardInterrupt")
    # what was running, and in a worker what its batch had not given back yet
    assert len(study.finished) >= len(study.n_begun()) - (1 if workers == 1 else 12)
    study.complete()
    study.check_complete()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("kills_all", [False, True])
def test_a_killed_client_of_two_workers_loses_nothing_that_they_had_written(
    tmp_path, many, kills_all
):
    moments = random.Random(RANDOM_SEED)
    for n in range(2):
        study = Study(tmp_path / str(n), many, {"n": N_MANY, "pause_s": PAUSE_S})
        for _ in range(2):
            n_before = n_written(study)
            process = study.start(workers=2)
            workers = workers_of(process)
            n_wanted = n_before + moments.randint(1, 8)
            wait_for(lambda study=study, n_wanted=n_wanted: n_written(study) >= n_wanted)
            written = n_written(study)
            if kills_all:
                end_group(process)
            else:
                process.kill()
            process.join()
            wait_for(lambda workers=workers: are_gone(workers))
            assert study.ended(process) == "killed"
            assert len(study.finished) >= written
        study.complete()
        study.check_complete()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_run_comes_to_its_end_though_workers_are_killed(tmp_path, many):
    study = Study(
        tmp_path, many, {"n": N_MANY, "pause_s": 5 * PAUSE_S}
    )  # it must outlast three kills
    process = study.start(workers=2)
    n_wanted = 1
    for _ in range(3):
        worker = workers_of(process)[0]
        wait_for(lambda n_wanted=n_wanted: n_written(study) >= n_wanted)
        study.look()
        worker.kill()
        wait_for(lambda worker=worker: are_gone([worker]))
        n_wanted = len(study.finished) + 4
    assert study.ended(process) == "done"
    study.check_complete()


@pytest.mark.cluster
@pytest.mark.slow
def test_what_a_worker_wrote_of_a_batch_is_not_run_again_when_it_is_killed_in_the_midst(tmp_path):
    calls, gate, name = tmp_path / "calls", tmp_path / "gate", str(tmp_path / "results")

    def work(x: int) -> int:
        note(calls, x)
        note(tmp_path / f"pid of {x}", os.getpid())
        if x % 2:
            wait_for(gate.exists)
        return x

    research = Research(domain=Option("x", list(range(8)))).work(EC("x"), save_to="y")
    research = research.run(name, bar=False, workers=2, detach=True)
    # the first of both batches are written while the second ones wait
    wait_for(lambda: len(ResearchResults(name)) == 2 and len(noted(calls)) == 4)
    first, second = noted(calls)[:2]
    os.kill(int(noted(tmp_path / f"pid of {second}")[0]), signal.SIGKILL)
    wait_for(lambda: Counter(noted(calls))[second] == 2)
    gate.touch()
    assert research.wait(60)
    assert research.results.df.y.tolist() == [*range(8)]
    assert Counter(noted(calls)) == Counter([*map(str, range(8)), second])
    assert first != second
    assert sorted(pq.read_table(Path(name) / "experiments")["x"].to_pylist()) == [*range(8)]
    assert LocalFiles(name).names("experiments") == LocalFiles(name).names("results")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_ends_on_a_cluster_after_its_run_is_not_added_to_the_folder_of_the_next(
    tmp_path, client, number
):
    calls, gate, name = str(tmp_path / "calls"), str(tmp_path / "gate"), str(tmp_path / "results")
    process = started(hold_on, client.scheduler.address, name, calls, gate)
    wait_for(lambda: "0" in noted(calls))
    os.kill(process.pid, number)
    process.join()
    results = held_research(calls, gate).run(name, bar=False, resume=True).results
    assert results.df.y.tolist() == [0, -1, -2, -3]
    before = contents(Path(name))
    Path(gate).touch()
    wait_for(lambda: not any(client.run(n_active).values()))
    assert contents(Path(name)) == before


def n_active(dask_worker: Worker) -> int:
    return len(dask_worker.active_threads)
