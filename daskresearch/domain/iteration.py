"""From a node to configs in order, with repetitions, samples and equal configs."""

from __future__ import annotations

import itertools
import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from daskresearch.counts import as_count, is_integer
from daskresearch.domain.config import Config, Entry
from daskresearch.domain.nodes import Node, Sampled, TermIndex
from daskresearch.domain.streams import entropy_of, stream
from daskresearch.errors import DomainError

if TYPE_CHECKING:
    from numpy.random import Generator

_ENDLESS_BLOCK = 100
_REMEMBERED = 2_000

_Item = tuple[tuple[Entry, ...], int, str]


@final
@dataclass(frozen=True, slots=True)
class IterParams:
    """How a domain is iterated; see `Domain.set_iter_params`."""

    n_items: int | None = None
    n_reps: int = 1
    repeat_each: int | None = None
    additional: bool = True
    seed: int | None = None
    create_id_prefix: bool = False

    def __post_init__(self) -> None:
        for name in ("n_items", "n_reps", "repeat_each"):
            object.__setattr__(self, name, as_count(name, getattr(self, name), DomainError))
        if self.n_reps is None:
            raise DomainError("n_reps must be a positive integer, not None")
        if self.seed is not None and not (is_integer(self.seed) and self.seed >= 0):
            raise DomainError(f"seed must be a non-negative integer, not {self.seed!r}")

    def size(self, node: Node) -> int | None:
        """Return how many configs are yielded, None when endless."""
        n_items = node.size if self.n_items is None else self.n_items
        return None if n_items is None else n_items * self.n_reps


def iterate(node: Node, params: IterParams, seed: int, updates: int = 0) -> Iterator[Config]:
    """Yield the configs of a node.

    Parameters
    ----------
    node : Node
    params : IterParams
        Its seed is not used here.
    seed : int
        What samples and mixtures are drawn from.
    updates : int
        How often the domain was replaced before.

    Yields
    ------
    Config
        Block by block, each block `n_reps` times.
    """
    n_items = node.size if params.n_items is None else params.n_items

    most = None if n_items is None else min(n_items, sys.maxsize)

    def items() -> Iterator[_Item]:
        return itertools.islice(_items(node, seed, updates, prefixed=params.create_id_prefix), most)

    if params.n_reps == 1:
        blocks: Iterator[Any] = iter([[items()]])
    elif n_items is not None and (params.repeat_each or n_items) >= n_items and node.is_replayable:
        # the same seed gives the whole block again, so that it needs no memory
        blocks = iter([(items() for _ in range(params.n_reps))])
    else:
        length = params.repeat_each or n_items or _ENDLESS_BLOCK
        source = items()
        parts = iter(lambda: list(itertools.islice(source, length)), [])
        blocks = ([part] * params.n_reps for part in parts)
    for block in blocks:
        for repetition, part in enumerate(block):
            for entries, occurrence, prefix in part:
                yield Config(entries, repetition, updates, occurrence, params.additional, prefix)


def _items(node: Node, seed: int, updates: int, *, prefixed: bool) -> Iterator[_Item]:
    """Yield entries without end, each with a count and an id prefix.

    The count is the number of equal entries before.
    """
    draws = _Draws(stream(entropy_of(seed), f"domain-{updates}"))
    counts = None if node.is_distinct and not node.has_samples else _Counts()
    for turn in itertools.count():
        for combination in node.combinations(draws.rng):
            parts, kinds = combination, set(map(type, combination))
            is_continuous = False
            if Sampled in kinds:
                is_continuous = any(
                    [type(part) is Sampled and part.source.is_continuous for part in parts]
                )
                parts = tuple(
                    [draws.entry(part) if type(part) is Sampled else part for part in parts]
                )
            prefix = "_".join([part.index for part in parts]) if prefixed else ""
            entries = (
                tuple([part for part in parts if type(part) is Entry])
                if TermIndex in kinds
                else parts
            )
            yield entries, turn if counts is None else counts.count(entries, is_continuous), prefix


class _Draws:
    """The draws of each sampled parameter, numbered."""

    def __init__(self, rng: Generator) -> None:
        self.rng = rng
        self._values: dict[Sampled, Iterator[Any]] = {}
        self._n_drawn = 0

    def entry(self, sampled: Sampled) -> Entry:
        """Return the entry of the next draw."""
        values = self._values.get(sampled)
        if values is None:
            values = self._values[sampled] = sampled.source.draw(self.rng)
        self._n_drawn += 1
        return Entry.of(sampled.name, next(values), f"{self._n_drawn:06d}")


class _Counts:
    """How often equal texts came, in memory that does not grow with continuous draws.

    Continuous draws never come again, or soon if the distribution is degenerate, so that old ones
    are forgotten.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._recent: OrderedDict[int, int] = OrderedDict()

    def count(self, entries: tuple[Entry, ...], is_continuous: bool) -> int:
        """Return how many equal entries came before."""
        content = hash(tuple(sorted([(entry.name, entry.alias) for entry in entries])))
        counts: dict[int, int] = (
            self._counts if content in self._counts or not is_continuous else self._recent
        )
        count = counts.get(content, 0) or self._recent.get(content, 0)
        counts[content] = count + 1
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        return count
