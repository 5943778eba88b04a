"""Iterations, exhaustion, failures, groups and roots, as results show them."""

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pandas as pd
import pytest

from daskresearch import EC, Domain, E, O, Option, Research
from tests.support.running import (
    DEADLINE_S,
    column,
    failures_of,
    note,
    noted,
    places,
    rows,
    saying,
    table,
)

X = Option("x", [1, 2, 3])


class BrokenError(Exception):
    """What units raise on purpose."""


def same(value):
    return value


def up_to(n):
    yield from range(n)


def fail_if(condition, value=None):
    if condition:
        raise BrokenError(f"value {value}")
    return value


def failing_at(i, n=10):
    """Yield numbers, and raise in the place of number i."""
    for number in range(n):
        yield fail_if(number == i, number)


# iterations


def test_callables_alone_run_one_iteration():
    assert column(Research().save(E().iteration, "i"), "i") == [0]


def test_n_iters_says_how_many_iterations_there_are():
    frame = table(Research(domain=X).save(E().iteration, "i"), n_iters=3)
    assert rows(frame, "x", "iteration", "i") == [(x, i, i) for x in (1, 2, 3) for i in range(3)]


def test_a_generator_runs_until_it_is_exhausted():
    research = Research(domain=X).add_generator(up_to, args=[EC("x")], save_to="item")
    assert rows(table(research), "x", "iteration", "item") == [
        (1, 0, 0), (1, 1, 0), (2, 0, 0), (2, 1, 1), (2, 2, 1), (3, 0, 0), (3, 1, 1), (3, 2, 2),
        (3, 3, 2),
    ]  # fmt: skip


def test_n_iters_ends_a_generator_before_it_is_exhausted():
    research = Research().add_generator(up_to, args=[10], save_to="item").save(E().last, "last")
    assert rows(table(research, n_iters=2), "item", "last") == [(0, False), (1, True)]


def test_n_iters_equal_to_the_length_of_a_generator_meets_no_exhaustion():
    research = Research().add_generator(up_to, args=[2], save_to="item")
    assert column(research, "item", n_iters=2) == [0, 1]


def test_a_generator_that_is_exhausted_before_n_iters_ends_the_experiment():
    research = Research().add_generator(up_to, args=[2], save_to="item")
    assert column(research, "item", n_iters=10) == [0, 1, 1]


def test_the_shortest_generator_ends_the_experiment():
    research = Research().add_generator(up_to, args=[3], save_to="long")
    research = research.add_generator("short", up_to, args=[1], save_to="short")
    assert rows(table(research), "long", "short") == [(0, 0), (1, 0)]


def test_any_iterable_may_be_what_a_generator_function_returns():
    research = Research().add_generator("list", lambda: ["a", "b"], save_to="item")
    assert column(research, "item") == ["a", "b", "b"]


def test_an_endless_generator_runs_as_long_as_n_iters_says():
    def count():
        i = 0
        while True:
            yield i
            i += 1

    assert column(Research().count(mode="generator", save_to="i"), "i", n_iters=3) == [0, 1, 2]


def test_each_experiment_has_a_generator_of_its_own():
    research = Research(domain=Option("x", [10, 20])).add_generator(
        "g", lambda x: iter([x, x + 1]), args=[EC("x")], save_to="i"
    )
    assert column(research, "i", n_iters=2) == [10, 11, 20, 21]


def test_none_is_an_item_like_any_other():
    research = (
        Research().add_generator("g", lambda: iter([None, 1, None]), save_to="item").save(1, "one")
    )
    assert rows(table(research), "iteration", "item", "one") == [
        (0, None, 1),
        (1, 1, 1),
        (2, None, 1),
        (3, None, 1),
    ]


# exhaustion


def around_a_generator(length=2):
    research = Research().save(E().iteration, "before").save(True, "last_before", when="last")
    research = research.add_generator(up_to, args=[length], save_to="item")
    return (
        research.save(E().iteration, "after")
        .save(True, "last_after", when="last")
        .save(O("up_to"), "used")
    )


COLUMNS = ("iteration", "before", "last_before", "item", "after", "last_after", "used")


def test_with_finalize_the_iteration_of_exhaustion_goes_on_to_the_end_of_the_plan():
    assert rows(table(around_a_generator()), *COLUMNS) == [
        (0, 0, None, 0, 0, None, 0),
        (1, 1, None, 1, 1, None, 1),
        (2, 2, None, 1, 2, True, 1),
    ]


