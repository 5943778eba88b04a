"""An endless run holds no more than what is on its way, here and on the cluster."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Scheduler

from daskresearch import EC, E, NumpySampler, O, Option, Research
from daskresearch.execute.private_cluster import private_client
from tests.support.running import DEADLINE_S, local_cluster, note, noted, wait_for

pytestmark = pytest.mark.cluster

SLOTS = 2
MOST_OUT = 2 * SLOTS + 1


@pytest.fixture(scope="module")
def users_client() -> Iterator[Client]:
    """Give the Client of a cluster that keeps few messages, as these hold batches."""
    with (
        dask.config.set({"distributed.admin.low-level-log-length": 10}),
        local_cluster() as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(params=["two workers", "client"])
def where(request: pytest.FixtureRequest) -> tuple[Client, dict[str, Any]]:
    """Give the Client of a scheduler in this process, and the options that run there."""
    if request.param == "two workers":
        return private_client(SLOTS), {"workers": SLOTS, "bar": False}
    client = request.getfixturevalue("users_client")
    return client, {"scheduler": client, "bar": False}


def n_tasks(client: Client) -> int:
    def count(dask_scheduler: Scheduler) -> int:
        return len(dask_scheduler.tasks)

    return int(client.run_on_scheduler(count))


def endless(**options: Any) -> Research:
    """Return a research without end, whose domain might change now and then.

    Its values are continuous. Discrete ones are remembered, so that equal ones get other ids.
    """
    research = Research(domain=Option("x", NumpySampler("uniform")), **options)
    return research.update_domain(lambda: None, when=1500)


def most_while(running: Callable[[], bool], client: Client) -> int:
    """Return the most tasks that the scheduler was seen to have while a condition holds."""
    most = 0
    while running():
        most = max(most, n_tasks(client))
        time.sleep(0.002)
    return most


@pytest.mark.parametrize("dump_results", [True, False], ids=["folder", "memory"])
def test_an_endless_run_has_few_tasks_at_any_moment_and_none_after_it(
    where, dump_results, tmp_path
):
    client, options = where
    research = endless(name=str(tmp_path / "research")).save(EC("x"), "y")
    research.run(detach=True, dump_results=dump_results, **options)
    most = most_while(lambda: research.monitor.n_finished < 5000, client)
    assert not research.is_finished
    research.terminate()
    assert research.wait(DEADLINE_S)
    # those whose receipt is here are let go of a moment later
    assert 0 < most <= 2 * MOST_OUT
    wait_for(lambda: n_tasks(client) == 0)
    assert not client.futures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most_kept", "branches", "n_loads"), [("_KEPT_GROUPS", 20, 150), ("_KEPT_CALLS", None, 400)]
)
def test_roots_are_let_go_of_when_many_came_since_and_all_at_the_end(
    where, most_kept, branches, n_loads, tmp_path, monkeypatch
):
    def load(x: float) -> np.ndarray:
        note(tmp_path / "loads", x)
        return np.full(1000, x)

    def draw(random: np.random.Generator) -> np.ndarray:
        note(tmp_path / "loads", 0)
        return random.random(1000)

    def use(loaded: np.ndarray) -> float:
        time.sleep(0.001 if branches else 0.005)  # which keeps batches small
        return float(loaded[0])

    monkeypatch.setattr(f"daskresearch.worker.roots.{most_kept}", 20)
    monkeypatch.setattr("daskresearch.execute.window._BUDGET_S", 0.02)
    monkeypatch.setattr("daskresearch.execute.window._FIRST", 8)
    client, options = where
    research = endless()
    if branches is None:
        research = research.add_callable("root", load, args=[EC("x")], root=True)
    else:
        research = research.add_callable("root", draw, args=[E().random], root=True)
    research = research.use(O("root"), save_to="y")
    research.run(detach=True, dump_results=False, branches=branches, **options)
    most = most_while(lambda: len(noted(tmp_path / "loads")) < n_loads, client)
    assert not research.is_finished
    research.terminate()
    assert research.wait(DEADLINE_S)
    assert 20 < most < n_loads / 2
    wait_for(lambda: n_tasks(client) == 0)
    assert not any(client.run(lambda dask_worker: len(dask_worker.data)).values())


@pytest.mark.slow
def test_an_endless_run_into_a_folder_needs_no_more_memory_the_longer_it_lasts(where, tmp_path):
    few, many, width = 10_000, 40_000, 4_000
    _, options = where
    research = endless(name=str(tmp_path / "research")).save(EC("x"), "y")
    tracemalloc.start()
    try:
        research.run(detach=True, **options)
        held = {n: least_held(research, n - width, n) for n in (few, many)}
    finally:
        tracemalloc.stop()
        research.terminate()
    assert research.wait(60)
    assert len(research.results) >= many
    # what is on its way comes and goes
    assert held[many] - held[few] < 50 * (many - few), held


def least_held(research: Research, first: int, last: int) -> int:
    """Return the fewest bytes that this process, the scheduler's too, holds at a time."""
    held: list[int] = []
    deadline = time.monotonic() + 120
    while (n_finished := research.monitor.n_finished) < last or not held:
        assert time.monotonic() < deadline
        if n_finished >= first:
            held.append(tracemalloc.get_traced_memory()[0])
        time.sleep(0.005)
    return min(held)
