"""What ends an experiment before its time: a limit of time, or word from outside.

A thread is listed here while it runs units of an experiment, so that another may raise `Interrupted` in it. Python
raises that at the next bytecode; the main thread is woken for it by a signal, as where it sleeps or reads. Other code
that does not come back from C is `Stuck`, and ends with its process alone. Code
in C that holds the interpreter, as a regular expression does, keeps all threads waiting, also those that would end it.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, TypeVar, final

from daskresearch.errors import ExperimentCancelledError, ExperimentTimeoutError
from daskresearch.store.record import Failure, FailureKind, Record, this_worker
from daskresearch.worker.interrupts import is_main_thread
from daskresearch.worker.wanted import (
    is_abandoned,
    is_cancelled,
    note_abandoned,
    note_cancelled,
)

if TYPE_CHECKING:
    from daskresearch.worker.running import Running

T = TypeVar("T")

_LOOK_EACH_S = 1.0
_MEET_S = 0.02
"""How long something is about to be raised in a thread, which has met it by then if it runs Python."""
_N_TRIES = 10
_AGAIN_S = 0.1
"""After which time a unit that swallowed `TimedOut` meets it again."""
_GRACE_S = 2.0
"""How long an experiment may take to end after its time before it counts as stuck."""


class Interrupted(BaseException):
    """Raised in the code of a unit to end its experiment; no `Exception`, so that few units catch it."""

    kind: FailureKind


class TimedOut(Interrupted):
    """The experiment has had its time."""

    kind = FailureKind.TIMEOUT


class Cancelled(Interrupted):
    """The experiment is not wanted any more."""

    kind = FailureKind.CANCELLED


class Abandoned(Interrupted):
    """The whole run has ended by an error or an interrupt; nothing is recorded of the experiment."""

    kind = FailureKind.ABANDONED


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


def enter(run: Running) -> None:
    """List this thread as one that runs units of an experiment, unless that has been cancelled."""
    ident = threading.get_ident()
    run.outer = _running.get(ident)  # a unit may run a research of its own
    run.resumed = time.perf_counter()
    _running[ident] = run
    token = run.context.token
    if is_abandoned(token):
        run.interrupt = Abandoned
    elif is_cancelled(token, run.experiment.id):
        run.interrupt = Cancelled
    if run.interrupt is not None:
        raise run.interrupt


def leave(run: Running) -> None:
    """Take this thread from the list; from here on nothing is raised in it."""
    ident = threading.get_ident()
    with _lock:
        if _running.get(ident) is run:
            run.spent += time.perf_counter() - run.resumed
            if run.outer is None:
                del _running[ident]
            else:
                _running[ident] = run.outer
    if run.interrupt is not None:
        _absorb()  # whoever looks finds it on the run


@contextlib.contextmanager
def paused() -> Iterator[Running | None]:
    """Return a context whose time is not that of the experiment that this thread runs, as it belongs to others too.

    Yields
    ------
    Running or None
        That experiment, if there is one.
    """
    run = _running.get(threading.get_ident())
    if run is None:
        yield None
        return
    leave(run)
    try:
        yield run
    finally:
        enter(run)


def cancel(token: str, experiment_id: str) -> None:
    """End an experiment of a run in this process, be it that it runs or that it has not begun."""
    note_cancelled(token, experiment_id)
    _interrupt_all(
        lambda run: (run.context.token, run.experiment.id) == (token, experiment_id), Cancelled
    )


def abandon(token: str) -> None:
    """End all experiments of a run in this process, as far as Python can; none begins any more, none is recorded."""
    note_abandoned(token)
    _interrupt_all(lambda run: run.context.token == token, Abandoned)


def was_abandoned(record: Record) -> bool:
    """Return whether a record is of an experiment that was ended with its run."""
    return any(failure.kind == FailureKind.ABANDONED for failure in record.failures)


def _interrupt_all(is_meant: Callable[[Running], bool], kind: type[Interrupted]) -> None:
    """Interrupt from a thread, as Ctrl-C in this one must not come before `_take_back`."""

    def interrupt() -> None:
        for _ in range(_N_TRIES):
            found = {ident: run for ident, run in list(_running.items()) if is_meant(run)}
            if not found:
                return
            _interrupt(found, kind)

    thread = threading.Thread(target=_untraced, args=(interrupt,), name="interrupts", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_MEET_S)  # this thread may be meant itself


def cancelled(experiment_id: str) -> ExperimentCancelledError:
    """Return the error of an experiment that was cancelled."""
    return ExperimentCancelledError(f"experiment {experiment_id} was cancelled")


def _raise_in(ident: int, exception: type[Interrupted] | None) -> None:
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), value)


def _interrupt(runs: Mapping[int, Running], kind: type[Interrupted]) -> None:
    """Raise in the threads of experiments; not in those that do not come back to Python for the moment."""
    with _lock:
        for ident, run in runs.items():
            if _running.get(ident) is run:
                run.interrupt = kind
                _raise_in(ident, kind)
                _wake(ident)
    time.sleep(_MEET_S)
    with _lock:
        _take_back([ident for ident, run in runs.items() if _running.get(ident) is run])


def _wake(ident: int) -> None:
    """Make a thread come back to Python that waits for the system, if it is the main one: no other takes signals."""
    if (
        _can_wake()
        and signal.getsignal(signal.SIGURG) is _awake
        and ident == threading.main_thread().ident
    ):
        signal.pthread_kill(ident, signal.SIGURG)


def _awake(number: int, frame: FrameType | None) -> None:
    """Take a signal: what is to be raised is raised here, as this is Python."""


def _can_wake() -> bool:
    return hasattr(signal, "pthread_kill") and hasattr(signal, "SIGURG")


def _absorb() -> None:
    """Meet what is about to be raised in this thread, if anything is."""
    with contextlib.suppress(Interrupted):
        for _ in range(100):  # Python looks at each turn of a loop
            pass


def _take_back(idents: Iterable[int]) -> None:
    """Raise nothing in threads that have not come back to Python so far.

    Python up to 3.12 notes for all threads that something is to be raised in one, and only forgets that when it is
    raised. Until then threads with a trace or profile function stand still at the next call. So one of our own is
    raised in the end.
    """
    for ident in idents:
        _raise_in(ident, None)
    with contextlib.suppress(Interrupted):
        _raise_in(threading.get_ident(), Interrupted)
        while True:
            pass


def _untraced(function: Callable[[], T]) -> T:
    """Call a function in this thread with no trace or profile function; see `_take_back`."""
    trace, profile = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        return function()
    finally:
        sys.settrace(trace)
        sys.setprofile(profile)


def _look(token: str, timeout: float) -> tuple[float, list[Stuck]]:
    """Interrupt the experiments of a run that have had their time.

    Returns
    -------
    tuple
        The seconds until the next one may have, and those that did not end though they were interrupted.
    """
    soonest, stuck = min(timeout, _LOOK_EACH_S), []
    overdue: dict[int, Running] = {}
    now = time.perf_counter()
    for ident, run in list(_running.items()):
        if run.context.token != token:
            continue
        left = timeout - run.spent - (now - run.resumed)
        if left <= 0:
            overdue[ident] = run
        if left < -_GRACE_S:
            stuck.append(Stuck(run.experiment.position, _failure_of_thread(run, ident)))
        soonest = min(soonest, left if left > 0 else _AGAIN_S)
    if overdue:
        _interrupt(overdue, TimedOut)
    return soonest, stuck


def watching(token: str, timeout: float | None) -> AbstractContextManager[object]:
    """Return a context in which the experiments of a run are ended after `timeout` seconds, as far as Python can."""
    return contextlib.nullcontext() if timeout is None else _Watch(token, timeout)


@final
class _Watch:
    def __init__(self, token: str, timeout: float) -> None:
        self._ended = threading.Event()
        self._takes_signals = False
        self._thread = threading.Thread(
            target=self._watch, args=(token, timeout), name="timeouts", daemon=True
        )

    def _watch(self, token: str, timeout: float) -> None:
        wait = min(timeout, _LOOK_EACH_S)
        while not self._ended.wait(wait):
            wait, _ = _untraced(lambda: _look(token, timeout))

    def __enter__(self) -> None:
        # a signal that nobody else uses, which is ignored by default
        if _can_wake() and is_main_thread() and signal.getsignal(signal.SIGURG) is signal.SIG_DFL:
            self._takes_signals = True
            signal.signal(signal.SIGURG, _awake)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._takes_signals:
            signal.signal(signal.SIGURG, signal.SIG_DFL)


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

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(guarded,), name="experiments", daemon=True
    )
    thread.start()
    wait = min(timeout, _LOOK_EACH_S)
    while thread.is_alive():
        thread.join(wait)
        wait, overdue = _untraced(lambda: _look(token, timeout))
        stuck = next((one for one in overdue if gives_up(one)), None)
        if stuck is not None:
            return stuck
    if errors:
        raise errors.pop()
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
        if (
            frame.f_globals.get("__name__") == "daskresearch.worker.loop"
            and "step" in frame.f_locals
        ):
            return str(frame.f_locals["step"].name)
    return ""


def _failure(run: Running, kind: type[Interrupted], unit: str, text: str) -> Failure:
    if issubclass(kind, Cancelled | Abandoned):
        exception: Exception = cancelled(run.experiment.id)
    else:
        exception = ExperimentTimeoutError(
            f"experiment {run.experiment.id} ran longer than its timeout of {run.context.timeout:g} s"
        )
    return Failure(unit, run.iteration, exception, text, kind.kind, this_worker())
