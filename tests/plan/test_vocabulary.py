"""The words by which a plan is described, for `Research` and `Experiment` alike."""

import copy
import functools
import math
import pickle
import sys
import types

import cloudpickle
import dask
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter

from daskresearch import EC, Domain, E, Experiment, O, Option, Research, S
from tests.support.running import column, failures_of, rows, saying, table

X = Option("x", [2, 3])


def power(a=2, b=3):
    return a**b


def counting(n):
    yield from range(n)


def same(value):
    return value


class Calc:
    """An instance that knows its parameter and how often it was asked."""

    def __init__(self, b=10):
        self.b = b
        self.n_calls = 0

    def power(self, a):
        self.n_calls += 1
        return a**self.b

    def items(self):
        yield from range(self.b)


def names(research):
    return [unit.name for unit in research.plan.units]


# each word returns a new object

WORDS = {
    "add_callable": lambda r: r.add_callable("more", len, args=["ab"], save_to="more"),
    "add_generator": lambda r: r.add_generator("more", counting, args=[1], save_to="more"),
    "add_instance": lambda r: r.add_instance("more", Calc),
    "save": lambda r: r.save(EC("x"), "more"),
    "dump": lambda r: r.dump(),
    "add_namespace": lambda r: r.add_namespace(math),
    "short form": lambda r: r.len("ab", save_to="more"),
    "short generator": lambda r: r.counting(1, mode="generator", save_to="more"),
}
words = pytest.mark.parametrize("word", WORDS.values(), ids=WORDS.keys())


@words
def test_a_word_returns_a_new_research_and_leaves_the_original_as_it_was(word):
    original = Research(domain=X).power(EC("x"), 2, save_to="square")
    longer = word(original)
    assert type(longer) is Research
    assert longer is not original
    assert names(original) == ["power"]
    assert rows(table(original), "x", "square") == [(2, 4), (3, 9)]
    assert list(table(original).columns) == ["id", "x", "iteration", "square"]


@words
def test_a_word_returns_a_new_experiment_and_leaves_the_original_as_it_was(word):
    original = Experiment().power(EC("x"), 2, save_to="square")
    longer = word(original)
    assert type(longer) is Experiment
    assert longer is not original
    assert names(original) == ["power"]
    assert column(Research(domain=X, experiment=original), "square") == [4, 9]
    assert set(column(Research(domain=X, experiment=longer), "square")) == {4, 9}


def test_update_domain_leaves_the_original_as_it_was():
    original = Research(domain=X).save(EC("x"), "seen")
    longer = original.update_domain(lambda: {"x": [5]}, when="#1")
    assert column(original, "seen") == [2, 3]
    assert column(longer, "seen") == [2, 3, 5]


def test_a_namespace_is_known_to_the_new_research_alone():
    original = Research()
    assert column(original.add_namespace(math).sqrt(16, save_to="root"), "root") == [4.0]
    with pytest.raises(AttributeError, match="'sqrt'"):
        original.sqrt(16)


def test_two_researches_share_a_beginning():
    beginning = Research(domain=X).power(EC("x"), 2)
    one = beginning.add_callable("next", lambda v: v + 1, args=[O("power")], save_to="up")
    other = beginning.add_callable("next", lambda v: v - 1, args=[O("power")], save_to="down")
    assert column(one, "up") == [5, 10]
    assert column(other, "down") == [3, 8]
    assert names(beginning) == ["power"]


def test_results_belong_to_the_research_that_ran():
    beginning = Research(domain=X).power(EC("x"), 2, save_to="square")
    longer = beginning.save(EC("x"), "seen")
    longer.run(bar=False, dump_results=False)
    with pytest.raises(Exception, match=saying("no results", "run()")):
        beginning.results.df  # noqa: B018
    assert list(longer.results.df.seen) == [2, 3]


