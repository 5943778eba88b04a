"""The algebra of domains: immutable nodes, which yield entries and combine.

A sampled parameter is yielded as a *placeholder* and drawn when the whole combination stands, so
that each combination of a product gets a draw of its own. A sum marks its combinations with the
*place* of their term. A node that only samples is *endless*; a product of a finite node with an
endless one has the size of the finite one. A product over an endless sum is the sum of the
products.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from daskresearch.domain.alias import Alias
from daskresearch.domain.config import Entry
from daskresearch.domain.samplers import Source
from daskresearch.errors import DomainError, DomainTypeError

if TYPE_CHECKING:
    from numpy.random import Generator


_FEW = 1_000


class Node(ABC):
    """A set of combinations of parameters, in order."""

    size: int | None
    """How many combinations there are; None when endless."""
    names: tuple[str, ...]
    """All parameters that a combination may have, in order."""
    has_all_names: bool = True
    """Whether every combination has every one of `names`."""
    is_distinct: bool
    """Whether no two combinations can have equal texts."""
    is_replayable: bool = True
    """Whether a Generator in the same state gives the same combinations again."""
    has_samples: bool = False
    """Whether any parameter is sampled."""

    @abstractmethod
    def combinations(self, rng: Generator) -> Iterator[tuple[Any, ...]]:
        """Yield tuples of entries, placeholders and places, in order."""


@final
class Empty(Node):
    """One combination without parameters; neutral for products and sums."""

    size = 1
    names = ()
    is_distinct = True

    def combinations(self, rng: Generator) -> Iterator[tuple[Any, ...]]:
        """Yield the empty combination."""
        yield ()

    def __repr__(self) -> str:
        return "Domain()"


@final
@dataclass(frozen=True, eq=False)
class Values(Node):
    """One parameter with its values in order."""

    name: str
    values: Sequence[Any]

    @property
    def size(self) -> int:  # type: ignore[override]
        """How many values there are."""
        return len(self.values)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The parameter."""
        return (self.name,)

    @cached_property
    def is_distinct(self) -> bool:  # type: ignore[override]
        """Whether all values have texts of their own."""
        return (
            isinstance(self.values, range)
            or len({entry.alias for (entry,) in self.entries()}) == self.size
        )

    def combinations(self, rng: Generator) -> Iterator[tuple[Any, ...]]:
        """Yield each value."""
        return iter(self._few) if self.size <= _FEW else self.entries()

    @cached_property
    def _few(self) -> list[tuple[Entry, ...]]:
        return list(self.entries())

    def entries(self) -> Iterator[tuple[Entry, ...]]:
        """Yield the entry of each value, alone in a tuple."""
        width = len(str(self.size - 1))
        return (
            (Entry.of(self.name, value, f"{i:0{width}d}"),) for i, value in enumerate(self.values)
        )

    def __repr__(self) -> str:
        texts = [Alias(value).alias for value in self.values[:6]]
        return f"{self.name}=[{', '.join(texts)}{', ...' if self.size > 6 else ''}]"


@final
@dataclass(frozen=True, slots=True)
class TermIndex:
    """Which term of a sum a combination is of, for sortable ids."""

    index: str


