"""Experiments of which some last until a file is gone, and their run is ended."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Worker

from daskresearch import EC, E, Option, Research, ResearchResults
from tests.support.running import note, noted

SEED = 7
N, N_SHORT = 40, 12


def work(x: int, folder: str, random: np.random.Generator) -> float:
    note(f"{folder}/calls", x)
    if x >= N_SHORT and os.path.exists(f"{folder}/sleeps"):
        time.sleep(600)  # it does not return to Python
    while x >= N_SHORT and os.path.exists(f"{folder}/waits"):
        time.sleep(0.001)
    return x + float(random.random())


def research_of(folder: str) -> Research:
    """Return short experiments, and then some that last as long as a file is there."""
    research = Research(domain=Option("x", list(range(N))))
    return research.add_callable(work, args=[EC("x"), folder, E().random], save_to="y")


def has_begun(folder: Path) -> bool:
    """Return whether the short ones and one that is long have begun."""
    return {*map(int, noted(folder / "calls"))} > {*range(N_SHORT)}


def let_go(folder: Path) -> None:
    """Let those that last come to their end."""
    for mark in ("waits", "sleeps"):
        (folder / mark).unlink(missing_ok=True)


def check_goes_on(folder: Path) -> None:
    """Go on in this process to the table of a quiet run, without what is finished."""
    let_go(folder)
    name, before = str(folder / "results"), Counter(noted(folder / "calls"))
    finished = {*ResearchResults(name).df.x}
    research = research_of(str(folder))
    frame = research.run(name, bar=False, resume=True).results.df
    assert finished.isdisjoint(map(int, Counter(noted(folder / "calls")) - before))
    assert research.results.failures.empty
    pd.testing.assert_frame_equal(
        frame, research.run(bar=False, seed=SEED, dump_results=False).results.df
    )


def n_active(dask_worker: Worker) -> int:
    """Return how many tasks a worker is at."""
    return len(dask_worker.active_threads)
