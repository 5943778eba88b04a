"""What tests of runs share: places, quiet runs, tables, and calls that are counted."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from distributed import LocalCluster

from daskresearch import Research

IN_PROCESS: dict[str, Any] = {}
THREADS: dict[str, Any] = {"scheduler": "threads", "workers": 3}
TWO_WORKERS: dict[str, Any] = {"workers": 2}

on_workers = partial(pytest.param, marks=pytest.mark.cluster)
places = pytest.mark.parametrize(
    "place",
    [IN_PROCESS, THREADS, on_workers(TWO_WORKERS)],
    ids=["in process", "threads", "two workers"],
)

DEADLINE_S = 60


def local_cluster(n_workers: int = 2) -> LocalCluster:
    """Return a cluster of single-thread worker processes on loopback."""
    return LocalCluster(
        n_workers=n_workers, threads_per_worker=1, host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},
        silence_logs=50,
    )  # fmt: skip


def table(research: Research, *columns: str, **options: Any) -> pd.DataFrame:
    """Run quietly and return the table, or these columns of it."""
    frame = research.run(bar=False, dump_results=False, **options).results.df
    return frame[list(columns)] if columns else frame


def column(research: Research, name: str, **options: Any) -> list[Any]:
    """Run quietly and return one column as a list."""
    return list(table(research, **options)[name])


def rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Return the rows of these columns as tuples, None where there is nothing."""
    values = [[None if is_nothing(value) else value for value in frame[name]] for name in columns]
    return list(zip(*values, strict=True))


def is_nothing(value: Any) -> bool:
    """Return whether a cell holds nothing: None or NaN."""
    return value is None or (isinstance(value, float) and value != value)


def failures_of(research: Research) -> list[tuple[str, int]]:
    """Return the unit and iteration of each failure of the last run."""
    failures = research.results.failures
    return list(zip(failures.unit, failures.iteration, strict=True))


def saying(*texts: str) -> str:
    """Return a pattern that matches a message with all these texts, in any order."""
    return "(?s)" + "".join(f"(?=.*{re.escape(text)})" for text in texts)


def note(path: Path | str, text: Any) -> None:
    """Append a line to a file, in whichever process."""
    with open(path, "a") as file:
        file.write(f"{text}\n")


def noted(path: Path | str) -> list[str]:
    """Return the lines that were appended to a file, sorted, as processes append in any order."""
    return sorted(Path(path).read_text().split()) if Path(path).exists() else []


@contextmanager
def hearing_interrupts() -> Iterator[None]:
    """Let interrupts raise, which a shell ignores in what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, (
            "a run has left its own handler"
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, and raise when it does not in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not come")
        time.sleep(0.005)
