"""An experiment: as it is handed to a worker, while it runs, and as its units see it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, final

from daskresearch.domain.streams import stream
from daskresearch.errors import StorageError
from daskresearch.plan import RESERVED_VARIABLES
from daskresearch.store.record import Failure, Record
from daskresearch.worker.capture import Captured, Modes
from daskresearch.worker.devices import Device, Devices, as_text

if TYPE_CHECKING:
    from numpy.random import Generator

    from daskresearch.store.writer import Target


class RootKey(NamedTuple):
    """Which call of a root unit experiments share.

    Attributes
    ----------
    key : str
        ``name-<hash>`` of all that the call depends on.
    group : bytes
        The key of the group if the call belongs to one, else empty.
    """

    key: str
    group: bytes


class Label(NamedTuple):
    """What is written of an experiment, and not needed to run it.

    Attributes
    ----------
    texts : tuple of str
        Those of the values of its config.
    content : str
        A hash of these values.
    """

    texts: tuple[str, ...]
    content: str


class Experiment(NamedTuple):
    """One config that is to run.

    Attributes
    ----------
    position : int
        Its place in the order of the domain.
    id : str
    key, group_key : bytes
        What its random streams, and those of its group's roots, follow.
    values : dict
        The config.
    repetition, updates : int
    roots : Mapping of str to RootKey, optional
        For each root, if there are any, the call whose output it shares.
    label : Label, optional
        There if the worker is to write what comes of it.
    """

    position: int
    id: str
    key: bytes
    group_key: bytes
    values: dict[str, Any]
    repetition: int = 0
    updates: int = 0
    roots: Mapping[str, RootKey] | None = None
    label: Label | None = None

    def full(self) -> dict[str, Any]:
        """Return the config with repetition and updates."""
        return {**self.values, "repetition": self.repetition, "updates": self.updates}

    def root_key(self, name: str) -> RootKey:
        """Return which call of a root the experiment shares."""
        if self.roots is None:
            raise LookupError(f"experiment {self.id} shares no root {name!r}")
        return self.roots[name]


class SharedRoots(Protocol):
    """Where running experiments find the outputs of steady roots."""

    def output(self, name: str, experiment: Experiment) -> Any:
        """Return the output that the experiment shares, or raise what the call raised."""

    def check(self, name: str, experiment: Experiment) -> None:
        """Raise what the call raised whose output the experiment shares."""


@final
@dataclass(frozen=True, slots=True)
class Context:
    """What all experiments of a run have in common while they run.

    Attributes
    ----------
    n_iters : int, optional
        Iterations of each experiment; None until a generator is exhausted.
    finalize : bool
        Whether the iteration that ends an experiment goes on to the end of the plan.
    debug : bool
        Whether the first exception of a unit is raised at once.
    in_threads : bool
        Whether the members of a lock-step group run in threads.
    parameters : frozenset of str
        Columns of the table that no variable may be named like.
    folder : str
        Where the folders of experiments are made.
    apart : frozenset of str
        The steady roots that are called apart from the experiments, of which only those outputs come that are needed.
    tick : callable, optional
        Called after each iteration.
    reporter : callable, optional
        Gives a task in another process what it calls after each iteration.
    names_ended : bool
        Whether the ids of experiments that a worker has written are sent back.
    results : callable, optional
        Gives the results so far; None where they are in another process.
    target : Target, optional
        Where workers write what comes of experiments; None if it goes back to where they came from.
    modes : Modes
        What of the text that experiments print and log is captured.
    profile : int
        What of the cost of units is measured; see `daskresearch.worker.profile.Profile`.
    token : str
        Of the run, unlike that of any other.
    timeout : float, optional
        Seconds that an experiment may run, without the roots that it shares.
    retries : Mapping of str to int
        By kind of failure, how often an experiment is run again.
    devices : Devices, optional
        Of which each group of experiments holds some while it runs.
    root_devices : Mapping of str to Devices
        The same for steady roots that ask for some.
    device : int, str or list, optional
        What the group that runs holds.
    """

    n_iters: int | None = 1
    finalize: bool = True
    debug: bool = False
    in_threads: bool = True
    parameters: frozenset[str] = frozenset()
    folder: str = ""
    apart: frozenset[str] = frozenset()
    tick: Callable[[], object] | None = None
    reporter: Callable[[], Callable[[], object]] | None = None
    names_ended: bool = False
    results: Callable[[], Any] | None = None
    target: Target | None = None
    modes: Modes = field(default_factory=Modes)
    profile: int = 0
    token: str = ""
    timeout: float | None = None
    retries: Mapping[str, int] = field(default_factory=dict)
    devices: Devices | None = None
    root_devices: Mapping[str, Devices] = field(default_factory=dict)
    device: Device | list[Device] | None = None


@final
class Running:
    """An experiment while it runs, or the roots that a group's members share."""

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
        experiment: Experiment,
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
        self.outer: Running | None = None
        self.spent = self.resumed = 0.0
        self.outputs: dict[str, Any] = {}
        self.iterators: dict[str, Any] = {}
        self.cells: dict[str, dict[int, Any]] = {name: {} for name in variables}
        self.broken: set[str] = set()
        self.failures: list[Failure] = []
        self._key = experiment.key if key is None else key
        self._streams: dict[str, Generator] = {}
        self._started, self._begun = time.time(), time.perf_counter()
        folder = partial(_made_folder, context.folder, experiment.id)  # no method: nothing here may point back at us
        self.captured = None if context.modes.off else Captured(context.modes, folder)

    def random(self, unit: str) -> Generator:
        """Return the stream of a unit, which goes on from iteration to iteration."""
        generator = self._streams.get(unit)
        if generator is None:
            generator = self._streams[unit] = stream(self._key, unit)
        return generator

    def view(self, unit: str) -> ExperimentView:
        """Return the experiment as a unit sees it."""
        return ExperimentView(self, unit)

    def folder(self) -> str:
        """Return the path of the experiment's folder, which is made if it is not there."""
        return _made_folder(self.context.folder, self.experiment.id)

    def storage(self) -> Storage:
        """Return where units record variables by themselves."""
        return Storage(self)

    def results(self) -> Any:
        """Return the results of the research so far."""
        if self.context.results is None:
            raise RuntimeError("R() cannot be read in a worker process: the results so far are in another one")
        return self.context.results()

    def record_value(self, name: str, value: Any) -> None:
        """Record a value of a variable that may not be known from the plan."""
        check_variable(name, self.context.parameters)
        self.cells.setdefault(name, {})[self.iteration] = value

    def record(self) -> Record:
        """Return what the experiment leaves behind."""
        record = Record.of(self.experiment.position, self.iteration + 1, self.cells, self.failures)
        times = self._started, time.perf_counter() - self._begun
        texts = self.captured
        # not by _replace, which takes longer than an experiment may
        printed = ("", "", "") if texts is None else (texts.stdout, texts.stderr, texts.log)
        return Record(*record[:5], *times, *printed, as_text(self.context.device))


