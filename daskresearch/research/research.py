"""The user's face: `Research`, a plan over a domain that can be run or computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self, final

from daskresearch.counts import as_count
from daskresearch.domain import Domain, draw_seed
from daskresearch.errors import OptionError, PlanError, ResearchError
from daskresearch.graph import Counts
from daskresearch.lazy.build import LazyGraph, counts_of
from daskresearch.plan import Plan, R, Schedule, expressions_in
from daskresearch.plan.vocabulary import Experiment, Vocabulary
from daskresearch.research.last_run import Run, ran_text
from daskresearch.research.loaded import Stored
from daskresearch.research.running import Runnable
from daskresearch.run.job import DomainUpdate, Job

_SHOWN = 10_000
"""The most configs that are gone through for a repr."""


@final
class Research(Vocabulary, Runnable):
    """Experiments to be run: a plan over a domain of parameters.

    Each word of the plan returns a new research; `run` returns the research it was called on, which
    then carries the results. A research is also a Dask collection: nothing runs before it is
    computed, and ``dask.compute(research)`` gives its table.

    Parameters
    ----------
    name : str or PathLike
        Of the research and its folder: a path, or any URL that fsspec knows.
    domain : Domain or Mapping, optional
        Default: one empty config.
    experiment : Experiment, optional
        A plan to begin with.
    n_configs : int, optional
        How many configs are taken, before repetitions; above its size the domain starts over.
        Default: all.
    n_reps : int
        How often each config is run.
    repeat_each : int, optional
        Configs in a block that is repeated. Default: all, or 100 of an endless domain.
    pure : bool
        Whether every callable is a root, as far as its arguments allow.

    Raises
    ------
    DomainError, PlanError, OptionError
        If an argument is not what it should be.

    Examples
    --------
    >>> from daskresearch import EC, O, Option, Research
    >>> def power(a, b):
    ...     return a ** b
    >>> domain = Option("a", [2, 3]) * Option("b", [3, 2])
    >>> research = Research(domain=domain).power(EC("a"), EC("b"), save_to="power")
    >>> research.run(bar=False, dump_results=False).results.df[["a", "b", "power"]]
       a  b  power
    0  2  3      8
    1  2  2      4
    2  3  3     27
    3  3  2      9
    """

    def __init__(
        self,
        name: str | os.PathLike[str] = "research",
        domain: Domain | Mapping[str, Any] | None = None,
        experiment: Experiment | None = None,
        n_configs: int | None = None,
        n_reps: int = 1,
        repeat_each: int | None = None,
        pure: bool = False,
    ) -> None:
        if isinstance(name, os.PathLike):
            name = os.fspath(name)
        if not isinstance(name, str):
            raise OptionError(
                f"the name of a research must be a str, not {name!r}; give the domain as domain="
            )
        if experiment is not None and not isinstance(experiment, Experiment):
            raise OptionError(f"experiment must be an Experiment(), not {experiment!r}")
        self._name = name
        self._plan = Plan() if experiment is None else experiment._plan
        self._namespaces: tuple[Any, ...] = () if experiment is None else experiment._namespaces
        self._job = Job(
            self._plan,
            Domain(domain),
            as_count("n_configs", n_configs, OptionError),
            as_count("n_reps", n_reps, OptionError) or 1,
            as_count("repeat_each", repeat_each, OptionError),
        )
        self._is_pure = pure
        self._defaults: Mapping[str, Any] = {}
        self._last_run: Run | None = None
        self._stored: Stored | None = None
        self._lazy: LazyGraph | None = None
        self._lazy_seed = draw_seed()

    @classmethod
    def _without_plan(cls, name: str) -> Self:
        return cls(name)

    def _refuse_without_plan(self) -> None:
        if self._stored is not None:
            raise ResearchError(
                f"the plan of {self._name!r} was left in its folder, as unpickling it runs code; "
                f"load it with Research.load({self._stored.name!r}, allow_pickle=True) if you "
                "trust whoever wrote the folder"
            )

    def _with(self, plan: Plan, namespaces: tuple[Any, ...]) -> Self:
        self._refuse_without_plan()
        new = copy(self)
        new._plan, new._namespaces, new._last_run, new._lazy = plan, namespaces, None, None
        return new

    def __getstate__(self) -> dict[str, Any]:
        lazy = self._lazy if self._lazy is not None and self._lazy.is_held else None
        defaults = {name: value for name, value in self._defaults.items() if name != "observers"}
        # a run does not travel, and neither do those who watch it; what is to run does
        return {**self.__dict__, "_last_run": None, "_lazy": lazy, "_defaults": defaults}

    def update_domain(
        self,
        function: Callable[..., Any],
        when: int | str | Sequence[int | str] = "last",
        **kwargs: Any,
    ) -> Self:
        """Return a research whose domain is replaced while it runs.

        Parameters
        ----------
        function : callable
            Returns a new domain, which takes the place of what is left, or None to go on.
        when : int, str or list
            After which experiments, counted over the whole run, it is called: ``n`` after every
            n-th, ``'#k'`` after experiment k (from zero), ``'last'`` when the domain has come to
            its end.
        **kwargs
            Its arguments; ``R()`` in them stands for the results so far, which are those of exactly
            the experiments counted.

        Examples
        --------
        >>> from daskresearch import EC, Option, R, Research
        >>> def double(results):
        ...     last = results.df.y.iloc[-1]
        ...     return Option("x", [last]) if last < 8 else None
        >>> research = Research(domain=Option("x", [1]))
        >>> research = research.add_callable("y", lambda x: 2 * x, args=[EC("x")], save_to="y")
        >>> research = research.update_domain(double, "last", results=R())
        >>> list(research.run(bar=False, dump_results=False).results.df.y)
        [2, 4, 8]
        """
        if not callable(function):
            raise PlanError(f"update_domain needs a function, not {function!r}")
        for part in expressions_in(kwargs):
            if not part._children() and not isinstance(part, R):
                raise PlanError(
                    "update_domain runs between experiments, where only R() has a value, not "
                    f"{part!r}"
                )
        new = copy(self)
        new._job = replace(self._job, update=DomainUpdate(function, Schedule.parse(when), kwargs))
        new._last_run, new._lazy = None, None
        return new

    @property
    def name(self) -> str:
        """The name of the research."""
        return self._name

    @property
    def domain(self) -> Domain:
        """The domain that a run begins with."""
        self._refuse_without_plan()
        return self._job.domain

    def _repr_html_(self) -> str:
        from daskresearch.draw.research import research_html

        if self._stored is not None:
            return self._stored.results._html("Research", f"{self._name}, loaded from its folder")
        try:
            counts = counts_of(self._prepared(may_be_endless=True), most=_SHOWN)
        except ResearchError:  # it is shown as far as it is described
            counts = Counts(self._job.size, None, None, None, {}, {})
        ran = ran_text(self._last_run)
        return research_html(self._name, self._job.domain, self._plan, counts, ran)

    def __repr__(self) -> str:
        if self._stored is not None:
            return repr(self._stored)
        units = " -> ".join(unit.name for unit in self._plan.units)
        size = self._job.size
        n_experiments = "endless" if size is None else str(size)
        ran = ran_text(self._last_run)
        return (
            f"<Research {self._name!r}: {n_experiments} experiments of {units or 'no units'}"
            f"{'; ' if ran else ''}{ran}>"
        )
