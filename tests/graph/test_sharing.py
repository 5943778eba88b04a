"""What experiments have in common runs once, wherever it runs: counted by appended files."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import dask
import numpy as np
import pandas as pd
import psutil
import pytest

from daskresearch import EC, Alias, Domain, E, O, Option, Research
from daskresearch.worker import Outcome
from tests.support.running import noted, on_workers, saying, wait_for

Compute = Callable[[Research], pd.DataFrame]

PLACES = [
    "in process", "threads", on_workers("two workers"), on_workers("client"),
    "graph", "graph in threads", on_workers("graph in processes"), on_workers("graph on client"),
]  # fmt: skip


def append(path: Any, text: Any) -> None:
    """Append a line to a file, in whichever process."""
    with open(path, "a") as file:
        file.write(f"{text}\n")


@pytest.fixture(params=PLACES)
def compute(request: pytest.FixtureRequest) -> Compute:
    """Give what computes a research in each of the places where it can run."""
    place = request.param
    if place == "graph in processes":
        pool = request.getfixturevalue("pool")
        return lambda research: dask.compute(
            research.options(seed=7), scheduler="processes", pool=pool
        )[0]
    if place.startswith("graph"):
        scheduler: Any = {"graph": "synchronous", "graph in threads": "threads"}.get(place)
        scheduler = scheduler or request.getfixturevalue("client")
        return lambda research: dask.compute(research.options(seed=7), scheduler=scheduler)[0]
    places: dict[str, dict[str, Any]] = {
        "threads": {"scheduler": "threads", "workers": 3},
        "two workers": {"workers": 2},
    }
    options = places.get(place, {})
    if place == "client":
        options = {"scheduler": request.getfixturevalue("client")}
    return lambda research: (
        research.run(bar=False, dump_results=False, seed=7, **options).results.df
    )


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Give two processes that stay."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def calls(tmp_path: Any) -> str:
    """Give the path of a file to which calls are appended."""
    return str(tmp_path / "calls")


def load(calls: str, *args: Any) -> Any:
    """Note the call, and return the arguments."""
    append(calls, "-".join(["load", *[str(one) for one in args]]))
    return args[0] if len(args) == 1 else args


def draw(calls: str, random: np.random.Generator) -> float:
    """Note the call, and return a number."""
    append(calls, "draw")
    return float(random.random())


def add_up(array: np.ndarray, *more: int) -> int:
    """Return the sum of all."""
    return int(array.sum()) + sum(more)


def use(value: Any, *more: Any) -> str:
    """Return a text of the arguments."""
    return repr((value, *more))


def test_a_root_without_config_runs_once_for_the_whole_research(compute, calls):
    research = Research(domain=Domain(a=[1, 2, 3], b=[4, 5]), n_reps=2)
    research = research.add_callable(load, args=[calls, "x"], root=True).use(
        O("load"), EC("a"), save_to="used"
    )
    assert list(compute(research).used) == [
        f"('x', {a})" for _ in range(2) for a in (1, 2, 3) for _ in range(2)
    ]
    assert noted(calls) == ["load-x"]


def test_a_root_that_reads_config_runs_once_for_each_distinct_value(compute, calls):
    research = Research(domain=Domain(a=[1, 2], b=[4, 5, 6]), n_reps=2)
    research = research.add_callable(load, args=[calls, EC("a")], root=True).use(
        O("load"), EC("b"), save_to="used"
    )
    assert list(compute(research).used) == [
        f"({a}, {b})" for _ in range(2) for a in (1, 2) for b in (4, 5, 6)
    ]
    assert noted(calls) == ["load-1", "load-2"]


def test_values_that_are_equal_by_content_share_a_call(compute, calls):
    arrays = [np.arange(3), np.arange(3), np.arange(3)[::-1]]
    research = Research(domain=Option("a", arrays)).add_callable(
        load, args=[calls, EC("a")], root=True
    )
    assert list(compute(research.use(O("load"), save_to="used")).used) == [
        "(array([0, 1, 2]),)", "(array([0, 1, 2]),)", "(array([2, 1, 0]),)"
    ]  # fmt: skip
    assert len(noted(calls)) == 6  # three words of each of two calls


def test_chains_of_roots_run_once_for_each_distinct_input(compute, calls):
    research = (
        Research(domain=Domain(a=[1, 2], b=[3, 4], c=[5, 6]))
        .add_callable(load, args=[calls, EC("a")], root=True)
        .add_callable("clean", load, args=[calls, O("load"), EC("b")], root=True)
        .use(O("clean"), EC("c"), save_to="used")
    )
    assert list(compute(research).used) == [
        f"(({a}, {b}), {c})" for a in (1, 2) for b in (3, 4) for c in (5, 6)
    ]  # fmt: skip
    assert noted(calls) == ["load-1", "load-1-3", "load-1-4", "load-2", "load-2-3", "load-2-4"]


def test_a_root_that_draws_runs_once_for_each_group(compute, calls):
    research = Research(domain=Option("a", [1, 2, 3, 4]), n_reps=2).add_callable(
        draw, args=[calls, E().random], root=True
    )
    frame = compute(research.options(branches=2).use(O("draw"), save_to="used"))
    assert noted(calls) == ["draw"] * 4
    assert list(frame.used.groupby(frame.used).size()) == [2] * 4
    assert frame.used[0] == frame.used[1] != frame.used[2]


def test_without_branches_a_root_that_draws_runs_once_for_each_repetition(compute, calls):
    research = Research(domain=Option("a", [1, 2, 3]), n_reps=2).add_callable(
        draw, args=[calls, E().random], root=True
    )
    frame = compute(research.use(O("draw"), save_to="used"))
    assert noted(calls) == ["draw"] * 2
    assert frame.used.nunique() == 2


def test_a_list_of_branches_shares_the_roots_of_its_group(compute, calls):
    research = Research(domain=Option("a", [1, 2, 3, 4])).add_callable(
        load, args=[calls, EC("lr")], root=True
    )
    research = research.options(branches=[{"lr": 0.1}, {"lr": 0.2}]).use(
        O("load"), EC("a"), save_to="used"
    )
    assert list(compute(research).used) == ["(0.1, 1)", "(0.2, 2)", "(0.1, 3)", "(0.2, 4)"]
    assert noted(calls) == ["load-0.1", "load-0.2"]


def test_a_stateful_root_makes_one_pass_for_each_group(compute, calls):
    def walk(calls: str) -> Any:
        append(calls, "walk")
        yield from range(3)

    research = Research(domain=Option("a", [1, 2, 3, 4])).add_generator(
        walk, args=[calls], root=True
    )
    frame = compute(research.options(branches=2, n_iters=2).use(O("walk"), EC("a"), save_to="used"))
    assert list(frame.used) == [f"({i}, {a})" for a in (1, 2, 3, 4) for i in (0, 1)]
    assert noted(calls) == ["walk"] * 2


def test_a_pure_research_shares_every_callable_by_its_inputs(compute, calls):
    research = Research(domain=Domain(a=[1, 2], b=[3, 4]), pure=True).add_callable(
        load, args=[calls, EC("a")]
    )
    research = research.add_callable(
        "add", lambda x, b: x + b, args=[O("load"), EC("b")], save_to="sum"
    )
    assert list(compute(research)["sum"]) == [4, 5, 5, 6]
    assert noted(calls) == ["load-1", "load-2"]


def test_equal_roots_of_other_names_share_a_call(compute, calls):
    research = Research(domain=Option("a", [1, 2])).add_callable(load, args=[calls, "x"], root=True)
    research = research.add_callable("again", load, args=[calls, "x"], root=True, save_to="again")
    assert list(compute(research.use(O("load"), save_to="used")).again) == ["x", "x"]
    assert noted(calls) == ["load-x"]


def test_a_root_that_no_iteration_reaches_is_not_called(compute, calls):
    research = Research(domain=Option("a", [1, 2])).add_callable(
        load, args=[calls, "x"], root=True, when="#5"
    )
    compute(research.options(n_iters=2).use(O("load"), save_to="used"))
    assert noted(calls) == []


@pytest.mark.filterwarnings("ignore::daskresearch.errors.FailedExperimentsWarning")
def test_a_branch_cannot_spoil_the_input_of_its_siblings(compute):
    def load_array() -> dict[str, np.ndarray]:
        return {"x": np.zeros(3)}

    def spoil(inputs: dict[str, np.ndarray], a: int) -> float:
        inputs["x"][0] = a
        return float(inputs["x"].sum())

    def total(inputs: dict[str, np.ndarray]) -> float:
        return float(inputs["x"].sum())

    research = Research(domain=Option("a", [1, 2, 3])).load_array(root=True)
    research = research.spoil(O("load_array"), EC("a"), save_to="spoilt").total(
        O("load_array"), save_to="total"
    )
    frame = compute(research)
    assert frame.spoilt.isna().all()
    assert list(frame.total) == [0, 0, 0]


def test_with_copy_each_branch_has_an_input_of_its_own(compute):
    def load_list() -> list[int]:
        return [0]

    def extend(values: list[int], a: int) -> list[int]:
        values.append(a)
        return values

    research = Research(domain=Option("a", [1, 2, 3])).load_list(root=True, copy=True)
    research = research.extend(O("load_list"), EC("a")).use(O("load_list"), save_to="used")
    assert list(compute(research).used) == ["([0, 1],)", "([0, 2],)", "([0, 3],)"]


@pytest.mark.filterwarnings("ignore::daskresearch.errors.FailedExperimentsWarning")
def test_a_failed_root_is_called_once_and_fails_what_uses_it(compute, calls):
    def break_down(calls: str) -> None:
        append(calls, "call")
        raise ValueError("broken")

    research = (
        Research(domain=Option("a", [1, 2]))
        .break_down(calls, root=True)
        .use(O("break_down"), save_to="used")
    )
    assert len(compute(research)) == 0
    assert noted(calls) == ["call"]


def test_a_delayed_argument_is_computed_once_and_shared(compute, calls):
    number = dask.delayed(load)(calls, 5)
    research = Research(domain=Option("a", [1, 2, 3])).use(
        [number, {"x": number}], EC("a"), save_to="used"
    )
    assert list(compute(research).used) == [f"([5, {{'x': 5}}], {a})" for a in (1, 2, 3)]
    assert noted(calls) == ["load-5"]


def test_a_delayed_argument_may_feed_roots_and_expressions(compute, calls):
    number = dask.delayed(load)(calls, 5)
    research = Research(domain=Option("a", [1, 2])).add_callable(
        "total", lambda x: x + 1, args=[number], root=True
    )
    research = research.use(EC("a") + number, O("total"), save_to="used")
    assert list(compute(research).used) == ["(6, 6)", "(7, 6)"]
    assert noted(calls) == ["load-5"]


@pytest.mark.cluster  # a bag is computed by processes
def test_any_dask_collection_may_be_an_argument(compute):
    import dask.array as da
    import dask.bag as db

    def total(array: np.ndarray, bag: list[int], a: int) -> int:
        assert type(array) is np.ndarray
        return int(array.sum()) + sum(bag) + a

    research = Research(domain=Option("a", [1, 2])).total(
        da.ones(4, chunks=2), db.from_sequence([1, 2]), EC("a"), save_to="t"
    )
    assert list(compute(research).t) == [8, 9]


def test_roots_of_two_researches_run_once_when_computed_together(calls, client):
    base = Research(domain=Option("a", [1, 2]))
    shared = base.add_callable(load, args=[calls, "x"], root=True)
    other = Research("other", domain=Option("c", [1, 2, 3])).add_callable(
        load, args=[calls, "x"], root=True
    )
    for number, scheduler in enumerate(["synchronous", "threads", client], start=1):
        first = shared.use(O("load"), EC("a"), save_to="used")
        second = other.use(O("load"), EC("c"), save_to="used")
        one, two = dask.compute(first, second, scheduler=scheduler)
        assert list(one.used) == ["('x', 1)", "('x', 2)"]
        assert list(two.used) == ["('x', 1)", "('x', 2)", "('x', 3)"]
        assert noted(calls) == ["load-x"] * number


def test_researches_with_one_beginning_share_what_it_draws():
    def sample(random: np.random.Generator) -> float:
        return float(random.random())

    base = Research(domain=Option("a", [1, 2])).sample(E().random, root=True)
    one, two = dask.compute(
        base.use(O("sample"), save_to="u"), base.use(O("sample"), EC("a"), save_to="u")
    )
    assert one.u[0].strip("(,)") == two.u[0].strip("()").split(",")[0]
    apart = dask.compute(
        Research(domain=Option("a", [1])).sample(E().random, root=True, save_to="x")
    )[0]
    assert str(apart.x[0]) not in one.u[0]


@pytest.mark.filterwarnings("default")
def test_a_large_argument_is_one_node_and_its_warning_names_it():
    research = Research(domain=Option("a", range(50))).add_callable(
        "total", np.sum, args=[np.zeros(300_000)], save_to="t"
    )
    with pytest.warns(
        UserWarning, match=saying("argument '0'", "unit 'total'", "2 MB", "root unit")
    ):
        graph = research.__dask_graph__()
    sizes = {key: len(pickle.dumps(task)) for key, task in dict(graph).items()}
    assert [key.partition("-")[0] for key, size in sizes.items() if size > 10_000] == ["plan"]


def test_a_large_value_of_a_parameter_is_one_node():
    arrays = [np.full(20_000, i) for i in range(2)]
    research = Research(domain=Option("a", arrays) * Option("b", range(20)))
    research = research.add_callable("first", lambda a: int(a[0]), args=[EC("a")], root=True)
    research = research.add_callable(
        "total", add_up, args=[EC("a"), EC("b"), O("first")], save_to="t"
    )
    sizes = {key: len(pickle.dumps(task)) for key, task in dict(research.__dask_graph__()).items()}
    assert (
        sorted([key.partition("-")[0] for key, size in sizes.items() if size > 10_000])
        == ["value"] * 2
    )
    expected = [20_000 * a + b + a for a in range(2) for b in range(20)]
    for scheduler in ("synchronous", "threads"):
        assert list(dask.compute(research, scheduler=scheduler)[0].t) == expected


def test_large_values_reach_a_cluster(client):
    arrays = [np.full(20_000, i) for i in range(2)]
    research = Research(domain=Option("a", arrays) * Option("b", [1, 2]))
    research = research.add_callable("first", lambda a: int(a[0]), args=[EC("a")], root=True)
    research = research.add_callable(
        "total", add_up, args=[EC("a"), EC("b"), O("first")], save_to="t"
    )
    assert list(dask.compute(research, scheduler=client)[0].t) == [1, 2, 20_002, 20_003]
    assert list(research.compute(scheduler=client).t) == [1, 2, 20_002, 20_003]


def test_researches_that_share_a_root_do_not_disturb_each_other_on_a_cluster(calls, client):
    base = Research(domain=Option("a", [1, 2])).add_callable(load, args=[calls, "x"], root=True)
    again = Research(domain=Option("c", [1])).add_callable(
        "get", load, args=[calls, "x"], root=True
    )
    one = base.add_callable("use", load, args=[calls, O("load")], root=True).use(
        O("use"), EC("a"), save_to="used"
    )
    two = again.add_callable("use", load, args=[calls, O("get")], root=True).use(
        O("use"), EC("c"), save_to="used"
    )
    futures = [client.compute(research) for research in (one, two)]
    frames = [future.result() for future in futures]
    assert list(frames[0].used) == ["('x', 1)", "('x', 2)"]
    assert list(frames[1].used) == ["('x', 1)"]
    keys = [set(dict(research.__dask_graph__())) for research in (one, two)]
    assert sorted(key.partition("-")[0] for key in keys[0] & keys[1]) == ["code", "code", "use"]


def test_experiments_take_only_the_root_outputs_that_their_units_use():
    research = (
        Research(domain=Option("a", [1, 2]))
        .add_callable("load", use, args=[1], root=True)
        .add_callable("split", use, args=[O("load")], root=True)
        .add_callable("encode", use, args=[O("split")], root=True)
        .add_callable("train", use, args=[O("encode"), EC("a")], save_to="y")
    )
    graph = dict(research.__dask_graph__())
    (encode,) = [key for key in graph if key.startswith("encode-")]
    for key in research.__dask_keys__():
        assert [one for one in graph[key].dependencies if not one.startswith("plan-")] == [encode]
    saved = research.save(O("split"), "split")
    graph = dict(saved.__dask_graph__())
    names = {
        one.partition("-")[0] for key in saved.__dask_keys__() for one in graph[key].dependencies
    }
    assert names == {"plan", "split", "encode"}


@pytest.mark.filterwarnings("ignore::daskresearch.errors.FailedExperimentsWarning")
def test_the_root_that_failed_is_named_although_others_stand_between(compute):
    research = (
        Research(domain=Option("a", [1, 2]))
        .add_callable("load", use, args=[1], root=True)
        .add_callable("split", divmod, args=[1, 0], root=True, x=1)
        .add_callable("clean", use, args=[O("split"), O("load")], root=True)
        .add_callable("encode", use, args=[O("clean")], root=True)
        .add_callable("train", use, args=[O("encode"), EC("a")], save_to="y")
        .add_callable("other", use, args=[EC("a")], save_to="other")
    )
    frame = compute(research)
    assert list(frame.other) == ["(1,)", "(2,)"]
    failures = frame.attrs.get("failures")
    units = [one["unit"] for one in failures] if failures else list(research.results.failures.unit)
    assert units == ["split"] * 2


def test_the_experiment_as_a_whole_has_the_outputs_of_all_roots(compute):
    def see(experiment: Any) -> str:
        return "+".join(experiment.outputs)

    research = Research(domain=Option("a", [1, 2])).add_callable("load", use, args=[1], root=True)
    research = research.add_callable("split", use, args=[O("load")], root=True).see(
        E(), save_to="seen"
    )
    assert list(compute(research).seen) == ["load+split"] * 2


def test_units_may_be_named_like_what_a_graph_holds(compute):
    names = ["plan", "value", "rows", "held", "code"]
    research = Research(domain=Option("x", ["a" * 100_000, "b"])).add_callable(
        "load", len, args=[EC("x")], root=True
    )
    for before, name in zip(["load", *names], names, strict=False):
        research = research.add_callable(
            name, use, args=[O(before)], root=name != "code", save_to=f"v_{name}"
        )
    frame = compute(research)
    assert frame.v_plan.tolist() == ["(100000,)", "(1,)"]
    assert [text.count("(") for text in frame.v_code] == [5, 5]


def test_a_root_gets_its_own_copy_of_a_root_that_is_copied(compute):
    def extended(values: list[int], x: int) -> list[int]:
        values.append(x)
        return list(values)

    research = Research(domain=Option("x", [1, 2, 3])).add_callable(
        "start", lambda: [0], root=True, copy=True
    )
    research = research.add_callable("longer", extended, args=[O("start"), EC("x")], root=True)
    research = research.add_callable("branch", extended, args=[O("start"), EC("x")]).save(
        O("branch"), "branch"
    )
    frame = compute(research.use(O("longer"), save_to="used"))
    assert list(frame.used) == ["([0, 1],)", "([0, 2],)", "([0, 3],)"]
    assert list(frame.branch) == [[0, 1], [0, 2], [0, 3]]


def test_a_root_whose_output_cannot_be_pickled_is_made_again_wherever_it_is_needed(compute):
    research = Research(domain=Option("x", [1, 2])).add_callable("lock", threading.Lock, root=True)
    research = research.add_callable(
        "kind", lambda lock, x: (type(lock).__name__, x), args=[O("lock"), EC("x")], save_to="k"
    )
    assert list(compute(research).k) == [("lock", 1), ("lock", 2)]


def test_a_word_that_an_output_could_not_travel_stays_that_on_its_way():
    outcome = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(Outcome(threading.Lock())))))
    assert not outcome.can_travel


def test_containers_of_a_config_belong_to_each_call(compute):
    def appended(values: list[int]) -> int:
        values.append(1)
        return len(values)

    research = Research(domain=Option("list", [Alias([0], "zero")]) * Option("y", [1, 2, 3, 4]))
    assert list(compute(research.appended(EC("list"), save_to="n")).n) == [2] * 4
    whole = research.add_callable(
        "n", lambda config: appended(config["list"]), args=[EC()], save_to="n"
    )
    assert list(compute(whole).n) == [2] * 4


def test_a_pure_research_may_copy_the_outputs_of_its_callables():
    research = Research(domain=Option("x", [1, 2]), pure=True).add_callable(
        "start", lambda: [0], copy=True
    )
    research = research.add_callable(
        "grow", lambda values, x: [*values, x], args=[O("start"), EC("x")], save_to="v"
    )
    assert list(research.compute().v) == [[0, 1], [0, 2]]


def test_nothing_of_a_run_is_left_on_a_cluster(client):
    def weigh(process: Any) -> int:
        return int(process.memory_info().rss)

    def load_much(i: int) -> np.ndarray:
        return np.ones(10_000_000 + i)

    def first(array: np.ndarray) -> float:
        return float(array[0])

    research = Research(domain=Domain(i=[0, 1, 2, 3], j=[1, 2])).load_much(EC("i"), root=True)
    research = research.first(O("load_much"), save_to="y")
    before = client.run(lambda: weigh(psutil.Process()))
    assert list(research.compute(scheduler=client).y) == [1.0] * 8
    wait_for(lambda: not client.futures)
    wait_for(
        lambda: (
            sum(client.run(lambda: weigh(psutil.Process())).values()) < sum(before.values()) + 150e6
        )
    )


def test_a_finished_run_holds_no_outputs_of_roots():
    class Large:
        pass

    seen = []

    def make() -> Large:
        seen.append(weakref.ref(output := Large()))
        return output

    research = Research(domain=Option("x", [1, 2])).add_callable(make, root=True, version="1")
    research = research.add_callable(
        "use", lambda large, x: x, args=[O("make"), EC("x")], save_to="y"
    ).run(bar=False, dump_results=False)
    assert list(research.results.df.y) == [1, 2]
    gc.collect()
    assert [one() for one in seen] == [None]
