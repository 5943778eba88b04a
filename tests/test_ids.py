"""Ids of experiments: a readable hash of the config, then digits that make it unique."""

import hashlib
import re

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from daskresearch import Alias, Domain, NumpySampler, Option, Research
from tests.support.strategies import law


def nothing():
    return 0


def run(domain=None, *, seed=42, n_configs=None, n_reps=1, repeat_each=None, **options):
    """Return the frame of a run that saves one value an experiment, in domain order."""
    research = Research(domain=domain, n_configs=n_configs, n_reps=n_reps, repeat_each=repeat_each)
    research = research.add_callable(nothing, save_to="nothing")
    return research.run(seed=seed, dump_results=False, bar=False, **options).results.df


def ids_of(domain=None, **options) -> list[str]:
    return list(run(domain, **options).id)


def formula(texts: dict[str, str], repetition: int = 0, updates: int = 0) -> str:
    """Return the first 8 digits by the contract: md5 of sorted ``key_value``, joined by ``-``."""
    parts = [f"{name}_{text}" for name, text in texts.items()]
    joined = "-".join(sorted([*parts, f"repetition_{repetition}", f"updates_{updates}"]))
    return hashlib.md5(joined.encode()).hexdigest()[:8]


def test_the_formula_gives_the_ids_of_the_seed():
    assert formula({}) == "b8c9f031"
    assert formula({"a": "2", "b": "3"}) == "984d62c9"
    assert formula({"use_numpy": "False"}) == "7635c7e4"


def test_an_empty_config_has_the_id_that_batchflow_gives_it():
    (only,) = ids_of()
    assert only[:8] == "b8c9f031"


def test_an_id_is_eight_hex_digits_and_eight_decimal_ones():
    for one in ids_of(Domain(a=list(range(50)))):
        assert re.fullmatch(r"[0-9a-f]{8}[0-9]{8}", one)


names = st.sampled_from(["a", "b", "head/layout", "c d", "é", "updated", "z", "-", "A"])
texts = st.one_of(
    st.integers(-20, 20), st.floats(allow_nan=False), st.booleans(), st.none(), st.text(max_size=4)
)


@law
@given(st.dictionaries(names, st.lists(texts, min_size=1, max_size=2), max_size=3))
def test_the_first_digits_follow_the_texts_of_the_config(options):
    domain = Domain(options)
    expected = [formula(item.alias()) for item in domain.set_iter_params(additional=False)]
    assert [one[:8] for one in ids_of(domain)] == expected


def test_the_first_digits_do_not_follow_the_order_of_parameters():
    left = ids_of(Domain(a=[1]) * Domain(b=[2]))
    right = ids_of(Domain(b=[2]) * Domain(a=[1]))
    assert left[0][:8] == right[0][:8] == formula({"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Alias([16, 32], "small"), "small"),
        (np.mean, "mean"),
        (0.1, "0.1"),
        ("a/b", "a/b"),
        (np.float64(2), "2.0"),
    ],
    ids=["alias", "function", "float", "slash", "numpy"],
)
def test_the_first_digits_follow_the_alias_of_a_value(value, text):
    (only,) = ids_of(Option("v", [value]))
    assert only[:8] == formula({"v": text})


def test_the_first_digits_follow_names_of_any_text():
    (only,) = ids_of(Domain({"head/layout": ["fa"], "head/units": [10]}))
    assert only[:8] == formula({"head/layout": "fa", "head/units": "10"})


def test_the_first_digits_follow_the_repetition():
    expected = [formula({"a": text}, repetition) for repetition in (0, 1, 2) for text in "12"]
    assert [one[:8] for one in ids_of(Domain(a=[1, 2]), n_reps=3)] == expected


def test_ids_stand_in_domain_order():
    frame = run(Domain(a=[3, 1, 2], b=[1, 0]))
    assert [one[:8] for one in frame.id] == [
        formula({"a": str(a), "b": str(b)}) for a in (3, 1, 2) for b in (1, 0)
    ]
    assert list(zip(frame.a, frame.b, strict=True)) == [(a, b) for a in (3, 1, 2) for b in (1, 0)]


