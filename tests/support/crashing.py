"""Runs to be killed, whose calls are counted, and what must hold of their folders.

Runs are forked from a server that has imported everything, so that one starts in some 0.01 s.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, final

import filelock  # noqa: F401  # what a run imports is there before it is forked
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import zarr
import zarr.storage
from distributed import Client
from pandas.testing import assert_frame_equal

import daskresearch.store.files.opening
import daskresearch.store.folder.writer
from daskresearch import EC, E, Option, Research, ResearchResults
from daskresearch.errors import ResearchError
from daskresearch.store.files.base import is_aside
from tests.support.processes import DEADLINE_S
from tests.support.running import is_nothing, note, noted, wait_for

SEED = 11
N_ITERS = 3
N_CONFIGS = 10

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["tests.support.crashing", "pytest"])
_CHANGES = frozenset(
    {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
)
_TABLES = ("experiments", "results")
_SMALL_BYTES = 200
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def begin(calls: str, x: int, iteration: int, pause_s: float) -> None:
    if iteration == 0:
        note(calls, x)
        time.sleep(pause_s)


def draw(random: np.random.Generator) -> float:
    return float(random.normal())


def fill(random: np.random.Generator, x: int) -> np.ndarray:
    return random.normal(size=300 + x % 2)


def mix(x: int, iteration: int) -> Any:
    return (x, f"text {x}", Fraction(x, 7), [x, None])[(x + iteration) % 4]


def mend(x: int, iteration: int, mended: str) -> None:
    if x % 5 == 3 and iteration == 1 and not os.path.exists(mended):
        raise ValueError(f"{x} fails")


def research_of(
    calls: str, *, pause_s: float = 0.0, mended: str = "/", n: int = N_CONFIGS
) -> Research:
    """Return a research that notes each experiment, and records values of all kinds."""
    return (
        Research(domain=Option("x", list(range(n))))
        .begin(calls, EC("x"), E().iteration, pause_s)
        .draw(E().random, save_to="y")
        .fill(E().random, EC("x"), save_to="big")
        .mix(EC("x"), E().iteration, save_to="mixed")
        .mend(EC("x"), E().iteration, mended)
    )


def expected_of(n: int = N_CONFIGS) -> pd.DataFrame:
    """Return the rows of an uninterrupted run."""
    research = research_of(os.devnull, n=n).run(
        bar=False, dump_results=False, seed=SEED, n_iters=N_ITERS
    )
    return comparable(research.results.df)


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose arrays have become bytes, which are equal or not."""
    arrays = [
        None if is_nothing(one) else (one.shape, one.dtype.str, one.tobytes())
        for one in frame["big"]
    ]
    return frame.assign(big=pd.Series(arrays, index=frame.index, dtype=object))


