"""The experiments and rows of a store at one moment, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.store.failure import Failure
from daskresearch.store.record import MISSING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Rows:
    """Recorded rows, those of one experiment together and by iteration.

    Attributes
    ----------
    experiments : ndarray of shape (n_rows,)
        For each row, the index of its experiment in the snapshot.
    iterations : ndarray of shape (n_rows,)
    columns : dict of str to list or ndarray
        One value a row, `MISSING` where there is none; an array has one everywhere.
    """

    experiments: NDArray[np.int64]
    iterations: NDArray[np.int64]
    columns: dict[str, list[Any] | NDArray[Any]]


class Snapshot(Protocol):
    """The experiments of a store at one moment, in order of arrival, and their rows."""

    @property
    def ids(self) -> Sequence[str]:
        """The id of each experiment."""

    @property
    def positions(self) -> NDArray[np.int64]:
        """The place of each experiment in the order of the domain."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that any of the configs has."""

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that any of the experiments recorded."""

    @property
    def has_updates(self) -> bool:
        """Whether an experiment comes from a domain that took the place of another."""

    @property
    def n_rows(self) -> int:
        """The number of rows."""

    def values(self, name: str, index: NDArray[np.int64] | None = None) -> list[Any] | NDArray[Any]:
        """Return the values of a parameter, `repetition` or `updates`, an experiment each.

        Those of all experiments, or of an index of some.
        """

    def texts(self, name: str, index: NDArray[np.int64] | None = None) -> list[Any]:
        """Return what `values` gives, as texts."""

    def rows(
        self,
        chosen: NDArray[np.int64] | None = None,
        names: Sequence[str] | None = None,
        *,
        iterations: Sequence[int] | None = None,
        lazy: bool = False,
    ) -> Rows:
        """Return the rows of all experiments or some, with all variables or some.

        Parameters
        ----------
        chosen : ndarray, optional
            The ascending index of the experiments.
        names : sequence of str, optional
            A variable that nobody recorded is a column of `MISSING`.
        iterations : sequence of int, optional
            Rows of other iterations need not be read.
        lazy : bool
            Whether large arrays need not be read.
        """

    def failures(self) -> list[tuple[int, Failure]]:
        """Return the failures, each with the index of its experiment."""

    def experiment(self, index: int) -> PlannedExperiment:
        """Return an experiment.

        Where a folder is read, it lacks the keys that follow from the seed.
        """


class Store(Protocol):
    """A place where results are kept."""

    @property
    def n_experiments(self) -> int:
        """The number of experiments that have ended."""

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables until now, those that the plan declares first."""

    def snapshot(self) -> Snapshot:
        """Return the experiments and rows of this moment."""


def taken(
    values: list[Any] | NDArray[Any], index: NDArray[np.int64] | None
) -> list[Any] | NDArray[Any]:
    """Return the values of a column at an index, in its order.

    Examples
    --------
    >>> import numpy as np
    >>> taken(["a", "b", "c"], np.array([2, 0]))
    ['c', 'a']
    """
    if index is None:
        return values
    if isinstance(values, list):
        if len(index) == len(values) and bool((index[1:] > index[:-1]).all()):
            return values
        return [values[i] for i in index.tolist()]
    return values[index]


def recorded(values: list[Any] | NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each row whether a column has a value."""
    import numpy as np

    if isinstance(values, list):
        return np.array([value is not MISSING for value in values], dtype=bool)
    return np.ones(len(values), dtype=bool)
