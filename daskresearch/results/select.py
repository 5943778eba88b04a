"""Filters: which experiments and rows a question is about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from daskresearch.domain import Config, Domain
from daskresearch.errors import OptionError, near_miss
from daskresearch.store import Described

_AUXILIARY = ("repetition", "updates")

Test = Callable[[str, Described], bool]


def experiment_test(
    parameters: Collection[str],
    experiment_id: str | Iterable[str] | None,
    config: Mapping[str, Any] | Config | None,
    alias: Mapping[str, str] | None,
    domain: Domain | None,
    params: Mapping[str, Any],
) -> Test | None:
    """Return the test of an id and a config that all given filters make, or None if none is given.

    Raises
    ------
    OptionError
        If a filter names a parameter that there is not, or the domain is endless.
    """
    tests: list[Test] = []
    if experiment_id is not None:
        ids = {experiment_id} if isinstance(experiment_id, str) else set(experiment_id)
        tests.append(lambda one, _: one in ids)
    wanted = {**(config.config() if isinstance(config, Config) else config or {}), **params}
    for name in (*wanted, *(alias or {})):
        _check_parameter(name, parameters)
    if wanted:
        tests.append(lambda _, known: _has(known.values() | known.auxiliary(), wanted))
    if alias:
        texts = dict(alias)
        tests.append(lambda _, known: _has(_texts(known), texts))
    if domain is not None:
        tests.append(_domain_test(domain, parameters))
    if not tests:
        return None
    return lambda one, known: all([test(one, known) for test in tests])


def _domain_test(domain: Domain, parameters: Collection[str]) -> Test:
    if domain.size is None:
        raise OptionError(f"cannot select by the endless domain {domain!r}; give its values as lists")
    for name in domain.names:
        if name not in parameters:
            raise OptionError(
                f"no parameter is named {name!r}, only {list(parameters)}{near_miss(name, parameters)}; "
                f"repetition and updates are filters of their own"
            )
    items = [config.texts() for config in domain]
    return lambda _, known: any([_has(known.texts(), texts) for texts in items])


def _check_parameter(name: str, parameters: Collection[str]) -> None:
    known = [*parameters, *_AUXILIARY]
    if name not in known:
        raise OptionError(f"no parameter is named {name!r}, only {known}{near_miss(name, known)}")


def _texts(config: Described) -> dict[str, str]:
    return config.texts() | {name: str(value) for name, value in config.auxiliary().items()}


def _has(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all([name in known and _matches(known[name], value) for name, value in wanted.items()])


def _matches(value: Any, wanted: Any) -> bool:
    """Return whether a value is the wanted one, or one of a list of wanted ones."""
    if _equal(value, wanted):
        return True
    members = wanted.tolist() if hasattr(wanted, "tolist") and getattr(wanted, "ndim", 0) == 1 else wanted
    return isinstance(members, (list, tuple, set, frozenset, range)) and any([_equal(value, one) for one in members])


def _equal(value: Any, wanted: Any) -> bool:
    if value is wanted:
        return True
    equal = value == wanted
    try:
        return bool(equal)
    except ValueError:  # arrays are equal when all of their elements are
        return getattr(value, "shape", None) == getattr(wanted, "shape", ()) and bool(equal.all())


def as_names(name: str | Iterable[str] | None, known: Collection[str]) -> list[str]:
    """Return the variables that are asked for, all if `name` is None.

    Raises
    ------
    OptionError
        If there is no variable of a name.
    """
    if name is None:
        return list(known)
    names = [name] if isinstance(name, str) else list(name)
    for one in names:
        if one not in known:
            raise OptionError(f"no variable is named {one!r}, only {list(known)}{near_miss(one, known)}")
    return names
