"""How many calls a research makes.

Calls are counted from the description of the domain where it tells them, else config by config.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from daskresearch.domain import AUXILIARY, Config, Entry, IterParams, Node, iterate
from daskresearch.graph.distinct import n_distinct
from daskresearch.keys.plan_keys import PlanKeys
from daskresearch.plan import WHOLE_CONFIG, Kind, Plan, Root
from daskresearch.worker import Program

if TYPE_CHECKING:
    import pandas as pd

_SILENT = frozenset({Kind.SAVE, Kind.DUMP, Kind.INPUT})


@final
@dataclass(frozen=True, slots=True)
class Experiments:
    """The experiments whose calls are counted.

    Attributes
    ----------
    node : Node
        The domain's.
    params : IterParams
    seed : int
    length : int, optional
        Experiments in a group; None for all of a repetition.
    appended : tuple of tuple of Entry
        The entries that each member of a group adds to its config; empty if there are none.
    """

    node: Node
    params: IterParams
    seed: int
    length: int | None = None
    appended: tuple[tuple[Entry, ...], ...] = ()

    @property
    def size(self) -> int | None:
        """How many experiments there are; None when endless."""
        return self.params.size(self.node)

    @property
    def n_runs(self) -> int | None:
        """How many runs of consecutive experiments a repetition has."""
        runs = self._runs()
        return None if runs is None else runs[0] + bool(runs[2])

    @property
    def n_parts(self) -> int | None:
        """How many parts go in lock-step: consecutive experiments, at most `length`."""
        runs = self._runs()
        if runs is None:
            return None
        n_whole, length, rest = runs
        most = self.length or max(length, 1)
        return (n_whole * -(-length // most) + -(-rest // most)) * self.params.n_reps

    @property
    def n_groups(self) -> int | None:
        """How many groups have a random stream of their own for their roots."""
        if self.length is not None:
            return self.n_parts
        return None if self.size is None else min(self.params.n_reps, self.size)

    def _runs(self) -> tuple[int, int, int] | None:
        """Return a repetition's number of whole runs, their length, and the rest's length."""
        n_items = self.node.size if self.params.n_items is None else self.params.n_items
        if n_items is None:
            return None
        length = (
            n_items if self.params.n_reps == 1 else min(self.params.repeat_each or n_items, n_items)
        )
        return n_items // length, length, n_items % length

    def configs(self) -> Iterator[tuple[int, Config]]:
        """Yield each config in domain order, with the number of its lock-step part."""
        number = 0
        for _, run in itertools.groupby(
            iterate(self.node, self.params, self.seed), lambda config: config.repetition
        ):
            for i, config in enumerate(run):
                if self.length is not None and i and i % self.length == 0:
                    number += 1
                if self.appended:
                    config = config.extended(self.appended[i % len(self.appended)])
                yield number, config
            number += 1


@final
@dataclass(frozen=True, slots=True)
class Counts:
    """What a run of a plan will do, in counts; None where only the run tells.

    Attributes
    ----------
    n_experiments : int, optional
        None when the domain is endless.
    n_groups : int, optional
        How many groups run in lock-step; 0 if the plan needs none.
    n_nodes : int, optional
        Nodes of the unbatched graph that compute something. Nodes that hold the plan do not count,
        nor those inside the Dask collections that units were given.
    n_iters : int, optional
        Iterations of each experiment.
    calls_plain, calls : Mapping of str to int
        For each unit that calls something, in order: the calls that a plain loop over units makes,
        and the calls that will run. A call of a generator is an item of it.
    """

    n_experiments: int | None
    n_groups: int | None
    n_nodes: int | None
    n_iters: int | None
    calls_plain: Mapping[str, int | None]
    calls: Mapping[str, int | None]


def count(
    plan: Plan,
    program: Program,
    keys: PlanKeys,
    experiments: Experiments,
    n_iters: int | None,
    most: int | None = None,
) -> Counts:
    """Return how many calls the experiments make, in a plain loop and shared.

    Parameters
    ----------
    plan : Plan
    program : Program
    keys : PlanKeys
    experiments : Experiments
    n_iters : int, optional
    most : int, optional
        Above so many experiments, what only a look at each of them tells stays None.
        Default: no limit.
    """
    size = experiments.size
    units = [unit for unit in plan.units if unit.kind not in _SILENT]
    turns = {unit.name: unit.schedule.n_turns(n_iters) for unit in units}
    plain = {name: _times(size, n_turns) for name, n_turns in turns.items()}
    counter = _Counter(keys, experiments, most)
    reached = program.calls_reached
    calls = dict(plain)
    for name, root in program.roots.items():
        if root.unit.kind is Kind.INPUT:
            continue
        if not root.is_steady:
            calls[name] = _times(counter.n_cells(root), turns[name])
        elif name not in reached or keys.first_of(name) != name:
            calls[name] = 0
        else:
            calls[name] = counter.n_cells(root)
    n_groups = experiments.n_parts if program.is_lockstep else 0
    chains = n_groups if program.is_lockstep else size
    # a collection that units were given is a single node, whatever it is made of
    nodes = [chains, *[calls.get(name, 1) for name in reached]]
    n_nodes = None if None in nodes else sum([n for n in nodes if n is not None])
    return Counts(size, n_groups, n_nodes, n_iters, plain, calls)


def _times(number: int | None, times: int | None) -> int | None:
    if number == 0 or times == 0:
        return 0
    return None if number is None or times is None else number * times


class _Counter:
    """Counts the cells of roots: the calls that experiments share, one for each key."""

    def __init__(self, keys: PlanKeys, experiments: Experiments, most: int | None) -> None:
        self._keys = keys
        self._experiments = experiments
        self._most = most

    def n_cells(self, root: Root) -> int | None:
        """Return how many keys a root has in all groups together; None if unknown."""
        experiments = self._experiments
        is_of_group = root.is_of_group or not root.is_steady
        names = frozenset(root.reads)
        if not names and not is_of_group:
            return 1
        if not names:
            return experiments.n_groups if root.is_steady else experiments.n_parts
        if experiments.size is None:
            return None
        n_reps = experiments.params.n_reps if is_of_group or "repetition" in names else 1
        is_one_run = root.is_steady or experiments.n_runs == 1
        if (experiments.length is None and is_one_run) or not is_of_group:
            distinct = self._n_distinct(names - {*AUXILIARY})
            if distinct is not None:
                return distinct * n_reps
        if self._most is not None and experiments.size > self._most:
            return None
        return self._n_counted(root, is_of_group=is_of_group)

    def _n_distinct(self, names: frozenset[str]) -> int | None:
        """Return how many different values parameters have together; None if unknown."""
        experiments = self._experiments
        node, n_items = experiments.node, experiments.params.n_items
        is_whole = n_items is None or (node.size is not None and n_items >= node.size)
        appended = {entry.name for entries in experiments.appended for entry in entries}
        if not is_whole or (appended and (WHOLE_CONFIG in names or appended & names)):
            return None
        return n_distinct(node, None if WHOLE_CONFIG in names else names, self._keys.content_of)

    def _n_counted(self, root: Root, *, is_of_group: bool) -> int:
        seen: set[tuple[int, str]] = set()
        # without a length the parts of a repetition share its stream, but not the pass through
        # stateful roots
        is_of_repetition = root.is_steady and self._experiments.length is None
        for part, config in self._experiments.configs():
            number = config.repetition if is_of_repetition else part
            full = {**config.values(), **config.auxiliary()}
            seen.add(
                (number if is_of_group else 0, self._keys.content(full, root.reads, root.unit.name))
            )
        return len(seen)


def as_frame(counts: Counts) -> pd.DataFrame:
    """Return the table that `Research.preview` shows.

    Examples
    --------
    >>> as_frame(Counts(4, 0, 6, None, {"load": 4, "walk": None}, {"load": 1, "walk": None}))
       unit  calls_plain  calls  saved
    0  load            4      1   0.75
    1  walk         <NA>   <NA>   <NA>
    """
    import pandas as pd

    plain, calls = list(counts.calls_plain.values()), list(counts.calls.values())
    is_known = None not in (*plain, *calls)
    saved = [_share(*pair) for pair in zip(plain, calls, strict=True)]
    frame = pd.DataFrame(
        {
            "unit": pd.Series(list(counts.calls_plain), dtype=str),
            "calls_plain": pd.Series(plain, dtype="int64" if is_known else "Int64"),
            "calls": pd.Series(calls, dtype="int64" if is_known else "Int64"),
            "saved": pd.Series(saved, dtype="float64" if is_known else "Float64"),
        }
    )
    frame.attrs = {"experiments": counts.n_experiments, "nodes": counts.n_nodes}
    return frame


def _share(plain: int | None, calls: int | None) -> float | None:
    if plain is None or calls is None:
        return None
    return 1 - calls / plain if plain else 0.0
