"""A research as a Dask collection: a lazy graph, and pictures and counts of it.

- Nothing runs before the graph is computed.
- The graph has an output for each experiment, or for each group in lock-step.
- What experiments share is in it once, also where several researches are computed together and
  their units have equal names.
- The calls of a graph are fixed before it runs. So it also calls roots of an experiment that fails
  before it needs them.
- An error in a Delayed that is an argument of a unit raises, as anywhere in Dask; with `run` it
  fails the experiments.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from copy import copy
from typing import TYPE_CHECKING, Any, Self

from daskresearch.counts import as_count
from daskresearch.errors import OptionError
from daskresearch.graph.preview import as_frame
from daskresearch.lazy.build import LazyGraph, build, counts_of, first_nodes, token_of
from daskresearch.lazy.frames import Columns, frame_of
from daskresearch.run.options import UNSET
from daskresearch.run.preparation import Preparation

if TYPE_CHECKING:
    import pandas as pd
    from dask.delayed import Delayed

    from daskresearch.draw.picture import Picture


class _OfDelayed:
    """An attribute that is the very object that Delayed has.

    Dask computes collections with different optimizers in groups and then mixes up the order of the
    results; and it refuses collections with different default schedulers.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        from dask.delayed import Delayed

        return getattr(Delayed, self._name)


