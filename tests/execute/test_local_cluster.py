"""Clusters that a user starts on one machine: who may start processes, and who sees which GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from daskresearch import Research, local_cluster
from daskresearch.errors import OptionError
from tests.support.running import table, wait_for


@pytest.mark.cluster
def test_each_gpu_has_a_worker_that_sees_it_alone():
    with (
        local_cluster(gpus=[3, "GPU-7f"]) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        assert sorted(seen.values()) == ["3", "GPU-7f"]
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [(worker["resources"], worker["nthreads"]) for worker in workers] == [
            ({"GPU": 1}, 1)
        ] * 2


@pytest.mark.cluster
def test_a_worker_that_is_restarted_sees_its_gpu_again():
    with local_cluster(gpus=[5]) as cluster, Client(cluster, set_as_default=False) as client:
        client.restart()
        assert list(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["5"]


@pytest.mark.cluster
def test_units_on_a_local_cluster_may_start_processes_of_their_own():
    def spawn() -> tuple[int, int]:
        import multiprocessing

        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return os.getpid(), pool.apply(os.getppid)

    with local_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        research = Research().spawn(save_to=["worker", "parent"])
        (row,) = table(research, "worker", "parent", scheduler=client).itertuples(index=False)
    assert row.worker == row.parent != os.getpid()


@pytest.mark.cluster
def test_workers_have_the_threads_and_the_memory_that_were_asked_for():
    with (
        local_cluster(2, threads=3, memory_limit="300 MB") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [(worker["nthreads"], worker["memory_limit"]) for worker in workers] == [
            (3, 300_000_000)
        ] * 2


@pytest.mark.cluster
def test_a_local_cluster_listens_on_loopback_alone_and_leaves_no_process():
    here = psutil.Process()
    before = {*here.children(recursive=True)}
    with local_cluster(1) as cluster, Client(cluster, set_as_default=False):
        started = [process for process in here.children(recursive=True) if process not in before]
        ours = [
            connection
            for process in [here, *started]
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert {connection.laddr.ip for connection in ours} == {"127.0.0.1"}
    wait_for(
        lambda: (
            not any(
                is_alive(process)
                for process in started
                if "resource_tracker" not in text_of(process)
            )
        )
    )


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def text_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"workers": 3, "gpus": [0, 1]}, "workers=3 is not the number of gpus, 2"),
        ({"workers": 0}, "workers=0 must be a positive integer"),
        ({"workers": 1.5}, "workers=1.5 must be a positive integer"),
        ({"threads": 0}, "threads=0 must be a positive integer"),
        ({"gpus": []}, "names no device"),
        ({"gpus": "0"}, "must be a list of ids"),
        ({"gpus": [1, "1"]}, "names a device twice"),
        ({"gpus": [0.5]}, "has 0.5, which is no id"),
        ({"memory_limit": "much"}, "memory_limit='much' is no size"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_process_is_started(
    options: dict[str, Any], text: str
):
    with pytest.raises(OptionError, match=text):
        local_cluster(**options)


SCRIPT = """
from distributed import Client
from daskresearch import EC, Option, Research, local_cluster

def square(x):
    return x * x

def main():
    client = Client(local_cluster(1))
    research = Research(domain=Option("x", [1, 2, 3])).square(EC("x"), save_to="y")
    print(research.run(bar=False, dump_results=False).results.df.y.tolist())

{call}
"""


def run_script(path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.cluster
@pytest.mark.slow
def test_a_script_that_closes_nothing_comes_to_its_end(tmp_path: Path):
    done = run_script(
        tmp_path / "script.py", SCRIPT.format(call='if __name__ == "__main__":\n    main()')
    )
    assert (done.stdout, done.returncode) == ("[1, 4, 9]\n", 0)
    assert "Traceback" not in done.stderr


@pytest.mark.cluster
@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_to_put_its_cluster_under_one(tmp_path: Path):
    done = run_script(tmp_path / "script.py", SCRIPT.format(call="main()"))
    assert done.returncode != 0
    assert (
        'if __name__ == "__main__":\n        local_cluster()'
        in done.stderr.rpartition("ClusterError")[2]
    )
