"""Expressions: what a unit's arguments stand for until it runs.

Expressions compose. An expression records what is done with it (attributes, items, calls,
operators) and is evaluated against a *scope*, the running experiment as one unit sees it. Names
with a leading underscore are never recorded, so that Python's and IPython's probes find nothing.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, final

from daskresearch.content.symbols import Symbol
from daskresearch.errors import PlanError

if TYPE_CHECKING:
    from numpy.random import Generator


class Scope(Protocol):
    """A running experiment as expressions see it."""

    values: dict[str, Any]
    """The config."""
    full: dict[str, Any]
    """The config with repetition and updates."""
    outputs: dict[str, Any]
    """The last output of each unit, and the instances, by name."""

    def random(self, unit: str) -> Generator:
        """Return the stream of a unit."""

    def view(self, unit: str) -> Any:
        """Return what ``E()`` stands for in a unit."""

    def folder(self) -> str:
        """Return what ``EP()`` stands for."""

    def storage(self) -> Any:
        """Return what ``S()`` stands for."""

    def results(self) -> Any:
        """Return what ``R()`` stands for."""


Evaluator = Callable[[Scope], Any]

CONTAINERS = (list, tuple, dict, set)


class Expression(Symbol, ABC):
    """Something that has a value when a unit runs.

    Expressions compose by attributes, items, calls and operators.

    Examples
    --------
    >>> from daskresearch import EC, O
    >>> EC("x") + 1, O("load")["train"], abs(-O("loss"))
    (EC('x') + 1, O('load')['train'], abs(-O('loss')))
    """

    __slots__ = ()

    @abstractmethod
    def _evaluator(self, unit: str) -> Evaluator:
        """Return the function that gives the value to the unit of this name."""

    def _attribute_evaluator(self, name: str, unit: str) -> Evaluator:
        """Return the function that gives an attribute of the value."""
        owner = self._evaluator(unit)
        return lambda scope: getattr(owner(scope), name)

    def _children(self) -> tuple[Any, ...]:
        """Return the values that this expression is composed of."""
        return ()

    def __getattr__(self, name: str) -> Expression:
        if name.startswith("_"):
            raise AttributeError(
                f"a named expression records no names with a leading underscore, such as {name!r}"
            )
        return Attribute(self, name)

    def __getitem__(self, key: Any) -> Expression:
        return Item(self, key)

    def __call__(self, *args: Any, **kwargs: Any) -> Expression:
        """Record a call of the value."""
        return Called(self, args, kwargs)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} has no value before its unit runs; use it as an argument, not in a condition"
        )

    __iter__ = None  # items would be recorded without end
    __hash__ = object.__hash__
    # arrays and frames on the left of an operator leave it to the expression
    __array_ufunc__ = None
    __pandas_priority__ = 10_000


@final
class Attribute(Expression):
    """An attribute of a value."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: Expression, name: str) -> None:
        self._owner = owner
        self._name = name

    def _children(self) -> tuple[Any, ...]:
        return (self._owner,)

    def _evaluator(self, unit: str) -> Evaluator:
        return self._owner._attribute_evaluator(self._name, unit)

    def __repr__(self) -> str:
        return f"{_grouped(self._owner)}.{self._name}"


@final
class Item(Expression):
    """An item of a value."""

    __slots__ = ("_key", "_owner")

    def __init__(self, owner: Expression, key: Any) -> None:
        self._owner = owner
        self._key = key

    def _children(self) -> tuple[Any, ...]:
        return (self._owner, self._key)

    def _evaluator(self, unit: str) -> Evaluator:
        owner, key = self._owner._evaluator(unit), evaluator(self._key, unit)
        return lambda scope: owner(scope)[key(scope)]

    def __repr__(self) -> str:
        return f"{_grouped(self._owner)}[{self._key!r}]"


