"""Texts that stand for values."""

from functools import partial

import numpy as np
import pytest

from daskresearch import Alias, Domain, Option


class Net:
    pass


def texts(values) -> list[str]:
    return [item.alias()["v"] for item in Option("v", values)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Net, "Net"),
        (len, "len"),
        (np.mean, "mean"),
        (2, "2"),
        (0.1, "0.1"),
        ("x", "x"),
        (None, "None"),
        ([1], "[1]"),
    ],
)
def test_the_text_of_a_value_is_its_name_or_else_its_str(value, text):
    assert Alias(value).alias == text
    assert texts([value]) == [text]


def test_a_given_text_stands_before_the_name_of_the_value():
    named = [Alias(Net, "small"), Alias([8, 16], "wide"), Alias(len, alias="length")]
    assert texts(named) == ["small", "wide", "length"]


def test_an_alias_keeps_its_value():
    value = [8, 16]
    (item,) = Option("v", [Alias(value, "wide")])
    assert Alias(value, "wide").value is value
    assert item.config()["v"] is value


def test_an_alias_of_an_alias_keeps_value_and_text():
    outer = Alias(Alias([1], "one"))
    assert (outer.value, outer.alias) == ([1], "one")


def test_a_value_without_name_takes_its_str():
    function = partial(int, base=2)
    assert Alias(function).alias == str(function)


def test_config_gives_values_and_alias_gives_texts():
    (item,) = Domain({"head/net": [Net], "units": [Alias([8, 16], "wide")], "n": [3]})
    assert item.config() == {
        "head/net": Net,
        "units": [8, 16],
        "n": 3,
        "repetition": 0,
        "updates": 0,
    }
    assert item.alias() == {
        "head/net": "Net",
        "units": "wide",
        "n": "3",
        "repetition": "0",
        "updates": "0",
    }


def test_every_alias_is_a_text():
    (item,) = Domain(a=[1.5], b=[None], c=[Alias(1, 2)])
    assert item.alias() == {"a": "1.5", "b": "None", "c": "2", "repetition": "0", "updates": "0"}


def test_aliases_pass_through_every_operator():
    domain = (Option("v", [Alias([1], "one"), Alias([2], "two")]) @ Option("w", [1, 2])) * Option(
        "x", [0]
    ) + Domain()
    assert [item.alias()["v"] for item in 2 * domain] == ["one", "two"]
