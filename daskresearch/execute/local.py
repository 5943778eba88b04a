"""Executors of this process: one experiment after the other, or in threads."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, final

from daskresearch.execute.executor import LOOK_EACH_S, Returned
from daskresearch.store.folder.writer import Target
from daskresearch.store.record import Record
from daskresearch.worker import Context, Group, Program, RootOutputs, run_groups
from daskresearch.worker.devices import HaltedError, forget_leases
from daskresearch.worker.interrupts import heeding
from daskresearch.worker.limits import abandon, cancel, was_abandoned, watching
from daskresearch.worker.profile import ProfileRow
from daskresearch.worker.wanted import forget, halt


@final
class SerialExecutor:
    """Runs groups one after the other in this thread."""

    def __init__(self, program: Program, context: Context) -> None:
        self._program = program
        self._context = context
        self._shared = RootOutputs(program, context)
        self.profile: list[ProfileRow] = []

    def run(
        self, groups: Iterator[Group], total: int | None, stop: threading.Event
    ) -> Generator[Returned, None, None]:
        """Yield the records in the order of the groups."""
        with watching(self._context.token, self._context.timeout), heeding():
            for group in groups:
                if stop.is_set():
                    return
                yield from run_groups(self._program, [group], self._context, self._shared)

    def check(self, target: Target) -> None:
        """Do nothing, as this process has made the folder."""

    def cancel(self, experiment_id: str) -> None:
        """End an experiment."""
        cancel(self._context.token, experiment_id)

    def close(self) -> None:
        """Let go of the outputs of roots."""
        self._shared = RootOutputs(self._program, self._context)
        forget(self._context.token)
        forget_leases(self._context.token)


class _Done(NamedTuple):
    """The end of a group, and the error that was raised in it."""

    error: BaseException | None


def _end(
    threads: Sequence[threading.Thread],
    todo: queue.SimpleQueue[Group | None],
    hasten: Callable[[], object] = bool,
) -> None:
    """Tell threads to end after the groups that are left, and wait for them."""
    for _ in threads:
        todo.put(None)
    hasten()
    for thread in threads:
        # an interrupt may have come before the last one was started, which then ends by itself
        with contextlib.suppress(RuntimeError):
            thread.join()


@final
class ThreadsExecutor:
    """Runs groups in daemon threads of this process.

    Parameters
    ----------
    program : Program
    context : Context
    n_threads : int, optional
        How many threads. Default: the number of cores.
    look : callable
        Called now and then, also while no experiment ends.
    """

    def __init__(
        self,
        program: Program,
        context: Context,
        n_threads: int | None = None,
        look: Callable[[], object] = bool,
    ) -> None:
        self._program = program
        self._context = context
        self._n_threads = n_threads or os.cpu_count() or 1
        self._look = look
        self._shared = RootOutputs(program, context)
        self.profile: list[ProfileRow] = []

    def run(
        self, groups: Iterator[Group], total: int | None, stop: threading.Event
    ) -> Generator[Returned, None, None]:
        """Yield the records as experiments end; an error or an interrupt ends all of them."""
        ended: queue.SimpleQueue[Record | _Done] = queue.SimpleQueue()
        todo: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        aborted = threading.Event()

        def work() -> None:
            while (group := todo.get()) is not None:
                error: BaseException | None = None
                try:
                    if not (aborted.is_set() or stop.is_set()):
                        for record in run_groups(
                            self._program, [group], self._context, self._shared
                        ):
                            if not was_abandoned(record):
                                ended.put(record)
                except HaltedError:
                    pass
                except BaseException as raised:
                    error = raised
                ended.put(_Done(error))

        threads: list[threading.Thread] = []
        n_out = 0
        with watching(self._context.token, self._context.timeout):
            try:
                while True:
                    has_room = n_out < 2 * self._n_threads
                    while (
                        not stop.is_set() and has_room and (group := next(groups, None)) is not None
                    ):
                        todo.put(group)
                        n_out += 1
                        if len(threads) < min(n_out, self._n_threads):
                            name = f"experiment_{len(threads)}"
                            threads.append(threading.Thread(target=work, name=name, daemon=True))
                            threads[-1].start()
                        has_room = n_out < 2 * self._n_threads
                    if not n_out:
                        break
                    done = self._next(ended, stop)
                    if isinstance(done, Record):
                        yield done
                        continue
                    n_out -= 1
                    if done.error is not None:
                        raise done.error
            except BaseException:
                aborted.set()
                # a second interrupt leaves threads behind that do not return to Python
                _end(threads, todo, lambda: abandon(self._context.token))
                raise
            _end(threads, todo)

    def _next(
        self, ended: queue.SimpleQueue[Record | _Done], stop: threading.Event
    ) -> Record | _Done:
        """Return the next record or end of a group, and look around while there is none."""
        while True:
            self._look()
            if stop.is_set():
                halt(self._context.token)  # ends the wait of experiments for a device
            with contextlib.suppress(queue.Empty):
                return ended.get(timeout=LOOK_EACH_S)

    def check(self, target: Target) -> None:
        """Do nothing, as this process has made the folder."""

    def cancel(self, experiment_id: str) -> None:
        """End an experiment."""
        cancel(self._context.token, experiment_id)

    def close(self) -> None:
        """Let go of the outputs of roots."""
        self._shared = RootOutputs(self._program, self._context)
        forget(self._context.token)
        forget_leases(self._context.token)
