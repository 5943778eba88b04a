"""Sampled parameters: alone, times arrays, and by seed."""

import random
from itertools import islice

import numpy as np
import pytest
import scipy.stats

from daskresearch import Domain, NumpySampler, Option
from tests.support.strategies import configs


class Counting:
    """A sampler of the user: counts up, and notes how it was asked."""

    def __init__(self, make=list):
        self.n_drawn = 0
        self.make = make

    def sample(self, size):
        start, self.n_drawn = self.n_drawn, self.n_drawn + size
        return self.make(range(start, self.n_drawn))


def column(values) -> np.ndarray:
    return np.array(list(values)).reshape(-1, 1)


def draws(domain: Domain, n_configs: int = 5, **params) -> list[dict]:
    return [
        item.config()
        for item in islice(domain.set_iter_params(additional=False, **params), n_configs)
    ]


SAMPLERS = {
    "scipy continuous": lambda: scipy.stats.uniform(2, 1),
    "scipy discrete": lambda: scipy.stats.randint(0, 10**6),
    "scipy loguniform": lambda: scipy.stats.loguniform(1e-4, 1e-1),
    "numpy normal": lambda: NumpySampler("normal", loc=0, scale=1),
    "numpy short": lambda: NumpySampler("u", low=2, high=3),
    "numpy integers": lambda: NumpySampler("integers", low=0, high=10**6),
}
if hasattr(scipy.stats, "Normal"):  # scipy's random variables, new in 1.15
    SAMPLERS["scipy variable"] = lambda: scipy.stats.Normal(mu=1, sigma=2)
samplers = pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS.keys())


@samplers
def test_a_sampler_alone_is_endless(make):
    domain = Option("s", make())
    values = [config["s"] for config in draws(domain, 500)]
    assert domain.size is None
    assert len(set(values)) > 450


@samplers
def test_a_drawn_value_is_one_number(make):
    for value in (config["s"] for config in draws(Option("s", make()))):
        assert np.ndim(value) == 0
        assert isinstance(value, (int, float, np.number))


@samplers
def test_an_array_times_a_sampler_draws_once_for_each_combination(make):
    arrays = Domain(a=[1, 2, 3], b=[4, 5])
    for domain in (
        arrays * Option("s", make()),
        Option("s", make()) * arrays,
        Domain(a=[1, 2, 3], s=make(), b=[4, 5]),
    ):
        rows = configs(domain)
        assert domain.size == len(domain) == 6
        assert [(row["a"], row["b"]) for row in rows] == [(a, b) for a in (1, 2, 3) for b in (4, 5)]
        assert len({row["s"] for row in rows}) == 6


@samplers
def test_equal_seeds_give_equal_draws(make):
    domain = Option("a", [1, 2, 3]) * Option("s", make())
    assert draws(domain, seed=42) == draws(domain, seed=42)
    assert draws(domain, seed=42) == draws(Option("a", [1, 2, 3]) * Option("s", make()), seed=42)


@samplers
def test_equal_seeds_give_equal_draws_of_an_endless_domain(make):
    assert draws(Option("s", make()), 300, seed=42) == draws(Option("s", make()), 300, seed=42)


@samplers
def test_different_seeds_give_different_draws(make):
    domain = Option("a", [1, 2, 3]) * Option("s", make())
    assert draws(domain, seed=1) != draws(domain, seed=2)


@samplers
def test_draws_without_seed_differ_from_each_other(make):
    domain = Option("s", make())
    assert draws(domain) != draws(domain)


@samplers
def test_two_sampled_parameters_are_drawn_apart(make):
    rows = draws(Option("s", make()) * Option("t", make()), 20, seed=1)
    assert all(set(row) == {"s", "t"} for row in rows)
    assert len({row["s"] - row["t"] for row in rows}) > 15


def global_numpy_state() -> str:
    """Return the state of numpy's global generator, scipy's default source."""
    return repr(scipy.stats.norm().random_state.get_state(legacy=False)["state"]["key"].tolist())


@samplers
def test_drawing_leaves_the_global_random_state_and_the_sampler_alone(make):
    sampler = make()
    python_state, numpy_state = random.getstate(), global_numpy_state()
    one = draws(Option("s", sampler), seed=3)
    draws(Option("s", sampler) * Option("a", [1, 2]), 2)
    assert (random.getstate(), global_numpy_state()) == (python_state, numpy_state)
    assert draws(Option("s", sampler), seed=3) == one


def test_draws_follow_the_distribution():
    normal = [
        row["s"]
        for row in draws(Option("s", NumpySampler("normal", loc=10, scale=2)), 4000, seed=0)
    ]
    short = [
        row["s"] for row in draws(Option("s", NumpySampler("n", loc=10, scale=2)), 4000, seed=0)
    ]
    frozen = [row["s"] for row in draws(Option("s", scipy.stats.norm(10, 2)), 4000, seed=0)]
    for sample in (normal, short, frozen):
        assert (np.mean(sample), np.std(sample)) == (
            pytest.approx(10, abs=0.2),
            pytest.approx(2, abs=0.2),
        )


