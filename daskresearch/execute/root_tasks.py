"""Steady roots as tasks on a cluster, each called once for all who share it.

A root whose worker died too often is a *suspect*, as another task on the worker may be to blame. It
is called again with nothing beside it, before the experiments that need it. It has failed if its
worker dies then too.
"""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from daskresearch.domain.experiment import PlannedExperiment, RootKey
from daskresearch.errors import ClusterError
from daskresearch.plan import Kind, Unit
from daskresearch.store.failure import Failure, FailureKind
from daskresearch.worker import Blob, Outcome, Program, RootTable, departing, given, run_root

if TYPE_CHECKING:
    from distributed import Client, Future


def new_key(name: str) -> str:
    """Return a unique key of a task; the dashboard groups tasks by the name in it."""
    return f"{name}-{uuid.uuid4().hex}"


@final
class RootTasks:
    """The calls of steady roots that were handed out, and their outcomes.

    Parameters
    ----------
    client : distributed.Client
    program : Program
    blob : Blob or Future
    names : sequence of str
        The roots, each behind those it uses.
    resources : Mapping of str to Mapping
        What each root takes of the resources of its worker.
    """

    def __init__(
        self,
        client: Client,
        program: Program,
        blob: Blob | Future[Any],
        names: Sequence[str],
        resources: Mapping[str, Mapping[str, float]],
    ) -> None:
        self._client = client
        self._program = program
        self._blob = blob
        self._names = names
        self._resources = resources
        self._table: RootTable[Future[Any] | Outcome] = RootTable()
        self._suspects: set[RootKey] = set()

    def outcomes(
        self,
        experiments: Sequence[PlannedExperiment],
        finish: Callable[[Future[Any]], object] | None = None,
    ) -> dict[RootKey, Future[Any] | Outcome]:
        """Return the outcomes that experiments need, and hand out the calls that are new.

        Parameters
        ----------
        experiments : sequence of PlannedExperiment
        finish : callable, optional
            Waits for the end of a call. It is given if nothing else runs, so that a suspect whose
            worker dies is guilty.
        """
        outcomes: dict[RootKey, Future[Any] | Outcome] = {}
        for experiment in experiments if self._names else ():
            outcomes.update(self._of(experiment, finish))
        return outcomes

    def are_suspect(self, experiments: Sequence[PlannedExperiment]) -> bool:
        """Return whether any of the roots that experiments share is a suspect."""
        return bool(self._suspects) and any(
            experiment.root_key(name) in self._suspects
            for experiment in experiments
            for name in self._names
        )

    def suspect_dead(self) -> None:
        """Suspect each root whose worker died too often."""
        for key, outcome in self._table.items():
            if not isinstance(outcome, Outcome) and outcome.status == "error":
                self._table.drop(key)
                self._suspects.add(key)

    def clear(self) -> None:
        """Let go of all outcomes, so that the cluster can forget them."""
        self._table = RootTable()

    def _of(
        self, experiment: PlannedExperiment, finish: Callable[[Future[Any]], object] | None
    ) -> dict[RootKey, Future[Any] | Outcome]:
        outcomes: dict[RootKey, Future[Any] | Outcome] = {}
        for name in self._names:
            key = experiment.root_key(name)
            outcome = self._table.get(key)
            if outcome is None:
                outcome = self._call(name, experiment, outcomes)
                if finish is not None:
                    self._suspects.discard(key)
                    outcome = _tried(name, key, outcome, finish)
                self._table.put(key, outcome)
            outcomes[key] = outcome
        needed = {
            experiment.root_key(name) for name in self._program.calls_needed if name in self._names
        }
        return {key: outcome for key, outcome in outcomes.items() if key in needed}

    def _call(
        self,
        name: str,
        experiment: PlannedExperiment,
        outcomes: Mapping[RootKey, Future[Any] | Outcome],
    ) -> Future[Any] | Outcome:
        """Hand out the call of a root, and return its future outcome."""
        root = self._program.roots[name]
        unit = root.unit
        if unit.kind is Kind.INPUT:
            return self._computed(unit, experiment.root_key(name).key)
        upstream = sorted(unit.upstream)
        inputs = [outcomes[experiment.root_key(used)] for used in upstream]
        own = {name: experiment.root_key(name)}
        read = root.values_read(experiment.values)
        needed = experiment._replace(values=read, roots=own, texts=())
        return self._client.submit(
            run_root, self._blob, name, departing(needed), upstream, *inputs,
            key=new_key(name), pure=False, priority=10, resources=self._resources.get(name),
        )  # fmt: skip

    def _computed(self, unit: Unit, key: str) -> Future[Any] | Outcome:
        """Return the value of a Dask collection that units were given, or its failure."""
        function: Any = unit.function
        future = self._client.compute(function.collection)
        error = future.exception()  # waits for the end
        if error is None:
            return self._client.submit(given, future, key=new_key("given"), pure=False)
        failure = Failure(unit.name, 0, error, "".join(traceback.format_exception(error)))
        return Outcome(failure=failure, origin=key)


def _tried(
    name: str, key: RootKey, outcome: Future[Any] | Outcome, finish: Callable[[Future[Any]], object]
) -> Future[Any] | Outcome:
    """Return the outcome of the call of a suspect, which is waited for."""
    if isinstance(outcome, Outcome):
        return outcome
    from distributed import KilledWorker

    finish(outcome)
    if outcome.status != "error" or not isinstance(outcome.exception(), KilledWorker):
        return outcome
    text = "the worker process died each time this root ran, perhaps out of memory or by os._exit"
    failure = Failure(
        name, 0, ClusterError(text), f"{text}\n{outcome.exception()}", FailureKind.WORKER
    )
    return Outcome(failure=failure, origin=key.key)
