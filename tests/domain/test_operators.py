"""Sums, products and pairs of domains against itertools."""

import copy

import cloudpickle
import numpy as np
import pytest
from hypothesis import assume, given

from daskresearch import Alias, Domain, NumpySampler, Option
from tests.support.strategies import (
    Case,
    configs,
    disjoint,
    domains,
    domains_of_size,
    law,
    ordered,
    product_of,
    sum_of,
)

A = Option("a", [1, 2])
B = Option("b", [3, 4])
C = Option("c", [5, 6])


@law
@given(domains())
def test_a_domain_yields_what_itertools_yields(case):
    domain, expected = case
    assert configs(domain) == expected


@law
@given(domains())
def test_size_and_len_count_what_iterating_yields(case):
    domain, expected = case
    assert (domain.size, len(domain)) == (len(expected), len(expected))


@law
@given(domains())
def test_iterating_twice_yields_the_same(case):
    domain, expected = case
    assert [list(map(dict.items, configs(domain))) for _ in range(2)] == [
        list(map(dict.items, expected))
    ] * 2


@law
@given(domains())
def test_configs_list_parameters_in_the_order_of_the_factors(case):
    domain, expected = case
    assert [list(config) for config in configs(domain)] == [list(config) for config in expected]


@law
@given(domains())
def test_an_empty_domain_is_neutral_on_both_sides(case):
    domain, expected = case
    for same in (
        Domain() + domain,
        domain + Domain(),
        Domain() * domain,
        domain * Domain(),
        Domain(domain),
    ):
        assert configs(same) == expected


@law
@given(domains(), domains())
def test_sum_runs_left_then_right(left: Case, right: Case):
    assert configs(left[0] + right[0]) == sum_of(left[1], right[1])


@law
@given(domains(depth=2), domains(depth=2), domains(depth=2))
def test_sum_is_associative(one, two, three):
    a, b, c = one[0], two[0], three[0]
    assert configs((a + b) + c) == configs(a + (b + c))


@law
@given(disjoint())
def test_the_last_factor_varies_fastest(cases):
    (left, left_rows), (right, right_rows) = cases
    assert configs(left * right) == product_of(left_rows, right_rows)


@law
@given(disjoint(3))
def test_product_is_associative(cases):
    a, b, c = (case[0] for case in cases)
    assert configs((a * b) * c) == configs(a * (b * c))


@law
@given(disjoint())
def test_factors_may_be_swapped_when_order_does_not_matter(cases):
    a, b = (case[0] for case in cases)
    assert ordered(configs(a * b)) == ordered(configs(b * a))


@law
@given(disjoint(3))
def test_a_sum_times_a_domain_is_the_sum_of_products_in_order(cases):
    (a, a_rows), (b, b_rows), (c, _) = cases
    assume(
        [{}] not in (a_rows, b_rows)
    )  # an empty term vanishes from a sum, but not from a product
    assert configs((a + b) * c) == configs(a * c + b * c)


@law
@given(disjoint(3))
def test_a_domain_times_a_sum_holds_the_sum_of_products(cases):
    (a, _), (b, b_rows), (c, c_rows) = cases
    assume(
        [{}] not in (b_rows, c_rows)
    )  # an empty term vanishes from a sum, but not from a product
    assert ordered(configs(a * (b + c))) == ordered(configs(a * b + a * c))


@law
@given(domains_of_size(3, ("a", "x")), domains_of_size(3, ("b", "y")), domains_of_size(3, ("c",)))
def test_pairing_is_associative(one, two, three):
    a, b, c = one[0], two[0], three[0]
    assert configs((a @ b) @ c) == configs(a @ (b @ c))


@law
@given(
    domains_of_size(2, ("a",)),
    domains_of_size(3, ("a", "x")),
    domains_of_size(2, ("b",)),
    domains_of_size(3, ("b",)),
)
def test_pairing_goes_through_sums_of_equal_lengths(a, c, b, d):
    assert configs((a[0] + c[0]) @ (b[0] + d[0])) == configs(a[0] @ b[0] + c[0] @ d[0])


@law
@given(disjoint())
def test_operators_leave_their_operands_unchanged(cases):
    (left, left_rows), (right, right_rows) = cases
    products = [
        left + right,
        left * right,
        0.5 * left,
        2 * (left + right),
        0.5 * left + 0.5 * right,
    ]
    products.append(
        left.set_iter_params(n_items=5, n_reps=3, repeat_each=2, additional=False, seed=1)
    )
    for product in products:
        configs(product)
    assert (configs(left), configs(right)) == (left_rows, right_rows)
    assert (left.size, right.size) == (len(left_rows), len(right_rows))


