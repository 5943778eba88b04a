"""Parts that are merged while a run goes on."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from daskresearch import EC, Option, Research, ResearchResults
from daskresearch.errors import StorageError
from daskresearch.store.files.local import LocalFiles
from daskresearch.store.folder.tidier import Tidier
from tests.support.running import note, noted, on_workers, wait_for

N_MANY = 250


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> int:
    """Have parts merged whenever there are more than a few."""
    most = 3
    monkeypatch.setattr("daskresearch.run.recording.Tidier", partial(Tidier, most=most))
    return most


def names_of_parts(folder: Path) -> list[str]:
    return [
        name for name in LocalFiles(str(folder)).names("experiments") if name.endswith(".parquet")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", [on_workers({"workers": 2}), {"scheduler": "threads", "workers": 2}]
)
def test_a_run_that_goes_on_has_few_files(tmp_path, most, place, monkeypatch):
    monkeypatch.setattr(
        "daskresearch.store.folder.writer._MOST_EXPERIMENTS", 1
    )  # each of this process is a part

    def work(x: int) -> int:
        time.sleep(0.1)
        return x

    folder = tmp_path / "results"
    research = Research(domain=Option("x", list(range(40)))).work(EC("x"), save_to="y")
    research = research.run(str(folder), bar=False, detach=True, **place)
    seen: Counter[str] = Counter()
    while not research.is_finished:
        names = names_of_parts(folder)
        seen["merged"] += any(name.startswith("all-") for name in names)
        seen["parts"] = max(seen["parts"], len(names))
        time.sleep(0.005)
    assert research.wait(60)
    assert research.results.df.y.tolist() == list(range(40))
    assert seen["merged"]
    assert seen["parts"] < 40


@pytest.mark.cluster
def test_what_a_batch_has_written_is_found_when_it_runs_again_though_others_are_merged(
    tmp_path, most
):
    calls, gate, folder = tmp_path / "calls", tmp_path / "gate", tmp_path / "results"

    def work(x: int) -> int:
        note(calls, x)
        if x == 1:
            note(tmp_path / "pids", os.getpid())
            wait_for(gate.exists)
        time.sleep(0.02)
        return x

    research = Research(domain=Option("x", list(range(N_MANY)))).work(EC("x"), save_to="y")
    research = research.run(str(folder), bar=False, workers=2, detach=True)

    def merged() -> set[str]:
        return {name for name in names_of_parts(folder) if name.startswith("all-")}

    wait_for(
        lambda: (
            (folder / "research.json").exists()
            and 0 in ResearchResults(str(folder)).configs_to_df().x.tolist()
        )
    )
    before = merged()
    wait_for(lambda: bool(merged()) and before.isdisjoint(merged()))
    (pid,) = noted(tmp_path / "pids")
    os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: Counter(noted(calls))["1"] == 2)
    gate.touch()
    assert research.wait(60)
    assert research.results.df.y.tolist() == list(range(N_MANY))
    assert Counter(noted(calls)) == Counter([*map(str, range(N_MANY)), "1"])


@pytest.mark.cluster
def test_what_cannot_be_merged_ends_the_run_and_loses_nothing(tmp_path, most):
    def refuse(*arguments: object, **options: object) -> None:
        raise StorageError("the disk is full")

    def work(x: int) -> int:
        time.sleep(0.04)
        return x

    folder = str(tmp_path / "results")
    research = Research(domain=Option("x", list(range(60)))).work(EC("x"), save_to="y")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daskresearch.store.folder.tidier.compact", refuse)
        with pytest.raises(StorageError, match="the disk is full"):
            research.run(folder, bar=False, workers=2)
    assert 3 < len(ResearchResults(folder).df) < 60
    assert research.run(folder, bar=False, resume=True).results.df.y.tolist() == list(range(60))
