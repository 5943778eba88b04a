"""The executor on a Dask cluster, where batches and roots are tasks.

The groups of a batch whose worker died too often are *suspects*. Each runs again with nothing
beside it, so that a group that kills its worker is told from its innocent neighbours.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import TYPE_CHECKING, final

from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.errors import ClusterError, ExperimentTimeoutError, StorageError
from daskresearch.execute.batches import Batches
from daskresearch.execute.client import ANSWER_S
from daskresearch.execute.crew import Crew
from daskresearch.execute.events import Listener
from daskresearch.execute.executor import Returned, lost
from daskresearch.execute.root_tasks import RootTasks, new_key
from daskresearch.execute.window import SENT, Way, Window
from daskresearch.store.failure import Failure, FailureKind
from daskresearch.store.folder.writer import Target, check_visible
from daskresearch.worker import Blob, Carried, Group, Program, Receipt, load_records
from daskresearch.worker.devices import forget_leases
from daskresearch.worker.limits import Stuck, abandon, cancel
from daskresearch.worker.profile import ProfileRow, combined
from daskresearch.worker.wanted import forget, halt

if TYPE_CHECKING:
    from distributed import Client

_INLINE_BYTES = 64_000
_END_S = 2
_KEPT = (
    "; what has finished is kept: run into the same folder with resume=True, on a Client that is "
    "connected"
)


@final
class DistributedExecutor:
    """Runs groups as batches on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    program : Program
    content : bytes
        The pickled plan and context, from `daskresearch.worker.pickling.pickle_plan`.
    listener : Listener
        Hears how many iterations are done in tasks that run.
    workers : int, optional
        The most batches that run at once. Default: as many as the workers have threads, also those
        that join later.
    token : str
        The token of the run.
    retries : Mapping of str to int, optional
        How often an experiment is run again, by kind of failure.
    resources : Mapping of str to Mapping, optional
        What each steady root takes of the resources of its worker, and a batch under the name
        ``''``.
    has_leases : bool
        Whether experiments hold devices.
    whole_groups : bool
        Whether groups come whole. Then a root that draws for a group runs where its members run.
    way : Way
        What a batch costs beside its work.
    abort : callable, optional
        Ends the tasks of these keys that still run after an error or an interrupt; with
        ``at_once=True`` after a second interrupt.
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
        way: Way = SENT,
        abort: Callable[..., object] = lambda keys, at_once=False: None,
        tend: Callable[[], object] = bool,
    ) -> None:
        self._client = client
        self._way = way
        self._abort = abort
        self._program = program
        self._listener = listener
        self._token = token
        self._retries = retries or {}
        self._has_leases = has_leases
        self._timeouts: dict[int, int] = {}
        self._has_told = self._is_halted = False
        blob = Blob(
            hashlib.blake2b(content, digest_size=8).hexdigest() + uuid.uuid4().hex,
            Carried.of_bytes(content),
        )
        # a large blob is a task of its own, so that each worker fetches it once
        sent = (
            blob
            if len(content) < _INLINE_BYTES
            else client.submit(_same, blob, key=new_key("plan"))
        )
        self._crew = Crew(client.nthreads, workers)
        self._may_grow = workers is None
        resources = resources or {}
        self._roots = RootTasks(
            client, program, sent, roots_apart(program, whole_groups=whole_groups), resources
        )
        self._batches = Batches(
            client,
            program.name,
            sent,
            self._roots,
            self._crew,
            listener,
            resources=resources.get("", {}),
            tend=tend,
        )
        self.profile: list[ProfileRow] = []

    def run(
        self, groups: Iterator[Group], total: int | None, stop: threading.Event
    ) -> Generator[Returned, None, None]:
        """Yield what is returned of experiments batch by batch, of suspects at the end.

        Raises
        ------
        ClusterError
            If the scheduler is gone.
        """
        window = Window(groups, total, self._crew.slots, self._way, may_grow=self._may_grow)
        self._listener.listen()
        try:
            suspects = yield from self._run_batches(window, stop)
            for name, group in suspects:
                if not stop.is_set():
                    yield from self._run_suspect(name, group, stop)
        except BaseException as error:
            self._abandon()
            if isinstance(error, Exception) and self._client.status != "running":
                status = self._client.status
                raise ClusterError(
                    f"the scheduler of the cluster is gone (the client is {status}){_KEPT}"
                ) from error
            if isinstance(error, CancelledError):
                raise ClusterError(
                    f"tasks of the run were cancelled by others, as by client.restart(){_KEPT}"
                ) from error
            raise

    def _run_batches(
        self, window: Window, stop: threading.Event
    ) -> Generator[Returned, None, list[tuple[str, Group]]]:
        """Yield what is returned of experiments; return suspects with names of batches."""
        suspects: list[tuple[str, Group]] = []
        receipts: list[Receipt] = []
        while True:
            suspects += self._send(window, stop)
            for receipt in receipts:  # workers are busy again before their records are looked at
                yield from _returned(receipt)
            if receipts:
                receipts = []
                continue
            if not self._batches:
                return suspects
            ended = self._batches.ended()
            if not ended and stop.is_set() and self._crew.is_empty:
                self._batches.withdraw()  # nobody is there to begin them
                return suspects
            for sent, new in ended:
                if new is None:
                    suspects += [(sent.name, group) for group in sent.groups]
                    continue
                receipts.append(new)
                self._note(new)
                if new.n_groups:
                    window.measured(new.n_groups, new.seconds, time.monotonic() - sent.at_s)
                left = sent.groups[new.n_groups :]
                if new.stuck is not None:
                    again, gone = self._after_stuck(new.stuck, new.unfinished, left[0])
                    yield from gone
                    left = [*again, *left[1:]]
                window.give_back(left)

    def _send(self, window: Window, stop: threading.Event) -> list[tuple[str, Group]]:
        """Hand out as many batches as may be out; return suspects with names of batches."""
        suspects: list[tuple[str, Group]] = []
        self._batches.look()
        if stop.is_set():
            self._halt()
        window.slots = self._crew.slots
        # a batch that is to wait would be run at once by a worker that the run may not use
        n_most = window.slots if self._crew.is_larger else window.most_out
        while not stop.is_set() and len(self._batches) < n_most and (batch := window.next_batch()):
            name = uuid.uuid4().hex
            suspects += [(name, group) for group in batch if self._roots.are_suspect(group)]
            batch = [group for group in batch if not self._roots.are_suspect(group)]
            if batch:
                self._batches.send(batch, name, window.budget_s)
        return suspects

    def check(self, target: Target) -> None:
        """Refuse to run if a worker does not see the folder of the run.

        Workers that join later check it themselves.
        """
        for answer in self._client.run(check_visible, target, on_error="return").values():
            if isinstance(answer, StorageError):
                raise answer

    def cancel(self, experiment_id: str) -> None:
        """End an experiment on whatever worker it is or will be."""
        self._batches.forbid(experiment_id)
        with contextlib.suppress(OSError):  # a worker that is gone runs nothing
            self._tell(cancel, experiment_id)

    def _halt(self) -> None:
        """Let no experiment begin any more on workers; those that run there end as usual."""
        if not self._is_halted:
            self._is_halted = True
            with contextlib.suppress(OSError):  # a worker that hangs is not waited for
                self._tell(halt)

    def close(self) -> None:
        """Stop listening, and let go of outputs of roots, which the cluster then forgets."""
        self._roots.clear()
        self._listener.close()
        # the user is told what has ended the run, and not that a cluster is gone
        with contextlib.suppress(Exception):
            if self._has_told:
                self._tell(forget)
            if self._has_leases:
                self._tell(forget_leases)

    def _abandon(self) -> None:
        """End the batches that are out, after an error or an interrupt.

        Experiments of theirs that have ended are written. Errors are suppressed here, so that the
        user is told what made the run end. A second interrupt ends the batches at once.
        """
        try:
            with contextlib.suppress(Exception):
                if self._client.status == "running":
                    self._tell(abandon)  # cancelling does not end code that runs
                deadline = time.monotonic() + _END_S
                while self._batches.running() and time.monotonic() < deadline:
                    time.sleep(0.01)
            with contextlib.suppress(Exception):
                self._abort(self._batches.running())
        except KeyboardInterrupt:
            with contextlib.suppress(Exception):
                self._abort(self._batches.running(), at_once=True)
            raise
        finally:
            with contextlib.suppress(Exception):
                self._batches.withdraw()

    def _tell(self, function: Callable[..., object], *arguments: str) -> None:
        """Call a function of the run on all workers, and wait a moment for their answers."""
        self._has_told = True
        self._client.run(
            function, self._token, *arguments, on_error="ignore", callback_timeout=ANSWER_S
        )

    def _run_suspect(
        self, name: str, group: Group, stop: threading.Event, deaths: int = 0
    ) -> Iterator[Returned]:
        """Yield what is returned of a group that runs with nothing beside it.

        If it kills its worker, its members run one by one, unless they go in lock-step.
        """

        def is_stopped() -> bool:
            return stop.is_set()

        self._roots.outcomes(group, lambda call: self._batches.finish(call, is_stopped))
        # by the old name, so that what was written by it does not run again
        self._batches.send([group], name, 0.0)
        while not (ended := self._batches.ended()):
            if stop.is_set() and self._crew.is_empty:
                self._batches.withdraw()  # nobody is there to run it
                return
        ((_, receipt),) = ended
        if receipt is not None:
            self._note(receipt)
            yield from _returned(receipt)
            if receipt.stuck is not None:
                again, gone = self._after_stuck(receipt.stuck, receipt.unfinished, group)
                yield from gone
                for rest in again:
                    yield from self._run_suspect(name, rest, stop)
        elif len(group) > 1 and not self._program.is_lockstep:
            for experiment in group:
                yield from self._run_suspect(name, (experiment,), stop)
        elif deaths < self._retries.get(FailureKind.WORKER, 0):
            yield from self._run_suspect(name, group, stop, deaths + 1)
        else:
            text = (
                "the worker process died each time this experiment ran, "
                "perhaps out of memory or by os._exit"
            )
            dead = self._batches.last_dead
            for experiment in group:
                failure = Failure("worker", 0, ClusterError(text), text, FailureKind.WORKER, dead)
                yield lost(experiment, failure)

    def _after_stuck(
        self, stuck: Stuck, unfinished: tuple[int, ...], group: Group
    ) -> tuple[list[Group], list[Returned]]:
        """Return what of a group with a stuck member runs again, and what is lost."""
        is_lockstep = self._program.is_lockstep
        left = [member for member in group if member.position in unfinished]
        guilty = [member for member in left if is_lockstep or member.position == stuck.position]
        innocent = tuple([member for member in left if member not in guilty])
        spent = self._timeouts.get(stuck.position, 0)
        self._timeouts[stuck.position] = spent + 1
        again = [innocent] if innocent else []
        if spent < self._retries.get(FailureKind.TIMEOUT, 0):
            return [*again, group if is_lockstep else tuple(guilty)], []
        return again, [lost(member, _failure_of(member, stuck)) for member in guilty]

    def _note(self, receipt: Receipt) -> None:
        """Add the costs of units, if they were measured."""
        if receipt.profile:
            self.profile = combined([*self.profile, *receipt.profile])


def roots_apart(program: Program, *, whole_groups: bool) -> list[str]:
    """Return the steady roots that are tasks of their own.

    These are all but those that a group calls for itself, where groups come whole.

    Parameters
    ----------
    program : Program
    whole_groups : bool
        Whether groups come whole.
    """
    return [
        name
        for name in program.calls_reached
        if not (whole_groups and program.roots[name].is_of_group)
    ]


def _failure_of(experiment: PlannedExperiment, stuck: Stuck) -> Failure:
    """Return the failure of a stuck experiment, or of one in lock-step with it."""
    if experiment.position == stuck.position:
        return stuck.failure
    reason = stuck.failure.exception
    text = f"experiment {experiment.id} was ended with its lock-step group, as {reason}"
    return replace(stuck.failure, exception=ExperimentTimeoutError(text))


def _returned(receipt: Receipt) -> Iterator[Returned]:
    """Yield what a receipt holds: records, or how many were written."""
    if receipt.records:
        yield from load_records(receipt.records)
    else:
        yield receipt.written


def _same(blob: Blob) -> Blob:
    return blob
