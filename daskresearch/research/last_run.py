"""A research that has run: its results, how far it is, and its folder."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from daskresearch.errors import OptionError, ResearchError
from daskresearch.graph.preview import as_frame
from daskresearch.lazy.collection import Collection
from daskresearch.markup import counted
from daskresearch.research.loaded import Stored, remove
from daskresearch.results import ResearchResults
from daskresearch.run.options import UNSET
from daskresearch.run.session import Session
from daskresearch.store.environment import environment, git_state
from daskresearch.worker.profile import ProfileRow

if TYPE_CHECKING:
    import pandas as pd

    of_class = classmethod
else:

    class of_class(classmethod):  # noqa: N801
        """A method of the class alone; on an object its name is free for a unit."""

        def __get__(self, instance, owner=None):
            """Return the method of the class."""
            if instance is not None:
                raise AttributeError
            return super().__get__(None, owner)


Run = Session | Stored
"""A run of this process, or a run that a folder tells of."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Monitor:
    """What can be seen of a run while it goes on, and afterwards."""

    _run: Run

    @property
    def n_finished(self) -> int:
        """How many experiments have ended, failed ones too."""
        return self._run.n_finished

    @property
    def n_failed(self) -> int:
        """How many experiments have failed."""
        return self._run.n_failed

    @property
    def exceptions(self) -> pd.DataFrame:
        """The failures so far; see `ResearchResults.failures`."""
        return self._run.results.failures

    def __repr__(self) -> str:
        n_ended = n_ended_text(self._run)
        return f"<Monitor of {self._run.name!r}: {n_ended} ended, {self.n_failed} failed>"


def n_ended_text(run: Run) -> str:
    """Return how many experiments of a run have ended, and of how many if known.

    A folder may hold more experiments than its first domain has, as another may take its place.
    """
    n_ended, n_experiments = run.n_finished, run.n_experiments
    if n_experiments is None or n_experiments < n_ended:
        return counted(n_ended, "experiment")
    return f"{n_ended:,} of {counted(n_experiments, 'experiment')}"


def ran_text(run: Run | None) -> str:
    """Return what a run of this process has come to, or an empty text.

    What a folder holds is not read for it, as that may take long.
    """
    if not isinstance(run, Session):
        return ""
    so_far = "" if run.is_finished else " so far"
    return f"{n_ended_text(run)} ran{so_far}, {run.n_failed} failed"


