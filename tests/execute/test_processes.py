"""Runs on private worker processes, which stay warm, die, and get code of any origin."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import daskresearch
from daskresearch import EC, EP, Domain, E, O, Option, Research
from daskresearch.errors import PickleError
from tests.support.running import DEADLINE_S, wait_for

pytestmark = pytest.mark.cluster

OFFSET = 10


def process_of(x: int) -> int:
    return os.getpid()


def append(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text + "\n")


def plus_offset(x: int) -> int:
    return helper(x) + OFFSET


def helper(x: int) -> int:
    return 2 * x


@pytest.fixture(scope="module", autouse=True)
def _no_processes_left() -> object:
    yield
    daskresearch.shutdown()


def run(research: Research, **options: object) -> Research:
    return research.run(bar=False, dump_results=False, workers=2, **options)


def test_experiments_run_in_worker_processes_that_stay_warm_for_the_next_run():
    research = Research(domain=Option("x", list(range(40)))).process_of(EC("x"), save_to="pid")
    first, second = ({*run(research).results.df.pid} for _ in range(2))
    assert os.getpid() not in first | second
    assert len(first | second) <= 2


def test_another_number_of_workers_scales_the_processes():
    def wait_with(path: str, x: int) -> int:
        append(path, str(os.getpid()))
        wait_for(lambda: len({*Path(path).read_text().split()}) == 3)
        return os.getpid()

    path = str(Path(os.environ.get("TMPDIR", "/tmp")) / f"pids-{os.getpid()}")
    research = Research(domain=Option("x", [0, 1, 2])).wait_with(path, EC("x"), save_to="pid")
    try:
        assert research.run(workers=3, bar=False, dump_results=False).results.df.pid.nunique() == 3
    finally:
        os.remove(path)


def test_shutdown_ends_the_processes_and_the_next_run_starts_others():
    research = Research(domain=Option("x", [1])).process_of(EC("x"), save_to="pid")
    before = run(research).results.df.pid.item()
    daskresearch.shutdown()
    wait_for(lambda: not Path(f"/proc/{before}").exists())
    assert run(research).results.df.pid.item() != before


def test_private_processes_listen_on_loopback_alone():
    run(Research(domain=Option("x", [1])).process_of(EC("x"), save_to="pid"))
    here = psutil.Process()
    sockets = [
        connection.laddr.ip
        for process in [here, *here.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert sockets
    assert set(sockets) == {"127.0.0.1"}


def test_closures_lambdas_partials_classes_and_helpers_travel():
    factor = 3

    class Calc:
        def __init__(self, base: int) -> None:
            self.base = base

        def add(self, x: int) -> int:
            return self.base + x

    research = (
        Research(domain=Option("x", [1, 2]))
        .add_callable("closure", lambda x: factor * x, args=[EC("x")], save_to="closure")
        .add_callable("partial", functools.partial(pow, 2), args=[EC("x")], save_to="partial")
        .add_callable(plus_offset, args=[EC("x")], save_to="helped")
        .add_instance("calc", Calc, base=EC("x"))
        .add_callable("calc.add", args=[100], save_to="method")
    )
    table = run(research).results.df
    assert table[["closure", "partial", "helped", "method"]].values.tolist() == [
        [3, 2, 12, 101],
        [6, 4, 14, 102],
    ]


def test_values_of_a_domain_may_be_functions_classes_and_lambdas():
    def apply(f, x):
        return f(x)

    domain = Option("f", [helper, len, daskresearch.Alias(lambda text: text[0], "first")])
    table = run(Research(domain=domain).apply(EC("f"), "3" * 2, save_to="y")).results.to_df(
        use_alias=True
    )
    assert table.f.tolist() == ["helper", "len", "first"]
    assert table.y.tolist() == ["3333", 2, "3"]


def test_an_edited_and_reloaded_module_is_followed_by_warm_workers(tmp_path, monkeypatch):
    source = tmp_path / "users_steps.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source.write_text("def helper(x):\n    return x\n\ndef step(x):\n    return helper(x)\n")
    module = importlib.import_module("users_steps")
    research = Research(domain=Option("x", [5]))
    assert run(research.add_callable(module.step, x=EC("x"), save_to="y")).results.df.y.item() == 5
    source.write_text("def helper(x):\n    return -x * 10\n\ndef step(x):\n    return helper(x)\n")
    importlib.reload(module)
    assert (
        run(research.add_callable(module.step, x=EC("x"), save_to="y")).results.df.y.item() == -50
    )
    del sys.modules["users_steps"]


def test_an_instance_of_a_users_class_comes_back_as_one_of_that_class():
    class Result:
        def __init__(self, x: int) -> None:
            self.x = x

    results = run(
        Research(domain=Option("x", [4])).add_callable("make", Result, args=[EC("x")], save_to="r")
    ).results
    assert type(results.df.r.item()) is Result
    assert results.df.r.item().x == 4


def test_a_unit_that_cannot_travel_is_refused_with_the_argument_at_fault_before_anything_runs(
    tmp_path,
):
    lock = threading.Lock()
    path = str(tmp_path / "calls")
    research = (
        Research().append(path, "before").add_callable("guard", lambda a, lock: a, a=1, lock=lock)
    )
    with pytest.raises(
        PickleError, match=r"unit 'guard' cannot travel.*argument 'lock'.*workers=1"
    ):
        run(research)
    assert not os.path.exists(path)

    def uses_lock() -> bool:
        return lock.locked()

    with pytest.raises(PickleError, match=r"unit 'uses_lock' cannot travel.*its function"):
        run(Research().uses_lock())
    assert research.run(bar=False, dump_results=False).results.failures.empty


def test_an_output_that_cannot_be_pickled_fails_its_experiment_alone():
    def make(x: int) -> object:
        return threading.Lock() if x == 2 else x

    results = run(Research(domain=Option("x", [1, 2, 3])).make(EC("x"), save_to="y")).results
    assert results.df[["x", "y"]].values.tolist() == [[1, 1], [3, 3]]
    assert "variable 'y' (lock) cannot be pickled" in results.failures.traceback.item()


def test_an_exception_that_cannot_be_pickled_is_told_by_its_text():
    class OddError(Exception):
        def __init__(self, lock: object, text: str) -> None:
            super().__init__(text)
            self.lock = lock

    def fail() -> None:
        raise OddError(threading.Lock(), "no luck")

    failures = run(Research().fail()).results.failures
    assert "OddError: no luck" in str(failures.exception.item())
    assert "in fail" in failures.traceback.item()


def test_a_unit_that_kills_its_worker_costs_its_experiment_alone():
    def exit_at(x: int) -> int:
        if x == 7:
            os._exit(1)
        return x

    results = run(
        Research(domain=Option("x", list(range(20)))).exit_at(EC("x"), save_to="y")
    ).results
    assert results.df.y.tolist() == [x for x in range(20) if x != 7]
    assert results.failures.unit.tolist() == ["worker"]
    assert results.failures.id.tolist() == results.configs_to_df().id[[7]].tolist()


@pytest.mark.slow
def test_a_run_comes_to_its_end_when_every_experiment_kills_its_worker():
    results = run(
        Research(domain=Option("x", [1, 2, 3])).add_callable("leave", os._exit, args=[3])
    ).results
    assert results.failures.unit.tolist() == ["worker"] * 3


def test_a_root_that_kills_its_worker_fails_the_experiments_that_share_it():
    def load(kind: str) -> str:
        if kind == "bad":
            os._exit(1)
        return kind

    domain = Option("kind", ["good", "bad"]) * Option("x", [1, 2])
    research = Research(domain=domain).load(EC("kind"), root=True).save(O("load"), "loaded")
    results = run(research).results
    assert results.df.loaded.tolist() == ["good", "good"]
    assert results.failures.unit.tolist() == ["load", "load"]


def test_a_steady_root_runs_once_for_all_workers(tmp_path):
    path = str(tmp_path / "calls")

    def load(path: str, kind: str) -> str:
        append(path, kind)
        return kind.upper()

    def use(data: str, x: int) -> str:
        time.sleep(0.05)
        return f"{data}{x}"

    domain = Option("kind", ["a", "b"]) * Option("x", list(range(6)))
    research = (
        Research(domain=domain)
        .load(path, EC("kind"), root=True)
        .use(O("load"), EC("x"), save_to="y")
    )
    table = run(research).results.df
    assert table.y.tolist() == [f"{kind}{x}" for kind in "AB" for x in range(6)]
    assert sorted(Path(path).read_text().split()) == ["a", "b"]


def test_a_root_whose_output_cannot_be_pickled_is_shared_within_each_worker():
    def make_lock() -> object:
        return threading.Lock()

    def use(lock, x: int) -> str:
        return f"{type(lock).__name__}{x}"

    research = (
        Research(domain=Option("x", list(range(8))))
        .make_lock(root=True)
        .use(O("make_lock"), EC("x"), save_to="y")
    )
    assert run(research).results.df.y.tolist() == [f"lock{x}" for x in range(8)]


def test_a_unit_may_start_processes_of_its_own():
    def spawn() -> int:
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(1) as pool:
            return pool.apply(os.getpid)

    assert run(Research().spawn(save_to="pid")).results.failures.empty


def test_root_outputs_reach_experiments_on_workers_read_only():
    import numpy as np

    def spoil(array) -> float:
        array[0] = 9
        return float(array.sum())

    research = Research(domain=Option("x", [1, 2])).add_callable(
        "ones", np.ones, args=[3], root=True
    )
    failures = run(research.spoil(O("ones"), save_to="s")).results.failures
    assert failures.unit.tolist() == ["spoil", "spoil"]
    assert "read-only" in str(failures.exception[0])


def test_folders_of_experiments_are_seen_by_workers_and_live_as_long_as_the_results():
    def note(folder: str, x: int) -> str:
        path = os.path.join(folder, "note.txt")
        append(path, str(x))
        return path

    research = run(Research(domain=Option("x", [1, 2])).note(EP(), EC("x"), save_to="path"))
    paths = research.results.df.path.tolist()
    assert [Path(path).read_text() for path in paths] == ["1\n", "2\n"]
    assert len(set(paths)) == 2
    del research
    assert not any(os.path.exists(path) for path in paths)


def test_long_experiments_are_spread_over_the_workers():
    def sleep(x: int) -> int:
        time.sleep(0.4)
        return os.getpid()

    pids = run(
        Research(domain=Option("x", list(range(4)))).sleep(EC("x"), save_to="pid")
    ).results.df.pid
    assert sorted(pids.value_counts()) == [2, 2]


def test_a_domain_of_millions_is_read_no_further_than_workers_need():
    drawn: list[int] = []

    class Counting:
        def sample(self, size: int) -> list[int]:
            drawn.append(len(drawn))
            return [len(drawn)]

    def slow(x: int) -> int:
        time.sleep(0.02)
        return x

    research = Research(domain=Option("x", Counting()), n_configs=10**6).slow(EC("x"), save_to="y")
    research = research.run(workers=2, bar=False, dump_results=False, detach=True)
    wait_for(lambda: len(research.results) >= 40)
    ahead = len(drawn) - len(research.results)
    research.terminate()
    assert research.wait(DEADLINE_S)
    assert ahead < 600


SCRIPT = """
import sys
from daskresearch import EC, Option, Research

