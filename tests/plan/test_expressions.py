"""Named expressions: what an argument stands for when its unit runs."""

import ast
import copy
import operator
import os
import pickle

import cloudpickle
import dask
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch import EC, EP, Alias, Domain, E, O, Option, R, Research, S
from tests.support.running import column, failures_of, rows, saying, table
from tests.support.strategies import law

CONFIG = {"x": 3, "y": 7, "flag": True, "items": [5, 6, 7], "nested": {"k": [1, 2]}, "text": "abc"}


def same(value):
    return value


def seen(research, *args, n_iters=None, seed=None, **kwargs):
    """Return what a unit with these arguments receives in each of its turns, as (args, kwargs)."""
    calls = []

    def unit(*args, **kwargs):
        calls.append((args, kwargs))

    research.add_callable("unit", unit, args=args, kwargs=kwargs).run(
        debug=True, bar=False, dump_results=False, n_iters=n_iters, seed=seed
    )
    return calls


def values_of(expression, research=None, **options):
    """Return what an expression stands for in each turn of a unit."""
    return [
        args[0] for args, _ in seen(research or Research(domain=one(CONFIG)), expression, **options)
    ]


def value_of(expression, research=None, **options):
    (value,) = values_of(expression, research, **options)
    return value


def one(config):
    """Return the domain of one config."""
    return Domain({name: [value] for name, value in config.items()})


# EC


def test_ec_of_a_name_is_the_value_of_the_parameter():
    assert values_of(EC("x"), Research(domain=Option("x", [3, "a", None]))) == [3, "a", None]


def test_ec_gives_true_values_and_not_aliases():
    layout = [16, 32]
    assert (
        value_of(EC("layout"), Research(domain=Option("layout", [Alias(layout, "small")])))
        == layout
    )


def test_ec_takes_names_of_any_text():
    assert value_of(EC("head/layout"), Research(domain=Domain({"head/layout": ["fa"]}))) == "fa"


def test_ec_of_nothing_is_the_config_without_repetition_and_updates():
    assert value_of(EC()) == CONFIG


def test_ec_full_is_the_config_with_repetition_and_updates():
    found = values_of(EC(full=True), Research(domain=Option("x", [3]), n_reps=2))
    assert found == [
        {"x": 3, "repetition": 0, "updates": 0},
        {"x": 3, "repetition": 1, "updates": 0},
    ]


def test_ec_reads_the_repetition_by_name():
    assert values_of(EC("repetition"), Research(domain=Option("x", [3]), n_reps=2)) == [0, 1]


@pytest.mark.parametrize("config", [EC(), EC(full=True)], ids=str)
def test_a_unit_that_changes_its_config_changes_no_other(config):
    research = Research(domain=Option("x", [3]))
    research = research.add_callable("spoil", lambda config: config.clear(), args=[config])
    assert value_of(EC(), research) == {"x": 3}
    assert value_of(config, research)["x"] == 3


def test_ec_of_a_parameter_that_only_other_configs_have_is_a_failure_that_names_it():
    research = Research(domain=Option("a", [1]) + Option("b", [2])).add_callable(
        same, args=[EC("b")], save_to="seen"
    )
    assert rows(table(research), "b", "seen") == [(2, 2)]
    (failure,) = research.results.failures.exception
    assert isinstance(failure, KeyError)
    assert "'b'" in str(failure)


@pytest.mark.parametrize("spread", [EC(), {"x": EC("x"), "y": EC("y")}, {"x": 3, "y": 7}], ids=str)
def test_kwargs_spreads_a_dict_into_keyword_arguments(spread):
    research = Research(domain=one({"x": 3, "y": 7})).add_callable(
        lambda x, y: (x, y), kwargs=spread, save_to="seen"
    )
    assert column(research, "seen") == [(3, 7)]


def test_spread_arguments_stand_beside_arguments_by_name():
    research = Research(domain=one({"x": 3, "y": 7}))
    research = research.add_callable(
        "f", lambda a, b, x, y: (a, b, x, y), args=[1], b=2, kwargs=EC(), save_to="seen"
    )
    assert column(research, "seen") == [(1, 2, 3, 7)]


def test_spreading_leaves_defaults_for_what_the_config_has_not():
    def power(a=2, b=3):
        return a**b

    research = Research(domain=Option("a", [2, 3]) + Option("b", [3, 2])).power(
        kwargs=EC(), save_to="power"
    )
    assert column(research, "power") == [8, 27, 8, 4]


