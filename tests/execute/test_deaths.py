"""A unit that ends its process costs its own experiment alone, wherever it runs."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from distributed import Client

from daskresearch import EC, O, Option, Research, local_cluster
from tests.support.running import note, noted

pytestmark = pytest.mark.cluster

GUILTY = 7
N = 12


def segfault() -> None:
    ctypes.string_at(0)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hoard() -> None:
    kept = []
    for _ in range(1000):  # of 40 MB
        kept.append(np.ones(5_000_000))
        time.sleep(0.02)


WAYS = {"exit": lambda: os._exit(3), "segfault": segfault, "abort": os.abort, "kill": kill}


@pytest.fixture(scope="module")
def limited_client() -> Iterator[Client]:
    """Give a Client of two processes, which a nanny ends when they take too much memory."""
    with (
        local_cluster(2, memory_limit="500 MB") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(params=["two workers", "client"])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "client":
        return {"scheduler": request.getfixturevalue("limited_client")}
    return {"workers": 2}


def study(die: Callable[[], object]) -> Research:
    """Return a plan with a root of two calls, of which one experiment dies in its second unit."""

    def load(kind: str) -> int:
        return len(kind)

    def work(loaded: int, x: int) -> int:
        if loaded * x == GUILTY:
            die()
        return loaded * x

    domain = Option("kind", ["a", "bb"]) * Option("x", list(range(N)))
    return Research(domain=domain).load(EC("kind"), root=True).work(O("load"), EC("x"), save_to="y")


def check(research: Research, options: dict[str, Any]) -> None:
    results = research.run(bar=False, **options).results
    expected = [one * x for one in (1, 2) for x in range(N) if one * x != GUILTY]
    assert results.df.dropna().y.tolist() == expected
    failures = results.failures
    assert (failures.kind.tolist(), failures.unit.tolist()) == (["worker"], ["worker"])
    assert failures.worker.str.startswith("tcp://").all()
    (guilty,) = failures.id
    config = results.configs_to_df().set_index("id").loc[guilty]
    assert (config.kind, config.x) == ("a", GUILTY)


@pytest.mark.parametrize(
    "way",
    ["segfault", *[pytest.param(one, marks=pytest.mark.slow) for one in ("exit", "abort", "kill")]],
)
def test_a_unit_that_ends_its_process_costs_its_own_experiment_alone(place, way):
    check(study(WAYS[way]), {"dump_results": False, **place})


@pytest.mark.slow
def test_a_unit_that_ends_its_process_spoils_no_folder(place, tmp_path):
    check(study(segfault), {"name": str(tmp_path / "results"), **place})


@pytest.mark.slow
def test_a_unit_that_takes_all_memory_costs_its_own_experiment_alone(limited_client, tmp_path):
    check(study(hoard), {"scheduler": limited_client, "name": str(tmp_path / "results")})


def test_an_interrupt_that_a_unit_raises_itself_costs_no_worker(place, tmp_path):
    def interrupt(x: int) -> int:
        note(tmp_path / "pids", os.getpid())
        if x == 2:
            raise KeyboardInterrupt("of the unit")
        return x

    research = Research(domain=Option("x", [0, 1, 2, 3])).interrupt(EC("x"), save_to="y")
    results = research.run(bar=False, dump_results=False, **place).results
    assert results.df.dropna().y.tolist() == [0, 1, 3]
    assert results.failures[["unit", "kind"]].values.tolist() == [["interrupt", "exception"]]
    assert len(noted(tmp_path / "pids")) == 4
