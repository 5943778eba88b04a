"""Which root units run once for all, and which go along with their group.

A root is *steady* when its inputs cannot change between iterations: it is no generator or instance,
does not read the iteration, draws random numbers in one iteration at most, and uses steady roots
only, which run before it and from iteration 0 on. A steady root is called once for each distinct
set of the config values that it and its upstream roots read, and of the groups if any of them draws
random numbers. All other roots run in lock-step with the experiments of their group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

from daskresearch.errors import PlanError
from daskresearch.plan.plan import Plan, plan_of
from daskresearch.plan.unit import WHOLE_CONFIG, Kind, Unit


@final
@dataclass(frozen=True, slots=True)
class Root:
    """A root unit and what its outputs depend on.

    Attributes
    ----------
    unit : Unit
    reads : tuple of str
        The parameters that it and its upstream roots read, sorted; `WHOLE_CONFIG` for all.
    is_steady : bool
    is_of_group : bool
        Whether it or one of its upstream roots draws from the stream of the group.
    """

    unit: Unit
    reads: tuple[str, ...]
    is_steady: bool
    is_of_group: bool

    def values_read(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a config that the root and its upstream roots read."""
        if WHOLE_CONFIG in self.reads:
            return values
        return {name: value for name, value in values.items() if name in self.reads}


def roots_of(plan: Plan, n_iters: int | None = None) -> dict[str, Root]:
    """Return the root units of a plan by name, in order.

    Parameters
    ----------
    plan : Plan
    n_iters : int, optional
        Iterations of each experiment, if that is known.

    Examples
    --------
    >>> from daskresearch import E, EC, Research
    >>> research = Research().add_callable("load", len, args=["abc"], root=True)
    >>> research = research.add_callable("draw", print, args=[E().random, EC("a")], root=True)
    >>> [(name, root.reads, root.is_steady) for name, root in roots_of(research.plan).items()]
    [('load', (), True), ('draw', ('a',), False)]
    >>> roots_of(research.plan, n_iters=1)["draw"].is_steady
    True
    """
    roots: dict[str, Root] = {}
    units = [unit for unit in plan.units if unit.is_root]
    reads = {unit.name: unit.config_names for unit in units}
    draws = {unit.name: unit.reads_experiment("random") for unit in units}
    for _ in units:  # a root may use a root that stands later, so follow until nothing changes
        for unit in units:
            for name in unit.upstream:
                reads[unit.name] |= reads[name]
                draws[unit.name] = draws[unit.name] or draws[name]
    for unit in units:
        is_call = unit.kind in (Kind.CALLABLE, Kind.INPUT) and unit.method_of is None
        is_steady = is_call and not unit.reads_experiment("iteration")
        if unit.reads_experiment("random"):
            is_steady = is_steady and (n_iters == 1 or unit.schedule.is_single)
        for name in unit.upstream:
            before = roots.get(name)
            is_steady = is_steady and before is not None and before.is_steady
            is_steady = (
                is_steady
                and before is not None
                and before.unit.schedule.runs_at(0, is_last=n_iters == 1)
            )
        roots[unit.name] = Root(unit, tuple(sorted(reads[unit.name])), is_steady, draws[unit.name])
    return roots


def with_all_roots(plan: Plan) -> Plan:
    """Return the plan with every callable a root whose arguments allow it."""
    units = []
    root_names: set[str] = set()
    for unit in plan.units:
        promoted = replace(unit, is_root=True)
        can = unit.kind is Kind.CALLABLE and unit.upstream <= root_names
        if can and not unit.is_root:
            try:
                plan_of([promoted])
            except PlanError:
                can = False
        units.append(promoted if can else unit)
        if units[-1].is_root:
            root_names.add(unit.name)
    return Plan(tuple(units))
