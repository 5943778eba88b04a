"""The tasks of workers beside batches: run a node of a graph, or call a root."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, final

from daskresearch.domain.experiment import PlannedExperiment, RootKey
from daskresearch.worker.batch import run_groups
from daskresearch.worker.blob import Blob, workplace
from daskresearch.worker.context import Context
from daskresearch.worker.limits import watching
from daskresearch.worker.parcel import FinishedNode
from daskresearch.worker.pickling import Carried
from daskresearch.worker.program import Call, call_of
from daskresearch.worker.roots import GivenRoots, Outcome, call_root, read_only


def run_node(
    blob: Blob,
    group: Sequence[Sequence[Any]],
    root_keys: Sequence[RootKey],
    elsewhere: Sequence[str],
    *inputs: Any,
) -> FinishedNode:
    """Run the experiments of one node of a graph: one, or a group in lock-step.

    Parameters
    ----------
    blob : Blob
    group : sequence of sequence
        The fields of each `PlannedExperiment`, as `departing` makes them.
    root_keys : sequence of RootKey
        The keys of the roots whose outcomes are the first inputs.
    elsewhere : sequence of str
        The keys of the values that are the other inputs.
    *inputs : Outcome or Carried
    """
    program, context, own = workplace(blob)
    values = dict(zip(elsewhere, inputs[len(root_keys) :], strict=True))
    experiments = tuple([arrived(fields, values) for fields in group])
    roots = GivenRoots(dict(zip(root_keys, inputs, strict=False)), own, context.apart)
    with watching(context.token, context.timeout):
        records = sorted(
            run_groups(program, [experiments], context, roots), key=lambda record: record.position
        )
    return FinishedNode(
        tuple([experiment._replace(roots=None) for experiment in experiments]), tuple(records)
    )


def run_root(
    blob: Blob, name: str, fields: Sequence[Any], names: Sequence[str], *inputs: Outcome
) -> Outcome:
    """Call a steady root of a plan with the outcomes of its upstream roots.

    Parameters
    ----------
    blob : Blob
    name : str
        The name of the unit.
    fields : sequence
        The fields of a `PlannedExperiment` that shares the call, as `departing` makes them.
    names : sequence of str
        The upstream roots, whose outcomes follow.
    *inputs : Outcome
    """
    program, context, _ = workplace(blob)
    experiment = arrived(fields)
    outcomes = dict(zip(names, inputs, strict=True))
    copied = [upstream for upstream in names if program.roots[upstream].unit.copies]
    key = experiment.root_key(name).key
    return _outcome_of(name, key, program.root_calls[name], context, experiment, outcomes, copied)


def run_root_alone(
    key: str,
    code: Carried,
    fields: Sequence[Any],
    copied: Sequence[str],
    elsewhere: Sequence[str],
    *inputs: Any,
) -> Outcome:
    """Call a steady root that knows its upstream roots by number.

    Equal keys are equal calls, of whichever plan.

    Parameters
    ----------
    key : str
        The key of the call.
    code : Carried
        The unit.
    fields : sequence
        The fields of a `PlannedExperiment` that shares the call, as `departing` makes them.
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
    return _outcome_of(
        unit.name, key, code.made, Context(), arrived(fields, values), outcomes, copied
    )


def _outcome_of(
    name: str,
    key: str,
    call: Call,
    context: Context,
    experiment: PlannedExperiment,
    inputs: Mapping[str, Outcome],
    copied: Sequence[str],
) -> Outcome:
    for outcome in inputs.values():
        if outcome.failure is not None or not outcome.can_travel:
            return outcome
    outputs = {
        name: deepcopy(outcome.output) if name in copied else outcome.output
        for name, outcome in inputs.items()
    }
    outcome = call_root(name, call, context, experiment, outputs)
    return outcome if outcome.failure is None else replace(outcome, origin=key)


def given(value: Any) -> Outcome:
    """Return a value that units were given, as the outcome of a root."""
    return Outcome(read_only(value))


@final
@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Stands for a value that a task gets from another node, by its key."""

    key: str


def departing(
    experiment: PlannedExperiment, carry: Callable[[str, Any], Any] | None = None
) -> tuple[Any, ...]:
    """Return the fields of an experiment in a form that a scheduler can unpickle.

    Parameters
    ----------
    experiment : PlannedExperiment
    carry : callable, optional
        Gives what stands for a value of a parameter, a `Carried` or an `Elsewhere`. Default: the
        former.
    """
    values = experiment.values
    if is_small(values) or (carry is None and _PLAIN.issuperset(map(type, values.values()))):
        return tuple(experiment)
    carried = {
        name: value
        if type(value) in _SMALL
        else Carried(value)
        if carry is None
        else carry(name, value)
        for name, value in values.items()
    }
    return (*experiment[:4], carried, *experiment[5:])


def is_small(values: Mapping[str, Any]) -> bool:
    """Return whether all values of a config are numbers and the like."""
    return _SMALL.issuperset(map(type, values.values()))


def arrived(
    fields: Sequence[Any], elsewhere: Mapping[str, Carried] | None = None
) -> PlannedExperiment:
    """Return the experiment of fields that have arrived, with values from elsewhere."""
    experiment = PlannedExperiment._make(fields)
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
