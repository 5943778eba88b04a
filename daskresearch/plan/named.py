"""The named expressions: experiment, config, outputs, and where results go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from daskresearch.errors import PlanError
from daskresearch.plan.expressions import CONTAINERS, Evaluator, Expression, rebuilt


@final
class E(Expression):
    """The running experiment, or one of its units or instances.

    ``E()`` has ``id``, ``config`` (with repetition and updates), ``iteration``, ``last``,
    ``outputs`` and ``random``, the numpy Generator of the unit that asks. ``E('calc')`` is the
    instance of that name, or a view of the unit with its ``name`` and ``output``.

    Parameters
    ----------
    name : str, optional
        A unit or an instance. Default: the experiment.

    Examples
    --------
    >>> from daskresearch import E, Research
    >>> def sample(random):
    ...     return random.normal()
    >>> research = Research().sample(E().random, save_to="x")
    >>> research = research.run(seed=1, bar=False, dump_results=False)
    >>> list(research.results.df.columns)
    ['id', 'iteration', 'x']
    """

    __slots__ = ("_name",)

    def __init__(self, name: str | None = None) -> None:
        self._name = _checked_name("E", name)

    @property
    def _asks_for(self) -> str | None:
        name: str | None = self._name
        return name

    def _evaluator(self, unit: str) -> Evaluator:
        name = self._name
        if name is None:
            return lambda scope: scope.view(unit)
        return lambda scope: scope.view(unit)[name]

    def _attribute_evaluator(self, name: str, unit: str) -> Evaluator:
        if self._name is None and name == "random":
            return lambda scope: scope.random(
                unit
            )  # as often as once an iteration, so without the view
        return super()._attribute_evaluator(name, unit)

    def __repr__(self) -> str:
        return "E()" if self._name is None else f"E({self._name!r})"


@final
class EC(Expression):
    """The config of the experiment, or one value of it.

    Parameters
    ----------
    name : str, optional
        A parameter, or ``'device'`` for the id of the device that the experiment holds (a list if
        there are several, None if there are none). Default: all parameters, as a new dict.
    full : bool
        Whether the dict has `repetition` and `updates` too, and the `device` if one is held.

    Examples
    --------
    >>> from daskresearch import EC, Option, Research
    >>> research = Research(domain=Option("x", [2, 3])).pow(EC("x"), 2, save_to="square")
    >>> research = research.run(bar=False, dump_results=False)
    >>> list(research.results.df.square)
    [4, 9]
    """

    __slots__ = ("_full", "_name")

    def __init__(self, name: str | None = None, full: bool = False) -> None:
        self._name = _checked_name("EC", name)
        self._full = full

    def _evaluator(self, unit: str) -> Evaluator:
        name = self._name
        if name == "device":  # None where the experiment holds none
            return lambda scope: scope.full.get(name)
        if name is not None:
            return lambda scope: _value_of(scope.full, name)
        # each call has containers of its own, as with literal arguments
        return (
            (lambda scope: rebuilt(scope.full))
            if self._full
            else (lambda scope: rebuilt(scope.values))
        )

    def __repr__(self) -> str:
        name = "" if self._name is None else repr(self._name)
        return f"EC({name}{'full=True' if self._full else ''})"


@final
class O(Expression):  # noqa: E742  (the name that BatchFlow's users know)
    """The last output of a unit; None before it first ran.

    Parameters
    ----------
    name : str
        The unit, which may stand later in the plan: then its output of the iteration before is
        meant.

    Examples
    --------
    >>> from daskresearch import O, Research
    >>> research = Research().pow(2, 3)
    >>> research = research.add_callable("twice", lambda x: 2 * x, args=[O("pow")], save_to="y")
    >>> list(research.run(bar=False, dump_results=False).results.df.y)
    [16]
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        if name is None:
            raise PlanError("O needs the name of a unit, such as O('load')")
        self._name = _checked_name("O", name)

    @property
    def _asks_for(self) -> str | None:
        name: str | None = self._name
        return name

    def _evaluator(self, unit: str) -> Evaluator:
        name = self._name
        return lambda scope: scope.outputs.get(name)

    def __repr__(self) -> str:
        return f"O({self._name!r})"


@final
class EP(Expression):
    """The path of the experiment's own folder, made when first used.

    While results are kept in memory the folder is a temporary one that lives as long as the
    results. An experiment that runs again, after a failure or a kill, finds what it has left there,
    so that a unit may go on from its own checkpoint; one that must not is to write over it.
    """

    __slots__ = ()

    def _evaluator(self, unit: str) -> Evaluator:
        return lambda scope: scope.folder()

    def __repr__(self) -> str:
        return "EP()"


@final
class S(Expression):
    """The experiment's storage.

    ``S().update_variable(name, value)`` records a value in this iteration.

    Examples
    --------
    >>> from daskresearch import Research, S
    >>> def measure(storage):
    ...     storage.update_variable("loss", 0.5)
    >>> list(Research().measure(S()).run(bar=False, dump_results=False).results.df.loss)
    [0.5]
    """

    __slots__ = ()

    def _evaluator(self, unit: str) -> Evaluator:
        return lambda scope: scope.storage()

    def __repr__(self) -> str:
        return "S()"


@final
class R(Expression):
    """The results so far, for `update_domain` and for units that run in this process."""

    __slots__ = ()

    def _evaluator(self, unit: str) -> Evaluator:
        return lambda scope: scope.results()

    def __repr__(self) -> str:
        return "R()"


def _checked_name(word: str, name: Any) -> Any:
    if name is not None and not isinstance(name, str):
        raise PlanError(f"{word}({name!r}) needs a name, which is a str")
    return name


def _value_of(config: Mapping[str, Any], name: str) -> Any:
    try:
        value = config[name]
        return rebuilt(value) if type(value) in CONTAINERS else value
    except KeyError:
        raise KeyError(f"this config has no parameter {name!r}, only {sorted(config)}") from None
