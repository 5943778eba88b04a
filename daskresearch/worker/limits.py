"""What ends an experiment before its time: a limit of time, or word from outside.

A thread is listed here while it runs units of an experiment, so that another may raise `Interrupted` in it. Python
raises that at the next bytecode: code that does not come back from C is `Stuck`, and ends with its process alone.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, final

from daskresearch.errors import ExperimentCancelledError, ExperimentTimeoutError
from daskresearch.store.record import Failure, this_worker

if TYPE_CHECKING:
    from daskresearch.worker.experiment import Running

_AGAIN_S = 0.1
"""After which time a unit that swallowed `Interrupted` meets it again."""
_GRACE_S = 2.0
"""How long an experiment may take to end after its time before it counts as stuck."""


class Interrupted(BaseException):
    """Raised in the code of a unit to end its experiment; no `Exception`, so that few units catch it."""

    kind = "interrupted"


class TimedOut(Interrupted):
    """The experiment has had its time."""

    kind = "timeout"


class Cancelled(Interrupted):
    """The experiment is not wanted any more."""

    kind = "cancelled"


class Stuck(NamedTuple):
    """An experiment that could not be ended in its process.

    Attributes
    ----------
    position : int
    failure : Failure
    """

    position: int
    failure: Failure


_lock = threading.Lock()
_running: dict[int, Running] = {}
_unwanted: set[tuple[str, str]] = set()


def enter(run: Running) -> None:
    """List this thread as one that runs units of an experiment, unless that has been cancelled."""
    run.resumed = time.perf_counter()
    _running[threading.get_ident()] = run
    if _unwanted and (run.context.token, run.experiment.id) in _unwanted:
        raise Cancelled


def leave(run: Running) -> None:
    """Take this thread from the list; from here on nothing is raised in it."""
    ident = threading.get_ident()
    with _lock:
        if _running.pop(ident, None) is not None:
            run.spent += time.perf_counter() - run.resumed
        if run.is_interrupted:
            run.is_interrupted = False
            _raise_in(ident, None)


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Return a context whose time is not that of the experiment that this thread runs, as it belongs to others too."""
    run = _running.get(threading.get_ident())
    if run is None:
        yield
        return
    leave(run)
    try:
        yield
    finally:
        enter(run)


def cancel(token: str, experiment_id: str) -> None:
    """End an experiment of a run in this process, be it that it runs or that it has not begun."""
    with _lock:
        _unwanted.add((token, experiment_id))
        for ident, run in list(_running.items()):
            if (run.context.token, run.experiment.id) == (token, experiment_id):
                run.is_interrupted = True
                _raise_in(ident, Cancelled)


def cancelled(experiment_id: str) -> ExperimentCancelledError:
    """Return the error of an experiment that was cancelled."""
    return ExperimentCancelledError(f"experiment {experiment_id} was cancelled")


def forget(token: str) -> None:
    """Forget which experiments of a run were cancelled."""
    with _lock:
        _unwanted.difference_update([one for one in _unwanted if one[0] == token])


def _raise_in(ident: int, exception: type[Interrupted] | None) -> None:
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), value)


def _look(token: str, timeout: float) -> tuple[float, Stuck | None]:
    """Interrupt the experiments of a run that have had their time.

    Returns
    -------
    tuple
        The seconds until the next one may have, and one that did not end though it was interrupted, if there is any.
    """
    soonest, stuck = timeout, None
    with _lock:
        now = time.perf_counter()
        for ident, run in list(_running.items()):
            if run.context.token != token:
                continue
            left = timeout - run.spent - (now - run.resumed)
            if left <= 0:
                run.is_interrupted = True
                _raise_in(ident, TimedOut)
                if left < -_GRACE_S:
                    stuck = Stuck(run.experiment.position, _failure_of_thread(run, ident))
            soonest = min(soonest, left if left > 0 else _AGAIN_S)
    return soonest, stuck


def watching(token: str, timeout: float | None) -> AbstractContextManager[object]:
    """Return a context in which the experiments of a run are ended after `timeout` seconds, as far as Python can."""
    return contextlib.nullcontext() if timeout is None else _Watch(token, timeout)


@final
class _Watch:
    def __init__(self, token: str, timeout: float) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(token, timeout), name="timeouts", daemon=True)

    def _watch(self, token: str, timeout: float) -> None:
        wait = timeout
        while not self._ended.wait(wait):
            wait, _ = _look(token, timeout)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()


def run_limited(
    work: Callable[[], None], token: str, timeout: float, gives_up: Callable[[Stuck], bool]
) -> Stuck | None:
    """Run what runs experiments in another thread, ending those that have had their time.

    Parameters
    ----------
    work : callable
    token : str
        Of the run.
    timeout : float
        Seconds for each experiment.
    gives_up : callable
        Whether to leave an experiment behind that does not end.

    Returns
    -------
    Stuck or None
        What was left behind; `work` is still at it, as nothing ends it but the end of the process.
    """
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(guarded,), name="experiments", daemon=True)
    thread.start()
    wait = timeout
    while thread.is_alive():
        thread.join(wait)
        wait, stuck = _look(token, timeout)
        if stuck is not None and gives_up(stuck):
            return stuck
    if errors:
        raise errors[0]
    return None


def failure_of_interrupt(run: Running, error: Interrupted) -> Failure:
    """Return the failure of an experiment that was interrupted."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    text, unit = "".join(traceback.format_exception(error)), _unit_in(frames)
    traceback.clear_frames(error.__traceback__)
    return _failure(run, type(error), unit, text)


def _failure_of_thread(run: Running, ident: int) -> Failure:
    outermost = sys._current_frames().get(ident)
    frames = [] if outermost is None else [frame for frame, _ in traceback.walk_stack(outermost)]
    text = "" if outermost is None else "".join(traceback.format_stack(outermost))
    return _failure(run, TimedOut, _unit_in(frames), text)


def _unit_in(frames: Sequence[FrameType]) -> str:
    """Return the name of the unit that the loop was at."""
    for frame in frames:
        if frame.f_globals.get("__name__") == "daskresearch.worker.loop" and "step" in frame.f_locals:
            return str(frame.f_locals["step"].name)
    return ""


def _failure(run: Running, kind: type[Interrupted], unit: str, text: str) -> Failure:
    if issubclass(kind, Cancelled):
        exception: Exception = cancelled(run.experiment.id)
    else:
        exception = ExperimentTimeoutError(
            f"experiment {run.experiment.id} ran longer than its timeout of {run.context.timeout:g} s"
        )
    return Failure(unit, run.iteration, exception, text, kind.kind, this_worker())
