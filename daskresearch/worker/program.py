"""A plan made ready to run: each unit as a `Step` with its arguments compiled to functions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from daskresearch.plan import (
    Expression,
    Kind,
    Plan,
    Root,
    Schedule,
    Unit,
    evaluator,
    expressions_in,
    holds_containers,
    roots_of,
    whole_experiments,
)
from daskresearch.worker.profile import Profile
from daskresearch.worker.running import RunningExperiment, check_variable

EXHAUSTED = object()

_OF_EXPERIMENT = ("random", "iteration", "config", "id", "last")

Call = Callable[[RunningExperiment], Any]
Recorder = Callable[[RunningExperiment, Any], None]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A unit made ready to run.

    Attributes
    ----------
    name : str
    call : callable
        Runs the unit in a running experiment and returns its output, or `EXHAUSTED`.
    record : callable, optional
        Records an output.
    schedule : Schedule, optional
        None for every iteration.
    upstream : frozenset of str
        Units without whose output it is skipped.
    root : Root, optional
        Set for roots that run in lock-step with a group.
    keeps_output : bool
        Whether the output can be asked for by name.
    copies : bool
        Whether each member of a group gets its own copy of the output.
    """

    name: str
    call: Call
    record: Recorder | None
    schedule: Schedule | None
    upstream: frozenset[str]
    root: Root | None
    keeps_output: bool
    copies: bool


@final
@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A plan made ready to run.

    Attributes
    ----------
    steps : tuple of Step
    segments : tuple of tuple of Step
        The steps in runs of lock-step roots and of others, in turn.
    variables : tuple of str
    instances : frozenset of str
    roots : dict of str to Root
    root_calls : dict of str to callable
        How to call each steady root in a scope that has its inputs.
    is_lockstep : bool
        Whether groups of experiments must run together.
    calls_reached : tuple of str
        The steady roots that experiments may come to in this number of iterations, each behind those it uses.
    calls_needed : tuple of str
        Those of them whose outputs experiments need; the others only feed roots, and experiments need to know no more
        than whether they failed.
    """

    steps: tuple[Step, ...]
    segments: tuple[tuple[Step, ...], ...]
    variables: tuple[str, ...]
    instances: frozenset[str]
    roots: dict[str, Root]
    root_calls: dict[str, Call]
    is_lockstep: bool
    calls_reached: tuple[str, ...]
    calls_needed: tuple[str, ...]

    @property
    def name(self) -> str:
        """What experiments run by themselves: the units that are not called apart from them, joined by ``+``."""
        names = [step.name for step in self.steps if step.name not in self.root_calls]
        return (
            "+".join([name for name in names if not name.startswith("save_")] or names)
            or "experiment"
        )

    @classmethod
    def of(cls, plan: Plan, n_iters: int | None = None) -> Program:
        """Return the program of a complete plan for a number of iterations, if that is known."""
        roots = roots_of(plan, n_iters)
        reached = _reached([root for root in roots.values() if root.is_steady], n_iters)
        needed = _needed(plan, roots, reached)
        units = [unit for unit in plan.units if unit.kind is not Kind.DUMP]
        steps = tuple(
            _step(unit, roots.get(unit.name), is_needed=unit.name in needed) for unit in units
        )
        segments: list[list[Step]] = []
        for step in steps:
            if not segments or (step.root is None) != (segments[-1][0].root is None):
                segments.append([])
            segments[-1].append(step)
        return cls(
            steps,
            tuple(tuple(segment) for segment in segments),
            plan.variables,
            frozenset(unit.name for unit in plan.units if unit.kind is Kind.INSTANCE),
            roots,
            {name: call_of(root.unit) for name, root in roots.items() if root.is_steady},
            any(not root.is_steady for root in roots.values()),
            reached,
            needed,
        )


def profiled(program: Program, profile: Profile) -> Program:
    """Return a program whose units are measured."""

    def measured(name: str, call: Call) -> Call:
        return lambda run: profile.call(name, lambda: call(run))

    # a step of a steady root only fetches its output
    steps = {
        step.name: step
        if step.name in program.root_calls
        else replace(step, call=measured(step.name, step.call))
        for step in program.steps
    }
    return replace(
        program,
        steps=tuple(steps[step.name] for step in program.steps),
        segments=tuple(tuple(steps[step.name] for step in segment) for segment in program.segments),
        root_calls={name: measured(name, call) for name, call in program.root_calls.items()},
    )


def _reached(roots: Sequence[Root], n_iters: int | None) -> tuple[str, ...]:
    wanted: set[str] = set()
    for root in reversed(roots):
        if root.unit.name in wanted or root.unit.schedule.n_turns(n_iters) != 0:
            wanted |= {root.unit.name, *root.unit.upstream}
    return tuple(root.unit.name for root in roots if root.unit.name in wanted)


def _needed(plan: Plan, roots: Mapping[str, Root], reached: Sequence[str]) -> tuple[str, ...]:
    others = [
        unit for unit in plan.units if unit.name not in roots or not roots[unit.name].is_steady
    ]
    if any(list(whole_experiments(unit, *_OF_EXPERIMENT)) for unit in others):
        return tuple(reached)  # E().outputs has them all
    used = {name for unit in others for name in unit.upstream}
    fed = {name for root in reached for name in roots[root].unit.upstream}
    saved = {name for name in reached if roots[name].unit.saves or roots[name].unit.saves_dict}
    return tuple(name for name in reached if name in used or name in saved or name not in fed)


def _step(unit: Unit, root: Root | None, *, is_needed: bool) -> Step:
    is_steady = root is not None and root.is_steady
    shared = _shared_call(unit) if is_needed else _shared_check(unit)
    return Step(
        name=unit.name,
        call=shared if is_steady else call_of(unit),
        record=_recorder(unit),
        schedule=None if unit.schedule.is_always else unit.schedule,
        upstream=unit.upstream,
        root=None if is_steady else root,
        keeps_output=unit.kind is not Kind.SAVE and (is_needed or not is_steady),
        copies=unit.copies and unit.is_root,
    )


def _shared_call(unit: Unit) -> Call:
    name = unit.name

    def call(run: RunningExperiment) -> Any:
        if unit.copies and name in run.outputs:
            return run.outputs[name]
        output = run.shared.output(name, run.experiment)
        return copy.deepcopy(output) if unit.copies else output

    return call


def _shared_check(unit: Unit) -> Call:
    name = unit.name
    return lambda run: run.shared.check(name, run.experiment)


def call_of(unit: Unit) -> Call:
    """Return the function that runs a unit in a running experiment and returns its output."""
    if unit.kind is Kind.SAVE:
        evaluate = evaluator(unit.kwargs["source"], unit.name)
        return (lambda run: copy.deepcopy(evaluate(run))) if unit.copies else evaluate
    call = _apply(_function_of(unit), unit)
    return _next_of(unit.name, call) if unit.kind is Kind.GENERATOR else call


def _function_of(unit: Unit) -> Callable[..., Any] | Call:
    """Return the user's function, or for a method the function that finds it in a running experiment."""
    if unit.method_of is None:
        assert unit.function is not None
        return unit.function
    owner, method = unit.method_of, unit.method
    return lambda run: getattr(run.outputs[owner], method)


