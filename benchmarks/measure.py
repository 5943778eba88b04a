"""How to measure: rounds in turn, fresh interpreters, rows of the table."""

from __future__ import annotations

import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, final

Name = TypeVar("Name")
Result = TypeVar("Result")

_ROUND_S = 0.02


class WrongRowsError(AssertionError):
    """A workload gave other rows than its floor."""


@final
@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of each workload is done.

    Attributes
    ----------
    n_experiments : int
        Of many small ones.
    n_loops, n_iters : int
        Experiments that are long, and the iterations of each.
    growing : tuple of int
        Numbers of experiments to compare, ascending.
    n_rounds : int
        After one that is not measured.
    n_long_rounds : int
        The same where one takes seconds.
    array_mb : int
        The array that is fingerprinted.
    n_nodes, n_delayed : int
        Experiments in a graph, and in one of `dask.delayed`.
    n_previewed : int
        Configs of a domain that is only looked at.
    load_s, branch_s : float
        How long a shared load and each of its branches take about, on one core.
    n_branches : int
        Of the load.
    short_load_s, short_branch_s, n_short_branches : float, float, int
        The same of a short load.
    n_moments, moment_s : int, float
        Experiments without a load, and how long each takes.
    n_naps, nap_s, n_threads : int, float, int
        Experiments that sleep, how long, and on how many threads.
    n_samples : int
        That classifiers learn from and are tested on.
    n_curves, short_iters, long_iters : int
        Experiments in a folder that is read, and the iterations of each, of two such folders.
    """

    n_experiments: int = 1_000
    n_loops: int = 8
    n_iters: int = 5_000
    growing: tuple[int, int, int] = (1_000, 10_000, 100_000)
    n_rounds: int = 11
    n_long_rounds: int = 5
    array_mb: int = 100
    n_nodes: int = 100_000
    n_delayed: int = 5_000
    n_previewed: int = 1_000_000
    load_s: float = 1.0
    branch_s: float = 0.25
    n_branches: int = 16
    short_load_s: float = 0.4
    short_branch_s: float = 0.035
    n_short_branches: int = 120
    n_moments: int = 120
    moment_s: float = 0.05
    n_naps: int = 2_000
    nap_s: float = 0.5
    n_threads: int = 100
    n_samples: int = 12_000
    n_curves: int = 1_000
    short_iters: int = 100
    long_iters: int = 1_000


SMOKE = Sizes(
    n_experiments=40, n_loops=4, n_iters=50, growing=(20, 40, 80), n_rounds=1, n_long_rounds=1,
    array_mb=1, n_nodes=40, n_delayed=20, n_previewed=1_000, load_s=0.02, branch_s=0.005,
    n_branches=4, short_load_s=0.01, short_branch_s=0.005, n_short_branches=4, n_moments=4,
    moment_s=0.005, n_naps=8, nap_s=0.01, n_threads=4, n_samples=300, n_curves=200, short_iters=3,
    long_iters=5,
)  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class Target:
    """A bound of ours, of the ratio of ours to the floor, or of their difference.

    Examples
    --------
    >>> Target(1.3, "ratio").is_met(ours=12, floor=10)
    True
    """

    most: float
    of: str = "ours"

    def is_met(self, ours: float, floor: float) -> bool:
        """Return whether the measured quantity is within the bound."""
        measured = {"ours": ours, "ratio": ours / floor, "more": ours - floor}
        return measured[self.of] <= self.most

    def text(self, unit: str) -> str:
        """Return how the bound reads in the table."""
        if self.of == "ratio":
            return f"ratio ≤ {self.most:g}"
        return f"≤ {self.most:g} {unit}" if self.of == "ours" else f"≤ floor + {self.most:g} {unit}"


@final
@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes
    ----------
    workload : str
    ours, floor : float
        In `unit`.
    unit : str
        Of measure, with what it is counted for: ``"µs an experiment"``.
    floor_name : str
        What the floor is.
    target : Target, optional
    """

    workload: str
    ours: float
    floor: float
    unit: str
    floor_name: str
    target: Target | None = None

    def cells(self) -> list[str]:
        """Return the texts of the cells."""
        target, met = "", ""
        short = self.unit.split()[0]
        if self.target is not None:
            target = self.target.text(short)
            met = "yes" if self.target.is_met(self.ours, self.floor) else "**no**"
        ours, floor = (
            f"{_text(self.ours)} {self.unit}",
            f"{_text(self.floor)} {short} ({self.floor_name})",
        )
        return [self.workload, ours, floor, _text(self.ours / self.floor), target, met]


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table, aligned for reading as text too.

    Examples
    --------
    >>> print(table([Row("import", 1.5, 1.0, "s", "its needs", Target(1.3, "ratio"))]))
    | workload | ours  | floor           | ratio | target      | met    |
    |----------|-------|-----------------|-------|-------------|--------|
    | import   | 1.5 s | 1 s (its needs) | 1.5   | ratio ≤ 1.3 | **no** |
    """
    lines = [
        ["workload", "ours", "floor", "ratio", "target", "met"],
        *[row.cells() for row in rows],
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    texts.insert(1, "|" + "|".join(["-" * (width + 2) for width in widths]) + "|")
    return "\n".join(texts)


def _text(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def in_turn(functions: Mapping[Name, Callable[[], object]], n_rounds: int) -> dict[Name, float]:
    """Return the median time of each function, which take turns in rounds.

    Parameters
    ----------
    functions : Mapping of callable
        Each is called once to warm up. In a round, a fast one is called as often as fits in some
        milliseconds.
    n_rounds : int

    Returns
    -------
    dict of float
        Seconds a call, by the same names.
    """
    for function in functions.values():
        function()
    times_s: dict[Name, list[float]] = {name: [] for name in functions}
    for _ in range(n_rounds):
        for name, function in functions.items():
            times_s[name].append(_seconds_a_call(function))
    return {name: statistics.median(times) for name, times in times_s.items()}


def _seconds_a_call(function: Callable[[], object]) -> float:
    gc.collect()  # nobody pays for the garbage of the one before
    n_calls = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _ROUND_S or not n_calls:
        function()
        n_calls += 1
    return elapsed / n_calls


def in_fresh_interpreter(function: Callable[[Sizes], Result], sizes: Sizes) -> Result:
    """Return what a function returns in a new process that has imported nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, sizes).result()
