"""What worker processes are asked to do: run a batch of groups, or call one root.

A *blob* holds the pickled plan and context of a run. A process unpickles it once and keeps it for the run's
further tasks.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, final

import cloudpickle

from daskresearch.errors import PickleError
from daskresearch.store.record import MISSING, Failure, Record
from daskresearch.worker.experiment import Context, Experiment
from daskresearch.worker.failure import portable
from daskresearch.worker.group import run_group
from daskresearch.worker.loop import run_experiment
from daskresearch.worker.program import Program
from daskresearch.worker.shared import Outcome, RootKey, RootOutputs, call_root

Group = tuple[Experiment, ...]

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), type(MISSING)})


@final
@dataclass(frozen=True, slots=True)
class Blob:
    """The pickled plan and context of a run, known by its token."""

    token: str
    content: bytes = field(compare=False, repr=False)


@final
@dataclass(frozen=True, slots=True)
class Receipt:
    """What a batch sends back.

    Attributes
    ----------
    seconds : float
        How long the batch ran.
    n_groups : int
        How many groups were run; the others were left when the time was up.
    records : bytes
        The pickled records.
    """

    seconds: float
    n_groups: int
    records: bytes


def run_groups(program: Program, groups: Sequence[Group], context: Context, shared: RootOutputs) -> Iterator[Record]:
    """Yield the record of each experiment as it ends, group by group."""
    for group in groups:
        if program.is_lockstep:
            yield from run_group(program, group, context, shared)
        else:
            for experiment in group:
                yield run_experiment(program, experiment, context, shared)


def run_batch(blob: Blob, groups: bytes, budget_s: float, known: Sequence[RootKey], *outcomes: Outcome) -> Receipt:
    """Run groups of experiments in a worker process until their time is up.

    Parameters
    ----------
    blob : Blob
    groups : bytes
        A pickled list of groups.
    budget_s : float
        Seconds after which no further group is begun; the first one runs in any case.
    known : sequence of RootKey
        The roots whose outcomes follow.
    *outcomes : Outcome
    """
    start = time.perf_counter()
    program, context, shared = _workplace(blob)
    shared.learn(dict(zip(known, outcomes, strict=True)))
    records: list[Record] = []
    n_groups = 0
    for group in cloudpickle.loads(groups):
        records.extend(run_groups(program, [tuple(map(Experiment._make, group))], context, shared))
        n_groups += 1
        if time.perf_counter() - start > budget_s:
            break
    content = _dump_records(records)
    return Receipt(time.perf_counter() - start, n_groups, content)


def run_root(blob: Blob, name: str, experiment: bytes, names: Sequence[str], *inputs: Outcome) -> Outcome:
    """Call a steady root in a worker process with the outcomes of its upstream roots."""
    program, context, _ = _workplace(blob)
    for outcome in inputs:
        if outcome.failure is not None or not outcome.can_travel:
            return outcome
    outputs = {upstream: outcome.output for upstream, outcome in zip(names, inputs, strict=True)}
    outcome = call_root(program, context, name, Experiment._make(cloudpickle.loads(experiment)), outputs)
    if outcome.failure is not None:
        return Outcome(failure=portable(outcome.failure))
    return outcome if _can_travel(outcome.output) else Outcome(can_travel=False)


def _can_travel(value: Any) -> bool:
    try:
        # large buffers are left aside, so that they are not copied
        cloudpickle.dumps(value, protocol=5, buffer_callback=lambda buffer: False)
    except Exception:
        return False
    return True


@lru_cache(maxsize=2)
def _workplace(blob: Blob) -> tuple[Program, Context, RootOutputs]:
    plan, context = cloudpickle.loads(blob.content)
    program = Program.of(plan, context.n_iters)
    return program, context, RootOutputs(program, context)


def _dump_records(records: list[Record]) -> bytes:
    """Pickle records; a value that cannot be pickled becomes a failure of its experiment alone."""
    safe = [_portable_failures(record) if record.failures else record for record in records]
    try:
        content = _dump_tuples(safe)
        if not all([_is_plain(values) for record in safe for values in record.columns.values()]):
            cloudpickle.loads(content)
        return content
    except Exception:
        return _dump_tuples([_picklable(record) for record in safe])


def _is_plain(values: list[Any]) -> bool:
    """Return whether values are of types that surely come out as they went in."""
    return _PLAIN.issuperset(map(type, values))


def _dump_tuples(values: Iterable[tuple[Any, ...]]) -> bytes:
    """Pickle named tuples as plain ones, which takes a third of the time."""
    content: bytes = cloudpickle.dumps([tuple(value) for value in values], protocol=pickle.HIGHEST_PROTOCOL)
    return content


def load_records(content: bytes) -> list[Record]:
    """Return the records of a receipt."""
    return [Record._make(values) for values in cloudpickle.loads(content)]


def _portable_failures(record: Record) -> Record:
    return record._replace(failures=tuple([portable(failure) for failure in record.failures]))


def _picklable(record: Record) -> Record:
    columns: dict[str, list[Any]] = {}
    failures = list(record.failures)
    for name, values in record.columns.items():
        try:
            cloudpickle.loads(cloudpickle.dumps(values))
            columns[name] = values
        except Exception as exception:
            kinds = sorted({type(value).__qualname__ for value in values})
            text = (
                f"values of variable {name!r} ({', '.join(kinds)}) cannot be pickled, so they cannot leave the worker "
                f"process: {exception}; save something simpler, or run with workers=1"
            )
            failures.append(Failure(f"save {name}", record.iterations[-1], PickleError(text), text))
    iterations = record.iterations if columns else []
    return record._replace(iterations=iterations, columns=columns, failures=tuple(failures))
