"""Proxies of `sys.stdout` and `sys.stderr`, and a log handler, that capture text."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from threading import Lock
from typing import Any, final

from daskresearch.worker.capture import Captured, Modes

_CURRENT: ContextVar[Captured | None] = ContextVar("captured", default=None)


@final
class _CapturedBy:
    """The context of `captured_by`; as a class it takes a third of a generator's time."""

    __slots__ = ("_captured", "_token")

    def __init__(self, captured: Captured) -> None:
        self._captured = captured

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self._captured)

    def __exit__(self, *exception: object) -> None:
        _CURRENT.reset(self._token)
        if _CURRENT.get() is not self._captured:
            self._captured.close()


_AS_IT_IS: AbstractContextManager[None] = nullcontext()


def captured_by(captured: Captured | None) -> AbstractContextManager[None]:
    r"""Return a context in which `captured` takes the text of this thread or task.

    It restores the context around it in the end. None leaves things as they are. A generator must
    not yield within it, as the caller's text would be taken too. It needs `installed` around it.

    Examples
    --------
    >>> outer, inner = Captured(Modes(stdout=1)), Captured(Modes(stdout=1))
    >>> with installed(Modes(stdout=1)), captured_by(outer):
    ...     print("one")
    ...     with captured_by(inner):
    ...         print("two")
    ...     print("three")
    >>> outer.stdout, inner.stdout
    ('one\nthree\n', 'two\n')
    """
    return _AS_IT_IS if captured is None else _CapturedBy(captured)


def uncaptured() -> AbstractContextManager[None]:
    """Return a context in which no text is captured, though within `captured_by`."""
    return _CapturedBy(_NOTHING)


_NOTHING = Captured(Modes())


@final
class StreamProxy:
    """A stream in place of `sys.stdout` or `sys.stderr`, of which text is captured.

    Parameters
    ----------
    stream : str
        ``stdout`` or ``stderr``.
    before : file or None
        The stream that was there before, which does all but writing.
    """

    def __init__(self, stream: str, before: Any) -> None:
        self._stream = stream
        self._before = before

    def write(self, text: str) -> int:
        """Write a text, and return its length."""
        captured = _CURRENT.get()
        if captured is not None:
            if not isinstance(text, str):
                raise TypeError(f"write() argument must be str, not {type(text).__name__}")
            if captured.take(self._stream, text):
                return len(text)
        if self._before is not None:
            self._before.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after another."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush what was written."""
        captured = _CURRENT.get()
        if (captured is None or not captured.flush(self._stream)) and self._before is not None:
            self._before.flush()

    def __getattr__(self, name: str) -> Any:
        if name in ("_before", "_stream"):  # while it is being copied they are not there yet
            raise AttributeError(name)
        return getattr(self._before, name)


@final
class _LogHandler(logging.Handler):
    """The handler of the root logger that hands each record to its `Captured`."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def handle(self, record: logging.LogRecord) -> bool:
        """Hand a record on, without the lock of handlers, for which threads would wait."""
        try:
            captured = _CURRENT.get()
            if (
                captured is not None
                and captured.modes.log is not None
                and record.levelno >= captured.modes.log
            ):
                captured.take("log", self.format(record) + "\n")
            last_resort = logging.lastResort
            # this handler must not silence warnings, which are printed if there is no handler
            if (
                last_resort is not None
                and record.levelno >= last_resort.level
                and self._is_only_one(record.name)
            ):
                last_resort.handle(record)
        except Exception:
            with suppress(Exception):
                self.handleError(record)
        return True

    def _is_only_one(self, name: str) -> bool:
        handlers, logger = list(logging.root.handlers), logging.root.manager.loggerDict.get(name)
        while isinstance(logger, logging.Logger) and logger is not logging.root:
            handlers += logger.handlers
            logger = logger.parent
        return handlers == [self]


@final
class _Installation:
    """The proxies and the handler of this process, for all runs that capture text."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: list[Modes] = []
        self._proxies: dict[str, list[StreamProxy]] = {"stdout": [], "stderr": []}
        self._handler = _LogHandler()

    def enter(self, modes: Modes) -> None:
        with self._lock:
            self._asked.append(modes)
            self._adjust()
            for stream, proxies in self._proxies.items():
                there = getattr(sys, stream)
                if modes.of(stream) and not (
                    isinstance(there, StreamProxy) and there._stream == stream
                ):
                    proxies.append(StreamProxy(stream, there))
                    setattr(sys, stream, proxies[-1])

    def leave(self, modes: Modes) -> None:
        with self._lock:
            self._asked.remove(modes)
            self._adjust()
            for stream, proxies in self._proxies.items():
                while proxies and not any([asked.of(stream) for asked in self._asked]):
                    proxy = proxies.pop()
                    if getattr(sys, stream) is proxy:  # else somebody has set another stream
                        setattr(sys, stream, proxy._before)

    def _adjust(self) -> None:
        levels = [asked.log for asked in self._asked if asked.log is not None]
        if levels:
            self._handler.setLevel(min(*levels, logging.WARNING))  # warnings are handed on
            logging.root.addHandler(self._handler)
        else:
            logging.root.removeHandler(self._handler)


_INSTALLATION = _Installation()  # one for the process, as sys.stdout and the root logger are


@contextmanager
def installed(modes: Modes) -> Iterator[None]:
    """Make a context in which `captured_by` works, in all threads.

    Several runs may each make one. When the last one ends, all is as it was before the first. A
    `sys.stdout` that somebody has set meanwhile stays. Levels of loggers do not change, so a record
    that its logger drops is not captured.

    Examples
    --------
    >>> before = sys.stdout
    >>> with installed(Modes(stdout=1)):
    ...     sys.stdout is before
    False
    >>> sys.stdout is before
    True
    """
    _INSTALLATION.enter(modes)
    try:
        yield
    finally:
        _INSTALLATION.leave(modes)
