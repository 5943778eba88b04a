"""The texts and the table by which a domain is shown, without iterating it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from daskresearch.domain.alias import Alias
from daskresearch.domain.nodes import Node, Product, Sampled, Sum, Values, Zip
from daskresearch.markup import attempted, counted, cut, page, paragraph, table

_MOST_NODES = 5_000
_MOST_COMPARED = 1_000
_MOST_PARAMETERS = 200
_N_SHOWN = 6


def parameter_texts(node: Node) -> dict[str, str]:
    """Return how many values each parameter has, in a few words.

    Examples
    --------
    >>> from daskresearch import NumpySampler, Option
    >>> domain = Option("lr", [0.1, 0.01]) * Option("width", NumpySampler("uniform"))
    >>> parameter_texts(domain.node)
    {'lr': '2 values', 'width': 'sampled'}
    """
    return {name: _number_of(parts) for name, parts in _parts_by_name(node).items()}


def parameters_table(node: Node) -> str:
    """Return the HTML table of the parameters with their first values."""
    rows = [
        (cut(name), _number_of(parts), _first_of(parts))
        for name, parts in itertools.islice(_parts_by_name(node).items(), _MOST_PARAMETERS)
    ]
    n_hidden = len(node.names) - len(rows)
    remainder = paragraph(f"and {counted(n_hidden, 'more parameter')}") if n_hidden else ""
    return table(["parameter", "values", "first values"], rows) + remainder


def size_text(size: int | None) -> str:
    """Return the number of configs in words."""
    return "endless" if size is None else counted(size, "config")


def domain_html(node: Node, size: int | None) -> str:
    """Return the repr of a domain in a notebook.

    Parameters
    ----------
    node : Node
    size : int, optional
        The number of configs with repetitions; None when endless.
    """
    facts = [size_text(size), counted(len(node.names), "parameter")]
    return page("Domain", "", facts, domain_body(node))


def domain_body(node: Node) -> str:
    """Return the HTML of the parameters and of how they are put together."""
    if not node.names:
        return paragraph("one empty config")
    return parameters_table(node) + paragraph(
        "composed as", attempted(lambda: repr(node), node, 400)
    )


def _leaves(node: Node) -> Iterator[Values | Sampled]:
    """Yield the parameters of a node in order, without recursion, however deep it is."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (Values, Sampled)):
            yield part
        elif isinstance(part, (Product, Zip)):
            waiting += [part.right, part.left]
        elif isinstance(part, Sum):
            waiting += [term for _, term in reversed(part.terms)]


def _parts_by_name(node: Node) -> dict[str, list[Values | Sampled]]:
    """Return where the values of each parameter stand, each place once."""
    parts: dict[str, dict[int, Values | Sampled]] = {}
    for leaf in itertools.islice(_leaves(node), _MOST_NODES):
        source = leaf.values if isinstance(leaf, Values) else leaf.source
        parts.setdefault(leaf.name, {})[id(source)] = leaf
    return {name: list(places.values()) for name, places in parts.items()}


def _number_of(parts: list[Values | Sampled]) -> str:
    if any(isinstance(part, Sampled) for part in parts):
        return "sampled"
    lists = [part.values for part in parts if isinstance(part, Values)]
    n_values = sum(len(values) for values in lists)
    if len(lists) > 1 and n_values <= _MOST_COMPARED:
        n_values = len({_alias_of(value) for values in lists for value in values})
    return counted(n_values, "value")


def _first_of(parts: list[Values | Sampled]) -> str:
    texts: dict[str, None] = {}
    for part in parts:
        if isinstance(part, Sampled):
            texts[cut(part.source.text)] = None
        else:
            texts.update(dict.fromkeys(_alias_of(value) for value in part.values[: _N_SHOWN + 1]))
    shown = list(itertools.islice(texts, _N_SHOWN))
    n_values = sum(len(part.values) for part in parts if isinstance(part, Values))
    is_all = len(texts) <= _N_SHOWN and (n_values <= _N_SHOWN + 1 or len(parts) > 1)
    return ", ".join(shown) + ("" if is_all else ", …")


def _alias_of(value: Any) -> str:
    return attempted(lambda: Alias(value).alias, value, 40)