def test_the_output_of_a_unit_can_be_spread():
    research = Research().add_callable("settings", lambda: {"a": 1, "b": 2})
    assert seen(research, kwargs=O("settings")) == [((), {"kwargs": {"a": 1, "b": 2}})]
    research = research.add_callable("f", lambda a, b: a + b, kwargs=O("settings"), save_to="sum")
    assert column(research, "sum") == [3]


def test_an_argument_given_by_name_and_by_spreading_is_a_failure_that_names_it():
    research = Research(domain=one({"x": 3})).add_callable(lambda x: x, x=1, kwargs=EC())
    research.run(bar=False, dump_results=False)
    (failure,) = research.results.failures.exception
    assert isinstance(failure, TypeError)
    assert "'x'" in str(failure)


# E


def test_e_has_the_id_of_the_table():
    research = Research(domain=Option("x", [1, 2])).save(E().id, "seen")
    frame = table(research)
    assert list(frame.seen) == list(frame.id)


def test_e_config_has_repetition_and_updates():
    assert dict(value_of(E().config, Research(domain=one({"x": 3})))) == {
        "x": 3,
        "repetition": 0,
        "updates": 0,
    }


def test_an_item_of_e_config_is_a_value():
    assert value_of(E().config["text"]) == "abc"


def test_e_config_cannot_be_changed_by_a_unit():
    def spoil(config):
        config["x"] = 0

    research = Research(domain=one({"x": 3})).add_callable(spoil, args=[E().config])
    research = research.save(EC("x"), "seen")
    assert column(research, "seen") == [3]
    assert failures_of(research) == []


def test_e_config_can_be_saved_as_a_copy():
    research = Research(domain=one({"x": 3})).save(E().config, "seen", copy=True)
    assert [dict(config) for config in column(research, "seen")] == [
        {"x": 3, "repetition": 0, "updates": 0}
    ]


def test_e_iteration_counts_from_zero():
    assert values_of(E().iteration, n_iters=3) == [0, 1, 2]


def test_e_last_is_true_in_the_last_iteration():
    assert values_of(E().last, n_iters=3) == [False, False, True]


def test_e_last_is_true_behind_an_exhausted_generator():
    research = Research().add_callable("before", same, args=[E().last], save_to="before")
    research = research.add_generator(range, args=[2]).add_callable(
        "after", same, args=[E().last], save_to="after"
    )
    assert rows(table(research), "before", "after") == [
        (False, False),
        (False, False),
        (False, True),
    ]


def test_e_random_is_a_numpy_generator():
    assert isinstance(value_of(E().random), np.random.Generator)


def test_e_random_composes():
    drawn = value_of(E().random.normal(size=EC("x")), seed=1)
    assert drawn.shape == (3,)
    assert list(value_of(E().random.normal(size=EC("x")), seed=1)) == list(drawn)


def test_e_is_the_experiment_as_an_argument():
    research = Research(domain=one({"x": 3})).add_callable(
        "f", lambda e: e.config["x"] + e.iteration, args=[E()]
    )
    assert value_of(O("f"), research) == 3


def test_e_of_a_unit_has_its_name_and_last_output():
    research = Research().add_callable("total", lambda: 6)
    assert value_of(E("total").output, research) == 6
    assert value_of(E("total").name, research) == "total"


def test_e_of_an_instance_is_the_instance():
    class Net:
        width = 8

        def predict(self, batch, scale=1):
            return [scale * self.width * item for item in batch]

    research = (
        Research(domain=one({"x": 3}))
        .add_instance("net", Net)
        .add_callable("batch", lambda: [1, 2])
    )
    assert isinstance(value_of(E("net"), research), Net)
    assert value_of(E("net").width, research) == 8
    assert value_of(E("net").predict(O("batch")), research) == [8, 16]
    assert value_of(E("net").predict(O("batch"), scale=EC("x"))[1], research) == 48
    assert value_of(E("net").predict, research)([1]) == [8]


# O


def test_o_is_the_output_of_a_unit_before_it():
    assert value_of(O("f"), Research().add_callable("f", lambda: {"k": 1})) == {"k": 1}


def test_o_of_a_method_is_its_output():
    research = Research().add_instance("text", str, args=["abc"]).add_callable("text.upper")
    assert value_of(O("text.upper"), research) == "ABC"


def test_o_of_a_generator_is_its_last_item():
    assert values_of(O("range"), Research().add_generator(range, args=[2])) == [0, 1, 1]


