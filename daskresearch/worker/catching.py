"""From an exception of a user's function to a `Failure` that can travel."""

from __future__ import annotations

import traceback
from dataclasses import replace

import cloudpickle

from daskresearch.store.failure import Failure, FailureKind, this_worker


class SharedFailure(Exception):  # noqa: N818  (carries a failure to each experiment that shares the root)
    """Raised in an experiment that shares the call of a root which has failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def failure_of(unit: str, iteration: int, exception: BaseException) -> Failure:
    """Return the failure for an exception of a unit."""
    if isinstance(exception, SharedFailure):
        shared = exception.failure
        kind = FailureKind.UPSTREAM
        return Failure(unit, iteration, shared.exception, shared.traceback, kind, shared.worker)
    text = "".join(traceback.format_exception(exception))
    # local values of the frames would live as long as the results
    traceback.clear_frames(exception.__traceback__)
    return Failure(unit, iteration, exception, text, worker=this_worker())


def portable(failure: Failure) -> Failure:
    """Return the failure with an exception that can be pickled, if need be a stand-in."""
    try:
        cloudpickle.loads(cloudpickle.dumps(failure.exception))
    except Exception:
        kind = type(failure.exception).__qualname__
        standin = RuntimeError(f"{kind}: {failure.exception}")
        return replace(failure, exception=standin)
    return failure
