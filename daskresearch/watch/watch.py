"""A run under watch: what it has done is counted, and told to observers.

Experiments count when they have ended. The iterations of running experiments are counted apart, as
they may come to nothing when a worker dies.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

from daskresearch.results import ResearchResults
from daskresearch.watch.observer import Done, Observer
from daskresearch.watch.progress import progress_for
from daskresearch.worker.limits import paused
from daskresearch.worker.proxies import uncaptured

logger = logging.getLogger(__name__)

_LOOK_EACH_S = 0.5


class Waiting(Protocol):
    """Where experiments of this process wait a moment to be written."""

    def flush(self) -> None:
        """Write the experiments that wait."""

    @property
    def n_unwritable(self) -> int:
        """How many experiments have failed since their values could not be written."""


@final
class Watch:
    """Counts what one run has done, and tells its observers.

    What shows progress is the first observer. The methods are for the thread that runs. Any thread
    may call what `ticker` returns, and read the attributes.

    Parameters
    ----------
    name : str
        The name of the research.
    results : ResearchResults
        The results of the run.
    n_iters : int, optional
        Iterations of each experiment.
    observers : sequence of Observer
    waiting : Waiting, optional
        Where experiments wait to be written, if they are.
    bar : bool
        Whether progress is shown.

    Attributes
    ----------
    counts_iterations : bool
        Whether anybody wants to know of iterations while their experiment runs.
    names_ended : bool
        Whether anybody wants to know which experiments have ended.
    n_experiments : int, optional
        How many experiments are expected in all; None if nobody knows.
    n_ended : int
        How many experiments have ended.
    """

    def __init__(
        self,
        name: str,
        results: ResearchResults,
        n_iters: int | None,
        observers: Sequence[Observer],
        waiting: Waiting | None,
        *,
        bar: bool,
    ) -> None:
        self._name = name
        self._results = results
        self._waiting = waiting
        progress = progress_for(n_iters) if bar else None
        shows_iterations = progress is not None and n_iters is not None
        self.counts_iterations = shows_iterations or _any_hears(observers, "iterations_done")
        self.names_ended = _any_hears(observers, "experiments_ended")
        self._observers = [*observers] if progress is None else [progress, *observers]
        self._have_raised: set[int] = set()
        self._ticks: itertools.count[int] | None = None
        self._n_reads = 0
        self._n_live = 0
        self.n_experiments: int | None = None
        self.n_ended = 0
        self._n_failed = self._n_skipped = self._n_iters_ended = 0
        self._ids: list[str] = []
        self._n_failed_told = self._n_iters_told = 0
        self._has_begun = False
        self._due_s = 0.0

    @property
    def n_failed(self) -> int:
        """How many experiments have failed."""
        return self._n_failed + (0 if self._waiting is None else self._waiting.n_unwritable)

    def expect(self, n_experiments: int | None) -> None:
        """Expect so many experiments in all; None if nobody knows."""
        self.n_experiments = n_experiments
        if self._has_begun:
            self._tell(Observer._progressed, self._done())
        else:
            self._has_begun = True
            self._tell(Observer.run_started, self._name, self._results, n_experiments)
            self._due_s = time.monotonic() + _LOOK_EACH_S

    def ticker(self, *, looks: bool) -> Callable[[], object] | None:
        """Return what experiments here call after each iteration, if anybody listens.

        Parameters
        ----------
        looks : bool
            Whether the thread that runs calls it, which then has to look, too.
        """
        if not self.counts_iterations:
            return None
        self._ticks = itertools.count()
        # one step for the interpreter, so that no thread's iteration is lost
        count = self._ticks.__next__
        if not looks:
            return count

        def tick() -> None:
            count()
            if time.monotonic() >= self._due_s:
                # neither the time nor the output of observers is that of the experiment
                with paused(), uncaptured():
                    self.look()

        return tick

    def running(self, n_iters: int) -> None:
        """Take note of how many iterations are done in tasks that run elsewhere."""
        self._n_live = n_iters

    def ended(
        self, n_experiments: int, n_failed: int, n_iters: int, ids: Sequence[str], n_skipped: int
    ) -> None:
        """Count experiments that have ended.

        Parameters
        ----------
        n_experiments, n_failed : int
        n_iters : int
            The iterations of all of them.
        ids : sequence of str
            Their ids, if `names_ended`.
        n_skipped : int
            How many had finished in a run before, as far as this run has come.
        """
        self.n_ended += n_experiments
        self._n_iters_ended += n_iters
        self._n_failed += n_failed
        self._n_skipped = n_skipped
        if self.names_ended:
            self._ids += ids
        if self._observers:
            self._tell(Observer._progressed, self._done())
            self.look()

    def look(self) -> None:
        """Tell what is new, if it is time to."""
        if time.monotonic() >= self._due_s:
            if self._has_begun:
                if self._ids and self._waiting is not None:
                    self._waiting.flush()  # a value that cannot be written is a failure, too
                self._tell_news()
            self._due_s = time.monotonic() + _LOOK_EACH_S  # from now on, however long that took

    def end(self, state: str, n_skipped: int) -> None:
        """Tell observers what is new, and that the run has ended."""
        self._n_skipped = n_skipped
        if self._has_begun:
            self._tell_news()
            self._tell(Observer.run_ended, state)

    def _done(self) -> Done:
        n_running = self._n_running()
        return Done(self.n_experiments, self.n_ended, n_running, self.n_failed, self._n_skipped)

    def _n_running(self) -> int:
        """Return how many iterations are done of experiments that have not ended."""
        if self._ticks is None:
            return self._n_live
        n_ticks = next(self._ticks) - self._n_reads  # a look is a step, too
        self._n_reads += 1
        return max(0, n_ticks - self._n_iters_ended)

    def _tell_news(self) -> None:
        if not self._observers:
            return
        done = self._done()
        self._tell(Observer._progressed, done)
        n_iters = self._n_iters_ended + done.n_running
        if self.counts_iterations and n_iters != self._n_iters_told:
            self._n_iters_told = n_iters
            self._tell(Observer.iterations_done, n_iters)
        if self._ids:
            ids, self._ids = self._ids, []
            self._tell(Observer.experiments_ended, tuple(ids), done.n_failed - self._n_failed_told)
            self._n_failed_told = done.n_failed

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        """Call a method of each observer; what one raises is logged, and spoils nothing."""
        name = what.__name__
        for observer in self._observers:
            try:
                getattr(observer, name)(*arguments)
            except Exception as error:
                if id(observer) in self._have_raised:
                    logger.debug("%s of observer %r has raised %r", name, observer, error)
                    continue
                self._have_raised.add(id(observer))
                logger.exception("%s of observer %r has raised; the run goes on", name, observer)


def _any_hears(observers: Sequence[Observer], name: str) -> bool:
    """Return whether any observer overrides a method, in its class or in itself."""
    bound = [getattr(observer, name) for observer in observers]
    return any([getattr(m, "__func__", m) is not getattr(Observer, name) for m in bound])