def test_o_of_a_later_unit_is_its_output_of_the_iteration_before():
    research = Research().add_callable("before", same, args=[O("later")], save_to="before")
    research = research.add_callable(
        "later", lambda i: 10 * i, args=[E().iteration], save_to="later"
    )
    assert rows(table(research, n_iters=3), "before", "later") == [(None, 0), (0, 10), (10, 20)]


def test_o_before_the_first_run_of_its_unit_is_none():
    research = Research().add_callable("f", lambda: 5, when="#1")
    assert values_of(O("f"), research, n_iters=3) == [None, 5, 5]


def test_o_keeps_the_output_between_the_turns_of_its_unit():
    research = Research().add_callable("f", same, args=[E().iteration], when=2)
    assert values_of(O("f"), research, n_iters=5) == [None, 1, 1, 3, 3]


def test_o_of_a_unit_itself_is_its_output_before():
    research = Research().add_callable(
        "sum", lambda old, i: (old or 0) + i, args=[O("sum"), E().iteration], save_to="s"
    )
    assert column(research, "s", n_iters=4) == [0, 1, 3, 6]


def test_outputs_of_one_experiment_are_not_seen_by_the_next():
    research = Research(domain=Option("x", [1, 2])).add_callable(
        "before", same, args=[O("later")], save_to="before"
    )
    research = research.add_callable("later", same, args=[EC("x")], save_to="later")
    assert rows(table(research), "before", "later") == [(None, 1), (None, 2)]


# EP, S and R


def test_ep_is_a_folder_named_by_the_id_of_the_experiment():
    research = Research(domain=Option("x", [1, 2])).add_callable(
        "is_made", os.path.isdir, args=[EP()], save_to="made"
    )
    frame = table(research.save(EP(), "path"))
    assert list(frame.made) == [True, True]
    assert [os.path.basename(path) for path in frame.path] == list(frame.id)


def test_files_in_ep_outlive_the_run():
    def keep(path, x):
        with open(os.path.join(path, "x.txt"), "w") as file:
            file.write(str(x))

    research = (
        Research(domain=Option("x", [1, 2])).keep(EP(), EC("x")).save(EP() + "/x.txt", "path")
    )
    found = []
    for path in column(research, "path"):
        with open(path) as file:
            found.append(file.read())
    assert found == ["1", "2"]


def test_ep_is_one_folder_in_all_iterations():
    (path,) = set(values_of(EP(), n_iters=3))
    assert isinstance(path, str)


def test_s_records_variables_in_the_iteration_of_the_unit():
    def measure(storage, i):
        storage.update_variable("loss", 10 - i)
        if i == 1:
            storage.update_variable("rare", "here")

    research = Research().measure(S(), E().iteration)
    assert rows(table(research, n_iters=3), "iteration", "loss", "rare") == [
        (0, 10, None),
        (1, 9, "here"),
        (2, 8, None),
    ]


def test_a_second_value_of_s_takes_the_place_of_the_first():
    def measure(storage):
        storage.update_variable("loss", 1)
        storage.update_variable("loss", 2)

    assert column(Research().measure(S()), "loss") == [2]


def test_s_composes():
    research = Research(domain=Option("x", [3])).add_callable(
        "f", same, args=[S().update_variable("seen", EC("x") + 1)]
    )
    assert column(research, "seen") == [4]


def test_variables_of_s_stand_behind_those_of_save_to():
    def measure(storage):
        storage.update_variable("early", 1)

    frame = table(Research().measure(S()).add_callable("f", lambda: 2, save_to="declared"))
    assert list(frame.columns) == ["id", "iteration", "declared", "early"]


@pytest.mark.parametrize("name", ["x", "id", "iteration"])
def test_a_variable_of_s_that_is_named_like_a_column_is_a_failure_that_names_it(name):
    research = Research(domain=Option("x", [3])).add_callable(
        "f", lambda s: s.update_variable(name, 1), args=[S()]
    )
    research = research.save(EC("x"), "seen")
    assert rows(table(research), "x", "iteration", "seen") == [(3, 0, 3)]
    (failure,) = research.results.failures.exception
    assert isinstance(failure, ValueError)
    assert repr(name) in str(failure)


def test_r_in_a_unit_is_the_results_so_far():
    research = Research(domain=Option("x", [1, 2, 3])).save(EC("x"), "seen")
    found = []
    research = research.add_callable(
        "look", lambda frame: found.append(list(frame.seen)), args=[R().df]
    )
    research.run(bar=False, dump_results=False)
    assert found == [[], [1], [1, 2]]