def test_what_is_chained_behind_a_run_has_no_results_yet():
    research = (
        Research(domain=X).power(EC("x"), 2, save_to="square").run(bar=False, dump_results=False)
    )
    with pytest.raises(Exception, match=saying("no results", "run()")):
        research.save(EC("x"), "seen").results.df  # noqa: B018
    assert list(research.results.df.square) == [4, 9]


def test_run_returns_the_research_it_was_called_on():
    research = Research().power(save_to="power")
    assert research.run(bar=False, dump_results=False) is research


def test_a_later_run_replaces_the_results():
    research = Research().save(E().iteration, "i")
    assert column(research, "i", n_iters=1) == [0]
    assert column(research, "i", n_iters=2) == [0, 1]
    assert list(research.results.df.i) == [0, 1]


def test_a_refused_run_keeps_the_results_of_the_one_before():
    research = Research().save(E().iteration, "i").run(bar=False, dump_results=False)
    with pytest.raises(ValueError, match="n_iters"):
        research.run(n_iters=0, dump_results=False)
    assert list(research.results.df.i) == [0]


# add_callable in all its forms


@pytest.mark.parametrize(
    "add",
    [
        lambda r: r.add_callable(power, a=3, b=2, save_to="out"),
        lambda r: r.add_callable(power, args=[3, 2], save_to="out"),
        lambda r: r.add_callable(power, args=(3,), b=2, save_to="out"),
        lambda r: r.add_callable("power", power, args=[3, 2], save_to="out"),
        lambda r: r.add_callable("power", func=power, a=3, b=2, save_to="out"),
        lambda r: r.add_callable("power", power, [3, 2], 1, "out"),
        lambda r: r.add_callable(power, kwargs={"a": 3, "b": 2}, save_to="out"),
        lambda r: r.add_callable(power, a=3, kwargs={"b": 2}, save_to="out"),
        lambda r: r.add_callable(functools.partial(power, b=2), args=[3], save_to="out"),
        lambda r: r.power(3, 2, save_to="out"),
        lambda r: r.power(a=3, b=2, save_to="out"),
        lambda r: r.power(3, b=2, save_to="out"),
        lambda r: r.power(args=[3, 2], save_to="out"),
        lambda r: r.power(kwargs={"a": 3, "b": 2}, save_to="out"),
        lambda r: r.power(3, 2).save(O("power"), "out"),
        lambda r: r.power(3, 2).save("power", "out"),
    ],
    ids=range(16),
)
def test_the_ways_to_add_a_callable_are_the_same(add):
    research = add(Research())
    assert names(research)[0] == "power"
    assert rows(table(research.save(O("power"), "seen")), "out", "seen") == [(9, 9)]


def test_expressions_are_arguments_in_every_form():
    research = Research(domain=Domain(a=[2, 3]) @ Domain(b=[3, 2]))
    for added in [
        research.add_callable(power, args=[EC("a"), EC("b")], save_to="out"),
        research.add_callable(power, a=EC("a"), b=EC("b"), save_to="out"),
        research.add_callable("power", power, kwargs=EC(), save_to="out"),
        research.power(EC("a"), EC("b"), save_to="out"),
        research.power(kwargs=EC(), save_to="out"),
        research.add_callable(power, args=[EC()["a"]], b=EC("b"), save_to="out"),
    ]:
        assert column(added, "out") == [8, 9]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (power, "power"),
        (len, "len"),
        (Calc, "Calc"),
        (Calc(2).power, "power"),
        (functools.partial(functools.partial(power, 2), 3), "power"),
        (np.mean, "mean"),
    ],
)
def test_a_function_gives_its_name_to_the_unit(function, name):
    assert names(Research().add_callable(function)) == [name]


