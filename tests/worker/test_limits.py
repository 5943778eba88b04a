"""Experiments that are ended or run again: `timeout`, `cancel` and `retries`."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import dask
import pytest
from distributed import Client

from daskresearch import EC, Domain, E, O, Observer, Option, Research
from daskresearch.errors import ExperimentCancelledError, ExperimentTimeoutError, OptionError
from tests.support.clusters import Servers
from tests.support.running import DEADLINE_S, local_cluster, note, noted, on_workers, wait_for

PLACES = ["sync", "threads", on_workers("client")]
LIMIT_S = 0.8
"""More than any experiment needs that is to come to its end, on a machine that is busy, too."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> dict[str, object]:
    """Give options for a place: this process, threads, a cluster of two processes."""
    where = request.getfixturevalue("client") if request.param == "client" else request.param
    return {"scheduler": where, "bar": False, "dump_results": False}


def spin(x: int, slow: int) -> int:
    while x == slow:
        time.sleep(0.01)
    return 10 * x


def hang_in_c(x: int, slow: int) -> int:
    if x == slow:
        ctypes.CDLL(None).sleep(600)
    return 10 * x


def xs(research: Research) -> list[int]:
    return sorted(research.results.df.y.tolist())


def test_an_experiment_that_takes_too_long_is_ended_and_fails_alone(place):
    research = Research(domain=Option("x", [0, 1, 2, 3])).spin(EC("x"), 1, save_to="y")
    research.run(timeout=LIMIT_S, **place)
    assert xs(research) == [0, 20, 30]
    (failure,) = research.results.failures.itertuples()
    assert (failure.unit, failure.iteration, failure.kind) == ("spin", 0, "timeout")
    assert isinstance(failure.exception, ExperimentTimeoutError)
    assert isinstance(failure.exception, TimeoutError)
    assert f"{LIMIT_S} s" in str(failure.exception)
    assert "in spin" in failure.traceback
    assert failure.worker.rpartition(":")[2].isdigit()


def test_units_after_the_one_that_is_ended_do_not_run(place):
    research = (
        Research(domain=Option("x", [0, 1]))
        .spin(EC("x"), 1, save_to="y")
        .add_callable("after", abs, [EC("x")])
    )
    run = research.save(O("after"), "z").run(timeout=LIMIT_S, **place)
    assert run.results.df.z.tolist() == [0]
    assert run.results.failures.unit.tolist() == ["spin"]


def test_what_was_recorded_before_the_end_is_kept(place):
    def step(i):
        while i == 2:
            time.sleep(0.01)
        return i

    research = Research().step(E().iteration, save_to="i").run(n_iters=5, timeout=LIMIT_S, **place)
    assert research.results.df.i.tolist() == [0, 1]
    assert research.results.failures.iteration.tolist() == [2]


def test_a_unit_that_catches_everything_is_ended_when_its_iteration_is_over(place):
    def stubborn(x):
        try:
            spin(x, 1)
        except BaseException:
            return 5
        return x

    research = (
        Research(domain=Option("x", [0, 1]))
        .stubborn(EC("x"), save_to="y")
        .run(n_iters=3, timeout=LIMIT_S, **place)
    )
    assert research.results.df.x.tolist().count(1) <= 1
    assert research.results.failures[["kind", "id"]].kind.tolist() == ["timeout"]


@pytest.mark.slow
def test_observers_cost_no_experiment_its_time():
    class Slow(Observer):
        n_told = 0

        def iterations_done(self, n_iters: int) -> None:
            self.n_told += 1
            if self.n_told == 1:
                time.sleep(2.1)

    slow = Slow()

    def step(i: int) -> int:
        if i == 0:
            time.sleep(0.6)  # until it is time to tell
        return i

    research = Research().step(E().iteration, save_to="i")
    research.run(n_iters=8, timeout=2, observers=[slow], bar=False, dump_results=False)
    assert slow.n_told > 1
    assert research.results.failures.empty
    assert research.results.df.i.tolist() == list(range(8))


def test_debug_raises_what_ended_an_experiment(place):
    research = Research(domain=Option("x", [0, 1])).spin(EC("x"), 1, save_to="y")
    with pytest.raises(ExperimentTimeoutError):
        research.run(timeout=LIMIT_S, debug=True, **place)


