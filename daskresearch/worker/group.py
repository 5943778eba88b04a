"""A group of experiments in lock-step: their stateful roots make one pass for all members.

In each iteration the segments of the plan run in order. A root segment is called once for each *cell*: the members
whose roots read equal config values. A segment of branches is run by each member, in threads or in order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from daskresearch.domain import AUXILIARY
from daskresearch.plan import WHOLE_CONFIG
from daskresearch.store.record import Record
from daskresearch.worker.experiment import Context, Experiment, Running, SharedRoots
from daskresearch.worker.loop import deliver, fail, run_steps, wants
from daskresearch.worker.program import EXHAUSTED, Program, Step
from daskresearch.worker.shared import attempt

_MOST_THREADS = 32

Cells = dict[tuple[str, Any], Running]


def run_group(program: Program, group: Sequence[Experiment], context: Context, shared: SharedRoots) -> Iterator[Record]:
    """Run the experiments of a group in lock-step, yielding each record when its experiment has ended."""
    members = [Running(one, context, shared, program.instances, program.variables) for one in group]
    final = -1 if context.n_iters is None else context.n_iters - 1
    cells: Cells = {}
    with ExitStack() as stack:
        pool = None
        if context.in_threads and len(members) > 1:
            pool = stack.enter_context(ThreadPoolExecutor(min(len(members), _MOST_THREADS), "branch"))
        while members:
            for member in members:
                member.last = member.iteration == final
            for segment in program.segments:
                if segment[0].root is not None:
                    for step in segment:
                        _run_root(step, members, cells, program)
                elif pool is None:
                    for member in members:
                        run_steps(segment, member)
                else:
                    list(pool.map(lambda member, steps=segment: run_steps(steps, member), members))
            for member in members:
                if context.tick is not None:
                    context.tick()
                if member.last:
                    yield member.record()
            members = [member for member in members if not member.last]
            for member in members:
                member.iteration += 1


def _run_root(step: Step, members: Sequence[Running], cells: Cells, program: Program) -> None:
    """Call a root once for each cell of the members whose turn it is, and hand each its output."""
    parts: dict[tuple[str, Any], list[Running]] = {}
    for member in members:
        if (member.context.finalize or not member.ended) and wants(step, member):
            parts.setdefault(_cell_key(step, member), []).append(member)
    for key, part in parts.items():
        first = part[0]
        cell = cells.get(key)
        if cell is None:
            group_key = first.experiment.group_key
            cell = Running(first.experiment, first.context, first.shared, program.instances, (), key=group_key)
            cells[key] = cell
        cell.iteration = first.iteration
        cell.outputs = first.outputs
        outcome = attempt(step.name, cell, step.call)
        for member in part:
            try:
                output = outcome.get()
                own = step.copies and output is not EXHAUSTED
                deliver(step, member, copy.deepcopy(output) if own else output)
            except Exception as exception:
                fail(step, member, exception)


def _cell_key(step: Step, member: Running) -> tuple[str, Any]:
    assert step.root is not None
    return step.name, identity(member.full, step.root.reads)


def identity(config: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return what two configs have in common if the named values are equal, or the same object.

    Parameters
    ----------
    config : dict
        With repetition and updates.
    names : tuple of str
        `WHOLE_CONFIG` among them stands for all but repetition and updates.

    Examples
    --------
    >>> identity({"a": 1, "b": 2}, ("a",)) == identity({"a": 1, "b": 3}, ("a",))
    True
    >>> identity({"a": 1}, ("a",)) == identity({"a": True}, ("a",))
    False
    """
    if WHOLE_CONFIG in names:
        names = tuple(sorted({*names, *config} - ({*AUXILIARY} - {*names})))
    return tuple([(name, *_identity_of(config[name])) if name in config else (name,) for name in names])


def _identity_of(value: Any) -> tuple[Any, ...]:
    if type(value) is float:
        return float, repr(value)  # 0.0 and -0.0 are equal, but not the same
    if value is None or type(value) in (bool, int, str, bytes):
        return type(value), value
    if type(value) is tuple:
        return tuple, tuple([_identity_of(part) for part in value])
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return type(value), repr(value)
    return type(value), id(value)
