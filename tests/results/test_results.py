"""Tables of results: every option and filter, types of columns, and results while a run goes on."""

import datetime
import threading

import numpy as np
import pandas as pd
import pytest
from pandas.api import types

from daskresearch import EC, Alias, Domain, E, Experiment, NumpySampler, O, Option, Research, S
from tests.support.running import (
    DEADLINE_S,
    THREADS,
    TWO_WORKERS,
    column,
    note,
    noted,
    rows,
    saying,
    table,
    wait_for,
)


def first_of(items):
    return items[0]


SMALL, LARGE = [16], [32]
LAYOUTS = [Alias(SMALL, "small"), Alias(LARGE, "large")]


@pytest.fixture(scope="module")
def results():
    """Return the results of 2 x 2 configs, 2 repetitions and 2 iterations."""
    domain = Option("layout", LAYOUTS) * Option("x", [3, 4])
    research = Research(domain=domain, n_reps=2)
    research = research.add_callable(
        "loss", lambda x, i: x - i, args=[EC("x"), E().iteration], save_to="loss"
    )
    research = research.add_callable(
        "width", first_of, args=[EC("layout")], save_to="width", when="last"
    )
    return research.run(n_iters=2, seed=1, bar=False, dump_results=False).results


CONFIGS = [(layout, x) for layout in (SMALL, LARGE) for x in (3, 4)]
# (repetition, layout, x, iteration, loss, width) of each row, in order
EXPECTED = [
    (repetition, layout, x, i, x - i, layout[0] if i == 1 else None)
    for repetition in (0, 1)
    for layout, x in CONFIGS
    for i in (0, 1)
]
COLUMNS = ("repetition", "layout", "x", "iteration", "loss", "width")


def expected(**wanted):
    """Return the expected rows in which these columns have these values."""
    places = {name: COLUMNS.index(name) for name in wanted}
    return [
        row
        for row in EXPECTED
        if all(row[places[name]] in values for name, values in wanted.items())
    ]


def found(results, **options):
    return rows(results.to_df(remove_auxilary=False, **options), *COLUMNS)


# the table


def test_df_is_the_table_without_options(results):
    pd.testing.assert_frame_equal(results.df, results.to_df())


def test_columns_are_id_parameters_iteration_and_variables(results):
    assert list(results.df.columns) == ["id", "layout", "x", "iteration", "loss", "width"]


def test_rows_stand_in_domain_order_and_then_by_iteration(results):
    assert found(results) == EXPECTED


def test_the_index_counts_rows(results):
    assert list(results.df.index) == list(range(16))
    assert list(results.to_df(x=4).index) == list(range(8))


def test_each_experiment_has_one_id_in_all_its_rows(results):
    ids = list(results.df.id)
    assert ids[::2] == ids[1::2]
    assert len(set(ids)) == 8


def test_changing_the_table_changes_no_results(results):
    frame = results.df
    frame.loc[:, "loss"] = 0
    assert found(results) == EXPECTED


# options


def test_the_long_form_has_a_row_for_each_recorded_value(results):
    frame = results.to_df(pivot=False)
    assert list(frame.columns) == ["id", "layout", "x", "iteration", "name", "value"]
    long = []
    for _, layout, x, i, loss, width in EXPECTED:
        long.append((layout, x, i, "loss", loss))
        if width is not None:
            long.append((layout, x, i, "width", width))
    assert rows(frame, "layout", "x", "iteration", "name", "value") == long


def test_include_config_false_leaves_out_the_parameters(results):
    frame = results.to_df(include_config=False)
    assert list(frame.columns) == ["id", "iteration", "loss", "width"]
    assert rows(frame, "iteration", "loss", "width") == [row[3:] for row in EXPECTED]
    assert list(results.to_df(include_config=False, pivot=False).columns) == [
        "id",
        "iteration",
        "name",
        "value",
    ]


def test_use_alias_shows_parameters_by_their_texts(results):
    frame = results.to_df(use_alias=True)
    texts = {16: "small", 32: "large"}
    assert rows(frame, "layout", "x") == [
        (texts[layout[0]], str(x)) for _, layout, x, *_ in EXPECTED
    ]
    assert rows(frame, "loss", "width") == [row[4:] for row in EXPECTED]


