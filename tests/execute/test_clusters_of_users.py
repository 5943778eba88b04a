"""Runs on clusters of users, with and without TLS, whose workers come and go."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import pytest
from distributed import Client

from daskresearch import EC, Domain, E, O, Option, Research, local_cluster
from tests.support.clusters import Servers, written_certificates
from tests.support.running import note, noted, table, wait_for

pytestmark = pytest.mark.cluster

USERS_MODULE = """
def load(kind):
    return [len(kind), kind]

class Model:
    def __init__(self, data):
        self.data = data

    def fit(self, x):
        return self.data[0] * x

def tell(data, fitted):
    return f"{data[1]}{fitted}"
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Give a scheduler and two workers, processes of their own."""
    importable = tmp_path_factory.mktemp("importable")
    (importable / "module_of_workers.py").write_text(USERS_MODULE)
    with Servers(tmp_path_factory.mktemp("servers"), importable) as servers:
        for _ in range(2):
            servers.add_worker()
        yield servers


@pytest.fixture
def client(servers: Servers) -> Iterator[Client]:
    """Give a client of these, made from the address of the scheduler."""
    with Client(scheduler_file=servers.file, set_as_default=False) as found:
        address = found.scheduler.address
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


def study(n: int = 12) -> Research:
    """Return a plan with a root, a generator, random numbers and a failure."""

    def load(kind: str) -> int:
        return len(kind)

    def walk(random: Any, x: int) -> Iterator[float]:
        for _ in range(3):
            yield float(random.normal()) + x

    def add(loaded: int, step: float, x: int) -> float:
        if x == 5:
            raise ValueError("five")
        return loaded + step

    return (
        Research(domain=Option("kind", ["a", "bb"]) * Option("x", list(range(n // 2))), n_reps=2)
        .load(EC("kind"), root=True)
        .add_generator("walk", walk, args=[E().random, EC("x")], save_to="step")
        .add(O("load"), O("walk"), EC("x"), save_to="sum")
    )


def numbers(n: int, path: Path, seconds: float = 0.05) -> Research:
    """Return experiments that note where each ran, and take a moment until they need hurry."""

    def work(x: int, path: str, seconds: float) -> int:
        if not os.path.exists(f"{path}.hurry"):
            time.sleep(seconds)
        note(path, f"{x}:{os.getpid()}")
        return x * x

    return Research(domain=Option("x", list(range(n)))).work(
        EC("x"), str(path), seconds, save_to="y"
    )


def check_all_there_once(frame: pd.DataFrame, n: int) -> None:
    assert frame.x.tolist() == list(range(n))
    assert frame.y.tolist() == [x * x for x in range(n)]


def hurry(path: Path) -> None:
    Path(f"{path}.hurry").touch()


def n_ended(path: Path) -> int:
    return len(noted(path))


def pids(path: Path) -> set[int]:
    return {int(line.partition(":")[2]) for line in noted(path)}


@pytest.mark.parametrize("dump_results", [False, True])
def test_a_run_on_the_address_of_a_scheduler_gives_the_rows_of_one_in_process(
    client, tmp_path, dump_results
):
    def frames(name: str, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
        where = {"name": str(tmp_path / name), "dump_results": dump_results}
        results = study().run(bar=False, seed=3, **where, **options).results
        return results.df, results.failures[["id", "unit", "iteration"]]

    here, there = frames("here"), frames("there", scheduler=client)
    for one, other in zip(here, there, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert not here[1].empty


def test_units_run_in_the_processes_of_the_cluster_and_in_no_others(client):
    frame = table(
        Research(domain=Domain(x=range(6))).add_callable("pid", os.getpid, save_to="pid"),
        scheduler=client,
    )
    assert {*frame.pid} <= {*client.run(os.getpid).values()}


def test_a_scheduler_that_cannot_import_the_users_module_runs_its_plan(
    client, monkeypatch, servers
):
    monkeypatch.syspath_prepend(servers.importable)
    module = importlib.import_module("module_of_workers")
    assert "ModuleNotFoundError" in str(
        client.run_on_scheduler(tells_import_error, "module_of_workers")
    )
    research = (
        Research(domain=Option("kind", ["a", "bb"]) * Option("x", [1, 2]))
        .add_callable(module.load, args=[EC("kind")], root=True)
        .add_instance("model", module.Model, data=O("load"))
        .add_callable("model.fit", args=[EC("x")])
        .add_callable(module.tell, args=[O("load"), O("model.fit")], save_to="told")
    )
    try:
        assert table(research, scheduler=client).told.tolist() == ["a1", "a2", "bb2", "bb4"]
        assert research.compute(scheduler=client).told.tolist() == ["a1", "a2", "bb2", "bb4"]
    finally:
        sys.modules.pop("module_of_workers")


def tells_import_error(name: str) -> str:
    import importlib

    try:
        importlib.import_module(name)
    except ImportError as error:
        return repr(error)
    return ""


def test_a_bound_of_workers_holds_on_a_larger_cluster(client, tmp_path):
    notes = tmp_path / "notes"

    def work(x: int, path: str) -> int:
        note(path, f"{time.monotonic_ns()}:begin")
        time.sleep(0.03)
        note(path, f"{time.monotonic_ns()}:end")
        return x

    research = Research(domain=Option("x", list(range(20)))).work(EC("x"), str(notes), save_to="y")
    assert table(research, scheduler=client, workers=1).y.tolist() == list(range(20))
    assert [line.partition(":")[2] for line in noted(notes)] == ["begin", "end"] * 20


@pytest.mark.slow
def test_a_run_over_tls_gives_the_rows_of_one_in_process(tmp_path):
    security, options = written_certificates(tmp_path)
    with Servers(tmp_path, options=[*options, "--protocol", "tls"]) as servers:
        servers.add_worker()
        with Client(scheduler_file=servers.file, security=security, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
            assert client.scheduler.address.startswith("tls://")
            assert all(address.startswith("tls://") for address in client.nthreads())
            pd.testing.assert_frame_equal(
                table(study(), seed=3, scheduler=client), table(study(), seed=3)
            )


@pytest.mark.slow
def test_a_run_waits_for_the_first_worker_and_tells_the_log(tmp_path, caplog):
    with (
        Servers(tmp_path) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
        caplog.at_level(logging.WARNING, "daskresearch"),
    ):
        research = numbers(20, tmp_path / "notes", 0).run(
            scheduler=client, bar=False, dump_results=False, detach=True
        )
        wait_for(lambda: any("no worker" in message for message in caplog.messages))
        assert not research.is_finished
        servers.add_worker()
        assert research.wait(60)
        check_all_there_once(research.results.df, 20)


@pytest.mark.slow
def test_a_run_without_workers_can_be_terminated(tmp_path):
    with (
        Servers(tmp_path) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
    ):
        research = numbers(5, tmp_path / "notes").run(
            scheduler=client, bar=False, dump_results=False, detach=True
        )
        research.terminate()
        assert research.wait(60)
        assert len(research.results) == 0


@pytest.mark.slow
@pytest.mark.parametrize("folder", [False, True])
def test_workers_that_join_and_leave_during_a_run_cost_nothing(tmp_path, folder):
    n, notes = 2_000, tmp_path / "notes"
    with (
        Servers(tmp_path) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
    ):
        servers.add_worker(["--name", "first"])
        client.wait_for_workers(1, timeout=60)
        research = numbers(n, notes).run(
            str(tmp_path / "research"),
            scheduler=client,
            bar=False,
            dump_results=folder,
            detach=True,
        )
        try:
            wait_for(lambda: n_ended(notes) > 2)
            killed = servers.add_worker(["--name", "killed"])
            servers.add_worker(["--name", "retired"])
            wait_for(lambda: len(pids(notes)) == 3)
            assert not research.is_finished
            (retired,) = [
                address
                for address, worker in client.scheduler_info(n_workers=-1)["workers"].items()
                if worker["name"] == "retired"
            ]
            client.retire_workers([retired])
            wait_for(lambda: retired not in client.nthreads())
            os.kill(killed.pid, signal.SIGKILL)
            assert not research.is_finished
            hurry(notes)
            assert research.wait(60)
        finally:
            research.terminate()
        results = research.results
        check_all_there_once(results.df, n)
        assert results.failures.empty
        assert results.df.id.nunique() == n


@pytest.mark.slow
@pytest.mark.parametrize("fails", [False, True])
def test_a_run_with_shared_roots_goes_on_when_its_only_worker_is_killed_and_another_joins(
    tmp_path, fails
):
    notes = tmp_path / "notes"

    @dask.delayed
    def load() -> int:
        if fails:  # then batches wait for no task, but were meant for the worker that is gone
            raise ValueError("nothing to load")
        return 1

    def use(loaded: int) -> int:
        return loaded

    research = numbers(100, notes).use(load(), save_to="used")
    with (
        Servers(tmp_path) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
    ):
        killed = servers.add_worker()
        client.wait_for_workers(1, timeout=60)
        research = research.run(scheduler=client, bar=False, dump_results=False, detach=True)
        wait_for(lambda: n_ended(notes) > 2)
        os.kill(killed.pid, signal.SIGKILL)
        wait_for(lambda: not client.nthreads())
        hurry(notes)
        servers.add_worker()
        assert research.wait(60)
        check_all_there_once(research.results.df, 100)
        assert len(research.results.failures) == (100 if fails else 0)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.02, 1.2])
def test_an_adaptive_cluster_grows_with_a_run_and_its_new_worker_is_used(tmp_path, seconds):
    n, notes = (2_000, 40)[seconds > 1], tmp_path / "notes"
    with local_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        cluster.adapt(minimum=1, maximum=2, interval="100 ms", wait_count=5, target_duration="0.5s")
        research = numbers(n, notes, seconds).run(
            scheduler=client, bar=False, dump_results=False, detach=True
        )
        try:
            wait_for(lambda: len(pids(notes)) == 2)
            hurry(notes)
            assert research.wait(60)
        finally:
            research.terminate()
        check_all_there_once(research.results.df, n)
