"""What a user can hang on a run: an `Observer`, which is told what the run does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from daskresearch.results import ResearchResults


class Done(NamedTuple):
    """What a run has done so far.

    Attributes
    ----------
    n_experiments : int, optional
        All experiments of the run, as far as its domains are known; None if nobody knows.
    n_ended : int
        Experiments that have ended.
    n_running : int
        Iterations of experiments that have not ended.
    n_failed : int
        Experiments that have ended and failed.
    n_skipped : int
        Experiments that had finished in a run before.
    """

    n_experiments: int | None
    n_ended: int = 0
    n_running: int = 0
    n_failed: int = 0
    n_skipped: int = 0


class Observer:
    """Is told what a run does; override what you want to know, the rest does nothing.

    Observers live in the process that runs the research, never in workers. The thread that runs the
    research tells them one thing at a time. An observer may take its time, which makes nothing
    wrong, but what it is told next comes later. What an observer raises is logged (the first time
    with its traceback), and the run goes on. An observer need not be picklable, and is not written
    to the folder of the run.

    Examples
    --------
    >>> from daskresearch import EC, Observer, Option, Research
    >>> class Printed(Observer):
    ...     def run_started(self, name, results, n_experiments):
    ...         self.results = results
    ...         print(name, "has", n_experiments, "experiments")
    ...
    ...     def experiments_ended(self, ids, n_failed):
    ...         print(list(self.results.to_df(experiment_id=ids).square))
    ...
    ...     def run_ended(self, state):
    ...         print("the run has", state)
    >>> research = Research("squares", Option("x", [3])).pow(EC("x"), 2, save_to="square")
    >>> _ = research.run(observers=[Printed()], bar=False, dump_results=False)
    squares has 1 experiments
    [9]
    the run has finished
    """

    def run_started(self, name: str, results: ResearchResults, n_experiments: int | None) -> None:
        """Learn that a run begins.

        Parameters
        ----------
        name : str
            The name of the research.
        results : ResearchResults
            The results of the run; they hold what there is so far whenever they are read.
        n_experiments : int, optional
            How many experiments the domain has, with those that a folder holds already; None if it
            is endless. Another domain may take its place (`Research.update_domain`).
        """

    def iterations_done(self, n_iters: int) -> None:
        """Learn how far a run is, at most about twice a second.

        This is told within long experiments, too.

        Parameters
        ----------
        n_iters : int
            How many iterations have been done in all. The number falls if a worker has died, as its
            experiments begin anew.
        """

    def experiments_ended(self, ids: Sequence[str], n_failed: int) -> None:
        """Learn which experiments have ended lately, at most about twice a second.

        Each experiment is told once, when ``results.to_df(experiment_id=ids)`` has its rows and
        ``results.failures`` tells why it failed. Experiments that a folder holds from a run before
        are not told.

        Parameters
        ----------
        ids : sequence of str
        n_failed : int
            How many of them have failed.
        """

    def run_ended(self, state: str) -> None:
        """Learn that a run has ended, and how.

        Parameters
        ----------
        state : str
            ``'finished'``, ``'stopped'`` by `Research.terminate` or Ctrl-C, or ``'ended by'`` the
            name of an exception.
        """

    def _progressed(self, done: Done) -> None:
        """Learn all counts when any has changed; for progress bars, which are quick."""