def _apply(function: Callable[..., Any], unit: Unit) -> Call:
    """Return the call of a function with the unit's arguments, as short as they allow."""
    find = function if unit.method_of is not None else None
    args, kwargs = unit.args, dict(unit.kwargs)
    fixed = () if isinstance(args, Expression) else tuple(args)
    has_expressions = next(expressions_in(unit.arguments), None) is not None
    if not (has_expressions or unit.spread or holds_containers((*fixed, *kwargs.values()))):
        if find is None:
            return lambda run: function(*fixed, **kwargs)
        return lambda run: find(run)(*fixed, **kwargs)
    get_args = _args_evaluator(args, unit.name)
    named = [(name, evaluator(value, unit.name)) for name, value in kwargs.items()]
    spread = None if unit.spread is None else evaluator(unit.spread, unit.name)

    def call(run: RunningExperiment) -> Any:
        keywords = {name: value(run) for name, value in named}
        if spread is not None:
            keywords = merged(keywords, spread(run))
        return (function if find is None else find(run))(*get_args(run), **keywords)

    return call


def _args_evaluator(
    args: Sequence[Any] | Expression, unit: str
) -> Callable[[RunningExperiment], Sequence[Any]]:
    if isinstance(args, Expression):
        return evaluator(args, unit)
    parts = [evaluator(arg, unit) for arg in args]
    return lambda run: [part(run) for part in parts]


def merged(kwargs: Mapping[str, Any], spread: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return keyword arguments with the items of a dict spread among them, refusing what is given twice."""
    if not spread:
        return dict(kwargs)
    twice = kwargs.keys() & spread.keys()
    if twice:
        raise TypeError(
            f"arguments {sorted(twice)} are given by kwargs= and by name; give them once"
        )
    return {**spread, **kwargs}


def _next_of(name: str, create: Call) -> Call:
    def call(run: RunningExperiment) -> Any:
        iterator = run.iterators.get(name)
        if iterator is None:
            iterator = run.iterators[name] = iter(create(run))
        return next(iterator, EXHAUSTED)

    return call


def _recorder(unit: Unit) -> Recorder | None:
    if unit.saves_dict:
        return _record_dict
    if isinstance(unit.saves, str):
        name = unit.saves

        def record_one(run: RunningExperiment, output: Any) -> None:
            run.cells[name][run.iteration] = output

        return record_one
    if unit.saves is not None:
        names = unit.saves

        def record_each(run: RunningExperiment, output: Any) -> None:
            if isinstance(output, (str, bytes, Mapping)) or not hasattr(output, "__len__"):
                raise ValueError(
                    f"save_to={list(names)} needs a sequence of {len(names)} values, not {type(output).__name__}"
                )
            if len(output) != len(names):
                raise ValueError(
                    f"save_to={list(names)} names {len(names)} values, but the output has {len(output)}"
                )
            for name, value in zip(names, output, strict=True):
                run.cells[name][run.iteration] = value

        return record_each
    return None


def _record_dict(run: RunningExperiment, output: Any) -> None:
    if not isinstance(output, Mapping):
        raise TypeError(f"save_output_dict=True needs a dict, not {type(output).__name__}")
    for name in output:
        check_variable(name, run.context.parameters)
    for name, value in output.items():
        run.record_value(name, value)
