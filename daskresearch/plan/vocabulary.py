"""The chainable words by which a `Research` or an `Experiment` describes its plan."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from types import ModuleType
from typing import Any, Self, final

from daskresearch.errors import PlanError
from daskresearch.plan import Expression, Kind, O, Plan, Schedule, Unit, variables_of
from daskresearch.plan.description import described_unit
from daskresearch.plan.short_form import find_function

# names that Dask, IPython, pandas and copy protocols look for on any object
_PROBED = frozenset(
    {"dask", "expr", "shape", "dtype", "compute", "persist", "to_delayed", "getdoc", "trait_names"}
)


class Vocabulary(ABC):
    """The words of a plan; each returns a new object, the original is unchanged."""

    _plan: Plan
    _namespaces: tuple[Any, ...]
    _is_pure = False

    @abstractmethod
    def _with(self, plan: Plan, namespaces: tuple[Any, ...]) -> Self:
        """Return a copy with another plan and other namespaces."""

    @property
    def plan(self) -> Plan:
        """The ordered units."""
        return self._plan

    def _adding(self, unit: Unit) -> Self:
        return self._with(self._plan.added(unit), self._namespaces)

    def add_callable(
        self,
        name_or_function: str | Callable[..., Any],
        func: Callable[..., Any] | None = None,
        args: Sequence[Any] | Expression | None = None,
        when: int | str | Sequence[int | str] = 1,
        save_to: str | Sequence[str] | None = None,
        root: bool = False,
        save_output_dict: bool = False,
        dump: Any = None,
        version: str | None = None,
        resources: Mapping[str, float] | None = None,
        copy: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Add a function that is called once in each iteration that `when` names.

        Parameters
        ----------
        name_or_function : str or callable
            The function, whose ``__name__`` is the unit's name; or the name, with `func`.
            ``'instance.method'`` without `func` is the method of an instance that was added before.
            A name that is taken gets ``_1``, ``_2``, ...
        func : callable, optional
            A bound method stays bound to its one object for all experiments of a process;
            `add_instance` makes an object for each.
        args : sequence or Expression, optional
            Positional arguments; named expressions in them are evaluated at each call, and lists,
            dicts and sets are handed out as new ones.
        when : int, str or list
            See `daskresearch.plan.Schedule.parse`.
        save_to : str or list of str, optional
            The variable that the output is recorded as, or one for each part of a sequence output.
        root : bool
            Promises that equal inputs give equal outputs, so that experiments share calls.
        save_output_dict : bool
            Whether the output is a dict whose items are recorded as variables.
        dump : int, str or list, optional
            Accepted as BatchFlow has it, and without effect: an experiment is written when it has
            ended.
        version : str, optional
            Stands for the function's code where it is compared with another run's.
        resources : Mapping, optional
            What a call needs of a worker, such as ``{'GPU': 1}``.
        copy : bool
            For roots: whether each experiment gets its own copy of the output. Else it is shared,
            read-only.
        **kwargs
            Keyword arguments. ``kwargs=EC()`` spreads a dict among them; by ``kwargs={'copy':
            True}`` a function gets an argument that has the name of one above.

        Raises
        ------
        PlanError
            If the unit cannot be what is asked.

        Examples
        --------
        >>> from daskresearch import EC, Option, Research
        >>> research = Research(domain=Option("x", [1, 2]))
        >>> research = research.add_callable(pow, args=[EC("x"), 3], save_to="cube")
        >>> list(research.run(bar=False, dump_results=False).results.df.cube)
        [1, 8]
        """
        if copy and not (root or self._is_pure):
            raise PlanError(
                "copy=True is for root units; use kwargs={'copy': True} to hand it to the function"
            )
        return self._adding(
            described_unit(
                Kind.CALLABLE, name_or_function, func, args, kwargs,
                when=when, save_to=save_to, save_output_dict=save_output_dict,
                is_root=root, copies=copy, dump=dump, version=version, resources=resources,
            )
        )  # fmt: skip

    def add_generator(
        self,
        name_or_function: str | Callable[..., Any],
        func: Callable[..., Any] | None = None,
        args: Sequence[Any] | Expression | None = None,
        when: int | str | Sequence[int | str] = 1,
        save_to: str | Sequence[str] | None = None,
        root: bool = False,
        save_output_dict: bool = False,
        dump: Any = None,
        version: str | None = None,
        resources: Mapping[str, float] | None = None,
        copy: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Add a generator, of which each iteration takes the next item.

        Any function that returns an iterable will do.

        It is called in the first iteration that `when` names. When it is exhausted the experiment
        ends with that iteration, in which the last item is recorded again.

        Parameters
        ----------
        name_or_function, func, args, when, save_to, root, save_output_dict, dump, version,
        resources, copy, **kwargs
            As in `add_callable`.

        Examples
        --------
        >>> from daskresearch import Research
        >>> research = Research().add_generator(range, args=[2], save_to="i")
        >>> list(research.run(bar=False, dump_results=False).results.df.i)
        [0, 1, 1]
        """
        if copy and not (root or self._is_pure):
            raise PlanError(
                "copy=True is for root units; use kwargs={'copy': True} to hand it to the function"
            )
        return self._adding(
            described_unit(
                Kind.GENERATOR, name_or_function, func, args, kwargs,
                when=when, save_to=save_to, save_output_dict=save_output_dict,
                is_root=root, copies=copy, dump=dump, version=version, resources=resources,
            )
        )  # fmt: skip

    def add_instance(
        self,
        name: str,
        creator: Callable[..., Any],
        root: bool = False,
        args: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Add an instance, whose methods can be units and whose attributes arguments.

        It is built in iteration 0.

        Parameters
        ----------
        name : str
            ``'name.method'`` is then a unit's name, and ``E('name')`` the instance.
        creator : callable
            The class, or a function that returns the instance.
        root : bool
            Whether the experiments of a group share one instance.
        args : sequence or Expression, optional
        **kwargs
            Arguments of the creator, as in `add_callable`.

        Examples
        --------
        >>> from collections import Counter
        >>> from daskresearch import Research
        >>> research = Research().add_instance("counter", Counter, args=["abca"])
        >>> research = research.add_callable("counter.most_common", args=[1], save_to="top")
        >>> list(research.run(bar=False, dump_results=False).results.df.top)
        [[('a', 2)]]
        """
        if not isinstance(name, str) or "." in name:
            raise PlanError(f"the name of an instance must be a str without dots, not {name!r}")
        if name in self._plan.by_name:
            raise PlanError(f"there is a unit {name!r} already; name the instance otherwise")
        return self._adding(
            described_unit(Kind.INSTANCE, name, creator, args, kwargs, when="#0", is_root=root)
        )

    def save(
        self,
        src: Any,
        dst: str | Sequence[str] | None = None,
        when: int | str | Sequence[int | str] = 1,
        copy: bool = False,
        save_output_dict: bool = False,
    ) -> Self:
        """Add a step that records a value.

        Parameters
        ----------
        src : Expression or str
            The value; a str means the output of the unit of this name.
        dst : str or list of str
            The variable, or one for each part of a sequence; none with `save_output_dict`.
        when : int, str or list
        copy : bool
            Whether a deep copy is recorded, for values that later units change.
        save_output_dict : bool
            Whether the value is a dict whose items are recorded as variables.

        Examples
        --------
        >>> from daskresearch import O, Research
        >>> research = Research().divmod(7, 3).save(O("divmod"), ["quotient", "remainder"])
        >>> frame = research.run(bar=False, dump_results=False).results.df
        >>> frame[["quotient", "remainder"]].values.tolist()
        [[2, 1]]
        """
        if dst is None and not save_output_dict:
            raise PlanError(f"save({src!r}) needs a name to save to, or save_output_dict=True")
        name = f"save_{dst if isinstance(dst, str) else '_'.join(map(str, dst or ['dict']))}"
        source = O(src) if isinstance(src, str) else src
        return self._adding(
            Unit(
                name=name,
                kind=Kind.SAVE,
                kwargs={"source": source},
                schedule=Schedule.parse(when),
                saves=variables_of(name, dst, save_output_dict),
                saves_dict=save_output_dict,
                copies=copy,
            )
        )

    def dump(
        self, variable: str | None = None, when: int | str | Sequence[int | str] = "last"
    ) -> Self:
        """Add a step that writes what was recorded so far.

        Accepted as BatchFlow has it, and without effect: `run` writes each experiment within a
        second or so of its end, and none in parts, so that a folder holds whole experiments only.

        Parameters
        ----------
        variable : str, optional
            Default: all variables.
        when : int, str or list
        """
        return self._adding(
            Unit(f"dump_{variable or 'all'}", Kind.DUMP, schedule=Schedule.parse(when))
        )

    def add_namespace(self, *namespaces: ModuleType | Mapping[str, Any]) -> Self:
        """Add modules or dicts in which the short form looks for functions.

        Examples
        --------
        >>> import math
        >>> from daskresearch import Research
        >>> research = Research().add_namespace(math).sqrt(16, save_to="root")
        >>> list(research.run(bar=False, dump_results=False).results.df.root)
        [4.0]
        """
        for namespace in namespaces:
            if not isinstance(namespace, (Mapping, ModuleType)):
                raise PlanError(
                    f"a namespace must be a module or a dict of functions, not {namespace!r}"
                )
        return self._with(self._plan, (*self._namespaces, *namespaces))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or name in _PROBED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        function = find_function(name, sys._getframe(1), self._namespaces, dir(type(self)))

        def add(*args: Any, mode: str = "callable", **kwargs: Any) -> Any:
            """Add the function as a unit; see `add_callable` and `add_generator`."""
            if mode not in ("callable", "func", "generator"):
                raise PlanError(
                    f"mode of unit {name!r} must be 'callable' or 'generator', not {mode!r}"
                )
            if args and kwargs.get("args") is not None:
                raise PlanError(
                    f"unit {name!r} has positional arguments twice: {args!r} and "
                    f"args={kwargs['args']!r}"
                )
            kwargs["args"] = list(args) or kwargs.get("args")
            method = self.add_generator if mode == "generator" else self.add_callable
            return method(name, function, **kwargs)

        return add


@final
class Experiment(Vocabulary):
    """A plan by itself, for several researches to share.

    Examples
    --------
    >>> from daskresearch import EC, Experiment, Option, Research
    >>> experiment = Experiment().pow(EC("x"), 2, save_to="square")
    >>> research = Research(domain=Option("x", [3]), experiment=experiment)
    >>> list(research.run(bar=False, dump_results=False).results.df.square)
    [9]
    """

    def __init__(self) -> None:
        self._plan = Plan()
        self._namespaces: tuple[Any, ...] = ()

    def _with(self, plan: Plan, namespaces: tuple[Any, ...]) -> Self:
        new = copy(self)
        new._plan, new._namespaces = plan, namespaces
        return new

    def _repr_html_(self) -> str:
        return self._plan._repr_html_()

    def __repr__(self) -> str:
        return f"<Experiment: {' -> '.join(unit.name for unit in self._plan.units)}>"
