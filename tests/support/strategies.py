"""Random finite domains, each drawn together with the configs that plain itertools gives for it.

A *case* is a pair: a domain, and the list of dicts that iterating it must give. `[{}]`, one empty
config, is what `Domain()` stands for, and neutral for both ``+`` and ``*``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from daskresearch import Alias, Domain, Option

Configs = list[dict[str, Any]]
Case = tuple[Domain, Configs]

NAMES = ("a", "b", "head/layout", "c d", "e", "ф")
EMPTY: Configs = [{}]

law = settings(max_examples=40)  # enough for shapes of depth three


def configs(domain: Domain) -> Configs:
    """Return what the domain yields, without repetition and updates."""
    return [item.config() for item in domain.set_iter_params(additional=False)]


def ordered(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return the configs as a multiset that can be compared: sorted texts of their items."""
    return sorted(repr(sorted(row.items(), key=repr)) for row in rows)


def sum_of(left: Configs, right: Configs) -> Configs:
    """Return what ``left + right`` must give."""
    if left == EMPTY:
        return right
    return left if right == EMPTY else left + right


def product_of(left: Configs, right: Configs) -> Configs:
    """Return what ``left * right`` must give: the last factor varies fastest."""
    return [{**one, **other} for one, other in itertools.product(left, right)]


def pairs_of(left: Configs, right: Configs) -> Configs:
    """Return what ``left @ right`` must give."""
    return [{**one, **other} for one, other in zip(left, right, strict=True)]


def values() -> st.SearchStrategy[Any]:
    """Draw a value that a parameter may have: scalars, containers, functions, aliased lists."""
    plain = st.one_of(
        st.integers(-3, 3),
        st.booleans(),
        st.none(),
        st.sampled_from([0.5, 1e-3, "x", "y/z", "", (1, 2), len, dict]),
    )
    return st.one_of(
        plain, st.builds(Alias, st.lists(st.integers(0, 2), max_size=2), st.sampled_from("pqr"))
    )


def true_value(value: Any) -> Any:
    """Return what a unit receives for a value, which may be aliased."""
    return value.value if isinstance(value, Alias) else value


@st.composite
def options(draw: st.DrawFn, name: str | None = None, size: int | None = None) -> Case:
    """Draw a domain of one parameter, written in any of the ways there are."""
    name = draw(st.sampled_from(NAMES)) if name is None else name
    least, most = (1, 3) if size is None else (size, size)
    listed = draw(st.lists(values(), min_size=least, max_size=most))
    spelling = draw(st.sampled_from(["option", "mapping", "tuple", "copy"]))
    if spelling == "option":
        domain = Option(name, listed)
    elif spelling == "mapping":
        domain = Domain({name: listed})
    elif spelling == "tuple":
        domain = Option(name, tuple(listed))
    else:
        domain = Domain(Option(name, listed))
    return domain, [{name: true_value(value)} for value in listed]


@st.composite
def domains(draw: st.DrawFn, names: tuple[str, ...] = NAMES, depth: int = 3) -> Case:
    """Draw a domain made by ``+``, ``*`` and ``@`` from options that are named in `names`."""
    kinds = (
        ["option", "option", "empty"]
        if depth == 0
        else ["option", "sum", "sum", "product", "pairs", "empty"]
    )
    kind = draw(st.sampled_from(kinds))
    if kind == "empty":
        return Domain(), EMPTY
    if kind == "sum":
        left, right = draw(domains(names, depth - 1)), draw(domains(names, depth - 1))
        return left[0] + right[0], sum_of(left[1], right[1])
    if kind == "option" or len(names) < 2:
        return draw(options(draw(st.sampled_from(names))))
    border = draw(st.integers(1, len(names) - 1))
    left = draw(domains(names[:border], depth - 1))
    if kind == "product":
        right = draw(domains(names[border:], depth - 1))
        return left[0] * right[0], product_of(left[1], right[1])
    right = draw(domains_of_size(len(left[1]), names[border:]))
    return left[0] @ right[0], pairs_of(left[1], right[1])


@st.composite
def domains_of_size(draw: st.DrawFn, size: int, names: tuple[str, ...]) -> Case:
    """Draw an option or a sum of options that has exactly `size` configs."""
    if size == 1 or draw(st.booleans()):
        return draw(options(draw(st.sampled_from(names)), size))
    border = draw(st.integers(1, size - 1))
    left, right = draw(domains_of_size(border, names)), draw(domains_of_size(size - border, names))
    return left[0] + right[0], sum_of(left[1], right[1])


@st.composite
def disjoint(draw: st.DrawFn, n_domains: int = 2) -> tuple[Case, ...]:
    """Draw cases with no parameter in common, so that they can be multiplied."""
    borders = sorted(draw(st.permutations(range(1, len(NAMES))))[: n_domains - 1])
    limits = [0, *borders, len(NAMES)]
    return tuple(draw(domains(NAMES[i:j], depth=2)) for i, j in itertools.pairwise(limits))


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[Domain, list[Configs]]:
    """Draw a sum of two to four weighted terms together with the configs of each term.

    Term `i` has the parameter ``term`` with the value `i`, which tells where a config is from.
    """
    n_terms = draw(st.integers(2, 4))
    terms, rows = [], []
    for i in range(n_terms):
        domain, expected = draw(domains(NAMES, depth=1))
        weight = draw(st.sampled_from([0.1, 0.5, 1, 2, 7.5]))
        terms.append(weight * (Option("term", [i]) * domain))
        rows.append([{"term": i, **row} for row in expected])
    mixture = terms[0]
    for term in terms[1:]:
        mixture = mixture + term
    return mixture, rows