def plant(folder: str, at: int, before: str, act: Callable[[], object]) -> None:
    """Call a function before the n-th change of a folder.

    A change is a file that is opened to be written, half written, moved or removed.

    Parameters
    ----------
    folder : str
    at : int
        Which of the changes.
    before : str
        A pattern of those that count, as ``"os.remove .*experiments/"``.
    act : callable
    """
    n_changes = 0
    pattern = re.compile(before)

    def changed(what: str) -> None:
        nonlocal n_changes
        if pattern.match(what):
            n_changes += 1
            if n_changes == at:
                act()

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES:
            is_relative = (
                event != "os.rename" and isinstance(arguments[-1], int) and arguments[-1] >= 0
            )
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
            is_relative = False
        else:
            return
        path = os.fsdecode(arguments[0])
        # only the removal of whole folders names files by the descriptors of their folders
        if is_relative or os.path.abspath(path).startswith(folder):
            changed(f"{event} {path}")

    def write_out(descriptor: int, content: bytes) -> None:
        os.write(descriptor, content[: len(content) // 2])
        changed("write")
        whole(descriptor, content[len(content) // 2 :])

    whole = daskresearch.store.files.local.write_out
    daskresearch.store.files.local.write_out = write_out
    sys.addaudithook(audit)


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk() -> None:
    """Let no file of this process become larger than some bytes."""
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (_SMALL_BYTES, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    )


def empty_disk() -> None:
    """Let the files of this process be of any size again."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


class Attempt(NamedTuple):
    """How a process runs a research.

    Attributes
    ----------
    options : dict
        Of `run`.
    made : dict
        Of `research_of`.
    at : int
        The change of the folder before which it acts, 0 for none.
    before : str
        The changes that count.
    act : callable
    part_size : int
        How many experiments it writes at once.
    """

    options: dict[str, Any]
    made: dict[str, Any]
    at: int = 0
    before: str = ""
    act: Callable[[], object] = die
    part_size: int = 3


def attempt_run(folder: str, calls: str, report: str, attempt: Attempt) -> None:
    """Run a research in a process with a group of its own; errors go to a file."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    daskresearch.store.folder.writer._MOST_EXPERIMENTS = attempt.part_size
    if attempt.at:
        plant(folder, attempt.at, attempt.before, attempt.act)
    options = {"bar": False, "seed": SEED, "n_iters": N_ITERS, **attempt.options}
    try:
        research_of(calls, **attempt.made).run(folder, **options)
        text = "done"
    except (ResearchError, KeyboardInterrupt) as error:
        text = f"{type(error).__name__}: {error}"
    empty_disk()
    Path(report).write_text(text)


@final
@dataclass
class Study:
    """A folder and the runs into it, which are killed, and what became of their experiments.

    Attributes
    ----------
    place : Path
        Where everything goes.
    expected : pandas.DataFrame
        The rows of an uninterrupted run.
    made : dict
        Of `research_of`.
    n_kills : int
    lost : set of int
        Experiments that the folder held as finished, and no longer does.
    doubled : set of int
        Experiments that began again after the folder held them as finished.
    """

    place: Path
    expected: pd.DataFrame
    made: dict[str, Any] = field(default_factory=dict)
    n_kills: int = 0
    finished: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    doubled: set[int] = field(default_factory=set)
    _begun: Counter[int] = field(default_factory=Counter)

    @property
    def folder(self) -> Path:
        """The results folder."""
        return self.place / "results"

    @property
    def calls(self) -> Path:
        """The file in which each experiment that begins is noted."""
        return self.place / "calls"

    def research(self) -> Research:
        """Return what is run."""
        return research_of(str(self.calls), **self.made)

    def start(
        self,
        *,
        at: int = 0,
        before: str = "",
        act: Callable[[], object] = die,
        part_size: int = 3,
        **options: Any,
    ) -> Any:
        """Return a process that runs the research, or goes on with it."""
        self.place.mkdir(parents=True, exist_ok=True)
        report = self.place / "report"
        report.unlink(missing_ok=True)
        attempt = Attempt({"resume": True, **options}, self.made, at, before, act, part_size)
        return started(attempt_run, str(self.folder), str(self.calls), str(report), attempt)

    def run(self, *, after_s: float | None = None, **options: Any) -> str:
        """Run in a process, and return what came of it: ``"killed"``, ``"done"`` or an error.

        Parameters
        ----------
        after_s : float, optional
            When it is killed.
        **options
            Of `start`.
        """
        process = self.start(**options)
        if after_s is not None:
            process.join(after_s)
            process.kill()
        return self.ended(process)

    def complete(self) -> None:
        """Go on in this process, to the end."""
        self.research().run(str(self.folder), bar=False, seed=SEED, n_iters=N_ITERS, resume=True)
        self.look()

    def ended(self, process: Any) -> str:
        """Wait for the end of a process, look at the folder, and return what came of it."""
        process.join(DEADLINE_S * 2)
        exit_code = process.exitcode
        if exit_code is None:
            end_group(process)
        assert exit_code in (0, -signal.SIGKILL), f"the run ended with exit code {exit_code}"
        self.n_kills += exit_code != 0
        self.look()
        return "killed" if exit_code else (self.place / "report").read_text()

    def look(self) -> None:
        """Compare all that the folder holds with what is expected, and with what it held before."""
        found, begun = self._found(), self.n_begun()
        self.lost |= self.finished - found
        self.doubled |= {x for x in self.finished if begun[x] > self._begun[x]}
        self.finished, self._begun = found, begun

    def n_begun(self) -> Counter[int]:
        """Return how often each experiment has begun."""
        return Counter(map(int, noted(self.calls)))

    def _found(self) -> set[int]:
        if not (self.folder / "research.json").exists():
            return set()
        results = ResearchResults(str(self.folder), allow_pickle=True)
        # a run may go on meanwhile: the table is read behind what it is compared with
        before, failed = results.configs_to_df(), {*results.failures["id"]}
        found = {*before.x[~before.id.isin(failed)]}
        frame, configs = comparable(results.df), results.configs_to_df()
        parts, with_rows = (
            {path.name for path in (self.folder / name).glob("[!.]*.parquet")} for name in _TABLES
        )
        assert parts <= with_rows  # for readers that know nothing of this library
        assert configs.id.is_unique
        assert {*frame.x} <= {*configs.x}
        assert [*frame.columns] == [*self.expected.columns]
        assert _rows(frame[frame.x.isin(found)]) == _rows(
            self.expected[self.expected.x.isin(found)]
        )
        return found

    def check_complete(self) -> None:
        """Fail unless the folder is that of an uninterrupted run, with nothing beside it."""
        assert (self.lost, self.doubled) == (set(), set())
        results = ResearchResults(str(self.folder), allow_pickle=True)
        assert results.failures.empty
        assert_frame_equal(comparable(results.df), self.expected, check_exact=True)
        parts = {path.name: pq.read_table(path) for path in (self.folder / "experiments").iterdir()}
        ids = [one for table in parts.values() for one in table["id"].to_pylist()]
        assert sorted(ids) == sorted(results.configs_to_df().id)
        assert {path.name for path in (self.folder / "results").iterdir()} == {*parts}
        rows = [pq.read_table(path) for path in (self.folder / "results").iterdir()]
        assert Counter(one for table in rows for one in table["id"].to_pylist()) == Counter(
            self.expected.id
        )
        assert asides(self.folder) == []
        assert {path.name for path in self.folder.iterdir()} == {
            ".lock", "arrays.zarr", "experiments", "plan.pkl", "research.json", "research.log",
            "results",
        }  # fmt: skip
        assert (
            json.loads((self.folder / "research.json").read_bytes())["runs"][-1]["state"]
            == "finished"
        )
        groups = {text.partition("/")[0] for table in rows for text in table["big"].to_pylist()}
        assert {*zarr.open_group(self.folder / "arrays.zarr", mode="r").group_keys()} == groups


def hold(calls: str, gate: str, x: int) -> int:
    """Return a value; the first experiment waits for a file the first time that it runs."""
    note(calls, x)
    if x == 0 and noted(calls).count("0") == 1:
        wait_for(Path(gate).exists)
    return -x


def held_research(calls: str, gate: str) -> Research:
    """Return a research of which one experiment goes on until a file is there."""
    return Research(domain=Option("x", [0, 1, 2, 3])).hold(calls, gate, EC("x"), save_to="y")


def hold_on(address: str, folder: str, calls: str, gate: str) -> None:
    """Run in this process, on the workers of a cluster."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Client(address, set_as_default=False) as client, suppress(KeyboardInterrupt):
        held_research(calls, gate).run(folder, bar=False, scheduler=client)


def started(function: Callable[..., object], *arguments: Any) -> Any:
    """Return a process that calls a function."""
    process = _FORK.Process(target=function, args=arguments)
    process.start()
    return process


def _rows(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in frame.itertuples(index=False)]


def asides(folder: Path) -> list[Path]:
    """Return the files below a folder that were never finished."""
    return [path for path in folder.rglob("*") if is_aside(path.name)]


def contents(folder: Path) -> dict[Path, bytes]:
    """Return all files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def workers_of(process: Any) -> list[psutil.Process]:
    """Return the two worker processes of a run, as soon as they are there."""
    found: list[psutil.Process] = []

    def are_there() -> bool:
        children = psutil.Process(process.pid).children(recursive=True)
        found[:] = [child for child in children if "spawn_main" in " ".join(cmdline_of(child))]
        return len(found) >= 2

    wait_for(are_there)
    return found


def cmdline_of(process: psutil.Process) -> list[str]:
    """Return the command of a process, nothing if it has gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def end_group(process: Any) -> None:
    """Kill a run with all processes that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def are_gone(processes: list[psutil.Process]) -> bool:
    """Return whether none of some processes is alive."""
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)