def test_concat_config_joins_the_texts_of_a_config(results):
    frame = results.to_df(concat_config=True)
    assert list(frame.columns) == ["id", "config", "iteration", "loss", "width"]
    texts = {16: "small", 32: "large"}
    assert list(frame.config) == [
        f"layout_{texts[layout[0]]}-x_{x}" for _, layout, x, *_ in EXPECTED
    ]


def test_concat_config_joins_sorted_names_as_ids_do():
    research = (
        Research(domain=Domain(b=[1]) * Domain(a=[2]))
        .save(1, "one")
        .run(bar=False, dump_results=False)
    )
    assert list(research.results.to_df(concat_config=True).config) == ["a_2-b_1"]


def test_drop_columns_false_keeps_the_parameters_beside_their_texts(results):
    frame = results.to_df(concat_config=True, drop_columns=False)
    assert list(frame.columns) == ["id", "config", "layout", "x", "iteration", "loss", "width"]
    assert rows(frame, "layout", "x") == [row[1:3] for row in EXPECTED]
    frame = results.to_df(concat_config=True, drop_columns=False, use_alias=True)
    assert set(frame.layout) == {"small", "large"}


def test_remove_auxilary_false_keeps_repetition_and_updates(results):
    frame = results.to_df(remove_auxilary=False)
    assert list(frame.columns) == [
        "id",
        "layout",
        "x",
        "repetition",
        "updates",
        "iteration",
        "loss",
        "width",
    ]
    assert list(frame.repetition) == [row[0] for row in EXPECTED]
    assert list(frame.updates) == [0] * 16
    assert frame.repetition.dtype == frame.updates.dtype == "int64"


def test_concat_config_has_repetition_and_updates_when_they_are_kept(results):
    frame = results.to_df(concat_config=True, remove_auxilary=False)
    assert list(frame.columns) == ["id", "config", "iteration", "loss", "width"]
    assert frame.config[0] == "layout_small-repetition_0-updates_0-x_3"
    assert frame.config[15] == "layout_large-repetition_1-updates_0-x_4"


def test_auxiliary_columns_are_texts_when_aliases_are_used(results):
    frame = results.to_df(use_alias=True, remove_auxilary=False)
    assert list(frame.repetition) == [str(row[0]) for row in EXPECTED]


def test_options_combine_with_the_long_form(results):
    frame = results.to_df(
        pivot=False, concat_config=True, remove_auxilary=False, x=3, iterations=1, name="width"
    )
    assert list(frame.columns) == ["id", "config", "iteration", "name", "value"]
    assert rows(frame, "config", "iteration", "name", "value") == [
        ("layout_small-repetition_0-updates_0-x_3", 1, "width", 16),
        ("layout_large-repetition_0-updates_0-x_3", 1, "width", 32),
        ("layout_small-repetition_1-updates_0-x_3", 1, "width", 16),
        ("layout_large-repetition_1-updates_0-x_3", 1, "width", 32),
    ]


# filters


def test_experiments_are_found_by_id(results):
    ids = list(results.df.id.unique())
    assert found(results, experiment_id=ids[1]) == expected(repetition=[0], layout=[SMALL], x=[4])
    assert found(results, experiment_id=[ids[1], ids[0]]) == expected(
        repetition=[0], layout=[SMALL]
    )
    assert found(results, experiment_id=results.df.id[2:4]) == expected(
        repetition=[0], layout=[SMALL], x=[4]
    )
    assert found(results, experiment_id="unknown") == []


def test_a_variable_is_found_by_name_with_the_rows_that_have_it(results):
    frame = results.to_df(name="width")
    assert list(frame.columns) == ["id", "layout", "x", "iteration", "width"]
    assert rows(frame, "iteration", "width") == [
        (1, width) for *_, width in EXPECTED if width is not None
    ]


def test_several_variables_are_found_by_name(results):
    frame = results.to_df(name=["width", "loss"])
    assert list(frame.columns) == ["id", "layout", "x", "iteration", "width", "loss"]
    assert rows(frame, "loss", "width") == [row[4:] for row in EXPECTED]


@pytest.mark.parametrize(
    "wanted",
    [1, [1], (1,), {1}, range(1, 2), np.int64(1), np.array([1]), pd.Series([1]), [np.int64(1)]],
    ids=repr,
)
def test_iterations_are_found_by_number(results, wanted):
    assert found(results, iterations=wanted) == expected(iteration=[1])


