"""A domain that changes while it runs: when, with which results, and what comes after."""

import numpy as np
import pytest

from daskresearch import EC, Domain, E, NumpySampler, O, Option, R, Research
from tests.support.running import (
    DEADLINE_S,
    column,
    failures_of,
    places,
    rows,
    saying,
    table,
    wait_for,
)


def xs(*values):
    return Option("x", list(values))


def measuring(domain, **options):
    return Research(domain=domain, **options).save(EC("x"), "seen")


def watched(domain, when, answers=(), research=None, **options):
    """Run with a function that notes what it sees; return that and the final column."""
    sights = []
    replies = iter(answers)

    def look(results):
        sights.append(list(results.df.seen))
        return next(replies, None)

    research = (research or measuring(domain)).update_domain(look, when=when, results=R())
    return sights, column(research, "seen", **options)


# when


@places
@pytest.mark.parametrize(
    ("when", "n_seen"),
    [
        (1, [1, 2, 3, 4, 5, 6]),
        (2, [2, 4, 6]),
        (4, [4]),
        (7, []),
        ("#0", [1]),
        ("#3", [4]),
        ("%3", [4]),
        ("#6", []),
        ("last", [6]),
        (["#1", 3], [2, 3, 6]),
        ([4, "last"], [4, 6]),
        ([6, "#5", "last"], [6]),
    ],
    ids=str,
)
def test_the_function_is_called_after_the_experiments_that_when_counts_and_sees_exactly_these(
    place, when, n_seen
):
    sights, seen = watched(xs(0, 1, 2, 3, 4, 5), when, **place)
    assert sights == [list(range(n)) for n in n_seen]
    assert seen == [0, 1, 2, 3, 4, 5]


def test_the_default_is_last():
    calls = []
    measuring(xs(0, 1)).update_domain(lambda: calls.append("call")).run(
        bar=False, dump_results=False
    )
    assert calls == ["call"]


@places
def test_all_repetitions_are_counted(place):
    sights, seen = watched(None, 4, research=measuring(xs(0, 1, 2), n_reps=2), **place)
    assert sights == [[0, 1, 2, 0]]
    assert seen == [0, 1, 2, 0, 1, 2]


def test_failed_experiments_are_counted():
    research = Research(domain=xs(0, 1, 2, 3)).add_callable(
        "f", lambda x: 1 / (x - 1), args=[EC("x")]
    )
    research = research.save(EC("x"), "seen", when=1)
    sights, _ = watched(None, 2, research=research)
    assert sights == [[0, 1], [0, 1, 2, 3]]
    assert failures_of(research.run(bar=False, dump_results=False)) == [("f", 0)]


def test_experiments_are_counted_over_all_domains():
    sights, seen = watched(xs(0, 1, 2), ["#0", 4], [xs(10, 11, 12, 13, 14), None])
    assert sights == [[0], [0, 10, 11, 12]]
    assert seen == [0, 10, 11, 12, 13, 14]


def in_lock_step(domain):
    return (
        Research(domain=domain)
        .add_generator(iter, args=[[1]], root=True)
        .save(EC("x"), "seen", when="#0")
    )


def sharing_a_draw(domain):
    return (
        Research(domain=domain)
        .add_callable("draw", float, args=[E().random.normal()], root=True)
        .save(EC("x"), "seen")
    )


