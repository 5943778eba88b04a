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
import traceback
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, final

from daskresearch.errors import ClusterError, StorageError
from daskresearch.execute.crew import Crew
from daskresearch.execute.local import Came, Lost
from daskresearch.execute.window import BUDGET_S, SENT_S, Window
from daskresearch.plan import Kind, Unit
from daskresearch.store.record import Failure, Record
from daskresearch.store.writer import Target, check_visible
from daskresearch.worker import (
    Blob,
    Carried,
    Experiment,
    Group,
    Outcome,
    Program,
    Receipt,
    RootKey,
    RootTable,
    departing,
    given,
    load_records,
    run_batch,
    run_root,
)
from daskresearch.worker.profile import ProfileRow, combined
from daskresearch.worker.travel import check_values, dumps

if TYPE_CHECKING:
    from distributed import Client, Future

_INLINE_BYTES = 64_000
_TEND_EACH_S = 3
_WAIT_S = 1  # then workers are looked for that have joined
_MOST_FETCHED = 32


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
    workers : int, optional
        The most batches that run at once. Default: as many as the workers have threads, also those that join later.
    whole_groups : bool
        Whether groups come whole, so that what a root draws for one is best drawn where its members run.
    least_s : float
        Seconds of work that a batch is worth at least.
    abort : callable, optional
        Ends the tasks of these keys that still run after an error or an interrupt.
    tend : callable, optional
        Called every few seconds while nothing ends, to replace workers that are gone.
    """

    def __init__(
        self,
        client: Client,
        program: Program,
        content: bytes,
        workers: int | None = None,
        *,
        whole_groups: bool = False,
        least_s: float = SENT_S,
        abort: Callable[[list[str]], object] = bool,
        tend: Callable[[], object] = bool,
    ) -> None:
        self._client = client
        self._least_s = least_s
        self._abort = abort
        self._tend = tend
        self._program = program
        self._run = uuid.uuid4().hex[:12]
        blob = Blob(hashlib.blake2b(content, digest_size=8).hexdigest() + self._run, Carried.of_bytes(content))
        # a large blob is a task of its own, so that each worker fetches it once
        self._blob = blob if len(content) < _INLINE_BYTES else client.submit(_same, blob, key=self._key("plan"))
        self._crew = Crew(client.nthreads, workers)
        self._may_grow = workers is None
        self._shared_roots = roots_apart(program, whole_groups=whole_groups)
        self._roots: RootTable[Future[Any] | Outcome] = RootTable()
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
        try:
            while True:
                n_most = self._look(window)
                while not stop.is_set() and len(out) < n_most and (batch := window.next_batch()):
                    name = uuid.uuid4().hex
                    out[self._submit(batch, name, ended)] = Sent(batch, name, time.monotonic())
                for receipt in receipts:  # workers are busy again before their records are looked at
                    yield from _came(receipt)
                if receipts:
                    receipts = []
                    continue
                if not out:
                    break
                done = [future for future in self._next(ended) if future in out]
                for future in [] if done else self._stranded(out):
                    batch, name, _ = out.pop(future)
                    self._client.cancel([future], force=True)
                    out[self._submit(batch, name, ended)] = Sent(batch, name, time.monotonic())
                if not done and stop.is_set() and self._crew.is_empty:
                    self._client.cancel(list(out), force=True)  # nobody is there to begin them
                    break
                for future, got in self._receipts(done).items():
                    sent = out.pop(future)
                    if got is None:
                        suspects.extend([(sent.name, group) for group in sent.batch])
                    else:
                        window.measured(got.n_groups, got.seconds, time.monotonic() - sent.at_s)
                        window.give_back(sent.batch[got.n_groups :])
                        receipts.append(got)
            for name, group in suspects:
                if not stop.is_set():
                    yield from self._run_suspect(name, group)
        except BaseException:
            # what made the run end is told, whatever becomes of its tasks
            with contextlib.suppress(Exception):
                self._abort([str(future.key) for future in out])  # cancelling does not end code that runs
            with contextlib.suppress(Exception):
                self._client.cancel(list(out), force=True)
            raise

    def check(self, target: Target) -> None:
        """Refuse to run if a worker does not see the folder of the run; those that join later are checked then."""
        for answer in self._client.run(check_visible, target, on_error="return").values():
            if isinstance(answer, StorageError):
                raise answer

    def close(self) -> None:
        """Let go of the outputs of roots, so that the cluster can forget them."""
        self._roots = RootTable()

    def _run_suspect(self, name: str, group: Group) -> Iterator[Came]:
        ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        future = self._submit([group], name, ended)  # what it had written by that name does not run again
        while future not in self._next(ended):
            self._crew.look()
            if self._stranded([future]):
                self._client.cancel([future], force=True)
                future = self._submit([group], name, ended)
        receipt = self._receipts([future])[future]
        if receipt is not None:
            yield from _came(receipt)
        elif len(group) > 1 and not self._program.is_lockstep:
            for experiment in group:
                yield from self._run_suspect(name, (experiment,))
        else:
            text = "the worker process died each time this experiment ran, perhaps out of memory or by os._exit"
            for experiment in group:
                failure = Failure("worker", 0, ClusterError(text), text)
                yield Lost(Record(experiment.position, 0, [], {}, (failure,), started=time.time()), experiment)

    def _look(self, window: Window) -> int:
        """Return how many batches may be out, with the workers that there are now."""
        self._crew.look()
        window.slots = self._crew.slots
        # one that is to wait would be run at once by a worker that the run may not use
        return window.slots if self._crew.is_larger else window.most_out

    def _next(self, ended: queue.SimpleQueue[Future[Any]]) -> list[Future[Any]]:
        """Return the futures that have ended, or none if none has for a second; look after the workers then."""
        done: list[Future[Any]] = []
        with contextlib.suppress(queue.Empty):
            done.append(ended.get(timeout=_WAIT_S))
            while len(done) < _MOST_FETCHED:
                done.append(ended.get_nowait())
        if not done:
            if time.monotonic() < self._tend_at_s:
                return done
            self._tend()
        self._tend_at_s = time.monotonic() + _TEND_EACH_S
        return done

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
        known: dict[RootKey, Future[Any] | Outcome] = {}
        if self._shared_roots:
            for group in batch:
                for experiment in group:
                    known.update(self._roots_of(experiment))
        try:
            groups = dumps([[tuple(experiment) for experiment in group] for group in batch])
        except Exception:
            for experiment in itertools.chain.from_iterable(batch):
                for name, value in experiment.values.items():
                    check_values(name, [value])
            raise
        # inputs would draw all batches to the worker that has these already
        address = self._crew.least_busy() if known else None
        key = self._key(self._program.name)
        future = self._client.submit(
            run_batch, self._blob, name, groups, BUDGET_S, list(known), *known.values(),
            key=key, pure=False, workers=address, allow_other_workers=address is not None,
        )  # fmt: skip
        if address is not None:
            self._crew.begin(address)
            self._places[str(future.key)] = address
        future.add_done_callback(ended.put)
        return future

    def _roots_of(self, experiment: Experiment) -> dict[RootKey, Future[Any] | Outcome]:
        """Return the outcomes of an experiment's steady roots, handing out the calls that are new."""
        outcomes: dict[RootKey, Future[Any] | Outcome] = {}
        for name in self._shared_roots:
            key = experiment.root_key(name)
            outcome = self._roots.get(key)
            if outcome is None:
                outcome = self._call(name, experiment, outcomes)
                self._roots.put(key, outcome)
            outcomes[key] = outcome
        needed = {experiment.root_key(name) for name in self._program.calls_needed if name in self._shared_roots}
        return {key: outcome for key, outcome in outcomes.items() if key in needed}

    def _call(
        self, name: str, experiment: Experiment, outcomes: Mapping[RootKey, Future[Any] | Outcome]
    ) -> Future[Any] | Outcome:
        """Return what will come of the call of a root, which is handed out."""
        root = self._program.roots[name]
        unit = root.unit
        if unit.kind is Kind.INPUT:
            return self._computed(unit, experiment.root_key(name).key)
        upstream = sorted(unit.upstream)
        inputs = [outcomes[experiment.root_key(one)] for one in upstream]
        own = {name: experiment.root_key(name)}
        needed = experiment._replace(values=root.values_read(experiment.values), roots=own)
        return self._client.submit(
            run_root, self._blob, name, departing(needed), upstream, *inputs,
            key=self._key(name), pure=False, priority=10,
        )  # fmt: skip

    def _computed(self, unit: Unit, key: str) -> Future[Any] | Outcome:
        """Return the value of a Dask collection that units were given, or its failure."""
        function: Any = unit.function
        future = self._client.compute(function.collection)
        error = future.exception()  # waits for the end
        if error is None:
            return self._client.submit(given, future, key=self._key("given"), pure=False)
        failure = Failure(unit.name, 0, error, "".join(traceback.format_exception(error)))
        return Outcome(failure=failure, origin=key)

    def _receipts(self, done: list[Future[Any]]) -> dict[Future[Any], Receipt | None]:
        """Return what batches sent back, None for each whose worker died too often."""
        fetched: dict[Future[Any], Receipt] = {}
        if len(done) > 1:  # all at once: busy workers take long to answer each question
            with contextlib.suppress(Exception):  # which is told of the one future that it is of
                fetched = dict(zip(done, self._client.gather(done), strict=True))
        return {future: self._receipt(future, fetched.get(future)) for future in done}

    def _receipt(self, future: Future[Any], receipt: Receipt | None) -> Receipt | None:
        """Return what a batch sent back, or None if its worker died too often."""
        from distributed import KilledWorker

        self._crew.end(self._places.pop(str(future.key), None))
        try:
            receipt = receipt or future.result()
        except KilledWorker as death:
            self._forget_dead_roots(death)
            return None
        assert receipt is not None
        if receipt.profile:
            self.profile = combined([*self.profile, *receipt.profile])
        return receipt

    def _forget_dead_roots(self, death: BaseException) -> None:
        """Make a failure of each root whose worker died, for all experiments that share it."""
        text = "the worker process died each time this root ran, perhaps out of memory or by os._exit"
        for key, future in self._roots.items():
            if not isinstance(future, Outcome) and future.status == "error":
                failure = Failure(key.key.rpartition("-")[0], 0, ClusterError(text), f"{text}\n{death}")
                self._roots.put(key, Outcome(failure=failure, origin=key.key))

    def _key(self, name: str) -> str:
        return f"{name}-{uuid.uuid4().hex}"


def roots_apart(program: Program, *, whole_groups: bool) -> list[str]:
    """Return the steady roots that are tasks of their own: all but those that a group draws where it runs.

    Parameters
    ----------
    program : Program
    whole_groups : bool
        Whether groups come whole.
    """
    return [name for name in program.calls_reached if not (whole_groups and program.roots[name].is_of_group)]


def _came(receipt: Receipt) -> Iterator[Came]:
    """Yield what a batch sent back."""
    if receipt.records:
        yield from load_records(receipt.records)
    else:
        yield receipt.written


def _same(blob: Blob) -> Blob:
    return blob
