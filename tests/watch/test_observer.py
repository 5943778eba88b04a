"""Observers are told each thing of a run once, by the thread that runs it."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from daskresearch import EC, Observer, Option, R, Research
from daskresearch.errors import OptionError
from tests.support.running import (
    DEADLINE_S,
    IN_PROCESS,
    THREADS,
    local_cluster,
    on_workers,
    wait_for,
)

N = 40


class Heard(Observer):
    """Keeps what it is told, and which rows the results have at that moment."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.ids: list[str] = []
        self.unknown: set[str] = set()
        self.n_failed = 0
        self.threads: set[int] = set()
        self.results: Any = None

    def note(self, what: str, *arguments: Any) -> None:
        self.threads.add(threading.get_ident())
        self.told.append((what, arguments))

    def run_started(self, name, results, n_experiments):
        self.results = results
        self.note("run_started", name, n_experiments)

    def iterations_done(self, n_iters):
        self.note("iterations_done", n_iters)

    def experiments_ended(self, ids, n_failed):
        self.unknown |= set(ids) - set(self.results.configs_to_df().id)
        self.ids += ids
        self.n_failed += n_failed
        self.note("experiments_ended", ids, n_failed)

    def run_ended(self, state):
        self.note("run_ended", state)

    def last(self, what: str) -> Any:
        return [arguments for one, arguments in self.told if one == what][-1]


@pytest.fixture(params=["serial", "threads", on_workers("client")])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "client":
        return {"scheduler": request.getfixturevalue("client")}
    return {"serial": IN_PROCESS, "threads": THREADS}[request.param]


