"""A research is a Dask collection, which any of Dask's schedulers computes."""

from __future__ import annotations

import os
import pickle
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import dask
import pandas as pd
import pytest
import scipy.stats
from dask.utils import key_split

from daskresearch import (
    EC,
    EP,
    Alias,
    Domain,
    E,
    Experiment,
    NumpySampler,
    O,
    Option,
    R,
    Research,
    S,
)
from daskresearch.errors import (
    DomainError,
    FailedExperimentsWarning,
    HashError,
    OptionError,
    PickleError,
    PlanError,
)
from tests.support.running import noted, on_workers, saying, wait_for

SCHEDULERS = ["synchronous", "threads", on_workers("client")]


@pytest.fixture(params=SCHEDULERS)
def scheduler(request: pytest.FixtureRequest) -> Any:
    """Give each kind of scheduler, a Client for the last."""
    return request.getfixturevalue("client") if request.param == "client" else request.param


def note(path: str, text: Any = "call") -> str:
    """Append a line to a file and return it."""
    with open(path, "a") as file:
        file.write(f"{text}\n")
    return str(text)


def computed(research: Research, scheduler: Any, warned: Iterable[Any]) -> pd.DataFrame:
    """Return the table, once a warning has come, if need be from a worker."""
    (frame,) = dask.compute(research, scheduler=scheduler)
    wait_for(lambda: any(True for _ in warned))
    return frame


def square(x: int) -> int:
    """Return the square."""
    return x * x


def sample(random: Any) -> float:
    """Return a draw."""
    return float(random.random())


@pytest.fixture
def research() -> Research:
    """Give three experiments."""
    return (
        Research(domain=Option("x", [1, 2, 3]))
        .square(EC("x"), save_to="y")
        .sample(E().random, save_to="u")
    )


# laziness


def test_nothing_runs_before_it_is_computed(tmp_path):
    path = str(tmp_path / "calls")
    research = (
        Research(domain=Option("x", [1, 2])).note(path, root=True).square(EC("x"), save_to="y")
    )
    assert dask.is_dask_collection(research)
    research.__dask_graph__()
    research.to_delayed()
    research.preview()
    assert noted(path) == []
    research.compute()
    assert noted(path) == ["call"]


def test_a_research_is_a_dask_collection_and_an_experiment_is_none(research):
    assert dask.is_dask_collection(research)
    assert not dask.is_dask_collection(research.options)
    assert not dask.is_dask_collection(Research)


# computing


def test_computing_gives_the_table_of_a_run(research, scheduler):
    expected = research.run(seed=5, bar=False, dump_results=False).results.df
    (frame,) = dask.compute(research.options(seed=5), scheduler=scheduler)
    pd.testing.assert_frame_equal(frame, expected)
    pd.testing.assert_frame_equal(research.compute(seed=5, scheduler=scheduler), expected)


def test_without_a_seed_a_research_is_computed_the_same_each_time(research):
    frame = research.compute()
    assert frame.equals(dask.compute(research)[0])
    assert frame.equals(research.compute(scheduler="threads"))
    assert not frame.u.equals(
        Research(domain=Option("x", [1, 2, 3])).sample(E().random, save_to="u").compute().u
    )


def test_computing_leaves_results_and_failures(scheduler):
    research = Research(domain=Option("x", [1, 0])).add_callable(
        "inverse", lambda x: 1 // x, args=[EC("x")], save_to="y"
    )
    said = saying("1 of 2 experiments", "'inverse'", "ZeroDivisionError", "failures")
    with pytest.warns(FailedExperimentsWarning, match=said):
        frame = research.compute(scheduler=scheduler)
    assert list(frame.y) == [1]
    assert list(research.results.failures.unit) == ["inverse"]
    with pytest.warns(FailedExperimentsWarning, match=said) as warned:
        frame = computed(research, scheduler, warned)
    (failure,) = frame.attrs["failures"]
    assert (failure["unit"], failure["iteration"]) == ("inverse", 0)
    assert "ZeroDivisionError" in failure["exception"]
    assert "ZeroDivisionError" in failure["traceback"]


