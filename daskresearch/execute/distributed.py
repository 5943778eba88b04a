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
from typing import TYPE_CHECKING, Any, final

from daskresearch.errors import ClusterError, StorageError
from daskresearch.execute.clusters import end_workers
from daskresearch.execute.events import Listener
from daskresearch.execute.local import LOOK_EACH_S, Came, lost
from daskresearch.execute.window import BUDGET_S, SENT_S, Window
from daskresearch.plan import Kind, Unit
from daskresearch.store.record import Failure
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
from daskresearch.worker.devices import forget_leases
from daskresearch.worker.limits import cancel
from daskresearch.worker.profile import ProfileRow, combined
from daskresearch.worker.travel import check_values, dumps

if TYPE_CHECKING:
    from distributed import Client, Future

_INLINE_BYTES = 64_000
_LOOKS = 6
"""How often one looks what tasks say before one looks after the workers."""
_LOOK_EACH_S = 1


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
        The most batches that run at once. Default: as many as the workers have threads.
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
        Ends the tasks of these keys that still run after an error or an interrupt.
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
        abort: Callable[[list[str]], object] = bool,
        tend: Callable[[], object] = bool,
    ) -> None:
        self._client = client
        self._listener = listener
        self._least_s = least_s
        self._abort = abort
        self._tend = tend
        self._program = program
        self._token = token
        self._retries = retries or {}
        self._resources = dict(resources or {})
        self._timeouts: dict[int, int] = {}
        self._has_leases = has_leases
        self._run = uuid.uuid4().hex[:12]
        blob = Blob(hashlib.blake2b(content, digest_size=8).hexdigest() + self._run, Carried.of_bytes(content))
        # a large blob is a task of its own, so that each worker fetches it once
        self._blob = blob if len(content) < _INLINE_BYTES else client.submit(_same, blob, key=self._key("plan"))
        self._slots = workers or max(1, sum(client.nthreads().values()))
        self._shared_roots = roots_apart(program, whole_groups=whole_groups)
        self._roots: RootTable[Future[Any] | Outcome] = RootTable()
        self._n_out: dict[str, int] = {}
        self._places: dict[str, str] = {}
        self._seen_until = 0.0
        self.profile: list[ProfileRow] = []

    def run(self, groups: Iterator[Group], total: int | None, stop: threading.Event) -> Generator[Came, None, None]:
        """Yield what came of experiments batch by batch, of suspects at the end."""
        window = Window(groups, total, self._slots, self._least_s)
        ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        out: dict[Future[Any], list[Group]] = {}
        suspects: list[tuple[str, Group]] = []
        self._listener.listen()
        try:
            while True:
                while not stop.is_set() and len(out) < window.most_out and (batch := window.next_batch()):
                    future = self._submit(batch)
                    out[future] = batch
                    future.add_done_callback(ended.put)
                if not out:
                    break
                future = self._next(ended, out)
                batch = out.pop(future)
                receipt = self._receipt(future)
                if receipt is None:
                    suspects.extend([(_name_of(future), group) for group in batch])
                else:
                    if receipt.n_groups:
                        window.measured(receipt.n_groups, receipt.seconds)
                    yield from _came(receipt)
                    left = batch[receipt.n_groups :]
                    if receipt.stuck is not None:
                        again, gone = self._end_stuck(future, receipt, left[0])
                        left = [*again, *left[1:]]
                        yield from gone
                    window.give_back(left)
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

    def cancel(self, experiment_id: str) -> None:
        """End an experiment on whatever worker it is, or will be."""
        with contextlib.suppress(OSError):  # workers that are gone run nothing
            self._client.run(cancel, self._token, experiment_id, on_error="ignore")

    def close(self) -> None:
        """Let go of the outputs of roots, so that the cluster can forget them, and listen no more."""
        self._roots = RootTable()
        self._listener.close()
        if self._has_leases:
            with contextlib.suppress(OSError):
                self._client.run(forget_leases, self._token, on_error="ignore")

    def _run_suspect(self, name: str, group: Group, deaths: int = 0) -> Iterator[Came]:
        future = self._submit([group], name)  # what it had written by that name does not run again
        ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        future.add_done_callback(ended.put)
        future = self._next(ended, {future: [group]})
        receipt = self._receipt(future)
        if receipt is not None:
            yield from _came(receipt)
            if receipt.stuck is not None:
                again, gone = self._end_stuck(future, receipt, group)
                yield from gone
                for one in again:
                    yield from self._run_suspect(name, one)
        elif len(group) > 1 and not self._program.is_lockstep:
            for experiment in group:
                yield from self._run_suspect(name, (experiment,))
        elif deaths < self._retries.get("worker", 0):
            yield from self._run_suspect(name, group, deaths + 1)
        else:
            text = "the worker process died each time this experiment ran, perhaps out of memory or by os._exit"
            for experiment in group:
                yield lost(experiment, Failure("worker", 0, ClusterError(text), text, "worker"))

    def _end_stuck(self, future: Future[Any], receipt: Receipt, group: Group) -> tuple[list[Group], list[Came]]:
        """End the process of an experiment that does not end itself; return what is to run again, and what is lost."""
        assert receipt.stuck is not None
        addresses = [address for held in self._client.who_has([future]).values() for address in held]
        future.release()  # or its batch would run again, as what it has sent goes with its worker
        end_workers(self._client, addresses)
        left = tuple([one for one in group if one.position in receipt.unfinished])
        guilty = [one for one in left if self._program.is_lockstep or one.position == receipt.stuck.position]
        innocent = tuple([one for one in left if one not in guilty])
        spent = self._timeouts.get(receipt.stuck.position, 0)
        self._timeouts[receipt.stuck.position] = spent + 1
        again = [innocent] if innocent else []
        if spent < self._retries.get("timeout", 0):
            return [*again, group if self._program.is_lockstep else tuple(guilty)], []
        return again, [lost(one, receipt.stuck.failure) for one in guilty]

    def _next(self, ended: queue.SimpleQueue[Future[Any]], out: dict[Future[Any], list[Group]]) -> Future[Any]:
        """Return the next future that has ended, looking after the workers while none has."""
        while True:
            for _ in range(_LOOKS):
                self._listener.look()
                with contextlib.suppress(queue.Empty):
                    future = ended.get(timeout=LOOK_EACH_S)
                    if future in out:
                        return future
            self._tend()
            for future in self._stranded(out):
                batch = out.pop(future)
                again = self._submit(batch, _name_of(future))
                out[again] = batch
                again.add_done_callback(ended.put)
                self._client.cancel([future])

    def _stranded(self, out: Iterable[Future[Any]]) -> list[Future[Any]]:
        """Return the batches that wait for a worker that is gone.

        A worker is only preferred, but the scheduler, if it finds no other at the time, does not think of those that
        come later.
        """
        alive = self._client.nthreads()
        preferred = {future: self._places.get(str(future.key)) for future in out}
        apart = [future for future, address in preferred.items() if address is not None and address not in alive]
        running = {key for keys in self._client.processing().values() for key in keys} if apart else set()
        stranded = [future for future in apart if future.key not in running and future.status == "pending"]
        for future in stranded:
            del self._places[str(future.key)]
        return stranded

    def _submit(self, batch: list[Group], name: str | None = None) -> Future[Any]:
        known: dict[RootKey, Future[Any] | Outcome] = {}
        if self._shared_roots:
            for group in batch:
                for experiment in group:
                    known.update(self._roots_of(experiment))
        try:
            groups = dumps([[tuple(experiment) for experiment in group] for group in batch])
        except Exception:
            for experiment in itertools.chain.from_iterable(batch):
                for parameter, value in experiment.values.items():
                    check_values(parameter, [value])
            raise
        # inputs would draw all batches to the worker that has these already
        address = self._least_busy() if known and name is None else None
        key = self._key(self._program.name)
        self._listener.begin(key)
        future = self._client.submit(
            run_batch, self._blob, name or key.rpartition("-")[2], groups, BUDGET_S, list(known), *known.values(),
            key=key, pure=False, workers=address, allow_other_workers=address is not None,
            resources=self._resources.get(""),
        )  # fmt: skip
        if address is not None:
            self._n_out[address] += 1
            self._places[str(future.key)] = address
        return future

    def _least_busy(self) -> str | None:
        """Return the worker that has the fewest batches of this run."""
        now = time.monotonic()
        if now > self._seen_until:
            self._seen_until = now + _LOOK_EACH_S
            self._n_out = {address: self._n_out.get(address, 0) for address in self._client.nthreads()}
        return min(self._n_out, key=self._n_out.__getitem__, default=None)

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
            key=self._key(name), pure=False, priority=10, resources=self._resources.get(name),
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

    def _receipt(self, future: Future[Any]) -> Receipt | None:
        """Return what a batch sent back, or None if its worker died too often."""
        from distributed import KilledWorker

        self._listener.end(str(future.key))
        address = self._places.pop(str(future.key), None)
        if address in self._n_out:
            self._n_out[address] -= 1
        try:
            receipt: Receipt = future.result()
        except KilledWorker as death:
            self._forget_dead_roots(death)
            return None
        if receipt.profile:
            self.profile = combined([*self.profile, *receipt.profile])
        return receipt

    def _forget_dead_roots(self, death: BaseException) -> None:
        """Make a failure of each root whose worker died, for all experiments that share it."""
        text = "the worker process died each time this root ran, perhaps out of memory or by os._exit"
        for key, future in self._roots.items():
            if not isinstance(future, Outcome) and future.status == "error":
                failure = Failure(key.key.rpartition("-")[0], 0, ClusterError(text), f"{text}\n{death}", "worker")
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


def _name_of(future: Future[Any]) -> str:
    """Return the name of a batch, by which its worker has written."""
    return str(future.key).rpartition("-")[2]


def _same(blob: Blob) -> Blob:
    return blob
