"""Progress is a bar in terminals and notebooks, and lines in logs."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import time
from contextlib import redirect_stderr
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from daskresearch import EC, NumpySampler, Option, Research
from daskresearch.watch.observer import Done
from daskresearch.watch.progress import Lines
from tests.support.running import DEADLINE_S, IN_PROCESS, THREADS, on_workers, wait_for

N = 6


@pytest.fixture(params=["serial", "threads", on_workers("client")])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "client":
        return {"scheduler": request.getfixturevalue("client")}
    return {"serial": IN_PROCESS, "threads": THREADS}[request.param]


class Terminal(io.StringIO):
    """Is a terminal, as far as it can be asked."""

    def isatty(self) -> bool:
        return True

    def counts(self) -> list[int]:
        """Return the places where the bar has been."""
        return [int(count) for count in re.findall(r"(\d+)/\d+ \[", self.getvalue())]


def odd(x):
    if x == 3:
        raise ValueError("on purpose")
    return x


def study(name: Any = "study", values: Any = range(N)) -> Research:
    return Research(name, domain=Option("x", list(values))).odd(EC("x"), save_to="y")


def until(gate):
    deadline = time.monotonic() + DEADLINE_S
    i = 0
    while not os.path.exists(gate) and time.monotonic() < deadline:
        time.sleep(0.01)
        yield (i := i + 1)
    while True:
        yield (i := i + 1)


def test_no_progress_is_silent(place, dump_results, tmp_path, capfd):
    study(tmp_path / "study").run(bar=False, n_iters=2, dump_results=dump_results, **place)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(params=[True, False], ids=["folder", "memory"])
def dump_results(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_log_gets_lines_and_no_carriage_return(place, dump_results, tmp_path, capsys):
    study(tmp_path / "study").run(dump_results=dump_results, **place)
    text = capsys.readouterr().err
    assert "\r" not in text
    first, last = text.splitlines()
    assert first == "study: 0/6 experiments"
    assert re.fullmatch(r"study: 6/6 experiments \(100%\) in 00:\d\d, .*/s, 1 failed", last)


def test_a_log_counts_iterations_where_their_number_is_known(place, capsys):
    study().run(n_iters=5, dump_results=False, **place)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "study: 0/30 iterations"
    assert last.startswith("study: 30/30 iterations (100%)")


def test_a_log_of_an_endless_domain_has_no_share(capsys):
    research = Research("draws", domain=Option("x", NumpySampler("u"))).save(EC("x"), "y")
    research = research.update_domain(lambda: {"x": [1]}, 3)
    research.run(dump_results=False)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "draws: 0 experiments"
    assert last.startswith("draws: 4/4 experiments (100%)")


def test_lines_come_each_ten_seconds_or_tenth_whichever_is_rarer():
    seconds = 0.0
    file = io.StringIO()
    lines = Lines(None, file, clock=lambda: seconds)
    lines.run_started("study", None, 1000)
    for n_ended in range(1, 1001):  # two a second: a tenth takes 50 s
        seconds += 0.5
        lines._progressed(Done(1000, n_ended))
    slow = file.getvalue().splitlines()
    assert [re.findall(r"\d+", line)[0] for line in slow] == [
        "0",
        *[str(n) for n in range(100, 1001, 100)],
    ]
    assert slow[1] == "study: 100/1000 experiments (10%), 2/s, 07:30 left, 0 failed"

    seconds, file = 0.0, io.StringIO()
    lines = Lines(None, file, clock=lambda: seconds)
    lines.run_started("study", None, 1000)
    for n_ended in range(1, 1001):  # 32 a second: a tenth takes about 3 s
        seconds += 1 / 32
        lines._progressed(Done(1000, n_ended))
    assert [re.findall(r"\d+", line)[0] for line in file.getvalue().splitlines()] == [
        "0",
        "320",
        "640",
        "960",
    ]


def test_a_terminal_gets_a_bar_that_ends_where_it_should(place, dump_results, tmp_path):
    with redirect_stderr(Terminal()) as terminal:
        study(tmp_path / "study").run(n_iters=5, dump_results=dump_results, **place)
    assert terminal.counts()[-1] == 30
    assert "failed=1" in terminal.getvalue()
    assert "it/s" in terminal.getvalue()


def test_a_terminal_of_no_size_gets_lines():
    here, there = pty.openpty()
    try:
        with open(there, "w") as terminal, redirect_stderr(terminal):
            study().run(dump_results=False)
            shown = b""
            while (
                b"study: 6/6 experiments (100%)" not in shown
            ):  # a terminal passes on what it has so far
                assert select.select([here], [], [], DEADLINE_S)[0], shown
                shown += os.read(here, 10_000)
    finally:
        os.close(here)


class Gone(io.StringIO):
    """Is a pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "gone"])
def test_a_log_that_nobody_reads_any_more_does_not_end_a_run(closes):
    log = Gone()
    if closes:
        log.close()
    with redirect_stderr(log):
        research = Research("study").save(1, "one").run(dump_results=False)
    assert len(research.results) == 1


def test_a_bar_moves_while_a_long_experiment_runs(place, tmp_path):
    gate = tmp_path / "gate"
    research = Research("long").add_generator(until, gate=str(gate), save_to="i")
    with redirect_stderr(Terminal()) as terminal:
        research.run(n_iters=10_000, dump_results=False, detach=True, **place)
    wait_for(lambda: max(terminal.counts(), default=0) > 0)
    assert not research.is_finished
    gate.touch()
    assert research.wait(DEADLINE_S)
    assert terminal.counts()[-1] == 10_000


def test_a_resumed_run_counts_what_was_there(place, tmp_path):
    study(tmp_path / "study", [0, 1, 2]).run(bar=False, **place)
    with redirect_stderr(Terminal()) as terminal:
        study(tmp_path / "study", [0, 1, 2, 4, 5]).run(resume=True, **place)
    assert terminal.counts()[-1] == 5


@pytest.mark.slow
@pytest.mark.cluster
def test_a_notebook_gets_a_bar(tmp_path):
    source = (
        "from daskresearch import Research\n"
        "_ = Research('study').save(1, 'one').run(dump_results=False)"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = str(notebook.cells[0].outputs)
    assert "1/1 [" in shown
    assert "1/1 experiments" not in shown
