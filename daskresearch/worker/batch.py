"""A batch: groups that a worker process runs one by one until its time is up."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import final

import cloudpickle

from daskresearch.domain.experiment import PlannedExperiment, RootKey
from daskresearch.store.folder.writer import WAIT_S
from daskresearch.store.record import Record
from daskresearch.worker.blob import Blob, workplace
from daskresearch.worker.context import Context, SharedRoots
from daskresearch.worker.devices import HaltedError, leased
from daskresearch.worker.group import run_group
from daskresearch.worker.limits import Stuck, cancel, run_limited, was_abandoned
from daskresearch.worker.loop import run_experiment
from daskresearch.worker.profile import Profile
from daskresearch.worker.program import Program, profiled
from daskresearch.worker.proxies import installed
from daskresearch.worker.receipts import Keeping, Receipt, Writing
from daskresearch.worker.roots import GivenRoots, Outcome
from daskresearch.worker.wanted import is_halted

Group = tuple[PlannedExperiment, ...]


def run_groups(
    program: Program, groups: Sequence[Group], context: Context, shared: SharedRoots
) -> Iterator[Record]:
    """Yield the record of each experiment as it ends, of its last run if retried."""
    for group in groups:
        if context.devices is None:
            yield from _records(program, group, context, shared)
        else:
            with leased(context.devices) as device:
                yield from _records(program, group, replace(context, device=device), shared)


def _records(
    program: Program, group: Group, context: Context, shared: SharedRoots
) -> Iterator[Record]:
    if not program.is_lockstep:
        for experiment in group:
            record = run_experiment(program, experiment, context, shared)
            yield (
                _repeated(record, program, experiment, context, shared)
                if record.failures
                else record
            )
    elif not context.retries:
        yield from run_group(program, group, context, shared)
    else:
        yield from _repeated_group(program, group, context, shared)


@final
class _Retries:
    """Counts the retries of one experiment."""

    def __init__(self, allowed: Mapping[str, int]) -> None:
        self._left = dict(allowed)

    def again(self, record: Record) -> bool:
        """Return whether the experiment is to run again."""
        if not record.failures:
            return False
        kind = record.failures[0].kind
        self._left[kind] = self._left.get(kind, 0) - 1
        return self._left[kind] >= 0


def _repeated(
    record: Record,
    program: Program,
    experiment: PlannedExperiment,
    context: Context,
    shared: SharedRoots,
) -> Record:
    retries = _Retries(context.retries)
    n_counted = 0
    while retries.again(record):
        n_counted = max(n_counted, record.n_iters)
        record = run_experiment(program, experiment, _counting_beyond(n_counted, context), shared)
    return record


def _repeated_group(
    program: Program, group: Group, context: Context, shared: SharedRoots
) -> Iterator[Record]:
    """Yield the records of a group, which is retried whole while a member may be."""
    records = {record.position: record for record in run_group(program, group, context, shared)}
    retries = {position: _Retries(context.retries) for position in records}
    n_counted = sum(record.n_iters for record in records.values())
    while failed := [
        position for position, record in records.items() if retries[position].again(record)
    ]:
        again = list(run_group(program, group, _counting_beyond(n_counted, context), shared))
        n_counted = max(n_counted, sum(record.n_iters for record in again))
        records.update({record.position: record for record in again if record.position in failed})
    yield from records.values()


def _counting_beyond(n_iters: int, context: Context) -> Context:
    """Return the context of a retry, of which so many iterations were counted before."""
    tick = context.tick
    if tick is None:
        return context
    calls = itertools.count(1)  # one step for the interpreter, as members may run in threads
    return replace(context, tick=lambda: tick() if next(calls) > n_iters else None)


def run_batch(
    blob: Blob,
    name: str,
    groups: bytes,
    budget_s: float,
    unwanted: Sequence[str],
    root_keys: Sequence[RootKey],
    *outcomes: Outcome,
) -> Receipt:
    """Run groups of experiments in a worker process until their time is up.

    Parameters
    ----------
    blob : Blob
    name : str
        The name of the batch, the same when it is run again.
    groups : bytes
        A pickled list of groups.
    budget_s : float
        Seconds after which no further group begins; the first one runs in any case. Records are
        written as often, or each second.
    unwanted : sequence of str
        The ids of experiments that were cancelled.
    root_keys : sequence of RootKey
        The keys of the roots whose outcomes follow.
    *outcomes : Outcome
    """
    program, context, own = workplace(blob)
    if context.reporter is not None:
        context = replace(context, tick=context.reporter())
    for experiment_id in unwanted:
        cancel(context.token, experiment_id)
    shared = GivenRoots(dict(zip(root_keys, outcomes, strict=True)), own, context.apart)
    profile = Profile(context.profile) if context.profile else None
    if profile is not None:
        program = profiled(program, profile)
    keep = (
        Keeping()
        if context.target is None
        else Writing(
            context.target,
            context.folder,
            name,
            is_lockstep=program.is_lockstep,
            wait_s=max(WAIT_S, budget_s),
            names_ended=context.names_ended,
        )
    )
    batch = _Batch(program, context, shared, keep, groups, budget_s)
    stuck = None
    with installed(context.modes), keep:
        if context.timeout is None:
            batch.run()
        else:
            stuck = run_limited(batch.run, context.token, context.timeout, batch.gives_up)
    rows = profile.rows() if profile else []
    return Receipt(
        batch.seconds, batch.n_groups, keep.content(), keep.written, rows, stuck, batch.unfinished
    )


@final
class _Batch:
    """A batch and how far it is, which other threads than that of the batch may ask.

    Attributes
    ----------
    seconds : float
        How long it has run, without the time to write its last records.
    n_groups : int
        How many groups have ended.
    unfinished : tuple of int
        The positions of the experiments of the current group that have not been kept.
    """

    def __init__(
        self,
        program: Program,
        context: Context,
        shared: SharedRoots,
        keep: Keeping | Writing,
        groups: bytes,
        budget_s: float,
    ) -> None:
        self._program = program
        self._context = context
        self._shared = shared
        self._keep = keep
        self._groups = groups
        self._budget_s = budget_s
        self._lock = threading.Lock()
        self._is_given_up = False
        self.seconds = 0.0
        self.n_groups = 0
        self.unfinished: tuple[int, ...] = ()

    def run(self) -> None:
        """Run groups until the time is up, or the run is halted."""
        start = time.perf_counter()
        for fields in cloudpickle.loads(self._groups):
            if is_halted(self._context.token):
                return
            group = self._keep.unknown(tuple(map(PlannedExperiment._make, fields)))
            self.unfinished = tuple([experiment.position for experiment in group])
            if group and not self._run_group(group):
                return
            self.n_groups += 1
            self.seconds = time.perf_counter() - start
            if self.seconds > self._budget_s:
                return

    def _run_group(self, group: Group) -> bool:
        """Run a group, and return whether its records are still wanted."""
        with contextlib.suppress(HaltedError):
            for record in run_groups(self._program, [group], self._context, self._shared):
                if was_abandoned(record):
                    return False
                with self._lock:
                    if self._is_given_up:
                        return False
                    self._keep.append(record, group)
                    self.unfinished = tuple(
                        [place for place in self.unfinished if place != record.position]
                    )
            return True
        return False

    def gives_up(self, stuck: Stuck) -> bool:
        """Return whether a stuck experiment is still not over; then keep nothing of it."""
        with self._lock:
            self._is_given_up = self._is_given_up or stuck.position in self.unfinished
            return self._is_given_up
