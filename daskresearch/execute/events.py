"""News from tasks that run on a cluster: each says now and then how many iterations it has done.

They travel as events of Dask on a topic of the run. A task that is run again, as its worker died, begins again at
zero; one that is not out says nothing that counts.
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
        """Take note of how many iterations are done in tasks that run elsewhere."""

    def look(self) -> None:
        """Show and tell what is new, if it is time to."""


@final
@dataclass(frozen=True, slots=True)
class Reporter:
    """Travels to the workers, and gives each task there what it calls after each iteration.

    Attributes
    ----------
    topic : str
        Of the run.
    """

    topic: str

    def __call__(self) -> Callable[[], object]:
        """Return what the task calls whose thread this is; only the first half second goes by without an event."""
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
        Of the run; empty if nobody wants to know of iterations.
    watcher : Watcher
    """

    def __init__(self, client: Client, topic: str, watcher: Watcher) -> None:
        self._client = client
        self._topic = topic
        self._watcher = watcher
        self._live = _Live()
        self._listens = False

    def listen(self) -> None:
        """Listen from now on."""
        if self._topic and not self._listens:
            self._listens = True
            self._client.subscribe_topic(self._topic, self._live.hear)

    def begin(self, key: str) -> None:
        """Count what the task of this key says."""
        if self._topic:
            self._live.begin(key)

    def end(self, key: str) -> None:
        """Forget what the task of this key has said, as what came of it is known now."""
        self._live.end(key)
        self._watcher.running(self._live.n_iters)

    def look(self) -> None:
        """Let the watcher look at what was heard."""
        self._watcher.running(self._live.n_iters)
        self._watcher.look()

    def close(self) -> None:
        """Listen no more."""
        if self._listens:
            self._listens = False
            self._live.clear()
            with contextlib.suppress(Exception):  # a client that is closed has nobody to tell
                self._client.unsubscribe_topic(self._topic)


@final
class _Live:
    """How many iterations are done in the tasks that are out.

    The client keeps it after the end of a run, since an event may still be on its way, so it holds nothing else.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, int] = {}
        self._lock = threading.Lock()  # events come in the thread of the client
        self.n_iters = 0

    def begin(self, key: str) -> None:
        """Count what this task says."""
        with self._lock:
            self._tasks[key] = 0

    def end(self, key: str) -> None:
        """Count it no more."""
        with self._lock:
            self.n_iters -= self._tasks.pop(key, 0)

    def clear(self) -> None:
        """Count nothing more."""
        with self._lock:
            self._tasks.clear()
            self.n_iters = 0

    def hear(self, event: tuple[float, Any]) -> None:
        """Take note of an event."""
        key, n_iters = event[1]
        with self._lock:
            before = self._tasks.get(key)
            if before is not None:
                self._tasks[key] = n_iters
                self.n_iters += n_iters - before