def test_a_weight_leaves_its_operand_without_weight():
    0.5 * A
    assert configs(A + B) == [{"a": 1}, {"a": 2}, {"b": 3}, {"b": 4}]
    assert all(configs(A + 0.5 * B)[:2] == configs(A) for _ in range(20))


def test_changing_the_given_list_or_array_later_changes_no_domain():
    listed, array, nested = [1, 2], np.array([3, 4]), {"c": [5]}
    domain = Option("a", listed) * Option("b", array) * Domain(nested)
    before = configs(domain)
    listed.append(9)
    array[:] = 0
    nested["d"] = [1]
    assert configs(domain) == before


def test_changing_a_config_changes_no_domain():
    for item in A:
        item.config()["a"] = "spoilt"
        item.alias()["a"] = "spoilt"
    assert configs(A) == [{"a": 1}, {"a": 2}]


def test_a_domain_of_several_parameters_is_their_product():
    expected = [{"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]
    for domain in (
        Domain(a=[1, 2], b=[3, 4]),
        Domain({"a": [1, 2], "b": [3, 4]}),
        A * B,
        Domain(a=[1, 2]) * B,
    ):
        assert configs(domain) == expected


def test_a_domain_of_nothing_is_one_empty_config():
    assert configs(Domain()) == [{}]
    assert (Domain().size, len(Domain()), configs(Domain() * Domain())) == (1, 1, [{}])
    assert (configs(Domain() + Domain()), configs(Domain({}))) == ([{}], [{}])


def test_a_sum_gives_each_model_its_own_parameters():
    domain = Option("model", ["svm"]) * Option("C", [1, 10]) + Option("model", ["forest"]) * Option(
        "depth", [3]
    )
    assert configs(domain) == [
        {"model": "svm", "C": 1},
        {"model": "svm", "C": 10},
        {"model": "forest", "depth": 3},
    ]


def test_pairs_take_products_sums_and_pairs_as_operands():
    assert configs((A * B) @ Option("d", [0, 1, 2, 3]))[2] == {"a": 2, "b": 3, "d": 2}
    assert configs((A + A) @ Option("d", [0, 1, 2, 3]))[2] == {"a": 1, "d": 2}
    assert configs(A @ B @ C) == [{"a": 1, "b": 3, "c": 5}, {"a": 2, "b": 4, "c": 6}]
    assert configs((A @ B) * C)[1] == {"a": 1, "b": 3, "c": 6}


@pytest.mark.parametrize(
    "name", ["head/layout", "a b", "ключ", "", "a-b_c", "class", "self", "domain", "n\nl", "2"]
)
def test_a_parameter_name_may_be_any_text(name):
    assert configs(Domain({name: [1]}) + Option(name, [2])) == [{name: 1}, {name: 2}]


@pytest.mark.parametrize("name", ["class_", "name", "values", "weights", "size", "seed"])
def test_a_parameter_given_by_keyword_may_have_any_name(name):
    assert configs(Domain(**{name: [1, 2]})) == [{name: 1}, {name: 2}]


@pytest.mark.parametrize(
    "listed", [[1, 2], (1, 2), np.array([1, 2]), np.array([1, 2], dtype=object)]
)
def test_values_may_be_a_list_a_tuple_or_an_array(listed):
    assert configs(Option("a", listed)) == [{"a": 1}, {"a": 2}]


def test_values_reach_the_config_as_they_were_given():
    class Net:
        pass

    given_values = [Net, len, None, float("inf"), (1, [2]), {"k": 1}, b"x", np.float64]
    received = [config["v"] for config in configs(Option("v", given_values))]
    assert all(one is other for one, other in zip(received, given_values, strict=True))


def test_numbers_of_an_array_equal_its_elements_in_value_and_text():
    for dtype in ("float64", "float32", "int8", "bool", "str"):
        array = np.array([0.1, 2]).astype(dtype)
        items = list(Option("a", array).set_iter_params(additional=False))
        assert [item.config()["a"] for item in items] == list(array)
        assert [item.alias()["a"] for item in items] == [str(value) for value in array]


@law
@given(domains())
def test_two_iterators_of_a_domain_do_not_disturb_each_other(case):
    domain, expected = case
    pairs = zip(
        domain.set_iter_params(additional=False),
        domain.set_iter_params(additional=False),
        strict=True,
    )
    assert [(one.config(), other.config()) for one, other in pairs] == [
        (row, row) for row in expected
    ]


def test_a_domain_survives_copying_and_pickling():
    domain = (A @ B) * C + 0.5 * Option("v", [Alias([1], "one"), len]) * Option(
        "s", NumpySampler("n")
    )
    domain = domain.set_iter_params(n_reps=2, seed=3)
    for copied in (
        copy.copy(domain),
        copy.deepcopy(domain),
        cloudpickle.loads(cloudpickle.dumps(domain)),
    ):
        assert [item.config() for item in copied] == [item.config() for item in domain]
