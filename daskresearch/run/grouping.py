"""From configs to experiments, and from these to groups that share root units."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from daskresearch.domain import Config, Entry, identify
from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.keys.plan_keys import PlanKeys
from daskresearch.worker import Group, Program

_SMALL = 16


@final
@dataclass(frozen=True, slots=True)
class Recorded:
    """That experiments are recorded in a folder.

    Attributes
    ----------
    is_finished : callable
        Tells from the id, the hash of the config's values, the position and the group of an
        experiment whether it need not run; its group is empty where what it does has nothing to do
        with it.
    """

    is_finished: Callable[[str, str, int, bytes], bool]


@final
class Grouping:
    """Makes the experiments of a run and remembers those that have not ended.

    Parameters
    ----------
    program : Program
        Its roots may bind the experiments of a group together; else each goes alone.
    keys : PlanKeys
    entropy : bytes
        What the seed gives.
    length : int, optional
        Experiments in a group. Default: all of a repetition.
    appended : sequence of tuple of Entry
        What each member of a group adds to its config, if anything.

    Attributes
    ----------
    n_made : int
        How many experiments there were so far, those that were left out too.
    n_skipped : int
        How many were left out, as they had finished in a run before.
    """

    def __init__(
        self,
        program: Program,
        keys: PlanKeys,
        entropy: bytes,
        length: int | None,
        appended: Sequence[tuple[Entry, ...]] = (),
    ) -> None:
        self._program = program
        self._keys = keys
        self._entropy = entropy
        self._length = length
        self._appended = appended
        self._running: dict[int, PlannedExperiment] = {}
        self._recorded: Recorded | None = None
        # whether what an experiment does depends on its group, as a root draws, or walks, for all
        # members
        self._is_bound = any(
            root.is_of_group or not root.is_steady for root in program.roots.values()
        )
        self.n_made = self.n_skipped = 0

    def record(self, recorded: Recorded) -> None:
        """Leave out from now on what a folder holds already."""
        self._recorded = recorded

    @property
    def is_whole(self) -> bool:
        """Whether the experiments of a group stay together.

        (a) They run in lock-step; (b) they are few and share what a root draws.
        """
        is_small = self._length is not None and self._length <= _SMALL
        draws = any(root.is_of_group for root in self._program.roots.values())
        return self._program.is_lockstep or (is_small and draws)

    def n_groups(self, n_experiments: int | None, n_reps: int) -> int | None:
        """Return about how many groups so many experiments make, None if nobody knows."""
        if n_experiments is None or not self.is_whole:
            return n_experiments
        return n_reps if self._length is None else -(-n_experiments // self._length)

    def groups(
        self, configs: Iterator[Config], first: int = 0, updates: int = 0, *, remembers: bool = True
    ) -> Iterator[Group]:
        """Yield groups of consecutive experiments of one repetition.

        Parameters
        ----------
        configs : iterator of Config
        first : int
            The position of the first experiment.
        updates : int
            How often the domain was replaced before.
        remembers : bool
            Whether `ended` will be asked for each of them.
        """
        numbers: dict[int, int] = {}
        is_whole = self.is_whole
        positions = itertools.count(first)
        for repetition, run in itertools.groupby(configs, key=lambda config: config.repetition):
            for part in self._parts(run):
                number = numbers.get(repetition, 0)
                if self._length is not None:
                    numbers[repetition] = number + 1
                key = b"%b-%d-%d-%d" % (self._entropy, repetition, number, updates)
                members = (
                    self._experiment(config, i, key, next(positions), remembers=remembers)
                    for i, config in enumerate(part)
                )
                if is_whole:
                    yield from self._unfinished(tuple(members))
                else:
                    yield from ((member,) for member in members if not self._skips(member))

    def _unfinished(self, members: Group) -> Iterator[Group]:
        """Yield the members of a group that are to run, if there are any.

        In lock-step these are all members, as roots follow all members there.
        """
        if self._program.is_lockstep and not all([self._is_finished(member) for member in members]):
            yield members
        elif group := tuple([member for member in members if not self._skips(member)]):
            yield group

    def _is_finished(self, experiment: PlannedExperiment) -> bool:
        if self._recorded is None:
            return False
        group = experiment.group_key if self._is_bound else b""
        return self._recorded.is_finished(
            experiment.id, experiment.content, experiment.position, group
        )

    def _skips(self, experiment: PlannedExperiment) -> bool:
        if not self._is_finished(experiment):
            return False
        self.n_skipped += 1
        self._running.pop(experiment.position, None)
        return True

    def ended(self, position: int) -> PlannedExperiment:
        """Return an experiment that has ended, and forget it."""
        return self._running.pop(position)

    def _parts(self, configs: Iterator[Config]) -> Iterator[Iterator[Config] | list[Config]]:
        if self._length is None:
            yield configs
        else:
            while part := list(itertools.islice(configs, self._length)):
                yield part

    def _experiment(
        self, config: Config, place: int, group_key: bytes, position: int, *, remembers: bool
    ) -> PlannedExperiment:
        if self._appended:
            config = config.extended(self._appended[place])
        experiment_id, key = identify(config, self._entropy)
        values = config.values()
        self.n_made = position + 1
        content = "" if self._recorded is None else self._keys.values(values)
        experiment = PlannedExperiment(
            position, experiment_id, key, group_key, values, config.repetition, config.updates,
            None, tuple([entry.alias for entry in config.entries]), content,
        )  # fmt: skip
        if self._program.roots:
            experiment = experiment._replace(roots=self._keys.roots(experiment))
        if remembers:
            self._running[position] = experiment
        return experiment


@final
class Peekable:
    """An iterator of groups that is true while it has a next one."""

    def __init__(self, groups: Iterator[Group]) -> None:
        self._groups = groups
        self._ahead: list[Group] = []

    def __bool__(self) -> bool:
        if not self._ahead:
            self._ahead = list(itertools.islice(self._groups, 1))
        return bool(self._ahead)

    def __iter__(self) -> Peekable:
        return self

    def __next__(self) -> Group:
        return self._ahead.pop() if self._ahead else next(self._groups)

    def put_back(self, group: Group) -> None:
        """Give a group again that was the last one taken."""
        self._ahead.append(group)
