"""One Ctrl-C keeps what is finished and ends what runs; two end a run at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from distributed import Client

from daskresearch import ResearchResults
from tests.support.clusters import two_workers
from tests.support.crashing import are_gone
from tests.support.lasting import N_SHORT, check_goes_on, has_begun, n_active
from tests.support.running import noted, wait_for

_ENDED_S = 60  # long before units that sleep

_BETWEEN_S = (
    0.05  # when the first is raised, or it makes one with the second; its work is at its midst then
)

SCRIPT = """
import signal
import sys
import threading

from distributed import Client

from tests.support.lasting import research_of
from tests.support.running import note

def pressed(*what):
    note(f"{folder}/pressed", "once")
    raise KeyboardInterrupt

def trace(*what):
    return trace

if __name__ == "__main__":
    place, folder, file = sys.argv[1:]
    signal.signal(signal.SIGINT, pressed)
    client = Client(scheduler_file=file, set_as_default=False) if place == "client" else None
    options = {"threads": {"scheduler": "threads", "workers": 2}, "processes": {"workers": 2}}
    if place == "traced":  # as under a debugger, a profiler, or a measure of coverage
        options[place] = options["threads"]
        sys.settrace(trace)
        threading.settrace(trace)
    research = research_of(folder)
    try:
        where = options.get(place, {"scheduler": client})
        research.run(f"{folder}/results", bar=False, seed=7, **where)
    except KeyboardInterrupt:
        print(research.is_finished, len(research.results.df), flush=True)
"""

PLACES = [
    "serial",
    "threads",
    *[pytest.param(one, marks=pytest.mark.slow) for one in ("processes", "client")],
]


@pytest.fixture
def client(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Client | None]]:
    """Give the file and a client of a scheduler and two workers, if they are asked for."""
    if request.node.callspec.params["place"] != "client":
        yield "", None
        return
    with two_workers(tmp_path / "servers") as (servers, client):
        yield servers.file, client


@contextmanager
def running(place: str, folder: Path, long: str, file: str) -> Iterator[subprocess.Popen[str]]:
    """Give a process with a group of its own, in which a long experiment has begun."""
    (folder / "script.py").write_text(SCRIPT)
    (folder / long).touch()
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, str(folder / "script.py"), place, str(folder), file],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    try:
        wait_for(lambda: process.poll() is not None or has_begun(folder))
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def press(process: subprocess.Popen[str]) -> None:
    """Interrupt a process and all that it has started, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize("place", PLACES)
def test_one_interrupt_keeps_what_is_finished_and_ends_what_runs(place, client, tmp_path):
    file, cluster = client
    with running(place, tmp_path, "waits", file) as process:
        started = psutil.Process(process.pid).children(recursive=True)
        press(process)
        out, told = process.communicate(timeout=_ENDED_S)
    assert "Traceback" not in told
    is_finished, n_rows = out.split()
    assert (process.returncode, is_finished) == (0, "True")
    assert N_SHORT - 2 <= int(n_rows) <= N_SHORT
    assert (
        json.loads((tmp_path / "results" / "research.json").read_text())["runs"][-1]["state"]
        == "stopped"
    )
    wait_for(lambda: are_gone(started))
    if cluster is not None:
        assert not cluster.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
        wait_for(lambda: not any(cluster.run(n_active).values()))
    assert ResearchResults(str(tmp_path / "results")).failures.empty
    check_goes_on(tmp_path)


@pytest.mark.parametrize(
    "place",
    [*[pytest.param(one, marks=pytest.mark.slow) for one in ("serial", "traced")], *PLACES[1:]],
)
def test_two_interrupts_end_a_run_at_once_though_its_units_do_not_return(place, client, tmp_path):
    file, cluster = client
    with running(place, tmp_path, "sleeps", file) as process:
        started = psutil.Process(process.pid).children(recursive=True)
        press(process)
        wait_for(lambda: bool(noted(tmp_path / "pressed")))
        time.sleep(_BETWEEN_S)
        press(process)
        process.communicate(timeout=_ENDED_S)
    wait_for(lambda: are_gone(started))
    if cluster is not None:
        wait_for(
            lambda: not cluster.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
        )
    check_goes_on(tmp_path)
