"""Random numbers follow the seed and the content, not where and when units run."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch import EC, Domain, E, NumpySampler, O, Option, Research
from tests.support.running import column, places, rows, table
from tests.support.strategies import law


def draw(random):
    return float(random.normal())


def drawing(domain=None, **options):
    """Return a research that saves one number an experiment and iteration."""
    return Research(domain=domain, **options).draw(E().random, save_to="drawn")


def by_config(research, **options):
    """Return the drawn numbers by the values of x and the repetition."""
    research.run(bar=False, dump_results=False, **options)
    frame = research.results.to_df(remove_auxilary=False)
    return {
        (x, repetition): drawn for x, repetition, drawn in rows(frame, "x", "repetition", "drawn")
    }


def xs(*values):
    return Option("x", list(values))


X = xs(*range(8))


def everything():
    """Return a research that draws wherever numbers can be drawn."""

    def batches(random):
        for _ in range(3):
            yield float(random.uniform())

    class Net:
        def __init__(self, random):
            self.weight = float(random.normal())

        def step(self, random):
            self.weight += float(random.normal())
            return self.weight

    domain = xs(0, 1, 2, 3) * Option("s", NumpySampler("n"))
    research = Research(domain=domain, n_reps=2).add_callable(
        "load", draw, args=[E().random], root=True, save_to="load"
    )
    research = research.batches(E().random, mode="generator", root=True, save_to="batch")
    research = research.add_instance("net", Net, random=E().random)
    research = research.add_callable("net.step", args=[E().random], save_to="weight")
    research = research.add_generator("noise", batches, args=[E().random], save_to="noise")
    return research.draw(E().random, save_to="drawn").save(E().random.integers(1000), "integer")


# the same everywhere


@places
def test_the_same_seed_gives_the_same_table(place):
    here = table(everything(), seed=42, branches=2)
    assert table(everything(), seed=42, branches=2, **place).equals(here)


def test_the_same_seed_gives_the_same_table_in_whichever_order_groups_run():
    here = table(everything(), seed=42, branches=2, executor_target="for")
    assert table(everything(), seed=42, branches=2, executor_target="threads").equals(here)
    assert table(everything(), seed=42, branches=2, parallel=False).equals(here)
    assert table(everything(), seed=42, branches=2, scheduler="threads", workers=7).equals(here)


def test_another_seed_gives_other_numbers():
    one, other = column(drawing(X), "drawn", seed=1), column(drawing(X), "drawn", seed=2)
    assert not set(one) & set(other)


def state_of_process() -> np.ndarray:
    """Return the state of numpy's generator of this process."""
    state: Any = np.random.get_state()  # noqa: NPY002
    return np.array(state[1])


def test_nothing_of_the_process_is_drawn_from():
    np.random.seed(5)  # noqa: NPY002
    before = state_of_process()
    one = column(drawing(X), "drawn", seed=1)
    assert np.array_equal(state_of_process(), before)
    np.random.seed(6)  # noqa: NPY002
    assert column(drawing(X), "drawn", seed=1) == one


def test_the_name_of_the_research_is_without_influence():
    one = Research("one", domain=X).draw(E().random, save_to="drawn")
    other = Research("other", domain=X).draw(E().random, save_to="drawn")
    assert column(one, "drawn", seed=1) == column(other, "drawn", seed=1)


# without a seed


def test_without_a_seed_runs_differ():
    research = drawing(X)
    one = column(research, "drawn")
    assert not set(one) & set(column(research, "drawn"))


def test_the_seed_of_a_run_repeats_it():
    research = everything()
    first = table(research)
    seed = research.seed
    assert isinstance(seed, int)
    assert table(everything(), seed=seed).equals(first)


def test_the_seed_of_a_run_is_the_one_that_was_given():
    assert drawing(X).run(seed=42, bar=False, dump_results=False).seed == 42
    assert drawing(X).run(seed=0, bar=False, dump_results=False).seed == 0


