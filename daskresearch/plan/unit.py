"""One step of a plan, as it was described."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, final

from daskresearch.domain.config import AUXILIARY
from daskresearch.errors import PlanError
from daskresearch.plan.expressions import Attribute, Expression, expressions_in
from daskresearch.plan.named import EC, E, O
from daskresearch.plan.schedule import Schedule

RESERVED_PARAMETERS = ("id", "iteration", *AUXILIARY)
RESERVED_VARIABLES = (*RESERVED_PARAMETERS, "_types")
WHOLE_CONFIG = "*"


class Kind(Enum):
    """What a unit does when its turn comes."""

    CALLABLE = "callable"
    GENERATOR = "generator"
    INSTANCE = "instance"
    SAVE = "save"
    DUMP = "dump"
    INPUT = "input"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One step of a plan.

    Attributes
    ----------
    name : str
        Unique within the plan.
    kind : Kind
    function : callable, optional
        The user's function, generator function or class. None for a method and for `save`.
    method_of : str, optional
        The instance whose method this is; `method` is its name.
    args : sequence or Expression
    kwargs : Mapping
    spread : Mapping or Expression, optional
        More keyword arguments, what ``kwargs=`` was.
    saves : tuple of str, or str, optional
        The variables of a sequence output, or the one variable of the output.
    saves_dict : bool
        Whether the output is a dict of variables.
    copies : bool
        Whether what is saved, or handed to a branch, is copied first.
    """

    name: str
    kind: Kind
    function: Callable[..., Any] | None = None
    method_of: str | None = None
    method: str = ""
    args: Sequence[Any] | Expression = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    spread: Any = None
    schedule: Schedule = Schedule(steps=(1,))
    saves: str | tuple[str, ...] | None = None
    saves_dict: bool = False
    is_root: bool = False
    copies: bool = False
    dump: Any = None
    version: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def arguments(self) -> list[Any]:
        """All that may hold expressions."""
        return [
            self.args if isinstance(self.args, Expression) else list(self.args),
            dict(self.kwargs),
            self.spread,
        ]

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables it is known to record, before it runs."""
        return (self.saves,) if isinstance(self.saves, str) else self.saves or ()

    @property
    def upstream(self) -> frozenset[str]:
        """The units and instances whose output it uses."""
        names = {
            part._name
            for part in expressions_in(self.arguments)
            if isinstance(part, (O, E)) and part._name
        }
        return frozenset(names | ({self.method_of} if self.method_of else set()))

    @property
    def config_names(self) -> frozenset[str]:
        """The parameters it reads, `WHOLE_CONFIG` for all but repetition and updates."""
        names: set[str] = set()
        for part in expressions_in(self.arguments):
            if reads_of_experiment(part) == "config" or (isinstance(part, EC) and part._full):
                names |= {WHOLE_CONFIG, *AUXILIARY}
            elif isinstance(part, EC):
                names.add(WHOLE_CONFIG if part._name is None else part._name)
        return frozenset(names)

    def reads_experiment(self, what: str) -> bool:
        """Return whether an argument is ``E()``'s attribute of this name."""
        return any(reads_of_experiment(part) == what for part in expressions_in(self.arguments))


def reads_of_experiment(part: Expression) -> str | None:
    """Return the name of the attribute of ``E()`` that an expression is, else None."""
    if isinstance(part, Attribute) and isinstance(part._owner, E) and part._owner._name is None:
        return part._name
    return None


def whole_experiments(unit: Unit, *attributes: str) -> Iterator[E]:
    """Yield each ``E()`` of a unit's arguments that is asked for other attributes."""
    inside: set[int] = set()
    for part in expressions_in(unit.arguments):
        if reads_of_experiment(part) in attributes:
            inside.add(id(part._children()[0]))
        if isinstance(part, E) and part._name is None and id(part) not in inside:
            yield part


def variables_of(unit: str, save_to: Any, save_output_dict: bool) -> str | tuple[str, ...] | None:
    """Return the checked variables that `save_to` names.

    Raises
    ------
    PlanError
        If it is no name or list of names, holds a reserved one, or stands beside
        `save_output_dict`.
    """
    if save_to is None:
        return None
    if save_output_dict:
        raise PlanError(
            f"unit {unit!r} has save_to={save_to!r} and save_output_dict=True; a dict output is "
            "stored by its "
            f"own keys, so drop one of the two"
        )
    names = (save_to,) if isinstance(save_to, str) else save_to
    if (
        not isinstance(names, (list, tuple))
        or not names
        or not all(isinstance(name, str) and name for name in names)
    ):
        raise PlanError(
            f"save_to of unit {unit!r} must be a name or a list of names, not {save_to!r}"
        )
    if len(set(names)) < len(names):
        raise PlanError(f"save_to of unit {unit!r} names a variable twice: {save_to!r}")
    for name in names:
        if name in RESERVED_VARIABLES:
            raise PlanError(
                f"unit {unit!r} saves to {name!r}, which is a column of every table; use another "
                "name"
            )
    return save_to if isinstance(save_to, str) else tuple(names)


def name_of(function: Callable[..., Any]) -> str:
    """Return the name that a function gives to its unit.

    Examples
    --------
    >>> name_of(len), name_of(lambda x: x)
    ('len', 'lambda')
    """
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    return str(name).strip("<>")