EQUAL_CONFIGS = {
    "n_configs above the size": lambda **options: ids_of(
        Domain(a=[1, 2]), n_configs=300, **options
    ),
    "n_configs and repetitions": lambda **options: ids_of(
        Domain(a=[1]), n_configs=100, n_reps=3, repeat_each=7, **options
    ),
    "duplicates in a list": lambda **options: ids_of(Domain(a=[1] * 300), **options),
    "duplicates in a sum": lambda **options: ids_of(
        Domain(a=[1, 2]) + Domain(a=[2, 1]) + Domain(a=[1, 1]), **options
    ),
    "duplicates in a mixture": lambda **options: ids_of(
        0.5 * Domain(a=[1] * 50) + 0.5 * Domain(a=[1] * 50), **options
    ),
    "duplicates in pairs": lambda **options: ids_of(Domain(a=[1, 1]) @ Domain(b=[2, 2]), **options),
    "empty configs": lambda **options: ids_of(n_configs=300, **options),
    "a discrete sampler": lambda **options: ids_of(
        Option("s", NumpySampler("integers", low=0, high=2)), n_configs=300, **options
    ),
    "a constant sampler": lambda **options: ids_of(
        Option("s", NumpySampler("normal", loc=5, scale=0)), n_configs=20, **options
    ),
    "a sampler that often repeats itself": lambda **options: ids_of(
        Option("s", NumpySampler("beta", a=1e-3, b=1e-3)), n_configs=20, **options
    ),
    "equal texts of different values": lambda **options: ids_of(
        Domain(a=[1, "1", Alias(2, "1"), Alias([1], 1)]), **options
    ),
}
equal_configs = pytest.mark.parametrize("ids", EQUAL_CONFIGS.values(), ids=EQUAL_CONFIGS.keys())


@equal_configs
def test_experiments_of_equal_configs_have_different_ids(ids):
    for seed in (0, 1, 42):
        found = ids(seed=seed)
        assert len(set(found)) == len(found)


@equal_configs
def test_equal_seeds_give_equal_ids(ids):
    assert ids(seed=42) == ids(seed=42)


def test_different_seeds_give_different_digits_to_the_same_configs():
    one, other = ids_of(Domain(a=[1, 2, 3]), seed=1), ids_of(Domain(a=[1, 2, 3]), seed=2)
    assert [i[:8] for i in one] == [i[:8] for i in other]
    assert not set(one) & set(other)


def test_runs_without_seed_get_new_digits():
    assert not set(ids_of(Domain(a=[1, 2]), seed=None)) & set(ids_of(Domain(a=[1, 2]), seed=None))


def test_ids_are_unique_in_a_large_research():
    found = ids_of(Domain(a=list(range(50)), b=list(range(40))), n_reps=2)
    assert len(set(found)) == len(found) == 4000


def test_adding_configs_changes_no_id():
    small = ids_of(Domain(a=[1, 2, 2]))
    grown = ids_of(Domain(a=[0]) + Domain(a=[1, 2, 5, 2]))
    assert [grown[i] for i in (1, 2, 4)] == small


def test_adding_configs_changes_no_id_of_a_sampled_config():
    sampled = Domain(a=[1, 2, 3]) * Option("s", scipy.stats.norm())
    small = run(sampled)
    for more in (
        Domain(a=[4]),
        Domain(a=[4], s=[0.5]),
        Domain(a=[4]) * Option("s", scipy.stats.norm()),
    ):
        grown = run(sampled + more)
        assert list(grown.s[:3]) == list(small.s)
        assert list(grown.id[:3]) == list(small.id)


class Tenths:
    """A sampler of the user that gives 0.1, 0.2, 0.3 and so on."""

    def __init__(self):
        self.n_drawn = 0

    def sample(self, size):
        self.n_drawn += size
        return [i / 10 for i in range(self.n_drawn - size + 1, self.n_drawn + 1)]


def test_adding_sampled_configs_before_others_changes_no_id_of_theirs():
    small = run(Domain(a=[1, 2]) * Option("s", Tenths()))
    grown = run(Domain(b=[1]) * Option("t", Tenths()) + Domain(a=[1, 2]) * Option("s", Tenths()))
    assert list(grown.s[1:]) == list(small.s) == [0.1, 0.2]
    assert list(grown.id[1:]) == list(small.id)


@pytest.mark.parametrize(
    "domain", [Domain(a=[1, 2]), Option("s", NumpySampler("n"))], ids=["listed", "sampled"]
)
def test_more_configs_or_repetitions_change_no_id_of_the_first_ones(domain):
    few = ids_of(domain, n_configs=5)
    assert ids_of(domain, n_configs=9)[:5] == few
    assert ids_of(domain, n_configs=5, n_reps=3)[:5] == few


