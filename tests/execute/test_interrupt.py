"""Ctrl-C keeps what is finished, wherever experiments run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from daskresearch import EC, E, O, Option, Research
from tests.support.running import column, hearing_interrupts, on_workers

SCRIPT = """
import sys, time
from daskresearch import EC, Option, Research

def work(path, x):
    with open(path, "a") as file:
        file.write(f"{x}\\n")
    time.sleep(0.05)
    return x

if __name__ == "__main__":
    research = Research(domain=Option("x", list(range(10_000))))
    research = research.work(sys.argv[1], EC("x"), save_to="y")
    try:
        research.run(bar=False, dump_results=False, %s)
    except KeyboardInterrupt:
        table = research.results.df
        print(len(table), (table.x == table.y).all(), research.is_finished)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", ["workers=1", "scheduler='threads', workers=2", on_workers("workers=2")]
)
def test_an_interrupt_leaves_finished_experiments_readable(tmp_path, options):
    script, calls = tmp_path / "script.py", tmp_path / "calls"
    script.write_text(SCRIPT % options)
    process = subprocess.Popen(
        [sys.executable, str(script), str(calls)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while (
            not (calls.exists() and len(calls.read_text().split()) >= 40)
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        # a terminal sends it to every process of the group
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    n_rows, are_right, is_finished = out.split()
    n_begun = len(calls.read_text().split())
    assert (are_right, is_finished) == ("True", "True")
    # a worker gives its batch back after a quarter of a second
    assert n_begun - 25 <= int(n_rows) <= n_begun


@pytest.fixture
def _interrupts() -> Iterator[None]:
    with hearing_interrupts():
        yield


def stubborn(x: int, i: int, due: str) -> int:
    """Catch an interrupt, as a training loop does that then ends early.

    The interrupt comes while there is a file.
    """
    try:
        if (x, i) == (3, 0) and os.path.exists(due):
            signal.raise_signal(signal.SIGINT)
            time.sleep(1)
    except KeyboardInterrupt:
        return -1
    return x


def walk(x: int, due: str) -> Iterator[int]:
    yield from (stubborn(x, i, due) for i in range(3))


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize("kind", ["callable", "generator", "root", "lockstep"])
def test_an_interrupt_that_a_unit_catches_ends_the_run_and_its_experiment_runs_again(
    kind, tmp_path
):
    due, folder = tmp_path / "due", str(tmp_path / "results")
    due.touch()
    research = Research(domain=Option("x", [1, 2, 3, 4]))
    if kind == "callable":
        research = research.add_callable(
            "unit", stubborn, args=[EC("x"), E().iteration, str(due)], save_to="y"
        )
    elif kind == "generator":
        research = research.add_generator("unit", walk, args=[EC("x"), str(due)], save_to="y")
    elif kind == "root":
        research = research.add_callable("unit", stubborn, args=[EC("x"), 0, str(due)], root=True)
        research = research.add_callable("y", int, args=[O("unit")], save_to="y")
    else:
        research = research.add_generator("unit", walk, args=[EC("x"), str(due)], root=True)
        research = research.add_callable("y", int, args=[O("unit")], save_to="y")
    with pytest.raises(KeyboardInterrupt):
        research.run(folder, bar=False, n_iters=3, branches=1)
    assert {*research.results.df.x} == {1, 2}
    due.unlink()
    frame = research.run(folder, bar=False, n_iters=3, branches=1, resume=True).results.df
    assert frame.y.tolist() == [x for x in (1, 2, 3, 4) for _ in range(3)]


@pytest.mark.usefixtures("_interrupts")
def test_an_interrupt_in_a_run_of_a_unit_ends_both_runs(tmp_path):
    (tmp_path / "due").touch()

    def inner(x: int) -> list[int]:
        try:
            research = Research(domain=Option("x", [x, 4]))
            return column(
                research.add_callable(
                    stubborn, args=[EC("x"), 0, str(tmp_path / "due")], save_to="y"
                ),
                "y",
            )
        except KeyboardInterrupt:
            return []

    research = Research(domain=Option("x", [1, 3, 5])).add_callable(
        inner, args=[EC("x")], save_to="y"
    )
    with pytest.raises(KeyboardInterrupt):
        research.run(bar=False, dump_results=False)
    assert research.results.df.y.tolist() == [[1, 4]]


@pytest.mark.usefixtures("_interrupts")
def test_a_handler_that_raises_nothing_does_not_end_a_run():
    heard: list[int] = []

    def work(x: int) -> int:
        signal.raise_signal(signal.SIGINT)
        return x

    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        assert column(
            Research(domain=Option("x", [1, 2])).add_callable(work, args=[EC("x")], save_to="y"),
            "y",
        ) == [
            1,
            2,
        ]
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert len(heard) == 2


def test_an_interrupt_while_threads_are_started_ends_the_run_as_any_other(monkeypatch):
    start = threading.Thread.start

    def interrupted_start(thread: threading.Thread) -> None:
        if thread.name == "experiment_1":
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    research = Research(domain=Option("x", range(9))).save(EC("x"), "y")
    with pytest.raises(KeyboardInterrupt):
        research.run(scheduler="threads", workers=3, bar=False, dump_results=False)


def test_an_interrupt_while_the_watch_over_time_limits_is_started_leaves_no_thread(monkeypatch):
    start = threading.Thread.start

    def interrupted_start(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "timeouts":
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    research = Research(domain=Option("x", range(9))).save(EC("x"), "y")
    with pytest.raises(KeyboardInterrupt):
        research.run(timeout=60, scheduler="threads", workers=3, bar=False, dump_results=False)
    assert "timeouts" not in [thread.name for thread in threading.enumerate()]
