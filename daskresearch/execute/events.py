"""Events in which tasks on a cluster say how many iterations they have done.

They are events of Dask on a topic of the run. A task that is run again, as its worker died, begins
at zero. Events of tasks that are not out do not count.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

if TYPE_CHECKING:
    from distributed import Client

_REPORT_EACH_S = 0.5


class Watcher(Protocol):
    """Who wants to know how far a run is."""

    def running(self, n_iters: int) -> None:
        """Hear how many iterations are done in tasks that run elsewhere."""

    def look(self) -> None:
        """Show what is new, if it is time to."""


@final
@dataclass(frozen=True, slots=True)
class Reporter:
    """Gives each task on a worker what it calls after each iteration.

    Attributes
    ----------
    topic : str
        The topic of the run.
    """

    topic: str

    def __call__(self) -> Callable[[], object]:
        """Return what the task of this thread calls; it sends an event each half second."""
        from distributed import get_worker

        worker = get_worker()
        key = worker.get_current_task()
        clock = time.monotonic
        n_iters, due_s = 0, clock() + _REPORT_EACH_S

        def tick() -> None:
            nonlocal n_iters, due_s
            n_iters += 1
            if (now_s := clock()) >= due_s:
                due_s = now_s + _REPORT_EACH_S
                worker.log_event(self.topic, [key, n_iters])

        return tick


@final
class Listener:
    """Listens to the tasks of one run, and tells its watcher.

    Parameters
    ----------
    client : distributed.Client
    topic : str
        The topic of the run; empty if nobody asks for iterations.
    watcher : Watcher
    """

    def __init__(self, client: Client, topic: str, watcher: Watcher) -> None:
        self._client = client
        self._topic = topic
        self._watcher = watcher
        self._live = _Live()
        self._listens = False

    def listen(self) -> None:
        """Begin to listen."""
        if self._topic and not self._listens:
            self._listens = True
            self._client.subscribe_topic(self._topic, self._live.hear)

    def begin(self, key: str) -> None:
        """Count the events of the task of this key."""
        if self._topic:
            self._live.begin(key)

    def end(self, key: str) -> None:
        """Forget the events of the task of this key, as its receipt tells more."""
        self._live.end(key)
        self._watcher.running(self._live.n_iters)

    def look(self) -> None:
        """Tell the watcher what was heard, and let it look."""
        self._watcher.running(self._live.n_iters)
        self._watcher.look()

    def close(self) -> None:
        """Stop listening."""
        if self._listens:
            self._listens = False
            self._live.clear()
            with contextlib.suppress(Exception):  # the client may be closed
                self._client.unsubscribe_topic(self._topic)


@final
class _Live:
    """Counts the iterations that are done in the tasks that are out.

    It holds nothing else, as the client keeps it after the run, when an event may still arrive.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, int] = {}
        self._lock = threading.Lock()  # events come in the thread of the client
        self.n_iters = 0

    def begin(self, key: str) -> None:
        """Count the events of this task."""
        with self._lock:
            self._tasks[key] = 0

    def end(self, key: str) -> None:
        """Drop the count of this task."""
        with self._lock:
            self.n_iters -= self._tasks.pop(key, 0)

    def clear(self) -> None:
        """Drop all counts."""
        with self._lock:
            self._tasks.clear()
            self.n_iters = 0

    def hear(self, event: tuple[float, Any]) -> None:
        """Count the iterations of an event."""
        key, n_iters = event[1]
        with self._lock:
            before = self._tasks.get(key)
            if before is not None:
                self._tasks[key] = n_iters
                self.n_iters += n_iters - before
