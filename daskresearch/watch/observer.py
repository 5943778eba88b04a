"""What a user can hang on a run: an `Observer`, told of it while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daskresearch.results import ResearchResults


class Observer:
    """Is told what a run does; override what you want to know, the rest does nothing.

    Observers live in the process that runs the research, never in workers, and are told one thing at a time, by the
    thread that runs it. They may take their time, which makes nothing wrong, but what they are told next comes later.
    What an observer raises is logged (the first time with its traceback), and the run goes on. It need not be
    pickled, and is not written to the folder of the run.

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
            Of the research.
        results : ResearchResults
            Those of the run, so far whenever they are read.
        n_experiments : int, optional
            How many the domain has, those that a folder holds already too; None if it is endless. It may be replaced
            by another (`Research.update_domain`).
        """

    def iterations_done(self, n_iters: int) -> None:
        """Learn how far a run is, also within experiments that take long; at most about twice a second.

        Parameters
        ----------
        n_iters : int
            How many iterations have been done in all. It falls if a worker has died, as its experiments begin anew.
        """

    def experiments_ended(self, ids: Sequence[str], n_failed: int) -> None:
        """Learn which experiments have ended since the last call; at most about twice a second.

        Each one is told once, when ``results.to_df(experiment_id=ids)`` has its rows and ``results.failures`` tells why
        it failed. Those that a folder holds from a run before are not told.

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
            ``'finished'``, ``'stopped'`` by `Research.terminate` or Ctrl-C, or ``'ended by'`` the name of an exception.
        """
