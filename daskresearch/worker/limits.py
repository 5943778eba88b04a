"""What ends an experiment before its time: a limit of time, or word from outside.

Python cannot end a thread, so `Interrupter` raises `Interrupted` in that of an experiment. Code
that does not return from C is *stuck*, and ends with its process alone. Code in C that holds the
interpreter, as a regular expression does, also holds up the threads that would end it.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, final

from daskresearch.errors import ExperimentCancelledError, ExperimentTimeoutError
from daskresearch.store.failure import Failure, FailureKind, this_worker
from daskresearch.store.record import Record
from daskresearch.worker.interrupts import is_main_thread
from daskresearch.worker.wanted import (
    is_abandoned,
    is_cancelled,
    note_abandoned,
    note_cancelled,
)

if TYPE_CHECKING:
    from daskresearch.worker.running import RunningExperiment

    Test = Callable[[RunningExperiment], bool]

T = TypeVar("T")

_LOOK_EACH_S = 1.0
_MEET_S = 0.02
"""Within this time a thread that runs Python has met what is raised in it."""
_N_TRIES = 10
_AGAIN_S = 0.1
"""After this time a unit that swallowed `TimedOut` meets it again."""
_GRACE_S = 2.0
"""An experiment that takes longer to end after its time counts as stuck."""


class Interrupted(BaseException):
    """Raised in a unit to end its experiment; few units catch what is no `Exception`."""

    kind: FailureKind


class TimedOut(Interrupted):
    """The experiment has had its time."""

    kind = FailureKind.TIMEOUT


class Cancelled(Interrupted):
    """The experiment is not wanted any more."""

    kind = FailureKind.CANCELLED


class Abandoned(Interrupted):
    """The run has ended by an error or an interrupt; nothing of it is recorded."""

    kind = FailureKind.ABANDONED


class Stuck(NamedTuple):
    """An experiment that could not be ended in its process, and why it was to end."""

    position: int
    failure: Failure


_SIGNAL: Any = getattr(signal, "SIGURG", None) if hasattr(signal, "pthread_kill") else None
"""A signal that nobody else uses, which is ignored by default; None where there is none."""


@final
class Interrupter:
    """Raises `Interrupted` in the threads of this process that run experiments.

    All that it does has one reason: Python raises in another thread only at the next bytecode of
    that thread, which comes late or never where the thread is in C. Hence:

    - *list*: others raise in a thread only while it is listed; one that leaves meets what is due.
    - *signal*: it wakes the main thread where that waits for the system; no other takes signals.
    - *take-back*: what a thread has not met after `_MEET_S` is withdrawn. Python up to 3.12 notes
      for all threads that something is due in one, and forgets that only when something is raised.
      Until then threads with a trace or profile function stand still at their next call. So the
      thread that takes back raises something in itself, and has no such function.
    - *retries*: a thread that was in C may be in Python the next time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, RunningExperiment] = {}

    def enter(self, run: RunningExperiment) -> None:
        """List this thread as that of an experiment, or raise if that is not wanted."""
        ident = threading.get_ident()
        run.outer = self._running.get(ident)  # a unit may run a research of its own
        run.resumed = time.perf_counter()
        self._running[ident] = run
        token = run.context.token
        if is_abandoned(token):
            run.interrupt = Abandoned
        elif is_cancelled(token, run.experiment.id):
            run.interrupt = Cancelled
        if run.interrupt is not None:
            raise run.interrupt

    def leave(self, run: RunningExperiment) -> None:
        """Take this thread from the list; from here on nothing is raised in it."""
        ident = threading.get_ident()
        with self._lock:
            if self._running.get(ident) is run:
                run.spent += time.perf_counter() - run.resumed
                if run.outer is None:
                    del self._running[ident]
                else:
                    self._running[ident] = run.outer
        if run.interrupt is not None:  # whoever looks finds it on the run
            with contextlib.suppress(Interrupted):
                for _ in range(100):  # Python looks at each turn of a loop
                    pass

    def current(self) -> RunningExperiment | None:
        """Return the experiment that this thread runs."""
        return self._running.get(threading.get_ident())

    def listed(self, is_meant: Test) -> dict[int, RunningExperiment]:
        """Return the listed experiments that are meant, by the ids of their threads."""
        return {ident: run for ident, run in list(self._running.items()) if is_meant(run)}

    def interrupt(self, runs: Mapping[int, RunningExperiment], kind: type[Interrupted]) -> None:
        """Raise once in the threads of experiments, and take back what was not met."""
        with self._lock:
            for ident, run in runs.items():
                if self._running.get(ident) is run:
                    run.interrupt = kind
                    _raise_in(ident, kind)
                    is_main = ident == threading.main_thread().ident
                    if is_main and _SIGNAL and signal.getsignal(_SIGNAL) is _awake:
                        signal.pthread_kill(ident, _SIGNAL)
        time.sleep(_MEET_S)
        with self._lock:
            for ident, run in runs.items():
                if self._running.get(ident) is run:
                    _raise_in(ident, None)
            with contextlib.suppress(Interrupted):  # so that Python forgets
                _raise_in(threading.get_ident(), Interrupted)
                while True:
                    pass

    def interrupt_all(self, is_meant: Test, kind: type[Interrupted]) -> None:
        """Raise in the threads of the experiments that are meant until they end."""

        def retry() -> None:
            for _ in range(_N_TRIES):
                runs = self.listed(is_meant)
                if not runs:
                    return
                self.interrupt(runs, kind)

        # Ctrl-C in this thread must not come before the take-back
        thread = threading.Thread(target=_untraced, args=(retry,), name="interrupts", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_MEET_S)  # this thread may be meant itself

    @staticmethod
    @contextlib.contextmanager
    def waking() -> Iterator[None]:
        """Return a context in which the main thread, if this is it, is woken by a signal."""
        is_free = _SIGNAL is not None and signal.getsignal(_SIGNAL) is signal.SIG_DFL
        if not (is_free and is_main_thread()):
            yield
            return
        signal.signal(_SIGNAL, _awake)
        try:
            yield
        finally:
            signal.signal(_SIGNAL, signal.SIG_DFL)


