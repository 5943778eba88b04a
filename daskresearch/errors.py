"""The exceptions of daskresearch.

::

    ResearchError
    ├── DomainError (ValueError)          a domain that cannot be built or iterated
    │   └── DomainTypeError (TypeError)   values of a kind that a domain cannot hold
    ├── PlanError (ValueError)            a plan that cannot be run as it is written
    ├── OptionError (ValueError)          an option of a run with a value that it cannot have
    ├── PickleError (TypeError)           a unit or value that cannot travel to a worker process
    └── ClusterError (RuntimeError)       worker processes that could not be started or were lost

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


class PickleError(ResearchError, TypeError):
    """A unit or a value that cannot travel to a worker process."""


class ClusterError(ResearchError, RuntimeError):
    """Worker processes that could not be started, or were lost."""


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name closest to `name`, or an empty text.

    Examples
    --------
    >>> near_miss("laod", ["load", "train"])
    "; did you mean 'load'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
