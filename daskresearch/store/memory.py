"""Results kept in this process: flat columns that grow as records arrive, readable at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from daskresearch.store.record import MISSING, Described, Failure, Record
from daskresearch.store.snapshot import Rows, taken

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AUXILIARY = ("repetition", "updates")
_LISTS = ("_positions", "_ids", "_configs", "_groups", "_experiments", "_iterations", "_failures")


@final
class MemoryStore:
    """Results in flat lists; one writer, any number of readers.

    Parameters
    ----------
    variables : tuple of str
        Those that are columns of every table.
    """

    def __init__(self, variables: tuple[str, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._positions: list[int] = []
        self._ids: list[str] = []
        self._configs: list[Described] = []
        self._groups: list[bytes] = []
        self._experiments: list[int] = []
        self._iterations: list[int] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in variables}
        self._failures: list[tuple[int, Failure]] = []

    def append(
        self, record: Record, experiment_id: str, config: Described, group: bytes = b""
    ) -> None:
        """Keep the record of a finished experiment."""
        with self._lock:
            index = len(self._ids)
            n_before, n_new = len(self._iterations), len(record.iterations)
            for name, values in record.columns.items():
                column = self._columns.setdefault(name, [])
                column.extend([MISSING] * (n_before - len(column)))
                column.extend(values)
            self._iterations.extend(record.iterations)
            self._experiments.extend([index] * n_new)
            self._failures.extend([(index, failure) for failure in record.failures])
            self._positions.append(record.position)
            self._configs.append(config)
            self._groups.append(group)
            self._ids.append(experiment_id)

    @property
    def n_experiments(self) -> int:
        """How many experiments have ended."""
        return len(self._ids)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables known so far."""
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
        """Return what is known now."""
        with self._lock:
            n_rows = len(self._iterations)
            columns = {
                name: column + [MISSING] * (n_rows - len(column))
                for name, column in self._columns.items()
            }
            return MemorySnapshot(
                self._ids[:], self._positions[:], self._configs[:], self._groups[:], self._experiments[:],
                self._iterations[:], columns, self._failures[:],
            )  # fmt: skip


@final
class MemorySnapshot:
    """What a `MemoryStore` knew at one moment; see `Snapshot`."""

    def __init__(
        self,
        ids: list[str],
        positions: list[int],
        configs: list[Described],
        groups: list[bytes],
        experiments: list[int],
        iterations: list[int],
        columns: dict[str, list[Any]],
        failures: list[tuple[int, Failure]],
    ) -> None:
        self.ids = ids
        self._positions = positions
        self._configs = configs
        self._groups = groups
        self._experiments = experiments
        self._iterations = iterations
        self._columns = columns
        self._failures = failures

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """The place of each experiment in the order of the domain."""
        import numpy as np

        return np.asarray(self._positions, dtype=np.int64)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that any of the configs has."""
        return tuple(dict.fromkeys(name for config in self._configs for name in config.texts()))

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that are columns."""
        return tuple(self._columns)

    @property
    def has_updates(self) -> bool:
        """Whether any of the experiments comes from a domain that took the place of another."""
        return any([config.auxiliary()["updates"] for config in self._configs])

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self._iterations)

    @cached_property
    def _known(self) -> list[dict[str, Any]]:
        return [config.values() for config in self._configs]

    def values(self, name: str, index: NDArray[np.int64] | None = None) -> list[Any] | NDArray[Any]:
        """Return the values of a parameter, `repetition` or `updates`."""
        if name in _AUXILIARY:
            column: list[Any] = [config.auxiliary()[name] for config in self._configs]
        else:
            column = [known.get(name, MISSING) for known in self._known]
        return taken(column, index)

    def texts(self, name: str, index: NDArray[np.int64] | None = None) -> list[Any]:
        """Return the same as texts."""
        configs = self._configs if index is None else [self._configs[i] for i in index.tolist()]
        if name in _AUXILIARY:
            return [str(config.auxiliary()[name]) for config in configs]
        return [config.texts().get(name, MISSING) for config in configs]

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

        experiments = np.asarray(self._experiments, dtype=np.int64)
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

    def described(self, index: int) -> tuple[Described, bytes]:
        """Return the config of an experiment and the key of its group."""
        return self._configs[index], self._groups[index]