def test_r_in_update_domain_is_the_results_so_far():
    found = []

    def look(results, seen):
        found.append((list(results.df.seen), list(seen)))

    research = Research(domain=Option("x", [1, 2])).save(EC("x"), "seen")
    research.update_domain(look, when=1, results=R(), seen=R().df["seen"]).run(
        bar=False, dump_results=False
    )
    assert found == [([1], [1]), ([1, 2], [1, 2])]


# composition

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
    operator.pow,
    operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift,
    operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip
binary = pytest.mark.parametrize("function", BINARY, ids=lambda function: function.__name__)


@binary
def test_an_operator_between_an_expression_and_a_value_is_applied(function):
    assert value_of(function(EC("y"), 3)) == function(7, 3)


@binary
def test_a_reflected_operator_keeps_the_order_of_its_operands(function):
    assert value_of(function(7, EC("x"))) == function(7, 3)


@binary
def test_an_operator_between_expressions_is_applied(function):
    assert value_of(function(EC("y"), EC("x"))) == function(7, 3)


@pytest.mark.parametrize(
    "function", [operator.neg, operator.pos, operator.invert, abs], ids=lambda f: f.__name__
)
def test_a_unary_operator_is_applied(function):
    assert value_of(function(EC("x") - 5)) == function(-2)


class Matrix:
    def __init__(self, name):
        self.name = name

    def __matmul__(self, other):
        return (self.name, "@", getattr(other, "name", other))

    def __rmatmul__(self, other):
        return (other, "@", self.name)


def test_matmul_is_applied_on_both_sides():
    research = Research(domain=Domain(m=[Alias(Matrix("m"), "m")], n=[Alias(Matrix("n"), "n")]))
    assert value_of(EC("m") @ EC("n"), research) == ("m", "@", "n")
    assert value_of(EC("m") @ 1, research) == ("m", "@", 1)
    assert value_of(1 @ EC("m"), research) == (1, "@", "m")


def test_augmented_assignment_makes_a_new_expression():
    expression = first = EC("x")
    expression += 1
    assert value_of(expression) == 4
    assert value_of(first) == 3


def test_operators_on_sequences_are_those_of_the_values():
    assert value_of(operator.add([1], EC("items"))) == [1, 5, 6, 7]
    assert value_of(EC("text") * 2) == "abcabc"
    assert value_of("x-" + EC("text")) == "x-abc"


ARRAYS = [
    np.array([1.0, 2.0]),
    np.array([[1, 2], [3, 4]]),
    np.array(2.5),
    np.float64(2.5),
    np.int64(2),
]
arrays = pytest.mark.parametrize(
    "array", ARRAYS, ids=lambda array: f"{type(array).__name__}-{np.ndim(array)}d"
)


@arrays
@pytest.mark.parametrize(
    "function", [operator.add, operator.mul, operator.sub, operator.lt], ids=lambda f: f.__name__
)
def test_a_numpy_array_may_stand_on_either_side_of_an_operator(array, function):
    for expression, expected in [
        (function(EC("x"), array), function(3, array)),
        (function(array, EC("x")), function(array, 3)),
    ]:
        found = value_of(expression)
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        assert np.array_equal(found, expected)


def test_a_pandas_series_may_stand_on_either_side_of_an_operator():
    series = pd.Series([1, 2])
    for expression, expected in [(EC("x") * series, 3 * series), (series * EC("x"), series * 3)]:
        pd.testing.assert_series_equal(value_of(expression), expected)


def test_items_attributes_and_calls_compose():
    assert value_of(EC("nested")["k"][1]) == 2
    assert value_of(EC("text").upper().replace("B", EC("text"))[1]) == "a"
    assert value_of(EC("nested").get("none", default := object())) is default


def test_a_key_may_be_an_expression():
    assert value_of(EC("items")[EC("x") - 1]) == 7
    assert (
        value_of(EC()[EC("text")[0] + "bc"], Research(domain=one({"text": "abc", "abc": 1}))) == 1
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (EC("items")[1:], [6, 7]),
        (EC("items")[: EC("x") - 1], [5, 6]),
        (EC("items")[EC("x") - 2 :], [6, 7]),
        (EC("items")[:: EC("x") - 5], [7, 5]),
    ],
    ids=repr,
)
def test_the_ends_of_a_slice_may_be_expressions(expression, expected):
    assert value_of(expression) == expected


