"""A run whose cluster is lost leaves a clear error and a folder to go on from."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from distributed import Client

from daskresearch import EC, Option, Research, ResearchResults
from daskresearch.errors import ClusterError
from tests.support.clusters import Servers, two_workers
from tests.support.running import local_cluster, note, noted, saying, wait_for

pytestmark = pytest.mark.cluster

N = 40

LACKING = """
import sys

class Lacking:
    def find_spec(self, name, *where):
        if name.split(".")[0] == "daskresearch":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Lacking())
"""


def study(calls: Path, gate: Path) -> Research:
    """Return a plan of which the last experiments wait until a file is there."""

    def work(x: int) -> int:
        note(calls, x)
        if x >= 10:
            wait_for(gate.exists)
        return x * x

    return Research(domain=Option("x", list(range(N)))).work(EC("x"), save_to="y")


def lose(place: Path, client: Client, act: Callable[[], object], *texts: str) -> None:
    """Act during a run, expect an error with some texts, and go on in this process."""
    calls, gate, folder = place / "calls", place / "gate", str(place / "results")
    research = study(calls, gate).run(folder, bar=False, scheduler=client, detach=True)
    wait_for(lambda: len(ResearchResults(folder).configs_to_df()) >= 8)
    finished = {*ResearchResults(folder).configs_to_df().x}
    act()
    with pytest.raises(ClusterError, match=saying("resume=True", *texts)):
        research.wait(60)
    assert research.is_finished
    gate.touch()
    time.sleep(0.1)  # what still runs elsewhere ends now
    before = Counter(noted(calls))
    results = study(calls, gate).run(folder, bar=False, resume=True).results
    assert results.df.y.tolist() == [x * x for x in range(N)]
    again = Counter(noted(calls)) - before
    assert finished.isdisjoint(map(int, again))
    assert max(again.values()) == 1


def test_a_scheduler_that_is_killed_leaves_an_error_and_a_folder_to_go_on_from(tmp_path):
    with two_workers(tmp_path / "servers") as (servers, client):
        lose(tmp_path, client, servers.scheduler.kill, "the scheduler of the cluster is gone")


def test_a_client_that_is_closed_leaves_an_error_and_a_folder_to_go_on_from(tmp_path):
    with local_cluster() as cluster, Client(cluster, set_as_default=False) as client:
        lose(tmp_path, client, client.close, "the client is closed")


def test_a_cluster_that_is_restarted_leaves_an_error_and_a_folder_to_go_on_from(tmp_path):
    with local_cluster() as cluster, Client(cluster, set_as_default=False) as client:
        lose(tmp_path, client, client.restart, "cancelled by others", "client.restart()")


def test_a_client_that_is_closed_is_refused_before_anything_is_written(tmp_path):
    with local_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        pass
    research = Research(domain=Option("x", [1])).add_callable(
        "pow", pow, args=[EC("x"), 2], save_to="y"
    )
    with pytest.raises(ClusterError, match=saying("closed", "connect")):
        research.run(str(tmp_path / "results"), bar=False, scheduler=client)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("n_sound", [0, 1])
def test_workers_without_the_library_are_named_and_stay(n_sound, tmp_path):
    for name in ("servers", "lacking"):
        (tmp_path / name).mkdir()
    (tmp_path / "lacking" / "sitecustomize.py").write_text(LACKING)
    with (
        Servers(tmp_path / "servers", importable=tmp_path / "lacking") as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
    ):
        servers.add_worker()
        client.wait_for_workers(1, timeout=60)
        (lacking,) = client.nthreads()
        servers.importable = None
        for _ in range(n_sound):
            servers.add_worker()
        client.wait_for_workers(1 + n_sound, timeout=60)
        research = Research(domain=Option("x", [1])).add_callable(
            "pow", pow, args=[EC("x"), 2], save_to="y"
        )
        with pytest.raises(ClusterError) as caught:
            research.run(str(tmp_path / "results"), bar=False, scheduler=client)
        assert str(caught.value).startswith(
            f"daskresearch cannot be imported on {lacking}; install"
        )
        assert len(client.nthreads()) == 1 + n_sound
    assert not (tmp_path / "results").exists()


def test_an_asynchronous_client_is_refused(tmp_path):
    async def run() -> None:
        async with Client(
            processes=False, dashboard_address=None, asynchronous=True, set_as_default=False
        ) as client:
            Research().add_callable("one", int).run(
                str(tmp_path / "results"), bar=False, scheduler=client
            )

    with pytest.raises(ClusterError, match="asynchronous"):
        asyncio.run(run())
    assert not (tmp_path / "results").exists()