def test_a_research_within_a_unit_leaves_the_limit_of_the_outer_one():
    def inner(x):
        Research(domain=Option("z", [0, 1])).add_callable(abs, args=[1]).run(
            bar=False, dump_results=False
        )
        return spin(x, 1)

    research = Research(domain=Option("x", [0, 1])).inner(EC("x"), save_to="y")
    research.run(timeout=LIMIT_S, bar=False, dump_results=False)
    assert research.results.failures.kind.tolist() == ["timeout"]


@pytest.mark.cluster
def test_a_worker_without_a_nanny_is_ended_too(tmp_path):
    with (
        Servers(tmp_path) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
    ):
        servers.add_worker()
        stuck = servers.add_worker()
        client.wait_for_workers(2)
        research = Research(domain=Option("x", list(range(6)))).hang_in_c(EC("x"), 2, save_to="y")
        research.run(timeout=LIMIT_S, scheduler=client, bar=False, dump_results=False)
        assert xs(research) == [0, 10, 30, 40, 50]
        assert research.results.failures.kind.tolist() == ["timeout"]
        assert len(client.nthreads()) == 1
    assert stuck.poll() is not None


def test_the_time_of_roots_is_not_that_of_the_experiment_that_comes_first(place):
    def load():
        time.sleep(LIMIT_S + 0.1)
        return 1

    research = (
        Research(domain=Option("x", [0, 1]))
        .load(root=True)
        .add_callable(max, args=[O("load"), EC("x")], save_to="y")
    )
    research.run(timeout=LIMIT_S, **place)
    assert research.results.failures.empty
    assert xs(research) == [1, 1]


def test_members_of_a_lock_step_group_are_ended_each_for_itself(place):
    def count():
        yield from range(3)

    def use(item, x):
        return spin(item, 1) if x == 1 else item

    research = Research(domain=Option("x", [0, 1, 2])).count(mode="generator", root=True)
    research = research.use(O("count"), EC("x"), save_to="y")
    research.run(timeout=LIMIT_S, **place)
    frame = research.results.df
    assert frame.x.tolist() == [0, 0, 0, 0, 1, 2, 2, 2, 2]
    assert research.results.failures[["unit", "iteration", "kind"]].values.tolist() == [
        ["use", 1, "timeout"]
    ]


@pytest.mark.parametrize("waits", ["read", "sleep", "lock", "process"])
def test_code_that_waits_for_the_system_is_ended_in_the_main_thread(waits):
    reading, writing = os.pipe()
    released = threading.Event()
    lock = threading.Lock()
    lock.acquire()
    children: list[subprocess.Popen[bytes]] = []

    def release() -> None:  # or this test would never end
        released.set()
        os.write(writing, b"x")
        lock.release()
        for child in children:
            child.kill()

    def wait(x: int) -> int:
        if x != 1:
            return x
        if waits == "read":
            os.read(reading, 1)
        elif waits == "sleep":
            time.sleep(DEADLINE_S)
            released.set()
        elif waits == "lock":
            lock.acquire()
        else:
            children.append(subprocess.Popen(["sleep", "100"]))
            children[0].wait()
        return x

    timer = threading.Timer(DEADLINE_S, release)
    timer.start()
    research = Research(domain=Option("x", [0, 1, 2])).add_callable(
        "wait", wait, args=[EC("x")], save_to="y", version="1"
    )
    before = signal.getsignal(signal.SIGURG)
    results = research.run(bar=False, dump_results=False, timeout=LIMIT_S).results
    timer.cancel()
    assert not released.is_set()
    assert results.df.dropna().y.tolist() == [0, 2]
    assert results.failures.kind.tolist() == ["timeout"]
    assert signal.getsignal(signal.SIGURG) is before
    for child in children:
        child.kill()
        child.wait()
    for end in (reading, writing):
        os.close(end)


def test_code_that_does_not_return_to_python_is_ended_with_its_process(client: Client, tmp_path):
    for name, dump in (("memory", False), (str(tmp_path / "folder"), True)):
        research = Research(name, Option("x", list(range(6)))).hang_in_c(EC("x"), 2, save_to="y")
        research.run(timeout=LIMIT_S, scheduler=client, bar=False, dump_results=dump, seed=1)
        assert xs(research) == [0, 10, 30, 40, 50]
        assert research.results.failures[["unit", "kind"]].values.tolist() == [
            ["hang_in_c", "timeout"]
        ]
        assert "hang_in_c" in research.results.failures.traceback[0]
        client.wait_for_workers(2)