def test_several_iterations_are_found_by_numbers(results):
    assert found(results, iterations=[1, 0]) == EXPECTED
    assert found(results, iterations=[7]) == []
    assert found(results, iterations=[]) == []


def test_a_config_is_found_by_its_values(results):
    assert found(results, config={"x": 3}) == expected(x=[3])
    assert found(results, config={"x": 3, "layout": LARGE}) == expected(x=[3], layout=[LARGE])
    assert found(results, config={"x": 3, "repetition": 1}) == expected(x=[3], repetition=[1])
    assert found(results, config={"x": 5}) == []
    assert found(results, config={}) == EXPECTED


def test_a_config_of_a_domain_is_found(results):
    (config,) = Domain(x=[4]) * Option("layout", [LAYOUTS[0]])
    assert found(results, config=config) == expected(x=[4], layout=[SMALL], repetition=[0])


def test_params_are_the_same_as_config(results):
    assert found(results, x=3) == expected(x=[3])
    assert found(results, x=3, layout=LARGE) == expected(x=[3], layout=[LARGE])
    assert found(results, x=3, config={"layout": LARGE}) == expected(x=[3], layout=[LARGE])
    assert found(results, repetition=1) == expected(repetition=[1])
    assert found(results, updates=0) == EXPECTED


@pytest.mark.parametrize(
    "wanted", [[3, 4], (3, 4), {3, 4}, range(3, 5), np.array([3, 4]), pd.Series([3, 4])], ids=repr
)
def test_a_list_of_values_means_any_of_them(results, wanted):
    assert found(results, x=wanted, repetition=0) == expected(repetition=[0])


@pytest.mark.parametrize(
    "wanted", [3, 3.0, np.int64(3), np.float64(3), np.array([3]), pd.Series([3])[0]], ids=repr
)
def test_numbers_are_found_by_their_value(results, wanted):
    assert found(results, x=wanted) == expected(x=[3])


def test_a_value_that_is_a_list_is_found_by_itself_and_in_a_list(results):
    assert found(results, layout=[16]) == expected(layout=[SMALL])
    assert found(results, layout=[[16], [32]]) == EXPECTED
    assert found(results, layout=[[16]]) == expected(layout=[SMALL])


def test_a_config_is_found_by_its_texts(results):
    assert found(results, alias={"layout": "small"}) == expected(layout=[SMALL])
    assert found(results, alias={"layout": ["small", "large"], "x": "3"}) == expected(x=[3])
    assert found(results, alias={"repetition": "1"}) == expected(repetition=[1])
    assert found(results, alias={"layout": "16"}) == []


def test_configs_that_agree_with_a_domain_are_found(results):
    assert found(results, domain=Option("x", [3])) == expected(x=[3])
    assert found(results, domain=Option("layout", [LAYOUTS[1]]) * Option("x", [3, 5])) == expected(
        x=[3], layout=[LARGE]
    )
    assert found(results, domain=Option("x", [3]) + Option("layout", LAYOUTS[1:])) == [
        row for row in EXPECTED if row[2] == 3 or row[1] == LARGE
    ]


def test_filters_combine(results):
    assert found(
        results,
        x=3,
        alias={"layout": "small"},
        iterations=1,
        repetition=1,
        domain=Option("x", [3, 4]),
    ) == [(1, SMALL, 3, 1, 2, 16)]
    assert found(results, x=3, alias={"x": "4"}) == []


@pytest.mark.parametrize(
    "value", [None, True, len, "a", (1, 2), np.arange(3), {"k": 1}, 2.5], ids=repr
)
def test_any_value_of_a_parameter_is_found(value):
    research = Research(domain=Option("v", [Alias(value, "wanted"), Alias("other", "other")])).save(
        EC("v"), "seen"
    )
    results = research.run(bar=False, dump_results=False).results
    assert len(results.to_df(v=value)) == 1
    assert len(results.to_df(v="other")) == 1


def test_parameters_named_like_options_are_found_by_config():
    domain = Domain({"name": ["a", "b"], "domain": [1], "config": [2]})
    results = (
        Research(domain=domain).save(EC("name"), "seen").run(bar=False, dump_results=False).results
    )
    assert list(results.to_df(config={"name": "b", "domain": 1, "config": 2}).seen) == ["b"]


