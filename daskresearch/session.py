"""One run: a domain's configs become groups, an executor runs them, records go to the store, the domain changes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from daskresearch.domain import Domain, Entry, IterParams, branch_entries, draw_seed, entropy_of, iterate, values_of
from daskresearch.errors import DomainError, PlanError
from daskresearch.execute import Executor, choose_place, distributed_executor, local_executor
from daskresearch.grouping import Grouping
from daskresearch.options import RunOptions
from daskresearch.plan import EP, RESERVED_VARIABLES, Plan, R, Schedule, check_complete, evaluator, expressions_in
from daskresearch.progress import Bar, Progress, Silent
from daskresearch.results import ResearchResults
from daskresearch.store import MemoryStore
from daskresearch.worker import Context, Group, Program

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True)
class DomainUpdate:
    """How a domain changes while it runs; see `Research.update_domain`."""

    function: Any
    schedule: Schedule
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Job:
    """What is to run: a plan over a domain.

    Attributes
    ----------
    plan : Plan
    domain : Domain
    n_configs, n_reps, repeat_each
        As in `Research`.
    update : DomainUpdate, optional
    """

    plan: Plan
    domain: Domain
    n_configs: int | None = None
    n_reps: int = 1
    repeat_each: int | None = None
    update: DomainUpdate | None = None

    def iter_params(self, domain: Domain, *, create_id_prefix: bool = False) -> IterParams:
        """Return how a domain is iterated: as the research says, where it is silent as the domain does."""
        own = domain.iter_params
        return replace(
            own,
            n_items=own.n_items if self.n_configs is None else self.n_configs,
            n_reps=own.n_reps if self.n_reps == 1 else self.n_reps,
            repeat_each=own.repeat_each if self.repeat_each is None else self.repeat_each,
            create_id_prefix=own.create_id_prefix or create_id_prefix,
        )

    @property
    def size(self) -> int | None:
        """How many experiments the domain makes before it changes; None when endless."""
        return self.iter_params(self.domain).size(self.domain.node)


@final
class Session:
    """One run of a job, from its checks to its last record.

    Everything that can be refused is refused when the session is made.

    Attributes
    ----------
    seed : int
        As asked, or drawn.
    results : ResearchResults

    Raises
    ------
    PlanError, OptionError, DomainError, PickleError
        If the job cannot run as it is.
    ClusterError
        If worker processes cannot be started.
    """

    def __init__(self, job: Job, options: RunOptions) -> None:
        self._job = job
        self._options = options
        n_iters = job.plan.n_iters(options.n_iters)
        self._appended: list[tuple[Entry, ...]] = []
        length = options.branches
        if length is not None and not isinstance(length, int):
            self._appended = branch_entries(length, job.domain.names)
            length = len(self._appended)
        parameters = self._checked_parameters(job.domain)
        seeds = (options.seed, job.domain.iter_params.seed)
        self.seed = int(next((seed for seed in seeds if seed is not None), draw_seed()))
        self._store = MemoryStore(job.plan.variables)
        self.results = ResearchResults(self._store, parameters)
        self._program = Program.of(job.plan, n_iters)
        self._grouping = Grouping(self._program, entropy_of(self.seed), length, self._appended)
        self._check_end(job.domain)
        self._stop = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._n_failed = 0
        context = Context(
            n_iters=n_iters,
            finalize=options.finalize,
            debug=options.debug,
            in_threads=options.executor_target == "threads",
            parameters=frozenset((*parameters, "repetition", "updates")),
            folder=self._make_folder(),
        )
        self._executor, self._progress = self._open(context)

    def _open(self, context: Context) -> tuple[Executor, Progress]:
        """Return the executor that the options ask for, and the progress that goes with it."""
        options = self._options
        place = choose_place(options.scheduler, options.workers, parallel=options.parallel)
        if not place.is_local:
            _refuse_live_results(self._job.plan)
            self._check_travel()
            executor = distributed_executor(
                place,
                self._job.plan,
                self._program,
                context,
                options.workers,
                options.scheduler,
                whole_groups=self._grouping.is_whole,
            )
            return executor, Bar(context.n_iters, ticks=False) if options.bar else Silent()
        progress = Bar(context.n_iters, ticks=True) if options.bar else Silent()
        tick = progress.tick if options.bar and context.n_iters is not None else None
        context = replace(context, tick=tick, results=lambda: self.results)
        return local_executor(place, self._program, context, options.workers), progress

    def _check_travel(self) -> None:
        """Refuse values of the domain that cannot be pickled, as far as they are known."""
        from daskresearch.execute.travel import check_values

        for part in values_of(self._job.domain.node):
            check_values(part.name, part.values)
        for entry in itertools.chain.from_iterable(self._appended):
            check_values(entry.name, [entry.value])

    def _make_folder(self) -> str:
        """Return where ``EP()`` lies, if any unit uses it: a temporary folder that lives as long as the results."""
        parts = expressions_in([unit.arguments for unit in self._job.plan.units])
        if not any(isinstance(part, EP) for part in parts):
            return ""
        folder = tempfile.mkdtemp(prefix="daskresearch-")
        weakref.finalize(self.results, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _check_end(self, domain: Domain) -> None:
        """Refuse a domain that would never come to an end, or to its first experiment."""
        if self._job.iter_params(domain).size(domain.node) is not None:
            return
        schedule = self._job.update.schedule if self._job.update else None
        if schedule is None or not (schedule.steps or schedule.iterations):
            raise DomainError(
                f"the domain {domain!r} is endless; give n_configs, or update_domain with a count to end it"
            )
        if self._program.is_lockstep and self._options.branches is None:
            raise DomainError(
                f"the domain {domain!r} is endless, and its stateful roots would wait for all of it; give branches=n"
            )

    def _checked_parameters(self, domain: Domain) -> tuple[str, ...]:
        """Return the parameters of all configs, after a look at the plan with them."""
        common = {entry.name for entries in self._appended for entry in entries} & set(domain.names)
        if common:
            raise DomainError(f"branches set parameters {sorted(common)}, which the domain has too; rename them")
        names = dict.fromkeys((*domain.names, *(entry.name for entries in self._appended for entry in entries)))
        for name in names:
            if name in RESERVED_VARIABLES:
                raise DomainError(f"a parameter named {name!r} would be mixed up with that column; rename it")
        check_complete(self._job.plan, tuple(names), are_all_parameters=self._job.update is None)
        return tuple(names)

    def run(self) -> None:
        """Run all experiments, and the domains that follow; returns when the last record is kept."""
        try:
            self._run_domains()
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._progress.close()
            self._done.set()

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

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended."""
        return self._done.is_set()

    @property
    def n_failed(self) -> int:
        """How many experiments have failed so far."""
        return self._n_failed

    def _run_domains(self) -> None:
        domain: Domain | None = self._job.domain
        n_done = 0
        for updates in itertools.count():
            if domain is None:
                return
            params = self._job.iter_params(domain, create_id_prefix=self._options.create_id_prefix)
            size = params.size(domain.node)
            self._progress.expect(None if size is None else n_done + size)
            configs = iterate(domain.node, params, self.seed, updates)
            groups = _Peekable(self._grouping.groups(configs, n_done))
            n_groups = None if self._job.update else self._grouping.n_groups(size, params.n_reps)
            domain = None
            while domain is None and groups and not self._stop.is_set():
                n_stage, is_due = self._run_stage(groups, n_groups, n_done)
                n_done += n_stage
                domain = self._updated(is_due or (not groups and self._ends_with_update))

    @property
    def _ends_with_update(self) -> bool:
        return self._job.update is not None and self._job.update.schedule.last

    def _run_stage(self, groups: Iterator[Group], n_groups: int | None, n_done: int) -> tuple[int, bool]:
        """Run groups until the domain is to be updated; return how many experiments that were, and whether it is."""
        turn = n_done
        is_due = False
        schedule = self._job.update.schedule if self._job.update else None

        def stage() -> Iterator[Group]:
            nonlocal turn, is_due
            for group in groups:
                turns = range(turn, turn + len(group))
                turn += len(group)
                yield group
                is_due = schedule is not None and any([schedule.runs_at(one, is_last=False) for one in turns])
                if is_due:
                    return

        with contextlib.closing(self._executor.run(stage(), n_groups, self._stop)) as records:
            for record in records:
                experiment_id, config = self._grouping.ended(record.position)
                self._store.append(record, experiment_id, config)
                self._n_failed += bool(record.failures)
                self._progress.ended(record.n_iters, bool(record.failures))
        return turn - n_done, is_due

    def _updated(self, is_due: bool) -> Domain | None:
        """Return the domain that takes the place of what is left, if its turn has come and there is one."""
        update = self._job.update
        if update is None or self._stop.is_set() or not is_due:
            return None
        scope: Any = _UpdateScope(self.results)
        new = update.function(**evaluator(dict(update.kwargs), "update_domain")(scope))
        if new is None:
            return None
        if not isinstance(new, (Domain, Mapping)):
            raise DomainError(f"update_domain must return a Domain, a dict of values or None, not {new!r}")
        domain = Domain(new)
        recorded = set(self._checked_parameters(domain)) & set(self._store.variables)
        if recorded:
            raise DomainError(f"parameters {sorted(recorded)} of the new domain are variables already; rename them")
        self._check_end(domain)
        return domain


@final
class _Peekable:
    """An iterator that is true while it has a next item."""

    def __init__(self, groups: Iterator[Group]) -> None:
        self._groups = groups
        self._ahead: list[Group] = []

    def __bool__(self) -> bool:
        if not self._ahead:
            self._ahead = list(itertools.islice(self._groups, 1))
        return bool(self._ahead)

    def __iter__(self) -> _Peekable:
        return self

    def __next__(self) -> Group:
        return self._ahead.pop() if self._ahead else next(self._groups)


@final
class _UpdateScope:
    """What expressions can be evaluated against between experiments: the results alone."""

    def __init__(self, results: ResearchResults) -> None:
        self._results = results

    def results(self) -> ResearchResults:
        """Return what ``R()`` stands for."""
        return self._results


def _refuse_live_results(plan: Plan) -> None:
    for unit in plan.units:
        if any(isinstance(part, R) for part in expressions_in(unit.arguments)):
            raise PlanError(
                f"unit {unit.name!r} uses R(), the results so far, which worker processes cannot read; "
                f"run with workers=1, or use R() in update_domain"
            )