def test_researches_and_delayed_are_computed_together_in_order(research, scheduler):
    other = Research(domain=Option("z", [7])).square(EC("z"), save_to="y")
    before, one, between, two, after = dask.compute(
        dask.delayed(square)(2),
        research,
        dask.delayed(square)(3),
        other,
        dask.delayed(square)(4),
        scheduler=scheduler,
    )
    assert (before, list(one.y), between, list(two.y), after) == (4, [1, 4, 9], 9, [49], 16)


def test_a_research_may_be_an_argument_of_delayed(research, scheduler):
    total = dask.delayed(lambda frame, factor: int(frame.y.sum()) * factor)(research, 2)
    assert total.compute(scheduler=scheduler) == 28


def test_a_research_may_be_an_argument_of_a_research(research, scheduler):
    report = Research(domain=Option("k", [1, 2])).add_callable("report", lambda frame,
                                                               k: int(frame.y.sum()) * k,
                                                               args=[research, EC("k")],
                                                               save_to="total")  # fmt: skip
    assert list(report.compute(scheduler=scheduler).total) == [14, 28]


def test_a_client_computes_a_research(research, client):
    future = client.compute(research)
    assert list(future.result().y) == [1, 4, 9]
    one, two = client.compute([research, dask.delayed(square)(5)])
    assert (list(one.result().y), two.result()) == ([1, 4, 9], 25)


def test_what_is_persisted_is_not_run_again(tmp_path, scheduler):
    path = str(tmp_path / "calls")
    research = Research(domain=Option("x", [1, 2])).note(path, EC("x"), save_to="x_text")
    held = research.persist(scheduler=scheduler)
    assert list(held.compute().x_text) == ["1", "2"]
    with nullcontext() if isinstance(scheduler, str) else scheduler.as_current():
        assert list(dask.compute(held)[0].x_text) == ["1", "2"]
        assert [list(one.compute().x_text) for one in held.to_delayed()] == [["1"], ["2"]]
    assert noted(path) == ["1", "2"]
    (again,) = dask.persist(research, scheduler=scheduler)
    assert list(again.compute().x_text) == ["1", "2"]
    # a cluster knows the keys that it holds, however they are asked for
    assert noted(path) == (["1", "1", "2", "2"] if isinstance(scheduler, str) else ["1", "2"])


def test_a_chain_goes_on_from_what_was_described_not_from_what_is_held(tmp_path):
    path = str(tmp_path / "calls")
    held = (
        Research(domain=Option("x", [1]))
        .note(path, save_to="text")
        .persist(scheduler="synchronous")
    )
    assert list(held.square(EC("x"), save_to="y").compute().columns) == [
        "id",
        "x",
        "iteration",
        "text",
        "y",
    ]
    assert noted(path) == ["call", "call"]


def test_an_optimized_research_gives_the_same(research):
    (optimized,) = dask.optimize(research)
    assert list(optimized.compute().y) == [1, 4, 9]


def test_to_delayed_gives_the_rows_of_each_experiment(scheduler):
    research = Research(domain=Option("x", [2, 3])).add_generator(
        range, args=[EC("x")], save_to="i"
    )
    expected = research.compute()
    frames = dask.compute(*research.to_delayed(), scheduler=scheduler)
    assert [len(frame) for frame in frames] == [3, 4]
    pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), expected)


def test_to_delayed_takes_groups_in_lock_step_apart():
    research = Research(domain=Option("x", [2, 3, 4])).add_generator(range, args=[2], root=True)
    research = research.add_callable(
        "add", lambda i, x: i + x, args=[O("range"), EC("x")], save_to="y"
    )
    frames = dask.compute(*research.options(branches=2).to_delayed())
    assert [list(frame.y) for frame in frames] == [[2, 3, 3], [3, 4, 4], [4, 5, 5]]


def test_a_research_and_its_tokens_travel(research):
    travelled = pickle.loads(pickle.dumps(research))
    assert travelled.compute().equals(research.compute())
    assert dask.base.tokenize(travelled) == dask.base.tokenize(research)
    assert dask.base.tokenize(research.options(seed=1)) != dask.base.tokenize(
        research.options(seed=2)
    )