def test_parameters_of_only_some_configs_are_found():
    research = Research(domain=Option("a", [1, 2]) + Option("b", [1, 2])).save(EC(), "seen")
    results = research.run(bar=False, dump_results=False).results
    assert list(results.to_df(a=1).seen) == [{"a": 1}]
    assert list(results.to_df(b=[1, 2]).seen) == [{"b": 1}, {"b": 2}]
    assert list(results.to_df(domain=Option("a", [1]) + Option("b", [2])).seen) == [
        {"a": 1},
        {"b": 2},
    ]


# columns that would share a name


@pytest.mark.parametrize("name", ["name", "value"])
def test_the_long_form_refuses_a_parameter_named_like_its_columns(name):
    results = (
        Research(domain=Option(name, ["svm", "tree"]))
        .save(EC(name), "seen")
        .run(bar=False, dump_results=False)
        .results
    )
    assert list(results.df[name]) == ["svm", "tree"]
    with pytest.raises(ValueError, match=f"'{name}'"):
        results.to_df(pivot=False)


def test_joined_configs_refuse_a_variable_named_config():
    results = (
        Research(domain=Option("x", [1]))
        .save(EC(), "config")
        .run(bar=False, dump_results=False)
        .results
    )
    assert list(results.df.config) == [{"x": 1}]
    with pytest.raises(ValueError, match="'config'"):
        results.to_df(concat_config=True)


def test_joined_configs_refuse_a_parameter_named_config_beside_them():
    results = (
        Research(domain=Option("config", ["a", "b"]))
        .save(1, "one")
        .run(bar=False, dump_results=False)
        .results
    )
    assert list(results.to_df(concat_config=True).config) == ["config_a", "config_b"]
    with pytest.raises(ValueError, match="'config'"):
        results.to_df(concat_config=True, drop_columns=False)


# types of columns


def recorded(*values):
    """Return the column of a variable that has these values, one an experiment."""
    research = Research(domain=Option("i", list(range(len(values)))))
    research = research.add_callable("value", lambda i: values[i], args=[EC("i")], save_to="value")
    return table(research).value


def configured(*values):
    """Return the column of a parameter that has these values."""
    return table(
        Research(
            domain=Option("value", [Alias(value, str(i)) for i, value in enumerate(values)])
        ).save(1, "one")
    ).value


both = pytest.mark.parametrize("column_of", [recorded, configured], ids=["variable", "parameter"])


@both
@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((1, 2), "int64"),
        ((np.int64(1), np.int64(2)), "int64"),
        ((0.5, 2), "float64"),
        ((True, False), "bool"),
        ((1j, 2), "complex128"),
        ((1, "a"), "object"),
        ((2**70, 1), "object"),
    ],
    ids=str,
)
def test_numbers_have_the_type_that_pandas_infers(column_of, values, dtype):
    found = column_of(*values)
    assert found.dtype == dtype
    assert list(found) == list(values)


@both
def test_texts_have_the_type_that_pandas_infers(column_of):
    found = column_of("a", "b")
    assert types.is_string_dtype(found)
    assert found.dtype == pd.Series(["a", "b"]).dtype
    assert list(found) == ["a", "b"]


@both
@pytest.mark.parametrize(
    "values",
    [
        (datetime.datetime(2020, 1, 1), datetime.datetime(2021, 5, 6, 7, 8, 9)),
        (pd.Timestamp("2020-01-01"), pd.Timestamp("2021-01-01")),
        (np.datetime64("2020-01-01"), np.datetime64("2021-01-01")),
    ],
    ids=lambda values: type(values[0]).__name__,
)
def test_times_are_times(column_of, values):
    found = column_of(*values)
    assert types.is_datetime64_any_dtype(found)
    assert list(found) == [pd.Timestamp(value) for value in values]


@both
def test_spans_of_time_are_spans_of_time(column_of):
    found = column_of(datetime.timedelta(seconds=1), datetime.timedelta(days=2))
    assert types.is_timedelta64_dtype(found)
    assert list(found) == [pd.Timedelta(seconds=1), pd.Timedelta(days=2)]


class Model:
    """A value that pandas knows nothing of."""

    def __len__(self):
        return 3

    def __iter__(self):
        return iter([1, 2, 3])


MODEL = Model()