def test_any_callable_can_be_a_unit():
    class Adder:
        def __call__(self, a, b):
            return a + b

    research = Research().add_callable("adder", Adder(), args=[1, 2], save_to="adder")
    research = research.add_callable("class", complex, args=[1, 2], save_to="class")
    research = research.add_callable("bound", [3, 1, 2].index, args=[2], save_to="bound")
    research = research.add_callable("lambda", lambda: 5, save_to="lambda")
    research = research.add_callable("ufunc", np.add, args=[1, 2], save_to="ufunc")
    assert rows(table(research), "adder", "class", "bound", "lambda", "ufunc") == [
        (3, 1 + 2j, 2, 5, 3)
    ]


def test_a_function_gets_arguments_named_like_options_by_kwargs():
    def report(when, save_to, root):
        return (when, save_to, root)

    research = Research().report(kwargs={"when": 1, "save_to": 2, "root": 3}, save_to="seen")
    assert column(research, "seen") == [(1, 2, 3)]


def test_an_unsaved_output_is_no_column():
    assert list(table(Research().power(3).power(2, save_to="out")).columns) == [
        "id",
        "iteration",
        "out",
    ]


def test_columns_stand_in_the_order_of_units():
    research = Research().power(save_to="z").save(1, "a").len("ab", save_to="m")
    assert list(table(research).columns) == ["id", "iteration", "z", "a", "m"]


def test_two_units_may_record_the_same_variable_at_different_iterations():
    research = Research().add_callable("even", lambda: "even", when="#0", save_to="kind")
    research = research.add_callable("odd", lambda: "odd", when="#1", save_to="kind")
    assert column(research, "kind", n_iters=2) == ["even", "odd"]


# equal names


def test_units_of_equal_names_get_numbers():
    research = (
        Research()
        .power(2)
        .power(3)
        .add_callable(power, args=[4])
        .add_callable("power", len, args=["ab"])
    )
    assert names(research) == ["power", "power_1", "power_2", "power_3"]
    for name, output in [("power", 8), ("power_1", 27), ("power_2", 64), ("power_3", 2)]:
        assert column(research.save(O(name), "seen"), "seen") == [output]


def test_generators_and_methods_of_equal_names_get_numbers():
    research = Research().add_instance("calc", Calc, b=2)
    research = research.add_callable("calc.power", args=[3]).add_callable("calc.power", args=[4])
    research = research.add_generator(counting, args=[2]).add_generator(counting, args=[3])
    assert names(research) == ["calc", "calc.power", "calc.power_1", "counting", "counting_1"]
    research = research.save([O("calc.power"), O("calc.power_1")], "powers")
    assert column(research, "powers", n_iters=1) == [[9, 16]]


def test_a_number_that_is_taken_is_left_out():
    research = Research().add_callable("power_1", len, args=["ab"]).power(2).power(3)
    assert names(research) == ["power_1", "power", "power_2"]


def test_saving_twice_the_same_variable_is_no_clash_of_names():
    research = Research().save(1, "v", when="#0").save(2, "v", when="#1")
    assert column(research, "v", n_iters=2) == [1, 2]


# the short form


def in_globals(a):
    return ("globals", a)


def test_the_short_form_finds_functions_of_the_callers_locals():
    def local_function(a):
        return ("locals", a)

    assert column(Research().local_function(1, save_to="seen"), "seen") == [("locals", 1)]


def test_the_short_form_finds_functions_of_the_callers_globals():
    assert column(Research().in_globals(1, save_to="seen"), "seen") == [("globals", 1)]


def test_the_short_form_finds_functions_of_main(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "in_main", lambda a: ("main", a), raising=False)
    assert column(Research().in_main(1, save_to="seen"), "seen") == [("main", 1)]


def test_the_short_form_finds_builtins():
    assert column(Research().divmod(7, 3, save_to="seen"), "seen") == [(2, 1)]


def test_the_short_form_finds_functions_of_added_modules_and_dicts():
    module = types.ModuleType("module")
    module.in_module = lambda a: ("module", a)
    research = Research().add_namespace(module, {"in_dict": lambda a: ("dict", a)})
    research = research.in_module(1, save_to="module").in_dict(2, save_to="dict")
    assert rows(table(research), "module", "dict") == [(("module", 1), ("dict", 2))]