def square(x):
    return x * x

def main():
    research = Research(domain=Option("x", [1, 2, 3])).square(EC("x"), save_to="y")
    print(research.run(workers=2, bar=False, dump_results=False).results.df.y.tolist())

{call}
"""


def run_script(path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=False
    )


CHILD = """
import multiprocessing
from daskresearch import Research

def study():
    research = Research().print("", end="")
    assert research.run(workers=2, bar=False, dump_results=False).results.failures.empty

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=study)
    child.start()
    child.join(60)
    print(child.exitcode)
    child.kill()
"""


@pytest.mark.slow
def test_a_child_process_that_ran_on_workers_comes_to_its_end(tmp_path):
    done = run_script(tmp_path / "script.py", CHILD)
    assert done.stdout == "0\n"


@pytest.mark.slow
def test_workers_end_with_a_process_that_was_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(call='if __name__ == "__main__":\n    main()').replace(
        ".y.tolist())",
        ".y.tolist(), flush=True)\n    __import__('os').kill(__import__('os').getpid(), 9)",
    ))  # fmt: skip
    env = {**os.environ, "MARK_OF_TEST": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )
    assert (done.stdout, done.returncode) == ("[1, 4, 9]\n", -9)
    wait_for(lambda: not workers_with("MARK_OF_TEST", str(tmp_path)))


def workers_with(name: str, value: str) -> list[psutil.Process]:
    """Return the processes that multiprocessing has spawned under an environment variable."""
    spawned = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(process.cmdline()) and process.environ().get(name) == value:
                spawned.append(process)
    return spawned


@pytest.mark.slow
def test_functions_of_a_script_run_on_workers_and_nothing_is_left_at_exit(tmp_path):
    done = run_script(
        tmp_path / "script.py", SCRIPT.format(call='if __name__ == "__main__":\n    main()')
    )
    assert (done.stdout, done.returncode) == ("[1, 4, 9]\n", 0)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_to_have_one(tmp_path):
    done = run_script(tmp_path / "script.py", SCRIPT.format(call="main()"))
    assert done.returncode != 0
    assert 'if __name__ == "__main__":' in done.stderr.rpartition("ClusterError")[2]


def test_an_active_client_is_used_and_a_scheduler_argument_goes_before_it():
    from distributed import Client, LocalCluster

    research = Research(domain=Option("x", list(range(5)))).process_of(EC("x"), save_to="pid")
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        (pid,) = client.run(os.getpid).values()
        assert {*research.run(bar=False, dump_results=False).results.df.pid} == {pid}
        assert {*research.run(bar=False, dump_results=False, scheduler="sync").results.df.pid} == {
            os.getpid()
        }
        assert {*research.run(bar=False, dump_results=False, parallel=False).results.df.pid} == {
            os.getpid()
        }
    assert {*research.run(bar=False, dump_results=False, scheduler="threads").results.df.pid} == {
        os.getpid()
    }


def test_seeds_give_the_same_values_on_processes_as_here():
    def draw(random, x):
        return float(random.normal()) + x

    research = Research(domain=Domain(x=[1, 2, 3]), n_reps=2).draw(E().random, EC("x"), save_to="y")
    here = research.run(seed=3, bar=False, dump_results=False).results.df
    assert here.equals(run(research, seed=3).results.df)
