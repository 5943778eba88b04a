"""The batches of a run that are out: handed to workers, handed out again where they are lost, and what they send."""

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
        By which it writes, the same when it is handed out again.
    budget_s : float
        After how many seconds its worker begins no further group.
    at_s : float
        When it was handed out.
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
        self._emptied: set[Future[Any]] = set()  # what these sent went with their worker
        self._unwanted: set[str] = set()
        self.last_dead = ""
        """The address of the last worker whose death was one too many."""

    def __len__(self) -> int:
        return len(self._out)

    def forbid(self, experiment_id: str) -> None:
        """Run an experiment in no batch that is handed out from now on."""
        self._unwanted.add(experiment_id)

    def send(self, groups: list[Group], name: str, budget_s: float) -> None:
        """Hand out a batch, of which a worker begins no further group after some seconds.

        Raises
        ------
        PickleError
            If a value of a parameter cannot travel.
        """
        known = self._roots.known([experiment for group in groups for experiment in group])
        content = _pickled(groups)
        # inputs would draw all batches to the worker that has these already
        # but a wish for a worker would go before what the task needs of its resources
        address = self._crew.least_busy() if known and not self._resources else None
        unwanted = (
            [one.id for group in groups for one in group if one.id in self._unwanted]
            if self._unwanted
            else []
        )
        key = new_key(self._name)
        self._listener.begin(key)
        future = self._client.submit(
            run_batch, self._blob, name, content, budget_s, unwanted, list(known), *known.values(),
            key=key, pure=False, workers=address, allow_other_workers=address is not None, resources=self._resources,
        )  # fmt: skip
        if address is not None:
            self._crew.begin(address)
        self._out[future] = Sent(groups, name, budget_s, time.monotonic(), address)
        future.add_done_callback(self._ended.put)

    def ended(self) -> list[tuple[Sent, Receipt | None]]:
        """Wait a moment, and return the batches that have ended with what they sent; others may be handed out again.

        What a batch sent is None if its worker died too often. The worker of one that is stuck is ended.

        Raises
        ------
        ClusterError
            If the scheduler is gone.
        Exception
            That of a batch.
        """
        arrived = self._arrived()
        ended = dict.fromkeys((*arrived, *self._filled_again()))
        came = self._receipts([future for future in ended if future in self._out])
        if self._emptied or not arrived:
            for future in self._stranded():
                sent = self._forget(future)
                self._client.cancel([future], force=True)
                self.send(sent.groups, sent.name, sent.budget_s)
        return came

    def finish(self, future: Future[Any], is_stopped: Callable[[], bool]) -> None:
        """Wait for the end of a task beside which no batch is out; no longer if it is stopped and nobody could run it.

        Parameters
        ----------
        future : distributed.Future
        is_stopped : callable
        """
        future.add_done_callback(self._ended.put)
        while not future.done() and not (is_stopped() and self._crew.is_empty):
            self._arrived()

    def withdraw(self) -> None:
        """Let go of all batches that are out; code that runs is not ended by it."""
        futures = list(self._out)
        for future in futures:
            self._forget(future)
        self._client.cancel(futures, force=True)

    def running(self) -> list[str]:
        """Return the keys of those that have not ended."""
        return [str(future.key) for future in self._out if not future.done()]

    def look(self) -> None:
        """See how far tasks are, and which workers there are."""
        if self._client.status != "running":
            raise ClusterError(
                f"the client of the cluster is {self._client.status}: its scheduler is gone"
            )
        self._listener.look()
        self._crew.look()

    def _arrived(self) -> list[Future[Any]]:
        """Return the futures that have ended, or none if none has for a moment; look after the workers then."""
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
        """Return the batches that have run again after what they sent was gone; the client may not be told of it."""
        if not self._emptied:
            return []
        held = self._client.who_has(list(self._emptied))
        filled = [future for future in self._emptied if held.get(future.key)]
        self._emptied.difference_update(filled)
        return filled

    def _stranded(self) -> list[Future[Any]]:
        """Return the batches that nobody will run.

        A scheduler gives a task that it could place nowhere to the next worker that joins, but not if the task was
        meant for another, even where others were allowed; nor if it has run on another, of which what it sent is gone.
        """
        lost = [
            future for future, sent in self._out.items()
            if (future in self._emptied and not self._crew.is_empty) or self._crew.has_lost(sent.address)
        ]  # fmt: skip
        if not lost:
            return lost
        keys = {key for running in self._client.processing().values() for key in running}
        return [
            one for one in lost if one.key not in keys and (one in self._emptied or not one.done())
        ]

    def _forget(self, future: Future[Any]) -> Sent:
        """Count a batch as out no more."""
        sent = self._out.pop(future)
        self._emptied.discard(future)
        self._crew.end(sent.address)
        self._listener.end(str(future.key))
        return sent

    def _receipts(self, done: Sequence[Future[Any]]) -> list[tuple[Sent, Receipt | None]]:
        """Return what batches sent; of those whose worker takes long to answer, or is gone with it, it comes later."""
        fetched: dict[Future[Any], Receipt] = {}
        if len(done) > 1:  # all at once: busy workers take long to answer each question
            gather = partial(self._client.gather, list(done), asynchronous=True)
            with contextlib.suppress(Exception):  # which is told of the one future that it is of
                fetched = dict(
                    zip(done, self._client.sync(gather, callback_timeout=_FETCH_S), strict=True)
                )
        came: list[tuple[Sent, Receipt | None]] = []
        for future in done:
            try:
                receipt = fetched.get(future) or self._receipt(future)
            except TimeoutError:
                if future.status == "error":  # it is of the batch itself
                    raise
                if any(self._client.who_has([future]).values()):
                    future.add_done_callback(self._ended.put)
                else:
                    self._emptied.add(future)  # the scheduler runs it again, or should
                continue
            if receipt is not None and receipt.stuck is not None:
                self._end_worker(future)
            came.append((self._forget(future), receipt))
            future.release()  # held, it would run again if its worker died now, with what it has given back
        return came

    def _receipt(self, future: Future[Any]) -> Receipt | None:
        """Return what a batch sent, or None if its worker died too often."""
        from distributed import KilledWorker

        try:
            receipt: Receipt = future.result(timeout=_FETCH_S)
        except KilledWorker as error:
            self.last_dead = error.last_worker.address
            self._roots.suspect_dead()
            return None
        return receipt

    def _end_worker(self, future: Future[Any]) -> None:
        """End the process of a batch that is stuck."""
        addresses = [
            address for held in self._client.who_has([future]).values() for address in held
        ]
        # or the batch would run again, as what it has sent goes with its worker
        self._client.cancel([future], force=True)
        end_workers(self._client, addresses)


def _pickled(groups: list[Group]) -> bytes:
    try:
        return dumps([[tuple(experiment) for experiment in group] for group in groups])
    except Exception:
        for experiment in itertools.chain.from_iterable(groups):
            for parameter, value in experiment.values.items():
                check_values(parameter, [value])
        raise
