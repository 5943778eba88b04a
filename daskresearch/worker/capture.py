"""What an experiment prints and logs, apart from what others print and log at the same time.

A *stream* is ``stdout``, ``stderr`` or ``log``. While captures are `installed`, `sys.stdout` and `sys.stderr` are
proxies and the root logger has one handler more; each asks a context variable whose text it is given. Text within
`captured_by` goes to its `Captured`, and all other text where it went before.

A thread (up to Python 3.13) or a process that a unit starts itself begins without the context, so that its text goes
where it went before; `asyncio.to_thread` and tasks of asyncio hand the context on. What is written past `sys.stdout`,
to its `buffer` or its file descriptor, is not captured either.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import RLock
from typing import Literal, TextIO, final

from daskresearch.errors import OptionError

_END_LENGTH, _CHUNK_LENGTH = 5_000_000, 65_536
_KEEPS, _TO_FILE = 1, 2


@final
@dataclass(frozen=True, slots=True)
class Modes:
    """Which streams of experiments are captured, and where to.

    Attributes
    ----------
    stdout, stderr : int
        0 leaves the text to go where it would go, 1 keeps it with the results, 2 writes it to a file of its own for
        each experiment, 3 does both.
    log : int, optional
        The level from which on records of `logging` are kept; None keeps none.

    Raises
    ------
    OptionError
        If a mode is none of these.

    Examples
    --------
    >>> Modes(stdout=1).off, Modes().off
    (False, True)
    """

    stdout: int = 0
    stderr: int = 0
    log: int | None = None

    def __post_init__(self) -> None:
        for name in ("stdout", "stderr"):
            mode = getattr(self, name)
            if not isinstance(mode, int) or mode not in range(4):
                raise OptionError(
                    f"{name} must be 0 (off), 1 (kept), 2 (to a file) or 3 (both), not {mode!r}"
                )
        if self.log is not None and (not isinstance(self.log, int) or isinstance(self.log, bool)):
            raise OptionError(f"log must be a level like logging.INFO, or None, not {self.log!r}")

    @property
    def off(self) -> bool:
        """Whether nothing is captured."""
        return not (self.stdout or self.stderr) and self.log is None

    @property
    def to_files(self) -> bool:
        """Whether experiments need folders for their files."""
        return bool((self.stdout | self.stderr) & _TO_FILE)

    def of(self, stream: str) -> int:
        """Return the mode of a stream."""
        return _KEEPS * (self.log is not None) if stream == "log" else int(getattr(self, stream))


@final
class _Text:
    """A text of bounded length, from which the middle is left out."""

    __slots__ = ("_head", "_n_head", "_n_pending", "_n_tail", "_n_total", "_pending", "_tail")

    def __init__(self) -> None:
        self._pending: list[str] = []
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._n_pending = self._n_head = self._n_tail = self._n_total = 0

    def add(self, text: str) -> None:
        self._pending.append(text)
        self._n_pending += len(text)
        if self._n_pending >= _CHUNK_LENGTH:
            self._settle()

    def _settle(self) -> None:
        text = "".join(self._pending)
        self._pending, self._n_pending = [], 0
        self._n_total += len(text)
        room = _END_LENGTH - self._n_head
        self._head.append(text[:room])
        self._n_head += len(self._head[-1])
        self._tail.append(text[room:][-_END_LENGTH:])
        self._n_tail += len(self._tail[-1])
        while self._n_tail - len(self._tail[0]) >= _END_LENGTH:
            self._n_tail -= len(self._tail.popleft())

    def __str__(self) -> str:
        self._settle()
        head, tail = "".join(self._head), "".join(self._tail)[-_END_LENGTH:]
        n_left_out = self._n_total - len(head) - len(tail)
        if n_left_out:
            head = head.removesuffix("\n") + f"\n... {n_left_out} characters left out ...\n"
        text = head + tail
        # half a surrogate pair could be printed but not stored in a table
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


@final
class Captured:
    r"""What one experiment prints and logs.

    Of each stream at most ten million characters are kept: the first and the last five, with a line between which says
    how many were left out. The file of a stream is opened on the first text, anew, and flushed with each line. It is
    closed with the outermost `captured_by` and opened again, to go on, if there is more.

    Parameters
    ----------
    modes : Modes
    folder : callable, optional
        Gives the path of an existing folder for the files ``stdout.txt`` and ``stderr.txt``; not called without text.

    Raises
    ------
    OptionError
        If a mode needs a folder and there is none.

    Examples
    --------
    >>> captured = Captured(Modes(stdout=1))
    >>> with installed(captured.modes), captured_by(captured):
    ...     print("loss", 0.5)
    >>> captured.stdout
    'loss 0.5\n'
    """

    __slots__ = ("_files", "_folder", "_lock", "_opened", "_pid", "_texts", "modes")

    def __init__(self, modes: Modes, folder: Callable[[], str] | None = None) -> None:
        if folder is None and modes.to_files:
            raise OptionError(
                "stdout=2 and stderr=2 write to files of experiments, which need a folder; use 1 without"
            )
        self.modes = modes
        self._folder = folder
        self._texts: dict[str, _Text] = {}
        self._files: dict[str, TextIO] = {}
        self._opened: set[str] = set()
        self._lock = (
            RLock()
        )  # what prints while it is held, like a finalizer or a signal handler, must not wait
        self._pid = os.getpid()

    @property
    def stdout(self) -> str:
        """What was printed, if it is kept."""
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        """What was printed to `sys.stderr`, if it is kept; warnings go there."""
        return self._text("stderr")

    @property
    def log(self) -> str:
        """What was logged, a line for each record: ``2026-01-31 12:00:00,123 INFO name: text``."""
        return self._text("log")

    def take(self, stream: str, text: str) -> bool:
        """Take text of a stream, or return False if it is to go where it would go."""
        mode = self._mode(stream)
        if mode and text:
            with self._lock:
                if mode & _KEEPS:
                    self._texts.setdefault(stream, _Text()).add(text)
                if mode & _TO_FILE:
                    self._file(stream).write(text)
        return bool(mode)

    def flush(self, stream: str) -> bool:
        """Flush the file of a stream, or return False if its text goes where it would go."""
        mode = self._mode(stream)
        if mode and stream in self._files:
            with self._lock:
                self._file(stream).flush()
        return bool(mode)

    def close(self) -> None:
        """Close the files; more text opens them again."""
        if self._files and os.getpid() == self._pid:
            with self._lock:
                while self._files:
                    # what fails is the end of a line on a full disk; it must not end the run of other experiments
                    with suppress(OSError):
                        self._files.popitem()[1].close()

    def _mode(self, stream: str) -> int:
        # a forked process has a copy of this object, of which nobody would ever read
        return self.modes.of(stream) if os.getpid() == self._pid else 0

    def _text(self, stream: str) -> str:
        with self._lock:
            return str(self._texts.get(stream, ""))

    def _file(self, stream: str) -> TextIO:
        if stream not in self._files and self._folder is not None:
            path = os.path.join(self._folder(), f"{stream}.txt")
            if os.path.islink(path):
                os.remove(path)  # it could lead anywhere
            how: Literal["a", "w"] = "a" if stream in self._opened else "w"
            self._files[stream] = open(  # noqa: SIM115
                path, how, buffering=1, encoding="utf-8", errors="backslashreplace"
            )
            self._opened.add(stream)
        return self._files[stream]
