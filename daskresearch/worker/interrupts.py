"""Ctrl-C where units run in the main thread: it ends the run, also if a unit has caught it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_seen: list[bool] = []
"""For each run that goes on in the main thread, as a unit may run another, whether it was interrupted."""


def is_main_thread() -> bool:
    """Return whether Ctrl-C is raised in this thread; in others only units themselves raise KeyboardInterrupt."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def heeding() -> Iterator[None]:
    """Return a context in which `check_interrupt` knows of interrupts; what handles them is asked as before."""
    before = signal.getsignal(signal.SIGINT)
    if not is_main_thread() or not callable(before):
        yield
        return

    def pressed(number: int, frame: FrameType | None) -> None:
        try:
            before(number, frame)
        except KeyboardInterrupt:
            _seen[:] = [True] * len(_seen)
            raise

    _seen.append(False)
    signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is pressed:  # else a unit has put another in its place
            signal.signal(signal.SIGINT, before)
        _seen.pop()


def check_interrupt() -> None:
    """Raise what a unit has caught.

    Raises
    ------
    KeyboardInterrupt
    """
    if _seen and _seen[-1] and is_main_thread():
        raise KeyboardInterrupt
