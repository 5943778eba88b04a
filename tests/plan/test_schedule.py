"""When units run: `when` in all its forms, read off the iterations that results have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch import EC, E, O, Option, Research
from tests.support.running import column, rows, saying, table
from tests.support.strategies import law

entries = st.one_of(
    st.integers(1, 7),
    st.integers(0, 9).map(lambda k: f"#{k}"),
    st.integers(0, 9).map(lambda k: f"%{k}"),
    st.just("last"),
)
whens = st.one_of(
    entries, st.lists(entries, min_size=1, max_size=4), st.lists(entries, min_size=1).map(tuple)
)


def expected(when, n_iters):
    """Return the iterations that `when` names, written out one by one."""
    named = set()
    for entry in when if isinstance(when, (list, tuple)) else [when]:
        if entry == "last":
            named.add(n_iters - 1)
        elif isinstance(entry, str):
            named.add(int(entry[1:]))
        else:
            named.update(range(entry - 1, n_iters, entry))
    return sorted(named & set(range(n_iters)))


def iterations(research, **options):
    return column(research, "iteration", **options)


@pytest.mark.parametrize(
    ("when", "named"),
    [
        (1, [0, 1, 2, 3, 4, 5]),
        (2, [1, 3, 5]),
        (4, [3]),
        (7, []),
        ("#0", [0]),
        ("%0", [0]),
        ("#5", [5]),
        ("#6", []),
        ("#03", [3]),
        ("last", [5]),
        (["last"], [5]),
        ([4, "#0", "last"], [0, 3, 5]),
        (("last", "%1"), [1, 5]),
        ([2, 3], [1, 2, 3, 5]),
        ([2, 2, "#1"], [1, 3, 5]),
    ],
    ids=str,
)
def test_a_unit_runs_at_the_iterations_that_when_names(when, named):
    assert expected(when, 6) == named
    assert iterations(Research().save(E().iteration, "i", when=when), n_iters=6) == named


@law
@given(whens, st.integers(1, 10))
def test_a_callable_runs_at_the_iterations_that_when_names(when, n_iters):
    research = Research().add_callable(
        "f", lambda i: i, args=[E().iteration], save_to="f", when=when
    )
    assert rows(table(research, n_iters=n_iters), "iteration", "f") == [
        (i, i) for i in expected(when, n_iters)
    ]


@law
@given(whens, st.integers(1, 10))
def test_a_generator_advances_at_the_iterations_that_when_names(when, n_iters):
    research = Research().add_generator(range, args=[100], save_to="item", when=when)
    named = expected(when, n_iters)
    assert rows(table(research, n_iters=n_iters), "iteration", "item") == [
        (i, n) for n, i in enumerate(named)
    ]


@law
@given(whens, st.integers(1, 10))
def test_save_and_methods_follow_when(when, n_iters):
    research = (
        Research()
        .add_instance("text", str, args=["ab"])
        .add_callable("text.upper", when=when, save_to="upper")
    )
    research = research.save(E().iteration, "saved", when=when)
    named = expected(when, n_iters)
    found = rows(table(research, n_iters=n_iters), "iteration", "upper", "saved")
    assert found == [(i, "AB", i) for i in named]


@law
@given(whens, whens, st.integers(1, 8))
def test_each_unit_follows_its_own_when(one, other, n_iters):
    research = (
        Research().save(E().iteration, "one", when=one).save(E().iteration, "other", when=other)
    )
    first, second = expected(one, n_iters), expected(other, n_iters)
    found = rows(table(research, n_iters=n_iters), "iteration", "one", "other")
    assert found == [
        (i, i if i in first else None, i if i in second else None)
        for i in sorted({*first, *second})
    ]


@law
@given(whens, st.integers(0, 5))
def test_behind_a_generator_last_is_the_iteration_that_exhausts_it(when, length):
    research = Research().add_generator(range, args=[length]).save(E().iteration, "i", when=when)
    assert iterations(research) == expected(when, length + 1)


@law
@given(whens, st.integers(0, 5))
def test_before_a_generator_that_is_exhausted_last_gets_no_turn(when, length):
    research = Research().save(E().iteration, "i", when=when).add_generator(range, args=[length])
    entries = when if isinstance(when, (list, tuple)) else [when]
    others = [entry for entry in entries if entry != "last"]
    assert iterations(research) == expected(others, length + 1)


@law
@given(whens, st.integers(1, 4), st.integers(5, 9))
def test_before_a_generator_that_outlasts_the_iterations_last_has_its_turn(when, n_iters, length):
    research = Research().save(E().iteration, "i", when=when).add_generator(range, args=[length])
    assert iterations(research, n_iters=n_iters) == expected(when, n_iters)


@law
@given(whens, st.integers(1, 8))
def test_steady_roots_follow_when(when, n_iters):
    research = Research(domain=Option("x", [1, 2])).add_callable(
        "f", lambda: 5, root=True, when=when, save_to="f"
    )
    named = [(i, 5) for i in expected(when, n_iters)]
    assert rows(table(research, n_iters=n_iters), "iteration", "f") == named * 2


@law
@given(whens, st.integers(1, 8))
def test_roots_in_lock_step_follow_when(when, n_iters):
    research = Research(domain=Option("x", [1, 2]))
    research = research.add_callable(
        "f", lambda i: i, args=[E().iteration], root=True, when=when, save_to="f"
    )
    named = [(i, i) for i in expected(when, n_iters)]
    assert rows(table(research, n_iters=n_iters), "iteration", "f") == named * 2


def test_the_order_of_a_list_and_its_repetitions_are_without_meaning():
    for when in ([3, "#1", "last"], ["last", 3, "#1"], ("last", "#1", "#1", 3, 3)):
        assert iterations(Research().save(E().iteration, "i", when=when), n_iters=5) == [1, 2, 4]


def test_a_unit_without_when_runs_in_every_iteration():
    assert iterations(Research().save(E().iteration, "i"), n_iters=3) == [0, 1, 2]


def test_an_instance_is_built_in_iteration_0_whatever_its_methods_do():
    research = Research().add_instance("i", lambda i: {"built": i}, i=E().iteration)
    research = research.save(E("i")["built"], "built", when="#2")
    assert rows(table(research, n_iters=3), "iteration", "built") == [(2, 0)]


def test_a_generator_is_called_in_its_first_turn():
    research = Research().add_generator(
        "g", lambda i: iter([i, i]), args=[E().iteration], when=2, save_to="called_at"
    )
    assert rows(table(research, n_iters=4), "iteration", "called_at") == [(1, 1), (3, 1)]


def test_a_generator_that_rests_is_exhausted_in_its_own_turn():
    research = (
        Research().add_generator(range, args=[2], when=2, save_to="item").save(E().iteration, "i")
    )
    assert rows(table(research), "i", "item") == [
        (0, None),
        (1, 0),
        (2, None),
        (3, 1),
        (4, None),
        (5, 1),
    ]


def test_a_unit_between_its_turns_keeps_its_output():
    research = Research(domain=Option("x", [7])).add_callable(
        "f", lambda x: x, args=[EC("x")], when="#1"
    )
    assert column(research.save(O("f"), "seen"), "seen", n_iters=3)[1:] == [7, 7]


def test_a_numpy_integer_is_an_integer():
    assert iterations(Research().save(E().iteration, "i", when=np.int64(2)), n_iters=4) == [1, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        0,
        -1,
        1.5,
        True,
        None,
        "first",
        "",
        "#",
        "#-1",
        "#1.5",
        "# 1",
        "1",
        "3#",
        "LAST",
        {"a": 1},
        1j,
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "inside", [lambda entry: entry, lambda entry: [1, entry]], ids=["alone", "in a list"]
)
def test_a_when_that_names_no_iterations_is_refused_with_the_forms_there_are(wrong, inside):
    pattern = saying(repr(wrong), "every n-th", "'#k'", "'last'")
    for add in (
        lambda: Research().add_callable(len, when=inside(wrong)),
        lambda: Research().add_generator(range, when=inside(wrong)),
        lambda: Research().save(1, "v", when=inside(wrong)),
        lambda: Research().dump(when=inside(wrong)),
        lambda: Research().update_domain(len, when=inside(wrong)),
        lambda: Research().len("ab", when=inside(wrong)),
    ):
        with pytest.raises(ValueError, match=pattern):
            add()


@pytest.mark.parametrize("empty", [[], ()], ids=repr)
def test_an_empty_list_is_refused(empty):
    with pytest.raises(ValueError, match=saying(repr(empty), "names no iterations")):
        Research().add_callable(len, when=empty)
