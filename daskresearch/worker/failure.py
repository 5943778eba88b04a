"""From an exception of a user's function to a `Failure` that can travel."""

from __future__ import annotations

import traceback
from dataclasses import replace

import cloudpickle

from daskresearch.store.record import Failure, FailureKind, this_worker


class SharedFailure(Exception):  # noqa: N818  (carries a failure to each experiment that shares the root)
    """The failure of a root's call, met by an experiment that shares it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def failure_of(unit: str, iteration: int, exception: BaseException) -> Failure:
    """Return the failure that an exception in a unit is."""
    if isinstance(exception, SharedFailure):
        shared = exception.failure
        kind = FailureKind.UPSTREAM
        return Failure(unit, iteration, shared.exception, shared.traceback, kind, shared.worker)
    text = "".join(traceback.format_exception(exception))
    traceback.clear_frames(
        exception.__traceback__
    )  # their local values would live as long as the results
    return Failure(unit, iteration, exception, text, worker=this_worker())


def portable(failure: Failure) -> Failure:
    """Return the failure with an exception that can be pickled, another one with its text if need be."""
    try:
        cloudpickle.loads(cloudpickle.dumps(failure.exception))
    except Exception:
        kind = type(failure.exception).__qualname__
        standin = RuntimeError(f"{kind}: {failure.exception}")
        return replace(failure, exception=standin)
    return failure
