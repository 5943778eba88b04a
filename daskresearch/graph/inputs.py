"""Dask collections among the arguments of units.

A collection is computed once and shared like the output of a root.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

from daskresearch.plan import E, Kind, O, Plan, Unit, replaced


@final
class Given:
    """Computes a Dask collection when it is called.

    A copy that was unpickled holds no collection, as its value comes from a node of the graph.
    """

    __slots__ = ("collection",)

    def __init__(self, collection: Any = None) -> None:
        self.collection = collection

    def __call__(self) -> Any:
        """Return the value of the collection."""
        return self.collection.compute()

    def __repr__(self) -> str:
        return (
            f"Given({self.collection.__dask_keys__()!r})"
            if self.collection is not None
            else "Given()"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Given, ()


def with_inputs(plan: Plan) -> Plan:
    """Return the plan with a root unit for each Dask collection among its arguments.

    Examples
    --------
    >>> import dask
    >>> from daskresearch import Research
    >>> numbers = dask.delayed([1, 2], name="numbers")
    >>> research = Research().add_callable("total", sum, args=[numbers], save_to="total")
    >>> [unit.name for unit in with_inputs(research.plan).units]
    ['numbers-...', 'total']
    """
    if "dask" not in sys.modules:
        return plan
    inputs: dict[str, Unit] = {}

    def as_input(value: Any) -> Any:
        if not _is_collection(value):
            return value
        name = _name_of(value)
        inputs.setdefault(name, Unit(name, Kind.INPUT, Given(value), is_root=True))
        return O(name)

    units = [with_arguments(unit, as_input) for unit in plan.units]
    return Plan((*inputs.values(), *units)) if inputs else plan


def with_arguments(unit: Unit, change: Callable[[Any], Any]) -> Unit:
    """Return a unit with `change` applied to its arguments, as `plan.replaced` does."""
    return replace(
        unit,
        args=replaced(unit.args, change),
        kwargs=replaced(dict(unit.kwargs), change),
        spread=replaced(unit.spread, change),
    )


def alone(unit: Unit, upstream: Sequence[str]) -> Unit:
    """Return a steady root apart from its plan: its inputs are ``0``, ``1`` and so on.

    Parameters
    ----------
    unit : Unit
    upstream : sequence of str
        The units whose outputs it takes.

    Examples
    --------
    >>> from daskresearch import O, Research
    >>> research = Research().add_callable("load", len, args=["a"])
    >>> plan = research.add_callable("use", print, args=[O("load")]).plan
    >>> alone(plan.units[1], ["load"]).args
    (O('0'),)
    """
    numbers = {name: str(i) for i, name in enumerate(upstream)}

    def numbered(value: Any) -> Any:
        if isinstance(value, (O, E)) and value._name in numbers:
            return type(value)(numbers[value._name])
        return value

    return with_arguments(unit, numbered)


def _is_collection(value: Any) -> bool:
    if isinstance(value, type) or not hasattr(type(value), "__dask_graph__"):
        return False
    from dask.base import is_dask_collection

    return bool(is_dask_collection(value))


def _name_of(collection: Any) -> str:
    """Return the name of a collection's unit, with a short hash of the collection's keys."""
    from dask.utils import key_split

    keys = collection.__dask_keys__()
    name = (
        key_split(keys[0])
        if len(keys) == 1 and isinstance(keys[0], str)
        else type(collection).__name__.lower()
    )
    return f"{name}-{hashlib.blake2b(repr(keys).encode(), digest_size=4).hexdigest()}"
