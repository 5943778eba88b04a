"""Filters: which experiments and rows a question is about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from daskresearch.counts import is_integer
from daskresearch.domain import Config, Domain
from daskresearch.domain.config import AUXILIARY
from daskresearch.errors import OptionError, near_miss
from daskresearch.store import MISSING, Snapshot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Filters(NamedTuple):
    """Which experiments are asked for; see `ResearchResults.to_df`."""

    experiment_id: str | Iterable[str] | None = None
    config: Mapping[str, Any] | Config | None = None
    alias: Mapping[str, str] | None = None
    domain: Domain | Mapping[str, Any] | None = None
    params: Mapping[str, Any] = {}


class Asked(NamedTuple):
    """Which rows and variables a table is to have."""

    filters: Filters
    name: str | Iterable[str] | None
    iterations: list[int] | None
    arrays: str


def as_iterations(iterations: Any) -> list[int] | None:
    """Return the iterations that are asked for, None if all are.

    Raises
    ------
    OptionError
        If one is no integer.
    """
    if iterations is None:
        return None
    is_several = isinstance(iterations, Iterable) and not isinstance(iterations, str)
    wanted = list(iterations) if is_several else [iterations]
    for number in wanted:
        if not is_integer(number):
            raise OptionError(
                f"iterations must be an integer or several, from zero, not {number!r}"
            )
    return wanted


def chosen_experiments(
    snapshot: Snapshot, parameters: Collection[str], filters: Filters
) -> NDArray[np.int64] | None:
    """Return the ascending index of the experiments that pass, None without filters.

    Raises
    ------
    OptionError
        If a filter names a parameter that there is not, or the domain is endless.
    """
    import numpy as np

    masks: list[NDArray[np.bool_]] = []
    if filters.experiment_id is not None:
        ids = _texts_of("experiment_id", filters.experiment_id)
        masks.append(np.array([experiment_id in ids for experiment_id in snapshot.ids], dtype=bool))
    config = filters.config
    wanted = {**(config.config() if isinstance(config, Config) else config or {}), **filters.params}
    for name in (*wanted, *(filters.alias or {})):
        _check_parameter(name, parameters)
    for name, value in wanted.items():
        _check_wanted(name, value)
        masks.append(_mask(snapshot.values(name), partial(_matches, wanted=value)))
    for name, text in (filters.alias or {}).items():
        masks.append(_mask(snapshot.texts(name), partial(_matches, wanted=_as_texts(text))))
    if filters.domain is not None:
        masks.append(_domain_mask(snapshot, Domain(filters.domain), parameters))
    return np.flatnonzero(np.logical_and.reduce(masks)) if masks else None


def _mask(values: list[Any] | NDArray[Any], test: Callable[[Any], bool]) -> NDArray[np.bool_]:
    """Return where a column passes a test; equal cells of an array are tested once."""
    import numpy as np

    if isinstance(values, list):
        return np.array([value is not MISSING and test(value) for value in values], dtype=bool)
    distinct, place = np.unique(values, return_inverse=True)
    mask: NDArray[np.bool_] = np.array([test(value) for value in distinct.tolist()], dtype=bool)[
        place
    ]
    return mask


def _domain_mask(
    snapshot: Snapshot, domain: Domain, parameters: Collection[str]
) -> NDArray[np.bool_]:
    import numpy as np

    if domain.size is None:
        raise OptionError(
            f"cannot select by the endless domain {domain!r}; give its values as lists"
        )
    for name in domain.names:
        if name not in parameters:
            raise OptionError(
                f"no parameter is named {name!r}, only "
                f"{list(parameters)}{near_miss(name, parameters)}; "
                f"repetition and updates are filters of their own"
            )
    # configs with the same parameters are compared at once
    wanted: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for config in domain:
        texts = config.texts()
        wanted.setdefault(tuple(texts), set()).add(tuple(texts.values()))
    mask = np.zeros(len(snapshot.ids), dtype=bool)
    for names, items in wanted.items():
        columns = [snapshot.texts(name) for name in names]
        rows = zip(*columns, strict=True) if names else [()] * len(mask)
        mask |= np.array([row in items for row in rows], dtype=bool)
    return mask


def _as_texts(given: Any) -> str | list[str]:
    return (
        [str(text) for text in given]
        if isinstance(given, (list, tuple, set, frozenset))
        else str(given)
    )


def _texts_of(what: str, given: Any) -> set[str]:
    texts = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    for text in texts:
        if not isinstance(text, str):
            raise OptionError(f"{what} must be a str or several, not {text!r}")
    return set(texts)


def _check_wanted(name: str, value: Any) -> None:
    code = getattr(value, "__name__", "")
    if code == "<lambda>":
        raise OptionError(
            f"filter {name!r} is a value or a list of values, no function; filter the table by it"
        )


def _check_parameter(name: str, parameters: Collection[str]) -> None:
    names = [*parameters, *AUXILIARY]
    if name not in names:
        raise OptionError(f"no parameter is named {name!r}, only {names}{near_miss(name, names)}")


def _matches(value: Any, wanted: Any) -> bool:
    """Return whether a value is the wanted one, or one of a list of wanted ones."""
    if _equal(value, wanted):
        return True
    members = (
        wanted.tolist() if hasattr(wanted, "tolist") and getattr(wanted, "ndim", 0) == 1 else wanted
    )
    return isinstance(members, (list, tuple, set, frozenset, range)) and any(
        [_equal(value, member) for member in members]
    )


def _equal(value: Any, wanted: Any) -> bool:
    if value is wanted:
        return True
    equal = value == wanted
    try:
        return bool(equal)
    except ValueError:  # arrays are equal when all of their elements are
        return getattr(value, "shape", None) == getattr(wanted, "shape", ()) and bool(equal.all())


def as_names(name: str | Iterable[str] | None, variables: Collection[str]) -> list[str]:
    """Return the variables that are asked for, all if `name` is None.

    Raises
    ------
    OptionError
        If there is no variable of a name.
    """
    if name is None:
        return list(variables)
    names = [name] if isinstance(name, str) else list(name)
    for variable in names:
        if variable not in variables:
            raise OptionError(
                f"no variable is named {variable!r}, only {list(variables)}"
                f"{near_miss(variable, variables)}"
            )
    return names
