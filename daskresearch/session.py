"""One run: configs become experiments and groups, an executor runs them, records go to the store."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from daskresearch.domain import (
    Config,
    Domain,
    Entry,
    IterParams,
    branch_entries,
    draw_seed,
    entropy_of,
    identify,
    iterate,
)
from daskresearch.errors import DomainError, PlanError
from daskresearch.execute import Executor, SerialExecutor, ThreadsExecutor
from daskresearch.options import LOCAL_SCHEDULERS, RunOptions
from daskresearch.plan import EP, Kind, Plan, R, Schedule, check_complete, evaluator, expressions_in
from daskresearch.progress import Bar, Progress, Silent
from daskresearch.results import ResearchResults
from daskresearch.store import MemoryStore
from daskresearch.worker import Context, Experiment, Group, Program, identity


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


@final
class Session:
    """One run of a job, from its checks to its last record.

    Everything that can be refused is refused when the session is made.

    Raises
    ------
    PlanError, OptionError, DomainError
        If the job cannot run as it is.
    """

    def __init__(self, job: Job, options: RunOptions) -> None:
        self._job = job
        self._options = options
        self._n_iters = job.plan.n_iters(options.n_iters)
        self._branches = _branches_of(job.domain, options)
        self._parameters = _checked_parameters(job, job.domain, self._branches)
        params = job.iter_params(job.domain)
        if params.size(job.domain.node) is None and job.update is None:
            raise DomainError(
                f"the domain {job.domain!r} is endless; give n_configs, or update_domain to end it"
            )
        seed = options.seed if options.seed is not None else params.seed
        self.seed: int = draw_seed() if seed is None else seed
        self._entropy = entropy_of(self.seed)
        self._program = Program.of(job.plan)
        self._root_calls: dict[tuple[str, Any], tuple[int, Any]] = {}
        self._running: dict[int, tuple[str, Config]] = {}
        self._stop = threading.Event()
        self._done = threading.Event()
        self.store = MemoryStore(job.plan.variables)
        self.results = ResearchResults(self.store, self._parameters)
        self._error: BaseException | None = None
        self._n_failed = 0
        place = _place_of(options)
        self._context = Context(
            n_iters=self._n_iters,
            finalize=options.finalize,
            debug=options.debug,
            in_threads=options.executor_target == "threads",
            parameters=frozenset((*self._parameters, "repetition", "updates")),
            folder=self._folder(),
        )
        self._is_local = place in ("serial", "threads")
        self._executor, self._progress = self._open(place)

    def _folder(self) -> str:
        """Return where ``EP()`` lies, a temporary folder that lives as long as the results, if any unit uses it."""
        uses = [part for unit in self._job.plan.units for part in expressions_in(unit.arguments)]
        if not any(isinstance(part, EP) for part in uses):
            return ""
        folder = tempfile.mkdtemp(prefix="daskresearch-")
        weakref.finalize(self.results, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _open(self, place: str) -> tuple[Executor, Progress]:
        """Return the executor of a place, and the progress that goes with it."""
        if not self._is_local:
            _refuse_live_results(self._job.plan)
            executor = _distributed_executor(self._job.plan, self._context, self._options)
        progress: Progress = Silent()
        if self._options.bar:
            progress = Bar(self._n_iters, ticks=self._is_local)
        if self._is_local:
            tick = progress.tick if self._options.bar and self._n_iters is not None else None
            context = replace(self._context, tick=tick, results=lambda: self.results)
            if place == "serial":
                return SerialExecutor(self._program, context), progress
            return ThreadsExecutor(self._program, context, self._options.workers), progress
        return executor, progress

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
        """Run in a thread; `wait` for its end."""
        threading.Thread(target=self._run_quietly, name="daskresearch-run", daemon=True).start()

    def _run_quietly(self) -> None:
        try:
            self.run()
        except BaseException as error:  # wait() raises it where the user sees it
            self._error = error

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
        domain, updates, n_before = self._job.domain, 0, 0
        while True:
            params = self._job.iter_params(domain, create_id_prefix=self._options.create_id_prefix)
            size = params.size(domain.node)
            self._progress.expect(None if size is None else n_before + size)
            configs = iterate(domain.node, params, self.seed, updates)
            groups = _Peekable(self._groups(configs, n_before))
            new: Domain | None = None
            n_done = n_before
            while new is None and groups and not self._stop.is_set():
                n_done += self._run_stage(groups, n_done, size)
                new = self._updated(n_done, is_last=not groups)
            if new is None:
                return
            domain, updates, n_before = new, updates + 1, n_done

    def _run_stage(self, groups: Iterator[Group], n_done: int, size: int | None) -> int:
        """Run groups until the domain is to be updated, and return how many experiments that were."""
        n_stage = 0

        def stage() -> Iterator[Group]:
            nonlocal n_stage
            update = self._job.update
            for group in groups:
                n_stage += len(group)
                yield group
                first = n_done + n_stage - len(group)
                turns = range(first, first + len(group))
                if update is not None and any(update.schedule.runs_at(turn, is_last=False) for turn in turns):
                    return

        n_groups = None if size is None or self._job.update is not None else -(-size // self._group_length(size))
        for record in self._executor.run(self._stoppable(stage()), n_groups):
            experiment_id, config = self._running.pop(record.position)
            self.store.append(record, experiment_id, config)
            self._n_failed += bool(record.failures)
            self._progress.ended(record.n_iters, bool(record.failures))
        return n_stage

    def _group_length(self, size: int) -> int:
        """Return how many experiments go together, out of so many in all."""
        if not self._program.is_lockstep:
            return 1
        branches = self._options.branches
        if branches is None:
            return max(1, size // max(1, self._job.n_reps))
        return branches if isinstance(branches, int) else len(branches)

    def _stoppable(self, groups: Iterator[Group]) -> Iterator[Group]:
        return itertools.takewhile(lambda _: not self._stop.is_set(), groups)

    def _updated(self, n_done: int, is_last: bool) -> Domain | None:
        """Return the domain that takes the place of what is left, if its turn has come and there is one."""
        update = self._job.update
        if update is None or self._stop.is_set() or not update.schedule.runs_at(n_done - 1, is_last):
            return None
        kwargs = evaluator(dict(update.kwargs), "update_domain")(_UpdateScope(self.results))
        new = update.function(**kwargs)
        if new is None:
            return None
        if not isinstance(new, (Domain, Mapping)):
            raise DomainError(f"update_domain must return a Domain, a dict of values or None, not {new!r}")
        domain = Domain(new)
        self._parameters = _checked_parameters(self._job, domain, self._branches)
        return domain

    def _groups(self, configs: Iterator[Config], first: int) -> Iterator[Group]:
        """Yield groups of experiments: consecutive ones of one repetition, singles if nothing binds them."""
        branches = self._options.branches
        length = branches if isinstance(branches, int) else len(branches) if branches else None
        numbers: dict[int, int] = {}
        positions = itertools.count(first)
        for repetition, run in itertools.groupby(configs, key=lambda config: config.repetition):
            while part := (run if length is None else list(itertools.islice(run, length))):
                number = numbers.get(repetition, 0)
                numbers[repetition] = number if length is None else number + 1
                group_key = b"%b-%d-%d" % (self._entropy, repetition, number)
                members = (self._experiment(config, place, group_key, next(positions)) for place, config in enumerate(part))
                if self._program.is_lockstep:
                    yield tuple(members)
                else:
                    yield from ((member,) for member in members)
                if length is None:
                    break

    def _experiment(self, config: Config, place: int, group_key: bytes, position: int) -> Experiment:
        if self._branches:
            config = config.extended(self._branches[place])
        experiment_id, key = identify(config, self._entropy)
        self._running[position] = (experiment_id, config)
        group_key = b"%b-%d" % (group_key, config.updates)
        experiment = Experiment(
            position, experiment_id, key, group_key, config.values(), config.repetition, config.updates
        )
        if self._program.root_calls:
            return experiment._replace(roots=self._root_numbers(experiment))
        return experiment

    def _root_numbers(self, experiment: Experiment) -> dict[str, int]:
        """Return which call of each steady root an experiment shares."""
        full = experiment.full()
        numbers = {}
        for name in self._program.root_calls:
            call = (name, identity(full, self._program.roots[name].reads))
            # the values stay referenced, as identity may be that of the object
            numbers[name] = self._root_calls.setdefault(call, (len(self._root_calls), full))[0]
        return numbers


@final
class _Peekable:
    """An iterator that is true while it has a next item."""

    def __init__(self, items: Iterator[Group]) -> None:
        self._items = items
        self._ahead: list[Group] = []

    def __bool__(self) -> bool:
        if not self._ahead:
            self._ahead = list(itertools.islice(self._items, 1))
        return bool(self._ahead)

    def __iter__(self) -> _Peekable:
        return self

    def __next__(self) -> Group:
        return self._ahead.pop() if self._ahead else next(self._items)


@final
class _UpdateScope:
    """What expressions can be evaluated against between experiments: the results alone."""

    def __init__(self, results: ResearchResults) -> None:
        self._results = results

    def results(self) -> ResearchResults:
        return self._results


def _branches_of(domain: Domain, options: RunOptions) -> list[tuple[Entry, ...]]:
    if options.branches is None or isinstance(options.branches, int):
        return []
    return branch_entries(options.branches, domain.names)


def _checked_parameters(job: Job, domain: Domain, branches: list[tuple[Entry, ...]]) -> tuple[str, ...]:
    """Return the parameters of all configs, after a look at the plan with them."""
    names = dict.fromkeys((*domain.names, *(entry.name for entries in branches for entry in entries)))
    for name in names:
        if name in ("id", "iteration", "repetition", "updates"):
            raise DomainError(f"a parameter named {name!r} would be mixed up with that column; rename it")
    check_complete(job.plan, tuple(names), are_all_parameters=job.update is None)
    return tuple(names)


def _place_of(options: RunOptions) -> str:
    """Return where a run takes place: serial, threads, processes or client."""
    if not options.parallel:
        return "serial"
    if isinstance(options.scheduler, str):
        return LOCAL_SCHEDULERS[options.scheduler]
    if options.scheduler is not None or _active_client() is not None:
        return "client"
    return "serial" if options.workers in (None, 1) else "processes"


def _active_client() -> Any:
    """Return the user's current Client, without importing distributed if they have not."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def _distributed_executor(plan: Plan, context: Context, options: RunOptions) -> Executor:
    from daskresearch.execute.clusters import private_client
    from daskresearch.execute.distributed import DistributedExecutor
    from daskresearch.execute.travel import pickle_plan

    content = pickle_plan(plan, context)  # what cannot travel is refused before processes are started
    if _place_of(options) == "client":
        client = _active_client() if options.scheduler is None else options.scheduler
        return DistributedExecutor(client, plan, content, options.workers)
    workers = options.workers or os.cpu_count() or 1
    return DistributedExecutor(private_client(workers), plan, content, workers)


def _refuse_live_results(plan: Plan) -> None:
    for unit in plan.units:
        if unit.kind is not Kind.DUMP and any(isinstance(part, R) for part in expressions_in(unit.arguments)):
            raise PlanError(
                f"unit {unit.name!r} uses R(), the results so far, which worker processes cannot read; "
                f"run with workers=1, or use R() in update_domain"
            )


