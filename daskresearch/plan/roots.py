"""Which root units run once for all, and which go along with their group.

A root is *steady* when its inputs cannot change between iterations: it is no generator or instance, draws no random
numbers, does not read the iteration, and uses steady roots only, which run before it in every iteration. A
steady root is called once for each distinct set of the config values that it and its upstream roots read. All
other roots run in lock-step with the experiments of their group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from daskresearch.plan.plan import Plan
from daskresearch.plan.unit import Kind, Unit


@final
@dataclass(frozen=True, slots=True)
class Root:
    """A root unit and what its outputs depend on.

    Attributes
    ----------
    unit : Unit
    reads : tuple of str, optional
        The parameters that it and its upstream roots read, sorted; None for the whole config.
    is_steady : bool
    """

    unit: Unit
    reads: tuple[str, ...] | None
    is_steady: bool


def roots_of(plan: Plan) -> dict[str, Root]:
    """Return the root units of a plan by name, in order.

    Examples
    --------
    >>> from daskresearch import E, EC, Research
    >>> research = Research().add_callable("load", len, args=["abc"], root=True)
    >>> research = research.add_callable("draw", print, args=[E().random, EC("a")], root=True)
    >>> [(name, root.reads, root.is_steady) for name, root in roots_of(research.plan).items()]
    [('load', (), True), ('draw', ('a',), False)]
    """
    roots: dict[str, Root] = {}
    units = [unit for unit in plan.units if unit.is_root]
    reads = {unit.name: unit.config_names for unit in units}
    for _ in units:  # a root may use a root that stands later, so follow until nothing changes
        for unit in units:
            for name in unit.upstream:
                old, new = reads[unit.name], reads[name]
                reads[unit.name] = None if old is None or new is None else old | new
    for unit in units:
        steady = unit.kind is Kind.CALLABLE and unit.method_of is None
        steady = steady and not unit.reads_experiment("random") and not unit.reads_experiment("iteration")
        for name in unit.upstream:
            before = roots.get(name)
            steady = steady and before is not None and before.is_steady and before.unit.schedule.is_always
        names = reads[unit.name]
        roots[unit.name] = Root(unit, None if names is None else tuple(sorted(names)), steady)
    return roots
