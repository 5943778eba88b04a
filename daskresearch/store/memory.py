"""Results in this process: flat columns, which can be read while they grow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from daskresearch.domain import AUXILIARY
from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.store.failure import Failure
from daskresearch.store.record import MISSING, Record
from daskresearch.store.snapshot import Rows, taken

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LISTS = ("_positions", "_experiments", "_of_rows", "_iterations", "_failures")


@final
class MemoryStore:
    """Results in flat lists, for a single writer and any number of readers.

    Parameters
    ----------
    variables : tuple of str
        Those that are columns of every table.
    """

    def __init__(self, variables: tuple[str, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._positions: list[int] = []
        self._experiments: list[PlannedExperiment] = []
        self._of_rows: list[int] = []
        self._iterations: list[int] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in variables}
        self._failures: list[tuple[int, Failure]] = []

    def append(self, record: Record, experiment: PlannedExperiment) -> None:
        """Keep the record of a finished experiment."""
        with self._lock:
            index = len(self._experiments)
            n_before, n_new = len(self._iterations), len(record.iterations)
            for name, values in record.columns.items():
                column = self._columns.setdefault(name, [])
                column.extend([MISSING] * (n_before - len(column)))
                column.extend(values)
            self._iterations.extend(record.iterations)
            self._of_rows.extend([index] * n_new)
            self._failures.extend([(index, failure) for failure in record.failures])
            self._positions.append(record.position)
            self._experiments.append(experiment)

    @property
    def n_experiments(self) -> int:
        """How many experiments have ended."""
        return len(self._experiments)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that have been recorded or declared until now."""
        with self._lock:
            return tuple(self._columns)

    def copied(self, portable: Callable[[Failure], Failure]) -> MemoryStore:
        """Return a copy of what is known now, each failure as `portable` gives it."""
        copy = MemoryStore()
        with self._lock:
            copy._columns = {name: column[:] for name, column in self._columns.items()}
            for name in _LISTS:
                setattr(copy, name, getattr(self, name)[:])
        copy._failures = [(index, portable(failure)) for index, failure in copy._failures]
        return copy

    def __getstate__(self) -> dict[str, Any]:
        return {"_columns": self._columns, **{name: getattr(self, name) for name in _LISTS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def snapshot(self) -> MemorySnapshot:
        """Return the experiments and rows of this moment."""
        with self._lock:
            n_rows = len(self._iterations)
            columns = {
                name: column + [MISSING] * (n_rows - len(column))
                for name, column in self._columns.items()
            }
            return MemorySnapshot(
                self._experiments[:], self._positions[:], self._of_rows[:], self._iterations[:],
                columns, self._failures[:],
            )  # fmt: skip


@final
class MemorySnapshot:
    """The experiments and rows of a `MemoryStore` at one moment; see `Snapshot`."""

    def __init__(
        self,
        experiments: list[PlannedExperiment],
        positions: list[int],
        of_rows: list[int],
        iterations: list[int],
        columns: dict[str, list[Any]],
        failures: list[tuple[int, Failure]],
    ) -> None:
        self._experiments = experiments
        self._positions = positions
        self._of_rows = of_rows
        self._iterations = iterations
        self._columns = columns
        self._failures = failures

    @cached_property
    def ids(self) -> list[str]:
        """The id of each experiment."""
        return [experiment.id for experiment in self._experiments]

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """The place of each experiment in the order of the domain."""
        import numpy as np

        return np.asarray(self._positions, dtype=np.int64)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that any of the configs has."""
        return tuple(dict.fromkeys(name for each in self._experiments for name in each.values))

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that are columns."""
        return tuple(self._columns)

    @property
    def has_updates(self) -> bool:
        """Whether any experiment comes from a domain that took the place of another."""
        return any([experiment.updates for experiment in self._experiments])

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self._iterations)

    def values(self, name: str, index: NDArray[np.int64] | None = None) -> list[Any] | NDArray[Any]:
        """Return the values of a parameter, `repetition` or `updates`."""
        if name in AUXILIARY:
            column: list[Any] = [getattr(experiment, name) for experiment in self._experiments]
        else:
            column = [experiment.values.get(name, MISSING) for experiment in self._experiments]
        return taken(column, index)

    def texts(self, name: str, index: NDArray[np.int64] | None = None) -> list[Any]:
        """Return the same as texts."""
        every = self._experiments
        chosen = every if index is None else [every[i] for i in index.tolist()]
        if name in AUXILIARY:
            return [str(getattr(experiment, name)) for experiment in chosen]
        return [each.text(name) if name in each.values else MISSING for each in chosen]

    def rows(
        self,
        chosen: NDArray[np.int64] | None = None,
        names: Sequence[str] | None = None,
        *,
        iterations: Sequence[int] | None = None,
        lazy: bool = False,
    ) -> Rows:
        """Return the rows of all experiments or some."""
        import numpy as np

        experiments = np.asarray(self._of_rows, dtype=np.int64)
        numbers = np.asarray(self._iterations, dtype=np.int64)
        nothing: list[Any] = [MISSING] * len(numbers)
        columns = {
            name: self._columns.get(name, nothing)
            for name in (self._columns if names is None else names)
        }
        if chosen is None:
            return Rows(experiments, numbers, dict(columns))
        index = np.flatnonzero(np.isin(experiments, chosen))
        some = {name: taken(column, index) for name, column in columns.items()}
        return Rows(experiments[index], numbers[index], some)

    def failures(self) -> list[tuple[int, Failure]]:
        """Return the failures, each with the index of its experiment."""
        return self._failures

    def experiment(self, index: int) -> PlannedExperiment:
        """Return an experiment."""
        return self._experiments[index]
