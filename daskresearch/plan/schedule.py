"""When a unit runs: the argument `when`."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import Any, final

from daskresearch.counts import is_integer
from daskresearch.errors import PlanError

_ITERATION = re.compile(r"[#%](\d+)")


@final
@dataclass(frozen=True, slots=True)
class Schedule:
    """The iterations at which a unit runs.

    Examples
    --------
    >>> schedule = Schedule.parse([4, "#0", "last"])
    >>> [i for i in range(10) if schedule.runs_at(i, is_last=i == 9)]
    [0, 3, 7, 9]
    """

    steps: tuple[int, ...] = ()
    iterations: frozenset[int] = frozenset()
    last: bool = False

    @classmethod
    def parse(cls, when: Any) -> Schedule:
        """Return the schedule that `when` describes.

        Parameters
        ----------
        when : int, str or list
            ``n`` for every n-th iteration (n-1, 2n-1, ...), ``'#k'`` or ``'%k'`` for iteration k
            (from zero), ``'last'``, or a list of these.

        Raises
        ------
        PlanError
            If it is anything else.
        """
        steps, iterations, last = [], set(), False
        entries = when if isinstance(when, (list, tuple)) else [when]
        for entry in entries:
            match = _ITERATION.fullmatch(entry) if isinstance(entry, str) else None
            if is_integer(entry) and entry > 0:
                steps.append(int(entry))
            elif match:
                iterations.add(int(match[1]))
            elif isinstance(entry, str) and entry == "last":
                last = True
            else:
                raise _wrong(entry)
        if not entries:
            raise _wrong(when)
        return cls(tuple(steps), frozenset(iterations), last)

    @property
    def is_always(self) -> bool:
        """Whether every iteration is meant."""
        return 1 in self.steps

    @property
    def is_recurrent(self) -> bool:
        """Whether it names iterations without end."""
        return bool(self.steps)

    @property
    def is_single(self) -> bool:
        """Whether it names one iteration alone, by its number."""
        return not self.steps and not self.last and len(self.iterations) == 1

    def runs_at(self, iteration: int, is_last: bool) -> bool:
        """Return whether an iteration (from zero) is meant."""
        if iteration in self.iterations or (is_last and self.last):
            return True
        return any([(iteration + 1) % step == 0 for step in self.steps])

    def next_turn(self, iteration: int) -> int | None:
        """Return the first iteration from this one on that is meant in any case, if any.

        Which iteration is the last one does not matter.

        Examples
        --------
        >>> schedule = Schedule.parse([4, "#5"])
        >>> [schedule.next_turn(i) for i in (0, 3, 4, 6)]
        [3, 3, 5, 7]
        """
        turns = [iteration + -(iteration + 1) % step for step in self.steps]
        return min([*turns, *[i for i in self.iterations if i >= iteration]], default=None)

    def n_turns(self, n_iters: int | None) -> int | None:
        """Return how many iterations of an experiment are meant, None if nobody knows.

        Parameters
        ----------
        n_iters : int, optional
            How many iterations there are; None if only the end of a generator tells.

        Examples
        --------
        >>> Schedule.parse([4, "#0", "last"]).n_turns(10), Schedule.parse("#0").n_turns(None)
        (4, 1)
        """
        if n_iters is None:
            is_first_alone = not self.steps and not self.last and self.iterations == {0}
            return 1 if is_first_alone else None
        singles = {i for i in self.iterations if i < n_iters} | (
            {n_iters - 1} if self.last else set()
        )
        singles = {i for i in singles if not any([(i + 1) % step == 0 for step in self.steps])}
        return len(singles) + _n_multiples(n_iters, tuple(dict.fromkeys(self.steps)))


def _n_multiples(most: int, steps: tuple[int, ...]) -> int:
    """Return how many positive integers up to `most` are multiples of any step.

    They are counted by inclusion and exclusion.
    """
    count = 0
    for n_chosen in range(1, len(steps) + 1):
        for chosen in itertools.combinations(steps, n_chosen):
            count += (-1) ** (n_chosen + 1) * (most // math.lcm(*chosen))
    return count


def _wrong(when: Any) -> PlanError:
    return PlanError(
        f"when={when!r} names no iterations; use a positive integer n for every n-th, '#k' for "
        "iteration k, "
        f"'last', or a list of these"
    )
