"""How much work is handed out at once: batches that grow with measured speed, in a bounded window."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import final

from daskresearch.worker import Group

_TARGET_S = 0.25
_GROWTH = 64
_LONG_S = 0.5


@final
class Window:
    """Cuts groups into batches whose run time is worth a message, and says how many may be out at once.

    Parameters
    ----------
    groups : iterator of Group
    total : int, optional
        How many there are, if known.
    slots : int
        How many batches run at once.

    Examples
    --------
    >>> window = Window(iter([("a",), ("b",), ("c",), ("d",)]), 4, slots=1)
    >>> window.next_batch()
    [('a',)]
    >>> window.measured(n_groups=1, seconds=1e-4)
    >>> window.next_batch()
    [('b',), ('c',), ('d',)]
    """

    def __init__(self, groups: Iterator[Group], total: int | None, slots: int) -> None:
        self._groups = groups
        self._remaining = total
        self._slots = slots
        self._size = 1
        self._seconds_each: float | None = None

    @property
    def most_out(self) -> int:
        """How many batches may be out: twice the slots while they are short, so that no slot waits for the next."""
        each = self._seconds_each
        return self._slots if each is not None and each * self._size > _LONG_S else 2 * self._slots

    def next_batch(self) -> list[Group]:
        """Return the next groups, none when all are handed out."""
        size = self._size
        if self._remaining is not None:
            size = max(1, min(size, -(-self._remaining // self._slots)))
        batch = list(itertools.islice(self._groups, size))
        if self._remaining is not None:
            self._remaining -= len(batch)
        return batch

    def measured(self, n_groups: int, seconds: float) -> None:
        """Take note of how long a batch ran."""
        each = seconds / n_groups
        known = self._seconds_each
        self._seconds_each = each if known is None else (known + each) / 2
        fitting = int(_TARGET_S / max(self._seconds_each, 1e-7))
        self._size = max(1, min(fitting, self._size * _GROWTH))
