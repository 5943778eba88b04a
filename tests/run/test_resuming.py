"""A run goes on: what is new, failed or changed runs, what is finished does not."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daskresearch import EC, Alias, Domain, E, O, Option, R, Research, ResearchResults
from daskresearch.errors import ChangedUnitsWarning, FolderExistsError, OptionError
from tests.support.plans import RunSpec, UnitSpec, research_of, runs
from tests.support.reference import run_reference
from tests.support.running import on_workers
from tests.test_equivalence import as_reference, as_rows, options_of


def noted(x, calls):
    """Note a call in a file, and return the square."""
    with open(calls, "a") as file:
        file.write(f"{x}\n")
    return x * x


@pytest.fixture
def calls(tmp_path):
    """Give the path of a file, and what reads the calls that were noted since it was last asked."""

    class Calls:
        path = str(tmp_path / "calls")

        def taken(self):
            file = Path(self.path)
            found = file.read_text().split() if file.exists() else []
            file.unlink(missing_ok=True)
            return [int(one) for one in found]

    return Calls()


@pytest.fixture
def name(tmp_path):
    return str(tmp_path / "research")


def squares(name, xs, calls):
    return Research(name, domain=Option("x", list(xs))).noted(
        EC("x"), calls=calls.path, save_to="y"
    )


PLACES = pytest.mark.parametrize(
    "place",
    [
        {},
        {"scheduler": "threads", "workers": 2},
        pytest.param({"workers": 2}, marks=[pytest.mark.slow, pytest.mark.cluster]),
    ],
)


@PLACES
def test_a_finished_research_runs_nothing_again(name, calls, place):
    research = squares(name, range(6), calls)
    before = research.run(bar=False, **place).results.df
    assert sorted(calls.taken()) == list(range(6))
    after = research.run(bar=False, resume=True, **place).results.df
    assert calls.taken() == []
    assert after.equals(before)
    assert research.monitor.n_finished == 6


@PLACES
def test_a_grown_domain_runs_only_what_is_new_and_is_shown_in_its_order(name, calls, place):
    squares(name, [1, 4], calls).run(bar=False, seed=3, **place)
    calls.taken()
    grown = squares(name, range(6), calls).run(bar=False, resume=True, **place)
    assert sorted(calls.taken()) == [0, 2, 3, 5]
    whole = squares(f"{name}_whole", range(6), calls).run(bar=False, seed=3)
    assert grown.results.df.equals(whole.results.df)
    assert ResearchResults(name).df.equals(whole.results.df)


def test_what_left_the_domain_is_kept_behind_the_rest(name, calls):
    squares(name, [7, 1, 2], calls).run(bar=False)
    research = squares(name, [2, 3], calls).run(bar=False, resume=True)
    assert list(research.results.df.x[:2]) == [2, 3]
    assert sorted(research.results.df.x) == [1, 2, 3, 7]


def broken(x, good):
    """Raise for all but some."""
    if x not in Path(good).read_text().split():
        raise ValueError(x)
    return int(x)


@PLACES
def test_failed_experiments_run_again_and_their_failures_go(name, tmp_path, place):
    good = tmp_path / "good"
    good.write_text("1 2")
    research = Research(name, domain=Option("x", ["1", "2", "3", "4"])).broken(
        EC("x"), good=str(good), save_to="y"
    )
    assert list(research.run(bar=False, **place).results.failures.exception.map(str)) == ["3", "4"]
    good.write_text("1 2 3")
    results = research.run(bar=False, resume=True, **place).results
    assert list(results.df.y) == [1, 2, 3]
    assert list(results.failures.exception.map(str)) == ["ValueError('4')"]
    assert len(results) == 4


def test_a_changed_unit_is_named_and_its_experiments_kept(name):
    def first(x):
        return x

    def second(x):
        return -x

    def research(step, xs):
        return Research(name, domain=Option("x", xs)).add_callable(
            "step", step, x=EC("x"), save_to="y"
        )

    research(first, [1, 2]).run(bar=False)
    with pytest.warns(
        ChangedUnitsWarning,
        match=r"2 finished experiments are kept .* changed: unit 'step'; resume='c",
    ):
        results = research(second, [1, 2, 3]).run(bar=False, resume=True).results
    assert list(results.df.y) == [1, 2, -3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = research(second, [1, 2, 3]).run(bar=False, resume="changed").results
        assert list(results.df.y) == [-1, -2, -3]
        research(second, [1, 2, 3]).run(bar=False, resume=True)  # nothing is stale any more


def test_resume_changed_runs_only_what_ran_by_another_plan(name, calls):
    squares(name, [1, 2], calls).run(bar=False)
    calls.taken()
    changed = squares(name, [1, 2, 3], calls).add_callable(
        "more", abs, args=[O("noted")], save_to="z"
    )
    with pytest.warns(ChangedUnitsWarning, match=r"unit 'more' \(which is new\)"):
        changed.run(bar=False, resume=True)
    assert calls.taken() == [3]
    changed.run(bar=False, resume="changed")
    assert sorted(calls.taken()) == [1, 2]
    assert list(changed.results.df.z) == [1, 4, 9]


def test_another_number_of_iterations_is_named(name):
    research = Research(name).add_callable("step", int, args=[E().iteration], save_to="i")
    research.run(bar=False, n_iters=2)
    with pytest.warns(ChangedUnitsWarning, match="changed: n_iters"):
        assert list(research.run(bar=False, n_iters=3, resume=True).results.df.i) == [0, 1]
    assert list(research.run(bar=False, n_iters=3, resume="changed").results.df.i) == [0, 1, 2]


def test_code_that_cannot_be_compared_is_named(name):
    class Odd:
        """A function without content."""

        def __init__(self):
            self.lock = __import__("threading").Lock()

        def __call__(self):
            return 1

    Research(name).add_callable("odd", Odd(), save_to="y").run(bar=False)
    with pytest.warns(ChangedUnitsWarning, match=r"unit 'odd' \(whose code cannot be compared\)"):
        Research(name).add_callable("odd", Odd(), save_to="y").run(bar=False, resume=True)


def test_another_value_under_the_same_text_runs_again(name, calls):
    def research(value):
        return Research(name, domain=Option("x", [Alias(value, "one"), 2])).noted(
            EC("x"), calls.path, save_to="y"
        )

    research(1).run(bar=False)
    assert calls.taken() == [1, 2]
    results = research(3).run(bar=False, resume=True).results
    assert calls.taken() == [3]
    assert list(results.df.y) == [9, 4]


def draw(random):
    """Return a number at random."""
    return float(random.random())


def test_a_resumed_research_draws_what_an_uninterrupted_one_does(tmp_path):
    def research(n, name):
        return Research(str(tmp_path / name), domain=Option("x", list(range(n)))).draw(
            E().random, save_to="r"
        )

    part = research(3, "part").run(bar=False)
    whole = research(5, "part").run(bar=False, resume=True)
    assert whole.seed == part.seed
    alone = research(5, "whole").run(bar=False, seed=part.seed)
    assert whole.results.df.equals(alone.results.df)


def test_another_seed_is_refused(name, calls):
    squares(name, [1], calls).run(bar=False, seed=1)
    with pytest.raises(
        OptionError,
        match=r"made with seed 1, so that it cannot go on with seed 2; leave the seed away",
    ):
        squares(name, [1], calls).run(bar=False, seed=2, resume=True)
    squares(name, [1], calls).run(bar=False, seed=1, resume=True)
    assert calls.taken() == [1]


def test_another_form_of_ids_is_refused(name, calls):
    squares(name, [1], calls).run(bar=False)
    with pytest.raises(OptionError, match="made with create_id_prefix=False"):
        squares(name, [1], calls).run(bar=False, resume=True, create_id_prefix=True)


@pytest.mark.parametrize("then", [[1, 5, 2], range(11)])
def test_a_domain_that_changes_the_prefixes_of_ids_is_refused(then, name, calls):
    squares(name, [1, 2], calls).run(bar=False, create_id_prefix=True)
    assert squares(name, [1, 2, 3], calls).run(
        bar=False, create_id_prefix=True, resume=True
    ).results.df.y.tolist() == [
        1,
        4,
        9,
    ]
    before = Path(name, "research.json").read_bytes()
    calls.taken()
    with pytest.raises(OptionError, match=r"experiment \w+ of the folder is \w+ in this domain"):
        squares(name, then, calls).run(bar=False, create_id_prefix=True, resume=True)
    assert (calls.taken(), Path(name, "research.json").read_bytes()) == ([], before)
    assert ResearchResults(name).df.y.tolist() == [1, 4, 9]


def test_a_folder_that_is_there_is_refused_with_the_ways_out(name, calls):
    squares(name, [1], calls).run(bar=False)
    before = {path: path.read_bytes() for path in Path(name).rglob("*") if path.is_file()}
    with pytest.raises(
        FolderExistsError, match=r"resume=True.*Research.remove\('.*'\).*another name"
    ):
        squares(name, [1], calls).run(bar=False)
    with pytest.raises(FileExistsError):
        squares(name, [1], calls).run(bar=False)
    assert {path: path.read_bytes() for path in Path(name).rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_other_files_is_refused(name, calls, resume):
    Path(name).mkdir()
    (Path(name) / "thesis.tex").touch()
    with pytest.raises(FolderExistsError, match=r"is no research: it holds 'thesis.tex'"):
        squares(name, [1], calls).run(bar=False, resume=resume)
    assert [path.name for path in Path(name).iterdir()] == ["thesis.tex"]


def test_what_is_refused_leaves_no_folder(name):
    with pytest.raises(ValueError, match="no such parameter"):
        Research(name).add_callable(abs, args=[EC("x")]).run(bar=False)
    assert not Path(name).exists()


def test_there_need_not_be_a_folder_to_resume(name, calls):
    assert list(squares(name, [3], calls).run(bar=False, resume=True).results.df.y) == [9]


def test_roots_that_no_remaining_experiment_needs_do_not_run(name, calls):
    def research(xs):
        return (
            Research(name, domain=Domain(x=xs) * Domain(by=[1, 2]))
            .add_callable("load", noted, args=[EC("x"), calls.path], root=True)
            .add_callable("add", int.__add__, args=[O("load"), EC("by")], save_to="y")
        )

    research([1, 2]).run(bar=False)
    assert sorted(calls.taken()) == [1, 2]
    research([1, 2, 3]).run(bar=False, resume=True)
    assert calls.taken() == [3]


def drawn(random):
    return float(random.normal())


def walked(random):
    while True:
        yield float(random.normal())


@pytest.mark.parametrize("walks", [False, True])
@pytest.mark.parametrize(
    ("first", "then", "n_again"),
    [
        ([1, 2, 3, 4], [0, 1, 2, 3, 4], 3),
        ([0, 1, 2, 3], [0, 2, 1, 3], 2),
        ([1, 2, 3], [1, 2, 3, 4], 1),
    ],
)
def test_experiments_that_come_into_another_group_share_what_it_shares(
    walks, first, then, n_again, name, calls
):
    def grouped(xs, **options):
        research = Research(domain=Option("x", list(xs)))
        if walks:
            research = research.add_generator("root", walked, args=[E().random], root=True)
        else:
            research = research.add_callable("root", drawn, args=[E().random], root=True)
        research = research.add_callable(
            "shared", lambda value: value, args=[O("root")], save_to="shared"
        )
        research = research.add_callable(noted, args=[EC("x")], calls=calls.path, save_to="y")
        return research.run(bar=False, branches=2, n_iters=1, **options).results.df.drop(
            columns="id"
        )

    grouped(first, name=name, seed=1)
    calls.taken()
    resumed = grouped(then, name=name, resume=True)
    again = calls.taken()
    assert resumed.equals(grouped(then, dump_results=False, seed=1))
    assert len(again) == n_again or walks  # members of a group that walks run together


def test_the_description_says_what_is_needed_to_repeat_the_run(name):
    domain = Option("x", [1, Alias(max, "most")])
    research = Research(name, domain=domain, n_reps=2).add_callable(
        "f", len, args=["abc"], save_to="n", when=[2, "last"]
    )
    research.run(bar=False, n_iters=4)
    described = json.loads((Path(name) / "research.json").read_text())
    assert {"format", "name", "seed", "created", "versions", "domain", "plan"} <= described.keys()
    assert described["seed"] == research.seed
    assert described["domain"]["values"] == {"x": ["1", "most"]}
    assert described["domain"]["n_reps"] == 2
    assert described["options"]["n_iters"] == 4
    (unit,) = described["plan"]
    assert (unit["name"], unit["function"], unit["args"]) == ("f", "builtins.len", ["'abc'"])
    assert (unit["when"], unit["save_to"], unit["root"]) == ([2, "last"], "n", False)
    assert {"python", "daskresearch", "dask", "numpy", "pandas", "pyarrow", "zarr"} <= described[
        "versions"
    ].keys()
    (run,) = described["runs"]
    assert (run["state"], run["n_experiments"], run["n_failed"]) == ("finished", 4, 0)


def rows_after_resume(spec: RunSpec, n_first: int, place: dict[str, object]):
    """Return the rows of a research of which the first configs ran before the others."""
    options = {**options_of(spec), **place}
    with tempfile.TemporaryDirectory() as folder:
        first = research_of(spec)
        part = Research(f"{folder}/research", spec.domain, n_configs=n_first, n_reps=spec.n_reps)
        part = part._with(first.plan, ())
        part.run(bar=False, **options)
        research = research_of(spec).run(f"{folder}/research", bar=False, resume=True, **options)
        failures = research.results.failures
        return as_rows(research.results.df), list(
            zip(failures.id, failures.unit, failures.iteration, strict=True)
        )


# the draws of a root in lock-step follow from which members come to it
DRAWN_LAST = RunSpec(
    (
        UnitSpec("callable", "c0", (("constant", 2), ("random", None), ("config", "a")),
                 fails_below=10),
        UnitSpec("callable", "c1", (("random", None),), ("last",), "v_c1", root=True),
    ),
    (0,), (5, 7), n_iters=2,
)  # fmt: skip


@settings(max_examples=25)
@given(spec=runs(), n_first=st.integers(1, 4))
@example(spec=DRAWN_LAST, n_first=1)
def test_a_research_in_two_runs_gives_the_rows_of_the_plain_loop(spec, n_first):
    assert run_reference(spec) is not None
    assert rows_after_resume(spec, min(n_first, spec.domain.size), {}) == as_reference(spec)


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [{"scheduler": "threads", "workers": 3}, on_workers({"workers": 2})],
    ids=["threads", "two workers"],
)
@settings(max_examples=60)
@given(spec=runs(), n_first=st.integers(1, 4))
def test_a_research_in_two_parallel_runs_gives_the_rows_of_the_plain_loop(place, spec, n_first):
    assert rows_after_resume(spec, min(n_first, spec.domain.size), place) == as_reference(spec)


def test_a_domain_that_changes_goes_on_where_it_was(name, calls):
    def double(results):
        last = results.df.y.iloc[-1]
        return Option("x", [int(last)]) if last < 1000 else None

    def research():
        return squares(name, [2], calls).update_domain(double, "last", results=R())

    assert list(research().run(bar=False).results.df.y) == [4, 16, 256, 65536]
    calls.taken()
    assert list(research().run(bar=False, resume=True).results.df.y) == [4, 16, 256, 65536]


def test_the_cost_of_units_is_kept_in_the_folder(name, calls):
    research = squares(name, range(5), calls).run(bar=False, profile=2)
    units = research.profiler[research.profiler.function == ""]
    assert (list(units.unit), list(units.n_calls)) == (["noted"], [5])
    assert research.profiler.function.str.contains("write").any()
    assert Research.load(name).profiler.equals(research.profiler)


@pytest.mark.cluster
@pytest.mark.slow
def test_the_cost_of_units_is_measured_on_workers(name, calls):
    research = squares(name, range(5), calls).run(bar=False, profile=True, workers=2)
    assert research.profiler[["unit", "n_calls"]].values.tolist() == [["noted", 5]]
    kept = squares(name, range(5), calls).run(
        bar=False, profile=True, workers=2, dump_results=False
    )
    assert kept.profiler[["unit", "n_calls"]].values.tolist() == [["noted", 5]]


def test_a_domain_that_changes_goes_on_after_a_kill_between_its_domains(name, tmp_path):
    good, seen = tmp_path / "good", tmp_path / "seen"

    def step(x, good):
        if x >= 4 and not good.exists():
            raise ValueError("killed here")
        return 2 * x

    def double(results, path):
        frame = results.df
        with open(path, "a") as file:
            file.write(f"{frame.y.tolist()}\n")
        return Option("x", [int(frame.y.iloc[-1])]) if frame.y.iloc[-1] < 16 else None

    def research():
        plan = Research(name, domain=Option("x", [1])).add_callable(
            step, args=[EC("x"), good], save_to="y"
        )
        return plan.update_domain(double, "last", results=R(), path=str(seen))

    with pytest.raises(ValueError, match="killed here"):
        research().run(bar=False, debug=True)
    first = seen.read_text().splitlines()
    assert first == ["[2]", "[2, 4]"]
    good.touch()
    assert list(research().run(bar=False, resume=True).results.df.y) == [2, 4, 8, 16]
    # what the function sees is what it saw, though the folder holds more
    assert seen.read_text().splitlines()[2:] == ["[2]", "[2, 4]", "[2, 4, 8]", "[2, 4, 8, 16]"]


def test_a_resumed_run_changes_its_domain_at_the_same_experiments(name, tmp_path):
    seen = tmp_path / "seen"

    def watch(results, path):
        with open(path, "a") as file:
            file.write(f"{sorted(results.df.x.tolist())}\n")

    def research(n):
        plan = Research(name, domain=Option("x", list(range(n)))).add_callable(
            abs, args=[EC("x")], save_to="y"
        )
        return plan.update_domain(watch, [2, "last"], results=R(), path=str(seen))

    research(4).run(bar=False)
    assert seen.read_text().splitlines() == ["[0, 1]", "[0, 1, 2, 3]"]
    research(7).run(bar=False, resume=True)
    expected = [str(list(range(n))) for n in (2, 4, 6, 7)]
    assert seen.read_text().splitlines()[2:] == expected


def test_what_left_the_domain_is_behind_also_if_nothing_is_left_to_run(name, calls):
    squares(name, [1, 2, 3], calls).run(bar=False)
    assert list(squares(name, [3], calls).run(bar=False, resume=True).results.df.x) == [3, 1, 2]


def test_a_killed_run_is_called_so_by_the_next(name, calls):
    squares(name, [1], calls).run(bar=False)
    path = Path(name) / "research.json"
    path.write_text(path.read_text().replace('"finished"', '"running"'))
    squares(name, [1], calls).run(bar=False, resume=True)
    assert [run["state"] for run in json.loads(path.read_text())["runs"]] == ["killed", "finished"]