@pytest.mark.slow
def test_a_lock_step_group_that_does_not_return_is_ended_with_its_process(client: Client):
    def count():
        yield from range(2)

    def use(item, x):
        hang_in_c(x, 1)
        return item

    research = Research(domain=Option("x", [0, 1, 2])).count(mode="generator", root=True)
    research = research.use(O("count"), EC("x"), save_to="y")
    research.run(timeout=LIMIT_S, scheduler=client, branches=1, bar=False, dump_results=False)
    assert research.results.df.x.tolist() == [0, 0, 0, 2, 2, 2]
    assert research.results.failures.kind.tolist() == ["timeout"]
    client.wait_for_workers(2)


def test_a_failed_experiment_runs_again_as_often_as_asked(place, tmp_path):
    def flaky(folder, x):
        note(Path(folder) / str(x), "run")
        if len(noted(Path(folder) / str(x))) <= x:
            raise OSError("not yet")
        return x

    research = Research(domain=Option("x", [0, 1, 2, 3])).flaky(str(tmp_path), EC("x"), save_to="y")
    research.run(retries=2, **place)
    assert xs(research) == [0, 1, 2]
    assert [len(noted(tmp_path / str(x))) for x in range(4)] == [1, 2, 3, 3]
    assert research.results.failures[["unit", "kind"]].values.tolist() == [["flaky", "exception"]]


def test_a_repeated_experiment_draws_the_same_numbers(place, tmp_path):
    def draw(folder, x, random):
        value = float(random.random())
        note(Path(folder) / str(x), value)
        if len(noted(Path(folder) / str(x))) == 1:
            raise OSError("once")
        return value

    research = Research(domain=Option("x", [0, 1])).draw(
        str(tmp_path), EC("x"), E().random, save_to="y"
    )
    research.run(retries={"exception": 1}, **place)
    for row in research.results.df.itertuples():
        assert set(noted(tmp_path / str(row.x))) == {str(row.y)}


def test_retries_are_by_kind_of_failure(place, tmp_path):
    def fail(folder, x):
        note(Path(folder) / str(x), "run")
        if x == 0:
            raise ValueError("no")
        spin(1, 1)

    research = Research(domain=Option("x", [0, 1])).fail(str(tmp_path), EC("x"))
    research.run(retries={"timeout": 1}, timeout=LIMIT_S / 2, **place)
    assert [len(noted(tmp_path / str(x))) for x in range(2)] == [1, 2]
    assert research.results.failures.kind.tolist() == ["exception", "timeout"]


def test_a_root_is_called_again_itself(place, tmp_path):
    def load(folder):
        note(Path(folder) / "load", "run")
        if len(noted(Path(folder) / "load")) == 1:
            raise OSError("once")
        return 1

    research = (
        Research(domain=Option("x", [0, 1])).load(str(tmp_path), root=True).save(O("load"), "y")
    )
    research.run(retries=1, **place)
    assert xs(research) == [1, 1]
    assert noted(tmp_path / "load") == ["run", "run"]


def test_an_upstream_failure_is_one_of_its_own_kind_and_not_repeated(place, tmp_path):
    def load():
        raise OSError("gone")

    research = (
        Research(domain=Option("x", [0, 1]))
        .load(root=True)
        .save(O("load"), "y")
        .run(retries=1, **place)
    )
    assert research.results.failures[["unit", "kind"]].values.tolist() == [["load", "upstream"]] * 2


def test_a_lock_step_group_runs_again_whole(place, tmp_path):
    def draws(random):
        while True:
            yield float(random.random())

    def use(folder, x, item):
        note(Path(folder) / str(x), item)
        if x == 1 and len(noted(Path(folder) / "1")) == 2:
            raise OSError("once")
        return item

    research = Research(domain=Option("x", [0, 1])).draws(E().random, mode="generator", root=True)
    research = research.use(str(tmp_path), EC("x"), O("draws"), save_to="y")
    research.run(retries=1, n_iters=3, seed=3, **place)
    assert research.results.failures.empty
    frame = research.results.df
    assert frame.x.tolist() == [0, 0, 0, 1, 1, 1]
    assert frame.y.tolist()[:3] == frame.y.tolist()[3:]


@pytest.mark.cluster
@pytest.mark.slow
def test_an_experiment_that_kills_its_worker_runs_again_as_often_as_asked(tmp_path):
    def kill(folder, x):
        note(Path(folder) / str(x), "run")
        if x == 1 and len(noted(Path(folder) / "1")) < 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    research = Research(domain=Option("x", [0, 1, 2])).kill(str(tmp_path), EC("x"), save_to="y")
    research.run(workers=2, retries={"worker": 3}, bar=False, dump_results=False)
    assert xs(research) == [0, 1, 2]


