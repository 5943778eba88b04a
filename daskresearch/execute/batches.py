"""The batches of a run that are out on a cluster, from hand-out to receipt.

A *stranded* batch is one that nobody will run, and an *emptied* one has run, but its receipt went
with its worker. A batch is lost for good only if its worker died too often.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, final

from daskresearch.errors import ClusterError
from daskresearch.execute.client import end_workers
from daskresearch.execute.crew import Crew
from daskresearch.execute.events import Listener
from daskresearch.execute.executor import LOOK_EACH_S
from daskresearch.execute.root_tasks import RootTasks, new_key
from daskresearch.worker import Blob, Group, Receipt, run_batch
from daskresearch.worker.pickling import check_values, dumps

if TYPE_CHECKING:
    from distributed import Client, Future

_TEND_EACH_S = 3
_MOST_FETCHED = 32
_FETCH_S = 5


class Sent(NamedTuple):
    """A batch that is out.

    Attributes
    ----------
    groups : list of Group
    name : str
        Names what it writes; the same when it is handed out again.
    budget_s : float
        The seconds after which its worker begins no further group.
    at_s : float
        The time when it was handed out.
    address : str, optional
        The worker that it was meant for.
    """

    groups: list[Group]
    name: str
    budget_s: float
    at_s: float
    address: str | None


@final
class Batches:
    """The batches of a run that are out on a cluster.

    Parameters
    ----------
    client : distributed.Client
    name : str
        Of tasks, on the dashboard.
    blob : Blob or Future
        The plan and the context.
    roots : RootTasks
    crew : Crew
    listener : Listener
        Hears how many iterations are done in tasks that run.
    resources : Mapping of str to float
        What a batch takes of the resources of its worker.
    tend : callable
        Called every few seconds while nothing ends, to replace workers that are gone.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        blob: Blob | Future[Any],
        roots: RootTasks,
        crew: Crew,
        listener: Listener,
        *,
        resources: Mapping[str, float],
        tend: Callable[[], object],
    ) -> None:
        self._client = client
        self._name = name
        self._blob = blob
        self._roots = roots
        self._crew = crew
        self._listener = listener
        self._resources = resources or None
        self._tend = tend
        self._tend_at_s = time.monotonic() + _TEND_EACH_S
        self._out: dict[Future[Any], Sent] = {}
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._emptied: set[Future[Any]] = set()
        self._unwanted: set[str] = set()
        self.last_dead = ""
        """The address of the last worker of a batch that was given up."""

    def __len__(self) -> int:
        return len(self._out)

    def forbid(self, experiment_id: str) -> None:
        """Leave an experiment out of all batches that are handed out from now on."""
        self._unwanted.add(experiment_id)

    def send(self, groups: list[Group], name: str, budget_s: float) -> None:
        """Hand out a batch, whose worker begins no further group after some seconds.

        Raises
        ------
        PickleError
            If a value of a parameter cannot travel.
        """
        outcomes = self._roots.outcomes([experiment for group in groups for experiment in group])
        content = _pickled(groups)
        # without an address Dask gives all batches to the worker that has the outcomes already
        # but a task with an address is not kept from workers that lack its resources
        address = self._crew.least_busy() if outcomes and not self._resources else None
        unwanted = (
            [
                experiment.id
                for group in groups
                for experiment in group
                if experiment.id in self._unwanted
            ]
            if self._unwanted
            else []
        )
        key = new_key(self._name)
        self._listener.begin(key)
        future = self._client.submit(
            run_batch,
            *(self._blob, name, content, budget_s, unwanted, list(outcomes), *outcomes.values()),
            key=key, pure=False, workers=address, allow_other_workers=address is not None,
            resources=self._resources,
        )  # fmt: skip
        if address is not None:
            self._crew.begin(address)
        self._out[future] = Sent(groups, name, budget_s, time.monotonic(), address)
        future.add_done_callback(self._ended.put)

    def ended(self) -> list[tuple[Sent, Receipt | None]]:
        """Wait a moment, and return the batches that have ended, each with its receipt.

        A receipt is None if the worker of the batch died too often. The worker of a batch with a
        stuck experiment is ended. Stranded batches are handed out again.

        Raises
        ------
        ClusterError
            If the scheduler is gone.
        Exception
            That of a batch.
        """
        arrived = self._arrived()
        ended = dict.fromkeys((*arrived, *self._filled_again()))
        receipts = self._receipts([future for future in ended if future in self._out])
        if self._emptied or not arrived:
            for future in self._stranded():
                sent = self._forget(future)
                self._client.cancel([future], force=True)
                self.send(sent.groups, sent.name, sent.budget_s)
        return receipts

    def finish(self, future: Future[Any], is_stopped: Callable[[], bool]) -> None:
        """Wait for the end of a task while no batch is out.

        It gives up if the run is stopped and there is no worker.

        Parameters
        ----------
        future : distributed.Future
        is_stopped : callable
        """
        future.add_done_callback(self._ended.put)
        while not future.done() and not (is_stopped() and self._crew.is_empty):
            self._arrived()

    def withdraw(self) -> None:
        """Cancel all batches that are out; code that runs already goes on."""
        futures = list(self._out)
        for future in futures:
            self._forget(future)
        self._client.cancel(futures, force=True)

    def running(self) -> list[str]:
        """Return the keys of the batches that have not ended."""
        return [str(future.key) for future in self._out if not future.done()]

    def look(self) -> None:
        """Look how far tasks are, and which workers there are."""
        if self._client.status != "running":
            raise ClusterError(
                f"the client of the cluster is {self._client.status}: its scheduler is gone"
            )
        self._listener.look()
        self._crew.look()

    def _arrived(self) -> list[Future[Any]]:
        """Return the futures that ended within a moment; if none did, tend the workers."""
        self.look()
        arrived: list[Future[Any]] = []
        with contextlib.suppress(queue.Empty):
            arrived.append(self._ended.get(timeout=LOOK_EACH_S))
            while len(arrived) < _MOST_FETCHED:
                arrived.append(self._ended.get_nowait())
        if not arrived:
            if time.monotonic() < self._tend_at_s:
                return arrived
            self._tend()
        self._tend_at_s = time.monotonic() + _TEND_EACH_S
        return arrived

    def _filled_again(self) -> list[Future[Any]]:
        """Return the emptied batches that have run again; Dask need not tell of them."""
        if not self._emptied:
            return []
        held = self._client.who_has(list(self._emptied))
        filled = [future for future in self._emptied if held.get(future.key)]
        self._emptied.difference_update(filled)
        return filled

    def _stranded(self) -> list[Future[Any]]:
        """Return the batches that nobody will run.

        A scheduler gives a task that waits for a worker to the next one that joins, but not if

        (a) the task was meant for a worker that left, even where others were allowed;
        (b) the task has run on a worker that left, and its receipt is gone.
        """
        suspects = [
            future
            for future, sent in self._out.items()
            if (future in self._emptied and not self._crew.is_empty)
            or self._crew.has_lost(sent.address)
        ]
        if not suspects:
            return suspects
        keys = {key for running in self._client.processing().values() for key in running}
        return [
            future
            for future in suspects
            if future.key not in keys and (future in self._emptied or not future.done())
        ]

    def _forget(self, future: Future[Any]) -> Sent:
        """Count a batch as out no more."""
        sent = self._out.pop(future)
        self._emptied.discard(future)
        self._crew.end(sent.address)
        self._listener.end(str(future.key))
        return sent

    def _receipts(self, done: Sequence[Future[Any]]) -> list[tuple[Sent, Receipt | None]]:
        """Return the receipts of batches, but for slow and for lost ones."""
        fetched: dict[Future[Any], Receipt] = {}
        if len(done) > 1:  # all at once: busy workers take long to answer each question
            gather = partial(self._client.gather, list(done), asynchronous=True)
            with contextlib.suppress(Exception):  # it comes again from the future that it is of
                fetched = dict(
                    zip(done, self._client.sync(gather, callback_timeout=_FETCH_S), strict=True)
                )
        receipts: list[tuple[Sent, Receipt | None]] = []
        for future in done:
            try:
                receipt = fetched.get(future) or self._receipt(future)
            except TimeoutError:
                if future.status == "error":  # the batch itself has raised it
                    raise
                if any(self._client.who_has([future]).values()):
                    future.add_done_callback(self._ended.put)
                else:
                    self._emptied.add(future)  # the scheduler runs it again, unless it is stranded
                continue
            if receipt is not None and receipt.stuck is not None:
                self._end_worker(future)
            receipts.append((self._forget(future), receipt))
            future.release()  # if it were held, a death of its worker would make it run again
        return receipts

    def _receipt(self, future: Future[Any]) -> Receipt | None:
        """Return the receipt of a batch, or None if its worker died too often."""
        from distributed import KilledWorker

        try:
            receipt: Receipt = future.result(timeout=_FETCH_S)
        except KilledWorker as error:
            self.last_dead = error.last_worker.address
            self._roots.suspect_dead()
            return None
        return receipt

    def _end_worker(self, future: Future[Any]) -> None:
        """End the process of a batch with a stuck experiment."""
        addresses = [
            address for held in self._client.who_has([future]).values() for address in held
        ]
        # or the batch would run again, as its receipt goes with its worker
        self._client.cancel([future], force=True)
        end_workers(self._client, addresses)


def _pickled(groups: list[Group]) -> bytes:
    """Return pickled groups, or raise the error of a value that cannot travel."""
    try:
        return dumps([[tuple(experiment) for experiment in group] for group in groups])
    except Exception:
        for experiment in itertools.chain.from_iterable(groups):
            for parameter, value in experiment.values.items():
                check_values(parameter, [value])
        raise
