"""One experiment from its first iteration to its last: the meaning of a plan.

A unit runs when its schedule says so, unless it uses the output of a unit that failed. An exhausted
generator or a failure makes the iteration the last one of the experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.store.record import Record
from daskresearch.worker.catching import SharedFailure, failure_of
from daskresearch.worker.context import Context, SharedRoots
from daskresearch.worker.interrupts import check_interrupt, is_main_thread
from daskresearch.worker.limits import Interrupted, enter, failure_of_interrupt, leave
from daskresearch.worker.program import EXHAUSTED, Program, Step
from daskresearch.worker.proxies import captured_by
from daskresearch.worker.running import RunningExperiment


def run_experiment(
    program: Program, experiment: PlannedExperiment, context: Context, shared: SharedRoots
) -> Record:
    """Run an experiment whose roots are all steady, and return what it recorded."""
    run = RunningExperiment(experiment, context, shared, program.instances, program.variables)
    final = -1 if context.n_iters is None else context.n_iters - 1
    with captured_by(run.captured):
        interruptibly(run, lambda: _iterate(program.steps, run, final))
    return run.record()


def _iterate(steps: Sequence[Step], run: RunningExperiment, final: int) -> None:
    tick = run.context.tick
    while True:
        run.last = run.iteration == final
        run_steps(steps, run)
        if tick is not None:
            tick()
        if run.interrupt is not None:  # a unit has swallowed it
            raise run.interrupt
        check_interrupt()
        if run.last:
            return
        run.iteration += 1


def interruptibly(run: RunningExperiment, work: Callable[[], None]) -> None:
    """Run units of an experiment in this thread, while others may end it."""
    try:
        try:
            enter(run)
            work()
        finally:
            leave(run)
        if run.interrupt is not None:  # a unit has swallowed it
            raise run.interrupt
        check_interrupt()
    except Interrupted as error:
        _leave_at_last(run)
        run.is_stopped = True
        if run.context.debug:
            raise failure_of_interrupt(run, error).exception from None
        run.failures.append(failure_of_interrupt(run, error))
        end(run)


def _leave_at_last(run: RunningExperiment) -> None:
    """Leave the list of threads, though `Interrupted` may be raised meanwhile."""
    while True:
        try:
            leave(run)
        except Interrupted:
            continue
        return


def run_steps(steps: Iterable[Step], run: RunningExperiment) -> None:
    """Run steps of an iteration; after an early end only if the run finalizes."""
    finalize = run.context.finalize
    for step in steps:
        if run.ended and not finalize:
            return
        if wants(step, run):
            try:
                deliver(step, run, step.call(run))
            except Interrupted:
                raise
            # SystemExit, CancelledError and the like end only their experiment
            except BaseException as exception:
                if isinstance(exception, KeyboardInterrupt) and is_main_thread():
                    raise
                fail(step, run, exception)


def wants(step: Step, run: RunningExperiment) -> bool:
    """Return whether it is a step's turn; if an input of it is broken, mark it broken."""
    if run.broken and not run.broken.isdisjoint(step.upstream):
        run.broken.add(step.name)
        return False
    return step.schedule is None or step.schedule.runs_at(run.iteration, run.last)


def deliver(step: Step, run: RunningExperiment, output: object) -> None:
    """Keep and record an output; for an exhausted generator its last one, if any."""
    if output is EXHAUSTED:
        end(run)
        if step.name not in run.outputs:
            run.broken.add(step.name)
            return
        output = run.outputs[step.name]
    elif step.keeps_output:
        run.outputs[step.name] = output
    if step.record is not None:
        step.record(run, output)


def end(run: RunningExperiment) -> None:
    """Make the iteration the last one of the experiment."""
    run.last = run.ended = True


def fail(step: Step, run: RunningExperiment, exception: BaseException) -> None:
    """Mark the experiment failed in a step; raise at once when debugging."""
    if run.context.debug:
        raise exception.failure.exception if isinstance(exception, SharedFailure) else exception
    run.failures.append(failure_of(step.name, run.iteration, exception))
    run.broken.add(step.name)
    end(run)