class LastRun(Collection):
    """What can be asked of a research while it runs, and afterwards."""

    _name: str
    _last_run: Run | None
    _stored: Stored | None

    @classmethod
    @abstractmethod
    def _without_plan(cls, name: str) -> Self:
        """Return a research of a name and no more."""

    def _ran(self) -> Run:
        if self._last_run is None:
            raise ResearchError(f"research {self._name!r} has no results yet; call run() first")
        return self._last_run

    @property
    def results(self) -> ResearchResults:
        """The results of the last run, also while it goes on."""
        return self._ran().results

    @property
    def monitor(self) -> Monitor:
        """What can be seen of the last run, also while it goes on."""
        return Monitor(self._ran())

    @property
    def profiler(self) -> pd.DataFrame:
        """What the units of the last run cost, if it had ``profile=``.

        One row a unit, and with ``profile=2`` one for each function in it: ``unit``, ``function``
        (empty for the unit itself), ``n_calls``, ``total_s`` in the function itself and
        ``cumulative_s`` with all that it calls, in seconds. Those that cost the most come first.
        Roots that a cluster calls apart from experiments are left out.

        Examples
        --------
        >>> from daskresearch import Research
        >>> research = Research().add_callable("total", sum, args=[[1, 2]])
        >>> research.run(bar=False, dump_results=False, profile=True).profiler[["unit", "n_calls"]]
            unit  n_calls
        0  total        1
        """
        import pandas as pd

        return pd.DataFrame(self._ran().profile, columns=ProfileRow._fields)

    @property
    def seed(self) -> int:
        """The seed of the last run, also if it was drawn, so that the run can be repeated."""
        return self._ran().seed

    @property
    def is_finished(self) -> bool:
        """Whether the last run has ended."""
        return self._ran().is_finished

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of a detached run.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: no limit.

        Returns
        -------
        bool
            Whether it has ended. What made it fail is raised here.
        """
        return self._ran().wait(timeout)

    def terminate(self) -> None:
        """Begin no further experiment of the run; those that are running end as usual."""
        self._ran().stop()

    def cancel(self, experiment_id: str) -> None:
        """End one experiment of the run that goes on, which counts as failed.

        The kind of its failure is ``'cancelled'``.
        Its Python code is ended where it stands, and other code when it comes back to Python. One
        that has not begun does not begin, and what has ended stays as it is.

        Parameters
        ----------
        experiment_id : str

        Raises
        ------
        OptionError
            If it is no str.
        """
        if not isinstance(experiment_id, str):
            raise OptionError(f"cancel needs the id of an experiment, a str, not {experiment_id!r}")
        self._ran().cancel(experiment_id)

    @of_class
    def load(cls, name: str | os.PathLike[str], *, allow_pickle: bool = False) -> Self:
        """Return the research whose results a folder holds; called as ``Research.load``.

        Its `results`, `preview` and description work without its plan. With the plan it can run
        again, and be extended.

        Parameters
        ----------
        name : str or PathLike
            A path or URL, the name that the run had.
        allow_pickle : bool
            Whether the plan, and values that no file format holds, are unpickled. That runs code of
            whoever wrote the folder: allow it only for folders that you trust.

        Raises
        ------
        StorageError
            If the folder is none of a research.
        ResearchError
            If its plan cannot be unpickled.

        Examples
        --------
        >>> import tempfile
        >>> from daskresearch import EC, Option, Research
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     name = f"{folder}/cubes"
        ...     _ = Research(name, Option("x", [2])).pow(EC("x"), 3, save_to="cube").run(bar=False)
        ...     Research.load(name).results.df.cube.item()
        ...     Research.load(name, allow_pickle=True).compute().cube.item()
        8
        8
        """
        name = os.fspath(name)
        stored = Stored.of(name, allow_pickle=allow_pickle)
        if not allow_pickle:
            research = cls._without_plan(name)
            research._stored = stored
        else:
            research = stored.unpickled()
            if not isinstance(research, cls):
                raise ResearchError(
                    f"the plan of {name!r} is no Research but {type(research).__name__}"
                )
            research._name = name
        research._last_run = stored
        return research

    @of_class
    def remove(cls, name: str | os.PathLike[str], ask: bool = True) -> None:
        """Remove the folder of a research; called as ``Research.remove``.

        Only files that a research writes are removed.

        Parameters
        ----------
        name : str or PathLike
            A path or URL, the name that the run had.
        ask : bool
            Whether to ask first, in the terminal.

        Raises
        ------
        StorageError
            If the folder is none of a research, is being written to, or holds other files, which
            stay.
        OptionError
            If there is no terminal to ask in.

        Examples
        --------
        >>> import os, tempfile
        >>> from daskresearch import Research
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Research(f"{folder}/mistake").print("oh").run(bar=False)
        ...     Research.remove(f"{folder}/mistake", ask=False)
        ...     os.listdir(folder)
        []
        """
        remove(os.fspath(name), ask=ask)

    def preview(self, n_iters: int | None = UNSET, branches: Any = UNSET) -> pd.DataFrame:  # noqa: D102
        if self._stored is not None:
            return as_frame(self._stored.counts)
        return super().preview(n_iters, branches)

    preview.__doc__ = Collection.preview.__doc__

    def attach_env_meta(self) -> Self:
        """Write the state of the Python environment to the folder of the last run.

        The file ``env/environment.json`` tells the versions of Python and all installed packages,
        the machine, and the environment variables that set numbers of threads and visible GPUs; no
        other variables, as they may hold secrets.

        Examples
        --------
        >>> import tempfile
        >>> from daskresearch import Research
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     research = Research(f"{folder}/env").add_callable(len, args=["abc"], save_to="n")
        ...     research.run(bar=False).attach_env_meta()
        <Research ...: 1 experiments of len; 1 of 1 experiment ran, 0 failed>
        """
        self._ran().attach("environment.json", environment())
        return self

    def attach_git_meta(self, path: str = ".") -> Self:
        """Write the state of a git repository to the folder of the last run.

        The file ``env/git.json`` tells the commit, branch, status, the difference to the commit,
        and the last commits.

        Parameters
        ----------
        path : str
            A folder of the repository.

        Raises
        ------
        OptionError
            If there is no repository, or no git.
        """
        self._ran().attach("git.json", git_state(path))
        return self
