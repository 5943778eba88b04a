"""Weighted terms of a sum: who is picked, how often, in which order."""

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch import Domain, NumpySampler, Option
from tests.support.strategies import configs, law, mixtures, ordered

SEEDS = st.integers(0, 2**32 - 1)


def term(name: str, n_configs: int = 200) -> Domain:
    return Option("term", [name]) * Option("i", list(range(n_configs)))


def endless(name: str) -> Domain:
    return Option(name, NumpySampler("uniform"))


def seeded(domain: Domain, seed: int) -> list[dict]:
    return [item.config() for item in domain.set_iter_params(seed=seed, additional=False)]


def shares(domain: Domain, n_configs: int = 3000) -> dict[str, float]:
    """Return how often each endless term is picked, by the name of its parameter."""
    picked = (
        next(iter(item.config())) for item in domain.set_iter_params(seed=7, additional=False)
    )
    return {name: count / n_configs for name, count in Counter(islice(picked, n_configs)).items()}


@law
@given(mixtures(), SEEDS)
def test_weighted_neighbours_yield_every_config_of_each_term_once_and_in_order(case, seed):
    mixture, rows = case
    drawn = seeded(mixture, seed)
    for i, expected in enumerate(rows):
        assert [config for config in drawn if config["term"] == i] == expected
    assert len(drawn) == len(mixture) == sum(map(len, rows))


@law
@given(mixtures(), SEEDS)
def test_equal_seeds_give_equal_mixtures(case, seed):
    mixture, _ = case
    assert seeded(mixture, seed) == seeded(mixture, seed)


@law
@given(mixtures(), mixtures(), SEEDS)
def test_unweighted_terms_around_a_mixture_stay_in_order(first, second, seed):
    head, tail = Option("x", [1, 2]), Option("y", [3]) + Option("x", [4])
    drawn = seeded(head + first[0] + tail + second[0] + head, seed)
    n_first = sum(map(len, first[1]))
    assert drawn[:2] == drawn[-2:] == [{"x": 1}, {"x": 2}]
    assert ordered(drawn[2 : 2 + n_first]) == ordered(row for rows in first[1] for row in rows)
    assert drawn[2 + n_first : 4 + n_first] == [{"y": 3}, {"x": 4}]
    assert ordered(drawn[4 + n_first : -2]) == ordered(row for rows in second[1] for row in rows)


def test_weighted_neighbours_interleave():
    names = [config["term"] for config in seeded(0.5 * term("one") + 0.5 * term("two"), 1)]
    n_changes = sum(one != other for one, other in pairwise(names))
    assert n_changes > 50


def test_different_seeds_give_different_mixtures():
    mixture = 0.5 * term("one") + 0.5 * term("two")
    assert seeded(mixture, 1) != seeded(mixture, 2)


def test_a_mixture_without_seed_differs_from_the_next_one():
    mixture = 0.5 * term("one") + 0.5 * term("two")
    assert configs(mixture) != configs(mixture)


def test_terms_are_picked_in_proportion_to_their_weights():
    picked = shares(0.3 * endless("one") + 0.2 * endless("two") + 0.5 * endless("three"))
    assert picked == pytest.approx({"one": 0.3, "two": 0.2, "three": 0.5}, abs=0.04)


def test_weights_need_not_add_up_to_one():
    assert shares(3 * endless("one") + 1 * endless("two")) == pytest.approx(
        {"one": 0.75, "two": 0.25}, abs=0.04
    )


def test_the_last_weighted_term_runs_to_its_end_alone():
    drawn = seeded(1000 * term("heavy", 5) + 0.001 * term("light", 5), 3)
    assert [config["term"] for config in drawn] == ["heavy"] * 5 + ["light"] * 5


def test_the_weight_of_a_sum_is_the_weight_of_each_term():
    picked = shares(0.5 * (endless("one") + endless("two")) + 0.5 * endless("three"))
    assert picked == pytest.approx({"one": 1 / 3, "two": 1 / 3, "three": 1 / 3}, abs=0.04)


def test_weights_of_weighted_terms_multiply():
    picked = shares(2 * (3 * endless("one") + 1 * endless("two")) + 2 * endless("three"))
    assert picked == pytest.approx({"one": 0.6, "two": 0.2, "three": 0.2}, abs=0.04)


def test_a_weight_before_a_product_weighs_the_product():
    mixture = 0.5 * Option("one", [1]) * Option("i", list(range(100))) + 0.5 * term("two", 100)
    drawn = seeded(mixture, 5)
    assert 1 < sum("one" in config for config in drawn[:60]) < 59
    assert sum("one" in config for config in drawn) == 100


def test_a_weight_before_pairs_weighs_the_pairs():
    pairs = 0.5 * (Option("one", list(range(100))) @ Option("i", list(range(100))))
    drawn = seeded(pairs + 0.5 * term("two", 100), 5)
    assert 1 < sum("one" in config for config in drawn[:60]) < 59
    assert [config["i"] for config in drawn if "one" in config] == list(range(100))


def test_a_weighted_term_alone_runs_in_order():
    assert configs(0.3 * Option("a", [1, 2, 3])) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert configs(Option("a", [1]) + 0.3 * Option("a", [2, 3]) + Option("a", [4])) == [
        {"a": i} for i in (1, 2, 3, 4)
    ]


def test_a_mixture_in_a_product_holds_every_combination():
    mixture = (0.5 * Option("a", [1, 2]) + 0.5 * Option("b", [3, 4])) * Option("c", [5, 6])
    expected = [
        {name: i, "c": c} for name, i in [("a", 1), ("a", 2), ("b", 3), ("b", 4)] for c in (5, 6)
    ]
    assert ordered(seeded(mixture, 0)) == ordered(expected)
    assert mixture.size == 8


def test_an_endless_term_makes_a_mixture_endless_and_lets_the_others_end():
    mixture = 0.5 * endless("s") + 0.5 * Option("a", [1, 2, 3])
    first = [
        item.config() for item in islice(mixture.set_iter_params(seed=0, additional=False), 200)
    ]
    assert mixture.size is None
    assert [config["a"] for config in first if "a" in config] == [1, 2, 3]


@pytest.mark.parametrize("weight", [1, 2.5, np.float64(0.5), np.int64(2), np.float32(0.5)])
def test_a_weight_may_be_any_real_number(weight):
    domain = weight * Option("a", [1, 2])
    assert isinstance(domain, Domain)
    assert configs(domain) == [{"a": 1}, {"a": 2}]


@law
@given(mixtures(), SEEDS)
def test_a_mixture_that_starts_over_yields_every_config_again(case, seed):
    mixture, rows = case
    size = mixture.size
    drawn = [
        item.config()
        for item in mixture.set_iter_params(n_items=2 * size, seed=seed, additional=False)
    ]
    expected = ordered(row for term_rows in rows for row in term_rows)
    assert ordered(drawn[:size]) == ordered(drawn[size:]) == expected
