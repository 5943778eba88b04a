"""The private cluster has as many processes as were asked for, whatever became of them in the runs before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import dask
import psutil
import pytest

import daskresearch
from daskresearch import Option, Research
from tests.support.running import hearing_interrupts, table, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def _no_processes_left() -> Iterator[None]:
    daskresearch.shutdown()
    yield
    daskresearch.shutdown()


def pids(research: Research) -> set[int]:
    return {*table(research, workers=2).pid}


def workers() -> set[int]:
    """Return the processes that multiprocessing has spawned for this one."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


@pytest.mark.slow
def test_a_worker_that_the_cluster_has_given_up_is_started_again_and_no_other():
    research = Research(domain=Option("x", [0, 1, 2, 3])).add_callable(
        "pid", os.getpid, save_to="pid"
    )
    others = workers()  # of clusters of other tests
    first = pids(research)
    # a cluster looks a quarter of a minute after a worker was lost whether it is there, be it away once more
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}):
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not workers() - others)
    assert pids(research).isdisjoint(first)
    assert len(workers() - others) == 2


def interrupt(after_s: float) -> None:
    """Run on two workers what lasts, and press Ctrl-C after some seconds."""
    research = Research(domain=Option("x", [0, 1])).add_callable("sleep", time.sleep, args=[20])
    finger = threading.Timer(after_s, os.kill, [os.getpid(), signal.SIGINT])
    with hearing_interrupts():
        finger.start()
        with pytest.raises(KeyboardInterrupt):
            table(research, workers=2)
        finger.join()


@pytest.mark.parametrize("after_s", [pytest.param(0.1, marks=pytest.mark.slow), 0.5])
def test_an_interrupt_while_workers_start_leaves_none_that_shutdown_does_not_end(after_s):
    others = workers()
    interrupt(after_s)
    daskresearch.shutdown()
    wait_for(lambda: not workers() - others)


@pytest.mark.slow
def test_workers_whose_start_was_interrupted_serve_the_next_run():
    research = Research(domain=Option("x", [0, 1])).add_callable("pid", os.getpid, save_to="pid")
    others = workers()
    interrupt(0.3)
    assert pids(research) <= workers() - others
    assert len(workers() - others) == 2


WITHOUT_SIGNALS = """
import signal
import subprocess
import sys

import distributed.nanny  # looks for signals itself

for name in ("SIGKILL", "SIGURG", "pthread_kill"):
    delattr(signal, name)

from daskresearch import EC, Option, Research, shutdown

def spin(x):
    while x == 1:
        pass
    return x

def main():
    research = Research(domain=Option("x", [0, 1, 2])).spin(EC("x"), save_to="y")
    for options in ({}, {"scheduler": "threads"}, {"workers": 2}):
        research.run(bar=False, dump_results=False, timeout=1, **options)
        print(research.results.df.y.tolist(), research.results.failures.kind.tolist())
    shutdown()

if __name__ == "__main__":
    main()
"""


def test_runs_end_experiments_and_processes_without_the_signals_that_windows_lacks(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_SIGNALS)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines() == ["[0, 2] ['timeout']"] * 3
    assert (done.returncode, done.stderr) == (0, "")