def test_seed_0_is_a_seed():
    assert column(drawing(X), "drawn", seed=0) == column(drawing(X), "drawn", seed=0)


def test_a_domain_may_bring_its_seed():
    domain = X.set_iter_params(seed=5)
    assert column(drawing(domain), "drawn") == column(drawing(X), "drawn", seed=5)
    assert column(drawing(domain), "drawn", seed=6) == column(drawing(X), "drawn", seed=6)


# numbers follow content, not order


@law
@given(
    st.lists(st.integers(0, 20), unique=True, min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_another_order_keeps_the_numbers_of_each_config(values, random):
    shuffled = random.sample(values, len(values))
    assert by_config(drawing(xs(*values)), seed=3) == by_config(drawing(xs(*shuffled)), seed=3)


@law
@given(
    st.lists(st.integers(0, 20), unique=True, min_size=1, max_size=5),
    st.lists(st.integers(21, 40), unique=True, min_size=1, max_size=5),
    st.integers(1, 3),
)
def test_a_grown_domain_keeps_the_numbers_of_old_configs(old, new, n_reps):
    small = by_config(drawing(xs(*old), n_reps=n_reps), seed=3)
    for grown in (xs(*old) + xs(*new), xs(*new) + xs(*old), xs(*new, *old)):
        large = by_config(drawing(grown, n_reps=n_reps), seed=3)
        assert {key: large[key] for key in small} == small


def test_more_repetitions_keep_the_numbers_of_the_first():
    few, many = by_config(drawing(X, n_reps=2), seed=3), by_config(drawing(X, n_reps=4), seed=3)
    assert {key: many[key] for key in few} == few


def test_repeating_in_blocks_keeps_the_numbers():
    one, other = drawing(X, n_reps=2), drawing(X, n_reps=2, repeat_each=3)
    assert by_config(one, seed=3) == by_config(other, seed=3)


def test_how_a_domain_is_written_is_without_influence():
    product = Option("x", [1, 2]) * Option("y", [3, 4])
    written = Option("y", [3, 4]) * Option("x", [1, 2])
    pairs = Option("x", [2, 1, 1, 2]) @ Option("y", [3, 4, 3, 4])
    tables = [table(drawing(domain), seed=3) for domain in (product, written, pairs)]
    found = [set(rows(frame, "x", "y", "drawn")) for frame in tables]
    assert found[0] == found[1] == found[2]


def test_more_iterations_keep_the_numbers_of_the_first():
    few, many = (
        column(drawing(), "drawn", n_iters=3, seed=3),
        column(drawing(), "drawn", n_iters=6, seed=3),
    )
    assert many[:3] == few


def test_another_unit_in_the_plan_keeps_the_numbers():
    alone = column(drawing(X), "drawn", seed=3)
    research = Research(domain=X).add_callable("other", draw, args=[E().random])
    research = research.add_generator(
        "noise", lambda random: iter([draw(random)]), args=[E().random]
    )
    research = research.draw(E().random, save_to="drawn").save(E().random.normal(), "more")
    assert column(research, "drawn", seed=3, n_iters=1) == alone


def test_a_failed_unit_keeps_the_numbers_of_others():
    alone = column(drawing(X), "drawn", seed=3)
    research = Research(domain=X).add_callable("check", lambda x: 1 / x, args=[EC("x")])
    assert column(research.draw(E().random, save_to="drawn"), "drawn", seed=3) == alone


def test_n_configs_keeps_the_numbers_of_the_configs_that_are_left():
    some = column(drawing(X, n_configs=3), "drawn", seed=3)
    assert column(drawing(X), "drawn", seed=3)[:3] == some


# each has its own


def test_experiments_iterations_and_repetitions_have_numbers_of_their_own():
    found = column(drawing(X, n_reps=3), "drawn", n_iters=4, seed=3)
    assert len(set(found)) == len(found) == 8 * 3 * 4


def test_experiments_of_equal_configs_have_numbers_of_their_own():
    for domain, options in [(xs(1, 1, 1), {}), (xs(1), {"n_configs": 3}), (None, {"n_configs": 3})]:
        found = column(drawing(domain, **options), "drawn", seed=3)
        assert len(set(found)) == len(found) == 3


def test_an_equal_config_more_keeps_the_numbers_of_those_before():
    assert column(drawing(xs(1, 2, 1)), "drawn", seed=3)[:2] == column(
        drawing(xs(1, 2)), "drawn", seed=3
    )


def test_values_that_look_alike_have_numbers_of_their_own():
    found = column(drawing(xs(1, "1", 1.0, True)), "drawn", seed=3)
    assert len(set(found)) == 4


def test_each_unit_has_a_stream_of_its_own():
    research = Research(domain=X)
    for name in ("a", "b", "c"):
        research = research.add_callable(name, draw, args=[E().random], save_to=name)
    frame = table(research.draw(E().random, save_to="d").draw(E().random, save_to="e"), seed=3)
    found = list(itertools.chain.from_iterable(rows(frame, "a", "b", "c", "d", "e")))
    assert len(set(found)) == len(found) == 40


def test_a_stream_goes_on_within_a_unit():
    def two(one, other):
        return [draw(one), draw(other)]

    (found,) = column(Research().two(E().random, E().random, save_to="two"), "two", seed=3)
    assert found[0] != found[1]


def test_the_experiment_as_an_argument_has_the_stream_of_its_unit():
    by_argument = column(Research(domain=X).draw(E().random, save_to="v"), "v", seed=3)
    by_experiment = Research(domain=X).add_callable(
        "draw", lambda e: draw(e.random), args=[E()], save_to="v"
    )
    assert column(by_experiment, "v", seed=3) == by_argument


def test_numbers_are_spread_as_they_should_be():
    found = np.array(column(drawing(xs(*range(4000))), "drawn", seed=3))
    assert abs(found.mean()) < 4 / np.sqrt(4000)
    assert abs(found.std() - 1) < 0.05
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / np.sqrt(4000)


# roots


def rooted(domain, **options):
    """Return a research whose root draws one number for all that share it."""
    return Research(domain=domain, **options).draw(E().random, root=True, save_to="drawn")


@pytest.mark.parametrize("n_iters", [1, 2])
@pytest.mark.parametrize(
    ("branches", "length"), [(None, 8), (1, 1), (2, 2), (3, 3), (8, 8), (20, 8)]
)
def test_members_of_a_group_share_what_their_root_draws_and_groups_do_not(
    branches, length, n_iters
):
    frame = table(rooted(X), branches=branches, n_iters=n_iters, seed=3)
    for i in range(n_iters):
        drawn = list(frame[frame.iteration == i].drawn)
        groups = [drawn[start : start + length] for start in range(0, 8, length)]
        assert all(len(set(group)) == 1 for group in groups)
        assert len({group[0] for group in groups}) == len(groups)
    assert frame.drawn.nunique() == n_iters * -(-8 // length)


@places
def test_groups_share_the_same_wherever_they_run(place):
    assert column(rooted(X), "drawn", branches=3, seed=3, **place) == column(
        rooted(X), "drawn", branches=3, seed=3
    )


def test_repetitions_share_nothing():
    drawn = column(rooted(xs(0, 1), n_reps=3), "drawn", seed=3)
    assert drawn[0::2] == drawn[1::2]
    assert len(set(drawn)) == 3


def test_repetitions_in_blocks_are_groups_of_their_repetition():
    research = rooted(xs(0, 1, 2, 3), n_reps=2, repeat_each=2)
    frame = table(research, seed=3)
    drawn = dict.fromkeys(
        rows(research.results.to_df(remove_auxilary=False), "repetition", "drawn")
    )
    assert [repetition for repetition, _ in drawn] == [0, 1]
    assert frame.drawn.nunique() == 2


def test_each_root_has_a_stream_of_its_own():
    research = Research(domain=X).add_callable("a", draw, args=[E().random], root=True, save_to="a")
    research = research.add_callable("b", draw, args=[E().random], root=True, save_to="b")
    frame = table(research, seed=3)
    assert frame.a.nunique() == frame.b.nunique() == 1
    assert frame.a[0] != frame.b[0]


@pytest.mark.parametrize("n_iters", [1, 3])
def test_a_root_draws_the_same_for_each_config_value_that_it_reads(n_iters):
    def load(random, scale):
        return float(random.normal() * scale)

    domain = Option("scale", [1, 2, 4]) * Option("b", [1, 2])
    frame = table(
        Research(domain=domain).load(E().random, EC("scale"), root=True, save_to="v"),
        n_iters=n_iters,
        seed=3,
    )
    for _, part in frame.groupby("iteration"):
        assert (part.v / part.scale).nunique() == 1
    assert (frame.v / frame.scale).nunique() == n_iters


def test_a_root_generator_draws_the_same_for_the_whole_group():
    def batches(random):
        for _ in range(3):
            yield draw(random)

    frame = table(Research(domain=xs(0, 1, 2, 3)).batches(E().random, mode="generator", root=True,
                                                          save_to="v"),
                  branches=2, seed=3)  # fmt: skip
    by_x = [list(part.v) for _, part in frame.groupby("x")]
    assert by_x[0] == by_x[1]
    assert by_x[2] == by_x[3]
    assert not set(by_x[0]) & set(by_x[2])
    assert len(set(by_x[0])) == 3


def test_branches_of_a_root_draw_numbers_of_their_own():
    research = rooted(X).add_callable("noise", draw, args=[E().random], save_to="noise")
    frame = table(research, seed=3)
    assert frame.drawn.nunique() == 1
    assert frame.noise.nunique() == 8


def test_a_grown_domain_keeps_what_the_root_of_one_group_draws():
    assert (
        column(rooted(xs(0, 1)), "drawn", seed=3)[0]
        == column(rooted(xs(0, 1, 2, 3)), "drawn", seed=3)[0]
    )


def test_a_branch_config_changes_no_number_of_its_root():
    plain = column(rooted(xs(0, 1, 2, 3)), "drawn", branches=2, seed=3)
    assert (
        column(rooted(xs(0, 1, 2, 3)), "drawn", branches=[{"side": 0}, {"side": 1}], seed=3)
        == plain
    )


def test_a_root_that_draws_but_once_is_drawn_by_all_iterations_that_use_it():
    research = (
        Research(domain=xs(0, 1)).draw(E().random, root=True, when="#0").save(O("draw"), "seen")
    )
    assert len(set(column(research, "seen", n_iters=3, seed=3))) == 1


# domains


@places
@pytest.mark.parametrize(
    "domain",
    [
        Option("x", NumpySampler("n")),
        xs(0, 1) * Option("s", NumpySampler("uniform")),
        0.3 * xs(*range(5)) + 0.7 * xs(*range(10, 15)),
        Domain(x=[1, 2]),
    ],
    ids=["endless", "array times sampler", "mixture", "arrays"],
)
def test_the_same_seed_gives_the_same_configs(place, domain):
    research = drawing(domain, n_configs=6)
    here = table(research, seed=3)
    assert table(research, seed=3, **place).equals(here)


def test_another_seed_gives_other_samples():
    research = drawing(Option("x", NumpySampler("n")), n_configs=6)
    assert not set(column(research, "x", seed=1)) & set(column(research, "x", seed=2))


def test_more_samples_keep_those_before():
    endless = Option("x", NumpySampler("n"))
    few, many = drawing(endless, n_configs=3), drawing(endless, n_configs=300)
    assert rows(table(many, seed=3), "id", "x", "drawn")[:3] == rows(
        table(few, seed=3), "id", "x", "drawn"
    )
