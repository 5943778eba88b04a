"""Runs that are ended, that fail beside others, and that give values which do not travel."""

from __future__ import annotations

import asyncio
import time

import pytest

from daskresearch import EC, E, NumpySampler, O, Option, R, Research
from daskresearch.errors import DomainError
from tests.support.running import DEADLINE_S, places, wait_for


def slow(x):
    time.sleep(0.01)
    return x


@places
def test_an_endless_run_ends_when_it_is_terminated(place):
    research = Research(domain=Option("x", NumpySampler("u"))).slow(EC("x"), save_to="y")
    research = research.update_domain(lambda: None, 10**9).run(
        bar=False, dump_results=False, detach=True, **place
    )
    wait_for(lambda: len(research.results) > 0)
    research.terminate()
    assert research.wait(DEADLINE_S)
    assert len(research.results.df) == len(research.results) > 0


@pytest.mark.cluster
def test_a_failing_run_leaves_another_one_on_the_same_workers_alone():
    def fail():
        raise ValueError("on purpose")

    live = Research(domain=Option("x", list(range(300)))).slow(EC("x"), save_to="y")
    live = live.run(workers=2, bar=False, dump_results=False, detach=True)
    with pytest.raises(ValueError, match="on purpose"):
        Research(n_reps=4).fail().run(workers=2, bar=False, dump_results=False, debug=True)
    assert live.wait(60)
    assert live.results.df.y.tolist() == list(range(300))


@pytest.mark.cluster
def test_a_value_that_cannot_be_unpickled_fails_its_experiment_alone():
    class TwoArgumentsError(Exception):
        def __init__(self, a, b):
            super().__init__(a)
            self.b = b

    def make(x):
        return TwoArgumentsError(1, 2) if x == 2 else x

    results = (
        Research(domain=Option("x", [1, 2, 3]))
        .make(EC("x"), save_to="y")
        .run(workers=2, bar=False, dump_results=False)
        .results
    )
    assert results.df.x.tolist() == [1, 3]
    assert "variable 'y'" in results.failures.traceback.item()


@places
def test_any_exception_but_the_keyboards_ends_one_experiment(place):
    def leave(x):
        if x == 2:
            raise asyncio.CancelledError
        return x

    results = (
        Research(domain=Option("x", [1, 2, 3]))
        .leave(EC("x"), save_to="y")
        .run(bar=False, dump_results=False, **place)
        .results
    )
    assert results.df.y.tolist() == [1, 3]
    assert results.failures.unit.tolist() == ["leave"]


@places
def test_a_root_that_draws_is_called_once_for_each_value_it_reads_in_a_large_group(place, tmp_path):
    def draw(path, x, random):
        with open(path, "a") as file:
            file.write(f"{x}\n")
        return x + random.random()

    path = tmp_path / "calls"
    domain = Option("y", list(range(3))) * Option("x", list(range(300)))
    research = Research(domain=domain).draw(str(path), EC("x"), E().random, root=True, save_to="z")
    table = research.run(bar=False, dump_results=False, seed=1, **place).results.df
    assert table.groupby("x").z.nunique().eq(1).all()
    assert sorted(map(int, path.read_text().split())) == list(range(300))


@places
def test_a_copied_root_output_belongs_to_its_experiment_for_all_iterations(place):
    def append(values, x):
        values.append(x)
        return len(values)

    research = Research(domain=Option("x", [1, 2])).add_callable(list, root=True, copy=True)
    table = (
        research.append(O("list"), EC("x"), save_to="n")
        .run(n_iters=3, bar=False, dump_results=False, **place)
        .results.df
    )
    assert table.n.tolist() == [1, 2, 3, 1, 2, 3]


def test_an_endless_domain_with_a_stateful_root_needs_groups():
    research = Research(domain=Option("x", NumpySampler("u"))).add_generator(
        iter, args=[[1]], root=True
    )
    with pytest.raises(
        DomainError, match="stateful roots would wait for all of it; give branches=n"
    ):
        research.update_domain(lambda: None, 5).run(bar=False, dump_results=False)


def test_an_endless_domain_needs_more_than_an_update_at_its_end():
    research = Research(domain=Option("x", NumpySampler("u"))).slow(EC("x"))
    with pytest.raises(
        DomainError, match="is endless; give n_configs, or update_domain with a count"
    ):
        research.update_domain(lambda: None, "last").run(bar=False, dump_results=False)


def test_a_new_domain_may_not_have_the_names_of_branches_or_variables():
    research = Research(domain=Option("a", [1])).add_callable("f", str, args=[EC()], save_to="v")
    with pytest.raises(DomainError, match=r"branches set parameters \['b'\]"):
        research.update_domain(lambda: Option("b", [5])).run(
            branches=[{"b": 1}], bar=False, dump_results=False
        )
    with pytest.raises(ValueError, match="'v'"):
        research.update_domain(lambda: Option("v", [5])).run(bar=False, dump_results=False)
    dynamic = Research(domain=Option("a", [1])).add_callable(
        "f", lambda: {"w": 1}, save_output_dict=True
    )
    with pytest.raises(
        DomainError, match=r"parameters \['w'\] of the new domain are variables already"
    ):
        dynamic.update_domain(lambda r: Option("w", [5]), r=R()).run(bar=False, dump_results=False)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: EC(3), r"EC\(3\) needs a name"),
        (lambda: O(None), "O needs the name of a unit"),
        (lambda: Research().add_callable(len, args=[EC]), r"EC is a class; write EC\(\)"),
        (
            lambda: Research().add_callable(len, resources=3),
            "resources of unit 'len' must be a dict",
        ),
        (lambda: Research().add_callable(len, version=3), "version of unit 'len' must be a str"),
        (
            lambda: Option("a", [1]).set_iter_params(seed="abc"),
            "seed must be a non-negative integer, not 'abc'",
        ),
        (
            lambda: Option("a", [1]).set_iter_params(n_reps=None),
            "n_reps must be a positive integer",
        ),
    ],
)
def test_slips_of_the_pen_are_refused_at_once(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_large_integers_beside_gaps_stay_exact():
    large = 2**60 + 1
    research = (
        Research().add_callable("f", lambda: large, when=2, save_to="n").save(E().iteration, "i")
    )
    assert research.run(n_iters=2, bar=False, dump_results=False).results.df.n[1] == large
