"""An experiment while it runs: its outputs, instances, streams and records so far."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, final

from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.domain.streams import stream
from daskresearch.plan import RESERVED_VARIABLES
from daskresearch.store.failure import Failure
from daskresearch.store.record import Record
from daskresearch.worker.capture import Captured
from daskresearch.worker.context import Context, SharedRoots
from daskresearch.worker.devices import as_text
from daskresearch.worker.folders import made_folder

if TYPE_CHECKING:
    from numpy.random import Generator


@final
class RunningExperiment:
    """An experiment while it runs, or a root that the members of a group share."""

    __slots__ = (
        "_begun",
        "_key",
        "_started",
        "_streams",
        "broken",
        "captured",
        "cells",
        "context",
        "ended",
        "experiment",
        "failures",
        "full",
        "instances",
        "interrupt",
        "is_stopped",
        "iteration",
        "iterators",
        "last",
        "outer",
        "outputs",
        "resumed",
        "shared",
        "spent",
        "values",
    )

    def __init__(
        self,
        experiment: PlannedExperiment,
        context: Context,
        shared: SharedRoots,
        instances: frozenset[str],
        variables: tuple[str, ...],
        *,
        key: bytes | None = None,
    ) -> None:
        self.experiment = experiment
        self.context = context
        self.shared = shared
        self.instances = instances
        self.values = experiment.values
        self.full = experiment.full()
        if context.device is not None:
            self.full["device"] = context.device
        self.iteration = 0
        self.last = False
        self.ended = False
        self.is_stopped = False
        self.interrupt: type[BaseException] | None = None
        self.outer: RunningExperiment | None = None
        self.spent = self.resumed = 0.0
        self.outputs: dict[str, Any] = {}
        self.iterators: dict[str, Any] = {}
        self.cells: dict[str, dict[int, Any]] = {name: {} for name in variables}
        self.broken: set[str] = set()
        self.failures: list[Failure] = []
        self._key = experiment.key if key is None else key
        self._streams: dict[str, Generator] = {}
        self._started, self._begun = time.time(), time.perf_counter()
        # no method, as nothing here may point back at this object
        folder = partial(made_folder, context.folder, experiment.id)
        self.captured = None if context.modes.off else Captured(context.modes, folder)

    def random(self, unit: str) -> Generator:
        """Return the random stream of a unit, which goes on from iteration to iteration."""
        generator = self._streams.get(unit)
        if generator is None:
            generator = self._streams[unit] = stream(self._key, unit)
        return generator

    def view(self, unit: str) -> ExperimentView:
        """Return the experiment as a unit sees it."""
        return ExperimentView(self, unit)

    def folder(self) -> str:
        """Return the path of the experiment's folder, which is made if need be."""
        return made_folder(self.context.folder, self.experiment.id)

    def storage(self) -> Storage:
        """Return the storage in which units record variables by themselves."""
        return Storage(self)

    def results(self) -> Any:
        """Return the results of the research so far."""
        if self.context.results is None:
            raise RuntimeError(
                "R() cannot be read in a worker process: the results so far are in another one"
            )
        return self.context.results()

    def record_value(self, name: str, value: Any) -> None:
        """Record a value of a variable that the plan need not name."""
        check_variable(name, self.context.parameters)
        self.cells.setdefault(name, {})[self.iteration] = value

    def record(self) -> Record:
        """Return the record of the experiment so far."""
        record = Record.of(self.experiment.position, self.iteration + 1, self.cells, self.failures)
        times = self._started, time.perf_counter() - self._begun
        texts = self.captured
        # _replace would take longer than a short experiment
        printed = ("", "", "") if texts is None else (texts.stdout, texts.stderr, texts.log)
        return Record(*record[:5], *times, *printed, as_text(self.context.device))


def check_variable(name: Any, parameters: frozenset[str]) -> None:
    """Raise ValueError if a variable cannot be a column of its own.

    Examples
    --------
    >>> check_variable("id", frozenset())
    Traceback (most recent call last):
    ValueError: cannot record a variable named 'id', which is a column of every table; ...
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a variable must be a str, not {name!r}")
    if name in RESERVED_VARIABLES:
        raise ValueError(
            f"cannot record a variable named {name!r}, which is a column of every table; "
            f"use another name"
        )
    if name in parameters:
        raise ValueError(
            f"cannot record a variable named {name!r}, which is a parameter of the domain; "
            f"rename one"
        )


@final
@dataclass(frozen=True, slots=True)
class UnitView:
    """A unit of the running experiment, what ``E('name')`` stands for."""

    name: str
    output: Any


@final
class ExperimentView:
    """The running experiment as one of its units sees it, what ``E()`` stands for."""

    __slots__ = ("_running", "_unit")

    def __init__(self, running: RunningExperiment, unit: str) -> None:
        self._running = running
        self._unit = unit

    @property
    def id(self) -> str:
        """The id of the experiment."""
        return self._running.experiment.id

    @property
    def config(self) -> dict[str, Any]:
        """The config with repetition and updates, as a new dict."""
        return dict(self._running.full)

    @property
    def iteration(self) -> int:
        """The number of the iteration, from zero."""
        return self._running.iteration

    @property
    def last(self) -> bool:
        """Whether this iteration is known to be the last."""
        return self._running.last

    @property
    def outputs(self) -> dict[str, Any]:
        """The last output of each unit that has run, and the instances, as a new dict."""
        return dict(self._running.outputs)

    @property
    def random(self) -> Generator:
        """The numpy Generator of this unit in this experiment."""
        return self._running.random(self._unit)

    def __getitem__(self, name: str) -> Any:
        output = self._running.outputs.get(name)
        return output if name in self._running.instances else UnitView(name, output)


@final
class Storage:
    """Where a unit records variables by itself, what ``S()`` stands for."""

    __slots__ = ("_running",)

    def __init__(self, running: RunningExperiment) -> None:
        self._running = running

    def update_variable(self, name: str, value: Any) -> None:
        """Record a value of a variable in this iteration; a second value replaces it.

        Raises
        ------
        ValueError
            If the variable is named like a parameter, ``id`` or ``iteration``.
        """
        self._running.record_value(name, value)
