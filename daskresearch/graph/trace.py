"""From experiments to the nodes of a graph: what runs once for whom, as plain data that knows no Dask.

A steady root is a node of its own for each of its keys. The other units of an experiment, through all iterations, are
one node; experiments that are bound together by stateful roots are one node in lock-step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from daskresearch.keys.experiment import Experiment, RootKey
from daskresearch.keys.plan_keys import PlanKeys
from daskresearch.keys.standing import digest_of
from daskresearch.plan import Kind
from daskresearch.worker import Group, Program


class NodeKind(Enum):
    """What a node does."""

    INPUT = "a value that units were given: a Dask collection"
    ROOT = "one call of a root unit"
    EXPERIMENT = "all iterations of one experiment"
    GROUP = "all iterations of experiments in lock-step"


class Node(NamedTuple):
    """One node of the graph.

    Attributes
    ----------
    key : str
        ``name-<hash>``.
    name : str
        Of the unit, or of the units that run in it, joined by ``+``.
    kind : NodeKind
    upstream : tuple of str
        The keys of the nodes whose outputs it takes.
    experiments : tuple of Experiment
        Those that run in it; for a root the first one that shares it, with the config values that it reads.
    """

    key: str
    name: str
    kind: NodeKind
    upstream: tuple[str, ...] = ()
    experiments: tuple[Experiment, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the experiments that run in it; none for roots."""
        if self.kind in (NodeKind.INPUT, NodeKind.ROOT):
            return ()
        return tuple([experiment.id for experiment in self.experiments])


def trace(
    program: Program, keys: PlanKeys, groups: Iterable[Group], context: bytes = b""
) -> Iterator[Node]:
    """Yield the nodes that experiments need, each once, behind the nodes whose outputs it takes.

    Parameters
    ----------
    program : Program
    keys : PlanKeys
    groups : iterable of Group
        The experiments, with their root keys.
    context : bytes
        What stands for the options that change results.

    Examples
    --------
    >>> from daskresearch import Research
    >>> plan = Research().add_callable("load", len, args=["abc"], root=True).add_callable("show", print).plan
    >>> program = Program.of(plan, n_iters=1)
    >>> keys = PlanKeys(plan, program.roots)
    >>> one, other = Experiment(0, "one", b"1", b"", {}), Experiment(1, "other", b"2", b"", {})
    >>> groups = [(one._replace(roots=keys.roots(one)),), (other._replace(roots=keys.roots(other)),)]
    >>> [(node.name, node.kind.name, node.ids) for node in trace(program, keys, groups)]
    [('load', 'ROOT', ()), ('show', 'EXPERIMENT', ('one',)), ('show', 'EXPERIMENT', ('other',))]
    """
    plan = digest_of(keys.digest, context)
    name = program.name
    traced: set[str] = set()
    known: tuple[Any, tuple[str, ...]] = (None, ())
    for group in groups:
        upstream: list[tuple[str, ...]] = []
        for experiment in group:
            if program.calls_reached and experiment.roots is not known[0]:
                needed = [experiment.root_key(root).key for root in program.calls_needed]
                known = experiment.roots, tuple(dict.fromkeys(needed))
                for root in program.calls_reached:
                    key = experiment.root_key(root)
                    if key.key not in traced:
                        traced.add(key.key)
                        yield _root_node(program, keys, root, key, experiment)
            upstream.append(known[1])
        if program.is_lockstep:
            digest = digest_of(plan, *[keys.experiment(one, plan).encode() for one in group])
            together = tuple(dict.fromkeys(itertools.chain.from_iterable(upstream)))
            yield Node(f"{name}-{digest.hex()}", name, NodeKind.GROUP, together, group)
        else:
            for experiment, own in zip(group, upstream, strict=True):
                key_text = f"{name}-{keys.experiment(experiment, plan)}"
                yield Node(key_text, name, NodeKind.EXPERIMENT, own, (experiment,))


def _root_node(
    program: Program, keys: PlanKeys, name: str, key: RootKey, experiment: Experiment
) -> Node:
    root = program.roots[name]
    is_input = root.unit.kind is Kind.INPUT
    upstream = [experiment.root_key(one).key for one in keys.standing(name).upstream]
    values = root.values_read(experiment.values)
    kind = NodeKind.INPUT if is_input else NodeKind.ROOT
    return Node(
        key.key, name, kind, tuple(upstream), (experiment._replace(values=values, roots=None),)
    )
