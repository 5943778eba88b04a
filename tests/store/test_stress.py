"""Hundreds of runs are killed at any moment, and nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import pandas as pd
import pytest

from tests.support.crashing import Study, expected_of, fill_disk

pytestmark = pytest.mark.slow

N_FEW = 6
RANDOM_SEED = int(os.environ.get("STRESS_SEED", "20240607"))


@final
@dataclass
class Tally:
    """What came of all that was killed."""

    n_kills: int = 0
    n_experiments: int = 0
    n_lost: int = 0
    n_doubled: int = 0

    def add(self, study: Study) -> None:
        """Count a study that has come to its end."""
        self.n_kills += study.n_kills
        self.n_experiments += len(study.n_begun())
        self.n_lost += len(study.lost)
        self.n_doubled += len(study.doubled)
        study.check_complete()


@pytest.fixture
def tally(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Tally]:
    """Give what counts, and is told, and must be nothing of what was lost or doubled."""
    tally = Tally()
    yield tally
    with capsys.disabled():
        print(f"\n{request.node.name} (seed {RANDOM_SEED}): {tally}")  # noqa: T201
    assert (tally.n_lost, tally.n_doubled) == (0, 0)


@pytest.fixture(scope="module")
def few() -> pd.DataFrame:
    """Give the rows of an uninterrupted run of few experiments."""
    return expected_of(N_FEW)


@pytest.fixture
def rng() -> random.Random:
    """Give a source of random moments."""
    return random.Random(RANDOM_SEED)


def test_a_kill_between_any_two_writes_of_a_run_loses_nothing(tmp_path, few, tally):
    for at in range(1, 1000):
        study = Study(tmp_path / str(at), few, {"n": N_FEW})
        if study.run(at=at) == "done":
            break
        study.complete()
        tally.add(study)
        shutil.rmtree(study.place)
    study.check_complete()
    assert at > 80


def test_a_kill_between_any_two_writes_of_a_run_that_goes_on_loses_nothing(tmp_path, few, tally):
    """The folder holds experiments twice, failed ones, and all that is never finished."""
    mended = tmp_path / "mended"
    first = Study(tmp_path / "first", few, {"n": N_FEW, "mended": str(mended)})
    # the merged part is there, and so are the parts that it was made of
    assert first.run(before="os.remove .*experiments/", at=2, part_size=1) == "killed"
    (part, *_) = (first.folder / "results").glob("all-*")
    shutil.copy(part, first.folder / "results" / "stray.parquet")
    shutil.copy(part, first.folder / "results" / f"stray.parquet.{'0' * 32}.part")
    (group, *_) = [one for one in (first.folder / "arrays.zarr").iterdir() if one.is_dir()]
    shutil.copytree(group, first.folder / "arrays.zarr" / "stray")
    mended.touch()
    shutil.copytree(first.place, tmp_path / "left")
    for at in range(1, 1000):
        shutil.rmtree(first.place)
        shutil.copytree(tmp_path / "left", first.place)
        study = replace(first, n_kills=0, lost=set(), doubled=set())
        end = study.run(at=at, part_size=1)
        study.complete()
        study.complete()  # what the first one has replaced is removed by the next
        tally.add(study)
        if end == "done":
            break
    assert at > 60


def test_a_folder_whose_runs_are_all_killed_soon_gets_done_at_last(tmp_path, tally, rng):
    expected = expected_of(30)
    study = Study(tmp_path, expected, {"n": 30})
    while study.run(at=rng.randint(20, 70), part_size=1) == "killed":
        pass
    tally.add(study)
    assert study.n_kills >= 24


def test_kills_at_random_moments_lose_nothing(tmp_path, tally, rng):
    expected = expected_of()
    for n in range(30):
        study = Study(tmp_path / str(n), expected)
        for _ in range(6):
            moment = (
                {"after_s": rng.uniform(0, 0.25)}
                if rng.random() < 0.7
                else {"at": rng.randint(1, 160)}
            )
            if study.run(part_size=rng.randint(1, 4), **moment) == "done":
                break
        study.complete()
        tally.add(study)
        shutil.rmtree(study.place)
    assert tally.n_kills > 60


def test_a_disk_that_is_full_before_any_write_loses_nothing(tmp_path, few, tally):
    for at in range(1, 1000, 4):
        study = Study(tmp_path / str(at), few, {"n": N_FEW})
        text = study.run(at=at, act=fill_disk)
        if text == "done":
            break
        assert text.startswith("StorageError: [Errno 27] no space left to write '")
        assert "free some space and run again with resume=True" in text
        study.complete()
        tally.add(study)
        shutil.rmtree(study.place)
    assert at > 60