def test_without_finalize_units_after_an_exhausted_generator_do_not_run():
    assert rows(table(around_a_generator(), finalize=False), *COLUMNS) == [
        (0, 0, None, 0, 0, None, 0),
        (1, 1, None, 1, 1, None, 1),
        (2, 2, None, 1, None, None, None),
    ]


@pytest.mark.parametrize("finalize", [True, False])
def test_when_n_iters_ends_the_experiment_last_has_its_turn_everywhere(finalize):
    assert rows(table(around_a_generator(), n_iters=2, finalize=finalize), *COLUMNS) == [
        (0, 0, None, 0, 0, None, 0),
        (1, 1, True, 1, 1, True, 1),
    ]


def test_an_empty_generator_records_nothing_and_what_uses_it_is_skipped():
    research = around_a_generator(length=0)
    assert rows(table(research), *COLUMNS) == [(0, 0, None, None, 0, True, None)]
    assert failures_of(research) == []
    assert research.monitor.n_failed == 0


def test_an_empty_generator_without_finalize_ends_the_experiment_at_once():
    research = around_a_generator(length=0)
    assert rows(table(research, finalize=False), *COLUMNS) == [(0, 0, None, None, None, None, None)]
    assert failures_of(research) == []


def test_an_experiment_of_an_empty_generator_alone_has_no_row():
    research = Research(domain=Option("x", [0, 1])).add_generator(
        up_to, args=[EC("x")], save_to="item"
    )
    assert rows(table(research), "x", "item") == [(1, 0), (1, 0)]
    assert list(research.results.configs_to_df().x) == [0, 1]
    assert failures_of(research) == []


def test_the_last_item_stays_the_output_of_an_exhausted_generator():
    research = Research().add_generator(up_to, args=[2]).save(O("up_to"), "seen")
    assert column(research, "seen") == [0, 1, 1]


def test_generators_are_closed_when_their_experiment_ends():
    closed = []

    def watched(n):
        try:
            yield from range(n)
        finally:
            closed.append(n)

    research = Research(domain=Option("x", [10, 20])).watched(EC("x"), mode="generator")
    research.run(n_iters=2, bar=False, dump_results=False)
    assert closed == [10, 20]


# failures


def test_a_failed_unit_records_nothing_and_every_other_experiment_goes_on():
    research = Research(domain=X).add_callable(
        fail_if, args=[EC("x") == 2, EC("x")], save_to="value"
    )
    research = research.save(EC("x"), "seen")
    assert rows(table(research), "x", "value", "seen") == [(1, 1, 1), (2, None, 2), (3, 3, 3)]
    assert failures_of(research) == [("fail_if", 0)]


def test_the_iteration_of_a_failure_is_the_last():
    research = Research().add_callable(
        fail_if, args=[E().iteration == 1, E().iteration], save_to="value"
    )
    research = research.save(E().last, "last")
    assert rows(table(research, n_iters=5), "iteration", "value", "last") == [
        (0, 0, False),
        (1, None, True),
    ]


def test_units_that_use_a_failed_output_are_skipped_transitively():
    research = Research(domain=X).add_callable("a", same, args=[EC("x")], save_to="a")
    research = research.add_callable("b", fail_if, args=[EC("x") == 2, O("a")], save_to="b")
    research = research.add_callable("c", same, args=[[O("b")]], save_to="c")
    research = research.add_callable("d", same, kwargs={"value": {"k": O("c")}}, save_to="d")
    research = research.save(E("d").output, "saved").add_callable(
        "e", same, args=[EC("x")], save_to="e", when="last"
    )
    assert rows(table(research), "a", "b", "c", "d", "saved", "e") == [
        (1, 1, [1], {"k": [1]}, {"k": [1]}, 1),
        (2, None, None, None, None, 2),
        (3, 3, [3], {"k": [3]}, {"k": [3]}, 3),
    ]


def test_skipped_units_are_no_failures():
    research = Research(domain=X).add_callable("b", fail_if, args=[EC("x") == 2, 0])
    research = research.add_callable("c", same, args=[O("b")]).run(bar=False, dump_results=False)
    assert failures_of(research) == [("b", 0)]
    assert research.monitor.n_failed == 1


def test_a_unit_that_uses_a_failed_output_is_skipped_although_it_has_an_older_one():
    research = Research().add_callable("b", fail_if, args=[E().iteration == 1, E().iteration])
    research = research.save(O("b"), "seen").save(E().iteration, "i")
    assert rows(table(research, n_iters=3), "i", "seen") == [(0, 0), (1, None)]


