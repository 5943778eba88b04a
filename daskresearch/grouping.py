"""From configs to experiments, and from experiments to the groups that share root units."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

from daskresearch.domain import Config, Entry, identify
from daskresearch.worker import Experiment, Group, Program, identity

_SMALL = 16


@final
class Grouping:
    """Makes the experiments of a run and remembers those that have not ended.

    Parameters
    ----------
    program : Program
        Its roots may bind the experiments of a group together; else each goes alone.
    entropy : bytes
        What the seed gives.
    length : int, optional
        Experiments in a group. Default: all of a repetition.
    appended : sequence of tuple of Entry
        What each member of a group adds to its config, if anything.
    """

    def __init__(
        self, program: Program, entropy: bytes, length: int | None, appended: Sequence[tuple[Entry, ...]] = ()
    ) -> None:
        self._program = program
        self._entropy = entropy
        self._length = length
        self._appended = appended
        self._running: dict[int, tuple[str, Config]] = {}
        self._numbers = itertools.count()
        self._calls: dict[tuple[str, Any], tuple[int, Mapping[str, Any]]] = {}
        self._group_calls: dict[tuple[str, Any], tuple[int, Mapping[str, Any]]] = {}
        self._group_key = b""

    @property
    def is_whole(self) -> bool:
        """Whether the experiments of a group stay together: in lock-step, or a few that share what a root draws."""
        is_small = self._length is not None and self._length <= _SMALL
        draws = any(root.is_of_group for root in self._program.roots.values())
        return self._program.is_lockstep or (is_small and draws)

    def n_groups(self, n_experiments: int | None, n_reps: int) -> int | None:
        """Return about how many groups so many experiments make, None if nobody knows."""
        if n_experiments is None or not self.is_whole:
            return n_experiments
        return n_reps if self._length is None else -(-n_experiments // self._length)

    def groups(self, configs: Iterator[Config], first: int) -> Iterator[Group]:
        """Yield groups of consecutive experiments of one repetition.

        Parameters
        ----------
        configs : iterator of Config
        first : int
            The position of the first experiment.
        """
        numbers: dict[int, int] = {}
        is_whole = self.is_whole
        positions = itertools.count(first)
        for repetition, run in itertools.groupby(configs, key=lambda config: config.repetition):
            for part in self._parts(run):
                number = numbers.get(repetition, 0)
                if self._length is not None:
                    numbers[repetition] = number + 1
                key = b"%b-%d-%d" % (self._entropy, repetition, number)
                members = (self._experiment(config, i, key, next(positions)) for i, config in enumerate(part))
                if is_whole:
                    yield tuple(members)
                else:
                    yield from ((member,) for member in members)

    def ended(self, position: int) -> tuple[str, Config]:
        """Return the id and config of an experiment, and forget it."""
        return self._running.pop(position)

    def _parts(self, configs: Iterator[Config]) -> Iterator[Iterator[Config] | list[Config]]:
        if self._length is None:
            yield configs
        else:
            while part := list(itertools.islice(configs, self._length)):
                yield part

    def _experiment(self, config: Config, place: int, group_key: bytes, position: int) -> Experiment:
        if self._appended:
            config = config.extended(self._appended[place])
        experiment_id, key = identify(config, self._entropy)
        self._running[position] = (experiment_id, config)
        experiment = Experiment(
            position,
            experiment_id,
            key,
            b"%b-%d" % (group_key, config.updates),
            config.values(),
            config.repetition,
            config.updates,
        )
        if self._program.root_calls:
            return experiment._replace(roots=self._root_numbers(experiment))
        return experiment

    def _root_numbers(self, experiment: Experiment) -> dict[str, tuple[int, bytes]]:
        """Return which call of each steady root an experiment shares, with the group if it belongs to one."""
        full = experiment.full()
        if experiment.group_key != self._group_key:
            self._group_key = experiment.group_key
            self._group_calls.clear()
        numbers = {}
        for name in self._program.root_calls:
            root = self._program.roots[name]
            calls = self._group_calls if root.is_of_group else self._calls
            call = (name, identity(full, root.reads))
            if call not in calls:
                # the config stays referenced, as the identity of a value may be that of the object
                calls[call] = (next(self._numbers), full)
            numbers[name] = calls[call][0], experiment.group_key if root.is_of_group else b""
        return numbers
