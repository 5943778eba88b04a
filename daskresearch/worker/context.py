"""The context of a run: all that its experiments share while they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, final

from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.worker.capture import Modes
from daskresearch.worker.devices import Device, Devices

if TYPE_CHECKING:
    from daskresearch.store.folder.writer import Target


class SharedRoots(Protocol):
    """Gives running experiments the outputs of steady roots."""

    def output(self, name: str, experiment: PlannedExperiment) -> Any:
        """Return the output that the experiment shares, or raise what the call raised."""

    def check(self, name: str, experiment: PlannedExperiment) -> None:
        """Raise what the call raised whose output the experiment shares."""


@final
@dataclass(frozen=True, slots=True)
class Context:
    """The options and callbacks that all experiments of a run have in common.

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
        The columns of the table whose names no variable may have.
    folder : str
        The folder in which those of experiments are made.
    apart : frozenset of str
        The steady roots that are called apart from the experiments. Outputs of these come only if
        they are needed.
    tick : callable, optional
        Called after each iteration.
    reporter : callable, optional
        Gives a task in another process what it calls after each iteration.
    names_ended : bool
        Whether the ids of experiments that a worker has written are sent back.
    results : callable, optional
        Gives the results so far; None where they are in another process.
    target : Target, optional
        Where workers write records; None if they send them back.
    modes : Modes
        Which text of experiments is captured.
    profile : int
        Which costs of units are measured; see `daskresearch.worker.profile.Profile`.
    token : str
        A text that no other run has.
    timeout : float, optional
        Seconds that an experiment may run, without the roots that it shares.
    retries : Mapping of str to int
        How often an experiment is run again, by kind of failure.
    devices : Devices, optional
        The devices of which each group of experiments holds some while it runs.
    root_devices : Mapping of str to Devices
        The same for steady roots that ask for some.
    device : int, str or list, optional
        The device or devices that the running group holds.
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
