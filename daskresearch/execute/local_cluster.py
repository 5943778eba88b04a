"""Clusters of worker processes of this machine, which may own a GPU each."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daskresearch.errors import ClusterError, OptionError

if TYPE_CHECKING:
    from distributed import SpecCluster

logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
NO_GUARD = """worker processes could not be started.

A script that starts worker processes is imported again by each of them, so its own work must \
stand under a guard:

    if __name__ == "__main__":
        {call}

Put the guard there{else_}. (Notebooks and modules that are imported need none.)"""


def local_cluster(
    workers: int | None = None,
    *,
    gpus: Sequence[int | str] | None = None,
    memory_limit: str | float | None = "auto",
    threads: int = 1,
) -> SpecCluster:
    """Return a started cluster of processes of this machine, for a Client.

    It listens on the loopback interface alone. Units may start processes of their own in its
    workers, as torch's data loaders do. Without `gpus` it can be scaled and made adaptive, as every
    Dask cluster.

    Parameters
    ----------
    workers : int, optional
        How many processes. Default: one for each of `gpus`, else 2.
    gpus : sequence of int or str, optional
        The ids of devices. There is a worker for each, which sees it alone
        (``CUDA_VISIBLE_DEVICES``) and has the Dask resource ``GPU``: 1.
    memory_limit : str, float or None
        The memory of each worker, as ``"4 GiB"`` or a number of bytes; a worker that exceeds it is
        restarted. Default: an equal part of the memory of the machine. None: no limit.
    threads : int
        How many experiments each worker runs at once.

    Returns
    -------
    distributed.SpecCluster

    Raises
    ------
    OptionError
        If a number or a device makes no sense, or there are not as many workers as devices.
    ClusterError
        If the processes cannot be started, as in a script without a ``__main__`` guard.

    Examples
    --------
    >>> from distributed import Client
    >>> from daskresearch import EC, Option, Research, local_cluster
    >>> research = Research(domain=Option("x", [1, 2]))
    >>> research = research.add_callable("pow", pow, args=[EC("x"), 2], save_to="y")
    >>> with local_cluster(1) as cluster, Client(cluster):
    ...     research.run(bar=False, dump_results=False).results.df[["x", "y"]]
       x  y
    0  1  1
    1  2  4
    """
    devices = None if gpus is None else _devices(gpus)
    n_workers = _n_workers(workers, devices)
    if not _is_count(threads):
        raise OptionError(f"threads={threads!r} must be a positive integer")
    options = {"nthreads": threads, "memory_limit": memory_of_each(memory_limit, n_workers)}
    shares = [_of_device(device) for device in devices or ()] or [{}] * n_workers
    return start_cluster(
        [options | share for share in shares],
        guard=NO_GUARD.format(call="local_cluster()", else_=""),
        can_scale=devices is None,
    )


def start_cluster(
    workers: Sequence[Mapping[str, Any]],
    *,
    guard: str,
    can_scale: bool = True,
    silence_logs: int = logging.ERROR,
    scheduler: Mapping[str, Any] | None = None,
) -> SpecCluster:
    """Return a started cluster of this machine, which listens on loopback alone.

    Parameters
    ----------
    workers : sequence of Mapping
        The options of each worker, beside those that all have.
    guard : str
        The text of the error of a script that has no guard.
    can_scale : bool
        Whether workers may be added, which get the options of the first.
    silence_logs : int
        The level below which servers log nothing.
    scheduler : Mapping, optional
        More options of the scheduler.

    Raises
    ------
    ClusterError
        If the processes cannot be started, as in a script without a ``__main__`` guard.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ClusterError(guard)
    import dask
    from distributed import Nanny, Scheduler, Security, SpecCluster

    # a daemon may start no processes, as torch's loaders do
    # it is read again whenever a worker is replaced, so it stays set
    dask.config.set({"distributed.worker.daemon": False})
    security = Security()
    common = {
        "host": _HOST,
        "protocol": "tls://" if security.require_encryption else "tcp://",
        "dashboard_address": f"{_HOST}:0",
        "security": security,
    }
    every_worker = {
        **common,
        "silence_logs": silence_logs,
        "preload": ["daskresearch.execute.keyboard"],
    }
    specs = [{"cls": Nanny, "options": {**every_worker, **options}} for options in workers]
    try:
        return SpecCluster(
            workers=dict(enumerate(specs)),
            scheduler={"cls": Scheduler, "options": {**common, "port": 0, **(scheduler or {})}},
            worker=specs[0] if can_scale else None,
            security=security,
            silence_logs=silence_logs,
        )
    except RuntimeError as error:
        raise ClusterError(guard) from error


def _devices(gpus: Sequence[int | str]) -> list[str]:
    """Return the ids of devices as texts, all different."""
    if isinstance(gpus, str):
        raise OptionError(f"gpus={gpus!r} must be a list of ids, as [{gpus!r}]")
    devices = [str(device) for device in gpus]
    wrong = [
        device
        for device in gpus
        if isinstance(device, bool)
        or not isinstance(device, int | str)
        or str(device) in ("", "-1")
    ]
    if wrong:
        raise OptionError(
            f"gpus={gpus!r} has {wrong[0]!r}, which is no id of a device; give integers or texts"
        )
    if not devices:
        raise OptionError("gpus=[] names no device; leave it out for workers without")
    if len({*devices}) < len(devices):
        raise OptionError(f"gpus={gpus!r} names a device twice; several workers cannot own one")
    return devices


def _n_workers(workers: int | None, devices: list[str] | None) -> int:
    if workers is None:
        return 2 if devices is None else len(devices)
    if not _is_count(workers):
        raise OptionError(f"workers={workers!r} must be a positive integer")
    if devices is not None and workers != len(devices):
        raise OptionError(
            f"workers={workers} is not the number of gpus, {len(devices)}: each worker owns one; "
            f"leave workers out"
        )
    return workers


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _of_device(device: str) -> dict[str, Any]:
    """Return the options of a worker that owns a device."""
    return {"resources": {"GPU": 1}, "env": {"CUDA_VISIBLE_DEVICES": device}}


def memory_of_each(limit: str | float | None, n_workers: int) -> int | None:
    """Return the bytes of each worker; Dask's own default would go by cores."""
    from distributed.system import MEMORY_LIMIT
    from distributed.worker_memory import parse_memory_limit

    if limit == "auto":
        return int(MEMORY_LIMIT) // n_workers
    try:
        n_bytes: int | None = parse_memory_limit(limit, 1, 1, logger=logger)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"memory_limit={limit!r} is no size; give one as '4 GiB', or None for no limit"
        ) from error
    return n_bytes
