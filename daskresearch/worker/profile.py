"""What the units of a plan cost: how often they are called and how long they take."""

from __future__ import annotations

import cProfile
import sys
from collections.abc import Callable, Iterable
from threading import Lock
from time import perf_counter
from types import CodeType
from typing import NamedTuple, TypeVar, final

from daskresearch.errors import OptionError

T = TypeVar("T")

UNITS, FUNCTIONS = 1, 2
_DISABLE = "<method 'disable' of '_lsprof.Profiler' objects>"


class ProfileRow(NamedTuple):
    """The cost of a unit, or of a function within it.

    Attributes
    ----------
    unit : str
    function : str
        ``folder/file.py:line(name)`` or the name of a builtin; empty for the unit itself.
    n_calls : int
    total_s : float
        Seconds in the function itself; for a unit the same as `cumulative_s`.
    cumulative_s : float
        Seconds in the function and what it calls.
    """

    unit: str
    function: str
    n_calls: int
    total_s: float
    cumulative_s: float


@final
class Profile:
    """A collector of the costs of units, which threads may share.

    Parameters
    ----------
    mode : int
        1 measures units; 2 also the functions within them, which slows Python functions down
        severalfold. While another profiler is active, a call is measured as by 1. From Python 3.12
        on that may be a profiler of another thread.

    Raises
    ------
    OptionError
        If the mode is none of these.

    Examples
    --------
    >>> profile = Profile(1)
    >>> profile.call("total", lambda: sum([1, 2]))
    3
    >>> [(row.unit, row.function, row.n_calls) for row in profile.rows()]
    [('total', '', 1)]
    """

    __slots__ = ("_costs", "_lock", "mode")

    def __init__(self, mode: int) -> None:
        if not isinstance(mode, int) or mode not in (UNITS, FUNCTIONS):
            raise OptionError(
                f"a profile's mode must be 1 (units) or 2 (functions too), not {mode!r}"
            )
        self.mode = int(mode)
        self._costs: dict[tuple[str, str], tuple[int, float, float]] = {}
        self._lock = Lock()

    def call(self, name: str, function: Callable[[], T]) -> T:
        """Call a function as the unit `name`; a call that raises counts too."""
        start = perf_counter()
        profiler = _enabled() if self.mode == FUNCTIONS else None
        try:
            return function()
        finally:
            if profiler is not None:
                profiler.disable()
            elapsed_s = perf_counter() - start
            rows = [] if profiler is None else _function_rows(name, profiler)
            with self._lock:
                for row in [ProfileRow(name, "", 1, elapsed_s, elapsed_s), *rows]:
                    _add(self._costs, row)

    def rows(self) -> list[ProfileRow]:
        """Return the rows so far, by falling cost."""
        with self._lock:
            costs = list(self._costs.items())
        return _sorted(ProfileRow._make(key + cost) for key, cost in costs)


def combined(rows: Iterable[ProfileRow]) -> list[ProfileRow]:
    """Return the sums of rows of equal unit and function, by falling cost.

    Examples
    --------
    >>> combined([ProfileRow("load", "", 1, 0.5, 0.5), ProfileRow("load", "", 2, 1.0, 1.0)])
    [ProfileRow(unit='load', function='', n_calls=3, total_s=1.5, cumulative_s=1.5)]
    """
    costs: dict[tuple[str, str], tuple[int, float, float]] = {}
    for row in rows:
        _add(costs, row)
    return _sorted(ProfileRow._make(key + cost) for key, cost in costs.items())


def _add(costs: dict[tuple[str, str], tuple[int, float, float]], row: ProfileRow) -> None:
    key = row.unit, row.function
    n_calls, total_s, cumulative_s = costs.get(key, (0, 0.0, 0.0))
    costs[key] = n_calls + row.n_calls, total_s + row.total_s, cumulative_s + row.cumulative_s


def _sorted(rows: Iterable[ProfileRow]) -> list[ProfileRow]:
    return sorted(rows, key=lambda row: (-row.cumulative_s, row.unit, row.function))


def _enabled() -> cProfile.Profile | None:
    """Return a running profiler, or None if it would stop another one."""
    if sys.getprofile() is not None:
        return None
    profiler = cProfile.Profile()
    try:
        profiler.enable()
    except ValueError:  # from Python 3.12 on, if another one is active in any thread
        return None
    return profiler


def _function_rows(unit: str, profiler: cProfile.Profile) -> list[ProfileRow]:
    return [
        ProfileRow(unit, _label(entry.code), entry.callcount, entry.inlinetime, entry.totaltime)
        for entry in profiler.getstats()
        if entry.code != _DISABLE
    ]


def _label(code: CodeType | str) -> str:
    if isinstance(code, str):
        return code
    folder = code.co_filename.replace("\\", "/").split("/")[-2:]
    return f"{'/'.join(folder)}:{code.co_firstlineno}({code.co_qualname})"
