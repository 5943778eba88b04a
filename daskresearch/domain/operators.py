"""How nodes combine: products, sums, pairs and weights."""

from __future__ import annotations

from daskresearch.domain.nodes import Empty, Node, Product, Sum, Zip
from daskresearch.errors import DomainError


def multiply(left: Node, right: Node) -> Node:
    """Return the product of two nodes, weighted as its factors."""
    if isinstance(left, Empty):
        return right
    if isinstance(right, Empty):
        return left
    _refuse_common_names(left, right, "*")
    weights = [weight for weight in (_weight(left), _weight(right)) if weight is not None]
    if weights:
        bare = multiply(_without_weight(left), _without_weight(right))
        return weigh(weights[0] if len(weights) == 1 else weights[0] * weights[1], bare)
    if isinstance(left, Sum) and left.size is None:
        return Sum(tuple((weight, multiply(node, right)) for weight, node in left.terms))
    if isinstance(right, Sum) and right.size is None:
        return Sum(tuple((weight, multiply(left, node)) for weight, node in right.terms))
    return Product(left, right)


def add(left: Node, right: Node) -> Node:
    """Return the two nodes one after the other."""
    if isinstance(left, Empty):
        return right
    if isinstance(right, Empty):
        return left
    return Sum(_terms(left) + _terms(right))


def pair(left: Node, right: Node) -> Node:
    """Return two nodes of equal size side by side."""
    _refuse_common_names(left, right, "@")
    for node in (left, right):
        if node.size is None:
            raise DomainError(
                f"cannot pair the endless domain {node!r} by `@`; use `*` to draw once a config"
            )
    if left.size != right.size:
        raise DomainError(
            f"cannot pair {left.size} configs with {right.size} ({left!r} @ {right!r}): "
            f"`@` needs domains of equal length; use `*` for all combinations"
        )
    return Zip(left, right)


def weigh(weight: float, node: Node) -> Node:
    """Return the node with each term weighted, on top of the term's own weight."""
    if not 0 < weight < float("inf"):
        raise DomainError(f"the weight of a domain must be positive and finite, not {weight!r}")
    if isinstance(node, Empty):
        return node
    return Sum(tuple((weight * (1 if old is None else old), term) for old, term in _terms(node)))


def _terms(node: Node) -> tuple[tuple[float | None, Node], ...]:
    return node.terms if isinstance(node, Sum) else ((None, node),)


def _weight(node: Node) -> float | None:
    return node.terms[0][0] if isinstance(node, Sum) and len(node.terms) == 1 else None


def _without_weight(node: Node) -> Node:
    return node.terms[0][1] if _weight(node) is not None and isinstance(node, Sum) else node


def _refuse_common_names(left: Node, right: Node, operator: str) -> None:
    common = sorted(set(left.names) & set(right.names))
    if common:
        raise DomainError(
            f"parameters {common} stand on both sides of `{operator}`; give each parameter once, "
            f"or use `+` to run one side after the other"
        )