def test_methods_of_an_instance_whose_method_failed_go_on():
    class Net:
        def fit(self):
            raise BrokenError("fit")

        def size(self):
            return 8

    research = (
        Research()
        .add_instance("net", Net)
        .add_callable("net.fit")
        .add_callable("net.size", save_to="size")
    )
    assert column(research, "size") == [8]
    assert failures_of(research) == [("net.fit", 0)]


def test_without_finalize_a_failure_ends_the_experiment_at_once():
    research = Research(domain=X).save(EC("x"), "before").add_callable(fail_if, args=[EC("x") == 2])
    research = research.save(EC("x"), "after")
    assert rows(table(research, finalize=False), "before", "after") == [(1, 1), (2, None), (3, 3)]


def test_two_units_of_one_experiment_may_fail():
    research = (
        Research().add_callable("a", fail_if, args=[True]).add_callable("b", fail_if, args=[True])
    )
    research.run(bar=False, dump_results=False)
    assert failures_of(research) == [("a", 0), ("b", 0)]
    assert research.monitor.n_failed == 1


def test_a_generator_that_raises_keeps_what_it_recorded_before():
    research = (
        Research().add_generator(failing_at, args=[2], save_to="item").save(E().iteration, "i")
    )
    assert rows(table(research), "i", "item") == [(0, 0), (1, 1), (2, None)]
    assert failures_of(research) == [("failing_at", 2)]


def test_a_generator_function_that_cannot_be_called_fails_in_its_first_turn():
    research = Research().add_generator(up_to, wrong=1).run(bar=False, dump_results=False)
    assert failures_of(research) == [("up_to", 0)]
    assert isinstance(research.results.failures.exception[0], TypeError)


def test_what_is_no_iterable_is_a_failure_of_the_generator():
    research = Research().add_generator("g", lambda: 5).run(bar=False, dump_results=False)
    assert failures_of(research) == [("g", 0)]
    assert "not iterable" in str(research.results.failures.exception[0])


def test_an_argument_that_cannot_be_evaluated_is_a_failure_of_its_unit():
    research = Research(domain=X).add_callable("f", same, args=[10 / (EC("x") - 2)], save_to="f")
    assert rows(table(research), "x", "f") == [(1, -10.0), (3, 10.0)]
    assert failures_of(research) == [("f", 0)]
    assert isinstance(research.results.failures.exception[0], ZeroDivisionError)


@places
def test_failures_have_id_unit_iteration_exception_and_traceback(place):
    research = Research(domain=X).save(EC("x"), "seen")
    research = research.add_callable(
        "check", fail_if, args=[(EC("x") == 2) & (E().iteration == 1), EC("x")]
    )
    frame = table(research, n_iters=3, **place)
    failures = research.results.failures
    assert list(failures.columns) == [
        "id",
        "unit",
        "iteration",
        "exception",
        "traceback",
        "kind",
        "worker",
    ]
    assert list(failures.id) == list(frame[frame.x == 2].id.unique())
    assert list(failures.unit) == ["check"]
    assert list(failures.iteration) == [1]
    (exception,) = failures.exception
    assert type(exception).__name__ == "BrokenError"
    assert exception.args == ("value 2",)
    (text,) = failures.traceback
    assert "Traceback" in text
    assert "in fail_if" in text
    assert text.rstrip().endswith("BrokenError: value 2")


def test_without_failures_the_table_of_failures_is_empty_with_the_same_columns():
    failures = Research().save(1, "one").run(bar=False, dump_results=False).results.failures
    assert list(failures.columns) == [
        "id",
        "unit",
        "iteration",
        "exception",
        "traceback",
        "kind",
        "worker",
    ]
    assert len(failures) == 0
    assert failures.iteration.dtype == "int64"


@places
def test_failures_stand_in_domain_order(place):
    domain = Option("x", list(range(20)))
    research = Research(domain=domain).add_callable("f", fail_if, args=[EC("x") % 3 == 0, EC("x")])
    research.run(bar=False, dump_results=False, **place)
    found = [str(exception).split()[-1] for exception in research.results.failures.exception]
    assert found == [str(x) for x in range(0, 20, 3)]


def test_monitor_exceptions_are_the_failures():
    research = (
        Research(domain=X)
        .add_callable(fail_if, args=[EC("x") > 1])
        .run(bar=False, dump_results=False)
    )
    pd.testing.assert_frame_equal(research.monitor.exceptions, research.results.failures)
    assert research.monitor.n_finished == 3
    assert research.monitor.n_failed == 2