# where


def where() -> tuple[int, str]:
    """Return the process and the thread."""
    return os.getpid(), threading.current_thread().name


def test_the_scheduler_follows_the_precedence_of_dask(client):
    research = Research().where(save_to=["process", "thread"])
    here, main = os.getpid(), threading.main_thread().name
    assert list(research.compute().iloc[0, -2:]) == [here, main]
    with client.as_current():
        assert research.compute().process[0] != here
        assert dask.compute(research)[0].process[0] != here
        with dask.config.set(scheduler="threads"):
            process, thread = research.compute().iloc[0, -2:]
            assert process == here
            assert thread != main
            assert list(research.compute(scheduler="synchronous").iloc[0, -2:]) == [here, main]
            assert research.compute(scheduler=client).process[0] != here
        with dask.config.set(scheduler="distributed"):
            assert research.compute().process[0] != here


def test_the_distributed_scheduler_needs_a_client():
    research = Research().where(save_to=["process", "thread"])
    with pytest.raises(OptionError, match=saying("active distributed.Client")):
        research.compute(scheduler="distributed")
    with dask.config.set(scheduler="nonsense"), pytest.raises(OptionError, match="nonsense"):
        research.compute()


def test_a_pool_or_a_function_of_dask_may_be_the_scheduler(research):
    expected = research.compute()
    with ThreadPoolExecutor(2) as pool:
        assert research.compute(scheduler=pool).equals(expected)
    assert research.compute(scheduler=dask.get).equals(expected)
    with pytest.raises(OptionError, match="scheduler"):
        research.run(scheduler=dask.get, dump_results=False)


def test_options_are_defaults_that_a_call_goes_before(research):
    changed = research.options(n_iters=2, seed=3)
    assert len(changed.compute()) == 6
    assert len(changed.compute(n_iters=1)) == 3
    assert len(changed.run(bar=False, dump_results=False).results.df) == 6
    assert len(changed.run(n_iters=1, bar=False, dump_results=False).results.df) == 3
    assert len(dask.compute(changed)[0]) == 6
    assert len(research.compute()) == 3
    assert changed.run(bar=False, dump_results=False).seed == 3
    assert len(changed.options(n_iters=3).compute()) == 9


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_iter": 2}, "did you mean 'n_iters'"),
        ({"n_iters": 0}, "n_iters"),
        ({"seed": -1}, "seed"),
    ],
    ids=["name", "count", "seed"],
)
def test_wrong_options_are_refused_at_once(research, options, match):
    with pytest.raises(OptionError, match=match):
        research.options(**options)


def test_compute_cannot_detach(research):
    with pytest.raises(OptionError, match="detach"):
        research.compute(detach=True)


# the graph


def test_layers_and_keys_carry_the_names_of_units():
    research = (
        Research(domain=Domain(a=[1, 2], b=[3, 4]))
        .add_callable("load", square, args=[EC("a")], root=True)
        .add_callable("train", pow, args=[O("load"), EC("b")])
        .add_callable("score", square, args=[O("train")], save_to="score")
    )
    graph = research.__dask_graph__()
    names = [key_split(key) for key in graph]
    assert {name: names.count(name) for name in names} == {
        "plan": 1,
        "code": 1,
        "load": 2,
        "train+score": 4,
    }
    assert sorted(layer.partition("-")[0] for layer in graph.layers) == [
        "code",
        "load",
        "plan",
        "train+score",
    ]
    assert [key_split(key) for key in research.__dask_keys__()] == ["train+score"] * 4
    assert research.preview().attrs == {"experiments": 4, "nodes": 6}


def test_a_graph_follows_the_values_that_units_read():
    threshold = 1

    def is_above(x: int) -> bool:
        return x > threshold

    research = Research(domain=Option("x", [1, 2])).is_above(EC("x"), root=True, save_to="above")
    before = set(research.__dask_graph__())
    assert set(research.__dask_graph__()) == before
    threshold = 0
    assert not set(research.__dask_graph__()) & before
    assert list(dask.compute(research)[0].above) == [True, True]