def test_the_callers_locals_go_before_its_globals_and_these_before_builtins():
    def in_globals(a):
        return ("locals", a)

    def divmod(a, b):  # noqa: A001
        return ("locals", a, b)

    research = Research().in_globals(1, save_to="one").divmod(7, 3, save_to="other")
    assert rows(table(research), "one", "other") == [(("locals", 1), ("locals", 7, 3))]


def test_the_short_form_looks_in_the_scope_of_its_caller_and_not_of_the_library():
    with pytest.raises(AttributeError, match="'near_miss'"):
        Research().near_miss("a", [])


def test_a_name_that_is_no_function_is_not_found():
    number = 5
    with pytest.raises(AttributeError, match="'number'"):
        Research().number(number)


def test_the_short_form_takes_a_generator_by_its_mode():
    research = Research(domain=X).counting(EC("x"), mode="generator", save_to="i")
    assert rows(table(research), "x", "i") == [
        (2, 0),
        (2, 1),
        (2, 1),
        (3, 0),
        (3, 1),
        (3, 2),
        (3, 2),
    ]


def test_the_short_form_takes_all_options_of_a_unit():
    calls = []

    def load(a, b):
        calls.append((a, b))
        return [a, b]

    research = Research(domain=X).load(1, b=2, root=True, when="last", save_to=["a", "b"])
    assert rows(table(research, n_iters=2), "x", "iteration", "a", "b") == [
        (2, 1, 1, 2),
        (3, 1, 1, 2),
    ]
    assert calls == [(1, 2)]


def test_an_unknown_name_is_refused_with_the_places_that_were_looked_at():
    with pytest.raises(
        AttributeError,
        match=saying("'powr'", "caller's scope", "__main__", "builtins", "namespace"),
    ):
        Research().powr(3)


