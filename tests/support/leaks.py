"""What runs hold of this process and of workers, so that a test sees what is left.

Held are child processes, threads and open descriptors, and on a cluster also tasks. They are
counted by kind, as a worker that is started anew takes the place of another. What Dask keeps for
its next use and only adds to for a while, as threads of its pools, is not counted. Connections may
grow for a while, but not for ever.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import psutil
from distributed import Client, Worker

from tests.support.running import DEADLINE_S

Held = Counter[tuple[str, str]]
"""How many there are, by where they are held and what they are."""

N_REPEATS = 2
"""How often something is done, so that what grows each time is told from what is made once."""

_N_ROUNDS = 3
_SETTLED_S = 1

_OF_DASK = re.compile(
    r"Dask-|IO loop|asyncio|Profile|TCP-Executor|AsyncProcess|ThreadPoolExecutor|Event loop"
    r"|WorkSpace"
)
_HELPERS = re.compile(r"resource_tracker|forkserver")
_CHANGING = re.compile(r"worker-\w+|\[?\d+\]?|0x[0-9a-f]+|[0-9a-f]{12,}")


def descriptors() -> Counter[str]:
    """Return the open descriptors of this process by what they lead to."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # that of the list itself
            continue
        found[_kind(target)] += 1
    return found


def threads() -> Counter[str]:
    """Return the threads of this process by name, but for those of pools of Dask."""
    names = [one.name for one in threading.enumerate() if not _OF_DASK.match(one.name)]
    return Counter(map(_kind, names))


def children() -> Counter[str]:
    """Return the processes that this one has started, and those that these have."""
    found: Counter[str] = Counter()
    for child in psutil.Process().children(recursive=True):
        try:
            text = " ".join(child.cmdline()) if child.status() != psutil.STATUS_ZOMBIE else "zombie"
        except psutil.NoSuchProcess:
            continue
        if not _HELPERS.search(text):
            found["a worker" if "spawn_main" in text else _kind(text)] += 1
    return found


def of_process() -> dict[str, Counter[str]]:
    """Return what this process holds, by kind."""
    return {"descriptor": descriptors(), "thread": threads(), "process": children()}


def of_worker(dask_worker: Worker) -> dict[str, Counter[str]]:
    """Return what a worker holds, but for the thread of its executor that asks."""
    return {**of_process(), "task": Counter(len(dask_worker.state.tasks) * ["task"])}


def of_scheduler(dask_scheduler: Any) -> dict[str, Counter[str]]:
    """Return what a scheduler holds of the runs of clients."""
    return {"task": Counter(str(key).partition("-")[0] for key in dask_scheduler.tasks)}


def held(clients: Sequence[Client] = ()) -> Held:
    """Return what is held by this process and by the workers and schedulers of clients."""
    found: Held = Counter()
    places = {"here": of_process()}
    for client in clients:
        places |= {f"worker {i}": one for i, one in enumerate(client.run(of_worker).values())}
        places["scheduler"] = client.run_on_scheduler(of_scheduler)
    for place, kinds in places.items():
        for kind, counts in kinds.items():
            for name, n in counts.items():
                found[place.rstrip(" 0123456789"), f"{kind} {name}"] += n
    return found


def check_nothing_is_left(
    act: Callable[[], object],
    clients: Callable[[], Sequence[Client]] = tuple,
    patience_s: float = DEADLINE_S,
) -> None:
    """Repeat something, and fail if more is held in the end than after the first time.

    Parameters
    ----------
    act : callable
    clients : callable
        Returns the clients whose workers and schedulers are looked at, when all workers are there.
    patience_s : float
        How long what is left may take to go.
    """
    act()
    for n_rounds_left in reversed(range(_N_ROUNDS)):
        before = held(clients())
        for _ in range(N_REPEATS):
            act()
        deadline = time.monotonic() + patience_s
        while left := held(clients()) - before:
            is_pooled = all("socket" in what for _, what in left)
            if (
                is_pooled
                and n_rounds_left
                and time.monotonic() > deadline - patience_s + _SETTLED_S
            ):
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"left behind: {dict(left)}")
            time.sleep(0.05)
        else:
            return


def _kind(text: str) -> str:
    return _CHANGING.sub("*", text)
