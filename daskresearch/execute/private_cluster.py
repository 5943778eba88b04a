"""The private cluster: worker processes of this machine, kept warm between runs."""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing.util
import os
import signal
import threading
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

from daskresearch.errors import ClusterError
from daskresearch.execute.client import end_workers
from daskresearch.execute.local_cluster import NO_GUARD, memory_of_each, start_cluster

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

_GUARD = NO_GUARD.format(call="research.run(workers=2)", else_=", or use workers=1")

# nobody reads the statistics of these servers, which take time from units where cores are few
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.low-level-log-length": 10,  # of messages, which hold whole batches
}
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows SIGTERM ends a process at once
_CLOSE_S = 10
_N_LOOKS = 10
_lock = threading.Lock()
_warm: dict[str, Any] = {}


def private_client(workers: int) -> Client:
    """Return a client of the private cluster of as many single-thread processes.

    The cluster is started or scaled for it.

    Raises
    ------
    ClusterError
        If the processes cannot be started, as in a script without a ``__main__`` guard.
    """
    # in a thread, as Ctrl-C in this one would leave processes behind that nobody ends
    pool = ThreadPoolExecutor(1, "daskresearch-start")
    started = pool.submit(_scaled, workers)
    pool.shutdown(wait=False)
    return started.result()


def _scaled(workers: int) -> Client:
    """Start or scale the private cluster, and return its client."""
    with _lock:
        client = _warm.get("client")
        if client is None or _warm["pid"] != os.getpid() or client.status != "running":
            _warm.clear()
            client = _start(workers)
            _await_workers(client, workers)
        elif _warm["workers"] != workers or len(client.nthreads()) > workers:
            # a nanny may have replaced a worker late, after `replace_dead_workers` did
            client.cluster.scale(workers)
            _await_workers(client, workers)
            _await_leaving(client, workers)
        elif len(client.nthreads()) < workers:  # some died in the last run and are starting
            _await_workers(client, workers)
        _warm.update(workers=workers, missing=0)
        return client


def _start(workers: int) -> Client:
    import dask
    from distributed import Client

    options = {"nthreads": 1, "memory_limit": memory_of_each("auto", workers), "config": _QUIET}
    with dask.config.set(_QUIET):
        cluster = start_cluster(
            [options] * workers,
            guard=_GUARD,
            silence_logs=logging.CRITICAL,
            # a batch whose worker dies is tried again by us, group by group
            scheduler={"dashboard": False, "allowed_failures": 1},
        )
        client = Client(cluster, set_as_default=False)
    _close_at_exit(os.getpid())
    _warm.update(client=client, cluster=cluster, pid=os.getpid(), workers=workers, missing=0)
    return client


@cache
def _close_at_exit(pid: int) -> None:
    atexit.register(shutdown)
    # a child process of multiprocessing joins its children and runs nothing that atexit holds
    multiprocessing.util.Finalize(None, shutdown, exitpriority=100)


def _await_workers(client: Client, workers: int) -> None:
    cluster: Any = client.cluster
    for _ in range(_N_LOOKS):
        # a cluster gives up a worker that is missed twice within a quarter of a minute
        cluster.scale(len(cluster.worker_spec))
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(workers, timeout=1)
            return
    cluster.scale(len(cluster.worker_spec) + max(0, workers - len(client.nthreads())))
    try:
        client.wait_for_workers(workers, timeout=60)
    except TimeoutError as error:
        raise ClusterError(
            f"only some of {workers} worker processes started within a minute"
        ) from error


def _await_leaving(client: Client, workers: int) -> None:
    """Wait a moment for surplus workers to leave, which run nothing any more."""
    deadline = time.monotonic() + _CLOSE_S
    while len(client.nthreads()) > workers and time.monotonic() < deadline:
        time.sleep(0.01)


def replace_dead_workers() -> None:
    """Start a worker for each that is missing.

    A nanny replaces its worker itself, but not one that died while it started.
    """
    with _lock:
        client = _warm.get("client")
        if client is None:
            return
        missing = _warm["workers"] - len(client.nthreads())
        # a nanny has the time between two calls to replace its worker
        if missing > 0 and _warm.get("missing", 0) > 0:
            logger.warning("%d worker processes are missing and are started anew", missing)
            client.cluster.scale(len(client.cluster.worker_spec) + missing)
            missing = 0
        _warm["missing"] = missing


def end_tasks(keys: Collection[str], *, at_once: bool = False) -> None:
    """Restart the workers that run these tasks, as nothing else ends code in C.

    Parameters
    ----------
    keys : collection of str
    at_once : bool
        Whether to kill them and not to wait until their nannies have started others.
    """
    client = _warm.get("client")
    if client is None or not keys:
        return
    busy = [
        address
        for address, running in client.processing().items()
        if not set(keys).isdisjoint(running)
    ]
    if not at_once:
        end_workers(client, busy)
        return
    nannies = list(client.cluster.workers.values())
    _kill([nanny.pid for nanny in nannies if nanny.worker_address in busy])


def shutdown() -> None:
    """Close the private cluster, if any; the next run with workers starts another.

    Examples
    --------
    >>> import daskresearch
    >>> daskresearch.shutdown()
    """
    with _lock:
        client, cluster = _warm.get("client"), _warm.get("cluster")
        is_ours = _warm.get("pid") == os.getpid()
        _warm.clear()
        if client is not None and cluster is not None and is_ours:
            pids = [nanny.pid for nanny in cluster.workers.values()]
            # KeyError: a worker was scaled away; TimeoutError: a worker died while it started
            with contextlib.suppress(KeyError, TimeoutError):
                client.close(timeout=_CLOSE_S)
            with contextlib.suppress(KeyError, TimeoutError):
                cluster.close(timeout=_CLOSE_S)
            _kill(pids)


def _kill(pids: Iterable[int | None]) -> None:
    """End processes at once; the pid of a nanny that has no worker is None."""
    for pid in pids:
        if pid:
            with contextlib.suppress(OSError):  # it has ended by itself
                os.kill(pid, _KILL)