def _awake(number: int, frame: FrameType | None) -> None:
    """Handle the signal: Python raises here what is due in this thread."""


def _raise_in(ident: int, exception: type[Interrupted] | None) -> None:
    """Raise in a thread at its next bytecode; None takes back what was not raised yet."""
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), value)


def _untraced(function: Callable[[], T]) -> T:
    """Call a function with no trace or profile function; see `Interrupter`."""
    trace, profile = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        return function()
    finally:
        sys.settrace(trace)
        sys.setprofile(profile)


_interrupter = Interrupter()
enter, leave = _interrupter.enter, _interrupter.leave


@contextlib.contextmanager
def paused() -> Iterator[RunningExperiment | None]:
    """Return a context whose time does not count for the experiment of this thread."""
    run = _interrupter.current()
    if run is None:
        yield None
        return
    leave(run)
    try:
        yield run
    finally:
        enter(run)


def cancel(token: str, experiment_id: str) -> None:
    """End an experiment of a run in this process, also if it has not begun."""
    note_cancelled(token, experiment_id)
    _interrupter.interrupt_all(
        lambda run: (run.context.token, run.experiment.id) == (token, experiment_id), Cancelled
    )


def abandon(token: str) -> None:
    """End all experiments of a run in this process, and let no other begin."""
    note_abandoned(token)
    _interrupter.interrupt_all(lambda run: run.context.token == token, Abandoned)


def was_abandoned(record: Record) -> bool:
    """Return whether a record is of an experiment that was ended with its run."""
    return any(failure.kind == FailureKind.ABANDONED for failure in record.failures)


