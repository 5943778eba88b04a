"""The ordered units of an experiment, checked when added and when all are there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

from daskresearch.domain.config import AUXILIARY
from daskresearch.errors import PlanError, near_miss
from daskresearch.plan.display import plan_html
from daskresearch.plan.expressions import expressions_in
from daskresearch.plan.named import EC, EP, E, O, R, S
from daskresearch.plan.unit import Kind, Unit, whole_experiments

_ROOT_READS = ("random", "iteration", "config")


@final
@dataclass(frozen=True)
class Plan:
    """The ordered units of an experiment."""

    units: tuple[Unit, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Unit]:
        """The units by their names."""
        return {unit.name: unit for unit in self.units}

    def added(self, unit: Unit) -> Plan:
        """Return the plan with one more unit, renamed if its name is taken.

        Raises
        ------
        PlanError
            If it is a method of an instance that the plan has not, or a root that uses what a root
            may not.
        """
        if unit.method_of is not None:
            owner = self.by_name.get(unit.method_of)
            instances = [other.name for other in self.units if other.kind is Kind.INSTANCE]
            if owner is None or owner.kind is not Kind.INSTANCE:
                raise PlanError(
                    f"unit {unit.name!r} has no function, and there is no instance "
                    f"{unit.method_of!r} before it "
                    f"whose method it could be{near_miss(unit.method_of, instances)}"
                )
        if unit.is_root:
            _check_root_arguments(unit)
        return Plan((*self.units, replace(unit, name=self._free_name(unit.name))))

    def _free_name(self, name: str) -> str:
        if name not in self.by_name:
            return name
        return next(
            free
            for i in range(1, len(self.units) + 2)
            if (free := f"{name}_{i}") not in self.by_name
        )

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that are known before a run, in order."""
        return tuple(dict.fromkeys(variable for unit in self.units for variable in unit.variables))

    @property
    def has_generator(self) -> bool:
        """Whether a unit decides how many iterations there are."""
        return any(unit.kind is Kind.GENERATOR for unit in self.units)

    def n_iters(self, n_iters: int | None) -> int | None:
        """Return the number of iterations: the given one, else 1 for callables, else None.

        Raises
        ------
        PlanError
            If no generator's schedule recurs, so that nothing would ever end the experiment.
        """
        if n_iters is not None or not self.has_generator:
            return 1 if n_iters is None else n_iters
        generators = [unit for unit in self.units if unit.kind is Kind.GENERATOR]
        if not any(unit.schedule.is_recurrent for unit in generators):
            raise PlanError(
                f"generator {generators[0].name!r} does not run every n-th iteration, so nothing "
                "ends the "
                f"experiment; give n_iters, or an integer `when`"
            )
        return None

    def _repr_html_(self) -> str:
        return plan_html(self.units)


def check_complete(
    plan: Plan, parameters: Collection[str], *, are_all_parameters: bool = True
) -> None:
    """Refuse a complete plan that cannot run.

    Parameters
    ----------
    plan : Plan
    parameters : collection of str
        The parameters of the domain.
    are_all_parameters : bool
        Whether the domain stays as it is, so that a config can have no others.

    Raises
    ------
    PlanError
        If a unit uses an unknown unit or parameter, a root uses a branch, or a variable has a
        parameter's name.
    """
    for unit in plan.units:
        for part in expressions_in(unit.arguments):
            if (
                isinstance(part, (O, E))
                and part._name is not None
                and part._name not in plan.by_name
            ):
                raise PlanError(
                    f"unit {unit.name!r} uses {part!r}, but the plan has no unit of that name"
                    f"{near_miss(part._name, plan.by_name)}"
                )
            if isinstance(part, EC) and part._name is not None and are_all_parameters:
                _check_parameter(unit, part._name, parameters)
        if unit.is_root:
            _check_root_upstream(unit, plan)
        clash = set(unit.variables) & set(parameters)
        if clash:
            raise PlanError(
                f"unit {unit.name!r} saves to {min(clash)!r}, which is a parameter of the domain; "
                "both would be "
                f"one column, so rename one"
            )


def _check_parameter(unit: Unit, name: str, parameters: Collection[str]) -> None:
    names = [*parameters, *AUXILIARY, "device"]
    if name not in names:
        raise PlanError(
            f"unit {unit.name!r} reads EC({name!r}), but the domain has no such parameter, only "
            f"{sorted(parameters)}{near_miss(name, names)}"
        )


def _check_root_arguments(unit: Unit) -> None:
    own = [part for part in expressions_in(unit.arguments) if isinstance(part, (EP, S, R))]
    for part in (*whole_experiments(unit, *_ROOT_READS), *own):
        raise PlanError(
            f"root unit {unit.name!r} uses {part!r}, which belongs to one experiment; a root may "
            "use the "
            f"config, other roots, E().random, E().iteration and E().config"
        )


def _check_root_upstream(unit: Unit, plan: Plan) -> None:
    for name in sorted(unit.upstream):
        if not plan.by_name[name].is_root:
            raise PlanError(
                f"root unit {unit.name!r} uses {name!r}, which is no root, so it would differ "
                "between the "
                f"experiments that share it; make {name!r} a root too"
            )


def plan_of(units: Collection[Any]) -> Plan:
    """Return the plan of units added one after the other."""
    plan = Plan()
    for unit in units:
        plan = plan.added(unit)
    return plan