@pytest.mark.parametrize(
    ("research_of", "branches"),
    [(in_lock_step, 2), (in_lock_step, 3), (in_lock_step, None), (sharing_a_draw, 3)],
)
@pytest.mark.parametrize("when", ["#0", "#1", 2, 3, 4], ids=str)
def test_groups_are_not_cut_and_the_function_is_called_when_they_end(research_of, branches, when):
    sights, _ = watched(None, when, research=research_of(xs(0, 1, 2, 3, 4, 5)), branches=branches)
    length = branches or 6
    turns = [int(when[1:])] if isinstance(when, str) else range(when - 1, 6, when)
    ends = sorted({(turn // length + 1) * length for turn in turns})
    assert sights == [list(range(end)) for end in ends]


# what the function returns


@places
def test_a_new_domain_takes_the_place_of_what_is_left(place):
    sights, seen = watched(xs(0, 1, 2, 3, 4, 5), "#1", [xs(10, 11)], **place)
    assert sights == [[0, 1]]
    assert seen == [0, 1, 10, 11]


def test_none_lets_the_domain_go_on():
    sights, seen = watched(xs(0, 1, 2, 3), 2, [None, None])
    assert sights == [[0, 1], [0, 1, 2, 3]]
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("new", [xs(7), Domain(x=[7]), {"x": [7]}, Domain(xs(7))], ids=repr)
def test_a_domain_or_a_dict_may_be_returned(new):
    assert watched(xs(0), "last", [new])[1] == [0, 7]


@places
def test_last_fires_again_for_each_new_domain_until_none(place):
    sights, seen = watched(xs(0, 1), "last", [xs(10), xs(20, 21), None, xs(30)], **place)
    assert sights == [[0, 1], [0, 1, 10], [0, 1, 10, 20, 21]]
    assert seen == [0, 1, 10, 20, 21]


def test_a_new_domain_may_be_a_product_with_repetitions_of_its_own():
    new = (xs(7, 8) * Option("y", [1])).set_iter_params(n_reps=2)
    research: Research = measuring(xs(0)).update_domain(
        lambda: None if research.results.df.shape[0] > 1 else new
    )
    assert rows(table(research), "x", "y") == [(0, None), (7, 1), (8, 1), (7, 1), (8, 1)]


def test_repetitions_of_the_research_are_those_of_each_domain():
    _, seen = watched(None, "last", [xs(7)], research=measuring(xs(0, 1), n_reps=2))
    assert seen == [0, 1, 0, 1, 7, 7]


def test_new_parameters_become_columns():
    research = measuring(xs(0)).save(EC().get("y"), "y_seen")
    _, seen = watched(None, "last", [Domain(x=[1], y=["a"])], research=research)
    assert seen == [0, 1]
    replies = iter([Domain(x=[1], y=["a"]), None])
    frame = table(research.update_domain(lambda: next(replies)))
    assert list(frame.columns) == ["id", "x", "y", "iteration", "seen", "y_seen"]
    assert rows(frame, "x", "y", "y_seen") == [(0, None, None), (1, "a", "a")]


def test_units_may_read_parameters_that_only_later_domains_have():
    replies = iter([Domain(x=[1], y=["a"]), None])
    research = Research(domain=Domain(x=[0])).save(EC("y"), "y_seen").save(EC("x"), "seen")
    research = research.update_domain(lambda: next(replies))
    assert rows(table(research), "seen", "y_seen") == [(0, None), (1, "a")]
    assert failures_of(research) == [("save_y_seen", 0)]


def test_results_are_found_by_parameters_of_later_domains():
    replies = iter([Domain(x=[1], y=["a"]), None])
    research = (
        measuring(xs(0)).update_domain(lambda: next(replies)).run(bar=False, dump_results=False)
    )
    assert list(research.results.to_df(y="a").seen) == [1]
    assert list(research.results.to_df(updates=1).seen) == [1]
    assert list(research.results.configs_to_df().y)[1] == "a"


# updates


@places
def test_updates_counts_the_domains_before(place):
    replies = iter([xs(10), xs(20, 21), None])
    research = (
        measuring(xs(0, 1)).save(EC("updates"), "by_name").save(EC(full=True)["updates"], "in_full")
    )
    research = research.save(E().config["updates"], "in_e").update_domain(
        lambda: next(replies), when="last"
    )
    research.run(bar=False, dump_results=False, **place)
    frame = research.results.to_df(remove_auxilary=False)
    for name in ("updates", "by_name", "in_full", "in_e"):
        assert rows(frame, "x", name) == [(0, 0), (1, 0), (10, 1), (20, 2), (21, 2)]


def test_none_counts_as_no_update():
    replies = iter([None, None, xs(9), None])
    research = (
        measuring(xs(0, 1, 2))
        .update_domain(lambda: next(replies), when=1)
        .run(bar=False, dump_results=False)
    )
    assert rows(research.results.to_df(remove_auxilary=False), "x", "updates") == [
        (0, 0),
        (1, 0),
        (2, 0),
        (9, 1),
    ]


def test_a_config_that_comes_again_is_another_experiment():
    frame = table(measuring(xs(0)).update_domain(iter([xs(0), xs(0), None]).__next__))
    assert list(frame.x) == [0, 0, 0]
    assert frame.id.is_unique


# arguments of the function


def test_constants_and_compositions_of_r_are_arguments():
    calls = []

    def look(best, frame, scale, parts):
        calls.append((best, list(frame.seen), scale, [list(part) for part in parts["all"]]))

    research = measuring(xs(3, 5, 4)).update_domain(
        look,
        best=R().df["seen"].max(),
        frame=R().to_df(x=[3, 4]),
        scale=2,
        parts={"all": [R().df.seen, (1,)]},
    )
    research.run(bar=False, dump_results=False)
    assert calls == [(5, [3, 4], 2, [[3, 5, 4], [1]])]


def test_the_domain_follows_the_results():
    def halve(results):
        best = results.df.sort_values("loss").x.iloc[0]
        step = 4 / 2 ** results.to_df(remove_auxilary=False).updates.max()
        return xs(best - step, best + step) if step >= 1 else None

    research = Research(domain=xs(0.0, 16.0)).add_callable(
        "f", lambda x: (x - 5) ** 2, args=[EC("x")], save_to="loss"
    )
    assert column(research.update_domain(halve, results=R()), "x") == [
        0.0,
        16.0,
        -4.0,
        4.0,
        2.0,
        6.0,
        3.0,
        5.0,
    ]


def test_a_method_or_a_lambda_may_be_the_function():
    class Search:
        def __init__(self):
            self.n_calls = 0

        def next(self, results):
            self.n_calls += 1
            return xs(self.n_calls) if self.n_calls < 3 else None

    assert column(measuring(xs(0)).update_domain(Search().next, results=R()), "seen") == [0, 1, 2]


# endless domains


@places
def test_an_endless_domain_is_ended_by_a_new_one(place):
    endless = Option("x", NumpySampler("n"))
    _, seen = watched(endless, 3, [xs(1, 2), None], seed=1, **place)
    assert seen[3:] == [1, 2]
    assert seen[:3] == column(measuring(endless, n_configs=3), "seen", seed=1)


def test_an_endless_domain_goes_on_while_none_is_returned():
    sights, seen = watched(Option("x", NumpySampler("n")), 2, [None, None, xs(5)], seed=1)
    assert [len(sight) for sight in sights] == [2, 4, 6]
    assert seen[6:] == [5]


def test_an_endless_domain_may_follow_a_finite_one():
    endless = Option("x", NumpySampler("u", low=5, high=6))
    sights, seen = watched(xs(0, 1), [2, 5], [endless, None, None, xs(9)], seed=1)
    assert [len(sight) for sight in sights] == [2, 4, 5, 6]
    assert seen[:2] == [0, 1]
    assert all(5 <= x < 6 for x in seen[2:6])
    assert seen[6:] == [9]


def test_an_endless_domain_that_nothing_ends_runs_until_it_is_terminated():
    research = measuring(Option("x", NumpySampler("n"))).update_domain(lambda: None, when=5)
    research.run(detach=True, bar=False, dump_results=False)
    wait_for(lambda: len(research.results) > 10)
    assert not research.is_finished
    research.terminate()
    assert research.wait(DEADLINE_S)


# roots and seeds


def test_roots_are_shared_over_domains():
    calls = []

    def load(x):
        calls.append(x)
        return 10 * x

    replies = iter([Domain(x=[1, 2], y=[5]), None])
    research = Research(domain=Domain(x=[1])).load(EC("x"), root=True).save(O("load"), "loaded")
    assert column(research.update_domain(lambda: next(replies)), "loaded") == [10, 10, 20]
    assert calls == [1, 2]


@places
def test_seeds_make_runs_with_updates_the_same(place):
    def run(**options):
        replies = iter([Option("x", NumpySampler("n")).set_iter_params(n_items=2), None])
        research = (
            measuring(xs(0, 1))
            .save(E().random.normal(), "drawn")
            .update_domain(lambda: next(replies))
        )
        return rows(table(research, seed=1, **options), "id", "x", "drawn")

    assert run(**place) == run()


# errors


@pytest.mark.parametrize("answer", [5, [1, 2], "x", True, len], ids=repr)
def test_an_answer_that_is_no_domain_ends_the_run_with_its_value_and_what_it_may_be(answer):
    research = measuring(xs(0, 1, 2)).update_domain(lambda: answer, when="#1")
    with pytest.raises(ValueError, match=saying("update_domain", repr(answer), "Domain", "None")):
        research.run(bar=False, dump_results=False)
    assert list(research.results.df.seen) == [0, 1]
    assert research.is_finished


def test_a_new_domain_with_a_parameter_named_like_a_variable_is_refused():
    research = measuring(xs(0, 1)).update_domain(lambda: {"seen": [1]}, when="#0")
    with pytest.raises(ValueError, match=saying("'seen'", "rename")):
        research.run(bar=False, dump_results=False)
    assert list(research.results.df.x) == [0]


def test_an_exception_of_the_function_ends_the_run_and_is_raised():
    def look():
        raise KeyError("the original")

    research = measuring(xs(0, 1)).update_domain(look, when="#0")
    with pytest.raises(KeyError, match="the original"):
        research.run(bar=False, dump_results=False)
    assert list(research.results.df.seen) == [0]


def test_an_exception_of_the_function_of_a_detached_run_is_raised_by_wait():
    research = (
        measuring(xs(0, 1))
        .update_domain(lambda: 1 / 0, when="#0")
        .run(detach=True, bar=False, dump_results=False)
    )
    with pytest.raises(ZeroDivisionError, match="division"):
        research.wait(DEADLINE_S)
    assert list(research.results.df.seen) == [0]


def test_arrays_of_results_may_make_the_next_domain():
    def widen(results):
        return None if len(results.df) > 3 else Option("x", results.df.x.to_numpy() + 10)

    research = measuring(Option("x", np.array([1, 2]))).update_domain(widen, results=R())
    assert column(research, "seen") == [1, 2, 11, 12]
