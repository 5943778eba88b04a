"""Domains of 10**12 configs: what is not iterated costs nothing."""

import tracemalloc
from itertools import islice

import pytest

from daskresearch import Domain, NumpySampler, Option
from tests.support.effort import few_calls

HUGE = 10**12
LISTED = list(range(10**4))
AT_ONCE = 2_000_000  # most are the looks at each of the listed values


def huge(*names: str) -> Domain:
    a, b, c = names
    return Option(a, LISTED) * Option(b, LISTED) * Option(c, LISTED)


def first(domain: Domain, n_configs: int = 3) -> list[dict]:
    return [item.config() for item in islice(domain, n_configs)]


def test_a_product_of_a_million_million_configs_knows_its_size():
    with few_calls(AT_ONCE):
        assert huge("a", "b", "c").size == len(huge("a", "b", "c")) == HUGE


def test_the_first_configs_of_a_huge_product_come_at_once():
    with few_calls(AT_ONCE):
        rows = first(huge("a", "b", "c").set_iter_params(additional=False))
    assert rows == [{"a": 0, "b": 0, "c": i} for i in range(3)]


OPERATIONS = {
    "sum": lambda: huge("a", "b", "c") + huge("a", "b", "c"),
    "weighted sum": lambda: 0.5 * huge("a", "b", "c") + 0.5 * huge("d", "e", "f"),
    "pairs": lambda: huge("a", "b", "c") @ huge("d", "e", "f"),
    "product with a sampler": lambda: huge("a", "b", "c") * Option("s", NumpySampler("n")),
    "product of sums": lambda: (
        (huge("a", "b", "c") + huge("a", "b", "c")) * (Option("x", [1]) + Option("y", [2]))
    ),
    "product of huge ones": lambda: huge("a", "b", "c") * huge("d", "e", "f"),
    "repetitions": lambda: huge("a", "b", "c").set_iter_params(n_reps=3),
    "repetitions of a mixture": lambda: (
        2 * huge("a", "b", "c") + 3 * huge("d", "e", "f")
    ).set_iter_params(n_reps=2),
    "repetitions of samples": lambda: (
        huge("a", "b", "c") * Option("s", NumpySampler("n"))
    ).set_iter_params(n_reps=2),
    "more items": lambda: huge("a", "b", "c").set_iter_params(n_items=HUGE + 1, n_reps=2, seed=0),
    "prefixed ids": lambda: huge("a", "b", "c").set_iter_params(create_id_prefix=True),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_operations_on_huge_domains_cost_nothing(operation):
    with few_calls(AT_ONCE):
        domain = operation()
        assert domain.size >= HUGE
        assert len(first(domain, 5)) == 5


def test_iterating_far_into_a_huge_domain_takes_no_more_memory():
    configs = iter(huge("a", "b", "c"))
    next(configs)
    tracemalloc.start()
    try:
        (last,) = islice(configs, 19_998, 19_999)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert last.config() == {"a": 0, "b": 1, "c": 9_999, "repetition": 0, "updates": 0}


def test_a_sum_may_have_thousands_of_terms():
    n_terms = 4000
    with few_calls(1_000_000):
        domain = Domain()
        for i in range(n_terms):
            domain = domain + Option("a", [i])
        assert [item.config()["a"] for item in domain] == list(range(n_terms))


def test_a_weighted_sum_may_have_thousands_of_terms():
    n_terms = 1000
    with few_calls(1_000_000):
        domain = sum((1.0 * Option("a", [i]) for i in range(n_terms)), Domain())
        assert sorted(item.config()["a"] for item in domain) == list(range(n_terms))


def test_a_product_may_have_hundreds_of_factors():
    with few_calls(1_000_000):
        domain = Domain()
        for i in range(300):
            domain = domain * Option(f"p{i}", [0, 1])
        assert domain.size == 2**300
        assert first(domain, 2)[1]["p299"] == 1
