"""From a node to configs in order: start over, repeat blocks, draw samples, count equal configs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from daskresearch.domain.config import Config, Entry
from daskresearch.domain.nodes import Node, Sampled
from daskresearch.domain.streams import entropy_of, stream
from daskresearch.errors import DomainError

_ENDLESS_BLOCK = 100


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
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise DomainError(f"{name} must be a positive integer, not {value!r}")

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

    def items() -> Iterator[tuple[tuple[Entry, ...], int]]:
        return itertools.islice(_counted(node, seed, updates), n_items)

    if params.n_reps == 1:
        blocks: Iterator[Any] = iter([[items()]])
    elif params.repeat_each is None and n_items is not None and node.is_replayable:
        # the same seed gives the whole block again, so that it needs no memory
        blocks = iter([(items() for _ in range(params.n_reps))])
    else:
        length = params.repeat_each or n_items or _ENDLESS_BLOCK
        source = items()
        parts = iter(lambda: list(itertools.islice(source, length)), [])
        blocks = ([part] * params.n_reps for part in parts)
    for block in blocks:
        for repetition, part in enumerate(block):
            for entries, occurrence in part:
                yield Config(entries, repetition, updates, occurrence, params.additional)


def _counted(node: Node, seed: int, updates: int) -> Iterator[tuple[tuple[Entry, ...], int]]:
    """Yield entries without end, each with the number of equal configs before it."""
    rng = stream(entropy_of(seed), f"domain-{updates}")
    sources: dict[Sampled, Iterator[Any]] = {}
    counts: dict[int, int] = {}
    for turn in itertools.count():
        for combination in node.combinations(rng):
            entries = combination
            if Sampled in map(type, combination):
                entries = tuple([_drawn(part, sources, rng) if type(part) is Sampled else part for part in combination])
            if node.is_distinct and node.size is not None:
                yield entries, turn
            elif node.is_distinct:
                yield entries, 0
            else:
                content = hash(tuple(sorted([(entry.name, entry.alias) for entry in entries])))
                occurrence = counts.get(content, 0)
                counts[content] = occurrence + 1
                yield entries, occurrence


def _drawn(sampled: Sampled, sources: dict[Sampled, Iterator[Any]], rng: Any) -> Entry:
    source = sources.get(sampled)
    if source is None:
        source = sources[sampled] = sampled.source.draw(rng)
    return Entry.of(sampled.name, next(source))