def cancelled(experiment_id: str) -> ExperimentCancelledError:
    """Return the error of an experiment that was cancelled."""
    return ExperimentCancelledError(f"experiment {experiment_id} was cancelled")


def _look(token: str, timeout: float) -> tuple[float, list[Stuck]]:
    """Interrupt overdue experiments; return seconds to the next look, and stuck ones."""
    soonest, stuck = min(timeout, _LOOK_EACH_S), []
    overdue: dict[int, RunningExperiment] = {}
    now = time.perf_counter()
    for ident, run in _interrupter.listed(lambda run: run.context.token == token).items():
        left = timeout - run.spent - (now - run.resumed)
        if left <= 0:
            overdue[ident] = run
        if left < -_GRACE_S:
            stuck.append(Stuck(run.experiment.position, _failure_of_thread(run, ident)))
        soonest = min(soonest, left if left > 0 else _AGAIN_S)
    if overdue:
        _interrupter.interrupt(overdue, TimedOut)
    return soonest, stuck


@contextlib.contextmanager
def watching(token: str, timeout: float | None) -> Iterator[None]:
    """Return a context that ends experiments of a run after `timeout` seconds each."""
    if timeout is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        wait = min(timeout, _LOOK_EACH_S)
        while not ended.wait(wait):
            wait, _ = _untraced(lambda: _look(token, timeout))

    thread = threading.Thread(target=watch, name="timeouts", daemon=True)
    with _interrupter.waking():
        try:
            thread.start()
            yield
        finally:
            ended.set()
            # an interrupt may have come before it was started, so that it ends by itself
            with contextlib.suppress(RuntimeError):
                thread.join()


def run_limited(
    work: Callable[[], None], token: str, timeout: float, gives_up: Callable[[Stuck], bool]
) -> Stuck | None:
    """Run experiments in another thread, and end those that have had their time.

    Parameters
    ----------
    work : callable
        Runs the experiments.
    token : str
        Of the run.
    timeout : float
        Seconds for each experiment.
    gives_up : callable
        Whether to leave a stuck experiment behind.

    Returns
    -------
    Stuck or None
        The experiment that was left behind; `work` is still at it until the process ends.
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
        stuck = next((candidate for candidate in overdue if gives_up(candidate)), None)
        if stuck is not None:
            return stuck
    if errors:
        raise errors.pop()
    return None


def failure_of_interrupt(run: RunningExperiment, error: Interrupted) -> Failure:
    """Return the failure of an experiment that was interrupted."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    text, unit = "".join(traceback.format_exception(error)), _unit_in(frames)
    traceback.clear_frames(error.__traceback__)
    return _failure(run, type(error), unit, text)


def _failure_of_thread(run: RunningExperiment, ident: int) -> Failure:
    outermost = sys._current_frames().get(ident)
    frames = [] if outermost is None else [frame for frame, _ in traceback.walk_stack(outermost)]
    text = "" if outermost is None else "".join(traceback.format_stack(outermost))
    return _failure(run, TimedOut, _unit_in(frames), text)


def _unit_in(frames: Sequence[FrameType]) -> str:
    """Return the name of the unit that the loop of the experiment was at."""
    for frame in frames:
        if (
            frame.f_globals.get("__name__") == "daskresearch.worker.loop"
            and "step" in frame.f_locals
        ):
            return str(frame.f_locals["step"].name)
    return ""


def _failure(run: RunningExperiment, kind: type[Interrupted], unit: str, text: str) -> Failure:
    if issubclass(kind, Cancelled | Abandoned):
        exception: Exception = cancelled(run.experiment.id)
    else:
        reason = f"ran longer than its timeout of {run.context.timeout:g} s"
        exception = ExperimentTimeoutError(f"experiment {run.experiment.id} {reason}")
    return Failure(unit, run.iteration, exception, text, kind.kind, this_worker())
