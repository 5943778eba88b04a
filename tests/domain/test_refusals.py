"""Bad input: refused where it is written, with the value and the way out."""

import numpy as np
import pytest
import scipy.stats

from daskresearch import Domain, NumpySampler, Option

A = Option("a", [1, 2, 3])
ENDLESS = Option("noise", NumpySampler("n"))
BUILTIN = (ValueError, TypeError)


def test_pairs_of_unequal_lengths_are_refused_with_both_lengths():
    with pytest.raises(ValueError, match=r"3\b.*\b4"):
        A @ Option("b", [1, 2, 3, 4])


def test_pairs_of_unequal_products_are_refused_with_both_lengths():
    with pytest.raises(ValueError, match=r"6\b.*\b5"):
        (A * Option("b", [1, 2])) @ Option("c", [1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    "pair",
    [lambda: A @ ENDLESS, lambda: ENDLESS @ A, lambda: ENDLESS @ Option("b", scipy.stats.norm())],
)
def test_an_endless_operand_of_pairs_is_refused(pair):
    with pytest.raises(ValueError, match="endless"):
        pair()


def test_an_endless_operand_of_pairs_is_named():
    with pytest.raises(ValueError, match="noise"):
        A @ ENDLESS


@pytest.mark.parametrize(
    "domain", [ENDLESS, A + ENDLESS, 0.5 * A + 0.5 * ENDLESS, ENDLESS.set_iter_params(n_reps=2)]
)
def test_the_length_of_an_endless_domain_is_refused_in_favour_of_size(domain):
    assert domain.size is None
    with pytest.raises(TypeError, match=r"(?s)endless.*size|size.*endless"):
        len(domain)


@pytest.mark.parametrize("empty", [[], (), np.array([])])
def test_an_empty_list_of_values_is_refused_with_its_parameter(empty):
    with pytest.raises(ValueError, match="'rate'"):
        Option("rate", empty)
    with pytest.raises(ValueError, match="'rate'"):
        Domain({"b": [1], "rate": empty})
    with pytest.raises(ValueError, match="'rate'"):
        Domain(rate=empty)


@pytest.mark.parametrize(
    "multiply",
    [
        lambda: A * Option("a", [4]),
        lambda: (A * Option("b", [1])) * (Option("c", [1]) * Option("a", [1])),
        lambda: (A + Option("b", [1])) * Domain(a=[1]),
        lambda: Option("a", NumpySampler("n")) * A,
        lambda: (0.5 * A) * Option("a", [1]),
        lambda: A @ Option("a", [4, 5, 6]),
    ],
)
def test_a_parameter_on_both_sides_of_a_product_is_refused_with_its_name(multiply):
    with pytest.raises(ValueError, match="'a'"):
        multiply()


@pytest.mark.parametrize(
    "values",
    [
        "abc",
        {1, 2},
        {"k": 1},
        np.zeros((2, 2)),
        np.array(5),
        5,
        None,
        True,
        object(),
        len,
        b"ab",
        scipy.stats.gamma,
    ],
    ids=lambda values: f"{type(values).__name__}-{values!r}"[:30],
)
def test_values_that_are_no_list_or_sampler_are_refused_with_their_parameter(values):
    with pytest.raises(BUILTIN, match="'rate'"):
        Option("rate", values)
    with pytest.raises(BUILTIN, match="'rate'"):
        Domain({"rate": values})
    with pytest.raises(BUILTIN, match="'rate'"):
        Domain(rate=values)


def test_a_wrong_value_is_shown():
    with pytest.raises(BUILTIN, match="'abc'"):
        Option("rate", "abc")


@pytest.mark.parametrize("weight", [-1, -0.5, 0, 0.0, float("nan"), float("inf"), np.float64(-1)])
def test_a_weight_that_is_not_positive_and_finite_is_refused_with_its_value(weight):
    with pytest.raises(ValueError, match=f"weight.*{float(weight):g}"):
        weight * A


@pytest.mark.parametrize("other", ["2", None, [1, 2], {"a": [1]}, 1j])
def test_a_factor_that_is_neither_weight_nor_domain_is_refused(other):
    with pytest.raises(
        TypeError, match=r"unsupported operand.*Domain|multiply sequence.*Domain|weight"
    ):
        A * other
    with pytest.raises(
        TypeError, match=r"unsupported operand.*Domain|multiply sequence.*Domain|weight"
    ):
        other * A


@pytest.mark.parametrize("other", [1, "2", None, [1, 2], {"a": [1]}])
def test_a_term_or_a_pair_that_is_no_domain_is_refused(other):
    with pytest.raises(TypeError, match=r"unsupported operand.*Domain|domain"):
        A + other
    with pytest.raises(TypeError, match=r"unsupported operand.*Domain|domain"):
        A @ other


@pytest.mark.parametrize("wrong", [5, "a", [1, 2], [["a", [1]]], object()])
def test_a_domain_of_something_else_is_refused(wrong):
    with pytest.raises(BUILTIN, match="domain"):
        Domain(wrong)


def test_a_method_that_numpy_does_not_have_is_refused_with_its_name():
    with pytest.raises(BUILTIN, match="'nromal'"):
        NumpySampler("nromal")


def test_an_argument_that_numpys_method_does_not_have_is_refused_when_the_sampler_is_made():
    with pytest.raises(BUILTIN, match="mean"):
        NumpySampler("normal", mean=3)


@pytest.mark.parametrize("name", ["n_items", "n_reps", "repeat_each"])
@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2"])
def test_counts_that_are_not_positive_integers_are_refused_with_their_name(name, wrong):
    with pytest.raises(BUILTIN, match=name):
        A.set_iter_params(**{name: wrong})


def test_a_refused_operation_leaves_its_operands_usable():
    with pytest.raises(ValueError, match="length"):
        A @ Option("b", [1])
    assert [item.config()["a"] for item in A] == [1, 2, 3]


def test_a_refusal_of_large_domains_is_short_enough_to_read():
    large = Option("a", list(range(5000))) * Option("b", list(range(5000)))
    for refused in (
        lambda: large @ A,
        lambda: large @ ENDLESS,
        lambda: large * A,
        lambda: len(large + ENDLESS),
    ):
        with pytest.raises(BUILTIN, match=r"domain|parameters|pair") as raised:
            refused()
        assert len(str(raised.value)) < 1000
    assert len(repr(large)) < 1000
