"""The observers that show progress: a bar where one can be, else lines of a log.

Progress is counted in iterations if the number of an experiment's iterations is known, else in
experiments. An experiment that ended early counts as all of its iterations.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, final

from daskresearch.watch.observer import Done, Observer

if TYPE_CHECKING:
    from daskresearch.results import ResearchResults

_LINE_EACH_S = 10
_LINES = 10


@final
class Bar(Observer):
    """A tqdm bar of iterations, or of experiments, with the failures counted.

    Parameters
    ----------
    n_iters : int, optional
        Iterations of each experiment.
    file : file
    """

    def __init__(self, n_iters: int | None, file: TextIO) -> None:
        self._n_iters = n_iters
        self._file = file
        self._n_failed = self._n_before = self._n_now = 0
        self._bar: Any = None

    def run_started(self, name: str, results: ResearchResults, n_experiments: int | None) -> None:
        """Show the bar from now on."""
        with warnings.catch_warnings():
            # a notebook without ipywidgets gets a bar of text, which is fine
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm

        unit = "exp" if self._n_iters is None else "it"
        total = _scaled(n_experiments, self._n_iters)
        self._bar = tqdm(total=total, unit=unit, dynamic_ncols=True, file=self._file)

    def run_ended(self, state: str) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def _progressed(self, done: Done) -> None:
        bar = self._bar
        total = _scaled(done.n_experiments, self._n_iters)
        if total != bar.total:
            bar.total = total
            bar.refresh()
        if done.n_failed != self._n_failed:
            self._n_failed = done.n_failed
            bar.set_postfix(failed=self._n_failed, refresh=False)
        before, now = _places(done, self._n_iters)
        n_new_before = before - self._n_before
        if n_new_before:
            self._n_before = before
            # what was there already says nothing of the rate
            for counter in ("n", "initial", "last_print_n"):
                setattr(bar, counter, getattr(bar, counter) + n_new_before)
        bar.update(now - self._n_now)
        self._n_now = now


@final
class Lines(Observer):
    """Lines of a log: at the start, now and then, and at the end.

    Between start and end a line comes each ten seconds or each tenth, whichever is rarer.

    Parameters
    ----------
    n_iters : int, optional
        Iterations of each experiment.
    file : file
    clock : callable
        Gives seconds.

    Examples
    --------
    >>> seconds = iter([0, 6, 12, 20, 20])
    >>> lines = Lines(None, sys.stdout, clock=lambda: next(seconds))
    >>> lines.run_started("study", None, 40)
    study: 0/40 experiments
    >>> lines._progressed(Done(40, 12))
    >>> lines._progressed(Done(40, 24, n_failed=1))
    study: 24/40 experiments (60%), 2/s, 00:08 left, 1 failed
    >>> lines._progressed(Done(40, 40, n_failed=1))
    >>> lines.run_ended("finished")
    study: 40/40 experiments (100%) in 00:20, 2/s, 1 failed
    """

    def __init__(
        self, n_iters: int | None, file: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._n_iters = n_iters
        self._file = file
        self._clock = clock
        self._name = ""
        self._done = Done(None)
        self._begun = self._said_s = 0.0
        self._said = 0

    def run_started(
        self, name: str, results: ResearchResults | None, n_experiments: int | None
    ) -> None:
        """Say what is to come."""
        self._name = name.rstrip("/").rpartition("/")[2] or "research"  # it may be a path or a URL
        self._done = Done(n_experiments)
        self._begun = self._said_s = self._clock()
        self._write(self._counts(0))

    def run_ended(self, state: str) -> None:
        """Say how far the run has come."""
        self._say(self._clock(), is_end=True)

    def _progressed(self, done: Done) -> None:
        self._done = done
        now_s = self._clock()
        if now_s - self._said_s < _LINE_EACH_S:
            return
        total, place = self._total, sum(_places(done, self._n_iters))
        if total is None or place - self._said >= total / _LINES:
            self._said_s, self._said = now_s, place
            self._say(now_s)

    def _say(self, now_s: float, *, is_end: bool = False) -> None:
        from tqdm import tqdm

        seconds = now_s - self._begun
        before, now = _places(self._done, self._n_iters)
        total, place = self._total, before + now
        rate = now / seconds if seconds > 0 else 0.0
        text = self._counts(place)
        if total:
            text += f" ({place * 100 // total}%)"
        if is_end:
            text += f" in {tqdm.format_interval(seconds)}"
        if rate:
            text += f", {rate:.3g}/s"
        if rate and total is not None and not is_end:
            text += f", {tqdm.format_interval((total - place) / rate)} left"
        self._write(f"{text}, {self._done.n_failed} failed")

    @property
    def _total(self) -> int | None:
        return _scaled(self._done.n_experiments, self._n_iters)

    def _counts(self, place: int) -> str:
        total = "" if self._total is None else f"/{self._total}"
        return f"{place}{total} {'experiments' if self._n_iters in (None, 1) else 'iterations'}"

    def _write(self, text: str) -> None:
        # nobody may read the log any more, which is no reason to end a run
        with contextlib.suppress(OSError, ValueError):
            self._file.write(f"{self._name}: {text}\n")
            self._file.flush()


def progress_for(n_iters: int | None) -> Observer | None:
    """Return what shows progress on stderr: a bar, lines, or None if it is closed.

    Parameters
    ----------
    n_iters : int, optional
        Iterations of each experiment.
    """
    file = sys.stderr  # not what stands there while the output of experiments is captured
    if file is None or getattr(file, "closed", False):
        return None
    is_bar = _is_notebook() or (file.isatty() and _has_size(file))
    return Bar(n_iters, file) if is_bar else Lines(n_iters, file)


def _scaled(n_experiments: int | None, n_iters: int | None) -> int | None:
    """Return how long all experiments are, in what progress is counted in."""
    return None if n_experiments is None else n_experiments * (n_iters or 1)


def _places(done: Done, n_iters: int | None) -> tuple[int, int]:
    """Return what was there before the run, and what the run has done."""
    if n_iters is None:
        return done.n_skipped, done.n_ended
    return done.n_skipped * n_iters, done.n_ended * n_iters + done.n_running


def _has_size(file: TextIO) -> bool:
    """Return whether a terminal has room for a bar; those of CI may have no size."""
    try:
        return os.get_terminal_size(file.fileno()).columns > 0
    except (OSError, ValueError):  # it cannot be asked
        return True


def _is_notebook() -> bool:
    """Return whether this process is a notebook's kernel, whose stderr shows bars."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config
