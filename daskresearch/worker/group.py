"""A group of experiments in lock-step, whose stateful roots run once for all.

In each iteration the segments of the plan run in order. A root segment is called once for each
*cell*. A cell is the members that have the same key for the root, as they read equal config values.
A segment of branches is run by each member, in threads or in order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from daskresearch.domain.experiment import PlannedExperiment, RootKey
from daskresearch.store.record import Record
from daskresearch.worker.context import Context, SharedRoots
from daskresearch.worker.loop import deliver, fail, interruptibly, run_steps, wants
from daskresearch.worker.program import EXHAUSTED, Program, Step
from daskresearch.worker.proxies import captured_by
from daskresearch.worker.roots import attempt
from daskresearch.worker.running import RunningExperiment

_MOST_THREADS = 32

Cells = dict[tuple[str, RootKey], RunningExperiment]


def run_group(
    program: Program, group: Sequence[PlannedExperiment], context: Context, shared: SharedRoots
) -> Iterator[Record]:
    """Run a group in lock-step, and yield each record when its experiment has ended."""
    members = [
        RunningExperiment(experiment, context, shared, program.instances, program.variables)
        for experiment in group
    ]
    final = -1 if context.n_iters is None else context.n_iters - 1
    cells: Cells = {}
    with ExitStack() as stack:
        pool = None
        if context.in_threads and len(members) > 1:
            pool = stack.enter_context(
                ThreadPoolExecutor(min(len(members), _MOST_THREADS), "branch")
            )
        while members:
            for member in members:
                member.last = member.iteration == final
            for segment in program.segments:
                if segment[0].root is not None:
                    for step in segment:
                        _run_root(step, members, cells, program)
                elif pool is None:
                    for member in members:
                        _run_segment(segment, member)
                else:
                    list(
                        pool.map(lambda member, steps=segment: _run_segment(steps, member), members)
                    )
            for member in members:
                if context.tick is not None:
                    context.tick()
                if member.last:
                    yield member.record()
            members = [member for member in members if not member.last]
            for member in members:
                member.iteration += 1


def _run_segment(steps: Sequence[Step], member: RunningExperiment) -> None:
    if not member.is_stopped:
        with captured_by(member.captured):
            interruptibly(member, lambda: run_steps(steps, member))


def _run_root(
    step: Step, members: Sequence[RunningExperiment], cells: Cells, program: Program
) -> None:
    """Call a root once for each cell of the members whose turn it is."""
    parts: dict[tuple[str, RootKey], list[RunningExperiment]] = {}
    for member in members:
        if (
            (member.context.finalize or not member.ended)
            and not member.is_stopped
            and wants(step, member)
        ):
            parts.setdefault((step.name, member.experiment.root_key(step.name)), []).append(member)
    for key, part in parts.items():
        first = part[0]
        cell = cells.get(key)
        if cell is None:
            group_key = first.experiment.group_key
            cell = RunningExperiment(
                first.experiment, first.context, first.shared, program.instances, (), key=group_key
            )
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
