"""A run with a changing domain that is killed twice ends as one that is not."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import Client, Worker

from daskresearch import EC, Domain, E, Option, R, Research, ResearchResults
from tests.support.crashing import started
from tests.support.running import (
    DEADLINE_S,
    IN_PROCESS,
    THREADS,
    TWO_WORKERS,
    note,
    noted,
    on_workers,
    wait_for,
)

SECOND, THIRD = 10_000, 20_000
WHEN: list[Any] = [600, "last"]
N_SEEN = [600, 1200, 1600, 1800, 2300]
"""How many have ended at each update: one of the first domain, two of each other."""


def work(x: int, name: str, folder: Path) -> int:
    """Note the experiment; within the second and third domain wait for a gate."""
    if x >= SECOND and x % 10_000 >= 150:
        wait_for((folder / str(x // 10_000 * 10_000)).exists)
    note(folder / "calls", name)
    if x % 400 == 399:
        raise ValueError(f"{x} is not to be")
    return x % 1000


def choose(results: ResearchResults, seen: Path) -> Domain | None:
    """Note what is seen; return a domain that follows from it, if it is time for another."""
    frame = results.df
    note(
        seen,
        f"{len(results):04}:{frame.y.sum():.0f}:{frame.id.nunique()}:{len(results.failures)}:{frame.x.max()}",
    )
    first = frame.y.sum() % 50
    later = {600: (SECOND, 1000), 1600: (THIRD, 700)}.get(len(results))
    return Option("x", [later[0] + int(first) + i for i in range(later[1])]) if later else None


@dataclass(frozen=True)
class Study:
    """A research in a folder, which notes what it does."""

    folder: Path

    @property
    def name(self) -> str:
        return str(self.folder / "research")

    def research(self) -> Research:
        research = Research(self.name, domain=Option("x", list(range(1000)))).save(EC("x"), "seen")
        research = research.work(EC("x"), E().id, self.folder, save_to="y")
        return research.update_domain(choose, when=WHEN, results=R(), seen=self.folder / "seen")

    def run(self, **options: Any) -> ResearchResults:
        return self.research().run(bar=False, seed=1, resume=True, **options).results

    def taken(self, what: str) -> list[str]:
        """Return which calls were noted, or what was seen, since this was last asked."""
        lines = noted(self.folder / what)
        (self.folder / what).unlink(missing_ok=True)
        return lines

    def open_gate(self, first: int) -> None:
        (self.folder / str(first)).touch()

    def n_ended(self) -> int:
        return (
            len(ResearchResults(self.name)) if (Path(self.name) / "research.json").exists() else 0
        )

    def finished(self) -> set[str]:
        """Return the experiments that the folder holds and that did not fail."""
        table = pq.read_table(Path(self.name) / "experiments", columns=["id", "status"]).to_pylist()
        return {one["id"] for one in table if one["status"] == "ok"}


def run_to_be_killed(folder: Path, options: dict[str, Any], address: str | None) -> None:
    if address is None:
        Study(folder).run(**options)
    else:
        with Client(address, set_as_default=False) as client:
            Study(folder).run(scheduler=client)


def n_active(dask_worker: Worker) -> int:
    return len(dask_worker.active_threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["serial", "threads", on_workers("two workers"), on_workers("client")]
)
def test_updates_go_on_after_kills_as_if_there_were_none_and_nothing_that_is_finished_runs_again(
    place, tmp_path, request
):
    client = request.getfixturevalue("client") if place == "client" else None
    options = {
        "serial": IN_PROCESS,
        "threads": THREADS,
        "two workers": TWO_WORKERS,
        "client": {"scheduler": client},
    }[place]
    whole, study = Study(tmp_path / "whole"), Study(tmp_path / "killed")
    for one in (whole, study):
        one.folder.mkdir()
    finished: set[str] = set()
    seen: list[list[str]] = []
    again: set[str] = set()
    for first, n_ended in [(SECOND, 650), (THIRD, 1650)]:
        there = ({}, client.scheduler.address) if client else (options, None)
        process = started(run_to_be_killed, study.folder, *there)
        wait_for(lambda n=n_ended: study.n_ended() > n)
        os.kill(process.pid, signal.SIGKILL)
        process.join(DEADLINE_S)
        assert process.exitcode == -signal.SIGKILL
        study.open_gate(first)
        whole.open_gate(first)
        if client:  # whose workers do not end with the run
            wait_for(lambda: not any(client.run(n_active).values()))
        again |= finished.intersection(study.taken("calls"))
        seen.append(study.taken("seen"))
        finished = study.finished()
    results = study.run(**options)
    again |= finished.intersection(study.taken("calls"))
    assert not again

    expected = whole.run()
    as_whole = whole.taken("seen")
    assert [int(one.partition(":")[0]) for one in as_whole] == N_SEEN
    assert [*seen, study.taken("seen")] == [as_whole[:1], as_whole[:3], as_whole]
    pd.testing.assert_frame_equal(results.df, expected.df)
    failed = results.failures.id.tolist()
    assert failed == expected.failures.id.tolist()

    study.run(**options)
    assert study.taken("calls") == sorted(failed)
    assert study.taken("seen") == as_whole
    pd.testing.assert_frame_equal(ResearchResults(study.name).df, results.df)
