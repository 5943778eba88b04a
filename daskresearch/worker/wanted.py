"""Experiments and runs that are cancelled, halted or abandoned in this process."""

from __future__ import annotations

import threading

_lock = threading.Lock()
_cancelled: set[tuple[str, str]] = set()
_abandoned: set[str] = set()
_halted: set[str] = set()


def note_cancelled(token: str, experiment_id: str) -> None:
    """Note that an experiment of a run is cancelled."""
    with _lock:
        _cancelled.add((token, experiment_id))


def note_abandoned(token: str) -> None:
    """Note that a run has ended with all of its experiments."""
    with _lock:
        _abandoned.add(token)


def is_cancelled(token: str, experiment_id: str) -> bool:
    """Return whether an experiment of a run is cancelled."""
    return bool(_cancelled) and (token, experiment_id) in _cancelled


def is_abandoned(token: str) -> bool:
    """Return whether a run has ended with all of its experiments."""
    return token in _abandoned


def halt(token: str) -> None:
    """Let no further batch or group of a run begin in this process."""
    _halted.add(token)


def is_halted(token: str) -> bool:
    """Return whether no further batch or group of a run begins in this process."""
    return token in _halted


def forget(token: str) -> None:
    """Forget all notes of a run."""
    with _lock:
        _halted.discard(token)
        _abandoned.discard(token)
        _cancelled.difference_update([pair for pair in _cancelled if pair[0] == token])