def test_a_tuple_of_keys_may_hold_expressions_and_slices():
    research = Research(domain=one({"x": 1})).add_callable(
        "load", lambda: np.arange(6).reshape(2, 3)
    )
    assert value_of(O("load")[EC("x"), 2], research) == 5
    assert list(value_of(O("load")[:, EC("x")], research)) == [1, 4]
    assert list(value_of(O("load")[0, : EC("x")], research)) == [0]


def test_expressions_are_evaluated_in_lists_tuples_and_dicts_at_any_depth():
    deep = {
        "list": [EC("x"), (EC("y"), [EC("text")])],
        "dict": {"k": {"k": EC("x") + 1}},
        EC("text"): 0,
    }
    assert value_of(deep) == {"list": [3, (7, ["abc"])], "dict": {"k": {"k": 4}}, "abc": 0}
    assert type(value_of((EC("x"),))) is tuple


def test_expressions_are_evaluated_in_keyword_arguments():
    research = Research(domain=one(CONFIG))
    assert seen(research, kwargs={"a": [EC("x")], "b": EC("y") / 2}) == [
        ((), {"kwargs": {"a": [3], "b": 3.5}})
    ]
    research = research.add_callable(
        "f", lambda a, b: (a, b), a=[EC("x")], b=EC("y") / 2, save_to="seen"
    )
    assert column(research, "seen") == [([3], 3.5)]


def test_all_positional_arguments_may_be_one_expression():
    research = Research(domain=one(CONFIG)).add_callable(
        "f", lambda *args: args, args=EC("items"), save_to="seen"
    )
    assert column(research, "seen") == [(5, 6, 7)]


def test_a_list_with_expressions_is_a_new_list_for_each_call():
    def grow(items):
        items.append("grown")
        return len(items)

    research = Research(domain=Option("x", [1, 2])).grow([EC("x")], save_to="length")
    assert column(research, "length", n_iters=2) == [2, 2, 2, 2]


def test_what_a_container_without_expressions_holds_is_handed_over_as_it_is():
    value = {"a": object()}
    assert value_of(value) == value
    assert value_of(value)["a"] is value["a"]


def test_one_expression_serves_many_units():
    shared = EC("x") + 1
    research = Research(domain=one({"x": 3})).add_callable(
        "f", lambda v: 2 * v, args=[shared], save_to="f"
    )
    assert rows(table(research.save(shared, "shared")), "f", "shared") == [(8, 4)]


numbers = st.integers(-9, 9)
leaves = st.one_of(
    numbers.map(lambda number: (number, number)),
    st.sampled_from(["x", "y", "flag"]).map(lambda name: (EC(name), CONFIG[name])),
    st.integers(0, 2).map(lambda i: (EC("items")[i], CONFIG["items"][i])),
    st.just((O("output")["a"], 11)),
    st.just((E("output").output["a"], 11)),
    st.just((E().config["x"], 3)),
    st.just((O("function")(EC("x"), by=2), 6)),
)


def combined(parts):
    """Draw an operation on two parts, or a container of them, as (expression, value)."""
    operations = st.sampled_from(
        [operator.add, operator.sub, operator.mul, operator.lt, operator.eq]
    )

    def apply(function, left, right):
        return function(left[0], right[0]), function(left[1], right[1])

    return st.one_of(
        st.builds(apply, operations, parts, parts), parts.map(lambda part: (-part[0], -part[1])),
        parts.map(lambda part: (abs(part[0]), abs(part[1]))),
    )  # fmt: skip


trees = st.recursive(leaves, combined, max_leaves=8)
containers = st.recursive(
    trees,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3).map(
            lambda pairs: ([p[0] for p in pairs], [p[1] for p in pairs])
        ),
        st.lists(parts, max_size=3).map(
            lambda pairs: (tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))
        ),
        st.dictionaries(st.sampled_from("abc"), parts, max_size=3).map(
            lambda pairs: ({k: p[0] for k, p in pairs.items()}, {k: p[1] for k, p in pairs.items()})
        ),
    ),
    max_leaves=6,
)


@law
@given(containers)
def test_any_composition_has_the_value_that_python_gives_it(pair):
    expression, expected = pair
    research = Research(domain=one(CONFIG)).add_callable("output", lambda: {"a": 11})
    research = research.add_callable("function", lambda: lambda value, by: value * by)
    found = value_of(expression, research)
    assert found == expected
    assert type(found) is type(expected)


# what expressions refuse