@pytest.fixture(params=[True, False], ids=["folder", "memory"])
def dump_results(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def odd(x):
    if x % 4 == 3:
        raise ValueError(f"{x} is not to be")
    return x


def study(name: Path | str = "study", values: Any = range(N)) -> Research:
    return Research(name, domain=Option("x", list(values))).odd(EC("x"), save_to="y")


def long_study(name: Path, gate: Path) -> Research:
    """Return an experiment that iterates until the gate is open."""
    return Research(name).add_generator(until, gate=str(gate), save_to="i")


def until(gate):
    deadline = time.monotonic() + DEADLINE_S
    for i in range(10**9):
        if os.path.exists(gate):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("nobody opened the gate")
        time.sleep(0.01)
        yield i


def subscribed(client: Client) -> list[str]:
    def topics(dask_scheduler: Any) -> list[str]:
        known = dask_scheduler._broker._topics.items()
        return [
            name for name, topic in known if topic.subscribers and name.startswith("daskresearch")
        ]

    return client.run_on_scheduler(topics)


def test_each_experiment_is_told_once_when_its_rows_are_there(place, dump_results, tmp_path):
    heard = Heard()
    research = study(tmp_path / "study").run(
        bar=False, observers=[heard], dump_results=dump_results, **place
    )
    assert sorted(heard.ids) == sorted(research.results.configs_to_df().id)
    assert len(set(heard.ids)) == N
    assert not heard.unknown
    assert heard.n_failed == N // 4
    assert not [one for one in heard.told if one[0] == "experiments_ended" and not one[1][0]]


@pytest.mark.parametrize("place", ["serial", on_workers("client")], indirect=True)
def test_an_experiment_whose_value_cannot_be_written_is_told_as_failed(place, tmp_path):
    def lock(x):
        return threading.Lock() if x == 1 else x

    heard = Heard()
    research = Research(tmp_path / "study", domain=Option("x", [0, 1, 2])).lock(
        EC("x"), save_to="y"
    )
    research.run(bar=False, observers=[heard], **place)
    assert len(research.results.failures) == heard.n_failed == 1


def test_a_run_is_told_from_its_beginning_to_its_end(place, dump_results, tmp_path):
    heard = Heard()
    name = str(tmp_path / "study")
    research = study(name).run(bar=False, observers=[heard], dump_results=dump_results, **place)
    assert heard.told[0] == ("run_started", (name, N))
    assert heard.told[-1] == ("run_ended", ("finished",))
    assert [what for what, _ in heard.told].count("run_ended") == 1
    assert heard.results is research.results


def test_an_observer_is_told_by_the_thread_that_runs(place):
    heard = Heard()
    study().run(bar=False, n_iters=3, observers=[heard], dump_results=False, **place)
    assert heard.threads == {threading.get_ident()}


def test_iterations_of_a_long_experiment_are_told_before_its_end(place, dump_results, tmp_path):
    gate = tmp_path / "gate"

    class Opens(Heard):
        def iterations_done(self, n_iters):
            super().iterations_done(n_iters)
            gate.touch()

    heard = Opens()
    research = long_study(tmp_path / "long", gate).run(
        bar=False, observers=[heard], dump_results=dump_results, **place
    )
    assert not len(research.results.failures)
    assert heard.told[1][0] == "iterations_done"
    assert heard.last("iterations_done") == (len(research.results.df),)


def test_iterations_are_counted_exactly_at_the_end(place, dump_results, tmp_path):
    heard = Heard()
    study(tmp_path / "study").run(
        bar=False, n_iters=5, observers=[heard], dump_results=dump_results, **place
    )
    n_iters = (N - N // 4) * 5 + N // 4  # those that fail do so in their first
    assert heard.last("iterations_done") == (n_iters,)


@pytest.mark.parametrize("branches", [None, 2])
def test_iterations_that_run_again_are_counted_once(place, branches, tmp_path):
    def fail_at_times(x: int) -> Any:
        path = tmp_path / str(x)
        is_first = not path.exists()
        path.touch()
        for i in range(10):
            if is_first and x % 2 and i == 7:
                raise ValueError("the first time")
            yield i

    heard = Heard()
    research = Research(domain=Option("x", list(range(8)))).add_generator(
        "walk", fail_at_times, x=EC("x"), save_to="i"
    )
    options = {"retries": 1, "branches": branches, "dump_results": False, "bar": False}
    research.run(n_iters=10, observers=[heard], **options, **place)
    assert research.results.failures.empty
    told = [arguments[0] for what, arguments in heard.told if what == "iterations_done"]
    assert told == sorted(told)
    assert told[-1] == 80


def test_the_experiments_of_a_lockstep_group_are_told_once(place, dump_results, tmp_path):
    def batches():
        while True:
            yield 1

    heard = Heard()
    research = Research(tmp_path / "study", domain=Option("x", [1, 2, 3]), n_reps=2)
    research = research.add_generator(batches, root=True).save(EC("x"), "y")
    research.run(bar=False, n_iters=4, observers=[heard], dump_results=dump_results, **place)
    assert sorted(heard.ids) == sorted(research.results.configs_to_df().id)
    assert heard.last("iterations_done") == (24,)


def test_an_observer_that_raises_is_logged_once_and_the_run_goes_on(place, caplog):
    class Raises(Observer):
        def run_started(self, *_):
            raise KeyError("on purpose")

        iterations_done = experiments_ended = run_ended = run_started

    heard = Heard()
    with caplog.at_level(logging.WARNING, logger="daskresearch"):
        research = study().run(bar=False, observers=[Raises(), heard], dump_results=False, **place)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "run_started of observer" in record.message
    assert "on purpose" in str(record.exc_info[1])
    assert len(research.results) == len(set(heard.ids)) == N


@pytest.mark.parametrize("how", ["terminate", "debug"])
def test_an_observer_is_told_how_a_run_has_ended(place, how, monkeypatch):
    heard = Heard()
    research = study(values=range(3, 300))
    if how == "debug":
        with pytest.raises(ValueError, match="is not to be"):
            research.run(bar=False, observers=[heard], dump_results=False, debug=True, **place)
    else:
        monkeypatch.setattr(heard, "experiments_ended", lambda *_: research.terminate())
        monkeypatch.setattr(heard, "iterations_done", lambda *_: research.terminate())
        slow = research.add_callable(time.sleep, args=[0.01])
        research = slow.run(bar=False, observers=[heard], dump_results=False, detach=True, **place)
        assert research.wait(DEADLINE_S)
    state = {"terminate": "stopped", "debug": "ended by ValueError"}[how]
    assert heard.told[-1] == ("run_ended", (state,))


def test_a_resumed_run_tells_only_what_it_runs(place, tmp_path):
    study(tmp_path / "study", range(3)).run(bar=False, **place)
    heard = Heard()
    research = study(tmp_path / "study", range(6)).run(
        bar=False, observers=[heard], resume=True, **place
    )
    frame = research.results.configs_to_df()
    assert sorted(heard.ids) == sorted(frame.id[frame.x >= 3])
    assert heard.told[0][1][1] == 6


def test_experiments_of_later_domains_are_told_too(place):
    heard = Heard()

    def next_domain(results):
        return Option("x", [len(results) * 10]) if len(results) < 3 else None

    research = study(values=[0]).update_domain(next_domain, "last", results=R())
    research.run(bar=False, observers=[heard], dump_results=False, **place)
    assert sorted(heard.ids) == sorted(research.results.configs_to_df().id)
    assert len(heard.ids) == 3


def test_what_an_observer_prints_is_not_that_of_an_experiment(tmp_path, capsys):
    class Prints(Observer):
        def iterations_done(self, n_iters):
            print("observed")  # noqa: T201
            (tmp_path / "gate").touch()

    research = long_study(tmp_path / "long", tmp_path / "gate").run(bar=False, observers=[Prints()])
    assert list(research.results.output_to_df().stdout) == [""]
    assert "observed\n" in capsys.readouterr().out


def test_observers_stay_behind_when_a_research_travels(tmp_path):
    class Holds(Observer):
        lock = threading.Lock()

        def __reduce__(self):
            raise TypeError("cannot be pickled")

    research = study(tmp_path / "study").options(observers=[Holds()])
    assert (
        len(
            pickle.loads(pickle.dumps(research)).run("other", bar=False, dump_results=False).results
        )
        == N
    )
    research.run(bar=False)
    assert len(Research.load(tmp_path / "study", allow_pickle=True).domain) == N


def test_compute_tells_its_observers(place):
    heard = Heard()
    with pytest.warns(match="failed"):
        frame = study("sums").compute(observers=[heard], **place)
    assert set(frame.id) < set(heard.ids)
    assert heard.told[0] == ("run_started", ("sums", N))


@pytest.mark.parametrize(
    ("observers", "text"),
    [
        (Heard(), r"must be a list of Observer objects.*use \[observer\]"),
        ([Heard], r"make one, Heard\(\)"),
        ([print], "subclass daskresearch.Observer"),
        ("mlflow", "must be a list of Observer objects"),
    ],
)
def test_what_is_no_observer_is_refused_before_anything_runs(observers, text, tmp_path):
    with pytest.raises(OptionError, match=text):
        study(tmp_path / "study").run(observers=observers)
    assert not (tmp_path / "study").exists()


def test_nothing_is_left_subscribed_after_a_run(client, tmp_path):
    gate = tmp_path / "gate"
    during: list[str] = []

    class Asks(Observer):
        def iterations_done(self, n_iters):
            during.extend(subscribed(client))
            gate.touch()

    long_study(tmp_path / "long", gate).run(
        bar=False, observers=[Asks()], dump_results=False, scheduler=client
    )
    assert len(set(during)) == 1
    wait_for(lambda: not subscribed(client))  # it hears of it a moment later


def test_nothing_is_left_subscribed_after_a_run_that_raises_or_is_ended(client):
    with pytest.raises(ValueError, match="is not to be"):
        study().run(
            bar=False, observers=[Heard()], dump_results=False, scheduler=client, debug=True
        )
    research = study(values=range(0, 4000, 4)).add_callable(time.sleep, args=[0.01])
    research.run(bar=False, observers=[Heard()], dump_results=False, scheduler=client, detach=True)
    wait_for(lambda: len(research.results) > 0)
    research.terminate()
    assert research.wait(DEADLINE_S)
    wait_for(lambda: not subscribed(client))  # it hears of it a moment later


@pytest.mark.parametrize("observers", [[], [Heard()]], ids=["without", "with"])
def test_ids_come_back_only_to_observers(client, tmp_path, monkeypatch, observers):
    from daskresearch.execute import distributed

    receipts: list[Any] = []
    came = distributed._returned
    monkeypatch.setattr(
        distributed, "_returned", lambda receipt: receipts.append(receipt) or came(receipt)
    )
    study(tmp_path / "study", range(0, 4000, 4)).run(
        bar=False, observers=observers, scheduler=client
    )
    n_ids = [len(receipt.written.ids) for receipt in receipts]
    assert sum(n_ids) == (1000 if observers else 0)
    if not observers:
        assert max([len(pickle.dumps(receipt)) for receipt in receipts]) < 1000


@pytest.mark.slow
@pytest.mark.cluster
def test_a_worker_that_dies_spoils_no_count(dump_results, tmp_path):
    gate, fell = tmp_path / "gate", tmp_path / "fell"

    def fall(gate, fell):
        for i in range(60):
            if os.path.exists(gate) and not os.path.exists(fell):
                Path(fell).touch()
                os._exit(1)
            time.sleep(0.02)
            yield i

    class Opens(Heard):
        def iterations_done(self, n_iters):
            super().iterations_done(n_iters)
            gate.touch()

    heard = Opens()
    with local_cluster() as cluster, Client(cluster, set_as_default=False) as client:
        research = Research(tmp_path / "study", domain=Option("x", [1, 2])).add_generator(
            fall, gate=str(gate), fell=str(fell), save_to="i"
        )
        research.run(
            bar=False, n_iters=60, observers=[heard], dump_results=dump_results, scheduler=client
        )
    assert fell.exists()
    assert len(research.results.df) == 120
    assert sorted(heard.ids) == sorted(research.results.configs_to_df().id)
    assert heard.last("iterations_done") == (120,)


def test_nothing_of_a_run_is_held_when_its_research_is_gone(place, dump_results, tmp_path):
    heard = Heard()
    research = (
        study(tmp_path / "study", [0, 1])
        .options(n_iters=3)
        .run(bar=False, observers=[heard], dump_results=dump_results, **place)
    )
    results = weakref.ref(research.results)
    gc.disable()  # what a cycle holds would go at some time, and the folders of experiments with it
    try:
        del research, heard
        assert results() is None
    finally:
        gc.enable()