@both
@pytest.mark.parametrize(
    "values",
    [
        ([1], [2, 3]),
        ([1, 2], [3, 4]),
        ([], []),
        ((1, 2), (3, 4)),
        ({"a": 1}, {"b": 2}),
        ({"a": 1}, {"a": 2}),
        ({1}, {2}),
        (range(2), range(3)),
        (b"a", b"bc"),
        (len, max),
        (int, Model),
        (MODEL, MODEL),
        ([[1], [2]], [[3], [4]]),
        (None, None),
        (..., ...),
    ],
    ids=str,
)
def test_other_values_stay_what_they_are(column_of, values):
    found = column_of(*values)
    assert found.dtype == "object"
    assert [type(one) for one in found] == [type(value) for value in values]
    assert list(found) == list(values)


@both
@pytest.mark.parametrize(
    "values",
    [
        (np.zeros(3), np.ones(3)),
        (np.zeros(3), np.ones(4)),
        (np.zeros((2, 2)), np.ones((2, 2))),
        (np.zeros((2, 2)), np.ones((2, 3))),
        (np.zeros((1, 2)), np.ones(2)),
        (np.zeros(0), np.zeros(0)),
        (np.zeros((0, 3)), np.zeros((2, 0))),
        (np.zeros((2, 2, 2)), np.ones((2, 2, 2))),
        (np.array(["a", "b"]), np.array(["c", "d"])),
        (np.zeros(2), [1, 2]),
        (np.zeros((2, 2)), 5),
    ],
    ids=lambda values: "-".join(str(np.shape(value)) for value in values),
)
def test_arrays_stay_arrays_of_their_shape(column_of, values):
    found = column_of(*values)
    assert found.dtype == "object"
    for one, value in zip(found, values, strict=True):
        assert type(one) is type(value)
        assert np.shape(one) == np.shape(value)
        assert np.array_equal(one, value)


@both
def test_a_single_array_is_one_cell(column_of):
    for value in (np.zeros(3), np.zeros((2, 2)), np.zeros(1)):
        (found,) = column_of(value)
        assert np.shape(found) == value.shape


@both
def test_frames_and_series_stay_what_they_are(column_of):
    frames = (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1, 2]}))
    for one, value in zip(column_of(*frames), frames, strict=True):
        pd.testing.assert_frame_equal(one, value)
    series = (pd.Series([1, 2]), pd.Series([1, 2]))
    for one, value in zip(column_of(*series), series, strict=True):
        pd.testing.assert_series_equal(one, value)


@both
def test_none_beside_texts_is_nothing(column_of):
    found = column_of("a", None)
    assert found[0] == "a"
    assert pd.isna(found[1])


def test_cells_in_which_nothing_was_recorded_are_nan():
    research = (
        Research()
        .save(E().iteration, "all")
        .save(5, "last", when="last")
        .save([1], "list", when="#1")
    )
    research = research.add_callable("word", lambda: "text", save_to="word", when="#0")
    frame = table(research, n_iters=2)
    assert frame["all"].dtype == "int64"
    assert frame["last"].dtype == "float64"
    assert rows(frame, "all", "last", "list", "word") == [
        (0, None, None, "text"),
        (1, 5.0, [1], None),
    ]
    assert frame[["last", "word", "list"]].isna().to_numpy().tolist() == [
        [True, False, True],
        [False, True, False],
    ]


def test_parameters_that_a_config_has_not_are_nan():
    frame = table(Research(domain=Option("a", [1, 2]) + Option("b", ["x"])).save(1, "one"))
    assert frame.a.dtype == "float64"
    assert rows(frame, "a", "b") == [(1, None), (2, None), (None, "x")]


def test_a_recorded_none_has_a_row_of_its_own():
    research = Research().save(None, "nothing")
    assert rows(table(research), "iteration", "nothing") == [(0, None)]
    assert rows(research.results.to_df(pivot=False), "name", "value") == [("nothing", None)]


def test_large_integers_keep_every_digit():
    assert list(recorded(2**60 + 1, 1)) == [2**60 + 1, 1]


@pytest.mark.parametrize(
    "values",
    [
        (2**60 + 1, None),
        (np.int64(2**60 + 1), 0.5),
        (np.longdouble(1) / 3, None),
        (np.longdouble(1) / 3,) * 2,
    ],
)
def test_numbers_that_no_float_holds_stay_exact_whatever_is_beside_them(values):
    assert list(recorded(*values)) == list(values)