def ids_of(domain: Domain) -> list[str]:
    research = Research(domain=domain).save(EC("x"), "y")
    return research.run(seed=1, bar=False, dump_results=False).results.df.id.tolist()


def test_a_cancelled_experiment_ends_and_the_others_go_on(place, tmp_path):
    def work(x, folder):
        (Path(folder) / str(x)).touch()
        return spin(x, 1)

    domain = Option("x", [0, 1, 2, 3])
    ids = ids_of(domain)
    research = (
        Research(domain=domain)
        .work(EC("x"), str(tmp_path), save_to="y")
        .run(seed=1, detach=True, **place)
    )
    wait_for((tmp_path / "1").exists)
    research.cancel(ids[1])
    assert research.wait(60)
    assert xs(research) == [0, 20, 30]
    (failure,) = research.results.failures.itertuples()
    assert (failure.id, failure.kind, failure.unit) == (ids[1], "cancelled", "work")
    assert isinstance(failure.exception, ExperimentCancelledError)


def test_an_experiment_that_is_cancelled_before_it_begins_never_runs(place, tmp_path):
    def work(x, folder):
        note(Path(folder) / str(x), "run")
        while x < 2 and not (Path(folder) / "go").exists():
            time.sleep(0.01)
        return x

    domain = Option("x", list(range(40)))
    ids = ids_of(domain)
    research = Research(domain=domain).work(EC("x"), str(tmp_path), save_to="y")
    research.run(seed=1, detach=True, **place)
    wait_for((tmp_path / "0").exists)
    research.cancel(ids[39])
    (tmp_path / "go").touch()
    assert research.wait(60)
    assert xs(research) == list(range(39))
    assert not (tmp_path / "39").exists()
    assert research.results.failures[["id", "kind"]].values.tolist() == [[ids[39], "cancelled"]]


def test_a_run_with_a_timeout_leaves_no_thread(place):
    before = set(threading.enumerate())
    Research(domain=Option("x", [0, 1])).spin(EC("x"), 1).run(
        timeout=LIMIT_S, **{**place, "scheduler": "threads"}
    )
    assert not {
        thread
        for thread in set(threading.enumerate()) - before
        if thread.name in ("timeouts", "experiments")
    }


def test_failed_kinds_are_read_back_from_a_folder(tmp_path, client: Client):
    research = Research(str(tmp_path / "r"), Option("x", [0, 1])).spin(EC("x"), 1, save_to="y")
    research.run(timeout=LIMIT_S, scheduler=client, bar=False)
    again = Research.load(str(tmp_path / "r")).results.failures
    assert again.kind.tolist() == ["timeout"]
    assert again.worker.tolist() == research.results.failures.worker.tolist() != [""]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": 0}, "positive number of seconds"),
        ({"timeout": "1"}, "positive number of seconds"),
        ({"timeout": True}, "positive number of seconds"),
        ({"timeout": float("inf")}, "positive number of seconds"),
        ({"retries": -1}, "non-negative integer"),
        ({"retries": 1.5}, "non-negative integer"),
        ({"retries": {"exeption": 1}}, "did you mean 'exception'"),
        ({"retries": {"worker": None}}, "non-negative integer"),
    ],
)
def test_limits_that_mean_nothing_are_refused(options, text):
    with pytest.raises(OptionError, match=text):
        Research().add_callable("x", abs, args=[1]).run(bar=False, dump_results=False, **options)


def test_cancel_needs_an_id():
    research = Research().add_callable("x", abs, args=[1]).run(bar=False, dump_results=False)
    with pytest.raises(OptionError, match="id of an experiment"):
        research.cancel(3)


@pytest.mark.cluster
def test_a_batch_that_waits_for_a_worker_that_is_gone_runs_on_the_one_that_follows(tmp_path):
    def kill_once(x, folder):
        note(Path(folder) / str(x), "run")
        if x == 2 and len(noted(Path(folder) / "2")) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    # what is known of a root beforehand leaves its batch nothing to wait for but the worker
    failing = dask.delayed(int)("not a number")
    research = Research(domain=Option("x", [0, 1, 2, 3])).add_callable("use", abs, args=[failing])
    research = research.kill_once(EC("x"), str(tmp_path), save_to="y")
    with local_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        research.run(scheduler=client, bar=False, dump_results=False)
    assert xs(research) == [0, 1, 2, 3]
