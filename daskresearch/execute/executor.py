"""The protocol of executors: groups of experiments go in, what came of them comes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from typing import NamedTuple, Protocol

from daskresearch.domain.experiment import Experiment
from daskresearch.store.folder.writer import Target
from daskresearch.store.record import Failure, Record
from daskresearch.worker import Group, Written
from daskresearch.worker.profile import ProfileRow


class Lost(NamedTuple):
    """What is recorded of an experiment by others than its worker, which died."""

    record: Record
    experiment: Experiment


def lost(experiment: Experiment, failure: Failure) -> Lost:
    """Return what is recorded of an experiment of which nothing is left but its failure."""
    return Lost(Record(experiment.position, 0, [], {}, (failure,), started=time.time()), experiment)


LOOK_EACH_S = 0.5


Came = Record | Written | Lost
"""What comes of experiments: a record of one, how many a worker has written itself, or one that was lost."""


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
    ) -> Generator[Came, None, None]:
        """Yield what came of experiments when they have ended, in any order.

        Parameters
        ----------
        groups : iterator of Group
            Read only as far as is needed to keep every worker busy.
        total : int, optional
            How many groups there will be, as far as is known.
        stop : threading.Event
            Once it is set, no further group begins.
        """

    def check(self, target: Target) -> None:
        """Refuse to run where the folder of the run cannot be seen.

        Raises
        ------
        StorageError
            Names the worker that does not see it.
        """

    def cancel(self, experiment_id: str) -> None:
        """End an experiment, be it that it runs or that it has not begun; what has ended stays as it is."""

    def close(self) -> None:
        """Let go of the outputs of roots; nothing runs afterwards."""
