"""However a run ends, it leaves no process, thread, descriptor or task behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

import daskresearch
from daskresearch import EC, Option, Research
from daskresearch.execute.private_cluster import private_client
from tests.support.crashing import are_gone, cmdline_of
from tests.support.leaks import check_nothing_is_left
from tests.support.running import (
    DEADLINE_S,
    IN_PROCESS,
    THREADS,
    TWO_WORKERS,
    hearing_interrupts,
    note,
    noted,
    wait_for,
)

Clients = Callable[[], Sequence[Client]]


@pytest.fixture(scope="module", autouse=True)
def _no_private_cluster_left() -> Iterator[None]:
    yield
    daskresearch.shutdown()


@pytest.fixture
def place(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Clients]:
    """Give options of a run, and who knows what its workers hold."""
    if request.param == "client":
        client = request.getfixturevalue("client")
        return {"scheduler": client}, lambda: [client]
    if request.param == "processes":
        return TWO_WORKERS, lambda: [private_client(2)]
    return (IN_PROCESS if request.param == "serial" else THREADS), list


def work(x: int, calls: str) -> int:
    note(calls, x)
    time.sleep(0.002)
    return x


def fail(x: int, calls: str) -> int:
    if x % 3 == 2:
        raise ValueError("on purpose")
    return work(x, calls)


def stay(x: int, calls: str) -> int:
    note(calls, x)
    while x == 1:
        time.sleep(0.002)
    return x


def few(unit: Callable[..., int], calls: str) -> Research:
    return Research(domain=Option("x", list(range(8)))).add_callable(
        unit, args=[EC("x"), calls], save_to="y"
    )


def endless(calls: str) -> Research:
    research = Research(domain=Option("x", list(range(10_000))))
    return research.add_callable(work, args=[EC("x"), calls], save_to="y")


def to_the_end(calls: str, options: dict[str, Any]) -> None:
    few(work, calls).run(**options)


def with_failures(calls: str, options: dict[str, Any]) -> None:
    assert len(few(fail, calls).run(**options).results.failures) == 2


def raising(calls: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="on purpose"):
        few(fail, calls).run(debug=True, **options)


def detached(calls: str, options: dict[str, Any]) -> None:
    assert few(work, calls).run(detach=True, **options).wait(DEADLINE_S)


def terminated(calls: str, options: dict[str, Any]) -> None:
    research = endless(calls).run(detach=True, **options)
    wait_for(lambda: len(noted(calls)) > 2)
    research.terminate()
    assert research.wait(DEADLINE_S)


def cancelled(calls: str, options: dict[str, Any]) -> None:
    quiet = few(fail, os.devnull).run(seed=1, bar=False, dump_results=False)
    research = few(stay, calls).run(seed=1, detach=True, **options)
    wait_for(lambda: "1" in noted(calls))
    research.cancel(quiet.results.configs_to_df().id[1])
    assert research.wait(DEADLINE_S)
    assert research.results.failures.kind.tolist() == ["cancelled"]


def out_of_time(calls: str, options: dict[str, Any]) -> None:
    # on a busy machine experiments that do not stay may run out of time, too
    assert set(few(stay, calls).run(timeout=0.1, **options).results.failures.kind) == {"timeout"}


def interrupted(calls: str, options: dict[str, Any]) -> None:
    has_ended = threading.Event()

    def press() -> None:
        wait_for(lambda: len(noted(calls)) > 2 or has_ended.is_set())
        if not has_ended.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    with hearing_interrupts():
        finger.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                endless(calls).run(**options)
        finally:
            has_ended.set()
            finger.join()


WAYS = [
    to_the_end,
    with_failures,
    raising,
    detached,
    terminated,
    cancelled,
    out_of_time,
    interrupted,
]


def case_of(way: Callable[..., None], place: str) -> Any:
    is_slow = place == "processes" or (
        place == "client" and way in (with_failures, detached, out_of_time)
    )
    marks = [pytest.mark.slow] if is_slow else []
    if place in ("client", "processes"):
        marks.append(pytest.mark.cluster)
    return pytest.param(way, place, marks=marks, id=f"{place}-{way.__name__}")


CASES = [
    case_of(way, place) for place in ("serial", "threads", "client", "processes") for way in WAYS
]


@pytest.mark.parametrize(("way", "place"), CASES, indirect=["place"])
def test_nothing_is_left_of_a_run(way, place, tmp_path):
    options, clients = place
    numbers = itertools.count()

    def run() -> None:
        for dumps in (
            {"dump_results": False},
            {"name": str(tmp_path / f"research {next(numbers)}")},
        ):
            way(str(tmp_path / f"calls {next(numbers)}"), {**options, **dumps, "bar": False})

    check_nothing_is_left(run, clients)


def workers_here() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(cmdline_of(child))]


@pytest.mark.cluster
@pytest.mark.slow
def test_nothing_is_left_of_a_private_cluster_that_was_shut_down(tmp_path):
    def run() -> None:
        before = workers_here()
        few(work, str(tmp_path / "calls")).run(workers=2, bar=False, dump_results=False)
        started = [worker for worker in workers_here() if worker not in before]
        assert len(started) == 2
        daskresearch.shutdown()
        wait_for(lambda: are_gone(started))

    daskresearch.shutdown()
    check_nothing_is_left(run)


LEFT: list[Any] = []


def leave_thread() -> None:
    thread = threading.Thread(
        target=threading.Event().wait, args=(3,), name="forgotten", daemon=True
    )
    thread.start()


def leave_file(path: str) -> None:
    LEFT.append(open(path, "a"))  # noqa: SIM115 - it is to stay open, so that the check finds it


def leave_process() -> None:
    LEFT.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))


@pytest.fixture
def _let_go(client: Client) -> Iterator[None]:
    def let_go() -> None:
        for left in LEFT:
            if isinstance(left, subprocess.Popen):
                left.communicate(b"\n")
            else:
                left.close()
        LEFT.clear()

    yield
    let_go()
    client.run(let_go)


@pytest.mark.usefixtures("_let_go")
@pytest.mark.parametrize(
    ("leave", "text"),
    [
        (leave_thread, r"\('here', 'thread forgotten'\): 2"),
        (lambda: leave_file(os.devnull), r"\('here', 'descriptor /dev/null'\): 2"),
        (leave_process, r"\('here', 'process .*input\(\)'\): 2"),
    ],
    ids=["thread", "descriptor", "process"],
)
def test_what_is_left_here_is_seen(leave, text):
    with pytest.raises(AssertionError, match=text):
        check_nothing_is_left(leave, patience_s=0.1)


@pytest.mark.usefixtures("_let_go")
def test_what_is_left_on_workers_is_seen(client: Client, tmp_path: Path):
    path = str(tmp_path / "file")
    with pytest.raises(AssertionError, match=r"\('worker', 'descriptor .*/file'\): 4"):
        check_nothing_is_left(
            lambda: client.run(leave_file, path), lambda: [client], patience_s=0.1
        )
    with pytest.raises(AssertionError, match=r"\('worker', 'thread forgotten'\): 4"):
        check_nothing_is_left(lambda: client.run(leave_thread), lambda: [client], patience_s=0.1)
    futures = []
    with pytest.raises(AssertionError, match=r"\('scheduler', 'task len'\): 2"):
        check_nothing_is_left(
            lambda: futures.append(client.submit(len, "", pure=False)),
            lambda: [client],
            patience_s=0.1,
        )
