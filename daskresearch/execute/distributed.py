"""The executor on a Dask cluster: batches as tasks, roots as tasks of their own, deaths contained.

A batch whose worker died too often is a *suspect*: its groups run again one at a time with nothing beside them, so
that a group that kills its worker is told from its innocent neighbours.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import queue
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, final

from daskresearch.errors import ClusterError, ExperimentTimeoutError, StorageError
from daskresearch.execute.clusters import end_workers
from daskresearch.execute.crew import Crew
from daskresearch.execute.events import Listener
from daskresearch.execute.local import LOOK_EACH_S, Came, lost
from daskresearch.execute.root_tasks import RootTasks, new_key
from daskresearch.execute.window import BUDGET_S, SENT_S, Window
from daskresearch.store.record import Failure
from daskresearch.store.writer import Target, check_visible
from daskresearch.worker import Blob, Carried, Experiment, Group, Program, Receipt, load_records, run_batch
from daskresearch.worker.devices import forget_leases
from daskresearch.worker.limits import Stuck, abandon, cancel, forget
from daskresearch.worker.profile import ProfileRow, combined
from daskresearch.worker.travel import check_values, dumps

if TYPE_CHECKING:
    from distributed import Client, Future

_INLINE_BYTES = 64_000
_TEND_EACH_S = 3
_MOST_FETCHED = 32
_FETCH_S = 5
_END_S = 2


class Sent(NamedTuple):
    """A batch that is out, by which name it writes, and when it was handed out."""

    batch: list[Group]
    name: str
    at_s: float


@final
class DistributedExecutor:
    """Runs groups as batches on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    program : Program
    content : bytes
        The pickled plan and context, from `daskresearch.worker.travel.pickle_plan`.
    listener : Listener
        Hears how many iterations are done in tasks that run.
    workers : int, optional
        The most batches that run at once. Default: as many as the workers have threads, also those that join later.
    token : str
        Of the run.
    retries : Mapping of str to int, optional
        By kind of failure, how often an experiment is run again.
    resources : Mapping of str to Mapping, optional
        What each steady root takes of the resources of its worker, and a batch under the name ``''``.
    has_leases : bool
        Whether experiments hold devices.
    whole_groups : bool
        Whether groups come whole, so that what a root draws for one is best drawn where its members run.
    least_s : float
        Seconds of work that a batch is worth at least.
    abort : callable, optional
        Ends the tasks of these keys that still run after an error or an interrupt; with ``at_once=True`` after another
        interrupt.
    tend : callable, optional
        Called every few seconds while nothing ends, to replace workers that are gone.
    """

    def __init__(
        self,
        client: Client,
        program: Program,
        content: bytes,
        listener: Listener,
        workers: int | None = None,
        *,
        token: str = "",
        retries: Mapping[str, int] | None = None,
        resources: Mapping[str, Mapping[str, float]] | None = None,
        has_leases: bool = False,
        whole_groups: bool = False,
        least_s: float = SENT_S,
        abort: Callable[..., object] = lambda keys, at_once=False: None,
        tend: Callable[[], object] = bool,
    ) -> None:
        self._client = client
        self._least_s = least_s
        self._abort = abort
        self._tend = tend
        self._program = program
        self._listener = listener
        self._token = token
        self._retries = retries or {}
        self._resources = resources or {}
        self._has_leases = has_leases
        self._timeouts: dict[int, int] = {}
        self._cancelled: set[str] = set()
        self._is_abandoned = False
        self._gone: list[Future[Any]] = []
        self._run = uuid.uuid4().hex[:12]
        blob = Blob(hashlib.blake2b(content, digest_size=8).hexdigest() + self._run, Carried.of_bytes(content))
        # a large blob is a task of its own, so that each worker fetches it once
        self._blob = blob if len(content) < _INLINE_BYTES else client.submit(_same, blob, key=new_key("plan"))
        self._crew = Crew(client.nthreads, workers)
        self._may_grow = workers is None
        apart = roots_apart(program, whole_groups=whole_groups)
        self._roots = RootTasks(client, program, self._blob, apart, self._resources)
        self._places: dict[str, str] = {}
        self._tend_at_s = time.monotonic() + _TEND_EACH_S
        self.profile: list[ProfileRow] = []

    def run(self, groups: Iterator[Group], total: int | None, stop: threading.Event) -> Generator[Came, None, None]:
        """Yield what came of experiments batch by batch, of suspects at the end."""
        window = Window(groups, total, self._crew.slots, self._least_s, may_grow=self._may_grow)
        ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        out: dict[Future[Any], Sent] = {}
        suspects: list[tuple[str, Group]] = []
        receipts: list[Receipt] = []
        self._listener.listen()
        try:
            while True:
                n_most = self._look(window)
                while not stop.is_set() and len(out) < n_most and (batch := window.next_batch()):
                    name = uuid.uuid4().hex
                    suspects.extend([(name, group) for group in batch if self._roots.are_suspect(group)])
                    batch = [group for group in batch if not self._roots.are_suspect(group)]
                    if batch:
                        out[self._submit(batch, name, ended)] = Sent(batch, name, time.monotonic())
                for receipt in receipts:  # workers are busy again before their records are looked at
                    yield from _came(receipt)
                if receipts:
                    receipts = []
                    continue
                if not out:
                    break
                arrived = self._next(ended)
                for future in self._gone_of(out) or ([] if arrived else self._stranded(out)):
                    batch, name, _ = out.pop(future)
                    self._give_up(future)
                    out[self._submit(batch, name, ended)] = Sent(batch, name, time.monotonic())
                done = [future for future in arrived if future in out]
                if not done and stop.is_set() and self._crew.is_empty:
                    self._client.cancel(list(out), force=True)  # nobody is there to begin them
                    break
                for future, got in self._receipts(done, ended).items():
                    sent = out.pop(future)
                    if got is None:
                        suspects.extend([(sent.name, group) for group in sent.batch])
                    else:
                        if got.n_groups:
                            window.measured(got.n_groups, got.seconds, time.monotonic() - sent.at_s)
                        receipts.append(got)
                        left = sent.batch[got.n_groups :]
                        if got.stuck is not None:
                            again, gone = self._end_stuck(future, got, left[0])
                            left = [*again, *left[1:]]
                            yield from gone
                        window.give_back(left)
            for name, group in suspects:
                if not stop.is_set():
                    yield from self._run_suspect(name, group, stop)
        except BaseException:
            self._abandon(list(out))
            raise

    def check(self, target: Target) -> None:
        """Refuse to run if a worker does not see the folder of the run; those that join later are checked then."""
        for answer in self._client.run(check_visible, target, on_error="return").values():
            if isinstance(answer, StorageError):
                raise answer

    def cancel(self, experiment_id: str) -> None:
        """End an experiment on whatever worker it is, or will be."""
        self._cancelled.add(experiment_id)
        with contextlib.suppress(OSError):  # workers that are gone run nothing
            self._client.run(cancel, self._token, experiment_id, on_error="ignore")

    def close(self) -> None:
        """Let go of the outputs of roots, so that the cluster can forget them, and listen no more."""
        self._roots.clear()
        self._listener.close()
        with contextlib.suppress(Exception):  # what has ended the run is told, and not that a cluster is gone
            if self._cancelled or self._is_abandoned:
                self._tell_workers(forget)
            if self._has_leases:
                self._client.run(forget_leases, self._token, on_error="ignore")

    def _abandon(self, futures: list[Future[Any]]) -> None:
        """End batches that are out, of which what has ended is written; code that does not return to Python runs on.

        What made the run end is told, whatever becomes of its tasks; a second interrupt ends it at once.
        """
        self._is_abandoned = True
        try:
            with contextlib.suppress(Exception):
                self._tell_workers(abandon)  # cancelling does not end code that runs
                deadline = time.monotonic() + _END_S
                while not all(future.done() for future in futures) and time.monotonic() < deadline:
                    time.sleep(0.01)
            with contextlib.suppress(Exception):
                self._abort([str(future.key) for future in futures if not future.done()])
        except KeyboardInterrupt:
            with contextlib.suppress(Exception):
                self._abort([str(future.key) for future in futures], at_once=True)
            raise
        finally:
            with contextlib.suppress(Exception):
                self._client.cancel(futures, force=True)

    def _tell_workers(self, what: Callable[..., object], *arguments: Any) -> None:
        """Call a function of the run on all workers, but wait no longer than a moment for those that do not answer."""
        ask = self._client._run
        self._client.sync(ask, what, self._token, *arguments, on_error="ignore", callback_timeout=_FETCH_S)

    def _finish(self, future: Future[Any]) -> None:
        """Wait for the end of the only task that runs."""
        ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        future.add_done_callback(ended.put)
        while not future.done():
            self._next(ended)

    def _give_up(self, future: Future[Any]) -> None:
        """Forget a batch that is out."""
        self._client.cancel([future], force=True)
        self._places.pop(str(future.key), None)
        self._listener.end(str(future.key))

    def _run_suspect(self, name: str, group: Group, stop: threading.Event, deaths: int = 0) -> Iterator[Came]:
        self._roots.known(group, self._finish)
        ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        future = self._submit([group], name, ended)  # what it had written by that name does not run again
        receipts: dict[Future[Any], Receipt | None] = {}
        while future not in receipts:
            if future in self._next(ended):
                receipts = self._receipts([future], ended)
            if future in receipts:
                break
            self._crew.look()
            if stop.is_set() and self._crew.is_empty:
                self._give_up(future)  # nobody is there to run it
                return
            if self._gone_of([future]) or self._stranded([future]):
                self._give_up(future)
                future = self._submit([group], name, ended)
        receipt = receipts[future]
        if receipt is not None:
            yield from _came(receipt)
            if receipt.stuck is not None:
                again, gone = self._end_stuck(future, receipt, group)
                yield from gone
                for one in again:
                    yield from self._run_suspect(name, one, stop)
        elif len(group) > 1 and not self._program.is_lockstep:
            for experiment in group:
                yield from self._run_suspect(name, (experiment,), stop)
        elif deaths < self._retries.get("worker", 0):
            yield from self._run_suspect(name, group, stop, deaths + 1)
        else:
            text = "the worker process died each time this experiment ran, perhaps out of memory or by os._exit"
            for experiment in group:
                yield lost(experiment, Failure("worker", 0, ClusterError(text), text, "worker"))

    def _end_stuck(self, future: Future[Any], receipt: Receipt, group: Group) -> tuple[list[Group], list[Came]]:
        """End the process of an experiment that does not end itself; return what is to run again, and what is lost."""
        assert receipt.stuck is not None
        addresses = [address for held in self._client.who_has([future]).values() for address in held]
        # or its batch would run again, as what it has sent goes with its worker
        self._client.cancel([future], force=True)
        end_workers(self._client, addresses)
        left = tuple([one for one in group if one.position in receipt.unfinished])
        guilty = [one for one in left if self._program.is_lockstep or one.position == receipt.stuck.position]
        innocent = tuple([one for one in left if one not in guilty])
        spent = self._timeouts.get(receipt.stuck.position, 0)
        self._timeouts[receipt.stuck.position] = spent + 1
        again = [innocent] if innocent else []
        if spent < self._retries.get("timeout", 0):
            return [*again, group if self._program.is_lockstep else tuple(guilty)], []
        return again, [lost(one, _failure_of(one, receipt.stuck)) for one in guilty]

    def _look(self, window: Window) -> int:
        """Return how many batches may be out, with the workers that there are now."""
        self._crew.look()
        window.slots = self._crew.slots
        # one that is to wait would be run at once by a worker that the run may not use
        return window.slots if self._crew.is_larger else window.most_out

    def _next(self, ended: queue.SimpleQueue[Future[Any]]) -> list[Future[Any]]:
        """Return the futures that have ended, or none if none has for a moment; look after the workers then."""
        done: list[Future[Any]] = []
        self._listener.look()
        with contextlib.suppress(queue.Empty):
            done.append(ended.get(timeout=LOOK_EACH_S))
            while len(done) < _MOST_FETCHED:
                done.append(ended.get_nowait())
        if not done:
            if time.monotonic() < self._tend_at_s:
                return done
            self._tend()
        self._tend_at_s = time.monotonic() + _TEND_EACH_S
        return done

    def _gone_of(self, futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        """Return the batches of which what they sent is lost, and note no more that it is."""
        gone, self._gone = [one for one in self._gone if one in futures], []
        return gone

    def _stranded(self, futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        """Return the batches that nobody will run: handed to a worker that is gone, while the cluster had no other.

        A scheduler gives a task that it could place nowhere to the next worker that joins, but not if the task was
        meant for another, even where others were allowed.
        """
        lost = [one for one in futures if self._crew.has_lost(self._places.get(str(one.key)))]
        if not lost:
            return lost
        keys = {key for running in self._client.processing().values() for key in running}
        return [future for future in lost if future.key not in keys and not future.done()]

    def _submit(self, batch: list[Group], name: str, ended: queue.SimpleQueue[Future[Any]]) -> Future[Any]:
        known = self._roots.known([experiment for group in batch for experiment in group])
        try:
            groups = dumps([[tuple(experiment) for experiment in group] for group in batch])
        except Exception:
            for experiment in itertools.chain.from_iterable(batch):
                for parameter, value in experiment.values.items():
                    check_values(parameter, [value])
            raise
        # inputs would draw all batches to the worker that has these already
        # but a wish for a worker would go before what the task needs of its resources
        address = self._crew.least_busy() if known and not self._resources.get("") else None
        unwanted = [one.id for group in batch for one in group if one.id in self._cancelled] if self._cancelled else []
        key = new_key(self._program.name)
        self._listener.begin(key)
        future = self._client.submit(
            run_batch, self._blob, name, groups, BUDGET_S, unwanted, list(known), *known.values(),
            key=key, pure=False, workers=address, allow_other_workers=address is not None,
            resources=self._resources.get(""),
        )  # fmt: skip
        if address is not None:
            self._crew.begin(address)
            self._places[str(future.key)] = address
        future.add_done_callback(ended.put)
        return future

    def _receipts(
        self, done: list[Future[Any]], ended: queue.SimpleQueue[Future[Any]]
    ) -> dict[Future[Any], Receipt | None]:
        """Return what batches sent back, None for each whose worker died too often.

        Those are left out that are to be asked again, and those of which what they sent went with their worker, which
        are noted in `_gone`: the scheduler runs them again, but may think that they must wait for that worker.
        """
        fetched: dict[Future[Any], Receipt] = {}
        if len(done) > 1:  # all at once: busy workers take long to answer each question
            gather = partial(self._client.gather, done, asynchronous=True)
            with contextlib.suppress(Exception):  # which is told of the one future that it is of
                fetched = dict(zip(done, self._client.sync(gather, callback_timeout=_FETCH_S), strict=True))
        receipts: dict[Future[Any], Receipt | None] = {}
        for future in done:
            try:
                receipts[future] = self._receipt(future, fetched.get(future))
            except TimeoutError:
                if future.status == "error":  # it is of the batch itself
                    raise
                if any(self._client.who_has([future]).values()):  # its worker takes long to answer
                    future.add_done_callback(ended.put)
                else:
                    self._gone.append(future)
        return receipts

    def _receipt(self, future: Future[Any], receipt: Receipt | None) -> Receipt | None:
        """Return what a batch sent back, or None if its worker died too often."""
        from distributed import KilledWorker

        try:
            receipt = receipt or future.result(timeout=_FETCH_S)
        except KilledWorker:
            self._roots.suspect_dead()
            receipt = None
        self._crew.end(self._places.pop(str(future.key), None))
        self._listener.end(str(future.key))
        if receipt is None:
            return None
        if receipt.stuck is None:
            future.release()  # held, it would run again if its worker died now, with what it has given back
        if receipt.profile:
            self.profile = combined([*self.profile, *receipt.profile])
        return receipt


def roots_apart(program: Program, *, whole_groups: bool) -> list[str]:
    """Return the steady roots that are tasks of their own: all but those that a group draws where it runs.

    Parameters
    ----------
    program : Program
    whole_groups : bool
        Whether groups come whole.
    """
    return [name for name in program.calls_reached if not (whole_groups and program.roots[name].is_of_group)]


def _failure_of(experiment: Experiment, stuck: Stuck) -> Failure:
    """Return why an experiment was ended: it is the stuck one, or goes in lock-step with it."""
    if experiment.position == stuck.position:
        return stuck.failure
    text = f"experiment {experiment.id} was ended with its lock-step group, as {stuck.failure.exception}"
    return replace(stuck.failure, exception=ExperimentTimeoutError(text))


def _came(receipt: Receipt) -> Iterator[Came]:
    """Yield what a batch sent back."""
    if receipt.records:
        yield from load_records(receipt.records)
    else:
        yield receipt.written


def _same(blob: Blob) -> Blob:
    return blob