class Collection(ABC):
    """The Dask collection that a research is.

    Attributes
    ----------
    _lazy : LazyGraph, optional
        The graph that was built last.
    """

    _lazy: LazyGraph | None

    @abstractmethod
    def _prepared(self, *, may_be_endless: bool = False, **options: Any) -> Preparation:
        """Return what a graph is made from; an endless domain is refused unless allowed."""

    __dask_scheduler__ = _OfDelayed("__dask_scheduler__")
    __dask_optimize__ = _OfDelayed("__dask_optimize__")

    def _graph(self) -> LazyGraph:
        """Return the graph, built anew if code or values changed since the last time."""
        lazy = self._lazy
        if lazy is not None and lazy.is_held:
            return lazy
        prepared = self._prepared()
        if lazy is None or lazy.token != token_of(prepared):
            lazy = self._lazy = build(prepared, self)
        return lazy

    def __dask_graph__(self) -> Any:
        return self._graph().graph

    def __dask_keys__(self) -> list[str]:
        return list(self._graph().keys)

    def __dask_layers__(self) -> tuple[str, ...]:
        return tuple(getattr(self.__dask_graph__(), "layers", ()))

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self._graph().token

    def __dask_postcompute__(self) -> tuple[Callable[..., pd.DataFrame], tuple[Columns]]:
        return frame_of, (self._graph().columns,)

    def __dask_postpersist__(self) -> tuple[Callable[..., Self], tuple[()]]:
        return self._holding, ()

    def _holding(self, graph: Any, *, rename: Mapping[str, str] | None = None) -> Self:
        if rename:
            raise NotImplementedError(
                "the keys of a research follow its content and cannot be renamed"
            )
        new = copy(self)
        new._lazy = self._graph().persisted(graph)
        return new

    def persist(self, **options: Any) -> Self:
        """Return this research with its experiments computed and held.

        With a Client they are held on its workers.

        Parameters
        ----------
        **options
            Those of `dask.persist`, such as `scheduler`.

        Examples
        --------
        >>> from daskresearch import Research
        >>> held = Research().add_callable(len, args=["abc"], save_to="n").persist()
        >>> held.compute().n.item()
        3
        """
        from dask.base import persist

        (held,) = persist(self, traverse=False, **options)
        persisted: Self = held
        return persisted

    def preview(self, n_iters: int | None = UNSET, branches: Any = UNSET) -> pd.DataFrame:
        """Return each unit's calls, and those of a plain loop, before anything runs.

        The calls are counted from the description of the domain where it tells them, so that a
        million configs cost nothing; else by going through the configs. Exhausted generators and
        failures are not foreseen. A domain that changes while it runs is counted as it is at first.

        Parameters
        ----------
        n_iters, branches
            As in `run`.

        Returns
        -------
        pandas.DataFrame
            A row for each unit: ``unit``, ``calls_plain``, ``calls`` and ``saved``, the share of
            calls that need not be made. A generator's items count as its calls. NA where only a
            generator's end tells. Its ``attrs`` have the numbers of ``experiments`` and of
            ``nodes`` of the graph, without nodes that only hold the plan and without those of Dask
            collections that units were given.

        Raises
        ------
        OptionError, PlanError, DomainError, HashError
            If the research cannot run as it is.

        Examples
        --------
        >>> from daskresearch import EC, Domain, O, Research
        >>> research = Research(domain=Domain(file=["a", "b"], lr=range(500_000)))
        >>> research = research.add_callable("load", open, args=[EC("file")], root=True)
        >>> args = [O("load"), EC("lr")]
        >>> research = research.add_callable("train", pow, args=args, save_to="loss")
        >>> preview = research.preview()
        >>> preview
            unit  calls_plain    calls     saved
        0   load      1000000        2  0.999998
        1  train      1000000  1000000  0.000000
        >>> preview.attrs
        {'experiments': 1000000, 'nodes': 1000002}
        """
        return as_frame(counts_of(self._prepared(n_iters=n_iters, branches=branches)))

    def visualize(
        self,
        filename: str | os.PathLike[str] | None = None,
        detail: str = "units",
        n_iters: int | None = UNSET,
        branches: Any = UNSET,
        most: int = 60,
    ) -> Picture:
        """Return a picture of the plan, or of tasks of its graph, before anything runs.

        Parameters
        ----------
        filename : str or path, optional
            Where to save the picture: ``.svg``, ``.html``, or ``.png`` with the package cairosvg.
        detail : {'units', 'tasks'}
            ``units``: the plan with what experiments share, as readable for a million experiments
            or an endless domain as for two. ``tasks``: the first nodes of the graph.
        n_iters, branches
            As in `run`.
        most : int
            The most tasks that are drawn.

        Returns
        -------
        Picture
            Shown by notebooks; has ``save(filename)``.

        Raises
        ------
        OptionError, PlanError, DomainError, HashError
            If the research cannot run as it is, or `detail` is something else.

        Examples
        --------
        >>> from daskresearch import Research
        >>> research = Research().add_callable("load", len, args=["abc"], root=True)
        >>> "load" in research.visualize().svg
        True
        """
        from daskresearch.domain.display import parameter_texts
        from daskresearch.draw.picture import Picture, draw_nodes, draw_plan

        is_plan = detail == "units"
        prepared = self._prepared(may_be_endless=is_plan, n_iters=n_iters, branches=branches)
        if is_plan:
            parameters = parameter_texts(prepared.job.domain.node)
            picture = Picture(draw_plan(prepared.plan, counts_of(prepared), parameters))
        elif detail == "tasks":
            picture = Picture(
                draw_nodes(*first_nodes(prepared, as_count("most", most, OptionError) or 1))
            )
        else:
            raise OptionError(f"detail must be 'units' or 'tasks', not {detail!r}")
        if filename is not None:
            picture.save(filename)
        return picture

    def _compute_graph(self, scheduler: Any = None) -> pd.DataFrame:
        from dask.base import compute

        if scheduler is None and self._lazy is not None and self._lazy.is_held:
            # only the Client that made futures can compute them
            scheduler = next(
                (
                    value.client
                    for value in dict(self._lazy.graph).values()
                    if hasattr(value, "client")
                ),
                None,
            )
        (frame,) = compute(self, traverse=False, scheduler=scheduler)
        table: pd.DataFrame = frame
        return table

    def to_delayed(self) -> list[Delayed]:
        """Return a Delayed for each experiment, in domain order: the table of its rows.

        Computed together with the research, they share its experiments. The research itself as an
        argument of `dask.delayed` would be computed again.

        Examples
        --------
        >>> import dask
        >>> from daskresearch import EC, Option, Research
        >>> research = Research(domain=Option("x", [2, 3]))
        >>> research = research.add_callable(pow, args=[EC("x"), 2], save_to="y")
        >>> frames = dask.delayed(research.to_delayed())
        >>> total = dask.delayed(lambda frames: sum(frame.y.sum() for frame in frames))(frames)
        >>> int(total.compute())
        13
        """
        from dask.delayed import Delayed

        graph, layer, keys = self._graph().rows()
        return [Delayed(key, graph, layer=layer) for key in keys]


def takes_whole_graph(scheduler: Any) -> bool:
    """Return whether Dask gives a scheduler whole graphs: a function or an Executor."""
    return isinstance(scheduler, Executor) or (
        callable(scheduler) and not isinstance(scheduler, (str, type))
    )
