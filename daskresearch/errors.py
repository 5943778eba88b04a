"""The exceptions of daskresearch.

::

    ResearchError
    ├── DomainError (ValueError)          a domain that cannot be built or iterated
    │   └── DomainTypeError (TypeError)   values of a kind that a domain cannot hold
    ├── PlanError (ValueError)            a plan that cannot be run as it is written
    ├── OptionError (ValueError)          an option of a run with a value that it cannot have
    ├── HashError (TypeError)             a unit or value without content that could be compared
    ├── PickleError (TypeError)           a unit or value that cannot travel to a worker process
    ├── ExperimentTimeoutError (TimeoutError)   an experiment that ran longer than it may
    ├── ExperimentCancelledError          an experiment that was cancelled
    ├── ClusterError (RuntimeError)       worker processes that could not be started or were lost
    ├── StorageError (OSError)            a results folder that cannot be read or written
    │   ├── MissingFileError (FileNotFoundError)   a file of a results folder that is not there
    │   └── BusyError                     a results folder that another run is writing to
    └── PictureError (RuntimeError)       a picture that cannot be written as asked

Each is also the builtin in brackets, so that code which knows nothing of this library can catch it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ResearchError(Exception):
    """The root of all errors that daskresearch raises itself."""


class DomainError(ResearchError, ValueError):
    """A domain that cannot be built or iterated."""


class DomainTypeError(DomainError, TypeError):
    """Values of a kind that a domain cannot hold."""


class PlanError(ResearchError, ValueError):
    """A plan that cannot be run as it is written."""


class OptionError(ResearchError, ValueError):
    """An option of a run with a value that it cannot have."""


class HashError(ResearchError, TypeError):
    """A unit or a value without content that could be compared.

    Nothing tells when such a value is the same.

    Parameters
    ----------
    kind : str
        The type of what cannot be hashed.
    reason : str
    where : str
        The way from the unit or value to it.
    advice : str
        The way out.
    """

    def __init__(
        self, kind: str, reason: str, where: str = "", advice: str = "; make it inside the unit"
    ) -> None:
        super().__init__(kind, reason, where, advice)
        self.kind, self.reason, self.where, self.advice = kind, reason, where, advice

    def inside(self, where: str) -> HashError:
        """Return the error seen from one step further out."""
        return HashError(self.kind, self.reason, where + self.where, self.advice)

    def advised(self, advice: str) -> HashError:
        """Return the error with another way out."""
        return HashError(self.kind, self.reason, self.where, advice)

    def __str__(self) -> str:
        what = f"{self.where}a value" if self.where.endswith(": ") or not self.where else self.where
        return f"{what} of type {self.kind} cannot be hashed ({self.reason}){self.advice}"


class PickleError(ResearchError, TypeError):
    """A unit or a value that cannot travel to a worker process."""


class ExperimentTimeoutError(ResearchError, TimeoutError):
    """An experiment that ran longer than the ``timeout`` of its run."""


class ExperimentCancelledError(ResearchError):
    """An experiment that was cancelled before its end."""


class ClusterError(ResearchError, RuntimeError):
    """Worker processes that could not be started, or were lost."""


class StorageError(ResearchError, OSError):
    """A results folder that cannot be read or written."""


class MissingFileError(StorageError, FileNotFoundError):
    """A file of a results folder that is not there."""


class FolderExistsError(StorageError, FileExistsError):
    """A folder that is there already, where a new one was to be made."""


class RecordedError(ResearchError):
    """An exception of a unit as a results folder tells of it.

    Its text is that of the repr.

    Examples
    --------
    >>> RecordedError("ValueError('no')")
    ValueError('no')
    """

    def __repr__(self) -> str:
        return str(self)


class BusyError(StorageError):
    """A results folder that another run is writing to."""


class PictureError(ResearchError, RuntimeError):
    """A picture that cannot be written as asked."""


class ChangedUnitsWarning(UserWarning):
    """Finished experiments are kept though units have changed since they ran."""


class FailedExperimentsWarning(UserWarning):
    """Some experiments of a computed research failed: its table lacks their rows."""


def failed_text(
    n_failed: int, n_experiments: int, unit: str, exception: BaseException, where: str
) -> str:
    """Return the text of the warning that experiments have failed.

    Examples
    --------
    >>> failed_text(1, 3, "train", ValueError("no"), "results.failures")
    "1 of 3 experiments failed, the first in unit 'train' by ValueError('no'); see results.failures"
    """
    return (
        f"{n_failed} of {n_experiments} experiments failed, "
        f"the first in unit {unit!r} by {exception!r}; see {where}"
    )


def near_miss(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of the names, or an empty text.

    Examples
    --------
    >>> near_miss("laod", ["load", "train"])
    "; did you mean 'load'?"
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