def _made_folder(parent: str, experiment_id: str) -> str:
    path = os.path.join(parent, experiment_id)
    if os.path.islink(path):
        raise StorageError(f"{path!r} is a link, which the folder of an experiment never is; remove it")
    os.makedirs(path, exist_ok=True)
    return path


def check_variable(name: Any, parameters: frozenset[str]) -> None:
    """Raise ValueError if a variable cannot be a column of its own.

    Examples
    --------
    >>> check_variable("id", frozenset())
    Traceback (most recent call last):
    ValueError: cannot record a variable named 'id', which is a column of every table; use another name
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a variable must be a str, not {name!r}")
    if name in RESERVED_VARIABLES:
        raise ValueError(f"cannot record a variable named {name!r}, which is a column of every table; use another name")
    if name in parameters:
        raise ValueError(f"cannot record a variable named {name!r}, which is a parameter of the domain; rename one")


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

    def __init__(self, running: Running, unit: str) -> None:
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

    def __init__(self, running: Running) -> None:
        self._running = running

    def update_variable(self, name: str, value: Any) -> None:
        """Record a value of a variable in this iteration; a second value takes the place of the first.

        Raises
        ------
        ValueError
            If the variable is named like a parameter, ``id`` or ``iteration``.
        """
        self._running.record_value(name, value)