@pytest.mark.parametrize(
    ("find", "near"),
    [
        (lambda r: r.powr(3), "power"),
        (lambda r: r.in_global(3), "in_globals"),
        (lambda r: r.divmd(3), "divmod"),
        (lambda r: r.add_calable(len), "add_callable"),
        (lambda r: r.add_namespace({"train_model": len}).train_modl(3), "train_model"),
        (lambda r: r.add_namespace(math).isclos(3), "isclose"),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("kind", [Research, Experiment])
def test_an_unknown_name_is_refused_with_what_is_close(find, near, kind):
    with pytest.raises(AttributeError, match=f"did you mean '{near}'"):
        find(kind())


@pytest.mark.parametrize(
    ("find", "near"),
    [
        (lambda r: r.rnu(), "run"),
        (lambda r: r.result, "results"),
        (lambda r: r.update_domian(len), "update_domain"),
        (lambda r: r.terminat(), "terminate"),
    ],
    ids=range(4),
)
def test_methods_of_a_research_are_among_what_is_close(find, near):
    with pytest.raises(AttributeError, match=f"did you mean '{near}'"):
        find(Research())


@pytest.mark.parametrize(
    "name",
    [
        "_repr_svg_", "_repr_mimebundle_", "_repr_png_", "_ipython_display_",
        "_ipython_canary_method_should_not_exist_",
        "__array__", "__array_interface__", "__dataframe__", "__dask_exprs__", "__wrapped__",
        "__len__", "__iter__",
        "_hidden", "_meta", "dask", "expr",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [Research, Experiment])
def test_the_short_form_never_answers_for_names_that_are_probed(monkeypatch, kind, name):
    research = kind().add_namespace({name: len})
    monkeypatch.setitem(globals(), name, len)
    assert not hasattr(research, name)
    with pytest.raises(AttributeError, match=name):
        getattr(research, name)


def test_hasattr_says_whether_the_short_form_would_find_a_function():
    assert hasattr(Research(), "power")
    assert hasattr(Research(), "divmod")
    assert not hasattr(Research(), "powr")
    assert hasattr(Research().add_namespace(math), "sqrt")
    assert not hasattr(Research(), "sqrt")


@pytest.mark.parametrize(
    "made", [Research(domain=X).len("ab"), Experiment().len("ab")], ids=["research", "experiment"]
)
def test_ipython_shows_its_text_and_nothing_else(made):
    shown, _ = DisplayFormatter().format(made)
    assert shown["text/plain"] == repr(made)


def test_the_text_of_a_research_has_its_name_its_size_and_its_units():
    text = repr(Research("sweep", domain=X, n_reps=3).power(2).len("ab"))
    assert all(part in text for part in ("'sweep'", "6 experiments", "power -> len"))


def test_an_experiment_is_no_dask_collection():
    assert not dask.is_dask_collection(Experiment().len("ab"))


# copies and pickles


def planned():
    """Return a research with units of every kind."""
    research = Research("sweep", domain=X, n_reps=2).add_namespace({"twice": twice})
    research = research.add_instance("calc", Calc, b=EC("x")).add_callable(
        "calc.power", args=[2], save_to="power"
    )
    research = research.add_generator(counting, args=[2], save_to="i").twice(
        O("counting"), save_to="twice"
    )
    return research.save(O("calc.power") + 1, "more", when="last").add_callable(
        "draw", draw, [E().random], save_to="d"
    )


def twice(value):
    return 2 * value


def draw(random):
    return float(random.normal())


@pytest.mark.parametrize(
    "travel",
    [
        copy.copy,
        copy.deepcopy,
        lambda r: pickle.loads(pickle.dumps(r)),
        lambda r: cloudpickle.loads(cloudpickle.dumps(r)),
    ],
    ids=["copy", "deepcopy", "pickle", "cloudpickle"],
)
def test_a_research_that_has_not_run_is_the_same_after_a_copy_or_pickling(travel):
    research = planned()
    travelled = travel(research)
    assert travelled is not research
    assert travelled.name == "sweep"
    assert repr(travelled) == repr(research)
    pd.testing.assert_frame_equal(table(travelled, seed=1), table(research, seed=1))
    assert column(travelled.twice(4, save_to="again"), "again", n_iters=1) == [8, 8, 8, 8]


@pytest.mark.parametrize(
    "travel", [copy.copy, copy.deepcopy, lambda e: cloudpickle.loads(cloudpickle.dumps(e))]
)
def test_an_experiment_is_the_same_after_a_copy_or_pickling(travel):
    experiment = Experiment().add_namespace({"twice": twice}).twice(EC("x"), save_to="twice")
    assert column(Research(domain=X, experiment=travel(experiment)), "twice") == [4, 6]
    assert names(travel(experiment).twice(1)) == ["twice", "twice_1"]


def test_closures_and_lambdas_survive_cloudpickle():
    factor = 5
    research = Research(domain=X).add_callable(
        "f", lambda x: factor * x, args=[EC("x")], save_to="f"
    )
    assert column(cloudpickle.loads(cloudpickle.dumps(research)), "f") == [10, 15]


def test_chaining_onto_a_copy_leaves_the_original_as_it_was():
    research = Research(domain=X).power(2)
    assert names(copy.copy(research).len("ab")) == ["power", "len"]
    assert names(research) == ["power"]


# Experiment


def test_an_experiment_is_a_plan_for_several_researches():
    experiment = Experiment().power(EC("x"), 2, save_to="square")
    assert column(Research(domain=X, experiment=experiment), "square") == [4, 9]
    assert column(Research(domain=Option("x", [5]), experiment=experiment), "square") == [25]


def test_a_research_goes_on_where_its_experiment_ends():
    experiment = Experiment().power(EC("x"), 2, save_to="square")
    research = Research(domain=X, experiment=experiment).add_callable(
        same, args=[O("power") + 1], save_to="next"
    )
    assert rows(table(research), "square", "next") == [(4, 5), (9, 10)]
    assert names(experiment) == ["power"]


def test_namespaces_of_an_experiment_are_those_of_its_research():
    experiment = Experiment().add_namespace(math)
    assert column(Research(experiment=experiment).sqrt(16, save_to="root"), "root") == [4.0]


# save


def test_save_records_an_output_an_expression_or_a_constant():
    research = Research(domain=X).power(EC("x"), 2)
    research = (
        research.save(O("power"), "output")
        .save("power", "by_name")
        .save(EC("x") * 10, "expression")
    )
    research = research.save(5, "constant").save([EC("x"), {"k": O("power")}], "nested")
    assert rows(table(research), "output", "by_name", "expression", "constant", "nested") == [
        (4, 4, 20, 5, [2, {"k": 4}]),
        (9, 9, 30, 5, [3, {"k": 9}]),
    ]


def test_save_records_as_often_as_when_says():
    research = Research().save(E().iteration, "all").save(E().iteration, "some", when=["#0", 3])
    assert rows(table(research, n_iters=4), "all", "some") == [(0, 0), (1, None), (2, 2), (3, None)]


def test_save_takes_a_list_of_names_for_a_sequence():
    research = Research().divmod(7, 3).save(O("divmod"), ["quotient", "remainder"])
    assert rows(table(research), "quotient", "remainder") == [(2, 1)]


def test_save_takes_a_dict_by_its_keys():
    research = Research(domain=X).save({"a": EC("x"), "b": EC("x") + 1}, save_output_dict=True)
    assert rows(table(research), "a", "b") == [(2, 3), (3, 4)]


def grow(items, i):
    items.append(i)


def test_save_without_a_copy_records_the_object_itself():
    research = Research().add_callable("items", list, when="#0").save(O("items"), "kept")
    frame = table(research.grow(O("items"), E().iteration), n_iters=3)
    assert list(frame.kept) == [[0, 1, 2]] * 3


def test_save_with_a_copy_records_what_the_object_is_at_that_time():
    research = Research().add_callable("items", list, when="#0").save(O("items"), "kept", copy=True)
    frame = table(research.grow(O("items"), E().iteration), n_iters=3)
    assert list(frame.kept) == [[], [0], [0, 1]]


def test_a_copy_is_deep():
    research = (
        Research()
        .add_callable("items", lambda: {"k": []}, when="#0")
        .save(O("items"), "kept", copy=True)
    )
    frame = table(research.grow(O("items")["k"], E().iteration), n_iters=2)
    assert list(frame.kept) == [{"k": []}, {"k": [0]}]


# several outputs


@pytest.mark.parametrize(
    "output",
    [(1, 2), [1, 2], np.array([1, 2]), pd.Series([1, 2]), range(1, 3)],
    ids=lambda output: type(output).__name__,
)
def test_save_to_a_list_takes_a_sequence_apart(output):
    for names in (["a", "b"], ("a", "b")):
        research = Research().add_callable(lambda: output, save_to=names)
        assert rows(table(research), "a", "b") == [(1, 2)]


def test_save_to_a_list_of_one_name_takes_a_sequence_of_one_value():
    assert column(Research().add_callable(lambda: [5], save_to=["a"]), "a") == [5]


def test_save_to_a_list_takes_each_item_of_a_generator_apart():
    research = Research().add_generator(enumerate, args=["ab"], save_to=["i", "letter"])
    assert rows(table(research), "i", "letter") == [(0, "a"), (1, "b"), (1, "b")]


@pytest.mark.parametrize(
    ("output", "said"),
    [((1, 2, 3), "3"), ((1,), "1"), ((), "0"), (5, "int"), (None, "None"), ("ab", "str")],
    ids=str,
)
def test_an_output_of_another_length_is_a_failure_with_both_lengths(output, said):
    research = Research(domain=X).add_callable("f", lambda: output, save_to=["a", "b"])
    assert rows(table(research), "a") == []
    assert failures_of(research) == [("f", 0), ("f", 0)]
    failure = research.results.failures.exception[0]
    assert isinstance(failure, ValueError)
    assert "['a', 'b']" in str(failure)
    assert "2" in str(failure)
    assert said in str(failure)


def test_save_output_dict_records_items_as_variables():
    research = Research(domain=X).add_callable(
        lambda x: {"a": x, "b": -x}, args=[EC("x")], save_output_dict=True
    )
    assert rows(table(research), "x", "a", "b") == [(2, 2, -2), (3, 3, -3)]


def test_save_output_dict_leaves_empty_what_a_dict_has_not():
    def measure(i):
        return {"a": i} if i % 2 else {"b": i}

    research = Research().measure(E().iteration, save_output_dict=True)
    assert rows(table(research, n_iters=3), "a", "b") == [(None, 0), (1, None), (None, 2)]


def test_save_output_dict_records_the_items_of_a_generator():
    research = Research().add_generator(lambda: ({"a": i} for i in range(2)), save_output_dict=True)
    assert column(research, "a") == [0, 1, 1]


@pytest.mark.parametrize("output", [5, [1], None, "a"], ids=repr)
def test_an_output_that_is_no_dict_is_a_failure_that_says_so(output):
    research = (
        Research()
        .add_callable("f", lambda: output, save_output_dict=True)
        .run(bar=False, dump_results=False)
    )
    (failure,) = research.results.failures.exception
    assert isinstance(failure, TypeError)
    assert "dict" in str(failure)
    assert type(output).__name__ in str(failure)


@pytest.mark.parametrize("key", ["x", "id", "iteration", "repetition", "updates", 5])
def test_a_dict_output_with_a_key_that_is_no_column_of_its_own_is_a_failure_and_records_nothing(
    key,
):
    research = (
        Research(domain=X)
        .add_callable("f", lambda: {"a": 1, key: 2}, save_output_dict=True)
        .run(bar=False, dump_results=False)
    )
    assert failures_of(research) == [("f", 0), ("f", 0)]
    assert repr(key) in str(research.results.failures.exception[0])
    assert len(research.results.df) == 0


# instances


def test_an_instance_is_built_once_in_iteration_0_with_the_config():
    built = []

    class Net:
        def __init__(self, width, iteration):
            built.append((width, iteration))

    Research(domain=X).add_instance("net", Net, width=EC("x"), iteration=E().iteration).run(
        n_iters=3, bar=False, dump_results=False
    )
    assert built == [(2, 0), (3, 0)]


def test_methods_are_units_and_keep_the_state_of_their_instance():
    research = Research(domain=X).add_instance("calc", Calc, b=EC("x"))
    research = research.add_callable("calc.power", a=2, save_to="power").save(
        E("calc").n_calls, "n_calls"
    )
    assert rows(table(research, n_iters=2), "x", "iteration", "power", "n_calls") == [
        (2, 0, 4, 1),
        (2, 1, 4, 2),
        (3, 0, 8, 1),
        (3, 1, 8, 2),
    ]


def test_a_generator_may_be_a_method():
    research = Research().add_instance("calc", Calc, b=2).add_generator("calc.items", save_to="i")
    assert column(research, "i") == [0, 1, 1]


def test_methods_take_all_options_of_a_unit():
    research = Research().add_instance("text", str, args=["ab"])
    research = research.add_callable(
        "text.partition", args=["b"], save_to=["a", "b", "c"], when="last"
    )
    assert rows(table(research, n_iters=2), "iteration", "a", "b", "c") == [(1, "a", "b", "")]


def test_attributes_and_methods_of_an_instance_are_arguments():
    research = Research(domain=X).add_instance("calc", Calc, b=EC("x"))
    research = research.add_callable(
        "sum", lambda b, p: b + p, args=[E("calc").b, E("calc").power(10)], save_to="sum"
    )
    assert column(research, "sum") == [102, 1003]


def test_the_creator_of_an_instance_may_be_a_function():
    research = Research().add_instance("items", lambda n: list(range(n)), n=3)
    research = research.add_callable("items.index", args=[2], save_to="index")
    assert column(research, "index") == [2]


def test_instances_may_use_each_other():
    research = (
        Research().add_instance("calc", Calc, b=3).add_instance("twin", Calc, b=E("calc").b * 2)
    )
    assert column(research.save(E("twin").b, "b"), "b") == [6]


def test_a_method_that_an_instance_has_not_is_a_failure_of_the_unit():
    research = (
        Research()
        .add_instance("calc", Calc)
        .add_callable("calc.powr", args=[2])
        .run(bar=False, dump_results=False)
    )
    assert failures_of(research) == [("calc.powr", 0)]
    assert isinstance(research.results.failures.exception[0], AttributeError)


def test_an_instance_that_cannot_be_built_fails_and_its_methods_are_skipped():
    research = (
        Research()
        .add_instance("calc", Calc, wrong=1)
        .add_callable("calc.power", args=[2], save_to="power")
    )
    research = research.save(E("calc").b, "b").save(1, "other").run(bar=False, dump_results=False)
    assert failures_of(research) == [("calc", 0)]
    assert rows(research.results.df, "power", "b", "other") == [(None, None, 1)]


# dump, version and resources


def test_dump_is_without_effect_while_results_are_in_memory():
    research = Research().power(save_to="power", dump="last").dump("power").dump(when=2)
    assert column(research, "power", n_iters=2) == [8, 8]


def test_a_unit_takes_a_version_and_resources():
    research = Research().power(save_to="power", version="2", resources={"CPU": 1})
    assert column(research, "power") == [8]


# pure


def test_pure_makes_every_callable_a_root():
    calls = []

    def load(a):
        calls.append(("load", a))
        return 10 * a

    def total(loaded, b):
        calls.append(("total", loaded, b))
        return loaded + b

    domain = Option("a", [1, 2]) * Option("b", [3, 4]) * Option("c", [5, 6])
    research = (
        Research(domain=domain, pure=True).load(EC("a")).total(O("load"), EC("b"), save_to="total")
    )
    assert column(research, "total") == [13, 13, 14, 14, 23, 23, 24, 24]
    assert calls == [
        ("load", 1), ("total", 10, 3), ("total", 10, 4), ("load", 2), ("total", 20, 3), ("total",
        20, 4),
    ]  # fmt: skip


def test_without_pure_a_callable_runs_in_each_experiment_and_iteration():
    calls = []
    research = Research(domain=X).add_callable(calls.append, args=["call"])
    research.run(n_iters=2, bar=False, dump_results=False)
    assert calls == ["call"] * 4


def test_pure_leaves_alone_what_cannot_be_shared():
    def measure(storage, x):
        storage.update_variable("seen", x)

    research = (
        Research(domain=X, pure=True).measure(S(), EC("x")).add_generator(counting, args=[EC("x")])
    )
    research = research.add_callable(same, args=[O("counting")], save_to="i")
    assert rows(table(research), "x", "seen", "i") == [
        (2, 2, 0), (2, 2, 1), (2, 2, 1), (3, 3, 0), (3, 3, 1), (3, 3, 2), (3, 3, 2),
    ]  # fmt: skip


def test_pure_leaves_methods_to_their_instance():
    research = Research(domain=X, pure=True).add_instance("calc", Calc, b=EC("x"))
    assert column(research.add_callable("calc.power", args=[2], save_to="power"), "power") == [4, 8]
