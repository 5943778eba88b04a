"""Outputs of root units that experiments share: called once, read-only for all."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, final

from daskresearch.domain.experiment import PlannedExperiment, RootKey
from daskresearch.store.failure import Failure, FailureKind
from daskresearch.worker.catching import SharedFailure, failure_of, portable
from daskresearch.worker.context import Context
from daskresearch.worker.devices import Device, HaltedError, leased
from daskresearch.worker.interrupts import is_main_thread
from daskresearch.worker.limits import paused
from daskresearch.worker.pickling import can_travel
from daskresearch.worker.program import Call, Program
from daskresearch.worker.proxies import uncaptured
from daskresearch.worker.running import RunningExperiment


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """The output of a root's call, or its failure.

    The arrays of the output are read-only wherever it arrives; see `read_only`.

    Attributes
    ----------
    output : object
    failure : Failure, optional
    can_travel : bool
        False where an output should have arrived that cannot be pickled.
    origin : str
        The key of the call that failed, which may be one upstream.
    """

    output: Any = None
    failure: Failure | None = None
    can_travel: bool = True
    origin: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        if self.failure is not None:
            return Outcome, (None, portable(self.failure), True, self.origin)
        if not self.can_travel:  # it has come some way already
            return Outcome, (None, None, False)
        return (
            (_arrived, (self.output,))
            if can_travel(self.output)
            else (Outcome, (None, None, False))
        )

    def get(self) -> Any:
        """Return the output, or raise `SharedFailure`."""
        if self.failure is not None:
            raise SharedFailure(self.failure)
        return self.output


def _arrived(output: Any) -> Outcome:
    return Outcome(read_only(output))


T = TypeVar("T")

Held = Device | list[Device] | None

_KEPT_GROUPS, _KEPT_CALLS = 256, 10_000


@final
class RootTable(Generic[T]):
    """Values by root key, with bounded memory.

    Evicts the oldest group above 256 groups, and the oldest key above 10,000 keys of a group, or of
    no group. An evicted call is made again if it is needed.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[bytes, dict[RootKey, T]] = OrderedDict()

    def get(self, key: RootKey) -> T | None:
        """Return the value of a call, or None."""
        return self._groups.get(key.group, {}).get(key)

    def put(self, key: RootKey, value: T) -> None:
        """Keep the value of a call."""
        kept = self._groups.setdefault(key.group, {})
        kept[key] = value
        if len(kept) > _KEPT_CALLS:  # memory must not grow with the domain
            del kept[next(iter(kept))]
        if len(self._groups) > _KEPT_GROUPS:
            oldest = next(group for group in self._groups if group)
            del self._groups[oldest]

    def drop(self, key: RootKey) -> None:
        """Forget the value of a call."""
        self._groups.get(key.group, {}).pop(key, None)

    def items(self) -> list[tuple[RootKey, T]]:
        """Return all keys and values."""
        return [item for group in self._groups.values() for item in group.items()]


@final
class RootOutputs:
    """The outcomes of steady roots in this process, computed when first asked for.

    Parameters
    ----------
    program : Program
    context : Context
    """

    def __init__(self, program: Program, context: Context) -> None:
        self._program = program
        self._context = context
        self._lock = threading.Lock()
        self._outcomes: RootTable[Future[Outcome]] = RootTable()

    def output(self, name: str, experiment: PlannedExperiment) -> Any:
        """Return the output that an experiment shares, or raise `SharedFailure`."""
        key = experiment.root_key(name)
        future = self._outcomes.get(key)
        if future is None or not future.done():
            with paused() as run:
                device = None if run is None else run.context.device
                future = self._computed(key, name, experiment, device)
        return future.result().get()

    def _computed(
        self, key: RootKey, name: str, experiment: PlannedExperiment, device: Held
    ) -> Future[Outcome]:
        with self._lock:
            future = self._outcomes.get(key)
            is_mine = future is None
            if future is None:
                future = Future()
                self._outcomes.put(key, future)
        if is_mine:
            self._compute(name, experiment, future, device)
        wait([future])
        return future

    def check(self, name: str, experiment: PlannedExperiment) -> None:
        """Raise `SharedFailure` if the call that an experiment shares has failed."""
        self.output(name, experiment)

    def _own(self, name: str, output: Any) -> Any:
        return copy.deepcopy(output) if self._program.roots[name].unit.copies else output

    def _compute(
        self, name: str, experiment: PlannedExperiment, future: Future[Outcome], device: Held
    ) -> None:
        try:
            upstream = self._program.roots[name].unit.upstream
            outcomes = {
                root: self._computed(experiment.root_key(root), root, experiment, device).result()
                for root in upstream
            }
            inputs = {root: self._own(root, outcome.get()) for root, outcome in outcomes.items()}
            call = self._program.root_calls[name]
            with uncaptured():  # its text is not that of the experiment that comes first
                future.set_result(call_root(name, call, self._context, experiment, inputs, device))
        except SharedFailure as shared:
            future.set_result(Outcome(failure=shared.failure))
        except BaseException as exception:
            with self._lock:
                self._outcomes.drop(experiment.root_key(name))
            future.set_exception(exception)
            raise


