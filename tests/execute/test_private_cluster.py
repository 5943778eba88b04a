"""The private cluster has as many processes as were asked for, whatever became of them in the runs before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import dask
import psutil
import pytest

import daskresearch
from daskresearch import Option, Research
from tests.running import table, wait_for


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
    research = Research(domain=Option("x", [0, 1, 2, 3])).add_callable("pid", os.getpid, save_to="pid")
    others = workers()  # of clusters of other tests
    first = pids(research)
    # a cluster looks a quarter of a minute after a worker was lost whether it is there, be it away once more
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}):
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not workers() - others)
    assert pids(research).isdisjoint(first)
    assert len(workers() - others) == 2
