"""The private cluster has the processes asked for, whatever happened to others."""

from __future__ import annotations

import os
import signal
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
    # a cluster looks for a lost worker again a quarter of a minute later
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