@pytest.mark.usefixtures("few_objects")
def test_failures_hold_no_values_of_the_units_that_failed():
    class Batch:
        """A value that can be watched."""

    references: list[Any] = []

    def train():
        batch = Batch()
        references.append(weakref.ref(batch))
        raise BrokenError("after the batch was made")

    research = Research(domain=X).train().run(bar=False, dump_results=False)
    gc.collect()
    assert failures_of(research) == [("train", 0)] * 3
    assert [reference() for reference in references] == [None] * 3


def test_failed_experiments_are_among_the_configs():
    research = (
        Research(domain=X)
        .add_callable(fail_if, args=[EC("x") > 1], save_to="v")
        .run(bar=False, dump_results=False)
    )
    assert list(research.results.configs_to_df().x) == [1, 2, 3]
    assert list(research.results.df.x) == [1]


@places
def test_system_exit_in_a_unit_is_a_failure_like_any_other(place):
    def leave(x):
        if x == 2:
            raise SystemExit(3)
        return x

    research = Research(domain=X).leave(EC("x"), save_to="left")
    assert column(research, "left", **place) == [1, 3]
    (exception,) = research.results.failures.exception
    assert isinstance(exception, SystemExit)
    assert exception.args == (3,)


def test_stop_iteration_in_a_callable_is_a_failure_and_no_exhaustion():
    research = (
        Research(domain=X)
        .add_callable("next", next, args=[iter([])], save_to="item")
        .run(bar=False, dump_results=False)
    )
    assert failures_of(research) == [("next", 0)] * 3
    assert {type(exception) for exception in research.results.failures.exception} == {StopIteration}


def test_stop_iteration_in_a_generator_argument_is_a_failure_and_no_exhaustion():
    def empty():
        raise StopIteration

    research = (
        Research().add_generator("g", empty, save_to="item").run(bar=False, dump_results=False)
    )
    assert failures_of(research) == [("g", 0)]


def test_an_interrupt_in_a_unit_ends_the_run_and_leaves_what_is_finished():
    def interrupt(x):
        if x == 3:
            raise KeyboardInterrupt("by hand")
        return x

    research = Research(domain=X).interrupt(EC("x"), save_to="seen")
    with pytest.raises(KeyboardInterrupt, match="by hand"):
        research.run(bar=False, dump_results=False)
    assert list(research.results.df.seen) == [1, 2]
    assert research.is_finished


# debug


@places
def test_debug_raises_the_original_exception_at_once(place, tmp_path):
    def work(x):
        note(tmp_path / "calls", x)
        if x == 1:
            raise KeyError("the original")
        return x

    research = Research(domain=Option("x", list(range(1, 2000)))).work(EC("x"))
    with pytest.raises(KeyError, match="the original"):
        research.run(debug=True, bar=False, dump_results=False, **place)
    assert len(noted(tmp_path / "calls")) < 1999


def test_debug_shows_the_users_line():
    research = Research().add_callable(fail_if, args=[True, 5])
    with pytest.raises(BrokenError, match="value 5") as raised:
        research.run(debug=True, bar=False, dump_results=False)
    assert raised.traceback[-1].name == "fail_if"


def test_debug_leaves_what_is_finished_readable():
    research = Research(domain=X).add_callable(fail_if, args=[EC("x") == 3, EC("x")], save_to="v")
    with pytest.raises(BrokenError, match="value 3"):
        research.run(debug=True, bar=False, dump_results=False)
    assert list(research.results.df.v) == [1, 2]
    assert research.is_finished


@pytest.mark.parametrize(
    "options", [{}, {"n_iters": 2, "executor_target": "for"}, {"n_iters": 2}], ids=str
)
def test_debug_raises_the_exception_of_a_root_at_once(options):
    research = Research(domain=X).add_callable(
        "load", fail_if, args=[True, E().iteration], root=True
    )
    with pytest.raises(BrokenError, match="value 0"):
        research.run(debug=True, bar=False, dump_results=False, **options)


def test_debug_raises_in_groups_too():
    research = Research(domain=X).add_generator("items", up_to, args=[3], root=True)
    research = research.add_callable("check", fail_if, args=[EC("x") == 2, EC("x")])
    for target in ("threads", "for"):
        with pytest.raises(BrokenError, match="value 2"):
            research.run(debug=True, executor_target=target, bar=False, dump_results=False)


def test_debug_raises_what_a_detached_run_met_when_one_waits():
    research = (
        Research()
        .add_callable(fail_if, args=[True, 5])
        .run(debug=True, detach=True, bar=False, dump_results=False)
    )
    with pytest.raises(BrokenError, match="value 5"):
        research.wait(DEADLINE_S)


def test_without_exceptions_debug_changes_nothing():
    research = Research(domain=X).save(EC("x"), "seen")
    assert column(research, "seen", debug=True) == [1, 2, 3]