@final
@dataclass(frozen=True, eq=False)
class Sampled(Node):
    """One parameter drawn anew for each combination: its own placeholder, without end."""

    name: str
    source: Source
    size = None
    is_distinct = False
    has_samples = True

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The parameter."""
        return (self.name,)

    @property
    def is_replayable(self) -> bool:  # type: ignore[override]
        """Whether the draws follow the Generator."""
        return self.source.is_seeded

    def combinations(self, rng: Generator) -> Iterator[tuple[Any, ...]]:
        """Yield the placeholder without end."""
        return itertools.repeat((self,))

    def __repr__(self) -> str:
        return f"{self.name}~{self.source.text}"


@final
@dataclass(frozen=True, eq=False)
class Product(Node):
    """All pairs of two nodes, the right one fastest; build it with `multiply`."""

    left: Node
    right: Node
    size: int | None = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        sizes = [node.size for node in (self.left, self.right) if node.size is not None]
        _set(
            self,
            "size",
            None if not sizes else sizes[0] if len(sizes) == 1 else sizes[0] * sizes[1],
        )
        _set(self, "names", self.left.names + self.right.names)
        _set(self, "has_all_names", self.left.has_all_names and self.right.has_all_names)
        _set(self, "is_replayable", self.left.is_replayable and self.right.is_replayable)
        _set(self, "has_samples", self.left.has_samples or self.right.has_samples)
        sides = [self.left.is_distinct, self.right.is_distinct]
        _set(self, "is_distinct", all(sides) if len(sizes) == 2 else any(sides))

    def combinations(self, rng: Generator) -> Iterator[tuple[Any, ...]]:
        """Yield each combination of the left with each of the right, or with a draw of it."""
        if self.left.size is None or self.right.size is None:
            pairs = zip(self.left.combinations(rng), self.right.combinations(rng), strict=False)
            return (left + right for left, right in pairs)
        return (
            left + right
            for left in self.left.combinations(rng)
            for right in self.right.combinations(rng)
        )

    def __repr__(self) -> str:
        node: Node = self
        factors = []
        while isinstance(node, Product):  # of hundreds of parameters, too, which are nested as deep
            factors.append(node.right)
            node = node.left
        texts = [
            f"({factor!r})" if isinstance(factor, Sum) else repr(factor)
            for factor in (node, *reversed(factors))
        ]
        return " * ".join(texts)


@final
@dataclass(frozen=True, eq=False)
class Zip(Node):
    """Two nodes of equal size side by side; build it with `pair`."""

    left: Node
    right: Node
    size: int | None = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        _set(self, "size", self.left.size)
        _set(self, "names", self.left.names + self.right.names)
        _set(self, "has_all_names", self.left.has_all_names and self.right.has_all_names)
        _set(self, "is_replayable", self.left.is_replayable and self.right.is_replayable)
        _set(self, "has_samples", self.left.has_samples or self.right.has_samples)
        _set(self, "is_distinct", self.left.is_distinct or self.right.is_distinct)

    def combinations(self, rng: Generator) -> Iterator[tuple[Any, ...]]:
        """Yield the first of both, the second of both, and so on."""
        pairs = zip(self.left.combinations(rng), self.right.combinations(rng), strict=True)
        return (left + right for left, right in pairs)

    def __repr__(self) -> str:
        return f"({self.left!r}) @ ({self.right!r})"


@final
@dataclass(frozen=True, eq=False)
class Sum(Node):
    """Terms one after the other, weighted neighbours mixed; see `add` and `weigh`."""

    terms: tuple[tuple[float | None, Node], ...]

    # computed when asked for, so that a sum of thousands is built in linear time

    @cached_property
    def size(self) -> int | None:  # type: ignore[override]
        """The sizes of all terms together."""
        sizes = [node.size for _, node in self.terms]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The parameters of all terms, each once."""
        return tuple(dict.fromkeys(name for _, node in self.terms for name in node.names))

    @cached_property
    def has_all_names(self) -> bool:  # type: ignore[override]
        """Whether all terms have the same parameters."""
        return all(
            node.has_all_names and len(node.names) == len(self.names) for _, node in self.terms
        )

    @cached_property
    def is_replayable(self) -> bool:  # type: ignore[override]
        """Whether all terms are."""
        return all(node.is_replayable for _, node in self.terms)

    @cached_property
    def has_samples(self) -> bool:  # type: ignore[override]
        """Whether any term has."""
        return any(node.has_samples for _, node in self.terms)

    @cached_property
    def is_distinct(self) -> bool:  # type: ignore[override]
        """Whether no two terms have the same parameters, and each is distinct."""
        apart = {frozenset(node.names) for _, node in self.terms if node.has_all_names}
        return len(apart) == len(self.terms) and all(node.is_distinct for _, node in self.terms)

    def combinations(self, rng: Generator) -> Iterator[tuple[Any, ...]]:
        """Yield the terms in order, each run of weighted ones as a mixture."""
        width = len(str(len(self.terms) - 1))
        placed = [
            (weight, (TermIndex(f"{i:0{width}d}"),), node)
            for i, (weight, node) in enumerate(self.terms)
        ]
        for is_weighted, run in itertools.groupby(placed, key=lambda term: term[0] is not None):
            terms = list(run)
            if is_weighted and len(terms) > 1:
                yield from _mix(terms, rng)
            else:
                for _, place, node in terms:
                    for combination in node.combinations(rng):
                        yield place + combination

    def __repr__(self) -> str:
        return " + ".join(
            repr(node) if weight is None else f"{weight:g} * ({node!r})"
            for weight, node in self.terms
        )


def _set(node: Node, name: str, value: object) -> None:
    object.__setattr__(node, name, value)


def _mix(
    terms: Sequence[tuple[float | None, tuple[TermIndex], Node]], rng: Generator
) -> Iterator[tuple[Any, ...]]:
    """Yield from the terms at random by weight until each is exhausted."""
    weights = [weight or 0.0 for weight, _, _ in terms]
    iterators = [(place, node.combinations(rng)) for _, place, node in terms]
    while iterators:
        bounds = list(itertools.accumulate(weights))
        exhausted = None
        while exhausted is None:
            chosen = min(bisect(bounds, rng.random() * bounds[-1]), len(bounds) - 1)
            place, iterator = iterators[chosen]
            combination = next(iterator, None)
            if combination is None:
                exhausted = chosen
            else:
                yield place + combination
        del iterators[exhausted], weights[exhausted]


def option(name: str, values: Any) -> Node:
    """Return the node of a parameter: of a list, tuple, range, 1-d array or sampler."""
    if not isinstance(name, str):
        raise DomainTypeError(f"the name of a parameter must be a str, not {name!r}")
    array_like = hasattr(values, "__array__") and hasattr(values, "ndim")
    if array_like and values.ndim != 1:
        raise DomainTypeError(
            f"values of parameter {name!r} must be 1-dimensional, not of shape "
            f"{tuple(values.shape)}; "
            f"give a list of arrays instead"
        )
    if array_like:
        # Python's numbers where they read the same: float32's 0.1 would become 0.10000000149011612
        values = (
            values.tolist()
            if values.dtype.kind in "biu" or str(values.dtype) == "float64"
            else list(values)
        )
    if not isinstance(values, (list, tuple, range)):
        source = Source.of(values)
        if source is None:
            raise DomainTypeError(
                f"values of parameter {name!r} must be a list, a tuple, a 1-d array or a sampler, "
                f"not {values!r}; give one value as [value]"
            )
        return Sampled(name, source)
    if not len(values):
        raise DomainError(f"parameter {name!r} has no values; leave it out or give at least one")
    return Values(name, values if isinstance(values, range) else tuple(values))


def values_of(node: Node) -> Iterator[Values]:
    """Yield the parts of a node that hold values given one by one."""
    if isinstance(node, Values):
        yield node
    elif isinstance(node, (Product, Zip)):
        yield from values_of(node.left)
        yield from values_of(node.right)
    elif isinstance(node, Sum):
        for _, term in node.terms:
            yield from values_of(term)