EXPRESSIONS = [
    E(), E("unit"), E().random, E().config, E().iteration, EC("x"), EC(), EC(full=True), O("unit"),
    EP(), S(), R(),
    EC("x") + 1, -EC("x"), EC("x")[0], EC("x").name, EC("x")(1), operator.add([1], O("unit")),
    O("unit")[EC("x"):],
]  # fmt: skip
every_expression = pytest.mark.parametrize("expression", EXPRESSIONS, ids=repr)


@every_expression
def test_an_expression_is_no_condition_before_it_has_a_value(expression):
    with pytest.raises(TypeError, match="has no value before its unit runs"):
        bool(expression)


def test_a_condition_is_refused_with_the_expression_that_it_holds():
    with pytest.raises(TypeError, match=saying("EC('x') > 1", "use it as an argument")):
        assert 0 if EC("x") > 1 else 1
    with pytest.raises(TypeError, match=saying("EC('x') > 1", "use it as an argument")):
        assert 1 < EC("x") < 3
    with pytest.raises(TypeError, match="has no value before its unit runs"):
        bool(EC("x") and EC("y"))
    with pytest.raises(TypeError, match="has no value before its unit runs"):
        assert not EC("x")


@every_expression
def test_an_expression_cannot_be_iterated(expression):
    with pytest.raises(TypeError, match="not iterable"):
        iter(expression)
    with pytest.raises(TypeError, match="not iterable"):
        list(expression)
    with pytest.raises(TypeError, match="not iterable"):
        set(expression)
    with pytest.raises(TypeError, match=r"not iterable|not a container"):
        assert 1 in expression
    with pytest.raises(TypeError, match=r"not iterable|non-iterable|must be a mapping"):
        dict(**expression)


@every_expression
def test_an_expression_has_no_length_and_is_no_number(expression):
    with pytest.raises(TypeError, match="len"):
        len(expression)
    with pytest.raises(TypeError, match="float"):
        float(expression)
    with pytest.raises(TypeError, match="integer"):
        range(expression)


@every_expression
@pytest.mark.parametrize(
    "name", ["_x", "__array__", "_repr_html_", "__dask_graph__", "_ipython_display_"]
)
def test_an_expression_records_no_names_with_a_leading_underscore(expression, name):
    with pytest.raises(AttributeError, match=name):
        getattr(expression, name)
    assert not hasattr(expression, name)


@every_expression
def test_an_expression_is_no_dask_collection(expression):
    assert not dask.is_dask_collection(expression)


# how expressions travel and read


@every_expression
@pytest.mark.parametrize(
    "travel",
    [
        copy.copy,
        copy.deepcopy,
        lambda e: pickle.loads(pickle.dumps(e)),
        lambda e: cloudpickle.loads(cloudpickle.dumps(e)),
    ],
    ids=["copy", "deepcopy", "pickle", "cloudpickle"],
)
def test_an_expression_is_the_same_after_a_copy_or_pickling(expression, travel):
    travelled = travel(expression)
    assert type(travelled) is type(expression)
    assert repr(travelled) == repr(expression)


@law
@given(trees)
def test_a_composition_keeps_its_value_through_cloudpickle(pair):
    expression, expected = pair
    research = Research(domain=one(CONFIG)).add_callable("output", lambda: {"a": 11})
    research = research.add_callable("function", lambda: lambda value, by: value * by)
    assert value_of(cloudpickle.loads(cloudpickle.dumps(expression)), research) == expected


@pytest.mark.parametrize(
    "text",
    [
        "E()", "E('net').width", "E().random.normal(0, scale=EC('x'))", "EC('x')", "EC()",
        "EC(full=True)", "O('f')[0]",
        "EP() + '/x'", "S()", "R().df", "(EC('x') + 1) * 2", "EC('x') + (1 * EC('y'))", "-EC('x')",
        "abs(O('f'))",
        "1 - EC('x')", "O('f')[EC('x')]", "EC('x') == 1", "-(EC('x') + 1)", "(EC('x') + 1).real",
        "(-EC('x')).real",
        "(EC('x') + 1)[0]", "(-EC('x')) ** 2",
    ],
)  # fmt: skip
def test_an_expression_reads_as_the_code_that_makes_it(text):
    names = {"E": E, "EC": EC, "O": O, "EP": EP, "S": S, "R": R}
    found = repr(eval(text, names))
    assert ast_of(found) == ast_of(text)


def ast_of(text):
    return ast.dump(ast.parse(text, mode="eval"))
