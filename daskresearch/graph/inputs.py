"""Dask collections among the arguments of units: computed once, and shared like the output of a root."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from typing import Any, final

from daskresearch.plan import Kind, O, Plan, Unit, replaced


@final
class Given:
    """Computes a Dask collection when it is called; without the collection once it has travelled."""

    __slots__ = ("collection",)

    def __init__(self, collection: Any = None) -> None:
        self.collection = collection

    def __call__(self) -> Any:
        """Return the value of the collection."""
        return self.collection.compute()

    @property
    def n_nodes(self) -> int:
        """How many nodes the graph of the collection, and what puts its parts together, have."""
        from dask.delayed import delayed

        return len(delayed(self.collection).__dask_graph__())

    def __reduce__(self) -> tuple[Any, ...]:
        return Given, ()


def with_inputs(plan: Plan) -> Plan:
    """Return the plan with each Dask collection or Delayed among its arguments as a root unit of its own.

    Examples
    --------
    >>> import dask
    >>> from daskresearch import Research
    >>> research = Research().add_callable("total", sum, args=[dask.delayed([1, 2], name="numbers")], save_to="total")
    >>> [unit.name for unit in with_inputs(research.plan).units]
    ['numbers', 'total']
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

    units = [
        replace(
            unit,
            args=replaced(unit.args, as_input),
            kwargs=replaced(dict(unit.kwargs), as_input),
            spread=replaced(unit.spread, as_input),
        )
        for unit in plan.units
    ]
    return Plan((*inputs.values(), *units)) if inputs else plan


def _is_collection(value: Any) -> bool:
    if isinstance(value, type) or not hasattr(type(value), "__dask_graph__"):
        return False
    from dask.base import is_dask_collection

    return bool(is_dask_collection(value))


def _name_of(collection: Any) -> str:
    key = getattr(collection, "key", None)
    if isinstance(key, str):
        return key
    keys = repr(collection.__dask_keys__()).encode()
    return f"{type(collection).__name__.lower()}-{hashlib.blake2b(keys, digest_size=16).hexdigest()}"
