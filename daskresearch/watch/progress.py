"""How far a run has come: a bar in a terminal or a notebook, a line now and then in a log, or nothing."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TextIO, final

_LINE_EACH_S = 10
_LINES = 10


class Done(NamedTuple):
    """What a run has done so far.

    Attributes
    ----------
    n_ended : int
        Experiments that have ended.
    n_running : int
        Iterations of experiments that have not.
    n_failed : int
        How many of those that have ended failed.
    n_skipped : int
        Experiments that had finished in a run before.
    """

    n_ended: int = 0
    n_running: int = 0
    n_failed: int = 0
    n_skipped: int = 0

    def before(self, n_iters: int | None) -> int:
        """Return what was there already: iterations if their number is known, else experiments."""
        return self.n_skipped * (n_iters or 1)

    def now(self, n_iters: int | None) -> int:
        """Return what this run has done; an experiment that ended early counts as all of its iterations."""
        return self.n_ended if n_iters is None else self.n_ended * n_iters + self.n_running


class Progress(Protocol):
    """Shows what a run has done."""

    def expect(self, n_experiments: int | None) -> None:
        """Expect so many experiments in all, None if nobody knows; shown from now on."""

    def at(self, done: Done) -> None:
        """Show that the run is there."""

    def close(self) -> None:
        """Show no more."""


@final
class Silent:
    """Shows nothing."""

    def expect(self, n_experiments: int | None) -> None:
        """Do nothing."""

    def at(self, done: Done) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@final
class Bar:
    """A tqdm bar of iterations if their number is known, else of experiments, with the failures counted.

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

    def expect(self, n_experiments: int | None) -> None:
        """Set the length of the bar, which is shown from now on."""
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # a notebook without ipywidgets gets a bar of text, which is fine
            from tqdm.auto import tqdm

        total = None if n_experiments is None else n_experiments * (self._n_iters or 1)
        if self._bar is None:
            unit = "exp" if self._n_iters is None else "it"
            self._bar = tqdm(total=total, unit=unit, dynamic_ncols=True, file=self._file)
        else:
            self._bar.total = total
            self._bar.refresh()

    def at(self, done: Done) -> None:
        """Move there, and show failures."""
        bar = self._bar
        if done.n_failed != self._n_failed:
            self._n_failed = done.n_failed
            bar.set_postfix(failed=self._n_failed, refresh=False)
        n_more = done.before(self._n_iters) - self._n_before
        if n_more:
            self._n_before += n_more
            for place in (
                "n",
                "initial",
                "last_print_n",
            ):  # what was there already says nothing of the rate
                setattr(bar, place, getattr(bar, place) + n_more)
        now = done.now(self._n_iters)
        bar.update(now - self._n_now)
        self._n_now = now

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


@final
class Lines:
    """Lines of a log: at the start, then each ten seconds or each tenth, whichever is rarer, and at the end.

    Parameters
    ----------
    n_iters : int, optional
        Iterations of each experiment; they are counted if their number is known, else experiments.
    file : file
    name : str
        What lines begin with.
    clock : callable
        Gives seconds.

    Examples
    --------
    >>> seconds = iter([0, 6, 12, 20, 20])
    >>> lines = Lines(None, sys.stdout, "study", clock=lambda: next(seconds))
    >>> lines.expect(40)
    study: 0/40 experiments
    >>> lines.at(Done(12))
    >>> lines.at(Done(24, n_failed=1))
    study: 24/40 experiments (60%), 2/s, 00:08 left, 1 failed
    >>> lines.at(Done(40, n_failed=1))
    >>> lines.close()
    study: 40/40 experiments (100%) in 00:20, 2/s, 1 failed
    """

    def __init__(
        self,
        n_iters: int | None,
        file: TextIO,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._n_iters = n_iters
        self._file = file
        self._name = name
        self._clock = clock
        self._total: int | None = None
        self._done = Done()
        self._begun: float | None = None
        self._said_s = 0.0
        self._said = 0

    def expect(self, n_experiments: int | None) -> None:
        """Say what is to come, the first time."""
        self._total = None if n_experiments is None else n_experiments * (self._n_iters or 1)
        if self._begun is None:
            self._begun = self._said_s = self._clock()
            self._write(self._counts(0))

    def at(self, done: Done) -> None:
        """Say so, if it is time to."""
        self._done = done
        now_s = self._clock()
        if now_s - self._said_s < _LINE_EACH_S:
            return
        place = done.before(self._n_iters) + done.now(self._n_iters)
        if self._total is None or place - self._said >= self._total / _LINES:
            self._said_s, self._said = now_s, place
            self._say(now_s)

    def close(self) -> None:
        """Say how it has ended."""
        if self._begun is not None:
            self._say(self._clock(), is_end=True)

    def _say(self, now_s: float, *, is_end: bool = False) -> None:
        from tqdm import tqdm

        assert self._begun is not None
        seconds = now_s - self._begun
        now = self._done.now(self._n_iters)
        place = self._done.before(self._n_iters) + now
        rate = now / seconds if seconds > 0 else 0.0
        text = self._counts(place)
        if self._total:
            text += f" ({place * 100 // self._total}%)"
        if is_end:
            text += f" in {tqdm.format_interval(seconds)}"
        if rate:
            text += f", {rate:.3g}/s"
        if rate and self._total is not None and not is_end:
            text += f", {tqdm.format_interval((self._total - place) / rate)} left"
        self._write(f"{text}, {self._done.n_failed} failed")

    def _counts(self, place: int) -> str:
        total = "" if self._total is None else f"/{self._total}"
        return f"{place}{total} {'experiments' if self._n_iters in (None, 1) else 'iterations'}"

    def _write(self, text: str) -> None:
        with contextlib.suppress(
            OSError, ValueError
        ):  # nobody reads it any more, which is no reason to end a run
            self._file.write(f"{self._name}: {text}\n")
            self._file.flush()


def progress_for(n_iters: int | None, name: str) -> Progress:
    """Return what shows progress where this process shows its errors.

    Parameters
    ----------
    n_iters : int, optional
        Iterations of each experiment.
    name : str
        Of the research, which may be a path or a URL.
    """
    file = sys.stderr  # not what stands there while the output of experiments is captured
    if file is None or getattr(file, "closed", False):
        return Silent()
    if is_notebook() or (file.isatty() and _has_size(file)):
        return Bar(n_iters, file)
    return Lines(n_iters, file, name.rstrip("/").rpartition("/")[2] or "research")


def _has_size(file: TextIO) -> bool:
    """Return whether a terminal has room for a bar; those of CI may be of no size, where tqdm shows nothing."""
    try:
        return os.get_terminal_size(file.fileno()).columns > 0
    except (OSError, ValueError):  # it cannot be asked
        return True


def is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook, whose stderr is no terminal but shows bars."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config
