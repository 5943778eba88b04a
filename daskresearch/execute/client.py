"""What is asked of a Client and its cluster: workers, the library, resources."""

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
"""How long workers are waited for that are told or asked something."""


_RESTART_S = 2


def ask_for_workers(client: Client) -> None:
    """Ask a cluster that has lost all its workers for those that it is to have.

    Clusters of Dask give up a worker that is away a quarter of a minute after it was away before, as one that dies
    again and again is, and start no other until they are scaled.
    """
    cluster: Any = client.cluster
    if hasattr(cluster, "worker_spec") and not client.nthreads():
        cluster.scale(len(cluster.worker_spec))


def end_workers(client: Client, addresses: Collection[str]) -> None:
    """End worker processes, which their nannies start anew; those without a nanny are not started again by us."""
    if not addresses:
        return
    workers = client.scheduler_info(n_workers=-1)["workers"]
    nursed = [one for one in addresses if one in workers and workers[one].get("nanny")]
    if nursed:
        client.restart_workers(nursed, timeout=_RESTART_S, raise_for_error=False)
    alone = [one for one in addresses if one in workers and one not in nursed]
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
            f"the Client is {client.status}, so it has no scheduler to run on; connect one that is open, or give "
            f"scheduler='synchronous'"
        )


def check_installed(client: Client) -> None:
    """Refuse a cluster that lacks this library: a worker that cannot read a task ends, and its tasks wait for ever.

    A worker that does not answer within seconds is believed to have it.

    Raises
    ------
    ClusterError
        Names those that lack it.
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
            f"{_LIBRARY} cannot be imported on {', '.join(lacking[:3])}{others}; install it there, in the version that "
            f"is here"
        )


def checked_resources(
    client: Client, resources: Mapping[str, Mapping[str, float]], *, has_ids: bool
) -> tuple[dict[str, dict[str, float]], int]:
    """Return what tasks are to take of the resources of workers, and how many GPUs one has at most.

    Workers that say nothing of GPUs share them by leases alone, if the run names their ids.

    Parameters
    ----------
    client : distributed.Client
    resources : Mapping of str to Mapping
        By root, and under the name ``''`` by an experiment.
    has_ids : bool

    Raises
    ------
    ClusterError
        If no worker has as much, for which tasks would wait for ever.
    """
    if not any(resources.values()):
        return {}, 0
    workers = client.scheduler_info(n_workers=-1)["workers"]
    have = {address: worker.get("resources") or {} for address, worker in workers.items()}
    n_own = int(max((one.get("GPU", 0) for one in have.values()), default=0))
    left = {"GPU"} if has_ids and not n_own else set()
    taken = {
        unit: {name: one for name, one in each.items() if name not in left}
        for unit, each in resources.items()
    }
    for unit, wanted in taken.items():
        enough = [
            one
            for one in have.values()
            if all(one.get(name, 0) >= amount for name, amount in wanted.items())
        ]
        if have and not enough:
            told = "; ".join(f"{address}: {one or 'none'}" for address, one in have.items())
            raise ClusterError(
                f"{f'root {unit!r}' if unit else 'an experiment'} needs {wanted}, which no worker has (resources by "
                f"worker: {told}); start workers with them, as by dask worker --resources GPU=1"
            )
    return taken, n_own
