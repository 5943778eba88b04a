"""A run under watch: what it has done is counted, shown, and told to observers.

Experiments count when they have ended; of those that run, iterations count apart from these, as they may come to
nothing when a worker dies.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

from daskresearch.results import ResearchResults
from daskresearch.watch.observer import Observer
from daskresearch.watch.progress import Done, Progress, Silent, progress_for
from daskresearch.worker.limits import paused
from daskresearch.worker.proxies import uncaptured

logger = logging.getLogger(__name__)

_LOOK_EACH_S = 0.5


class Waiting(Protocol):
    """Where experiments of this process wait a moment to be written."""

    def flush(self) -> None:
        """Write what waits."""

    @property
    def n_unwritable(self) -> int:
        """How many experiments have failed since their values could not be written."""


@final
class Watch:
    """Counts what one run has done, for the thread that runs it; what `ticker` gives may be called by any thread.

    Parameters
    ----------
    name : str
        Of the research.
    results : ResearchResults
        Those of the run.
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
        self._shows = bar
        self._waiting = waiting
        self._progress: Progress = progress_for(n_iters, name) if bar else Silent()
        self._observers = [_Guarded(one) for one in observers]
        listens = any(
            [type(one).iterations_done is not Observer.iterations_done for one in observers]
        )
        self.counts_iterations = listens or (bar and n_iters is not None)
        self.names_ended = bool(observers)
        self._ticks: itertools.count[int] | None = None
        self._n_reads = 0
        self._n_live = 0
        self._n_ended = self._n_failed = self._n_skipped = self._n_iters_ended = 0
        self._ids: list[str] = []
        self._n_failed_told = self._n_iters_told = 0
        self._has_begun = False
        self._due_s = 0.0

    def expect(self, n_experiments: int | None) -> None:
        """Expect so many experiments in all; None if nobody knows."""
        self._progress.expect(n_experiments)
        if not self._has_begun:
            self._has_begun = True
            self._tell(Observer.run_started, self._name, self._results, n_experiments)
            self._due_s = time.monotonic() + _LOOK_EACH_S

    def ticker(self, *, looks: bool) -> Callable[[], object] | None:
        """Return what experiments of this process call after each iteration, if anybody wants to know.

        Parameters
        ----------
        looks : bool
            Whether it is called by the thread that runs, which has then to look, too.
        """
        if not self.counts_iterations:
            return None
        self._ticks = itertools.count()
        count = (
            self._ticks.__next__
        )  # one step for the interpreter, so that no thread's iteration is lost
        if not looks:
            return count

        def tick() -> None:
            count()
            if time.monotonic() >= self._due_s:
                with paused(), uncaptured():  # it is not of the experiment that has come so far
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
            Theirs, if they are to be named.
        n_skipped : int
            How many had finished in a run before, as far as this one has come.
        """
        self._n_ended += n_experiments
        self._n_iters_ended += n_iters
        self._n_failed += n_failed
        self._n_skipped = n_skipped
        if self._observers:
            self._ids += ids
            self.look()
        if self._shows:
            self._progress.at(self._done())

    def look(self) -> None:
        """Show and tell what is new, if it is time to."""
        if time.monotonic() >= self._due_s:
            if self._has_begun:
                if self._ids and self._waiting is not None:
                    self._waiting.flush()  # a value that cannot be written is a failure, too
                self._progress.at(self._done())
                self._tell_news()
            self._due_s = time.monotonic() + _LOOK_EACH_S  # from now on, however long that took

    def close(self, n_skipped: int) -> None:
        """Show where the run has ended."""
        self._n_skipped = n_skipped
        if self._has_begun:
            self._progress.at(self._done())
        self._progress.close()

    def end(self, state: str) -> None:
        """Tell observers that the run has ended, and what is new before."""
        if self._has_begun:
            self._tell_news()
            self._tell(Observer.run_ended, state)

    def _done(self) -> Done:
        n_unwritable = 0 if self._waiting is None else self._waiting.n_unwritable
        return Done(
            self._n_ended, self._n_running(), self._n_failed + n_unwritable, self._n_skipped
        )

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
        if self.counts_iterations:
            n_iters = self._n_iters_ended + self._n_running()
            if n_iters != self._n_iters_told:
                self._n_iters_told = n_iters
                self._tell(Observer.iterations_done, n_iters)
        if self._ids:
            ids, self._ids = self._ids, []
            n_failed = self._done().n_failed
            self._tell(Observer.experiments_ended, tuple(ids), n_failed - self._n_failed_told)
            self._n_failed_told = n_failed

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        for observer in self._observers:
            observer.tell(what.__name__, *arguments)


@final
class _Guarded:
    """An observer whose exceptions do not spoil the run."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._has_raised = False

    def tell(self, what: str, *arguments: Any) -> None:
        """Call a method of the observer."""
        try:
            getattr(self._observer, what)(*arguments)
        except Exception as error:
            if self._has_raised:
                logger.debug("%s of observer %r has raised %r", what, self._observer, error)
                return
            self._has_raised = True
            logger.exception("%s of observer %r has raised; the run goes on", what, self._observer)
