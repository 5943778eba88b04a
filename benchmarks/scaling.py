"""What stays when there are many workers.

That is the time that the client and the scheduler take for each batch.

A worker process of many threads, whose experiments sleep, stands for many workers: it asks as much
of the other two.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.cluster import external_cluster
from benchmarks.floors import mix, small_values
from benchmarks.measure import Row, Sizes, WrongRowsError, in_fresh_interpreter
from daskresearch import EC, Domain, Research

if TYPE_CHECKING:
    from distributed import Client

_FLOOR = "Dask, a task each"


def scaling(sizes: Sizes) -> list[Row]:
    """Measure the seconds of client and scheduler, for batches of one and of many."""
    return [row for group in (served, spread) for row in in_fresh_interpreter(group, sizes)]


def served(sizes: Sizes) -> list[Row]:
    """Experiments that are batches of their own, on threads that stand for workers."""
    n, n_threads, nap_s = sizes.n_naps, sizes.n_threads, sizes.nap_s
    rows = []
    with (
        external_cluster(1, n_threads) as (client, scheduler),
        tempfile.TemporaryDirectory() as folder,
    ):
        _run_naps(client, n_threads, 0.01)  # what is done but once
        places = [("", None), (", into a folder", Path(folder))]
        found = {
            text: _cpu_s(scheduler, lambda path=path: _run_naps(client, n, nap_s, path))
            for text, path in places
        }
        floor = _cpu_s(scheduler, lambda: _map_naps(client, n, nap_s))
    for text, (client_s, scheduler_s, elapsed_s) in found.items():
        what = f"{n:,} batches of one experiment of {nap_s:g} s, {n_threads} threads{text}"
        unit = "ms of CPU a batch"
        rows += [
            Row(f"{what}: client", 1e3 * client_s / n, 1e3 * floor[0] / n, unit, _FLOOR),
            Row(f"{what}: scheduler", 1e3 * scheduler_s / n, 1e3 * floor[1] / n, unit, _FLOOR),
            Row(f"{what}: elapsed", elapsed_s, n * nap_s / n_threads, "s", "ideal"),
        ]
    return rows


def spread(sizes: Sizes) -> list[Row]:
    """Ever more small experiments on two workers."""
    rows = []
    with external_cluster() as (client, scheduler):
        _run_small(client, sizes.growing[0])
        for n, text in [*[(n, "") for n in sizes.growing], (sizes.growing[-1], ", into a folder")]:
            times = []
            for _ in range(sizes.n_long_rounds):
                with tempfile.TemporaryDirectory() as place:
                    folder = Path(place) if text else None
                    times.append(
                        _cpu_s(scheduler, lambda n=n, folder=folder: _run_small(client, n, folder))
                    )
            client_s, scheduler_s, elapsed_s = map(statistics.median, zip(*times, strict=True))
            what, unit = f"{n:,} small experiments, cluster{text}", "µs an experiment"
            rows.append(
                Row(
                    f"{what}: client, and scheduler",
                    1e6 * client_s / n,
                    1e6 * scheduler_s / n,
                    unit,
                    "CPU",
                )
            )
            rows.append(
                Row(
                    f"{what}: elapsed, and client",
                    1e6 * elapsed_s / n,
                    1e6 * client_s / n,
                    unit,
                    "CPU",
                )
            )
    return rows


def _cpu_s(scheduler: psutil.Process, function: Callable[[], object]) -> tuple[float, float, float]:
    """Return the seconds of CPU of this process and the scheduler, and those elapsed."""
    processes = (psutil.Process(), scheduler)
    before = [sum(process.cpu_times()[:2]) for process in processes]
    start = time.perf_counter()
    function()
    elapsed = time.perf_counter() - start
    spent = [
        sum(process.cpu_times()[:2]) - begun
        for process, begun in zip(processes, before, strict=True)
    ]
    # the clock of processes ticks a hundred times a second
    client_s, scheduler_s = (max(seconds, 0.01) for seconds in spent)
    return client_s, scheduler_s, elapsed


def _nap(seconds: float, x: int) -> int:
    time.sleep(seconds)
    return x


def _run_naps(client: Client, n: int, nap_s: float, folder: Path | None = None) -> None:
    research = Research(domain=Domain(x=range(n))).add_callable(
        "nap", _nap, args=[nap_s, EC("x")], save_to="y"
    )
    _run(research, client, n, folder)


def _map_naps(client: Client, n: int, nap_s: float) -> None:
    futures = client.map(_nap, [nap_s] * n, range(n), pure=False)
    if client.gather(futures) != list(range(n)):
        raise WrongRowsError("Dask gave other values")


def _run_small(client: Client, n: int, folder: Path | None = None) -> None:
    a, b = small_values(n)
    research = Research(domain=Domain(a=a, b=b)).add_callable(
        mix, a=EC("a"), b=EC("b"), save_to="mixed"
    )
    _run(research, client, n, folder)


def _run(research: Research, client: Client, n: int, folder: Path | None) -> None:
    name = None if folder is None else str(folder / "results")
    results = research.run(
        name, dump_results=folder is not None, bar=False, scheduler=client
    ).results
    if len(results) != n:
        raise WrongRowsError(f"{len(results)} experiments, not {n}")