@final
class Called(Expression):
    """What a value returns when it is called."""

    __slots__ = ("_args", "_function", "_kwargs")

    def __init__(self, function: Expression, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._function = function
        self._args = args
        self._kwargs = kwargs

    def _children(self) -> tuple[Any, ...]:
        return (self._function, self._args, self._kwargs)

    def _evaluator(self, unit: str) -> Evaluator:
        function = self._function._evaluator(unit)
        args, kwargs = evaluator(self._args, unit), evaluator(self._kwargs, unit)
        return lambda scope: function(scope)(*args(scope), **kwargs(scope))

    def __repr__(self) -> str:
        parts = [repr(arg) for arg in self._args] + [
            f"{name}={value!r}" for name, value in self._kwargs.items()
        ]
        return f"{_grouped(self._function)}({', '.join(parts)})"


@final
class Operation(Expression):
    """An operator applied to values."""

    __slots__ = ("_form", "_function", "_operands")

    def __init__(self, function: Callable[..., Any], form: str, operands: tuple[Any, ...]) -> None:
        self._function = function
        self._form = form
        self._operands = operands

    def _children(self) -> tuple[Any, ...]:
        return self._operands

    def _evaluator(self, unit: str) -> Evaluator:
        function, operands = self._function, evaluator(self._operands, unit)
        return lambda scope: function(*operands(scope))

    def __repr__(self) -> str:
        is_call = self._form.endswith(")")
        return self._form.format(
            *[repr(value) if is_call else _grouped(value) for value in self._operands]
        )


def _grouped(value: Any) -> str:
    is_open = isinstance(value, Operation) and not value._form.endswith(")")
    return f"({value!r})" if is_open else repr(value)


def _record_operators() -> None:
    """Give `Expression` every operator of Python, recorded as an `Operation`."""
    binary = {
        "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%",
        "pow": "**",
        "matmul": "@", "and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>",
    }  # fmt: skip
    comparison = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
    unary = {"neg": "-{}", "pos": "+{}", "invert": "~{}", "abs": "abs({})"}

    def record(
        function: Callable[..., Any], form: str, *, reflected: bool = False
    ) -> Callable[..., Expression]:
        def method(*operands: Any) -> Expression:
            return Operation(function, form, operands[::-1] if reflected else operands)

        return method

    for name, sign in (binary | comparison).items():
        function = getattr(operator, f"__{name}__")
        setattr(Expression, f"__{name}__", record(function, f"{{}} {sign} {{}}"))
        if name in binary:
            setattr(
                Expression, f"__r{name}__", record(function, f"{{}} {sign} {{}}", reflected=True)
            )
    for name, form in unary.items():
        setattr(Expression, f"__{name}__", record(getattr(operator, f"__{name}__"), form))


_record_operators()


def expressions_in(value: Any) -> Iterator[Expression]:
    """Yield every expression in a value, also through containers and compositions."""
    if isinstance(value, Expression):
        yield value
        children: Any = value._children()
    elif type(value) in (list, tuple):
        children = value
    elif type(value) is dict:
        children = [*value.keys(), *value.values()]
    elif type(value) is slice:
        children = (value.start, value.stop, value.step)
    elif isinstance(value, type) and issubclass(value, Expression):
        raise PlanError(f"{value.__name__} is a class; write {value.__name__}() for the expression")
    else:
        return
    for child in children:
        yield from expressions_in(child)


def replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Return a value in which `replace` may have replaced any part.

    Parameters
    ----------
    value : object
        Looked through as `expressions_in` does.
    replace : callable
        Returns its argument where nothing is to be done.

    Examples
    --------
    >>> from daskresearch import O
    >>> replaced([O("load")["x"], {"y": 5}], lambda part: 6 if type(part) is int else part)
    [O('load')['x'], {'y': 6}]
    """
    new = replace(value)
    if new is not value:
        return new
    if isinstance(value, Expression):
        names: tuple[str, ...] = type(value).__slots__
        slots = [getattr(value, name) for name in names]
        parts = [replaced(part, replace) for part in slots]
        return value if _are_same(parts, slots) else _expression_of(type(value), parts)
    if type(value) in (list, tuple):
        parts = [replaced(part, replace) for part in value]
        return value if _are_same(parts, value) else type(value)(parts)
    if type(value) is dict:
        parts = [replaced(part, replace) for pair in value.items() for part in pair]
        is_same = _are_same(parts, [part for pair in value.items() for part in pair])
        return value if is_same else dict(zip(parts[::2], parts[1::2], strict=True))
    if type(value) is slice:
        ends = (value.start, value.stop, value.step)
        parts = [replaced(end, replace) for end in ends]
        return value if _are_same(parts, ends) else slice(*parts)
    return value


def _are_same(parts: Sequence[Any], others: Sequence[Any]) -> bool:
    return all([part is other for part, other in zip(parts, others, strict=True)])


def _expression_of(kind: type[Expression], values: Sequence[Any]) -> Expression:
    expression = object.__new__(kind)
    slots: tuple[str, ...] = kind.__slots__
    for name, value in zip(slots, values, strict=True):
        setattr(expression, name, value)
    return expression


def evaluator(value: Any, unit: str) -> Evaluator:
    """Return the function from a scope to the value with its expressions evaluated.

    Parameters
    ----------
    value : object
        An expression, a list, tuple, dict or slice that holds some at any depth, or any other
        value, which stands for itself.
    unit : str
        The unit whose argument it is.
    """
    if isinstance(value, Expression):
        return value._evaluator(unit)
    if type(value) in (list, tuple, dict, slice) and next(expressions_in(value), None) is not None:
        if type(value) is slice:
            ends = [evaluator(end, unit) for end in (value.start, value.stop, value.step)]
            return lambda scope: slice(*[end(scope) for end in ends])
        if type(value) is dict:
            pairs = [(evaluator(key, unit), evaluator(part, unit)) for key, part in value.items()]
            return lambda scope: {key(scope): part(scope) for key, part in pairs}
        parts = [evaluator(part, unit) for part in value]
        if type(value) is list:
            return lambda scope: [part(scope) for part in parts]
        return lambda scope: tuple([part(scope) for part in parts])
    if holds_containers(value):
        return lambda scope: rebuilt(value)
    return lambda scope: value


def holds_containers(value: Any) -> bool:
    """Return whether a value is a list, dict or set, or a tuple with one inside."""
    return type(value) in (list, dict, set) or (
        type(value) is tuple and any([holds_containers(part) for part in value])
    )


def rebuilt(value: Any) -> Any:
    """Return a value with new lists, dicts and sets.

    No call sees what another did to its arguments.

    Examples
    --------
    >>> value = {"a": [1, 2]}
    >>> rebuilt(value) == value, rebuilt(value)["a"] is value["a"]
    (True, False)
    """
    kind = type(value)
    if kind in (list, tuple, set):
        return kind([rebuilt(part) if type(part) in CONTAINERS else part for part in value])
    if kind is dict:
        return {
            key: rebuilt(part) if type(part) in CONTAINERS else part for key, part in value.items()
        }
    return value
