"""One run: a domain's configs become groups, an executor runs them, records go to the store, the domain changes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import tempfile
import threading
import traceback
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, final

from daskresearch.admission import check_writable_names
from daskresearch.domain import Domain
from daskresearch.errors import DomainError, ResearchError, StorageError
from daskresearch.execute import Came, Executor, Lost, Place, choose_place, distributed_executor, local_executor, lost
from daskresearch.graph import warn_of_large_arguments
from daskresearch.grouping import Peekable, Recorded
from daskresearch.needs import check_here, needs_here, needs_of
from daskresearch.options import RunOptions
from daskresearch.preparation import Job, Preparation
from daskresearch.recording import FINISHED, STOPPED, Facts, Recording
from daskresearch.results import ResearchResults
from daskresearch.store import FolderStore, MemoryStore, Store
from daskresearch.store.parts import Ended
from daskresearch.store.record import Failure
from daskresearch.updates import first_due, updated_domain
from daskresearch.watch import Watch
from daskresearch.worker import Context, Group, Written
from daskresearch.worker.capture import Modes, installed
from daskresearch.worker.keep import ended_of
from daskresearch.worker.limits import cancelled
from daskresearch.worker.profile import Profile, ProfileRow, combined
from daskresearch.worker.program import profiled

logger = logging.getLogger(__name__)

FactsOf = Callable[[Preparation], Facts]


@final
class Session:
    """One run of a job, from its checks to its last record.

    Everything that can be refused is refused when the session is made.

    Attributes
    ----------
    seed : int
        As asked, or drawn.
    results : ResearchResults
    profile : list of ProfileRow
        What units cost, if the run was to measure it.

    Raises
    ------
    PlanError, OptionError, DomainError, PickleError
        If the job cannot run as it is.
    ClusterError
        If worker processes cannot be started.
    """

    def __init__(self, job: Job, options: RunOptions, name: str = "", facts: FactsOf | None = None) -> None:
        self._job, self._name = job, name
        # observers hold the results, which lead to the options
        self._observers, options = options.observers, replace(options, observers=())
        self._stop = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._n_failed = self._n_ended = 0
        self._cancelled: set[str] = set()
        self.profile: list[ProfileRow] = []
        self._recording = Recording.open(name, options) if options.dump_results else None
        try:
            self._prepare(options, name, facts)
        except BaseException:
            if self._recording is not None:
                self._recording.abandon()
            raise

    def _prepare(self, options: RunOptions, name: str, facts: FactsOf | None) -> None:
        """Check all that can be refused, then begin to write."""
        recording = self._recording
        if recording is not None and recording.seed is not None:
            options = replace(options, seed=recording.seed)
        if recording is not None:
            check_writable_names([*self._job.domain.names, *self._job.plan.variables])
        self._options = options
        self._prepared = prepared = Preparation(self._job, options)
        self.seed = prepared.seed
        self._executor: Executor | None
        if recording is None:
            self._store: Store = MemoryStore(self._job.plan.variables)
            self.results = ResearchResults(self._store, prepared.parameters, prepared.explained)
            self._modes = Modes()
            self._executor, self._watch = self._open(self._context(self._make_folder()))
            return
        assert facts is not None
        known = facts(prepared)
        recording.define(known.definition)
        before = recording.before or {}
        variables = tuple(dict.fromkeys([*self._job.plan.variables, *before.get("variables", [])]))
        parameters = tuple(dict.fromkeys([*prepared.parameters, *before.get("parameters", [])]))
        self._true_values = prepared.texts_of_values(self._job.domain)
        clash = set(parameters) & set(variables)
        if clash:
            raise DomainError(
                f"{min(clash)!r} is a parameter and a variable of this research, now or in its folder; both would be "
                f"one column, so rename one, or run under another name"
            )
        recording.check_prefixed(prepared.prefixed_ids())
        self._store = recording.store(variables, self._true_values)
        self.results = ResearchResults(self._store, parameters, prepared.explained)
        modes = Modes(int(options.redirect_stdout), int(options.redirect_stderr), options.level)
        context = replace(self._context(recording.folder), target=recording.target(), modes=modes)
        self._executor, self._watch = self._open(context)
        try:
            recording.begin(name, prepared.seed, known)
            self._executor.check(recording.target())
        except BaseException:
            self._executor.close()
            recording.withdraw()
            raise
        prepared.grouping.record(Recorded(recording.is_finished, not self._is_local))

    def _context(self, folder: str) -> Context:
        token, prepared = uuid.uuid4().hex, self._prepared
        self._needs = needs_of(prepared.program, prepared.plan.units, self._options, token)
        devices, roots, _ = self._needs
        if devices is not None and "device" in prepared.parameters:
            raise DomainError("the domain has a parameter 'device', where a run with devices puts their ids; rename it")
        return replace(prepared.context(folder), token=token, devices=devices, root_devices=roots)

    def _open(self, context: Context) -> tuple[Executor, Watch]:
        """Return the executor that the options ask for, and the watch that is kept over it."""
        options, prepared = self._options, self._prepared
        watch = Watch(self._name, self.results, context.n_iters, self._observers, self._recording, bar=options.bar)
        place = choose_place(options.scheduler, options.workers, parallel=options.parallel)
        self._is_local = place.is_local
        if place.is_local:
            self._needs = needs_here(self._needs)
            context = replace(context, devices=self._needs.devices)
        if place is not Place.CLIENT:
            check_here(self._needs)
        if not place.is_local:
            prepared.check_travel()
            warn_of_large_arguments(self._job.plan)
            self._modes, self._profile = Modes(), None
            executor = distributed_executor(
                place,
                prepared.plan,
                prepared.program,
                replace(context, names_ended=watch.names_ended),
                options.workers,
                options.scheduler,
                watch,
                resources=self._needs.resources,
                counts_iterations=watch.counts_iterations,
                whole_groups=prepared.grouping.is_whole,
            )
            return executor, watch
        tick = watch.ticker(looks=place is Place.SERIAL)
        self._modes = context.modes
        folder = context.folder or self._make_folder()
        if self._recording is not None:
            self._recording.folder = folder
        context = replace(context, tick=tick, results=lambda: self.results, folder=folder, target=None)
        self._profile = Profile(context.profile) if context.profile else None
        program = prepared.program if self._profile is None else profiled(prepared.program, self._profile)
        return local_executor(place, program, context, options.workers, watch.look), watch

    def _make_folder(self) -> str:
        """Return where ``EP()`` lies, if anything uses it: a temporary folder that lives as long as the results."""
        is_used = self._prepared.uses_folder or self._modes.to_files
        return temporary_folder(self.results) if is_used else ""

    def run(self) -> None:
        """Run all experiments, and the domains that follow; returns when the last record is kept."""
        try:
            with installed(self._modes):
                self._run_domains()
        except BaseException as error:
            self._error = error
            raise
        finally:
            try:
                self._close()
            except BaseException as error:
                self._error = self._error or error
                raise
            finally:
                try:
                    self._watch.end(self._state)
                    if not self._is_local and isinstance(self._error, KeyboardInterrupt):
                        # or a batch that was just being handed out would be kept on the cluster with this error
                        traceback.clear_frames(self._error.__traceback__)
                finally:
                    self._done.set()

    def _close(self) -> None:
        """Let go of the executor and the folder, whatever becomes of the other."""
        executor, self._executor = self._executor, None
        try:
            self._watch.close(self._prepared.grouping.n_skipped)
            if executor is not None:
                self.profile = combined([*executor.profile, *(self._profile.rows() if self._profile else [])])
                executor.close()
        finally:
            if self._recording is not None:
                self._close_recording(self._recording)

    def _close_recording(self, recording: Recording) -> None:
        n_skipped = self._prepared.grouping.n_skipped
        counts = {"n_experiments": self._n_ended, "n_failed": self.n_failed, "n_skipped": n_skipped}
        try:
            recording.close(self._state, self.profile, **counts)
        except StorageError:
            if self._error is None:  # else that is what is told
                raise

    @property
    def _state(self) -> str:
        """How the run has ended."""
        if self._error is not None and not isinstance(self._error, KeyboardInterrupt):
            return f"ended by {type(self._error).__name__}"
        return STOPPED if self._stop.is_set() or self._error is not None else FINISHED

    def start(self) -> None:
        """Run in a thread, whose error is logged and raised by `wait`."""

        def run() -> None:
            try:
                self.run()
            except BaseException:
                logger.exception("the detached run has ended with an error")

        threading.Thread(target=run, name="daskresearch-run", daemon=True).start()

    def wait(self, timeout: float | None = None) -> bool:
        """Return whether the run has ended, within `timeout` seconds; raise what ended it."""
        ended = self._done.wait(timeout)
        if ended and self._error is not None:
            raise self._error
        return ended

    def stop(self) -> None:
        """Begin no further experiment."""
        self._stop.set()

    def cancel(self, experiment_id: str) -> None:
        """End one experiment."""
        self._cancelled.add(experiment_id)
        executor = self._executor
        if executor is not None:
            executor.cancel(experiment_id)

    def attach(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write facts to the folder of the run."""
        if self._recording is None:
            raise ResearchError("the run has no folder to write to, as dump_results was False")
        self._recording.attach(name, facts)

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended."""
        return self._done.is_set()

    @property
    def n_failed(self) -> int:
        """How many experiments have failed so far."""
        n_unwritable = 0 if self._recording is None else self._recording.n_unwritable
        return self._n_failed + n_unwritable

    @property
    def n_finished(self) -> int:
        """How many experiments have ended so far, those that a folder had before too."""
        return self._n_ended + self._prepared.grouping.n_skipped

    def _run_domains(self) -> None:
        domain: Domain | None = self._job.domain
        n_done = 0
        for updates in itertools.count():
            if domain is None:
                return
            params = self._prepared.iter_params(domain)
            size = params.size(domain.node)
            self._watch.expect(None if size is None else n_done + size)
            remembers = self._is_local or self._recording is None
            groups = Peekable(self._prepared.groups(domain, n_done, updates, remembers=remembers))
            n_last = None if size is None else n_done + size
            domain = None
            is_end = False
            while domain is None and not is_end and not self._stop.is_set():
                n_groups = self._prepared.grouping.n_groups(self._n_ahead(n_done, n_last), params.n_reps)
                n_done, is_due = self._run_stage(groups, n_groups, n_done)
                n_made = self._prepared.grouping.n_made
                is_end = not groups and not (is_due and n_done < n_made)
                if is_end:
                    n_done = max(n_done, n_made)
                domain = self._updated(n_done, is_due=is_due or (is_end and self._ends_with_update))
            if self._recording is not None and domain is None and not self._stop.is_set():
                self._recording.end(n_done)

    @property
    def _ends_with_update(self) -> bool:
        return self._job.update is not None and self._job.update.schedule.last

    def _run_stage(self, groups: Peekable, n_groups: int | None, n_done: int) -> tuple[int, bool]:
        """Run groups until the domain is to be updated; return the number of the next experiment, and whether it is.

        Experiments that were finished before count when their turn comes, so that a resumed run is updated as the
        first one was.
        """
        turn = n_done
        is_due = False

        def stage() -> Iterator[Group]:
            nonlocal turn, is_due
            for group in groups:
                due = first_due(self._job.update, range(turn, group[0].position))
                if due is not None:
                    groups.put_back(group)
                    turn, is_due = due + 1, True
                    return
                turns = range(group[0].position, group[-1].position + 1)
                turn = turns.stop
                wanted = self._wanted(group) if self._cancelled else group
                if wanted:
                    yield wanted
                is_due = first_due(self._job.update, turns) is not None
                if is_due:
                    return
            due = first_due(self._job.update, range(turn, self._prepared.grouping.n_made))
            if due is not None:
                turn, is_due = due + 1, True

        assert self._executor is not None
        with contextlib.closing(self._executor.run(stage(), n_groups, self._stop)) as came:
            for one in came:
                self._keep(one)
        return turn, is_due

    def _wanted(self, group: Group) -> Group:
        """Return the experiments of a group that were not cancelled; those of a group in lock-step go together."""
        if self._prepared.program.is_lockstep:
            return group
        for one in group:
            if one.id in self._cancelled:
                failed = lost(one, Failure("", 0, cancelled(one.id), "", "cancelled"))
                self._keep(failed.record if self._is_local else failed)
        return tuple([one for one in group if one.id not in self._cancelled])

    def _n_ahead(self, n_done: int, n_last: int | None) -> int | None:
        """Return about how many experiments come before the domain is to be updated, or ends; None if nobody knows."""
        due = None if self._job.update is None else self._job.update.schedule.next_turn(n_done)
        ends = [end for end in (None if due is None else due + 1, n_last) if end is not None]
        return max(0, min(ends) - n_done) if ends else None

    def _keep(self, came: Came) -> None:
        """Keep what came of an experiment, or count what a worker has kept of several."""
        if isinstance(came, Written):
            self._count(came.n_experiments, came.n_failed, came.n_iters, came.ids)
            if self._recording is not None:
                self._recording.tidy(came.batch)
            return
        record = came.record if isinstance(came, Lost) else came
        if isinstance(came, Lost) and self._recording is not None:
            name = came.experiment.id
            self._recording.append(ended_of(record, came.experiment))
        else:
            known = self._prepared.grouping.ended(record.position)
            name = known.id
            if self._recording is not None:
                self._recording.append(Ended(record, *known))
                self._recording.tidy()
            elif isinstance(self._store, MemoryStore):
                self._store.append(record, known.id, known.config, known.group)
        self._count(1, int(bool(record.failures)), record.n_iters, (name,))

    def _count(self, n_experiments: int, n_failed: int, n_iters: int, ids: tuple[str, ...]) -> None:
        self._n_ended += n_experiments
        self._n_failed += n_failed
        if n_experiments:
            self._watch.ended(n_experiments, n_failed, n_iters, ids, self._prepared.grouping.n_skipped)

    def _results_of(self, n_done: int) -> ResearchResults:
        """Return the results of exactly the experiments that have had their turn, also where a folder holds more."""
        if self._recording is None or self._recording.before is None or not isinstance(self._store, FolderStore):
            return self.results
        store = self._recording.so_far(self._store, n_done)
        return ResearchResults(store, self._prepared.parameters, self._prepared.explained)

    def _updated(self, n_done: int, *, is_due: bool) -> Domain | None:
        """Return the domain that takes the place of what is left, if its turn has come and there is one."""
        update = self._job.update
        if update is None or self._stop.is_set() or not is_due:
            return None
        domain = updated_domain(update, self._results_of(n_done))
        if domain is None:
            return None
        variables = {*self._store.variables, *self._store.snapshot().variables}
        recorded = set(self._prepared.checked_parameters(domain)) & variables
        if recorded:
            raise DomainError(f"parameters {sorted(recorded)} of the new domain are variables already; rename them")
        self._prepared.check_end(domain)
        if self._recording is not None:
            for name, values in self._prepared.texts_of_values(domain).items():
                for text, alike in values.items():
                    known = self._true_values.setdefault(name, {}).setdefault(text, [])
                    known += [one for one in alike if not any([one is other for other in known])]
        return domain


def temporary_folder(owner: Any) -> str:
    """Return the path of a new folder that is removed when its owner is."""
    folder = tempfile.mkdtemp(prefix="daskresearch-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder
