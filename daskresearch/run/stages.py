"""The stages of a run: a domain is run until another one takes its place."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

from daskresearch.domain import Domain
from daskresearch.errors import DomainError
from daskresearch.execute import Executor, Returned, lost
from daskresearch.results import ResearchResults
from daskresearch.run.grouping import Peekable
from daskresearch.run.job import Job
from daskresearch.run.preparation import Preparation
from daskresearch.run.recording import Recording
from daskresearch.run.updates import first_due, updated_domain
from daskresearch.store import FolderStore, Store
from daskresearch.store.failure import Failure, FailureKind
from daskresearch.worker import Group
from daskresearch.worker.limits import cancelled


@final
@dataclass(frozen=True, slots=True)
class Stages:
    """Runs the domain of a job, and those by which `update_domain` replaces it.

    Attributes
    ----------
    job : Job
    prepared : Preparation
    executor : Executor
    store : Store
    results : ResearchResults
    recording : Recording, optional
    stop : threading.Event
        Once it is set, no further experiment begins.
    cancelled : set of str
        The ids of experiments that are not to run.
    keep : callable
        Takes the outcomes of experiments.
    expect : callable
        Takes the number of experiments in all, None if it is unknown.
    is_local : bool
        Whether experiments run in this process.
    """

    job: Job
    prepared: Preparation
    executor: Executor
    store: Store
    results: ResearchResults
    recording: Recording | None
    stop: threading.Event
    cancelled: set[str]
    keep: Callable[[Returned], None]
    expect: Callable[[int | None], None]
    is_local: bool

    def run(self) -> None:
        """Run the domain, and each that takes its place."""
        domain: Domain | None = self.job.domain
        n_done = 0
        for updates in itertools.count():
            if domain is None:
                return
            params = self.prepared.iter_params(domain)
            size = params.size(domain.node)
            self.expect(None if size is None else n_done + size)
            remembers = self.is_local or self.recording is None
            groups = Peekable(self.prepared.groups(domain, n_done, updates, remembers=remembers))
            n_last = None if size is None else n_done + size
            domain = None
            is_end = False
            while domain is None and not is_end and not self.stop.is_set():
                n_groups = self.prepared.grouping.n_groups(
                    self._n_ahead(n_done, n_last), params.n_reps
                )
                n_done, is_due = self._run_stage(groups, n_groups, n_done)
                n_made = self.prepared.grouping.n_made
                is_end = not groups and not (is_due and n_done < n_made)
                if is_end:
                    n_done = max(n_done, n_made)
                domain = self._updated(n_done, is_due=is_due or (is_end and self._ends_with_update))
            if self.recording is not None and domain is None and not self.stop.is_set():
                self.recording.end(n_done)

    @property
    def _ends_with_update(self) -> bool:
        return self.job.update is not None and self.job.update.schedule.last

    def _run_stage(self, groups: Peekable, n_groups: int | None, n_done: int) -> tuple[int, bool]:
        """Run groups until the domain is to be updated, or they end.

        Experiments that were finished before count when their turn comes, so that a resumed run is
        updated as the first one was.

        Returns
        -------
        tuple of int and bool
            The number of the next experiment, and whether the domain is to be updated.
        """
        turn = n_done
        is_due = False

        def stage() -> Iterator[Group]:
            nonlocal turn, is_due
            for group in groups:
                due = first_due(self.job.update, range(turn, group[0].position))
                if due is not None:
                    groups.put_back(group)
                    turn, is_due = due + 1, True
                    return
                turns = range(group[0].position, group[-1].position + 1)
                turn = turns.stop
                wanted = self._wanted(group) if self.cancelled else group
                if wanted:
                    yield wanted
                is_due = first_due(self.job.update, turns) is not None
                if is_due:
                    return
            due = first_due(self.job.update, range(turn, self.prepared.grouping.n_made))
            if due is not None:
                turn, is_due = due + 1, True

        with contextlib.closing(self.executor.run(stage(), n_groups, self.stop)) as outcomes:
            for outcome in outcomes:
                self.keep(outcome)
        return turn, is_due

    def _wanted(self, group: Group) -> Group:
        """Return the experiments of a group that were not cancelled.

        Those in lock-step go together, so that none is left out.
        """
        if self.prepared.program.is_lockstep:
            return group
        for member in group:
            if member.id in self.cancelled:
                failure = Failure("", 0, cancelled(member.id), "", FailureKind.CANCELLED)
                failed = lost(member, failure)
                self.keep(failed.record if self.is_local else failed)
        return tuple([member for member in group if member.id not in self.cancelled])

    def _n_ahead(self, n_done: int, n_last: int | None) -> int | None:
        """Return about how many experiments come before the domain is updated or ends.

        None if nobody knows.
        """
        due = None if self.job.update is None else self.job.update.schedule.next_turn(n_done)
        ends = [end for end in (None if due is None else due + 1, n_last) if end is not None]
        return max(0, min(ends) - n_done) if ends else None

    def _results_of(self, n_done: int) -> ResearchResults:
        """Return the results of the experiments that have had their turn.

        A folder may hold others.
        """
        if (
            self.recording is None
            or self.recording.before is None
            or not isinstance(self.store, FolderStore)
        ):
            return self.results
        store = self.recording.so_far(self.store, n_done)
        return ResearchResults(store, self.prepared.parameters, self.prepared.explained)

    def _updated(self, n_done: int, *, is_due: bool) -> Domain | None:
        """Return the domain that takes the place of what is left, if one is due."""
        update = self.job.update
        if update is None or self.stop.is_set() or not is_due:
            return None
        domain = updated_domain(update, self._results_of(n_done))
        if domain is None:
            return None
        variables = {*self.store.variables, *self.store.snapshot().variables}
        recorded = set(self.prepared.checked_parameters(domain)) & variables
        if recorded:
            raise DomainError(
                f"parameters {sorted(recorded)} of the new domain are variables already; rename "
                "them"
            )
        self.prepared.check_end(domain)
        if self.recording is not None:
            for name, values in self.prepared.texts_of_values(domain).items():
                for text, alike in values.items():
                    kept = self.recording.true_values.setdefault(name, {}).setdefault(text, [])
                    kept += [
                        value for value in alike if not any([value is other for other in kept])
                    ]
        return domain