def test_the_long_form_keeps_the_types_of_values():
    research = (
        Research()
        .save(1, "a")
        .add_callable("b", lambda: "x", save_to="b")
        .save([1], "c")
        .run(bar=False, dump_results=False)
    )
    frame = research.results.to_df(pivot=False)
    assert list(frame.value) == [1, "x", [1]]
    assert [type(value) for value in frame.value] == [int, str, list]
    assert research.results.to_df(pivot=False, name="a").value.dtype == "int64"


def test_iterations_and_ids_have_their_types():
    frame = table(Research().save(1, "one"))
    assert frame.iteration.dtype == "int64"
    assert types.is_string_dtype(frame.id)


# rows and columns that are empty


def test_declared_variables_are_columns_when_nothing_was_recorded():
    research = (
        Research(domain=Option("x", [1])).save(1, "never", when="#9").save(2, ["a", "b"], when="#9")
    )
    frame = table(research)
    assert list(frame.columns) == ["id", "x", "iteration", "never", "a", "b"]
    assert len(frame) == 0


def test_a_declared_variable_is_a_column_of_nan_beside_others():
    frame = table(
        Research(domain=Option("x", [1, 2])).save(1, "never", when="#9").save(EC("x"), "seen")
    )
    assert rows(frame, "never", "seen") == [(None, 1), (None, 2)]


def test_an_iteration_in_which_nothing_was_recorded_has_no_row():
    assert column(Research().save(E().iteration, "i", when=2), "iteration", n_iters=5) == [1, 3]


def test_results_without_rows_have_the_columns_and_types_of_others():
    research = (
        Research(domain=Option("x", [1, 2]))
        .save(EC("x"), "seen")
        .run(bar=False, dump_results=False)
    )
    full, empty = research.results.df, research.results.to_df(x=[])
    assert list(empty.columns) == list(full.columns)
    assert len(empty) == 0
    assert empty.iteration.dtype == full.iteration.dtype
    assert empty.id.dtype == full.id.dtype
    assert len(pd.concat([empty, full])) == 2


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pivot": False},
        {"use_alias": True},
        {"concat_config": True},
        {"remove_auxilary": False},
        {"name": "seen"},
    ],
    ids=str,
)
def test_results_of_failed_experiments_alone_are_an_empty_table(options):
    research = (
        Research(domain=Option("x", [1]))
        .add_callable("f", lambda: 1 / 0, save_to="seen")
        .run(bar=False, dump_results=False)
    )
    frame = research.results.to_df(**options)
    assert len(frame) == 0
    assert list(frame.columns) == list(_one_row().to_df(**options).columns)


def _one_row():
    return (
        Research(domain=Option("x", [1])).save(1, "seen").run(bar=False, dump_results=False).results
    )


def test_a_research_without_variables_has_an_empty_table():
    research = Research(domain=Option("x", [1, 2])).add_callable("f", lambda: 5)
    frame = table(research)
    assert list(frame.columns) == ["id", "x", "iteration"]
    assert len(frame) == 0
    assert list(research.results.configs_to_df().x) == [1, 2]


def test_columns_that_units_record_by_themselves_stand_behind_the_declared():
    def measure(storage, x):
        storage.update_variable(f"loss_{x}", x)

    research = Research(domain=Option("x", [1, 2])).measure(S(), EC("x")).save(0, "zero")
    frame = table(research)
    assert list(frame.columns) == ["id", "x", "iteration", "zero", "loss_1", "loss_2"]
    assert rows(frame, "loss_1", "loss_2") == [(1, None), (None, 2)]


# configs_to_df


def test_configs_to_df_has_a_row_for_each_experiment(results):
    frame = results.configs_to_df()
    assert list(frame.columns) == ["id", "layout", "x"]
    assert rows(frame, "layout", "x") == CONFIGS * 2
    assert list(frame.id) == list(results.df.id.unique())


def test_configs_to_df_takes_the_options_of_the_table(results):
    frame = results.configs_to_df(use_alias=True, remove_auxilary=False)
    assert list(frame.columns) == ["id", "layout", "x", "repetition", "updates"]
    assert rows(frame, "layout", "x", "repetition")[5] == ("small", "4", "1")
    assert list(results.configs_to_df(concat_config=True).columns) == ["id", "config"]
    assert results.configs_to_df(concat_config=True).config[0] == "layout_small-x_3"
    frame = results.configs_to_df(concat_config=True, drop_columns=False)
    assert list(frame.columns) == ["id", "config", "layout", "x"]