def test_equal_layers_of_two_researches_do_not_disturb_each_other():
    one = Research(domain=Option("x", [1, 2])).square(EC("x"), save_to="y")
    two = Research(domain=Option("x", [2, 3])).square(EC("x"), save_to="y")
    frames = dask.compute(one, two, one)
    assert [list(frame.y) for frame in frames] == [[1, 4], [4, 9], [1, 4]]


def test_folders_of_experiments_are_there_in_a_graph(scheduler):
    def write(folder: str) -> str:
        with open(os.path.join(folder, "note.txt"), "w") as file:
            file.write("here")
        return folder

    research = Research(domain=Option("x", [1, 2])).write(EP(), save_to="folder")
    (frame,) = dask.compute(research, scheduler=scheduler)
    assert frame.folder.nunique() == 2
    assert all(os.path.exists(os.path.join(folder, "note.txt")) for folder in frame.folder)


def test_values_beside_save_to_are_recorded_in_a_graph(scheduler):
    def measure(storage: Any, x: int) -> None:
        storage.update_variable("loss", x / 2)

    (frame,) = dask.compute(
        Research(domain=Option("x", [1, 2])).measure(S(), EC("x")), scheduler=scheduler
    )
    assert list(frame.loss) == [0.5, 1.0]


# how it shows itself


def test_a_research_shows_its_plan_and_what_it_saves_in_a_notebook():
    research = Research("sweep", domain=Domain(a=[1, 2], b=[3, 4]))
    research = research.add_callable("load", square, args=[EC("a")], root=True)
    html = research.add_callable(
        "train", pow, args=[O("load"), EC("b")], save_to="loss"
    )._repr_html_()
    for text in ("<svg", "sweep", "load", "train", "loss", "4 experiments", "2 of 8 calls saved"):
        assert text in html
    assert "square" in Experiment().square(2)._repr_html_()


def test_what_cannot_run_yet_shows_itself_as_far_as_it_is_described():
    endless = Research("open", domain=Option("x", NumpySampler("uniform"))).square(
        EC("x"), save_to="y"
    )
    wrong = Research("wrong").square(O("nowhere"), save_to="y")
    large = Research("large", domain=Option("x", scipy.stats.norm()), n_configs=10**6).square(
        EC("x"), root=True
    )
    for research in (endless, wrong, large, Research("empty")):
        assert research.name in research._repr_html_()


def test_a_picture_is_drawn_of_the_plan_or_of_tasks(tmp_path):
    research = Research(domain=Option("x", range(100))).add_callable(
        "load", square, args=[2], root=True
    )
    research = research.add_callable("train", pow, args=[O("load"), EC("x")], save_to="loss")
    assert "100" in research.visualize().svg
    tasks = research.visualize(detail="tasks", most=5, filename=tmp_path / "tasks.svg").svg
    assert "and 96 more nodes" in tasks
    assert (tmp_path / "tasks.svg").read_text().startswith("<?xml")
    with pytest.raises(OptionError, match="'units' or 'tasks'"):
        research.visualize(detail="all")


# refusals


def test_a_value_without_a_text_is_refused_with_the_way_out_and_runs_with_one():
    with pytest.raises(DomainError, match=saying("no text", "Alias(value, 'text')")):
        Research(domain=Option("x", [10**5000])).square(EC("x")).run(bar=False, dump_results=False)
    research = Research(domain=Option("x", [Alias(10**5000, "large")])).square(
        EC("x"), root=True, save_to="y"
    )
    assert dask.compute(research)[0].y[0] == research.compute().y[0] == 10**10000
    assert research.preview().calls.tolist() == [1]


def test_a_research_may_be_what_another_is_explained_against():
    one = (
        Research(domain=Option("x", [1]))
        .square(EC("x"), save_to="y")
        .run(bar=False, dump_results=False, seed=1)
    )
    assert len(one.results.explain(one.results.df.id[0], against=one)) == 0
    with pytest.raises(OptionError, match="results of another run"):
        one.results.explain(one.results.df.id[0], against=5)


