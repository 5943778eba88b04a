"""Loaded by worker processes as they start, so that Ctrl-C does not end them.

A terminal sends Ctrl-C to them too, but the process of the run alone obeys it. That ends their
batches, so that they can write the experiments that have ended before.
"""

from __future__ import annotations

import signal
import threading


def dask_setup(_worker: object) -> None:
    """Ignore Ctrl-C in this process; Dask calls this function by its name."""
    if threading.current_thread() is threading.main_thread():
        # SIG_IGN would be inherited by programs that units start
        signal.signal(signal.SIGINT, lambda number, frame: None)
