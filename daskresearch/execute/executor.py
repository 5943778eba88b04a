"""The protocol of executors: groups of experiments go in, records come out."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from typing import NamedTuple, Protocol

from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.store.failure import Failure
from daskresearch.store.folder.writer import Target
from daskresearch.store.record import Record
from daskresearch.worker import Group, Written
from daskresearch.worker.profile import ProfileRow


class Lost(NamedTuple):
    """The record of an experiment whose worker died or was ended."""

    record: Record
    experiment: PlannedExperiment


def lost(experiment: PlannedExperiment, failure: Failure) -> Lost:
    """Return the record of an experiment of which only its failure is left."""
    return Lost(Record(experiment.position, 0, [], {}, (failure,), started=time.time()), experiment)


LOOK_EACH_S = 0.5

Returned = Record | Written | Lost
"""A record, a count of experiments that a worker has written, or a lost experiment."""


class Executor(Protocol):
    """Runs groups of experiments somewhere.

    Attributes
    ----------
    profile : list of ProfileRow
        What units cost in other processes, if that is measured.
    """

    @property
    def profile(self) -> list[ProfileRow]:
        """What units cost in other processes, if that is measured."""

    def run(
        self, groups: Iterator[Group], total: int | None, stop: threading.Event
    ) -> Generator[Returned, None, None]:
        """Yield what is returned of experiments when they have ended, in any order.

        Parameters
        ----------
        groups : iterator of Group
            The groups, read only as far as is needed to keep every worker busy.
        total : int, optional
            How many groups there will be, if that is known.
        stop : threading.Event
            Once it is set, no further group begins.
        """

    def check(self, target: Target) -> None:
        """Refuse to run if a worker does not see the folder of the run.

        Raises
        ------
        StorageError
            Names the worker.
        """

    def cancel(self, experiment_id: str) -> None:
        """End an experiment that runs or has not begun; an ended one stays as it is."""

    def close(self) -> None:
        """Let go of the outputs of roots, when nothing runs any more."""
