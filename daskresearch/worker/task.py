"""What worker processes are asked to do: run a batch of groups or one node of a graph, or call one root.

A `Blob` carries the plan and context of a run. A process makes its program once and keeps it for further tasks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, final

import cloudpickle

from daskresearch.store.record import Record
from daskresearch.worker.capture import installed
from daskresearch.worker.experiment import Context, Experiment, RootKey, SharedRoots
from daskresearch.worker.group import run_group
from daskresearch.worker.keep import Keeping, Receipt, Writing, folder_of_process
from daskresearch.worker.loop import run_experiment
from daskresearch.worker.parcel import Finished
from daskresearch.worker.profile import Profile
from daskresearch.worker.program import Call, Program, call_of, profiled
from daskresearch.worker.shared import GivenRoots, Outcome, RootOutputs, call_root, read_only
from daskresearch.worker.travel import Carried

Group = tuple[Experiment, ...]


@final
@dataclass(frozen=True, slots=True)
class Blob:
    """The plan and context of a run, known by its token."""

    token: str
    carried: Carried = field(compare=False, repr=False)


def run_groups(program: Program, groups: Sequence[Group], context: Context, shared: SharedRoots) -> Iterator[Record]:
    """Yield the record of each experiment as it ends, group by group."""
    for group in groups:
        if program.is_lockstep:
            yield from run_group(program, group, context, shared)
        else:
            for experiment in group:
                yield run_experiment(program, experiment, context, shared)


def run_batch(
    blob: Blob, name: str, groups: bytes, budget_s: float, known: Sequence[RootKey], *outcomes: Outcome
) -> Receipt:
    """Run groups of experiments in a worker process until their time is up.

    Parameters
    ----------
    blob : Blob
    name : str
        Of the batch, the same when it is run again.
    groups : bytes
        A pickled list of groups.
    budget_s : float
        Seconds after which no further group is begun; the first one runs in any case.
    known : sequence of RootKey
        The roots whose outcomes follow.
    *outcomes : Outcome
    """
    start = time.perf_counter()
    program, context, own = _workplace(blob)
    if context.reporter is not None:
        context = replace(context, tick=context.reporter())
    shared = GivenRoots(dict(zip(known, outcomes, strict=True)), own, context.apart)
    profile = Profile(context.profile) if context.profile else None
    if profile is not None:
        program = profiled(program, profile)
    keep = (
        Keeping()
        if context.target is None
        else Writing(
            context.target, context.folder, name, is_lockstep=program.is_lockstep, names_ended=context.names_ended
        )
    )
    n_groups, seconds = 0, 0.0
    with installed(context.modes), keep:
        for fields in cloudpickle.loads(groups):
            group = keep.unknown(tuple(map(Experiment._make, fields)))
            for record in run_groups(program, [group] if group else [], context, shared):
                keep.append(record, group)
            n_groups += 1
            seconds = time.perf_counter() - start  # without the time to write, which does not grow with the batch
            if seconds > budget_s:
                break
    return Receipt(seconds, n_groups, keep.content(), keep.written, profile.rows() if profile else [])


def run_node(
    blob: Blob, group: Sequence[Sequence[Any]], known: Sequence[RootKey], elsewhere: Sequence[str], *inputs: Any
) -> Finished:
    """Run the experiments of one node of a graph: one, or a group in lock-step.

    Parameters
    ----------
    blob : Blob
    group : sequence of sequence
        The fields of each `Experiment`, as `departing` makes them.
    known : sequence of RootKey
        The roots whose outcomes are the first inputs.
    elsewhere : sequence of str
        The keys of the values that are the other inputs.
    *inputs : Outcome or Carried
    """
    program, context, own = _workplace(blob)
    values = dict(zip(elsewhere, inputs[len(known) :], strict=True))
    experiments = tuple([arrived(fields, values) for fields in group])
    roots = GivenRoots(dict(zip(known, inputs, strict=False)), own, context.apart)
    records = sorted(run_groups(program, [experiments], context, roots), key=lambda record: record.position)
    return Finished(tuple([experiment._replace(roots=None) for experiment in experiments]), tuple(records))


def run_root(blob: Blob, name: str, fields: Sequence[Any], names: Sequence[str], *inputs: Outcome) -> Outcome:
    """Call a steady root of a plan with the outcomes of its upstream roots.

    Parameters
    ----------
    blob : Blob
    name : str
        Of the unit.
    fields : sequence
        Those of an `Experiment` that shares the call, as `departing` makes them.
    names : sequence of str
        The upstream roots, whose outcomes follow.
    *inputs : Outcome
    """
    program, context, _ = _workplace(blob)
    experiment = arrived(fields)
    outcomes = dict(zip(names, inputs, strict=True))
    copied = [upstream for upstream in names if program.roots[upstream].unit.copies]
    key = experiment.root_key(name).key
    return _outcome_of(name, key, program.root_calls[name], context, experiment, outcomes, copied)


def run_root_alone(
    key: str, code: Carried, fields: Sequence[Any], copied: Sequence[str], elsewhere: Sequence[str], *inputs: Any
) -> Outcome:
    """Call a steady root that knows its upstream roots by number; equal keys are equal calls, of whichever plan.

    Parameters
    ----------
    key : str
        Of the call.
    code : Carried
        The unit.
    fields : sequence
        Those of an `Experiment` that shares the call, as `departing` makes them.
    copied : sequence of str
        The numbers of the inputs that the root gets a copy of.
    elsewhere : sequence of str
        The keys of the values that are the last inputs.
    *inputs : Outcome or Carried
    """
    unit = code.get()
    if code.made is None:
        code.made = call_of(unit)
    n_outcomes = len(inputs) - len(elsewhere)
    values = dict(zip(elsewhere, inputs[n_outcomes:], strict=True))
    outcomes = {str(i): outcome for i, outcome in enumerate(inputs[:n_outcomes])}
    return _outcome_of(unit.name, key, code.made, Context(), arrived(fields, values), outcomes, copied)


def _outcome_of(
    name: str,
    key: str,
    call: Call,
    context: Context,
    experiment: Experiment,
    inputs: Mapping[str, Outcome],
    copied: Sequence[str],
) -> Outcome:
    for outcome in inputs.values():
        if outcome.failure is not None or not outcome.can_travel:
            return outcome
    outputs = {name: deepcopy(one.output) if name in copied else one.output for name, one in inputs.items()}
    outcome = call_root(name, call, context, experiment, outputs)
    return outcome if outcome.failure is None else replace(outcome, origin=key)


def given(value: Any) -> Outcome:
    """Return a value that units were given, as the outcome of a root."""
    return Outcome(read_only(value))


@final
@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A value that a task is handed by another node."""

    key: str