# roots that are steady: called once for each distinct input


@places
def test_a_root_without_inputs_is_called_once_for_all(place, tmp_path):
    def load(path):
        note(path, "load")
        return 10

    research = Research(domain=X, n_reps=2).load(tmp_path / "calls", root=True, save_to="loaded")
    frame = table(research.save(O("load") + EC("x"), "sum"), n_iters=2, **place)
    assert noted(tmp_path / "calls") == ["load"]
    assert list(frame["sum"]) == [11, 11, 12, 12, 13, 13] * 2
    assert list(frame.loaded) == [10] * 12


@places
@pytest.mark.parametrize("branches", [None, 1, 2, 4])
def test_a_root_that_reads_config_is_called_once_for_each_distinct_value(place, branches, tmp_path):
    def load(path, a):
        note(path, a)
        return 10 * a

    domain = Option("a", [1, 2]) * Option("b", [3, 4, 5])
    research = Research(domain=domain).load(tmp_path / "calls", EC("a"), root=True)
    frame = table(research.save(O("load") + EC("b"), "sum"), branches=branches, **place)
    assert noted(tmp_path / "calls") == ["1", "2"]
    assert list(frame["sum"]) == [13, 14, 15, 23, 24, 25]


def counted(research_of, **options):
    """Return the arguments of a root's calls, and the column ``out`` of the run."""
    calls: list[Any] = []

    def load(*args):
        calls.append(args)
        return args

    research = research_of(load)
    return calls, column(research.save(O("load"), "out"), "out", **options)


def test_a_root_that_reads_the_whole_config_is_called_once_for_each_config():
    domain = Option("a", [1, 2]) * Option("b", [3, 3])
    calls, _ = counted(lambda load: Research(domain=domain, n_reps=2).load(EC(), root=True))
    assert calls == [({"a": 1, "b": 3},), ({"a": 2, "b": 3},)]


def test_a_root_that_reads_the_repetition_is_called_once_for_each():
    calls, out = counted(
        lambda load: Research(domain=X, n_reps=2).load(EC("repetition"), root=True)
    )
    assert calls == [(0,), (1,)]
    assert out == [(0,)] * 3 + [(1,)] * 3


def test_a_root_of_a_root_follows_its_values():
    calls: list[Any] = []

    def load(a):
        calls.append(("load", a))
        return 10 * a

    def split(loaded, by):
        calls.append(("split", loaded, by))
        return loaded + by

    domain = Option("a", [1, 2]) * Option("b", [3, 4]) * Option("c", [5, 6])
    research = (
        Research(domain=domain)
        .load(EC("a"), root=True)
        .split(O("load"), EC("b"), root=True, save_to="split")
    )
    assert column(research, "split") == [13, 13, 14, 14, 23, 23, 24, 24]
    assert calls == [
        ("load", 1),
        ("split", 10, 3),
        ("split", 10, 4),
        ("load", 2),
        ("split", 20, 3),
        ("split", 20, 4),
    ]


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, True],
        [0.0, -0.0],
        ["1", 1],
        [None, 0],
        [(1,), (2,)],
        [b"a", "a"],
        [1, 2**70],
        [len, max],
    ],
    ids=str,
)
def test_a_root_tells_values_of_the_config_apart(values):
    calls, out = counted(lambda load: Research(domain=Option("a", values)).load(EC("a"), root=True))
    assert [repr(one) for (one,) in calls] == [repr(value) for value in values]
    assert [repr(one) for (one,) in out] == [repr(value) for value in values]


@pytest.mark.parametrize("value", [5, "a", (1, [2]), [1, 2], len, 2.5, None], ids=str)
def test_a_root_is_called_once_for_experiments_with_the_same_value(value):
    domain = Option("a", [value]) * Option("b", [1, 2])
    calls, out = counted(lambda load: Research(domain=domain, n_reps=2).load(EC("a"), root=True))
    assert calls == [(value,)]
    assert out == [(value,)] * 4


def test_roots_of_equal_configs_that_stand_apart_are_called_once():
    domain = (
        Option("a", [1]) * Option("b", [1]) + Option("a", [2]) + Option("a", [1]) * Option("b", [2])
    )
    calls, _ = counted(lambda load: Research(domain=domain).load(EC("a"), root=True))
    assert calls == [(1,), (2,)]


