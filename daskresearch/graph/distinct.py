"""How many different values parameters have together, from a domain's description alone.

A *projection* of a combination is what is left of it when all but the named parameters are taken
away: its names with the content of their values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from daskresearch.domain import Alias, Empty, Node, Product, Sum, Values, Zip

Content = Callable[[str, object], str]
Projection = tuple[tuple[str, str], ...]

_MOST = 100_000


class _Unknown(Exception):  # noqa: N818  (an answer, not an error)
    """The description does not tell, or only at length."""


def n_distinct(node: Node, names: frozenset[str] | None, content: Content) -> int | None:
    """Return how many different projections a domain has; None if unknown.

    Unknown is what the description does not tell, or only after a long count.

    Parameters
    ----------
    node : Node
    names : frozenset of str, optional
        The parameters. Default: all.
    content : callable
        Returns a text from a parameter's name and value; equal values alone have equal texts.

    Examples
    --------
    >>> from daskresearch import Domain
    >>> domain = Domain(a=range(1000), b=range(1000)) * Domain(c=["x", "x", "y"])
    >>> n_distinct(domain.node, frozenset({"a", "c"}), lambda name, value: repr(value))
    2000
    """
    try:
        return _count(node, names, content)
    except _Unknown:
        return None


def _count(node: Node, names: frozenset[str] | None, content: Content) -> int:
    if names is not None and not names.intersection(node.names):
        return 1
    if isinstance(node, Empty):
        return 1
    if isinstance(node, Values):
        return (
            len(node.values)
            if isinstance(node.values, range)
            else len(_projections(node, names, content))
        )
    if isinstance(node, Product):
        return _count(node.left, names, content) * _count(node.right, names, content)
    if isinstance(node, Zip):
        for side, other in ((node.left, node.right), (node.right, node.left)):
            if names is not None and not names.intersection(other.names):
                return _count(side, names, content)
    elif isinstance(node, Sum):
        return _count_of_sum(node, names, content)
    return len(_projections(node, names, content))


def _count_of_sum(node: Sum, names: frozenset[str] | None, content: Content) -> int:
    """Count terms of different parameters apart: their projections are never equal."""
    alike: dict[frozenset[str], list[Node]] = {}
    for _, term in node.terms:
        if not term.has_all_names and len(node.terms) > 1:
            return len(_projections(node, names, content))
        kept = frozenset(term.names) if names is None else names.intersection(term.names)
        alike.setdefault(frozenset(kept), []).append(term)
    count = 0
    for kept, terms in alike.items():
        if len(terms) == 1 or not kept:
            count += _count(terms[0], names, content)
        else:
            count += len(set().union(*[_projections(term, names, content) for term in terms]))
    return count


def _projections(node: Node, names: frozenset[str] | None, content: Content) -> set[Projection]:
    """Return a node's different projections, unless there are too many to look at."""
    if names is not None and not names.intersection(node.names):
        return {()}
    if isinstance(node, Empty):
        return {()}
    if isinstance(node, Values):
        _check_size(len(node.values))
        return {((node.name, content(node.name, value)),) for value in _true_values(node)}
    if isinstance(node, Product):
        left, right = (
            _projections(node.left, names, content),
            _projections(node.right, names, content),
        )
        _check_size(len(left) * len(right))
        return {_joined(*pair) for pair in itertools.product(left, right)}
    if isinstance(node, Zip):
        return set(_sequence(node, names, content))
    if isinstance(node, Sum):
        return set().union(*[_projections(term, names, content) for _, term in node.terms])
    raise _Unknown


def _sequence(node: Node, names: frozenset[str] | None, content: Content) -> Iterator[Projection]:
    """Yield the projection of each combination in order."""
    if node.size is None or node.has_samples:
        raise _Unknown
    _check_size(node.size)
    if isinstance(node, Values):
        is_named = names is None or node.name in names
        for value in _true_values(node):
            yield ((node.name, content(node.name, value)),) if is_named else ()
    elif isinstance(node, (Product, Zip)):
        join = itertools.product if isinstance(node, Product) else zip
        for left, right in join(
            _sequence(node.left, names, content), _sequence(node.right, names, content)
        ):
            yield _joined(left, right)
    elif isinstance(node, Sum) and all(weight is None for weight, _ in node.terms):
        for _, term in node.terms:
            yield from _sequence(term, names, content)
    elif isinstance(node, Empty):
        yield ()
    else:
        raise _Unknown


def _true_values(node: Values) -> Iterator[object]:
    """Yield the values without their texts, which may take long to make."""
    return (value.value if type(value) is Alias else value for value in node.values)


def _joined(left: Projection, right: Projection) -> Projection:
    return tuple(sorted(left + right))


def _check_size(size: int) -> None:
    if size > _MOST:
        raise _Unknown
