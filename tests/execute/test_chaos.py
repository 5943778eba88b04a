"""A run whose workers are killed and added at random has the table of a quiet run.

``CHAOS_S`` is how long it lasts, 60 seconds by default. ``CHAOS_SEED`` repeats the choices, as
far as processes can.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from distributed import Client

from daskresearch import EC, E, O, Option, Research
from tests.support.clusters import Servers

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

CHAOS_S = float(os.environ.get("CHAOS_S", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "20261124"))
_MOST_WORKERS = 3
_COMMIT_S = 5  # what has ended is written long before


def begin(folder: str, experiment_id: str) -> None:
    with open(Path(folder) / f"{os.getpid()}.txt", "a") as file:
        file.write(f"{experiment_id} {time.time()}\n")


def load(kind: str) -> np.ndarray:
    time.sleep(0.05)
    return np.full(1000, len(kind), dtype=float)


def split(random: np.random.Generator) -> float:
    return float(random.random())


def train(
    data: np.ndarray, rate: float, split: float, random: np.random.Generator
) -> Iterator[float]:
    loss = float(data.sum()) * split
    while True:
        time.sleep(0.003)
        loss -= rate * float(random.random())
        yield loss


def check(x: int, i: int) -> int:
    if x % 17 == 3 and i == 2:
        raise ValueError(f"{x} fails on purpose")
    return x * i


def study(n: int, folder: Path, name: str) -> Research:
    # what grows comes last, as the groups that share a stream count in the order of the domain
    domain = (
        Option("x", list(range(n))) * Option("kind", ["a", "bb", "ccc"]) * Option("rate", [0.1])
    )
    research = Research(name, domain=domain).begin(str(folder), E().id, when="#0")
    research = research.load(EC("kind"), root=True).split(E().random, root=True)
    research = research.train(
        O("load"), EC("rate"), O("split"), E().random, mode="generator", save_to="loss"
    )
    return research.check(EC("x"), E().iteration, save_to="y")


def n_of(seconds: float) -> int:
    """Return how many values of x keep three workers busy for so long."""
    return max(20, int(seconds * 10))


def test_the_table_of_a_chaotic_run_is_that_of_a_quiet_one(tmp_path, capsys):
    rng = random.Random(SEED)
    n = n_of(CHAOS_S)
    options: dict[str, Any] = {"seed": 5, "n_iters": 5, "branches": 4}
    begun, quiet = tmp_path / "begun", tmp_path / "quiet"
    servers_folder = tmp_path / "servers"
    for folder in (begun, quiet, servers_folder):
        folder.mkdir()
    n_kills = n_added = n_runs = 0
    with (
        Servers(servers_folder) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
    ):
        workers = [servers.add_worker() for _ in range(2)]
        client.wait_for_workers(1)
        name = str(tmp_path / "study")
        give_up = time.monotonic() + 5 * CHAOS_S + 200
        is_done = False
        while not is_done:
            n_runs += 1
            # the domain grows with the runs, until it is whole
            size = min(n, max(1, n * n_runs // 3))
            research = study(size, begun, name)
            research.run(scheduler=client, detach=True, resume=n_runs > 1, bar=False, **options)
            stop_at = time.monotonic() + rng.uniform(0.2, 0.4) * CHAOS_S
            while not research.wait(rng.uniform(0.5, 3)):
                assert time.monotonic() < give_up, servers.log()
                workers = [one for one in workers if one.poll() is None]
                # all workers may be killed at once, but not all the time
                if len(client.nthreads()) > 1 or rng.random() < 0.1:
                    rng.choice(workers).kill()
                    n_kills += 1
                if len(workers) < _MOST_WORKERS:
                    workers.append(servers.add_worker())
                    n_added += 1
                if n_runs < 3 and time.monotonic() > stop_at:
                    research.terminate()
            is_done = size == n and len(research.results) == 3 * n
        table, failures = research.results.df, research.results.failures
    expected = study(n, quiet, "quiet").run(dump_results=False, bar=False, **options).results
    pd.testing.assert_frame_equal(table, expected.df)
    same = ["id", "unit", "iteration", "kind"]
    pd.testing.assert_frame_equal(failures[same], expected.failures[same])
    n_lost = len(set(expected.configs_to_df().id) - set(research.results.configs_to_df().id))
    n_doubled = len(begun_again(begun, pd.read_parquet(tmp_path / "study" / "experiments")))
    with capsys.disabled():
        print(  # noqa: T201
            f"\nchaos (seed {SEED}, {CHAOS_S:g} s): "
            f"{n_runs} runs, {n_kills} kills, {n_added} workers added, "
            f"{3 * n} experiments, lost {n_lost}, doubled {n_doubled}"
        )
    assert (n_lost, n_doubled) == (0, 0)
    assert n_kills > 0


def begun_again(folder: Path, experiments: pd.DataFrame) -> set[str]:
    """Return the experiments that ran again though they had ended well, and been written."""
    fine = experiments[experiments.status == "ok"]
    assert fine.id.is_unique
    ended = dict(zip(fine.id, fine.started.astype("int64") / 1e6 + fine.seconds, strict=True))
    lines = [line.split() for path in folder.iterdir() for line in path.read_text().splitlines()]
    return {one for one, at in lines if one in ended and float(at) > ended[one] + _COMMIT_S}