def test_configs_to_df_of_samples_has_what_units_saw():
    research = Research(domain=Option("s", NumpySampler("n")), n_configs=5).save(EC("s"), "seen")
    assert column(research, "seen") == list(research.results.configs_to_df().s)


def test_the_length_of_results_counts_finished_experiments(results):
    assert len(results) == 8


# while a run goes on


class Gate:
    """Holds back experiments until they are let through."""

    def __init__(self):
        self.opened = threading.Event()
        self.reached = threading.Event()

    def wait(self, x):
        if x == 2:
            self.reached.set()
            assert self.opened.wait(DEADLINE_S)
        return x


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


def gated(gate, values=(0, 1, 2, 3)):
    return Research(domain=Option("x", list(values))).add_callable(
        "wait", gate.wait, args=[EC("x")], save_to="seen"
    )


def test_a_detached_run_returns_at_once_and_its_results_are_live(gate):
    research = gated(gate)
    assert research.run(detach=True, bar=False, dump_results=False) is research
    assert gate.reached.wait(DEADLINE_S)
    wait_for(lambda: len(research.results) == 2)
    assert list(research.results.df.seen) == [0, 1]
    assert list(research.results.configs_to_df().x) == [0, 1]
    assert len(research.results.failures) == 0
    assert research.monitor.n_finished == 2
    assert not research.is_finished
    gate.opened.set()
    assert research.wait(DEADLINE_S)
    assert research.is_finished
    assert list(research.results.df.seen) == [0, 1, 2, 3]


def test_wait_with_a_timeout_says_whether_the_run_has_ended(gate):
    research = gated(gate).run(detach=True, bar=False, dump_results=False)
    assert gate.reached.wait(DEADLINE_S)
    assert research.wait(0.01) is False
    gate.opened.set()
    assert research.wait(DEADLINE_S) is True
    assert research.wait(0) is True
    assert research.wait() is True


def test_results_taken_early_grow_with_the_run(gate):
    research = gated(gate).run(detach=True, bar=False, dump_results=False)
    results = research.results
    wait_for(lambda: len(results) == 2)
    gate.opened.set()
    research.wait(DEADLINE_S)
    assert list(results.df.seen) == [0, 1, 2, 3]


def test_failures_are_seen_while_the_run_goes_on(gate):
    research = (
        gated(gate)
        .add_callable("check", lambda x: 1 / x, args=[EC("x")])
        .run(detach=True, bar=False, dump_results=False)
    )
    wait_for(lambda: len(research.results) == 2)
    assert list(research.results.failures.unit) == ["check"]
    assert list(research.monitor.exceptions.unit) == ["check"]
    assert research.monitor.n_failed == 1


def test_terminate_begins_no_further_experiment_and_those_that_run_end(gate):
    research = gated(gate, values=range(100)).run(detach=True, bar=False, dump_results=False)
    assert gate.reached.wait(DEADLINE_S)
    research.terminate()
    gate.opened.set()
    assert research.wait(DEADLINE_S)
    assert list(research.results.df.seen) == [0, 1, 2]


def test_terminate_ends_an_endless_research():
    research = (
        Research(domain=Option("s", NumpySampler("n")))
        .save(EC("s"), "seen")
        .update_domain(lambda: None, when=10)
    )
    research.run(detach=True, bar=False, dump_results=False)
    wait_for(lambda: len(research.results) > 20)
    research.terminate()
    assert research.wait(DEADLINE_S)
    n_finished = len(research.results)
    assert len(research.results.df) == n_finished > 20


def test_terminate_after_the_end_is_without_effect():
    research = Research().save(1, "one").run(bar=False, dump_results=False)
    research.terminate()
    assert research.wait(0)
    assert list(research.results.df.one) == [1]


