"""What is asked of a user's Client: a scheduler, workers, this library, resources."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from daskresearch.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

_LIBRARY = __name__.partition(".")[0]
ANSWER_S = 5
"""How long the answers of workers are waited for."""
_RESTART_S = 2


def ask_for_workers(client: Client) -> None:
    """Ask a cluster that has lost all its workers to start them again.

    A Dask cluster gives up a worker that is missed twice within a quarter of a minute, as it is
    taken for one that dies again and again. No other is started until the cluster is scaled.
    """
    cluster: Any = client.cluster
    if hasattr(cluster, "worker_spec") and not client.nthreads():
        cluster.scale(len(cluster.worker_spec))


def end_workers(client: Client, addresses: Collection[str]) -> None:
    """End worker processes; those that have a nanny are started anew by it."""
    if not addresses:
        return
    workers = client.scheduler_info(n_workers=-1)["workers"]
    nursed = [
        address for address in addresses if address in workers and workers[address].get("nanny")
    ]
    if nursed:
        client.restart_workers(nursed, timeout=_RESTART_S, raise_for_error=False)
    alone = [address for address in addresses if address in workers and address not in nursed]
    if alone:
        logger.warning(
            "worker processes %s run code that does not end, and are ended; no nanny replaces them",
            alone,
        )
        client.run(os._exit, 1, workers=alone, on_error="ignore")


def check_connected(client: Client) -> None:
    """Refuse a client that has no scheduler.

    Raises
    ------
    ClusterError
        If it is closed or asynchronous, or its scheduler is gone.
    """
    if client.asynchronous:
        raise ClusterError(
            "the Client is asynchronous, and a run waits for what it asks; give one that is not"
        )
    if client.status != "running":
        raise ClusterError(
            f"the Client is {client.status}, so it has no scheduler to run on; "
            f"connect one that is open, or give scheduler='synchronous'"
        )


def check_installed(client: Client) -> None:
    """Refuse a cluster that lacks this library.

    A worker that cannot unpickle a task ends, and its tasks would wait for ever. A worker that does
    not answer within seconds is believed to have the library.

    Raises
    ------
    ClusterError
        Names the workers that lack it.
    """
    places: dict[str, Any] = {}
    with contextlib.suppress(OSError):  # as TimeoutError is
        places = client.run(find_spec, _LIBRARY, on_error="return", callback_timeout=ANSWER_S)
        places["the scheduler"] = client.run_on_scheduler(find_spec, _LIBRARY)
    lacking = [
        where for where, spec in places.items() if spec is None or isinstance(spec, ImportError)
    ]
    if lacking:
        others = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise ClusterError(
            f"{_LIBRARY} cannot be imported on {', '.join(lacking[:3])}{others}; "
            f"install it there, in the version that is here"
        )


def checked_resources(
    client: Client, resources: Mapping[str, Mapping[str, float]], *, has_ids: bool
) -> tuple[dict[str, dict[str, float]], int]:
    """Return what tasks take of workers' resources, and the most GPUs of a worker.

    Workers that declare no GPU share them by leases alone, if the run names the ids of devices.

    Parameters
    ----------
    client : distributed.Client
    resources : Mapping of str to Mapping
        What each root needs, and an experiment under the name ``''``.
    has_ids : bool
        Whether the run names the ids of devices.

    Raises
    ------
    ClusterError
        If no worker has what a task needs, for which it would wait for ever.
    """
    if not any(resources.values()):
        return {}, 0
    workers = client.scheduler_info(n_workers=-1)["workers"]
    resources_of = {address: worker.get("resources") or {} for address, worker in workers.items()}
    n_own = int(max((owned.get("GPU", 0) for owned in resources_of.values()), default=0))
    left_out = {"GPU"} if has_ids and not n_own else set()
    taken = {
        unit: {name: amount for name, amount in needed.items() if name not in left_out}
        for unit, needed in resources.items()
    }
    for unit, needed in taken.items():
        is_met = any(
            all(owned.get(name, 0) >= amount for name, amount in needed.items())
            for owned in resources_of.values()
        )
        if resources_of and not is_met:
            told = "; ".join(
                f"{address}: {owned or 'none'}" for address, owned in resources_of.items()
            )
            raise ClusterError(
                f"{f'root {unit!r}' if unit else 'an experiment'} needs {needed}, which no worker "
                f"has (resources by worker: {told}); start workers with them, as by "
                f"dask worker --resources GPU=1"
            )
    return taken, n_own
