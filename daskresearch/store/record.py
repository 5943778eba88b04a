"""The record that an experiment leaves behind: its rows and its failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from daskresearch.store.failure import Failure


class Missing(Enum):
    """The mark of a cell in which nothing was recorded.

    It is an enum, as a pickle gives back the same member.
    """

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


class Record(NamedTuple):
    """The rows of a finished experiment, its failures and what it printed.

    Attributes
    ----------
    position : int
        The place of the experiment in the order of the domain.
    n_iters : int
        The number of iterations that ran.
    iterations : list of int
        Those in which something was recorded, ascending.
    columns : dict of str to list
        The values of each recorded variable in these iterations, `MISSING` where there is none.
    failures : tuple of Failure
    started : float
        When it began, in seconds since the epoch.
    seconds : float
        How long it ran.
    stdout, stderr, log : str
        What it printed and logged, empty where that was not captured.
    device : str, optional
        The ids of the devices that it held.
    """

    position: int
    n_iters: int
    iterations: list[int]
    columns: dict[str, list[Any]]
    failures: tuple[Failure, ...] = ()
    started: float = 0.0
    seconds: float = 0.0
    stdout: str = ""
    stderr: str = ""
    log: str = ""
    device: str | None = None

    @classmethod
    def of(
        cls,
        position: int,
        n_iters: int,
        cells: Mapping[str, Mapping[int, Any]],
        failures: Iterable[Failure] = (),
    ) -> Record:
        """Return the record of cells by variable and iteration.

        Examples
        --------
        >>> record = Record.of(0, 2, {"a": {0: 1, 1: 2}, "b": {1: 3}})
        >>> record.iterations, record.columns
        ([0, 1], {'a': [1, 2], 'b': [MISSING, 3]})
        """
        filled = {name: values for name, values in cells.items() if values}
        if not filled:
            return cls(position, n_iters, [], {}, tuple(failures))
        first, *others = filled.values()
        if all([values.keys() == first.keys() for values in others]):
            iterations = list(first)
            columns = {name: list(values.values()) for name, values in filled.items()}
            if not others or all([list(values) == iterations for values in others]):
                return cls(position, n_iters, iterations, columns, tuple(failures))
        iterations = sorted(set().union(*filled.values()))
        columns = {
            name: [values.get(i, MISSING) for i in iterations] for name, values in filled.items()
        }
        return cls(position, n_iters, iterations, columns, tuple(failures))
