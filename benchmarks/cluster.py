"""What a cluster that was started elsewhere costs.

It is a scheduler and two workers, each a process of its own.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.floors import mix, small_loop, small_values
from benchmarks.floors_shared import burn, prefix_in_two, steps_a_second
from benchmarks.measure import Row, Sizes, Target, WrongRowsError, in_fresh_interpreter, in_turn
from benchmarks.sharing import FORKS, once, run_prefix
from benchmarks.storage import peak_kb
from benchmarks.workloads import run_small, small_rows
from daskresearch import EC, Domain, NumpySampler, Research

if TYPE_CHECKING:
    from distributed import Client

_N_WORKERS = 2
_ENDED_S = 10
_MOST_OVERHEAD = Target(round(1 / 0.93, 3), "ratio")


def cluster(sizes: Sizes) -> list[Row]:
    """Run small, short, sharing and ever more experiments on two workers elsewhere."""
    groups = (small_outside, moments, prefix_outside, memory_outside, endless_outside)
    return [row for group in groups for row in in_fresh_interpreter(group, sizes)]


def small_outside(sizes: Sizes) -> list[Row]:
    """Many small experiments."""
    rows = []
    with external_cluster() as (client, _):
        for n in sizes.growing[:2]:
            functions = {
                "ours": run_small(n, scheduler=client),
                "plain loop": partial(small_loop, n),
            }
            times_s = in_turn(functions, sizes.n_rounds)
            rows += small_rows(f"{n:,} small experiments, cluster", times_s, n, Target(120))
    return rows


def moments(sizes: Sizes) -> list[Row]:
    """Experiments of some ms, which sleep or keep a core busy, and tell how long."""
    n_steps = round(sizes.moment_s * steps_a_second())
    with external_cluster() as (client, _):
        rows = []
        for what, unit in {
            "sleep": partial(_slept_s, sizes.moment_s),
            "work": partial(_worked_s, n_steps),
        }.items():
            research = Research(domain=Domain(x=range(sizes.n_moments)))
            research = research.add_callable("moment", unit, args=[EC("x")], save_to="seconds")
            times = [
                _time_of_workers(research, client, sizes.n_moments)
                for _ in range(sizes.n_long_rounds + 1)
            ][1:]
            ours, floor = sorted(times, key=lambda pair: pair[0] / pair[1])[len(times) // 2]
            text = (
                f"{sizes.n_moments} experiments that {what} {1000 * sizes.moment_s:.0f} ms, cluster"
            )
            rows.append(Row(text, ours, floor, "s of two workers", "in user code", _MOST_OVERHEAD))
    return rows


def _time_of_workers(research: Research, client: Client, n_experiments: int) -> tuple[float, float]:
    """Return the seconds of all workers in a run, and those spent in units."""
    gc.collect()
    start = time.perf_counter()
    frame = research.run(bar=False, dump_results=False, scheduler=client).results.df
    elapsed = time.perf_counter() - start
    if len(frame) != n_experiments:
        raise WrongRowsError(f"{len(frame)} rows, not {n_experiments}")
    return _N_WORKERS * elapsed, float(frame["seconds"].sum())


def _slept_s(seconds: float, x: int) -> float:
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def _worked_s(n_steps: int, x: int) -> float:
    start = time.perf_counter()
    burn(n_steps)
    return time.perf_counter() - start


def prefix_outside(sizes: Sizes) -> list[Row]:
    """Run a load and its many short branches."""
    with (
        multiprocessing.get_context("fork").Pool(1) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        pool.map(abs, range(1))  # it must be there before threads are: it is what forks
        a_second = pool.apply(steps_a_second)
        n_load, n_score = (
            round(sizes.short_load_s * a_second),
            round(sizes.short_branch_s * a_second),
        )
        n = sizes.n_short_branches
        expected = list(enumerate(pool.apply(prefix_in_two, (os.devnull, n_load, n_score, n))))
        with external_cluster() as (client, _):
            functions: dict[str, Callable[[str], object]] = {
                "ours": lambda path: run_prefix(path, n_load, n_score, expected, scheduler=client),
                FORKS: lambda path: pool.apply(prefix_in_two, (path, n_load, n_score, n)),
            }
            paths = map(str, itertools.count())
            runs = {
                name: partial(once, function, folder, paths) for name, function in functions.items()
            }
            times_s = in_turn(runs, sizes.n_long_rounds)
    text = f"load of {sizes.short_load_s:g} s, {n} branches of {sizes.short_branch_s:g} s, cluster"
    return [Row(text, times_s["ours"], times_s[FORKS], "s", FORKS, Target(1.08, "ratio"))]


def memory_outside(sizes: Sizes) -> list[Row]:
    """Run ever so many experiments, and see what the client and the scheduler hold."""
    n = sizes.growing[-1]
    found = [in_fresh_interpreter(_grown_mb, sizes) for _ in range(min(sizes.n_long_rounds, 3))]
    here = [in_fresh_interpreter(_grown_here_mb, sizes) for _ in found]
    client, early, late = map(statistics.median, zip(*found, strict=True))
    text = f"memory: {n:,} experiments, cluster"
    unit = "MB resident"
    return [
        Row(f"{text}, client", client, statistics.median(here), f"{unit} beyond the start",
            "in this process", Target(200, "more")),
        Row(f"{text}, scheduler", late, early, unit, "after a tenth", Target(10, "more")),
    ]  # fmt: skip


def _grown_mb(sizes: Sizes) -> tuple[float, float, float]:
    """Return the MB by which the client grew, and the scheduler's early and late.

    Early is after a tenth of the experiments, late at the end.
    """
    n = sizes.growing[-1]
    with external_cluster() as (client, scheduler):
        _small(sizes.growing[0]).run(bar=False, dump_results=False, scheduler=client)
        before = _begin_peak()
        research = _small(n).run(bar=False, dump_results=False, scheduler=client, detach=True)
        while len(research.results) < n / 10:
            time.sleep(0.01)
        early = scheduler.memory_info().rss
        research.wait()
        grown = _grown_since(before)
        late = scheduler.memory_info().rss
        if len(research.results) != n:
            raise WrongRowsError(f"{len(research.results)} experiments, not {n}")
    return grown, early / 1e6, late / 1e6


def _grown_here_mb(sizes: Sizes) -> float:
    """Return the MB by which this process grew at the peak of a run, results and all."""
    _small(sizes.growing[0]).run(bar=False, dump_results=False)
    before = _begin_peak()
    _small(sizes.growing[-1]).run(bar=False, dump_results=False)
    return _grown_since(before)


def endless_outside(sizes: Sizes) -> list[Row]:
    """Run an endless domain; see what client and scheduler hold early and late."""
    found = [in_fresh_interpreter(_endless_mb, sizes) for _ in range(min(sizes.n_long_rounds, 3))]
    early, late = [
        list(map(statistics.median, zip(*moment, strict=True)))
        for moment in zip(*found, strict=True)
    ]
    text = f"memory: {sizes.growing[2]:,} experiments of an endless domain into a folder, cluster"
    # Dask keeps 1000 messages, which takes about as many batches to reach
    return [
        Row(
            f"{text}, {what}",
            at_end,
            before,
            "MB resident",
            f"after {sizes.growing[1]:,}",
            Target(32, "more"),
        )
        for what, before, at_end in zip(("client", "scheduler"), early, late, strict=True)
    ]


def _endless_mb(sizes: Sizes) -> list[tuple[float, float]]:
    """Return the MB of client and scheduler after some experiments and after many."""
    with external_cluster() as (client, scheduler), tempfile.TemporaryDirectory() as folder:
        research = Research(os.path.join(folder, "research"), Domain(x=NumpySampler("uniform")))
        research = research.save(EC("x"), "y").update_domain(
            lambda: None, when=sizes.growing[1]
        )  # which it never does
        research.run(bar=False, scheduler=client, detach=True)
        held = []
        for n in sizes.growing[1:]:
            while research.monitor.n_finished < n:
                if research.wait(0.01):
                    raise WrongRowsError("an endless run has ended")
            held.append(
                (psutil.Process().memory_info().rss / 1e6, scheduler.memory_info().rss / 1e6)
            )
        research.terminate()
        research.wait()
    return held


def _small(n_experiments: int) -> Research:
    a, b = small_values(n_experiments)
    return Research(domain=Domain(a=a, b=b)).add_callable(
        mix, a=EC("a"), b=EC("b"), save_to="mixed"
    )


def _begin_peak() -> int:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    return peak_kb()


def _grown_since(before_kb: int) -> float:
    return max(peak_kb() - before_kb, 1) / 1000


@contextmanager
def external_cluster(
    n_workers: int = _N_WORKERS, n_threads: int = 1
) -> Iterator[tuple[Client, psutil.Process]]:
    """Give a client of two single-thread workers, or others, and their scheduler."""
    from distributed import Client

    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "scheduler.json")
        common = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        of_worker = [
            "--nthreads",
            str(n_threads),
            "--no-nanny",
            "--death-timeout",
            "60",
            "--local-directory",
            folder,
        ]
        commands = [["dask_scheduler", *common, "--port", "0"]] + [
            ["dask_worker", *common, *of_worker]
        ] * n_workers
        processes = [
            _server(module, [*options, "--scheduler-file", file]) for module, *options in commands
        ]
        try:
            while not os.path.exists(file):
                time.sleep(0.01)
                if processes[0].poll() is not None:
                    raise RuntimeError("no scheduler has started")
            with Client(scheduler_file=file, set_as_default=False) as client:
                client.wait_for_workers(n_workers, timeout=60)
                yield client, psutil.Process(processes[0].pid)
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in reversed(processes):
                try:
                    process.wait(_ENDED_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _server(module: str, options: list[str]) -> subprocess.Popen[bytes]:
    """Return a process of Dask's command line, which imports what this one can.

    It says next to nothing.
    """
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "DASK_LOGGING__DISTRIBUTED": "critical",
    }
    return subprocess.Popen([sys.executable, "-m", f"distributed.cli.{module}", *options], env=env)
