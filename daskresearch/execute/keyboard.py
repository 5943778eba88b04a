"""Loaded by worker processes as they start: Ctrl-C in a terminal reaches them too, but is for the process of the run.

That ends what they do, so that they can write what has ended before.
"""

from __future__ import annotations

import signal
import threading


def dask_setup(_worker: object) -> None:
    """Leave interrupts to the process of the run; Dask calls it by this name."""
    if threading.current_thread() is threading.main_thread():
        # no SIG_IGN, which programs that units start would inherit
        signal.signal(signal.SIGINT, lambda number, frame: None)