def test_a_failed_root_is_called_once_and_fails_each_experiment_that_shares_it():
    calls: list[Any] = []

    def load(a):
        calls.append(a)
        return fail_if(a == 1, a)

    domain = Option("a", [1, 2]) * Option("b", [3, 4])
    research = (
        Research(domain=domain).load(EC("a"), root=True, save_to="loaded").save(O("load"), "used")
    )
    research = research.save(EC("b"), "other")
    assert rows(table(research), "a", "b", "loaded", "used", "other") == [
        (1, 3, None, None, 3), (1, 4, None, None, 4), (2, 3, 2, 2, 3), (2, 4, 2, 2, 4),
    ]  # fmt: skip
    assert calls == [1, 2]
    assert failures_of(research) == [("load", 0), ("load", 0)]
    assert list(research.results.failures.id) == list(research.results.df.id[:2])


def test_roots_of_a_failed_root_are_skipped_and_not_called():
    calls: list[Any] = []
    research = Research(domain=X).add_callable("load", fail_if, args=[True], root=True)
    research = research.add_callable("split", calls.append, args=[O("load")], root=True).run(
        bar=False, dump_results=False
    )
    assert calls == []
    assert failures_of(research) == [("load", 0)] * 3


def test_a_root_that_nobody_reaches_is_not_called():
    calls: list[Any] = []
    research = Research(domain=X).add_callable(
        "load", calls.append, args=["call"], root=True, when="#5"
    )
    research.save(1, "one").run(n_iters=2, bar=False, dump_results=False)
    assert calls == []


# what roots hand over


def arrays():
    return {"x": np.zeros(3), "parts": [np.ones(2), (np.ones(2),)]}


@places
@pytest.mark.parametrize(
    "array",
    [O("arrays")["x"], O("arrays")["parts"][0], O("arrays")["parts"][1][0]],
    ids=["dict", "list", "tuple"],
)
def test_arrays_of_a_root_are_read_only(place, array):
    def spoil(array):
        array[0] = 5

    research = Research(domain=X).arrays(root=True).spoil(array).save(array[0], "first")
    first = set(column(research, "first", **place))
    assert first in ({0.0}, {1.0})
    assert failures_of(research) == [("spoil", 0)] * 3
    assert "read-only" in str(research.results.failures.exception[0])


def test_arrays_of_a_root_in_lock_step_are_read_only():
    def spoil(array):
        array[0] = 5

    research = Research(domain=X).add_generator("g", lambda: iter([np.zeros(2)] * 2), root=True)
    research = research.spoil(O("g")).run(bar=False, dump_results=False)
    assert failures_of(research) == [("spoil", 0)] * 3


def test_the_array_that_a_root_returned_stays_writable_for_its_owner():
    mine = np.zeros(3)
    Research(domain=X).add_callable("load", lambda: mine, root=True).save(
        O("load")[0], "first"
    ).run(bar=False, dump_results=False)
    mine[0] = 5
    assert mine[0] == 5


def test_other_objects_of_a_root_belong_to_all():
    def grow(items, x):
        items.append(x)
        return list(items)

    research = (
        Research(domain=X)
        .add_callable("items", list, root=True)
        .grow(O("items"), EC("x"), save_to="grown")
    )
    assert column(research, "grown") == [[1], [1, 2], [1, 2, 3]]


@places
def test_with_copy_each_experiment_has_its_own(place):
    def change(items, array, x):
        items.append(x)
        array[0] = x
        return (list(items), float(array[0]), float(array[1]))

    research = Research(domain=X).add_callable("items", list, root=True, copy=True)
    research = research.add_callable("array", np.zeros, args=[2], root=True, copy=True)
    research = research.change(O("items"), O("array"), EC("x"), save_to="changed")
    assert column(research, "changed", **place) == [
        ([1], 1.0, 0.0),
        ([2], 2.0, 0.0),
        ([3], 3.0, 0.0),
    ]


def test_with_copy_each_member_of_a_group_has_its_own():
    def change(item, x):
        item.append(x)
        return list(item)

    research = Research(domain=X).add_generator("g", lambda: iter([[0], [1]]), root=True, copy=True)
    research = research.change(O("g"), EC("x"), save_to="changed")
    assert column(research, "changed", n_iters=2) == [
        [0, 1],
        [1, 1],
        [0, 2],
        [1, 2],
        [0, 3],
        [1, 3],
    ]


# roots in lock-step: one pass for each group

TARGETS = pytest.mark.parametrize("target", ["threads", "for"])


