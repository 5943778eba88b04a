"""The texts by which the units of a plan are shown, and their table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from daskresearch.markup import counted, cut, page, table, text_of
from daskresearch.plan.expressions import Expression
from daskresearch.plan.schedule import Schedule
from daskresearch.plan.unit import Kind, Unit

_MOST_ARGUMENTS = 12


def when_text(schedule: Schedule) -> str:
    """Return when a unit runs, in words; an empty text for every iteration.

    Examples
    --------
    >>> when_text(Schedule.parse([2, 4, "#0", "last"])), when_text(Schedule.parse(1))
    ('every 2nd, every 4th, #0, last', '')
    """
    if schedule.is_always:
        return ""
    steps = [f"every {_ordinal(step)}" for step in schedule.steps]
    iterations = [f"#{iteration}" for iteration in sorted(schedule.iterations)]
    return cut(", ".join([*steps, *iterations, *(["last"] if schedule.last else [])]))


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def kind_text(unit: Unit) -> str:
    """Return what a unit is: function, generator, instance, method, save or dump."""
    if unit.method_of is not None:
        return "method"
    return "function" if unit.kind is Kind.CALLABLE else unit.kind.value


def arguments_text(unit: Unit, limit: int = 200) -> str:
    """Return the arguments of a unit as they would be written in a call, cut.

    Examples
    --------
    >>> from daskresearch import EC, Research
    >>> arguments_text(Research().pow(EC("x"), 2, kwargs=EC()).plan.units[0])
    "EC('x'), 2, **EC()"
    """
    args = (
        [f"*{unit.args!r}"]
        if isinstance(unit.args, Expression)
        else [text_of(arg) for arg in unit.args]
    )
    parts = args + [f"{name}={text_of(value)}" for name, value in unit.kwargs.items()]
    if unit.spread is not None:
        parts.append(f"**{text_of(unit.spread)}")
    if len(parts) > _MOST_ARGUMENTS:
        parts = [*parts[:_MOST_ARGUMENTS], "…"]
    return cut(", ".join(parts), limit)


def saves_text(unit: Unit) -> str:
    """Return the variables that a unit records."""
    return "the keys of its output" if unit.saves_dict else cut(", ".join(unit.variables), 200)


def units_table(units: Sequence[Unit]) -> str:
    """Return the HTML table of units."""
    rows = [
        (
            cut(unit.name),
            kind_text(unit),
            arguments_text(unit),
            when_text(unit.schedule) or "every iteration",
            saves_text(unit),
            "shared" if unit.is_root else "",
        )
        for unit in units
    ]
    return table(["unit", "kind", "arguments", "when", "saved to", "root"], rows)


def plan_html(units: Sequence[Unit]) -> str:
    """Return the repr of a plan in a notebook."""
    n_roots = sum(unit.is_root for unit in units)
    facts = [
        counted(len(units), "unit"),
        *([f"{n_roots} shared by experiments"] if n_roots else []),
    ]
    return page("Plan", "", facts, units_table(units))
