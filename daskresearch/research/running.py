"""What makes a research run: `run`, `compute` and the defaults of their options."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from daskresearch.errors import FailedExperimentsWarning, OptionError, PlanError, failed_text
from daskresearch.lazy.build import LazyGraph, counts_of
from daskresearch.lazy.collection import takes_whole_graph
from daskresearch.plan import Plan, with_all_roots
from daskresearch.research.last_run import LastRun
from daskresearch.run.job import Job
from daskresearch.run.options import UNSET, RunOptions
from daskresearch.run.preparation import Preparation
from daskresearch.run.session import Session
from daskresearch.run.summary import Facts, facts_of
from daskresearch.store.environment import environment, git_state
from daskresearch.watch.observer import Observer
from daskresearch.worker.pickling import dumps

if TYPE_CHECKING:
    import pandas as pd


_SHOWN = 10_000
"""The most configs that are gone through for a preview."""


class Runnable(LastRun):
    """A plan over a domain that can be run; `Research` says what it is made of."""

    _name: str
    _plan: Plan
    _job: Job
    _is_pure: bool
    _defaults: Mapping[str, Any]
    _lazy: LazyGraph | None
    _lazy_seed: int

    @abstractmethod
    def _refuse_without_plan(self) -> None:
        """Raise if the plan was left in the folder."""

    def run(
        self,
        name: str | os.PathLike[str] | None = UNSET,
        workers: int | None = UNSET,
        branches: int | Sequence[Mapping[str, Any]] | None = UNSET,
        n_iters: int | None = UNSET,
        *,
        dump_results: bool = UNSET,
        scheduler: Any = UNSET,
        parallel: bool = UNSET,
        executor_target: str = UNSET,
        bar: bool = UNSET,
        detach: bool = UNSET,
        debug: bool = UNSET,
        finalize: bool = UNSET,
        seed: int | None = UNSET,
        create_id_prefix: bool = UNSET,
        resume: bool | str = UNSET,
        loglevel: str = UNSET,
        redirect_stdout: bool | int = UNSET,
        redirect_stderr: bool | int = UNSET,
        git_meta: bool = UNSET,
        env_meta: bool = UNSET,
        profile: bool | int = UNSET,
        retries: int | Mapping[str, int] = UNSET,
        timeout: float | None = UNSET,
        devices: Sequence[int | str] | None = UNSET,
        device_share: float = UNSET,
        memory_ratio: float | None = UNSET,
        observers: Sequence[Observer] = UNSET,
    ) -> Self:
        """Run all experiments and return this research, which then carries their results.

        Results are written to a folder while the run goes on, from where the experiments run, so
        that nothing which ends it costs more than the experiments of the last seconds. The same
        call with ``resume=True`` goes on: it runs what is not finished, be it that the run was
        killed, that experiments failed, or that the domain has grown.

        Parameters
        ----------
        name : str or PathLike, optional
            Another name for the research, which is that of its folder: a path, or any URL that
            fsspec knows.
        workers : int, optional
            Worker processes. None or 1: in this process. More: a private cluster of so many
            single-thread processes on this machine, kept for the next run. With a Client or
            threads: the most tasks at once.
        branches : int or list of dict, optional
            How many consecutive experiments of a repetition form a group, which shares the random
            stream of its root units and makes one pass through stateful roots. A list appends one
            config to each member. Default: all experiments of a repetition.
        n_iters : int, optional
            Iterations of each experiment. Default: 1 for callables alone, else until a generator is
            exhausted.
        dump_results : bool
            Whether results are written to a folder; else they are kept in memory.
        scheduler : str or distributed.Client, optional
            Where to run: ``'sync'``, ``'threads'``, ``'processes'`` or a Client. Default: the
            active Client, if there is one, else as `workers` says.
        parallel : bool
            False runs one experiment after the other in this process, whatever else is asked.
        executor_target : {'threads', 'for'}
            Whether the experiments of a lock-step group run in threads or in order.
        bar : bool
            Whether progress is shown: a bar in a terminal or a notebook, else a line now and then,
            as in a log.
        detach : bool
            Whether to return at once; `wait` for the end, `terminate` to end early.
        debug : bool
            Whether the first exception of a unit is raised at once.
        finalize : bool
            Whether the iteration in which an experiment ends early goes on to the end of the plan.
        seed : int, optional
            Makes every number that is drawn, and every id, the same in each run. Default: fresh
            entropy.
        create_id_prefix : bool
            Whether ids begin with sortable indices of the values. A domain in which values of the
            folder have other indices is refused when it is resumed, be it that values come before
            them or the indices get more digits.
        resume : bool or 'changed'
            Whether a folder that is there is gone on with: finished experiments do not run again,
            if their config and seed are the same; without `seed` that of the folder is taken. Those
            which ran before a unit changed are kept, and a warning names the unit; with
            ``'changed'`` they run again. A group in lock-step (see `branches`) of which any member
            is not finished runs again whole, as stateful roots make members depend on each other.
        loglevel : {'debug', 'info', 'warning', 'error', 'critical'}
            From which level on the records of `logging` are kept with the experiment that makes
            them. (Python leaves out what is below the level of its logger, by default
            ``'warning'``, before anyone sees it.)
        redirect_stdout, redirect_stderr : bool or int
            Where the text goes that experiments print, with a folder: 0 or False where it always
            goes, 1 or True to the table of experiments, 2 to a file ``artifacts/<id>/stdout.txt``
            of each, line by line, 3 to both. What roots print, and threads that a unit starts, goes
            where it always goes.
        git_meta, env_meta : bool
            Whether the state of the git repository, and of the Python environment, is written to
            the folder; see `attach_git_meta` and `attach_env_meta`.
        observers : sequence of Observer
            Who is told what the run does, in this process; see `Observer`.
        profile : bool or int
            Whether the cost of units is measured for `profiler`: 1 or True by unit, 2 also by the
            functions in them.
        retries : int or dict
            How often an experiment that fails runs again from its first iteration, with the same
            random numbers, by kind of failure: ``{'exception': 2, 'timeout': 1, 'worker': 0}``; a
            number is meant for all kinds. What its last run recorded is kept. A root is called
            again itself; a group in lock-step runs again whole.
        timeout : float, optional
            Seconds after which an experiment is ended and fails; the roots that it shares do not
            count. Python code is ended where it stands, and in the main thread also where it
            sleeps, reads or waits for the system. Other code that does not come back to Python is
            ended on workers by ending their process, whose other experiments run again; in this
            process it is waited for. (Code that holds the interpreter, as a regular expression may
            for long, keeps whoever would end it waiting, too.)
        devices : list of int or str, optional
            The ids of the devices of each machine, of which each experiment holds one while it
            runs, or as many as a unit asks for by ``resources={'GPU': 2}``. No two of a run hold
            one at a time, in whatever process. The id is ``EC('device')``, a list of ids if there
            are several. Default: none, unless a unit asks: then those that the process sees. A
            lock-step group holds devices together.
        device_share : float
            The part of a device that an experiment takes: ``0.5`` lets two hold it. The same is
            ``resources={'GPU': 0.5}``.
        memory_ratio : float, optional
            The part of the memory of its devices that must be free before an experiment begins;
            needs NVML.

        Raises
        ------
        OptionError, PlanError, DomainError, PickleError
            If something cannot run as asked; before anything has run.
        FolderExistsError
            If there is a folder of the name already, and `resume` is False.
        BusyError
            If another run is writing to the folder.
        StorageError
            If the folder cannot be written, as on a full disk; what was written before is kept.
        ClusterError
            If worker processes cannot be started.

        Warns
        -----
        ChangedUnitsWarning
            If experiments are kept that ran before a unit changed.

        Examples
        --------
        >>> from daskresearch import E, Research
        >>> def sample(random):
        ...     return float(random.normal())
        >>> research = Research(n_reps=2).sample(E().random, save_to="x")
        >>> first = research.run(seed=1, bar=False, dump_results=False).results.df
        >>> first.equals(research.run(seed=1, bar=False, dump_results=False).results.df)
        True
        """
        given = dict(locals())  # each argument by its name, as nothing else is there yet
        del given["self"]
        options = RunOptions.of(self._defaults, given)
        name = self._name if options.name is None else options.name
        self._last_run = session = Session(self._checked_job(), options, name, self._facts)
        self._name = name
        if options.detach:
            session.start()
        else:
            session.run()
        return self

    def options(self, **options: Any) -> Self:
        """Return a research with other defaults for options of `run`.

        The original is unchanged. `compute`, `preview`, `visualize`, `to_delayed` and Dask's
        functions use them, too; but what says where and how to run (`scheduler`, `workers`,
        `devices`, `parallel`, `bar`, `observers`, `detach`) is for `run` and `compute` alone.

        Parameters
        ----------
        **options
            Any of `run`.

        Raises
        ------
        OptionError
            If there is no such option, or it cannot have this value.

        Examples
        --------
        >>> import dask
        >>> from daskresearch import E, Research
        >>> research = Research().add_callable("step", int, args=[E().iteration], save_to="i")
        >>> (frame,) = dask.compute(research.options(n_iters=2))
        >>> list(frame.i)
        [0, 1]
        """
        defaults = {**self._defaults, **options}
        RunOptions.of(defaults)
        new = copy(self)
        new._defaults, new._last_run, new._lazy = defaults, None, None
        return new

    def compute(self, **options: Any) -> pd.DataFrame:
        """Run all experiments, keep the results in memory and return their table.

        Without `seed` the numbers that are drawn are the same each time for this research, and
        those of ``dask.compute(research)``.

        Parameters
        ----------
        **options
            Those of `run`, with ``bar=False`` as default. `scheduler` may be whatever Dask takes:
            also a function or a pool of `concurrent.futures`, which then gets the whole graph at
            once, and tells no `observers`.

        Returns
        -------
        pandas.DataFrame
            As ``results.df``.

        Warns
        -----
        FailedExperimentsWarning
            If experiments have failed, so that rows are missing; ``results.failures`` tells why.

        Raises
        ------
        OptionError, PlanError, DomainError, HashError, PickleError, ClusterError
            As `run`.

        Examples
        --------
        >>> from daskresearch import EC, Option, Research
        >>> research = Research(domain=Option("x", [2, 3])).pow(EC("x"), 2, save_to="square")
        >>> list(research.compute().square)
        [4, 9]
        """
        scheduler = options.get("scheduler")
        if self._lazy is not None and self._lazy.is_held:
            return self._compute_graph(scheduler)
        if takes_whole_graph(scheduler):
            given = {name: value for name, value in options.items() if name != "scheduler"}
            return self.options(**given)._compute_graph(scheduler)
        if options.get("detach"):
            raise OptionError(
                "compute() returns the table, so it cannot detach; use run(detach=True)"
            )
        if options.get("dump_results") or options.get("resume"):
            raise OptionError(
                "compute() keeps results in memory; use run() to write them to a folder"
            )
        own = {"bar": False, "seed": self._lazy_seed}
        chosen = RunOptions.of(
            own, self._defaults, options, {"dump_results": False, "resume": False}
        )
        self._last_run = session = Session(self._checked_job(), chosen, self._name)
        session.run()
        results = session.results
        if session.n_failed:
            first = results.failures.iloc[0]
            text = failed_text(
                session.n_failed,
                len(results),
                first["unit"],
                first["exception"],
                "results.failures",
            )
            warnings.warn(text, FailedExperimentsWarning, stacklevel=2)
        return results.df

    def _checked_job(self) -> Job:
        """Return what is to run, if there is anything."""
        self._refuse_without_plan()
        plan = with_all_roots(self._plan) if self._is_pure else self._plan
        if not plan.units:
            raise PlanError("the research has no units; add one, as by add_callable")
        return replace(self._job, plan=plan)

    def _facts(self, prepared: Preparation) -> Facts:
        """Return what a folder tells of this research beside its results."""
        chosen = prepared.options
        same = {
            name: getattr(chosen, name)
            for name in ("n_iters", "branches", "finalize", "create_id_prefix")
        }
        try:
            content = dumps(self.options(**same))
        except Exception:  # in one process what cannot be pickled simply runs
            content = None
        env = {"git.json": git_state()} if chosen.git_meta else {}
        env |= {"environment.json": environment()} if chosen.env_meta else {}
        return facts_of(prepared, counts_of(prepared, most=_SHOWN), content, env)

    def _prepared(self, *, may_be_endless: bool = False, **options: Any) -> Preparation:
        """Return what a graph, a preview and a picture are made from."""
        chosen = RunOptions.of({"seed": self._lazy_seed}, self._defaults, options)
        return Preparation(self._checked_job(), chosen, may_be_endless=may_be_endless)