def test_short_names_mean_the_methods_of_numpy():
    for short, name in [("n", "normal"), ("u", "uniform")]:
        assert draws(Option("s", NumpySampler(short)), seed=1) == draws(
            Option("s", NumpySampler(name)), seed=1
        )


def test_a_discrete_sampler_yields_integers():
    values = [row["s"] for row in draws(Option("s", NumpySampler("integers", low=1, high=4)), 100)]
    assert set(values) == {1, 2, 3}
    assert all(isinstance(value, (int, np.integer)) for value in values)


def test_numpys_choice_samples_from_a_list():
    values = {row["s"] for row in draws(Option("s", NumpySampler("choice", a=["x", "y"])), 100)}
    assert values == {"x", "y"}


@pytest.mark.parametrize("make", [list, tuple, lambda values: np.array(list(values)), column])
def test_anything_with_sample_is_a_sampler(make):
    domain = Option("s", Counting(make))
    assert domain.size is None
    values = [row["s"] for row in draws(domain, 4)]
    assert values == [0, 1, 2, 3]
    assert not any(isinstance(value, np.ndarray) for value in values)


def test_a_users_sampler_is_asked_for_no_value_before_iteration():
    sampler = Counting()
    domain = Option("a", [1, 2]) * Option("s", sampler) + Option("s", sampler)
    assert (domain.size, sampler.n_drawn) == (None, 0)


def test_pairs_times_a_sampler_draw_once_a_pair():
    domain = (Option("a", [1, 2]) @ Option("b", [3, 4])) * Option("s", Counting())
    assert configs(domain) == [{"a": 1, "b": 3, "s": 0}, {"a": 2, "b": 4, "s": 1}]


def test_an_array_times_a_sampler_may_be_paired():
    domain = (Option("a", [1, 2]) * Option("s", Counting())) @ Option("b", [3, 4])
    assert configs(domain) == [{"a": 1, "s": 0, "b": 3}, {"a": 2, "s": 1, "b": 4}]


def test_an_endless_term_of_a_sum_follows_the_finite_ones():
    domain = Option("a", [1, 2]) + Option("s", Counting())
    assert domain.size is None
    assert draws(domain, 4) == [{"a": 1}, {"a": 2}, {"s": 0}, {"s": 1}]


def test_n_items_ends_an_endless_domain():
    domain = Option("s", NumpySampler("n")).set_iter_params(n_items=7)
    assert (domain.size, len(domain), len(list(domain))) == (7, 7, 7)


def test_a_drawn_value_has_its_text_as_alias():
    (item,) = Option("s", scipy.stats.uniform(0, 1)).set_iter_params(n_items=1, seed=0)
    assert item.alias()["s"] == str(item.config()["s"])
    assert float(item.alias()["s"]) == item.config()["s"]


@samplers
def test_a_sampler_is_drawn_once_a_combination_however_the_product_is_bracketed(make):
    a, b, s = Option("a", [1, 2, 3]), Option("b", [4, 5]), Option("s", make())
    for domain in ((a * s) * b, a * (s * b), (s * a) * b, (a * b) * s):
        rows = configs(domain)
        assert [(row["a"], row["b"]) for row in rows] == [(i, j) for i in (1, 2, 3) for j in (4, 5)]
        assert len({row["s"] for row in rows}) == 6


def test_two_parameters_of_one_sampler_object_are_drawn_apart():
    sampler = NumpySampler("n")
    rows = draws(
        Option("s", sampler) * Option("t", sampler) * Option("a", list(range(20))), 20, seed=1
    )
    assert len({row["s"] for row in rows} | {row["t"] for row in rows}) == 40


def test_a_sum_with_an_endless_term_times_an_array_is_the_sum_of_products():
    endless, finite, array = Option("s", Counting()), Option("a", [1, 2]), Option("b", [3, 4])
    assert ((endless + finite) * array).size == (endless * array + finite * array).size == 6
    assert (array * (endless + finite)).size == 6
    assert configs((endless + finite) * array)[2:] == configs(finite * array)


def test_a_shorter_run_draws_the_first_values_of_a_longer_one():
    for domain in (
        Option("s", NumpySampler("n")),
        Option("a", [1, 2, 3]) * Option("s", scipy.stats.norm()),
        0.5 * Option("a", list(range(20))) + 0.5 * Option("s", NumpySampler("n")),
    ):
        short = [item.config() for item in domain.set_iter_params(n_items=5, seed=1)]
        assert [item.config() for item in domain.set_iter_params(n_items=150, seed=1)][:5] == short