@final
class GivenRoots:
    """The outcomes that a task was given; those that cannot travel are computed here.

    Parameters
    ----------
    given : Mapping of RootKey to Outcome
    own : RootOutputs
        The outcomes that this process computes itself, once each.
    apart : frozenset of str
        The roots that are called apart from experiments. Of these only needed outcomes are given.
    """

    def __init__(
        self, given: Mapping[RootKey, Outcome], own: RootOutputs, apart: frozenset[str]
    ) -> None:
        self._given = {key: outcome for key, outcome in given.items() if outcome.can_travel}
        self._failed = {
            outcome.origin: outcome.failure
            for outcome in self._given.values()
            if outcome.failure is not None
        }
        self._own = own
        self._apart = apart

    def output(self, name: str, experiment: PlannedExperiment) -> Any:
        """Return the output that an experiment shares, or raise `SharedFailure`."""
        outcome = self._given.get(experiment.root_key(name))
        return self._own.output(name, experiment) if outcome is None else outcome.get()

    def check(self, name: str, experiment: PlannedExperiment) -> None:
        """Raise `SharedFailure` if the call that an experiment shares has failed."""
        failure = self._failed.get(experiment.root_key(name).key)
        if failure is not None:
            raise SharedFailure(failure)
        if name not in self._apart:
            self._own.check(name, experiment)


def call_root(
    name: str,
    call: Call,
    context: Context,
    experiment: PlannedExperiment,
    inputs: dict[str, Any],
    device: Held = None,
) -> Outcome:
    """Return the outcome of a call of a steady root, of the last one if retried."""
    for _ in range(1 + context.retries.get(FailureKind.EXCEPTION, 0)):
        # the device of the experiment that comes first, else that which the root asks for
        try:
            with leased(context.root_devices.get(name) if device is None else None) as leased_now:
                held = leased_now if device is None else device
                own = context if held is None else replace(context, device=held)
                scope = RunningExperiment(
                    experiment, own, _NO_ROOTS, frozenset(), (), key=experiment.group_key
                )
                scope.outputs.update(inputs)
                outcome = attempt(name, scope, call)
        except HaltedError as error:  # no experiment asks for it any more
            return Outcome(failure=failure_of(name, 0, error))
        if outcome.failure is None:
            break
    return outcome


def attempt(
    name: str, scope: RunningExperiment, call: Callable[[RunningExperiment], Any]
) -> Outcome:
    """Return the outcome of a root's call; raise at once when debugging."""
    try:
        return Outcome(read_only(call(scope)))
    except BaseException as exception:
        if scope.context.debug or (isinstance(exception, KeyboardInterrupt) and is_main_thread()):
            raise
        return Outcome(failure=failure_of(name, scope.iteration, exception))


class _NoRoots:
    def output(self, name: str, experiment: PlannedExperiment) -> Any:
        raise LookupError(f"root {name!r} is not among the inputs of another root")

    check = output


_NO_ROOTS = _NoRoots()


def read_only(value: Any) -> Any:
    """Return a value with read-only views for its numpy arrays.

    It looks for them in lists, tuples and dicts too.

    Examples
    --------
    >>> import numpy as np
    >>> read_only({"x": np.ones(3)})["x"].flags.writeable
    False
    """
    if type(value) is list:
        return [read_only(part) for part in value]
    if type(value) is tuple:
        return tuple([read_only(part) for part in value])
    if type(value) is dict:
        return {key: read_only(part) for key, part in value.items()}
    if _is_array(value):
        view = value.view()
        view.flags.writeable = False
        return view
    return value


def _is_array(value: Any) -> bool:
    if not hasattr(value, "__array_interface__"):
        return False
    from numpy import ndarray

    return isinstance(value, ndarray)
