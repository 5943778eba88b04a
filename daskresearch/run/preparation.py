"""From what a user describes to what can run.

A job is checked, and its seed, program, keys and groups are made.

Everything that can be refused is refused here. A run, a graph and a preview all begin with it, so
that they mean the same experiments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, final

from daskresearch.domain import (
    Alias,
    Config,
    Domain,
    Entry,
    IterParams,
    branch_entries,
    draw_seed,
    entropy_of,
    identify,
    iterate,
    values_of,
)
from daskresearch.domain.config import AUXILIARY
from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.errors import DomainError, OptionError, PlanError
from daskresearch.graph import with_inputs
from daskresearch.keys.plan_keys import PlanKeys
from daskresearch.plan import EP, RESERVED_PARAMETERS, Plan, R, check_complete, expressions_in
from daskresearch.run.grouping import Grouping
from daskresearch.run.job import Job
from daskresearch.run.options import RunOptions
from daskresearch.store import UnitKey
from daskresearch.worker import Context, Group, Program

_MOST_OCCURRENCES = 10_000


@final
class Preparation:
    """A job that can run with some options.

    Attributes
    ----------
    plan : Plan
        With the Dask collections that units were given as units of their own.
    program : Program
    keys : PlanKeys
    grouping : Grouping
    seed : int
        As asked, or drawn.
    parameters : tuple of str
    n_iters : int, optional
    length : int, optional
        Experiments in a group; None for all of a repetition.

    Raises
    ------
    PlanError, OptionError, DomainError, HashError
        If the job cannot run as it is.
    """

    def __init__(self, job: Job, options: RunOptions, *, may_be_endless: bool = False) -> None:
        self.job = job
        self.options = options
        self.n_iters = job.plan.n_iters(options.n_iters)
        self.appended: list[tuple[Entry, ...]] = []
        length = options.branches
        if length is not None and not isinstance(length, int):
            self.appended = branch_entries(length, job.domain.names)
            length = len(self.appended)
        self.length: int | None = length
        self.parameters = self.checked_parameters(job.domain)
        seeds = (options.seed, job.domain.iter_params.seed)
        self.seed = int(next((seed for seed in seeds if seed is not None), draw_seed()))
        self.plan = with_inputs(job.plan)
        self.program = Program.of(self.plan, self.n_iters)
        self.keys = PlanKeys(self.plan, self.program.roots)
        self._check_values(job.domain)
        self.grouping = Grouping(
            self.program, self.keys, entropy_of(self.seed), self.length, self.appended
        )
        if not may_be_endless:
            self.check_end(job.domain)

    @property
    def uses_folder(self) -> bool:
        """Whether a unit asks for the experiment's folder."""
        return any(
            isinstance(part, EP)
            for part in expressions_in([unit.arguments for unit in self.plan.units])
        )

    def iter_params(self, domain: Domain) -> IterParams:
        """Return how a domain is iterated."""
        return self.job.iter_params(domain, create_id_prefix=self.options.create_id_prefix)

    def groups(
        self, domain: Domain, n_done: int = 0, updates: int = 0, *, remembers: bool = True
    ) -> Iterator[Group]:
        """Yield the experiments of a domain in their groups, after `n_done` others.

        See `Grouping.groups`.
        """
        configs = iterate(domain.node, self.iter_params(domain), self.seed, updates)
        return self.grouping.groups(configs, n_done, updates, remembers=remembers)

    def prefixed_ids(self) -> Iterator[str]:
        """Yield the ids of the first domain's experiments, if they have prefixes.

        Configs without end yield no ids.
        """
        params = self.iter_params(self.job.domain)
        if params.create_id_prefix and params.size(self.job.domain.node) is not None:
            grouping = Grouping(
                self.program, self.keys, entropy_of(self.seed), self.length, self.appended
            )
            configs = iterate(self.job.domain.node, params, self.seed, 0)
            for group in grouping.groups(configs, remembers=False):
                yield from [member.id for member in group]

    def context(self, folder: str) -> Context:
        """Return what all experiments have in common while they run."""
        return Context(
            n_iters=self.n_iters,
            finalize=self.options.finalize,
            debug=self.options.debug,
            in_threads=self.options.executor_target == "threads",
            parameters=frozenset((*self.parameters, *AUXILIARY)),
            folder=folder,
            profile=int(self.options.profile),
            timeout=self.options.timeout,
            retries=self.options.retries_by_kind,
        )

    def explained(self, experiment: PlannedExperiment) -> list[UnitKey]:
        """Return the key of each unit of an experiment, with what it is made of.

        Raises
        ------
        OptionError
            If it ran with another seed.
        """
        return list(self.keys.units(experiment._replace(key=self._key_of(experiment))))

    def _key_of(self, experiment: PlannedExperiment) -> bytes:
        """Return the key of an experiment.

        The key depends on the number of equal configs before it.
        """
        pairs = zip(experiment.values.items(), experiment.texts, strict=True)
        entries = tuple([Entry(name, value, text) for (name, value), text in pairs])
        for occurrence in range(_MOST_OCCURRENCES):
            config = Config(entries, experiment.repetition, experiment.updates, occurrence)
            name, key = identify(config, entropy_of(self.seed))
            if experiment.id.endswith(name):
                return key
        raise OptionError(
            f"experiment {experiment.id!r} ran with another seed, so that it cannot be explained"
        )

    def checked_parameters(self, domain: Domain) -> tuple[str, ...]:
        """Return the parameters of all configs, after a look at the plan with them."""
        common = {entry.name for entries in self.appended for entry in entries} & set(domain.names)
        if common:
            raise DomainError(
                f"branches set parameters {sorted(common)}, which the domain has too; rename them"
            )
        names = dict.fromkeys(
            (*domain.names, *(entry.name for entries in self.appended for entry in entries))
        )
        for name in names:
            if name in RESERVED_PARAMETERS:
                raise DomainError(
                    f"a parameter named {name!r} would be mixed up with that column; rename it"
                )
        check_complete(self.job.plan, tuple(names), are_all_parameters=self.job.update is None)
        return tuple(names)

    def texts_of_values(self, domain: Domain) -> dict[str, dict[str, list[Any]]]:
        """Return the values that files may not hold, by parameter and text.

        Values that are drawn are left out: nobody knows them yet.
        """
        texts: dict[str, dict[str, list[Any]]] = {}
        for name, values in self._known_values(domain):
            if (
                isinstance(values, range)
                or getattr(getattr(values, "dtype", None), "kind", "O") != "O"
            ):
                continue
            for value in values:
                plain = value.value if isinstance(value, Alias) else value
                if isinstance(plain, (bool, int, float, str)):
                    continue
                alike = texts.setdefault(name, {}).setdefault(Alias(value).alias, [])
                if not any([other is plain for other in alike]):
                    alike.append(plain)
        return texts

    def check_travel(self) -> None:
        """Refuse what worker processes cannot do, and values that cannot be pickled.

        Values of the domain that are drawn are not checked: nobody knows them yet.
        """
        from daskresearch.worker.pickling import check_values

        refuse_live_results(self.job.plan)
        for name, values in self._known_values(self.job.domain):
            check_values(name, values)

    def _check_values(self, domain: Domain) -> None:
        """Refuse values of the domain that roots read and that cannot be hashed.

        Values that are drawn are not checked: nobody knows them yet.
        """
        for name, values in self._known_values(domain):
            self.keys.check_values(name, values)

    def _known_values(self, domain: Domain) -> Iterator[tuple[str, Any]]:
        for part in values_of(domain.node):
            yield part.name, part.values
        for entry in itertools.chain.from_iterable(self.appended):
            yield entry.name, [entry.value]

    @property
    def definition(self) -> dict[str, str]:
        """By unit and option, a hash of what could change results.

        The text is empty where a unit has no hash.
        """
        branches = (
            self.options.branches
            if self.length is None or not self.appended
            else repr(self.appended)
        )
        facts = {"n_iters": self.n_iters, "finalize": self.options.finalize, "branches": branches}
        return {
            **self.keys.definition,
            **{f"option {name}": str(value) for name, value in facts.items()},
        }

    def check_end(self, domain: Domain) -> None:
        """Refuse a domain that would never come to an end, or to its first experiment."""
        if self.job.iter_params(domain).size(domain.node) is not None:
            return
        schedule = self.job.update.schedule if self.job.update else None
        if schedule is None or not (schedule.steps or schedule.iterations):
            raise DomainError(
                f"the domain {domain!r} is endless; give n_configs, or update_domain with a count "
                f"to end it"
            )
        if self.program.is_lockstep and self.length is None:
            raise DomainError(
                f"the domain {domain!r} is endless, and its stateful roots would wait for all of "
                f"it; give branches=n"
            )


def refuse_live_results(plan: Plan) -> None:
    """Refuse units that ask for the results so far.

    Worker processes cannot read these, which are in another process.
    """
    for unit in plan.units:
        if any(isinstance(part, R) for part in expressions_in(unit.arguments)):
            raise PlanError(
                f"unit {unit.name!r} uses R(), the results so far, which worker processes cannot "
                f"read; "
                f"run with workers=1, or use R() in update_domain"
            )
