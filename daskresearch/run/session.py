"""One run: configs become groups, an executor runs them, records go to the store."""

from __future__ import annotations

import logging
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, final

from daskresearch.errors import DomainError, ResearchError, StorageError
from daskresearch.execute import (
    Executor,
    Lost,
    Place,
    Returned,
    choose_place,
    distributed_executor,
    local_executor,
)
from daskresearch.graph import warn_of_large_arguments
from daskresearch.results import ResearchResults
from daskresearch.run.grouping import Recorded
from daskresearch.run.job import Job
from daskresearch.run.needs import check_here, needs_here, needs_of
from daskresearch.run.options import RunOptions
from daskresearch.run.preparation import Preparation
from daskresearch.run.recording import FINISHED, STOPPED, Recording
from daskresearch.run.resuming import check_writable_names
from daskresearch.run.stages import Stages
from daskresearch.run.summary import Facts
from daskresearch.store import MemoryStore, Store
from daskresearch.store.folder.experiments_table import Ended
from daskresearch.watch.watch import Watch
from daskresearch.worker import Context, Written
from daskresearch.worker.capture import Modes
from daskresearch.worker.folders import temporary_folder
from daskresearch.worker.profile import Profile, ProfileRow, combined
from daskresearch.worker.program import profiled
from daskresearch.worker.proxies import installed

logger = logging.getLogger(__name__)

FactsOf = Callable[[Preparation], Facts]


@final
class Session:
    """One run of a job, from its checks to its last record.

    Everything that can be refused is refused when the session is made.

    Attributes
    ----------
    name : str
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

    def __init__(
        self, job: Job, options: RunOptions, name: str = "", facts: FactsOf | None = None
    ) -> None:
        self.name, self._job = name, job
        # observers hold the results, which lead to the options
        self._observers, options = options.observers, replace(options, observers=())
        self._stop = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None
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
        told = facts(prepared)
        recording.define(told.definition)
        before = recording.before or {}
        variables = tuple(dict.fromkeys([*self._job.plan.variables, *before.get("variables", [])]))
        parameters = tuple(dict.fromkeys([*prepared.parameters, *before.get("parameters", [])]))
        recording.true_values = prepared.texts_of_values(self._job.domain)
        clash = set(parameters) & set(variables)
        if clash:
            raise DomainError(
                f"{min(clash)!r} is a parameter and a variable of this research, now or in its "
                "folder; both would be one column, so rename one, or run under another name"
            )
        recording.check_prefixed(prepared.prefixed_ids())
        self._store = recording.store(variables)
        self.results = ResearchResults(self._store, parameters, prepared.explained)
        modes = Modes(int(options.redirect_stdout), int(options.redirect_stderr), options.level)
        context = replace(self._context(recording.folder), target=recording.target(), modes=modes)
        self._executor, self._watch = self._open(context)
        try:
            recording.begin(name, prepared.seed, told)
            self._executor.check(recording.target())
        except BaseException:
            self._executor.close()
            recording.withdraw()
            raise
        prepared.grouping.record(Recorded(recording.is_finished))

    def _context(self, folder: str) -> Context:
        token, prepared = uuid.uuid4().hex, self._prepared
        self._needs = needs_of(prepared.program, prepared.plan.units, self._options, token)
        devices, roots, _ = self._needs
        if devices is not None and "device" in prepared.parameters:
            raise DomainError(
                "the domain has a parameter 'device', where a run with devices puts their ids; "
                "rename it"
            )
        return replace(prepared.context(folder), token=token, devices=devices, root_devices=roots)

    def _open(self, context: Context) -> tuple[Executor, Watch]:
        """Return the executor that the options ask for, and the watch over it."""
        options, prepared = self._options, self._prepared
        watch = Watch(
            self.name,
            self.results,
            context.n_iters,
            self._observers,
            self._recording,
            bar=options.bar,
        )
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
        context = replace(
            context, tick=tick, results=lambda: self.results, folder=folder, target=None
        )
        self._profile = Profile(context.profile) if context.profile else None
        program = (
            prepared.program if self._profile is None else profiled(prepared.program, self._profile)
        )
        return local_executor(place, program, context, options.workers, watch.look), watch

    def _make_folder(self) -> str:
        """Return a temporary folder for ``EP()``, which lives as long as the results.

        It is an empty text if nothing uses it.
        """
        is_used = self._prepared.uses_folder or self._modes.to_files
        return temporary_folder(self.results) if is_used else ""

    def run(self) -> None:
        """Run all experiments of all domains; return when the last record is kept."""
        try:
            with installed(self._modes):
                self._stages().run()
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
                    self._watch.end(self._state, self._prepared.grouping.n_skipped)
                    if not self._is_local and isinstance(self._error, KeyboardInterrupt):
                        # else the error keeps a batch on the cluster that was being handed out
                        traceback.clear_frames(self._error.__traceback__)
                finally:
                    self._done.set()

    def _close(self) -> None:
        """Close the executor and the folder, the one also if the other raises."""
        executor, self._executor = self._executor, None
        try:
            if executor is not None:
                self.profile = combined(
                    [*executor.profile, *(self._profile.rows() if self._profile else [])]
                )
                executor.close()
        finally:
            if self._recording is not None:
                self._close_recording(self._recording)

    def _close_recording(self, recording: Recording) -> None:
        n_skipped = self._prepared.grouping.n_skipped
        n_ended, n_failed = self._watch.n_ended, self._watch.n_failed
        counts = {"n_experiments": n_ended, "n_failed": n_failed, "n_skipped": n_skipped}
        try:
            recording.close(self._state, self.profile, **counts)
        except StorageError:
            if self._error is None:  # else that error is raised
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
        """Return whether the run has ended within `timeout` seconds; raise what ended it."""
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
    def n_experiments(self) -> int | None:
        """How many experiments there will be in all, as far as that is known."""
        return self._watch.n_experiments

    @property
    def n_failed(self) -> int:
        """How many experiments have failed so far."""
        return self._watch.n_failed

    @property
    def n_finished(self) -> int:
        """How many experiments have ended so far, with those that a folder had before."""
        return self._watch.n_ended + self._prepared.grouping.n_skipped

    def _keep(self, outcome: Returned) -> None:
        """Keep the record of an experiment, or count those that a worker has written."""
        if isinstance(outcome, Written):
            self._count(outcome.n_experiments, outcome.n_failed, outcome.n_iters, outcome.ids)
            if self._recording is not None:
                self._recording.tidy(outcome.batch)
            return
        record = outcome.record if isinstance(outcome, Lost) else outcome
        if isinstance(outcome, Lost) and self._recording is not None:
            experiment = outcome.experiment
            self._recording.append(Ended(record, experiment))
        else:
            experiment = self._prepared.grouping.ended(record.position)
            if self._recording is not None:
                self._recording.append(Ended(record, experiment))
                self._recording.tidy()
            elif isinstance(self._store, MemoryStore):
                self._store.append(record, experiment)
        self._count(1, int(bool(record.failures)), record.n_iters, (experiment.id,))

    def _count(self, n_experiments: int, n_failed: int, n_iters: int, ids: tuple[str, ...]) -> None:
        if n_experiments:
            n_skipped = self._prepared.grouping.n_skipped
            self._watch.ended(n_experiments, n_failed, n_iters, ids, n_skipped)

    def _stages(self) -> Stages:
        assert self._executor is not None
        return Stages(
            self._job,
            self._prepared,
            self._executor,
            self._store,
            self.results,
            self._recording,
            stop=self._stop,
            cancelled=self._cancelled,
            keep=self._keep,
            expect=self._watch.expect,
            is_local=self._is_local,
        )
