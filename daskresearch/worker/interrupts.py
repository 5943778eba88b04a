"""Ctrl-C in the main thread, which ends a run even if a unit catches it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_seen: list[bool] = []
"""Whether each run of the main thread was interrupted; a unit may run another run."""


def is_main_thread() -> bool:
    """Return whether Ctrl-C is raised in this thread, and in no other."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def heeding() -> Iterator[None]:
    """Return a context in which interrupts are noted for `check_interrupt`."""
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
        if signal.getsignal(signal.SIGINT) is pressed:  # else a unit has set a handler of its own
            signal.signal(signal.SIGINT, before)
        _seen.pop()


def check_interrupt() -> None:
    """Raise an interrupt again that a unit has caught.

    Raises
    ------
    KeyboardInterrupt
    """
    if _seen and _seen[-1] and is_main_thread():
        raise KeyboardInterrupt