@TARGETS
@pytest.mark.parametrize(
    ("branches", "passes"), [(None, 1), (1, 6), (2, 3), (4, 2), (6, 1), (9, 1)]
)
def test_a_root_generator_makes_one_pass_for_each_group(target, branches, passes):
    yielded = []

    def batches(n):
        for i in range(n):
            yielded.append(i)
            yield 10 * i

    research = Research(domain=Option("x", list(range(6)))).batches(
        2, root=True, mode="generator", save_to="batch"
    )
    research = research.save(O("batches") + EC("x"), "sum")
    frame = table(research, branches=branches, executor_target=target)
    assert yielded == [0, 1] * passes
    assert rows(frame, "x", "batch", "sum") == [
        (x, batch, batch + x) for x in range(6) for batch in (0, 10, 10)
    ]  # fmt: skip


def test_groups_do_not_reach_over_repetitions():
    passes = []

    def batches():
        passes.append("pass")
        yield 1

    research = Research(domain=X, n_reps=2).batches(root=True, mode="generator", save_to="batch")
    research.run(branches=2, bar=False, dump_results=False)
    assert passes == ["pass"] * 4


@places
def test_one_pass_a_group_is_made_wherever_it_runs(place, tmp_path):
    def batches(path):
        for i in range(3):
            note(path, i)
            yield i

    research = Research(domain=Option("x", [1, 2, 3, 4])).batches(
        tmp_path / "calls", root=True, mode="generator"
    )
    research = research.save(O("batches") * EC("x"), "product")
    found = column(research, "product", branches=2, **place)
    assert noted(tmp_path / "calls") == ["0", "0", "1", "1", "2", "2"]
    assert found == [i * x for x in (1, 2, 3, 4) for i in (0, 1, 2, 2)]


@TARGETS
def test_branches_see_the_same_item_in_the_same_iteration(target):
    def batches():
        for _ in range(3):
            yield object()

    research = Research(domain=X).batches(root=True, mode="generator").save(O("batches"), "batch")
    frame = table(research, executor_target=target)
    for _, part in frame.groupby("iteration"):
        assert len({id(batch) for batch in part.batch}) == 1
    assert frame.batch.nunique() == 3


@pytest.mark.usefixtures("few_objects")
def test_items_are_held_no_longer_than_their_iteration():
    class Batch:
        """An item that can be watched."""

    alive = []
    references: list[Any] = []

    def batches():
        for _ in range(4):
            gc.collect()
            alive.append(sum(reference() is not None for reference in references))
            batch = Batch()
            references.append(weakref.ref(batch))
            yield batch
            del batch

    research = Research(domain=X).batches(root=True, mode="generator").save(1, "one")
    research.run(executor_target="for", bar=False, dump_results=False)
    assert max(alive) <= 1


@TARGETS
def test_a_root_instance_and_its_methods_keep_state_for_the_group(target):
    class Loader:
        def __init__(self):
            self.n_batches = 0

        def batch(self):
            self.n_batches += 1
            return self.n_batches

    research = Research(domain=X).add_instance("loader", Loader, root=True)
    research = research.add_callable("loader.batch", root=True, save_to="batch").save(
        E("loader").n_batches, "seen"
    )
    frame = table(research, n_iters=2, branches=2, executor_target=target)
    assert rows(frame, "x", "iteration", "batch", "seen") == [
        (x, i, i + 1, i + 1) for x in (1, 2, 3) for i in (0, 1)
    ]  # fmt: skip


def test_a_root_that_reads_the_iteration_runs_once_an_iteration_for_its_group():
    calls, out = counted(lambda load: Research(domain=X).load(E().iteration, root=True), n_iters=2)
    assert calls == [(0,), (1,)]
    assert out == [(0,), (1,)] * 3


def test_a_root_generator_that_reads_config_makes_a_pass_for_each_value_of_a_group():
    passes = []

    def batches(size):
        passes.append(size)
        yield from range(size)

    domain = Option("size", [1, 2]) * Option("b", [3, 4])
    research = Research(domain=domain).batches(
        EC("size"), root=True, mode="generator", save_to="batch"
    )
    frame = table(research)
    assert passes == [1, 2]
    assert [list(part.batch) for _, part in frame.groupby("id", sort=False)] == [
        [0, 0],
        [0, 0],
        [0, 1, 1],
        [0, 1, 1],
    ]


@TARGETS
def test_members_of_a_group_that_fail_leave_the_others_in_step(target):
    research = Research(domain=X).add_generator(up_to, args=[3], root=True, save_to="item")
    research = research.add_callable(
        "f", fail_if, args=[(EC("x") == 2) & (E().iteration == 1), EC("x")], save_to="f"
    )
    frame = table(research, executor_target=target)
    assert [list(part.item) for _, part in frame.groupby("x")] == [
        [0, 1, 2, 2],
        [0, 1],
        [0, 1, 2, 2],
    ]
    assert failures_of(research) == [("f", 1)]


