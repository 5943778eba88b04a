"""The workers that a cluster has at the moment, and how many batches each has."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import final

logger = logging.getLogger(__name__)

_LOOK_EACH_S = 1
_ALONE_S = 3
_NO_WORKER = (
    "the cluster has no worker; experiments wait until one joins; "
    "one that leaves at once tells why in its log"
)


@final
class Crew:
    """The workers of a cluster, which join and leave while a run goes on.

    Parameters
    ----------
    threads_of : callable
        Returns the number of threads of each worker by its address; called at most once a second.
    bound : int, optional
        The most batches that may run at once. Default: as many as there are threads.
    clock : callable
        Returns seconds.

    Examples
    --------
    >>> crew = Crew(lambda: {"tcp://a": 1, "tcp://b": 4})
    >>> crew.look()
    >>> crew.slots, crew.least_busy()
    (5, 'tcp://a')
    >>> crew.begin("tcp://a")
    >>> crew.least_busy()
    'tcp://b'
    """

    def __init__(
        self,
        threads_of: Callable[[], Mapping[str, int]],
        bound: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads_of = threads_of
        self._bound = bound
        self._clock = clock
        self._threads: Mapping[str, int] = {}
        self._n_out: dict[str, int] = {}
        self._look_at_s = -math.inf
        self._alone_at_s = clock() + _ALONE_S

    def look(self) -> None:
        """Look which workers there are, at most once a second; warn if none are for long."""
        now = self._clock()
        if now < self._look_at_s:
            return
        self._look_at_s = now + _LOOK_EACH_S
        self._threads = self._threads_of()
        self._n_out = {address: self._n_out.get(address, 0) for address in self._threads}
        if self._threads:
            self._alone_at_s = now + _ALONE_S
        elif now >= self._alone_at_s:
            self._alone_at_s = math.inf
            logger.warning(_NO_WORKER)

    @property
    def is_empty(self) -> bool:
        """Whether there was no worker at the last look."""
        return not self._threads

    @property
    def slots(self) -> int:
        """How many batches may run at once, at least one."""
        return self._bound or max(1, self._n_threads)

    @property
    def is_larger(self) -> bool:
        """Whether the workers could run more batches at once than they may."""
        return self._n_threads > self.slots

    @property
    def _n_threads(self) -> int:
        return sum(self._threads.values())

    def least_busy(self) -> str | None:
        """Return the worker that has the fewest batches for its threads."""
        return min(
            self._threads,
            key=lambda address: self._n_out[address] / self._threads[address],
            default=None,
        )

    def has_lost(self, address: str | None) -> bool:
        """Return whether a worker has left while others are there."""
        return address is not None and bool(self._threads) and address not in self._threads

    def begin(self, address: str) -> None:
        """Count a batch that was handed to a worker."""
        self._n_out[address] += 1

    def end(self, address: str | None) -> None:
        """Count a batch as ended, whose worker may have left."""
        if address in self._n_out:
            self._n_out[address] -= 1