def departing(experiment: Experiment, carry: Callable[[str, Any], Any] | None = None) -> tuple[Any, ...]:
    """Return the fields of an experiment, with values carried that a scheduler could not unpickle.

    Parameters
    ----------
    experiment : Experiment
    carry : callable, optional
        Gives what stands for a value of a parameter: a `Carried` or an `Elsewhere`. Default: the former.
    """
    values = experiment.values
    if is_small(values) or (carry is None and _PLAIN.issuperset(map(type, values.values()))):
        return tuple(experiment)
    carried = {
        name: value if type(value) in _SMALL else Carried(value) if carry is None else carry(name, value)
        for name, value in values.items()
    }
    return (*experiment[:4], carried, *experiment[5:])


def is_small(values: Mapping[str, Any]) -> bool:
    """Return whether all values of a config are numbers and the like, which travel as they are."""
    return _SMALL.issuperset(map(type, values.values()))


def arrived(fields: Sequence[Any], elsewhere: Mapping[str, Carried] | None = None) -> Experiment:
    """Return the experiment of fields that have travelled, with the values that came apart from it."""
    experiment = Experiment._make(fields)
    values = experiment.values
    if _PLAIN.issuperset(map(type, values.values())):
        return experiment
    whole = {name: _value_of(value, elsewhere or {}) for name, value in values.items()}
    return experiment._replace(values=whole)


def _value_of(value: Any, elsewhere: Mapping[str, Carried]) -> Any:
    if type(value) is Elsewhere:
        value = elsewhere[value.key]
    return value.get() if type(value) is Carried else value


_SMALL = frozenset({bool, int, float, complex, type(None)})
_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})


Workplace = tuple[Program, Context, RootOutputs]


def _workplace(blob: Blob) -> Workplace:
    """Return what a run's tasks work with: kept with a plan of this process, or for the last ones that arrived."""
    carried = blob.carried
    if carried.has_arrived:
        return _arrived_workplace(blob)
    if carried.made is None:
        carried.made = _made_workplace(blob)
    made: Workplace = carried.made
    return made


@lru_cache(maxsize=2)
def _arrived_workplace(blob: Blob) -> Workplace:
    return _made_workplace(blob)


def _made_workplace(blob: Blob) -> Workplace:
    plan, context = blob.carried.get()
    if context.target is not None and not context.folder:
        context = replace(context, folder=folder_of_process())
    program = Program.of(plan, context.n_iters)
    return program, context, RootOutputs(program, context)