def test_what_has_no_graph_is_refused():
    endless = Research(domain=Option("x", NumpySampler("uniform"))).square(EC("x"), save_to="y")
    with pytest.raises(DomainError, match=saying("endless", "n_configs")):
        dask.compute(endless)
    changing = (
        Research(domain=Option("x", [1])).square(EC("x"), save_to="y").update_domain(lambda: None)
    )
    with pytest.raises(PlanError, match=saying("update_domain", "run()")):
        dask.compute(changing)
    assert list(changing.compute().y) == [1]
    live = Research(domain=Option("x", [1])).add_callable(
        "see", lambda results: len(results), args=[R()], save_to="n"
    )
    with pytest.raises(PlanError, match=saying("'see'", "R()")):
        dask.compute(live)
    with pytest.raises(PlanError, match="no units"):
        dask.compute(Research())


def test_a_unit_that_cannot_be_hashed_has_no_key_in_a_graph_but_runs():
    lock = threading.Lock()
    research = Research(domain=Option("x", [1])).add_callable(
        "is_locked", lambda one: one.locked(), args=[lock], save_to="y"
    )
    with pytest.raises(
        HashError, match=saying("unit 'is_locked'", "argument '0'", "lock", "cannot be hashed")
    ):
        dask.compute(research)
    assert list(research.compute().y) == [False]


def test_a_version_stands_for_code_that_cannot_be_hashed():
    lock = threading.Lock()

    def is_locked() -> bool:
        return lock.locked()

    research = Research().add_callable("is_locked", is_locked, save_to="y", root=True)
    with pytest.raises(HashError, match=saying("'is_locked'", "closure 'lock'", "version='1'")):
        research.run(bar=False, dump_results=False)
    versioned = Research().add_callable("is_locked", is_locked, save_to="y", root=True, version="1")
    assert list(versioned.compute().y) == [False]
    assert list(dask.compute(versioned, scheduler="synchronous")[0].y) == [False]


def test_a_unit_that_cannot_travel_is_named_where_it_must(client):
    class Connection:
        def __reduce__(self) -> Any:
            raise TypeError("cannot pickle an open connection")

        def ask(self) -> int:
            return 1

    connection = Connection()
    research = Research().add_callable("ask", lambda: connection.ask(), save_to="y", version="1")
    assert list(dask.compute(research, scheduler="synchronous")[0].y) == [1]
    with pytest.raises(TypeError, match="Could not serialize") as caught:
        dask.compute(research, scheduler=client)
    # a handler of logs may raise between, as Dask has no text for a graph that it cannot send
    causes: list[BaseException] = [caught.value]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    refused = next(cause for cause in causes if isinstance(cause, PickleError))
    assert re.match(saying("unit 'ask'", "cannot be pickled"), str(refused))


def test_debug_raises_the_exception_of_a_unit_in_a_graph():
    research = Research().add_callable("fail", lambda: 1 // 0, save_to="y").options(debug=True)
    with pytest.raises(ZeroDivisionError):
        dask.compute(research)


def test_outputs_that_cannot_be_pickled_fail_their_experiment_alone_and_stay_whole_in_one_process(
    client,
):
    def make(x: int) -> Any:
        return threading.Lock() if x else 5

    research = Research(domain=Option("x", [0, 1])).make(EC("x"), save_to="y")
    (frame,) = dask.compute(research, scheduler="threads")
    assert type(frame.y[1]) is type(threading.Lock())
    with pytest.warns(FailedExperimentsWarning, match="cannot be pickled") as warned:
        frame = computed(research, client, warned)
    assert list(frame.y) == [5]
    assert "cannot be pickled" in frame.attrs["failures"][0]["exception"]


def test_a_root_whose_output_cannot_be_pickled_is_made_where_it_is_used(client):
    research = Research(domain=Option("x", [1, 2, 3, 4])).add_callable(
        "lock", threading.Lock, root=True
    )
    research = research.add_callable(
        "use", lambda lock, x: lock.locked() or x, args=[O("lock"), EC("x")], save_to="y"
    )
    assert list(dask.compute(research, scheduler=client)[0].y) == [1, 2, 3, 4]