@TARGETS
def test_a_root_generator_that_raises_fails_all_members_of_its_group(target):
    research = (
        Research(domain=X)
        .add_generator(failing_at, args=[1], root=True, save_to="item")
        .save(1, "one")
    )
    assert rows(table(research, executor_target=target), "x", "item", "one") == [
        (x, item, 1) for x in (1, 2, 3) for item in (0, None)
    ]  # fmt: skip
    assert failures_of(research) == [("failing_at", 1)] * 3


@TARGETS
@pytest.mark.parametrize("finalize", [True, False])
def test_exhaustion_in_a_group_is_that_of_an_experiment_alone(target, finalize):
    def plan(root):
        research = (
            Research(domain=X)
            .save(E().iteration, "before")
            .add_generator(up_to, args=[2], root=root, save_to="i")
        )
        return research.save(True, "last", when="last").save(O("up_to"), "used")

    options = {"finalize": finalize, "seed": 1}
    alone = table(plan(root=False), **options)
    pd.testing.assert_frame_equal(table(plan(root=True), executor_target=target, **options), alone)


def test_threads_run_the_members_of_a_group_at_the_same_time():
    barrier = threading.Barrier(3)
    research = Research(domain=X).add_generator(up_to, args=[2], root=True)
    research = research.add_callable("meet", lambda: barrier.wait(DEADLINE_S) >= 0, save_to="met")
    assert column(research, "met", executor_target="threads") == [True] * 9


def test_for_runs_the_members_of_a_group_in_order():
    turns = []
    research = Research(domain=X).add_generator(up_to, args=[2], root=True)
    research = research.add_callable(
        "turn", lambda i, x: turns.append((i, x)), args=[E().iteration, EC("x")]
    )
    research.run(executor_target="for", bar=False, dump_results=False)
    assert turns == [(i, x) for i in range(3) for x in (1, 2, 3)]


# branches that are configs


def test_a_list_of_branches_appends_one_config_to_each_member_of_a_group():
    research = Research(domain=Option("x", [1, 2, 3, 4, 5])).save([EC("x"), EC("side")], "seen")
    frame = table(research, branches=[{"side": "l"}, {"side": "r"}])
    assert list(frame.columns) == ["id", "x", "side", "iteration", "seen"]
    assert list(frame.seen) == [[1, "l"], [2, "r"], [3, "l"], [4, "r"], [5, "l"]]
    assert rows(frame, "x", "side") == [(1, "l"), (2, "r"), (3, "l"), (4, "r"), (5, "l")]


def test_a_list_of_branches_starts_anew_in_each_repetition():
    research = Research(domain=X, n_reps=2).save(EC("side"), "seen")
    assert column(research, "seen", branches=[{"side": "l"}, {"side": "r"}]) == ["l", "r", "l"] * 2


def test_a_list_of_branches_makes_groups_of_its_length():
    passes = []

    def batches():
        passes.append("pass")
        yield 1

    research = Research(domain=Option("x", [1, 2, 3, 4])).batches(root=True, mode="generator")
    research = research.save(EC("side"), "side_seen")
    assert column(research, "side_seen", branches=[{"side": 0}, {"side": 1}], n_iters=1) == [
        0,
        1,
        0,
        1,
    ]
    assert passes == ["pass", "pass"]


def test_configs_of_a_domain_may_be_branches():
    branches = list(Domain(side=["l", "r"]))
    research = Research(domain=Option("x", [1, 2])).save(EC("side"), "seen")
    assert column(research, "seen", branches=branches) == ["l", "r"]


def test_a_refused_group_of_branches_says_what_it_needs():
    with pytest.raises(ValueError, match=saying("branches", "0")):
        Research(domain=X).save(1, "one").run(branches=0, bar=False, dump_results=False)


@pytest.mark.cluster
@pytest.mark.parametrize("args", [[[]], [{"a": []}], [([],)]], ids=["list", "dict", "tuple"])
def test_a_call_does_not_see_what_another_did_to_its_literal_arguments(args):
    def count(value):
        values = (
            value["a"]
            if isinstance(value, dict)
            else value[0]
            if isinstance(value, tuple)
            else value
        )
        values.append(1)
        return len(values)

    research = Research(domain=Option("x", [1, 2, 3])).add_callable(count, args=args, save_to="n")
    for _ in range(2):
        assert list(research.run(bar=False, dump_results=False).results.df.n) == [1, 1, 1]
    assert list(research.run(bar=False, dump_results=False, workers=2).results.df.n) == [1, 1, 1]