def test_repetitions_of_a_config_have_ids_of_their_own():
    found = ids_of(Domain(a=[1, 2]), n_reps=3)
    assert len(set(found)) == 6


@pytest.mark.parametrize(
    "options",
    [{"n_iters": 3}, {"branches": 2}, {"executor_target": "for"}, {"parallel": False}],
    ids=str,
)
def test_ids_do_not_follow_how_the_run_is_made(options):
    domain = Domain(a=[1, 2], b=[3, 4])
    assert list(dict.fromkeys(ids_of(domain, **options))) == ids_of(domain)


PREFIXED = {
    "a product": lambda: Domain(a=[3, 1, 2], b=["z", "y"]),
    "a dozen values": lambda: Domain(a=list(range(12, 0, -1)), b=["z", "y"]),
    "a sum of other values": lambda: Domain(a=["z", "y"]) + Domain(a=["x", "w"]),
    "a sum of other parameters": lambda: Domain(a=["z", "y"]) + Domain(b=["x", "w"]),
    "pairs": lambda: Domain(a=["z", "y", "x"]) @ Domain(b=["y", "z", "x"]),
    "names in another order": lambda: Domain(b=[2, 1]) * Domain(a=[2, 1]),
    "an array times a sampler": lambda: Domain(a=[2, 1, 0]) * Option("s", NumpySampler("n")),
}
prefixed = pytest.mark.parametrize("domain", PREFIXED.values(), ids=PREFIXED.keys())


@prefixed
def test_prefixed_ids_sort_as_the_domain_does(domain):
    found = ids_of(domain(), create_id_prefix=True)
    assert sorted(found) == found
    assert len(set(found)) == len(found)


@prefixed
def test_a_prefix_stands_before_the_id_without_it(domain):
    plain, long = ids_of(domain()), ids_of(domain(), create_id_prefix=True)
    assert [one[-16:] for one in long] == plain
    assert all(len(one) > 16 for one in long)


def test_prefixed_ids_of_an_endless_domain_sort_as_they_were_drawn():
    found = ids_of(Option("s", NumpySampler("n")), n_configs=15, create_id_prefix=True)
    assert sorted(found) == found


def test_prefixed_ids_are_unique_when_the_domain_starts_over():
    found = ids_of(Domain(a=[2, 1]), n_configs=7, n_reps=2, create_id_prefix=True)
    assert len(set(found)) == 14


def test_prefixed_ids_may_be_asked_of_the_domain():
    found = ids_of(Domain(a=[3, 1, 2]).set_iter_params(create_id_prefix=True))
    assert sorted(found) == found
    assert all(len(one) > 16 for one in found)


def test_the_id_stands_first_in_the_table():
    assert list(run(Domain(b=[1], a=[2])).columns) == ["id", "b", "a", "iteration", "nothing"]


def test_an_experiment_has_one_id_in_all_its_iterations():
    frame = run(Domain(a=[1, 2]), n_iters=3)
    assert list(frame.groupby("id", sort=False).iteration.apply(list)) == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.cluster
@pytest.mark.slow
def test_ids_are_the_same_on_worker_processes():
    domain = Domain(a=[1, 2, 2], b=[3, 4])
    assert ids_of(domain, workers=2) == ids_of(domain)


def test_an_appended_branch_config_is_part_of_the_id_and_of_the_table():
    frame = run(Domain(a=[1, 2, 3, 4]), branches=[{"side": "left"}, {"side": "right"}])
    appended = list(zip(frame.a, frame.side, strict=True))
    assert appended == [(1, "left"), (2, "right"), (3, "left"), (4, "right")]
    assert [one[:8] for one in frame.id] == [
        formula({"a": str(a), "side": side}) for a, side in appended
    ]


def test_the_first_digits_follow_the_number_of_domain_updates():
    later = iter([Domain(a=[2]), Domain(a=[1, 3]), None])
    research = Research(domain=Domain(a=[1])).add_callable(nothing, save_to="nothing")
    research = research.update_domain(lambda: next(later), when="last")
    frame = research.run(seed=42, dump_results=False, bar=False).results.df
    expected = [
        formula({"a": a}, updates=updates)
        for a, updates in [("1", 0), ("2", 1), ("1", 2), ("3", 2)]
    ]
    assert [one[:8] for one in frame.id] == expected
