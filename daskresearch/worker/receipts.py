"""The records of a batch, which are sent back or written, and its receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Self, final

from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.store.folder.experiments_table import Ended
from daskresearch.store.folder.writer import WAIT_S, Target, check_visible, committed
from daskresearch.store.record import Record
from daskresearch.worker.limits import Stuck
from daskresearch.worker.parcel import dump_records
from daskresearch.worker.profile import ProfileRow


class Written(NamedTuple):
    """How many experiments of a batch a worker has written.

    Attributes
    ----------
    n_experiments, n_failed : int
    n_iters : int
        The iterations of all of them.
    ids : tuple of str
        The ids of the experiments, if they are asked for.
    batch : str
        The name of the batch.
    """

    n_experiments: int = 0
    n_failed: int = 0
    n_iters: int = 0
    ids: tuple[str, ...] = ()
    batch: str = ""


@final
@dataclass(frozen=True, slots=True)
class Receipt:
    """What a batch sends back.

    Attributes
    ----------
    seconds : float
        How long the batch ran, before its last records were written.
    n_groups : int
        How many groups were run; the others were left when the time was up.
    records : bytes
        The pickled records; empty if the worker has written them.
    written : Written
        How many experiments the worker has written.
    profile : list of ProfileRow
        What units cost, if that is measured.
    stuck : Stuck, optional
        The experiment that could not be ended, in the group after those that were run.
    unfinished : tuple of int
        The positions of the experiments of that group that have not ended.
    """

    seconds: float
    n_groups: int
    records: bytes
    written: Written
    profile: list[ProfileRow]
    stuck: Stuck | None = None
    unfinished: tuple[int, ...] = ()


@final
class Keeping:
    """Keeps the records of a batch, to be sent back."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self.written = Written()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def unknown(self, group: tuple[PlannedExperiment, ...]) -> tuple[PlannedExperiment, ...]:
        """Return all experiments of a group, as none was kept before."""
        return group

    def append(self, record: Record, group: Sequence[PlannedExperiment]) -> None:
        """Keep the record of an experiment of a group."""
        self._records.append(record)

    def content(self) -> bytes:
        """Return the pickled records."""
        return dump_records(self._records)


@final
class Writing:
    """Writes the records of a batch to the folder of the run, soon after their end.

    Parameters
    ----------
    target : Target
    folder : str
        The folder that holds those of experiments.
    name : str
        The name of the batch. Experiments that were written by this name do not run again.
    is_lockstep : bool
        Whether the members of a group depend on each other, so that it runs again whole.
    wait_s : float
        The seconds that records may wait.
    names_ended : bool
        Whether `written` has ids.
    """

    def __init__(
        self,
        target: Target,
        folder: str,
        name: str,
        *,
        is_lockstep: bool,
        wait_s: float = WAIT_S,
        names_ended: bool = False,
    ) -> None:
        _check_visible(target)
        self._known = committed(target, name)
        self._is_lockstep = is_lockstep
        self._writer = target.writer(f"{name}-", folder, wait_s)
        self._seen = Written(batch=name)
        self._names_ended = names_ended
        self._ids: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    @property
    def written(self) -> Written:
        """How many experiments of the batch have been written."""
        n_failed = self._seen.n_failed + self._writer.n_unwritable
        return self._seen._replace(n_failed=n_failed, ids=tuple(self._ids))

    def unknown(self, group: tuple[PlannedExperiment, ...]) -> tuple[PlannedExperiment, ...]:
        """Return those experiments that an earlier run of the batch has not written."""
        left = tuple([experiment for experiment in group if experiment.id not in self._known])
        if left and self._is_lockstep:
            return group
        for experiment in group:
            if experiment.id in self._known:
                self._count(experiment.id, *self._known[experiment.id])
        return left

    def _count(self, experiment_id: str, has_failed: bool, n_iters: int) -> None:
        n_experiments, n_failed, n_all = self._seen[:3]
        self._seen = Written(
            n_experiments + 1, n_failed + has_failed, n_all + n_iters, batch=self._seen.batch
        )
        if self._names_ended:
            self._ids.append(experiment_id)

    def append(self, record: Record, group: Sequence[PlannedExperiment]) -> None:
        """Write the record of an experiment of a group."""
        experiment = next(member for member in group if member.position == record.position)
        self._writer.append(Ended(record, experiment))
        self._count(experiment.id, bool(record.failures), record.n_iters)

    def content(self) -> bytes:
        """Return nothing, as nothing is sent back."""
        return b""


@cache
def _check_visible(target: Target) -> None:
    check_visible(target)
