"""From experiments to the nodes of a task graph, as plain data that knows no Dask.

A steady root has a node for each of its keys. The other units of an experiment, through all
iterations, are a single node. Experiments that stateful roots bind together are a single node too,
in lock-step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from daskresearch.domain.experiment import PlannedExperiment, RootKey
from daskresearch.keys.plan_keys import PlanKeys
from daskresearch.plan import Kind
from daskresearch.worker import Group, Program


class TaskKind(Enum):
    """What a task node does."""

    INPUT = "a value that units were given: a Dask collection"
    ROOT = "one call of a root unit"
    EXPERIMENT = "all iterations of one experiment"
    GROUP = "all iterations of experiments in lock-step"


class TaskNode(NamedTuple):
    """A node of the task graph.

    Attributes
    ----------
    key : str
        ``name-<hash>``.
    name : str
        The name of its unit, or the names of its units joined by ``+``.
    kind : TaskKind
    upstream : tuple of str
        The keys of the nodes whose outputs it takes.
    experiments : tuple of PlannedExperiment
        The experiments that run in it. For a root, the first experiment that shares it, with the
        config values that the root reads.
    """

    key: str
    name: str
    kind: TaskKind
    upstream: tuple[str, ...] = ()
    experiments: tuple[PlannedExperiment, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the experiments that run in it; empty for roots."""
        if self.kind in (TaskKind.INPUT, TaskKind.ROOT):
            return ()
        return tuple([experiment.id for experiment in self.experiments])


def trace(
    program: Program, keys: PlanKeys, groups: Iterable[Group], context: bytes = b""
) -> Iterator[TaskNode]:
    """Yield each node that experiments need, behind the nodes whose outputs it takes.

    Parameters
    ----------
    program : Program
    keys : PlanKeys
    groups : iterable of Group
        The experiments, with their root keys.
    context : bytes
        A digest of the options that change results.

    Examples
    --------
    >>> from daskresearch import Research
    >>> research = Research().add_callable("load", len, args=["abc"], root=True)
    >>> plan = research.add_callable("show", print).plan
    >>> program = Program.of(plan, n_iters=1)
    >>> keys = PlanKeys(plan, program.roots)
    >>> experiments = [PlannedExperiment(i, f"id{i}", b"%d" % i, b"", {}) for i in range(2)]
    >>> groups = [(member._replace(roots=keys.roots(member)),) for member in experiments]
    >>> [(node.name, node.kind.name, node.ids) for node in trace(program, keys, groups)]
    [('load', 'ROOT', ()), ('show', 'EXPERIMENT', ('id0',)), ('show', 'EXPERIMENT', ('id1',))]
    """
    plan = keys.within(context)
    name = program.name
    traced: set[str] = set()
    # neighbours often share one mapping of roots, whose keys are then looked up once
    last_roots: Any = None
    last_upstream: tuple[str, ...] = ()
    for group in groups:
        upstream: list[tuple[str, ...]] = []
        for experiment in group:
            if program.calls_reached and experiment.roots is not last_roots:
                needed = [experiment.root_key(root).key for root in program.calls_needed]
                last_roots, last_upstream = experiment.roots, tuple(dict.fromkeys(needed))
                for root in program.calls_reached:
                    key = experiment.root_key(root)
                    if key.key not in traced:
                        traced.add(key.key)
                        yield _root_node(program, keys, root, key, experiment)
            upstream.append(last_upstream)
        if program.is_lockstep:
            together = tuple(dict.fromkeys(itertools.chain.from_iterable(upstream)))
            yield TaskNode(
                f"{name}-{keys.group(group, plan)}", name, TaskKind.GROUP, together, group
            )
        else:
            for experiment, own in zip(group, upstream, strict=True):
                key_text = f"{name}-{keys.experiment(experiment, plan)}"
                yield TaskNode(key_text, name, TaskKind.EXPERIMENT, own, (experiment,))


def _root_node(
    program: Program, keys: PlanKeys, name: str, key: RootKey, experiment: PlannedExperiment
) -> TaskNode:
    root = program.roots[name]
    is_input = root.unit.kind is Kind.INPUT
    upstream = [experiment.root_key(used).key for used in keys.standing(name).upstream]
    values = root.values_read(experiment.values)
    kind = TaskKind.INPUT if is_input else TaskKind.ROOT
    return TaskNode(
        key.key,
        name,
        kind,
        tuple(upstream),
        (experiment._replace(values=values, roots=None, texts=()),),
    )
