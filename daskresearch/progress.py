"""How far a run has come: a bar in a terminal or a notebook, or nothing."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import Any, Protocol, final


class Progress(Protocol):
    """Is told what a run has done."""

    def expect(self, n_experiments: int | None) -> None:
        """Expect so many experiments in all; None if nobody knows."""

    def tick(self) -> object:
        """Count an iteration."""

    def ended(self, n_experiments: int, n_iters: int, n_failed: int) -> None:
        """Count experiments that ended, their iterations, and how many of them failed."""

    def close(self) -> None:
        """Count no more."""


@final
class Silent:
    """Shows nothing."""

    def expect(self, n_experiments: int | None) -> None:
        """Do nothing."""

    def tick(self) -> None:
        """Do nothing."""

    def ended(self, n_experiments: int, n_iters: int, n_failed: int) -> None:
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
    ticks : bool
        Whether iterations are counted one by one, not when their experiment has ended.
    """

    def __init__(self, n_iters: int | None, *, ticks: bool) -> None:
        self._n_iters = n_iters
        self._ticks = ticks and n_iters is not None
        self._failed = 0
        self._lock = threading.Lock()
        self._bar: Any = None
        self._file = sys.stderr  # not what stands there while the output of experiments is captured

    def expect(self, n_experiments: int | None) -> None:
        """Set the length of the bar, which is shown from now on."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a notebook without ipywidgets gets a bar of text, which is fine
            from tqdm.auto import tqdm

        total = None if n_experiments is None else n_experiments * (self._n_iters or 1)
        if self._bar is None:
            self._bar = tqdm(
                total=total, unit="exp" if self._n_iters is None else "it", dynamic_ncols=True, file=self._file
            )
        else:
            self._bar.total = total
            self._bar.refresh()

    def tick(self) -> None:
        """Move by an iteration."""
        if self._ticks:
            with self._lock:
                self._bar.update(1)

    def ended(self, n_experiments: int, n_iters: int, n_failed: int) -> None:
        """Move to where the end of the experiments is, and show failures."""
        with self._lock:
            if n_failed:
                self._failed += n_failed
                self._bar.set_postfix(failed=self._failed, refresh=False)
            if self._n_iters is None:
                self._bar.update(n_experiments)
            else:
                self._bar.update(n_experiments * self._n_iters - (n_iters if self._ticks else 0))

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
