"""What went wrong in an experiment: a `Failure` and its kind."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import final


class FailureKind(StrEnum):
    """What made an experiment fail; in tables and files it is its plain text."""

    EXCEPTION = "exception"
    """A unit raised."""
    UPSTREAM = "upstream"
    """A root that the experiment shares raised."""
    TIMEOUT = "timeout"
    """The experiment ran longer than it may."""
    WORKER = "worker"
    """The worker process died, each time the experiment ran."""
    CANCELLED = "cancelled"
    """The experiment was cancelled."""
    ABANDONED = "abandoned"
    """The whole run has ended while the experiment ran; nothing is recorded of it."""


@final
@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in a unit of an experiment.

    Attributes
    ----------
    unit : str
    iteration : int
    exception : BaseException
    traceback : str
        As Python prints it, also when it was raised in another process.
    kind : str
        A `FailureKind`, or its plain text if the failure was read from a file.
    worker : str
        Host and process id of where it happened, or the address of a worker that died; empty if
        nobody knows.
    """

    unit: str
    iteration: int
    exception: BaseException
    traceback: str
    kind: str = FailureKind.EXCEPTION
    worker: str = ""


def this_worker() -> str:
    """Return the name of this process as tables have it: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"
