"""Digests follow the content of values and functions, also of those in circles."""

from __future__ import annotations

import copy
import gc
import pickle
import struct
import sys
import typing
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch.content.fingerprint import Fingerprints, combined
from daskresearch.errors import HashError
from tests.support.strategies import law


def digest(value: Any) -> str:
    """Return the digest of a value by fingerprints that know nothing yet."""
    return Fingerprints().value(value).hex()


def scalars() -> st.SearchStrategy[Any]:
    """Draw plain values, among them many that are equal for Python."""
    few = st.sampled_from(
        [0, 1, True, False, 0.0, -0.0, 1.0, 1j, None, "", "1", "a", b"", b"1", 2**70, "\ud800"]
    )
    return few | st.integers(-2, 2) | st.text("ab", max_size=2)


def containers() -> st.SearchStrategy[Any]:
    """Draw plain values, nested."""
    sets = st.sets(scalars(), max_size=3)
    return st.recursive(
        scalars() | sets | sets.map(frozenset),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(scalars(), inner, max_size=3)
        ),
        max_leaves=6,
    )


def content(value: Any) -> Any:
    """Return what the digest must follow, written down in another way."""
    name = type(value).__name__
    if isinstance(value, float):
        return name, struct.pack("<d", value)
    if isinstance(value, (list, tuple)):
        return name, [content(one) for one in value]
    if isinstance(value, dict):
        return name, [(content(one), content(other)) for one, other in value.items()]
    if isinstance(value, (set, frozenset)):
        return name, sorted([repr(content(one)) for one in value])
    return name, repr(value)


def changes(value: Any) -> Iterator[Any]:
    """Yield the value with each single thing in it replaced by another."""
    if isinstance(value, (list, tuple)):
        for i, one in enumerate(value):
            yield from [type(value)([*value[:i], other, *value[i + 1 :]]) for other in changes(one)]
        yield type(value)([*value, "more"])
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from [{**value, key: other} for other in changes(one)]
            yield {
                ("changed", name) if name is key else name: other for name, other in value.items()
            }
        yield {**value, "more": "more"}
    elif isinstance(value, (set, frozenset)):
        yield from [(value - {one}) | {"changed"} for one in value]
        yield value | {"more"}
    else:
        yield "changed"


@law
@given(containers(), containers())
def test_digests_are_equal_if_and_only_if_contents_are(a, b):
    assert (digest(a) == digest(b)) == (content(a) == content(b))


@law
@given(containers())
def test_a_deep_copy_and_a_journey_keep_the_digest(value):
    assert (
        digest(copy.deepcopy(value)) == digest(pickle.loads(pickle.dumps(value))) == digest(value)
    )


@law
@given(containers())
def test_any_single_change_changes_the_digest(value):
    changed = list(changes(value))
    assert len({digest(one) for one in [value, *changed]}) == 1 + len(changed)


@law
@given(st.lists(containers(), max_size=4))
def test_what_was_hashed_before_does_not_count(values):
    fingerprints = Fingerprints()
    for value in [*values, values, {"all": values}, *values]:
        assert fingerprints.value(value).hex() == digest(value)


def test_what_arrays_hold_counts_whether_they_were_hashed_alone_or_not():
    array = np.array([1, 2])
    objects = np.array([array, content, None], object)
    fingerprints = Fingerprints()
    for value in (array, objects, [array, objects], array, objects, {"a": objects}):
        assert fingerprints.value(value).hex() == digest(value)


class Node:
    """A thing that knows others."""

    def __init__(self, number: int, others: Any) -> None:
        self.number, self.others = number, others


def ring(*numbers: int) -> Node:
    """Return the first of some that each know the next one, the last one the first."""
    nodes = [Node(number, None) for number in numbers]
    for node, other in zip(nodes, nodes[1:] + nodes[:1], strict=True):
        node.others = other
    return nodes[0]


def crowd(kind: Callable[[list[Node]], Any], n: int, last: int) -> Node:
    """Return the first of some that all know each other."""
    nodes = [Node(number, None) for number in [*range(n - 1), last]]
    for node in nodes:
        node.others = kind([other for other in nodes if other is not node])
    return nodes[0]


def test_values_may_hold_themselves():
    one: list[Any] = [1]
    one.append(one)
    assert digest(one) == digest(copy.deepcopy(one)) != digest([1, [1]])
    assert digest(ring(1, 2, 3)) == digest(ring(1, 2, 3)) == digest(copy.deepcopy(ring(1, 2, 3)))
    assert (
        len({digest(ring(*numbers)) for numbers in [(1,), (1, 2), (2, 1), (1, 2, 3), (1, 3, 2)]})
        == 5
    )


@pytest.mark.parametrize("kind", [list, tuple, set])
def test_values_may_hold_each_other(kind):
    assert (
        digest(crowd(kind, 12, 0))
        == digest(crowd(kind, 12, 0))
        == digest(copy.deepcopy(crowd(kind, 12, 0)))
    )
    assert digest(crowd(kind, 12, 0)) != digest(crowd(kind, 12, 1))


def test_what_is_held_twice_is_hashed_once():
    flat: Any = [0]
    looped: Any = [0]
    looped.append(looped)
    for _ in range(40):  # with a trillion leaves
        flat, looped = [flat, flat], {"a": looped, "b": looped}
    assert digest(flat) == digest(copy.deepcopy(flat))
    assert digest(looped) == digest(copy.deepcopy(looped))


def test_what_is_nested_too_deep_is_refused():
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    with pytest.raises(HashError, match="nested too deep"):
        digest(deep)


def countdown(n: int) -> int:
    """Call itself."""
    return n and countdown(n - 1)


def is_even(n: int) -> bool:
    """Call the next one."""
    return n == 0 or is_odd(n - 1)


def is_odd(n: int) -> bool:
    """Call the one before."""
    return n != 0 and is_even(n - 1)


class Tree:
    """A class that holds itself, its objects and what holds it."""

    def make(self) -> Tree:
        return Tree.root

    root: typing.ClassVar[Any]


FUNCTIONS = {"even": is_even, "odd": is_odd, "tree": Tree}
Tree.root = Tree()
Tree.all = [Tree, Tree.root, FUNCTIONS]  # type: ignore[attr-defined]


def chosen(name: str) -> Any:
    """Read a registry that holds it."""
    return FUNCTIONS[name]


FUNCTIONS["chosen"] = chosen


@pytest.mark.parametrize("function", [countdown, is_even, is_odd, Tree, Tree().make, chosen])
def test_functions_and_classes_may_refer_to_each_other(function):
    parts = Fingerprints().function(function)
    assert combined(parts) == combined(Fingerprints().function(function))
    assert len({(part.kind, part.name) for part in parts}) == len(parts)


def test_which_of_functions_that_call_each_other_comes_first_counts():
    assert combined(Fingerprints().function(is_even)) != combined(Fingerprints().function(is_odd))


def test_what_is_not_used_any_more_is_not_kept():
    fingerprints = Fingerprints()
    array = np.zeros(10)
    alive = weakref.ref(array)
    fingerprints.value({"a": [array]})
    fingerprints.value(array)
    del array
    gc.collect()
    assert alive() is None
    for number in range(100):  # at addresses that were used before
        assert fingerprints.value(np.full(10, number)).hex() == digest(np.full(10, number))
