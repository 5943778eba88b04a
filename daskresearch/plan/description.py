"""From the arguments of a word of the vocabulary to a checked unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from daskresearch.errors import PlanError
from daskresearch.plan.expressions import Expression, expressions_in
from daskresearch.plan.schedule import Schedule
from daskresearch.plan.unit import Kind, Unit, name_of, variables_of


def described_unit(
    kind: Kind,
    name_or_function: Any,
    function: Callable[..., Any] | None,
    args: Any,
    kwargs: dict[str, Any],
    *,
    when: Any = 1,
    save_to: Any = None,
    save_output_dict: bool = False,
    is_root: bool = False,
    copies: bool = False,
    dump: Any = None,
    version: str | None = None,
    resources: Mapping[str, float] | None = None,
) -> Unit:
    """Return the checked unit that a word of the vocabulary describes."""
    if not isinstance(name_or_function, str):
        if function is not None:
            raise PlanError(
                f"give a name and a function, not two functions: {name_or_function!r}, {function!r}"
            )
        name, function = _named(name_or_function), name_or_function
    else:
        name = name_or_function
    owner, _, method = name.partition(".")
    if function is not None and not callable(function):
        raise PlanError(f"unit {name!r} needs a function, not {function!r}")
    if function is None and not method:
        raise PlanError(f"unit {name!r} has no function; give it as the second argument")
    if args is not None and not isinstance(args, (list, tuple, Expression)):
        raise PlanError(
            f"args of unit {name!r} must be a list of arguments, not {args!r}; use [{args!r}]"
        )
    spread = kwargs.pop("kwargs", None)
    if spread is not None and not isinstance(spread, (Mapping, Expression)):
        raise PlanError(
            f"kwargs of unit {name!r} must be a dict of arguments or EC(), not {spread!r}"
        )
    if isinstance(spread, Mapping) and spread.keys() & kwargs.keys():
        raise PlanError(
            f"unit {name!r} has arguments {sorted(spread.keys() & kwargs.keys())} twice"
        )
    if resources is not None and not isinstance(resources, Mapping):
        raise PlanError(
            f"resources of unit {name!r} must be a dict such as {{'GPU': 1}}, not {resources!r}"
        )
    if version is not None and not isinstance(version, str):
        raise PlanError(f"version of unit {name!r} must be a str, not {version!r}")
    list(
        expressions_in([args, kwargs, spread])
    )  # refuses an expression's class without its brackets
    return Unit(
        name=name,
        kind=kind,
        function=function,
        method_of=owner if function is None else None,
        method=method if function is None else "",
        args=args if isinstance(args, Expression) else tuple(args or ()),
        kwargs=kwargs,
        spread=dict(spread) if isinstance(spread, Mapping) else spread,
        schedule=Schedule.parse(when),
        saves=variables_of(name, save_to, save_output_dict),
        saves_dict=save_output_dict,
        is_root=is_root,
        copies=copies,
        dump=dump,
        version=version,
        resources=dict(resources or {}),
    )


def _named(function: Any) -> str:
    if not callable(function):
        raise PlanError(f"a unit is a name or a function, not {function!r}")
    return name_of(function)
