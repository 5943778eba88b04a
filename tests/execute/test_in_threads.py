"""A cluster whose workers are threads of this process gives the rows of a plain run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

from daskresearch import EC, E, O, Observer, Option, Research, ResearchResults


@pytest.fixture(scope="module")
def threads() -> Iterator[Client]:
    """Give a Client of a cluster that starts no process."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def load(n: int) -> np.ndarray:
    return np.arange(n)


def scale(array: np.ndarray, by: int) -> int:
    if by == 3:
        raise ValueError("three")
    return int(array.sum()) * by


def walk(random: np.random.Generator) -> Iterator[float]:
    while True:
        yield float(random.normal())


def sharing(name: str | Path = "research") -> Research:
    research = Research(name, Option("n", [2, 3]) * Option("by", range(5)))
    return research.add_callable(load, n=EC("n"), root=True).add_callable(
        scale, array=O("load"), by=EC("by"), save_to="y"
    )


def walking() -> Research:
    research = Research(domain=Option("x", range(4)))
    return research.add_generator(
        walk, random=E().random, root=True, save_to="shared"
    ).add_callable("y", lambda x, s: x + s, args=[EC("x"), O("walk")], save_to="y")


def tables(research: Research, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows and the failures of a run."""
    results = research.run(bar=False, seed=1, **options).results
    return results.df, results.failures[["id", "unit", "kind"]]


def test_roots_and_failures_are_those_of_a_plain_run(threads):
    here = tables(sharing(), scheduler="sync", dump_results=False)
    there = tables(sharing(), scheduler=threads, dump_results=False)
    for left, right in zip(here, there, strict=True):
        pd.testing.assert_frame_equal(left, right)


def test_groups_in_lock_step_are_those_of_a_plain_run(threads):
    options = {"n_iters": 3, "branches": 2, "dump_results": False}
    here = tables(walking(), scheduler="sync", **options)
    there = tables(walking(), scheduler=threads, **options)
    pd.testing.assert_frame_equal(here[0], there[0])


def test_a_folder_that_workers_write_is_that_of_a_plain_run(threads, tmp_path):
    here = tables(sharing(tmp_path / "here"), scheduler="sync")
    there = tables(sharing(tmp_path / "there"), scheduler=threads)
    for left, right in zip(here, there, strict=True):
        pd.testing.assert_frame_equal(left, right)
    assert len(ResearchResults(str(tmp_path / "there"))) == 10


class Counts(Observer):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.n_failed = self.n_iters = 0

    def experiments_ended(self, ids: Any, n_failed: int) -> None:
        self.ids += ids
        self.n_failed += n_failed

    def iterations_done(self, n_iters: int) -> None:
        self.n_iters = n_iters


@pytest.mark.parametrize("dump_results", [True, False], ids=["folder", "memory"])
def test_observers_are_told_of_all_experiments(threads, tmp_path, dump_results):
    counts = Counts()
    research = sharing(tmp_path / "study")
    research.run(scheduler=threads, bar=False, dump_results=dump_results, observers=[counts])
    ids = set(research.results.configs_to_df()["id"])
    assert set(counts.ids) == ids
    assert (len(counts.ids), counts.n_failed) == (10, 2)


def test_what_failed_is_tried_again(threads):
    research = sharing().run(
        scheduler=threads, bar=False, dump_results=False, retries={"exception": 1}
    )
    assert list(research.results.failures["kind"]) == ["exception", "exception"]
