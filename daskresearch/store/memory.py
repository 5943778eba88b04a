"""Results kept in this process: flat columns that grow as records arrive, readable at any time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, final

from daskresearch.store.record import MISSING, Described, Failure, Record


@final
@dataclass(frozen=True, slots=True)
class Experiments:
    """The experiments that a store knows, in order of arrival.

    Attributes
    ----------
    positions, ids, configs, groups : list
        Place in the domain, id, config and key of the group of each.
    """

    positions: list[int]
    ids: list[str]
    configs: list[Described]
    groups: list[bytes]


@final
@dataclass(frozen=True, slots=True)
class Rows:
    """The recorded rows, in order of arrival.

    Attributes
    ----------
    experiments : list of int
        For each row, the index of its experiment in `Experiments`.
    iterations : list of int
    columns : dict of str to list
        One value a row, `MISSING` where there is none.
    """

    experiments: list[int]
    iterations: list[int]
    columns: dict[str, list[Any]]


@final
class MemoryStore:
    """Results in flat lists; one writer, any number of readers."""

    def __init__(self, variables: tuple[str, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._experiments = Experiments([], [], [], [])
        self._rows = Rows([], [], {name: [] for name in variables})
        self._failures: list[tuple[int, Failure]] = []

    def append(self, record: Record, experiment_id: str, config: Described, group: bytes = b"") -> None:
        """Keep the record of a finished experiment."""
        with self._lock:
            index = len(self._experiments.ids)
            n_before, n_new = len(self._rows.iterations), len(record.iterations)
            for name, values in record.columns.items():
                column = self._rows.columns.setdefault(name, [])
                column.extend([MISSING] * (n_before - len(column)))
                column.extend(values)
            self._rows.iterations.extend(record.iterations)
            self._rows.experiments.extend([index] * n_new)
            self._failures.extend([(index, failure) for failure in record.failures])
            self._experiments.positions.append(record.position)
            self._experiments.configs.append(config)
            self._experiments.groups.append(group)
            self._experiments.ids.append(experiment_id)

    @property
    def n_experiments(self) -> int:
        """How many experiments have ended."""
        return len(self._experiments.ids)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables known so far."""
        with self._lock:
            return tuple(self._rows.columns)

    def experiments(self) -> Experiments:
        """Return the experiments finished so far."""
        with self._lock:
            known = self._experiments
            return Experiments(known.positions[:], known.ids[:], known.configs[:], known.groups[:])

    def rows(self) -> Rows:
        """Return the rows recorded so far."""
        with self._lock:
            rows = self._rows
            n_rows = len(rows.iterations)
            padded = {name: column + [MISSING] * (n_rows - len(column)) for name, column in rows.columns.items()}
            return Rows(rows.experiments[:], rows.iterations[:], padded)

    def failures(self) -> list[tuple[int, Failure]]:
        """Return the failures so far, each with the index of its experiment."""
        with self._lock:
            return self._failures[:]
