"""A kernel that is closed during a run leaves no process, and a folder to go on from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import KernelManager

from daskresearch import ResearchResults
from tests.support.clusters import two_workers
from tests.support.crashing import are_gone
from tests.support.lasting import N_SHORT, SEED, check_goes_on, has_begun, let_go, n_active
from tests.support.running import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

CELL = """
from distributed import Client
from tests.support.lasting import research_of

options = {{"workers": 2}}
if {file!r}:
    options = {{"scheduler": Client(scheduler_file={file!r}, set_as_default=False)}}
research = research_of({folder!r})
research.run({folder!r} + "/results", bar=False, seed={seed}, detach={detach}, **options)
"""


@contextmanager
def kernel() -> Iterator[KernelManager]:
    """Give the manager of a started kernel, which is killed in the end if it is still there."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    try:
        yield manager
    finally:
        if manager.is_alive():
            manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def close_in_the_midst(folder: Path, *, file: str, detach: bool, now: bool) -> None:
    """Close a kernel while experiments run, and wait for the end of its processes."""
    (folder / "waits").touch()
    with kernel() as manager:
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            client.execute(CELL.format(folder=str(folder), file=file, seed=SEED, detach=detach))
            wait_for(lambda: has_begun(folder))
            wait_for(lambda: len(ResearchResults(str(folder / "results")).df) >= N_SHORT - 2)
            process = psutil.Process(manager.provisioner.pid)  # type: ignore[union-attr]
            started = [process, *process.children(recursive=True)]
        finally:
            client.stop_channels()
        manager.shutdown_kernel(now=now)
        wait_for(lambda: are_gone(started))


CLOSINGS = pytest.mark.parametrize("now", [False, True], ids=["politely", "killed"])
WAYS = pytest.mark.parametrize("detach", [False, True], ids=["blocking", "detached"])


@CLOSINGS
@WAYS
def test_a_closed_kernel_takes_its_workers_along_and_leaves_a_folder_that_goes_on(
    tmp_path, detach, now
):
    close_in_the_midst(tmp_path, file="", detach=detach, now=now)
    assert len(ResearchResults(str(tmp_path / "results")).df) >= N_SHORT - 2
    check_goes_on(tmp_path)


@CLOSINGS
@WAYS
def test_a_closed_kernel_leaves_a_cluster_free_and_a_folder_that_goes_on(tmp_path, detach, now):
    with two_workers(tmp_path / "servers") as (servers, client):
        close_in_the_midst(tmp_path, file=servers.file, detach=detach, now=now)
        let_go(tmp_path)
        wait_for(
            lambda: not client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
        )
        wait_for(lambda: not any(client.run(n_active).values()))
        assert len(ResearchResults(str(tmp_path / "results")).df) >= N_SHORT - 2
        check_goes_on(tmp_path)
