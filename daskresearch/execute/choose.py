"""Where a run takes place, by the conventions of Dask.

That is the place that is asked for, else an active Client, else this process.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Any

from daskresearch.errors import OptionError
from daskresearch.execute.events import Listener, Reporter, Watcher
from daskresearch.execute.executor import Executor
from daskresearch.execute.local import SerialExecutor, ThreadsExecutor
from daskresearch.plan import Plan
from daskresearch.worker import Context, Program


class Place(Enum):
    """Where a run takes place."""

    SERIAL = "one after the other in this process"
    THREADS = "in threads of this process"
    PROCESSES = "on a private cluster of processes"
    CLIENT = "on the user's cluster"

    @property
    def is_local(self) -> bool:
        """Whether units run in this process."""
        return self in (Place.SERIAL, Place.THREADS)


SCHEDULERS = {
    "sync": Place.SERIAL,
    "synchronous": Place.SERIAL,
    "single-threaded": Place.SERIAL,
    "threads": Place.THREADS,
    "threading": Place.THREADS,
    "processes": Place.PROCESSES,
    "multiprocessing": Place.PROCESSES,
}


DISTRIBUTED = ("distributed", "dask.distributed")


def choose_place(scheduler: Any, workers: int | None, *, parallel: bool) -> Place:
    """Return the place of a run: by argument, configuration, active Client or default.

    Parameters
    ----------
    scheduler : str, distributed.Client or None
    workers : int, optional
    parallel : bool
        False: one experiment after the other, whatever else is asked.

    Examples
    --------
    >>> choose_place("threads", None, parallel=True)
    <Place.THREADS: 'in threads of this process'>
    """
    if not parallel:
        return Place.SERIAL
    if scheduler is None:
        scheduler = configured_scheduler()
    if isinstance(scheduler, str):
        if scheduler.lower() in DISTRIBUTED and active_client() is None:
            raise OptionError(
                f"scheduler {scheduler!r} needs an active distributed.Client; "
                f"make one before the run"
            )
        return Place.CLIENT if scheduler.lower() in DISTRIBUTED else SCHEDULERS[scheduler.lower()]
    if scheduler is not None or active_client() is not None:
        return Place.CLIENT
    return Place.SERIAL if workers in (None, 1) else Place.PROCESSES


def configured_scheduler() -> Any:
    """Return the scheduler of Dask's configuration; it precedes an active Client."""
    if "dask" not in sys.modules:
        return None
    import dask

    scheduler = dask.config.get("scheduler", None)
    if isinstance(scheduler, str) and scheduler.lower() not in (*SCHEDULERS, *DISTRIBUTED):
        raise OptionError(
            f"Dask's configuration names the scheduler {scheduler!r}, which is none of "
            f"{sorted(SCHEDULERS)}"
        )
    return scheduler


def active_client() -> Any:
    """Return the user's current Client or None, without an import of distributed."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def local_executor(
    place: Place,
    program: Program,
    context: Context,
    workers: int | None,
    look: Callable[[], object] = bool,
) -> Executor:
    """Return the executor of a place in this process.

    Parameters
    ----------
    place : Place
    program : Program
    context : Context
    workers : int, optional
    look : callable
        Called now and then, where experiments do not call it themselves.
    """
    if place is Place.SERIAL:
        return SerialExecutor(program, context)
    return ThreadsExecutor(program, context, workers, look)


def distributed_executor(
    place: Place,
    plan: Plan,
    program: Program,
    context: Context,
    workers: int | None,
    scheduler: Any,
    watcher: Watcher,
    *,
    resources: Mapping[str, Mapping[str, float]],
    counts_iterations: bool,
    whole_groups: bool,
) -> Executor:
    """Return the executor of a place on a cluster.

    It tells `watcher` of iterations if these are to be counted.

    Raises
    ------
    PickleError
        If a unit cannot travel; before any process is started.
    ClusterError
        If the processes cannot be started, the cluster is gone, or it lacks this library.
    """
    from daskresearch.execute.client import (
        ask_for_workers,
        check_connected,
        check_installed,
        checked_resources,
    )
    from daskresearch.execute.distributed import DistributedExecutor, roots_apart
    from daskresearch.execute.private_cluster import end_tasks, private_client, replace_dead_workers
    from daskresearch.execute.window import SENT, WRITTEN
    from daskresearch.worker.pickling import pickle_plan

    client: Any = None
    if place is Place.CLIENT:
        client = scheduler if hasattr(scheduler, "submit") else active_client()
        check_connected(client)
        check_installed(client)
        all_devices = (context.devices, *context.root_devices.values())
        has_ids = any(devices.ids for devices in all_devices if devices is not None)
        resources, n_own = checked_resources(client, resources, has_ids=has_ids)
        context = replace(
            context,
            devices=context.devices and context.devices._replace(n_own=n_own),
            root_devices={
                name: devices._replace(n_own=n_own)
                for name, devices in context.root_devices.items()
            },
        )
    else:
        others = {name for needed in resources.values() for name in needed} - {"GPU"}
        if others:
            raise OptionError(
                f"units ask for {sorted(others)}, which a private cluster has not; give a Client"
            )
        resources = {}  # its processes share GPUs by leases alone
    apart = frozenset(roots_apart(program, whole_groups=whole_groups))
    topic = f"daskresearch-{uuid.uuid4().hex}" if counts_iterations else ""
    reporter = Reporter(topic) if topic else None
    content = pickle_plan((plan, replace(context, apart=apart, reporter=reporter)))
    options: dict[str, Any] = {
        "token": context.token,
        "retries": context.retries,
        "resources": resources,
        "has_leases": bool(context.devices or context.root_devices),
        "whole_groups": whole_groups,
        "way": SENT if context.target is None else WRITTEN,
    }
    if place is Place.CLIENT:
        listener = Listener(client, topic, watcher)
        tend = partial(ask_for_workers, client)
        return DistributedExecutor(
            client, program, content, listener, workers, **options, tend=tend
        )
    n_workers = workers or os.cpu_count() or 1
    client = private_client(n_workers)
    return DistributedExecutor(
        client,
        program,
        content,
        Listener(client, topic, watcher),
        n_workers,
        **options,
        abort=end_tasks,
        tend=replace_dead_workers,
    )
