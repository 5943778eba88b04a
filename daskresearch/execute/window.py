"""How much work is out at once: batches sized by measured speed, a bounded number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple, final

from daskresearch.worker import Group


class Way(NamedTuple):
    """What it costs to hand a batch out and to have its receipt back.

    Attributes
    ----------
    least_s : float
        The least seconds of work that are worth it.
    served_s : float
        The seconds of the client and the scheduler, which serve one worker after the other.
    """

    least_s: float
    served_s: float


SENT, WRITTEN = Way(0.01, 0.002), Way(0.1, 0.005)
"""The ways of (a) batches that send records back, (b) batches that write files."""
_BUDGET_S = 0.25  # much more than a message costs, little enough to lose
_LONG_S = 1.0  # a hundred times what the way of a batch takes
_LONGEST_WAY_S = _BUDGET_S / 4
_FIRST = 128


@final
class Window:
    """Cuts groups into batches that are worth a message, and bounds how many are out.

    A worker gives back the groups that it has not begun within `budget_s`. So the first batches may
    be large, before it is known how long a group takes.

    Parameters
    ----------
    groups : iterator of Group
    total : int, optional
        How many groups there are, if that is known; an estimate will do.
    slots : int
        How many batches run at once; may be set anew at any time.
    way : Way
        What a batch costs, which sets how much work it has at least, while there is so much.
    may_grow : bool
        Whether workers may join. Then

        (a) a batch has one group until it is known how long groups take, so that no group lies in a
            batch while another worker could begin it;
        (b) where groups are many, the first batches, one for each slot, have a small part of them;
        (c) a batch always waits, by which an adaptive cluster sees that it is too small.

    Examples
    --------
    >>> window = Window(iter([("a",), ("b",), ("c",), ("d",)]), 4, slots=1)
    >>> window.next_batch()
    [('a',), ('b',)]
    >>> window.measured(n_groups=1, seconds=0.2)
    >>> window.give_back([("b",)])
    >>> window.next_batch(), window.next_batch()
    ([('b',)], [('c',)])
    """

    def __init__(
        self,
        groups: Iterator[Group],
        total: int | None,
        slots: int,
        way: Way = SENT,
        *,
        may_grow: bool = False,
    ) -> None:
        self._groups = groups
        self._remaining = total
        self.slots = slots
        self._way = way
        self._may_grow = may_grow
        self._way_s = _LONGEST_WAY_S
        self._n_batches = 0
        self._given_back: list[Group] = []
        self._seconds_each: float | None = None

    @property
    def budget_s(self) -> float:
        """The seconds after which a worker begins no further group of its batch."""
        return max(_BUDGET_S, self.slots * self._way.served_s)

    @property
    def most_out(self) -> int:
        """How many batches may be out: two for each slot, unless groups are long."""
        each, remaining = self._seconds_each, self._remaining
        is_long = each is not None and each > _LONG_S
        if each is None:
            is_close = remaining is not None and remaining < 4 * self.slots
        elif self._may_grow:
            is_close = is_long and remaining is not None and remaining <= self.slots
        else:
            is_close = is_long
        return self.slots + self._may_grow if is_close else 2 * self.slots

    def next_batch(self) -> list[Group]:
        """Return the next groups, none when all are handed out."""
        size = self._size()
        batch, self._given_back = self._given_back[:size], self._given_back[size:]
        self._n_batches += 1
        new = list(itertools.islice(self._groups, size - len(batch)))
        if self._remaining is not None:
            self._remaining -= len(new)
        return batch + new

    def give_back(self, groups: list[Group]) -> None:
        """Take back the groups that a worker has not begun."""
        self._given_back.extend(groups)

    def measured(self, n_groups: int, seconds: float, away_s: float = math.inf) -> None:
        """Note how long a batch ran.

        A shorter time counts at once, as the first batch of a worker also loads what it needs. The
        shortest way there and back counts too, as batches that wait for others take longer.

        Parameters
        ----------
        n_groups : int
        seconds : float
            The time that the groups took.
        away_s : float
            The time from handing the batch out to having its receipt.
        """
        self._way_s = min(self._way_s, max(0.0, away_s - seconds))
        each, before = max(seconds / n_groups, 1e-7), self._seconds_each
        self._seconds_each = each if before is None or each < before else (before + each) / 2

    def _size(self) -> int:
        each = self._seconds_each
        if each is None:
            size, least = self._first_size(), 1
        else:
            size, least = int(self.budget_s / each), int(max(self._way.least_s, self._way_s) / each)
        if self._remaining is not None:
            # batches get smaller towards the end, so that all slots end together
            left = self._remaining + len(self._given_back)
            size = min(size, max(least, -(-left // (2 * self.slots))))
        return max(1, size)

    def _first_size(self) -> int:
        if self._remaining is None:
            return 1
        if not self._may_grow:
            return _FIRST
        is_many = self._remaining > _FIRST * self.slots // 2
        return (
            min(_FIRST, self._remaining // (8 * self.slots))
            if is_many and self._n_batches < self.slots
            else 1
        )