def test_a_detached_run_on_threads_is_live(gate):
    research = gated(gate).run(
        detach=True, bar=False, dump_results=False, scheduler="threads", workers=2
    )
    wait_for(lambda: len(research.results) == 3)
    assert list(research.results.df.seen) == [0, 1, 3]
    gate.opened.set()
    assert research.wait(DEADLINE_S)
    assert list(research.results.df.seen) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_detached_run_on_workers_is_live(tmp_path):
    def work(x):
        note(tmp_path / "begun", x)
        if x == 0:
            wait_for((tmp_path / "open").exists)
        return x

    research = Research(domain=Option("x", [0, 1, 2, 3])).work(EC("x"), save_to="seen")
    research.run(detach=True, workers=2, bar=False, dump_results=False)
    wait_for(lambda: len(research.results) == 3)
    assert list(research.results.df.seen) == [1, 2, 3]
    assert research.wait(0.01) is False
    (tmp_path / "open").touch()
    assert research.wait(DEADLINE_S)
    assert list(research.results.df.seen) == [0, 1, 2, 3]


@pytest.mark.slow
def test_terminate_ends_a_run_on_workers(tmp_path):
    def work(x):
        note(tmp_path / "begun", x)
        if x < 2:
            wait_for((tmp_path / "open").exists)
        return x

    research = Research(domain=Option("x", list(range(1000)))).work(EC("x"), save_to="seen")
    research.run(detach=True, workers=2, bar=False, dump_results=False)
    wait_for(lambda: bool(noted(tmp_path / "begun")))
    research.terminate()
    (tmp_path / "open").touch()
    assert research.wait(DEADLINE_S)
    assert 0 < len(research.results.df) < 1000


def test_a_unit_that_is_refused_is_refused_before_a_run_is_detached():
    with pytest.raises(ValueError, match=saying("'nothing'")):
        Research().save(O("nothing"), "v").run(detach=True, bar=False, dump_results=False)


def test_tables_may_be_read_by_many_threads_while_a_run_goes_on():
    research = (
        Research(domain=Option("x", list(range(3000)))).save(EC("x"), "seen").save(EC("x"), "again")
    )
    research.run(detach=True, bar=False, dump_results=False)
    wrong = []

    def read():
        while not research.is_finished:
            frame = research.results.df
            if list(frame.x) != list(frame.seen) or list(frame.seen) != list(range(len(frame))):
                wrong.append(frame)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    assert research.wait(DEADLINE_S)
    for reader in readers:
        reader.join(DEADLINE_S)
    assert wrong == []


# order of rows


def test_rows_stand_in_domain_order_although_threads_end_in_another():
    turn = threading.Event()
    ended = []

    def work(x):
        if x == 0:
            assert turn.wait(DEADLINE_S)
        ended.append(x)
        turn.set()
        return x

    research = Research(domain=Option("x", [0, 1, 2])).work(EC("x"), save_to="seen")
    frame = table(research, **THREADS)
    assert ended[0] != 0
    assert rows(frame, "x", "seen") == [(0, 0), (1, 1), (2, 2)]
    assert list(research.results.configs_to_df().x) == [0, 1, 2]
    assert list(research.results.to_df(pivot=False, name="seen").value) == [0, 1, 2]


def test_rows_stand_in_domain_order_although_workers_end_in_another(tmp_path):
    def work(x):
        if x == 0:
            wait_for(lambda: noted(tmp_path / "ended"))
        note(tmp_path / "ended", x)
        return x

    research = Research(domain=Option("x", [0, 1])).work(EC("x"), save_to="seen")
    assert rows(table(research, **TWO_WORKERS), "x", "seen") == [(0, 0), (1, 1)]
    assert (tmp_path / "ended").read_text().split() == ["1", "0"]


@pytest.mark.parametrize("place", [THREADS, TWO_WORKERS], ids=["threads", "two workers"])
def test_tables_are_the_same_wherever_experiments_run(place):
    experiment = (
        Experiment()
        .add_generator(range, args=[EC("x")], save_to="i")
        .save(E().random.normal(), "drawn")
    )
    research = Research(domain=Option("x", list(range(30))), experiment=experiment, n_reps=2)
    here = table(research, seed=1)
    pd.testing.assert_frame_equal(table(research, seed=1, **place), here)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3),
        np.zeros((2, 2)),
        [1, "a"],
        {"k": (1,)},
        None,
        len,
        pd.Timestamp("2020-01-01"),
        2**70,
        "é",
        Model,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_come_back_from_workers_as_they_are(value):
    research = Research(domain=Option("x", [1])).add_callable("f", lambda: value, save_to="value")
    (found,) = column(research, "value", **TWO_WORKERS)
    assert type(found) is type(value)
    assert (
        np.array_equal(found, value)
        if isinstance(value, np.ndarray)
        else repr(found) == repr(value)
    )
