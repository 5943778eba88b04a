"""Repetitions, blocks and lengths that `set_iter_params` gives to a domain."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from daskresearch import Domain, NumpySampler, Option
from tests.support.strategies import Configs, configs, domains, law

SMALL = st.integers(1, 4)


def rows(domain: Domain, n_configs: int | None = None) -> Configs:
    return [item.config() for item in islice(domain, n_configs)]


def repeated(
    configs_: Configs, n_items: int | None, n_reps: int, repeat_each: int | None
) -> Configs:
    """Return what a plain loop gives: blocks of configs, each run `n_reps` times."""
    n_items = len(configs_) if n_items is None else n_items
    repeat_each = n_items if repeat_each is None else repeat_each
    endless = [configs_[i % len(configs_)] for i in range(n_items)]
    blocks = [endless[i : i + repeat_each] for i in range(0, n_items, repeat_each)]
    return [
        {**config, "repetition": repetition, "updates": 0}
        for block in blocks
        for repetition in range(n_reps)
        for config in block
    ]


@law
@given(domains(depth=2), st.none() | st.integers(1, 12), SMALL, st.none() | SMALL)
def test_blocks_of_configs_are_repeated_as_a_plain_loop_does(case, n_items, n_reps, repeat_each):
    domain, expected = case
    params = {"n_items": n_items, "n_reps": n_reps, "repeat_each": repeat_each}
    assert rows(domain.set_iter_params(**params)) == repeated(expected, **params)


@law
@given(domains(depth=2), st.none() | st.integers(1, 12), SMALL, st.none() | SMALL)
def test_size_counts_repetitions(case, n_items, n_reps, repeat_each):
    domain = case[0].set_iter_params(n_items=n_items, n_reps=n_reps, repeat_each=repeat_each)
    assert domain.size == len(domain) == len(list(domain))


@law
@given(domains(depth=2), SMALL)
def test_setting_parameters_leaves_the_original_unchanged(case, n_reps):
    domain, expected = case
    changed = domain.set_iter_params(
        n_items=9, n_reps=n_reps, repeat_each=2, additional=False, seed=3
    )
    assert changed is not domain
    assert (len(changed), len(domain)) == (9 * n_reps, len(expected))
    assert rows(domain) == repeated(expected, None, 1, None)


def test_items_show_repetition_and_updates():
    assert rows(Option("a", [1, 2])) == [{"a": i, "repetition": 0, "updates": 0} for i in (1, 2)]


def test_items_hide_repetition_and_updates_when_asked():
    (one, two) = Option("a", [1]).set_iter_params(n_reps=2, additional=False)
    assert (one.config(), two.config()) == ({"a": 1}, {"a": 1})
    assert (one.alias(), two.alias()) == ({"a": "1"}, {"a": "1"})


def test_the_iterator_yields_what_iterating_yields():
    domain = Domain(a=[1, 2], b=[3, 4]).set_iter_params(n_reps=2)
    assert [item.config() for item in domain.iterator] == rows(domain)


def test_the_iterator_is_an_iterator():
    iterator = Option("a", [1, 2]).iterator
    assert (next(iterator).config()["a"], next(iterator).config()["a"], next(iterator, None)) == (
        1,
        2,
        None,
    )


def test_more_items_than_configs_start_over():
    assert [row["a"] for row in rows(Option("a", [1, 2, 3]).set_iter_params(n_items=7))] == [
        1,
        2,
        3,
        1,
        2,
        3,
        1,
    ]


def test_fewer_items_than_configs_cut_the_domain():
    domain = Option("a", [1, 2, 3]).set_iter_params(n_items=2, n_reps=2)
    assert [(row["a"], row["repetition"]) for row in rows(domain)] == [
        (1, 0),
        (2, 0),
        (1, 1),
        (2, 1),
    ]


def test_the_last_block_may_be_short():
    domain = Option("a", [1, 2, 3]).set_iter_params(n_reps=2, repeat_each=2)
    assert [(row["a"], row["repetition"]) for row in rows(domain)] == [
        (1, 0),
        (2, 0),
        (1, 1),
        (2, 1),
        (3, 0),
        (3, 1),
    ]


def test_a_block_longer_than_the_domain_is_the_whole_domain():
    domain = Option("a", [1, 2]).set_iter_params(n_reps=2, repeat_each=10)
    assert [(row["a"], row["repetition"]) for row in rows(domain)] == [
        (1, 0),
        (2, 0),
        (1, 1),
        (2, 1),
    ]


def test_an_endless_domain_repeats_blocks_of_a_hundred():
    first = rows(Option("s", NumpySampler("n")).set_iter_params(n_reps=3), 400)
    values = [row["s"] for row in first]
    assert [row["repetition"] for row in first] == [0] * 100 + [1] * 100 + [2] * 100 + [0] * 100
    assert values[:100] == values[100:200] == values[200:300]
    assert not set(values[:100]) & set(values[300:])


def test_the_repetitions_of_a_sampled_block_are_the_same_configs():
    for repeat_each in (None, 2, 3):
        domain = Option("a", [1, 2, 3]) * Option("s", NumpySampler("n"))
        drawn = rows(domain.set_iter_params(n_items=5, n_reps=2, repeat_each=repeat_each))
        first = [(row["a"], row["s"]) for row in drawn if row["repetition"] == 0]
        second = [(row["a"], row["s"]) for row in drawn if row["repetition"] == 1]
        assert first == second
        assert len(set(first)) == 5


class OnceOnly:
    """A sampler that never gives a value twice, so that repetitions must keep its values."""

    def __init__(self):
        self.n_drawn = 0

    def sample(self, size):
        self.n_drawn += size
        return list(range(self.n_drawn - size, self.n_drawn))


def test_the_repetitions_of_a_users_sampler_are_the_same_configs():
    domain = Option("s", OnceOnly()).set_iter_params(n_items=4, n_reps=2, repeat_each=2)
    assert [row["s"] for row in rows(domain)] == [0, 1, 0, 1, 2, 3, 2, 3]
    domain = (Option("a", [1, 2]) * Option("s", OnceOnly())).set_iter_params(n_reps=2)
    assert [row["s"] for row in rows(domain)] == [0, 1, 0, 1]


def test_the_repetitions_of_a_mixture_are_in_the_same_order():
    mixture = 0.5 * Option("a", list(range(30))) + 0.5 * Option("b", list(range(30)))
    drawn = rows(mixture.set_iter_params(n_reps=2))
    plain = [{name: value for name, value in row.items() if name in "ab"} for row in drawn]
    assert plain[:60] == plain[60:]


def test_equal_seeds_give_equal_items_whatever_the_repetitions():
    domain = Option("a", [1, 2, 3]) * Option("s", NumpySampler("n"))
    once = configs_of_repetition(domain.set_iter_params(seed=1), 0)
    for repeat_each in (None, 1, 2):
        repeated_ = domain.set_iter_params(seed=1, n_reps=3, repeat_each=repeat_each)
        assert [configs_of_repetition(repeated_, i) for i in range(3)] == [once] * 3


def configs_of_repetition(domain: Domain, repetition: int) -> list[tuple]:
    return [(row["a"], row["s"]) for row in rows(domain) if row["repetition"] == repetition]


def test_a_copy_of_a_domain_may_be_iterated_otherwise():
    domain = Option("a", [1, 2])
    assert (len(Domain(domain).set_iter_params(n_reps=3)), len(domain)) == (6, 2)
    assert configs(domain.set_iter_params(n_reps=3).set_iter_params()) == configs(domain)
