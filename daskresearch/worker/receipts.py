"""What becomes of the records of a batch: they go back to the client, or are written where they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Self, final

from daskresearch.domain.experiment import Experiment
from daskresearch.store.folder.parts import Ended
from daskresearch.store.folder.writer import WAIT_S, Target, check_visible, committed
from daskresearch.store.record import Record
from daskresearch.worker.limits import Stuck
from daskresearch.worker.parcel import dump_records
from daskresearch.worker.profile import ProfileRow


class Written(NamedTuple):
    """How many experiments a worker has written.

    Attributes
    ----------
    n_experiments, n_failed : int
    n_iters : int
        The iterations of all of them.
    ids : tuple of str
        Theirs, if they are to be named.
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
        How long the batch ran, before the last of it was written.
    n_groups : int
        How many groups were run; the others were left when the time was up.
    records : bytes
        The pickled records; none if they were written where they were made.
    written : Written
        How many were.
    profile : list of ProfileRow
        What units cost, if that is measured.
    stuck : Stuck, optional
        The experiment that could not be ended in time, in the group after those that were run.
    unfinished : tuple of int
        The positions of the experiments of its group that have not ended.
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

    def unknown(self, group: tuple[Experiment, ...]) -> tuple[Experiment, ...]:
        """Return the experiments of a group that are to run: all."""
        return group

    def append(self, record: Record, group: Sequence[Experiment]) -> None:
        """Keep the record of an experiment of a group."""
        self._records.append(record)

    def content(self) -> bytes:
        """Return the pickled records."""
        return dump_records(self._records)


@final
class Writing:
    """Writes the records of a batch to the folder of the run, within moments of their end.

    Parameters
    ----------
    target : Target
    folder : str
        Where the folders of experiments are.
    name : str
        Of the batch: when it is run again, what was written is not run again.
    is_lockstep : bool
        Whether the members of a group depend on each other, so that it runs again whole.
    wait_s : float
        The moments, in seconds.
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

    def unknown(self, group: tuple[Experiment, ...]) -> tuple[Experiment, ...]:
        """Return the experiments of a group that were not written when the batch ran before."""
        left = tuple([one for one in group if one.id not in self._known])
        if left and self._is_lockstep:
            return group
        for one in group:
            if one.id in self._known:
                self._count(one.id, *self._known[one.id])
        return left

    def _count(self, experiment_id: str, has_failed: bool, n_iters: int) -> None:
        n_experiments, n_failed, n_all = self._seen[:3]
        self._seen = Written(
            n_experiments + 1, n_failed + has_failed, n_all + n_iters, batch=self._seen.batch
        )
        if self._names_ended:
            self._ids.append(experiment_id)

    def append(self, record: Record, group: Sequence[Experiment]) -> None:
        """Write the record of an experiment of a group."""
        experiment = next(one for one in group if one.position == record.position)
        self._writer.append(Ended(record, experiment))
        self._count(experiment.id, bool(record.failures), record.n_iters)

    def content(self) -> bytes:
        """Return nothing, as nothing is sent back."""
        return b""


@cache
def _check_visible(target: Target) -> None:
    check_visible(target)
