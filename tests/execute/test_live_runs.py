"""Detached runs on clusters: what they show, and what they leave when ended early."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daskresearch import EC, E, NumpySampler, Option, Research, ResearchResults
from tests.support.running import DEADLINE_S, note, noted, wait_for

pytestmark = pytest.mark.cluster

N_ITERS = 3
IN_MEMORY: dict[str, Any] = {"scheduler": "sync", "bar": False, "dump_results": False, "seed": 1}


@pytest.fixture(params=["two workers", "client"])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Give the options that run on a cluster of two processes."""
    where = (
        {"workers": 2}
        if request.param == "two workers"
        else {"scheduler": request.getfixturevalue("client")}
    )
    return {**where, "bar": False, "detach": True, "seed": 1}


@pytest.fixture(params=[True, False], ids=["folder", "memory"])
def keeps(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Give the options that keep results somewhere."""
    return {"dump_results": request.param, "name": str(tmp_path / "research")}


def count(x: int, path: Path) -> Iterator[int]:
    """Yield numbers, and note the experiment at the last; each seventh one fails."""
    for i in range(N_ITERS):
        time.sleep(0.001)  # or there are too many to look at
        if i == 1 and x % 7 == 3:
            raise ValueError(f"{x} is not to be")
        if i == N_ITERS - 1:
            note(path, x)
        yield x + i


def numbers(path: Path) -> Research:
    """Return more experiments than anybody waits for, each of some iterations."""
    research = Research(domain=Option("x", range(10**6))).add_generator(
        count, args=[EC("x"), path], save_to="y"
    )
    return research.save(E().iteration, "i")


def check_complete(frame: pd.DataFrame, failed: set[str]) -> None:
    """Check that experiments have all of their rows, or those of before they failed."""
    for one, rows in frame.groupby("id"):
        n_rows = 1 if rows.x.iloc[0] % 7 == 3 else N_ITERS
        assert rows.y.dropna().tolist() == [rows.x.iloc[0] + i for i in range(n_rows)], one
        assert (one in failed) == (n_rows == 1)


def test_a_run_grows_by_whole_experiments_until_it_is_terminated_and_keeps_what_has_ended(
    place, keeps, tmp_path
):
    path = tmp_path / "ended"
    research = numbers(path).run(n_iters=N_ITERS, **keeps, **place)
    n_seen: list[int] = []
    ids: set[str] = set()
    while len(n_seen) < 3:
        n_finished, n_failed = research.monitor.n_finished, research.monitor.n_failed
        frame, exceptions = research.results.df, research.monitor.exceptions
        assert frame.id.nunique() >= n_finished
        assert len(exceptions) >= n_failed
        assert ids <= set(frame.id)
        failed = set(research.results.failures.id)  # of as many experiments, or more
        check_complete(frame[frame.id.isin(ids)], failed & ids)
        check_complete(frame[frame.x % 7 != 3], set())
        ids = set(frame.id)
        n_seen += [len(ids)] if len(ids) > max(n_seen, default=0) else []
        assert not research.is_finished
        assert research.wait(0.01) is False
    research.terminate()
    assert research.wait(DEADLINE_S) is True
    assert research.is_finished
    results = research.results
    check_complete(results.df, set(results.failures.id))
    assert ids <= set(results.df.id)
    assert len(results) == research.monitor.n_finished == results.df.id.nunique()
    assert len(results.failures) == research.monitor.n_failed > 0
    assert sorted(map(str, results.df[results.df.i == N_ITERS - 1].x)) == noted(path)
    if keeps["dump_results"]:
        pd.testing.assert_frame_equal(ResearchResults(keeps["name"]).df, results.df)


def test_nothing_that_waits_on_workers_begins_once_a_run_is_terminated(
    place, tmp_path, monkeypatch
):
    def hold(x: float) -> float:
        note(tmp_path / "begun", x)
        wait_for((tmp_path / "gate").exists)
        return x

    monkeypatch.setattr("daskresearch.execute.batches.LOOK_EACH_S", 0.02)
    research = Research(domain=Option("x", NumpySampler("u")), n_configs=10**6).hold(
        EC("x"), save_to="y"
    )
    research.run(**place, dump_results=False)
    wait_for(lambda: len(noted(tmp_path / "begun")) == 2)
    research.terminate()
    assert research.wait(1) is False  # those that have begun are not ended
    (tmp_path / "gate").touch()
    assert research.wait(DEADLINE_S)
    assert noted(tmp_path / "begun") == sorted(map(str, research.results.df.y))
    assert len(research.results) == 2


def test_an_experiment_is_cancelled_where_it_runs_and_where_it_waits(place, keeps, tmp_path):
    def hold(x: int) -> int:
        note(tmp_path / "begun", x)
        if x == 0:
            wait_for((tmp_path / "gate").exists)
        note(tmp_path / "ended", x)
        return x

    research = Research(domain=Option("x", list(range(40)))).hold(EC("x"), save_to="y")
    ids = (
        Research(domain=research.domain).save(EC("x"), "y").run(**IN_MEMORY).results.df.id.tolist()
    )
    research.run(**keeps, **place)
    wait_for(lambda: "0" in noted(tmp_path / "begun"))
    research.cancel(ids[39])
    research.cancel(ids[0])
    wait_for(lambda: research.monitor.n_failed == 2)
    (tmp_path / "gate").touch()
    assert research.wait(DEADLINE_S)
    assert sorted(map(int, noted(tmp_path / "ended"))) == list(range(1, 39))
    assert "39" not in noted(tmp_path / "begun")
    kept = [ResearchResults(keeps["name"])] if keeps["dump_results"] else []
    for results in (research.results, *kept):
        assert results.df.y.tolist() == list(range(1, 39))
        assert results.failures.id.tolist() == [ids[0], ids[39]]
        assert results.failures.kind.tolist() == ["cancelled", "cancelled"]
    assert research.monitor.exceptions.id.tolist() == [ids[0], ids[39]]
