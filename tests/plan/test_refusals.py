"""Bad input: refused with the value and the way out, before anything runs."""

import socket
import threading

import numpy as np
import pytest
import scipy.stats

from daskresearch import EC, EP, Domain, E, Experiment, NumpySampler, O, Option, R, Research, S
from daskresearch.errors import HashError
from tests.support.running import column, note, noted, rows, saying, table

X = Option("x", [1, 2])
ENDLESS = Option("noise", NumpySampler("n"))


class Net:
    def fit(self):
        return 1


def load():
    return 1


@pytest.fixture
def calls():
    return []


@pytest.fixture
def research(calls):
    """Return a research whose first unit leaves a trace when it runs."""
    return Research(domain=X).add_callable("first", calls.append, args=[EC("x")])


def refused(make, error, *texts):
    """Make and run, and expect that it is refused with all these texts."""
    with pytest.raises(error, match=saying(*texts)):
        make().run(bar=False, dump_results=False)


def test_a_research_that_is_not_refused_leaves_its_trace(research, calls):
    research.run(bar=False, dump_results=False)
    assert calls == [1, 2]


# names that a complete plan has not

UNKNOWN_UNITS = {
    "O": lambda r: r.add_callable("total", len, args=[O("frist")]),
    "O in a keyword": lambda r: r.add_callable("total", len, obj=O("frist")),
    "O inside a list": lambda r: r.add_callable("total", len, args=[[(O("frist"),)]]),
    "O inside a composition": lambda r: r.add_callable("total", len, args=[1 + O("frist")["k"]]),
    "O as a key": lambda r: r.add_callable("total", len, args=[EC()[O("frist")]]),
    "O in a slice": lambda r: r.add_callable("total", len, args=[O("first")[: O("frist")]]),
    "O in a call": lambda r: r.add_callable("total", len, args=[E("first").output(by=O("frist"))]),
    "O that is spread": lambda r: r.add_callable("total", len, kwargs=O("frist")),
    "O as all arguments": lambda r: r.add_callable("total", len, args=O("frist")),
    "E": lambda r: r.add_callable("total", len, args=[E("frist")]),
    "E of an attribute": lambda r: r.add_callable("total", len, args=[E("frist").output]),
    "a generator": lambda r: r.add_generator("total", range, args=[O("frist")]),
    "an instance": lambda r: r.add_instance("total", list, args=[O("frist")]),
    "save": lambda r: r.save(O("frist"), "total"),
    "save by name": lambda r: r.save("frist", "total"),
    "the short form": lambda r: r.load(O("frist")),
}


@pytest.mark.parametrize("make", UNKNOWN_UNITS.values(), ids=UNKNOWN_UNITS.keys())
def test_an_unknown_unit_is_refused_with_its_user_and_what_is_close(research, calls, make):
    refused(lambda: make(research), ValueError, "'frist'", "did you mean 'first'?", "unit '")
    assert calls == []


def test_the_unit_that_uses_an_unknown_one_is_named(research, calls):
    refused(
        lambda: research.add_callable("total", len, args=[O("laod")]),
        ValueError,
        "'total'",
        "O('laod')",
    )
    assert calls == []


def test_a_unit_may_stand_later_so_that_only_the_run_refuses_it(research, calls):
    waiting = research.save(O("later"), "seen")
    refused(lambda: waiting, ValueError, "'later'")
    assert calls == []
    assert rows(table(waiting.add_callable("later", load)), "seen") == [(None,), (None,)]


UNKNOWN_PARAMETERS = {
    "EC": lambda r: r.add_callable("total", len, args=[EC("learning_rat")]),
    "EC in a keyword": lambda r: r.add_callable("total", len, obj=[{"k": EC("learning_rat")}]),
    "EC inside a composition": lambda r: r.add_callable(
        "total", len, args=[-(EC("learning_rat") + 1)]
    ),
    "EC in a slice": lambda r: r.add_callable(
        "total", len, args=[O("first")[EC("learning_rat") :]]
    ),
    "EC that is spread": lambda r: r.add_callable("total", len, kwargs=EC("learning_rat")),
    "a root": lambda r: r.add_callable("total", len, args=[EC("learning_rat")], root=True),
    "an instance": lambda r: r.add_instance("total", list, args=[EC("learning_rat")]),
    "save": lambda r: r.save(EC("learning_rat"), "total"),
}


@pytest.mark.parametrize("make", UNKNOWN_PARAMETERS.values(), ids=UNKNOWN_PARAMETERS.keys())
def test_an_unknown_parameter_is_refused_with_its_user_and_what_is_close(calls, make):
    research = Research(domain=Domain(learning_rate=[1], depth=[2])).add_callable(
        "first", calls.append, args=[1]
    )
    refused(
        lambda: make(research), ValueError, "unit '", "'learning_rat'",
            "did you mean 'learning_rate'?", "'depth'"
    )  # fmt: skip
    assert calls == []


def test_a_parameter_of_any_part_of_a_sum_is_known(research, calls):
    summed = (
        Research(domain=X + Option("y", [3]))
        .save([EC().get("x"), EC().get("y")], "seen")
        .save(EC("y"), "y_seen")
    )
    assert column(summed, "seen") == [[1, None], [2, None], [None, 3]]
    refused(lambda: summed.save(EC("z"), "z_seen"), ValueError, "EC('z')", "'x'", "'y'")


def test_a_parameter_that_branches_append_is_known():
    research = Research(domain=X).save(EC("side"), "seen")
    assert column(research, "seen", branches=[{"side": "l"}, {"side": "r"}]) == ["l", "r"]
    refused(lambda: research, ValueError, "EC('side')")


# what a single word refuses

WORDS = {
    "no function": (lambda r: r.add_callable("total"), "'total'", "has no function",
        "second argument"),
    "func is no function": (lambda r: r.add_callable("total", 5), "'total'", "needs a function",
        "5"),
    "neither name nor function": (lambda r: r.add_callable(5), "name or a function", "5"),
    "two functions": (lambda r: r.add_callable(len, max), "give a name and a function", "len",
        "max"),
    "args is no list": (lambda r: r.add_callable(len, args="ab"), "'len'", "list of arguments",
        "'ab'", "['ab']"),
    "args is a number": (lambda r: r.add_callable(len, args=5), "'len'", "list of arguments",
        "[5]"),
    "kwargs is no dict": (lambda r: r.add_callable(len, kwargs=5), "'len'", "kwargs", "dict", "5"),
    "an argument twice": (lambda r: r.add_callable(len, a=1, kwargs={"a": 2}), "'len'", "'a'",
        "twice"),
    "positional twice": (lambda r: r.len("a", args=["b"]), "'len'", "twice", "'a'", "'b'"),
    "copy of no root": (lambda r: r.add_callable(len, copy=True), "copy=True", "root",
        "kwargs={'copy': True}"),
    "generator copy": (lambda r: r.add_generator(range, copy=True), "copy=True", "root",
        "kwargs={'copy': True}"),
    "unknown mode": (lambda r: r.len("a", mode="genrator"), "mode", "'genrator'", "'generator'"),
    "a method without instance": (lambda r: r.add_callable("net.fit"), "'net.fit'",
        "no instance 'net'"),
    "a method of a near miss": (
        lambda r: r.add_instance("net", Net).add_callable("nte.fit"), "'nte.fit'",
            "did you mean 'net'?",
    ),
    "a method of a unit": (lambda r: r.add_callable("first.fit"), "'first.fit'",
        "no instance 'first'"),
    "an instance with dots": (lambda r: r.add_instance("net.fit", Net), "'net.fit'",
        "without dots"),
    "an instance of no name": (lambda r: r.add_instance(Net, Net), "name of an instance", "Net"),
    "an instance of no class": (lambda r: r.add_instance("net", 5), "'net'", "needs a function",
        "5"),
    "save to nothing": (lambda r: r.save(O("first")), "O('first')", "needs a name",
        "save_output_dict=True"),
    "save_to with save_output_dict": (
        lambda r: r.add_callable(dict, save_to="v", save_output_dict=True),
        "'dict'", "save_to='v'", "save_output_dict=True", "drop one",
    ),
    "save_to with save_output_dict of a generator": (
        lambda r: r.add_generator(iter, save_to=["v"], save_output_dict=True), "save_to=['v']",
            "drop one",
    ),
    "dst with save_output_dict": (
        lambda r: r.save(O("first"), "v", save_output_dict=True), "'v'", "save_output_dict=True",
            "drop one",
    ),
    "save_to a number": (lambda r: r.add_callable(len, save_to=5), "save_to", "'len'",
        "name or a list of names", "5"),
    "save_to nothing": (lambda r: r.add_callable(len, save_to=[]), "save_to",
        "name or a list of names", "[]"),
    "save_to no text": (lambda r: r.add_callable(len, save_to=""), "save_to",
        "name or a list of names", "''"),
    "save_to numbers": (lambda r: r.add_callable(len, save_to=["a", 1]), "save_to", "['a', 1]"),
    "save_to a dict": (lambda r: r.add_callable(len, save_to={"a": 1}), "save_to",
        "name or a list of names"),
    "save_to a name twice": (lambda r: r.add_callable(len, save_to=["a", "a"]), "twice",
        "['a', 'a']"),
    "a namespace of nothing": (lambda r: r.add_namespace(5), "namespace", "module or a dict", "5"),
    "update_domain of no function": (lambda r: r.update_domain(5), "update_domain needs a function",
        "5"),
    "update_domain with a unit's output": (
        lambda r: r.update_domain(len, results=O("first")), "update_domain", "only R()",
            "O('first')",
    ),
    "update_domain with a config": (lambda r: r.update_domain(len, x=[EC("x")]), "only R()",
        "EC('x')"),
    "update_domain with an experiment": (lambda r: r.update_domain(len, x=E().random), "only R()",
        "E()"),
}  # fmt: skip


@pytest.mark.parametrize("case", WORDS.values(), ids=WORDS.keys())
def test_a_wrong_word_is_refused_where_it_is_written(research, calls, case):
    make, *texts = case
    with pytest.raises(ValueError, match=saying(*texts)):
        make(research)
    assert calls == []


@pytest.mark.parametrize("kind", [Research, Experiment])
def test_an_instance_whose_name_is_taken_is_refused_with_the_name(kind):
    with pytest.raises(ValueError, match=saying("'net'", "already")):
        kind().add_instance("net", Net).add_instance("net", Net)


# variables that would share a column


@pytest.mark.parametrize("name", ["id", "iteration", "x", "repetition", "updates"])
@pytest.mark.parametrize(
    "make",
    [
        lambda r, name: r.add_callable("total", load, save_to=name),
        lambda r, name: r.add_callable("total", load, save_to=["free", name]),
        lambda r, name: r.add_generator("total", range, args=[2], save_to=name),
        lambda r, name: r.save(5, name),
        lambda r, name: r.save([1, 2], ["free", name]),
        lambda r, name: r.load(save_to=name),
    ],
    ids=["callable", "list", "generator", "save", "save list", "short form"],
)
def test_a_variable_named_like_a_column_is_refused_with_its_name(research, calls, make, name):
    refused(lambda: make(research, name), ValueError, repr(name), "column", "name")
    assert calls == []


def test_a_variable_named_like_a_parameter_that_branches_append_is_refused(research, calls):
    with pytest.raises(ValueError, match=saying("'side'", "rename")):
        research.save(1, "side").run(branches=[{"side": 1}], bar=False, dump_results=False)
    assert calls == []


@pytest.mark.parametrize("name", ["id", "iteration", "repetition", "updates"])
def test_a_parameter_named_like_a_column_is_refused_with_its_name(calls, name):
    research = Research(domain=Option(name, [1])).add_callable("first", calls.append, args=[1])
    refused(lambda: research, ValueError, repr(name), "column", "rename")
    assert calls == []


# roots

ROOTS = {
    "E()": lambda r: r.add_callable("load", len, args=[E()], root=True),
    "EP()": lambda r: r.add_callable("load", len, args=[EP()], root=True),
    "S()": lambda r: r.add_callable("load", len, args=[S()], root=True),
    "R()": lambda r: r.add_callable("load", len, args=[R()], root=True),
    "E().id": lambda r: r.add_callable("load", len, args=[E().id], root=True),
    "a composition": lambda r: r.add_callable("load", len, args=[[EP() + "/x"]], root=True),
    "a generator": lambda r: r.add_generator("load", len, args=[EP()], root=True),
    "an instance": lambda r: r.add_instance("load", len, args=[S()], root=True),
}


@pytest.mark.parametrize("make", ROOTS.values(), ids=ROOTS.keys())
def test_a_root_that_uses_what_belongs_to_one_experiment_is_refused_with_what_it_may_use(
    research, calls, make
):
    refused(
        lambda: make(research),
        ValueError,
        "root unit 'load'",
        "belongs to one experiment",
        "E().random",
    )
    assert calls == []


def test_a_root_that_uses_a_branch_is_refused_with_both_names(research, calls):
    make = lambda: research.add_callable("load", len, args=[O("first")], root=True)  # noqa: E731
    refused(make, ValueError, "root unit 'load'", "'first'", "make 'first' a root too")
    assert calls == []


def test_a_root_method_of_an_instance_that_is_no_root_is_refused(research, calls):
    make = lambda: research.add_instance("net", Net).add_callable("net.fit", root=True)  # noqa: E731
    refused(make, ValueError, "root unit 'net.fit'", "make 'net' a root too")
    assert calls == []


# options of a run

RUN = {
    "n_iters": [0, -1, 1.5, "2", True, [1]],
    "workers": [0, -1, 1.5, "2", True, [1]],
    "branches": [0, -1, 1.5, "2", True],
}


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name, values in RUN.items() for wrong in values]
)
def test_a_count_that_is_no_positive_integer_is_refused_with_its_name_and_value(
    research, calls, name, wrong
):
    with pytest.raises(ValueError, match=saying(name, "positive integer", repr(wrong))):
        research.run(**{name: wrong}, bar=False, dump_results=False)
    assert calls == []


@pytest.mark.parametrize("name", ["n_configs", "n_reps", "repeat_each"])
@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True])
def test_a_count_of_configs_that_is_no_positive_integer_is_refused_with_its_name_and_value(
    name, wrong
):
    with pytest.raises(ValueError, match=saying(name, "positive integer", repr(wrong))):
        Research(domain=X, **{name: wrong})


@pytest.mark.parametrize("name", ["n_iters", "workers", "branches"])
def test_a_numpy_integer_is_a_count_of_a_run(research, calls, name):
    research.run(**{name: np.int64(1)}, bar=False, dump_results=False)
    assert calls == [1, 2]


@pytest.mark.parametrize("name", ["n_configs", "n_reps", "repeat_each"])
def test_a_numpy_integer_is_a_count_of_configs(name):
    research = Research(domain=Option("x", [1]), **{name: np.int64(1)})
    assert column(research.save(EC("x"), "seen"), "seen") == [1]


def test_a_numpy_integer_is_a_seed():
    research = Research().save(E().random.normal(), "drawn")
    assert column(research, "drawn", seed=np.int64(5)) == column(research, "drawn", seed=5)


OPTIONS = {
    "branches empty": ({"branches": []}, "branches", "empty", "one config for each member"),
    "branches of numbers": ({"branches": [1, 2]}, "branches", "dicts", "1"),
    "branches that are no list": ({"branches": {"a": 1}}, "branches", "{'a': 1}", "list"),
    "branches with a known parameter": ({"branches": [{"x": 5}]}, "branches", "'x'", "rename"),
    "seed negative": ({"seed": -1}, "seed", "non-negative integer", "-1"),
    "seed no integer": ({"seed": 1.5}, "seed", "non-negative integer", "1.5"),
    "seed a text": ({"seed": "42"}, "seed", "non-negative integer", "'42'"),
    "seed a bool": ({"seed": True}, "seed", "non-negative integer", "True"),
    "executor_target": (
        {"executor_target": "thread"},
        "executor_target",
        "'thread'",
        "'threads'",
        "'for'",
    ),
    "scheduler unknown": (
        {"scheduler": "thread"},
        "scheduler",
        "'thread'",
        "did you mean 'threads'?",
    ),
    "scheduler no client": ({"scheduler": 5}, "scheduler", "5", "Client"),
    "name no text": ({"name": 5}, "name", "5", "str"),
}


@pytest.mark.parametrize("case", OPTIONS.values(), ids=OPTIONS.keys())
def test_a_wrong_option_is_refused_with_its_value_and_what_it_may_be(research, calls, case):
    options, *texts = case
    with pytest.raises(ValueError, match=saying(*texts)):
        research.run(**options, bar=False, dump_results=False)
    assert calls == []


def test_an_unknown_option_is_refused_with_its_name(research, calls):
    with pytest.raises(TypeError, match="n_iter"):
        research.run(n_iter=5, bar=False, dump_results=False)
    assert calls == []


def test_a_research_without_units_is_refused():
    refused(Research, ValueError, "no units", "add_callable")


@pytest.mark.parametrize(
    ("make", "texts"),
    [
        (lambda: Research(X), ("name", "str", "domain=")),
        (lambda: Research(experiment=Research()), ("experiment", "Experiment()")),
        (
            lambda: Research(experiment=[len]),
            ("experiment", "Experiment()", "[<built-in function len>]"),
        ),
        (lambda: Research(domain=[1, 2]), ("domain", "[1, 2]")),
        (lambda: Research(domain="x"), ("domain", "'x'")),
    ],
    ids=range(5),
)
def test_a_wrong_argument_of_research_is_refused_with_its_value(make, texts):
    with pytest.raises(ValueError, match=saying(*texts)):
        make()


# domains


def test_an_endless_domain_is_refused_with_what_would_end_it(calls):
    research = Research(domain=ENDLESS).add_callable("first", calls.append, args=[1])
    refused(lambda: research, ValueError, "endless", "noise", "n_configs", "update_domain")
    assert calls == []


@pytest.mark.parametrize(
    "domain",
    [X + ENDLESS, 0.5 * X + 0.5 * ENDLESS, Option("s", scipy.stats.norm())],
    ids=["sum", "mixture", "scipy"],
)
def test_a_domain_that_never_ends_is_refused_however_it_is_made(calls, domain):
    research = Research(domain=domain).add_callable("first", calls.append, args=[1])
    refused(lambda: research, ValueError, "endless", "n_configs")
    assert calls == []


def test_an_endless_domain_with_n_configs_runs(calls):
    Research(domain=ENDLESS, n_configs=3).add_callable("first", calls.append, args=[1]).run(
        bar=False, dump_results=False
    )
    assert calls == [1, 1, 1]


def test_an_endless_domain_with_n_items_of_its_own_runs(calls):
    research = Research(domain=ENDLESS.set_iter_params(n_items=2)).add_callable(
        "first", calls.append, args=[1]
    )
    research.run(bar=False, dump_results=False)
    assert calls == [1, 1]


def test_pairs_of_unequal_lengths_are_refused_with_both(calls):
    with pytest.raises(ValueError, match=saying("2", "3", "@", "*")):
        Research(domain=X @ Option("y", [1, 2, 3])).add_callable(
            "first", calls.append, args=[1]
        ).run(bar=False, dump_results=False)
    assert calls == []


@pytest.mark.parametrize(
    "values",
    ["abc", 5, None, {1, 2}, {"k": 1}, len, np.zeros((2, 2))],
    ids=lambda v: type(v).__name__,
)
def test_values_that_are_no_list_or_sampler_are_refused_with_their_parameter(calls, values):
    for make in (
        lambda: Option("rate", values),
        lambda: {"rate": values},
        lambda: Domain(rate=values),
    ):
        with pytest.raises((ValueError, TypeError), match=saying("'rate'", "list")):
            Research(domain=make()).add_callable("first", calls.append, args=[1]).run(
                bar=False, dump_results=False
            )
    assert calls == []


# iterations without end


@pytest.mark.parametrize("when", ["#0", "last", ["#1", "%3"]], ids=str)
def test_a_generator_that_could_never_be_exhausted_needs_n_iters(research, calls, when):
    endless = research.add_generator("epochs", range, args=[5], when=when)
    refused(lambda: endless, ValueError, "'epochs'", "n_iters", "when")
    assert calls == []
    endless.run(n_iters=2, bar=False, dump_results=False)
    assert calls == [1, 1, 2, 2]


# what cannot travel to worker processes


class Unpicklable:
    """A value that says no to pickle."""

    def __reduce__(self):
        raise TypeError("cannot pickle an open connection")


def held(value):
    """Return a function that holds a value in its closure."""
    return lambda: value


UNPICKLABLE = {
    "an argument": (lambda r, v: r.add_callable("net", load, conn=v), "'net'", "'conn'"),
    "a positional argument": (lambda r, v: r.add_callable("net", load, args=[1, v]), "'net'",
        "argument 1"),
    "inside an argument": (lambda r, v: r.add_callable("net", load, conn=[{"k": v}]), "'net'",
        "'conn'"),
    "inside an expression": (lambda r, v: r.add_callable("net", load, conn=O("first") + v), "'net'",
        "'conn'"),
    "a spread argument": (lambda r, v: r.add_callable("net", load, kwargs={"conn": v}), "'net'",
        "kwargs"),
    "a closure": (lambda r, v: r.add_callable("net", held(v)), "'net'", "function"),
    "an instance": (lambda r, v: r.add_instance("net", Net, conn=v), "'net'", "'conn'"),
    "a generator": (lambda r, v: r.add_generator("net", load, conn=v), "'net'", "'conn'"),
    "a saved value": (lambda r, v: r.save(v, "net"), "'save_net'",),
}  # fmt: skip


@pytest.mark.parametrize("case", UNPICKLABLE.values(), ids=UNPICKLABLE.keys())
@pytest.mark.parametrize("make", [threading.Lock, Unpicklable], ids=["lock", "own"])
def test_a_unit_that_cannot_be_pickled_is_refused_for_processes_with_the_argument_at_fault(
    tmp_path, case, make
):
    add, *texts = case
    research = add(
        Research(domain=X).add_callable("first", note, args=[tmp_path / "calls", EC("x")]), make()
    )
    with pytest.raises(TypeError, match=saying(*texts, "cannot be pickled", "workers=1")):
        research.run(workers=2, bar=False, dump_results=False)
    assert noted(tmp_path / "calls") == []


@pytest.mark.parametrize("options", [{}, {"workers": 2}], ids=["here", "two workers"])
def test_a_root_that_cannot_be_hashed_is_refused_with_the_argument_at_fault(tmp_path, options):
    research = Research(domain=X).add_callable("first", note, args=[tmp_path / "calls", EC("x")])
    research = research.add_callable("net", load, conn=[{"k": threading.Lock()}], root=True)
    with pytest.raises(
        HashError,
        match=saying("'net'", "'conn'", "[0]['k']", "lock", "cannot be hashed", "make it"),
    ):
        research.run(bar=False, dump_results=False, **options)
    assert noted(tmp_path / "calls") == []


def test_an_unpicklable_unit_simply_runs_in_one_process():
    lock = threading.Lock()
    research = Research(domain=X).add_callable(
        "is_locked", lambda lock: lock.locked(), lock=lock, save_to="locked"
    )
    assert column(research, "locked") == [False, False]
    assert column(research, "locked", scheduler="threads") == [False, False]


def test_a_socket_is_refused_for_processes():
    with socket.socket() as connection:
        research = Research().add_callable("send", load, connection=connection)
        with pytest.raises(TypeError, match=saying("'send'", "'connection'", "workers=1")):
            research.run(workers=2, bar=False, dump_results=False)


@pytest.mark.parametrize(
    "values", [[Unpicklable(), 1], [1, Unpicklable()]], ids=["first", "second"]
)
def test_a_value_of_the_domain_that_cannot_be_pickled_is_refused_for_processes_with_its_parameter(
    tmp_path, values
):
    research = Research(domain=Option("conn", values)).add_callable(
        "first", note, args=[tmp_path / "calls", 1]
    )
    with pytest.raises(TypeError, match=saying("'conn'", "cannot be pickled", "workers=1")):
        research.run(workers=2, bar=False, dump_results=False)
    assert noted(tmp_path / "calls") == []


def test_r_in_a_unit_is_refused_for_processes_with_the_way_out(tmp_path):
    research = (
        Research(domain=X)
        .add_callable("first", note, args=[tmp_path / "calls", 1])
        .save(R(), "results")
    )
    with pytest.raises(
        ValueError, match=saying("R()", "'save_results'", "workers=1", "update_domain")
    ):
        research.run(workers=2, bar=False, dump_results=False)
    assert noted(tmp_path / "calls") == []


# questions to a research and its results


@pytest.mark.parametrize("ask", ["results", "monitor", "seed", "is_finished"])
def test_what_only_a_run_has_is_refused_before_the_run(ask):
    with pytest.raises(Exception, match=saying("no results", "run()")):
        getattr(Research("sweep").load(), ask)


@pytest.mark.parametrize(
    "ask", [lambda r: r.wait(0), lambda r: r.terminate()], ids=["wait", "terminate"]
)
def test_what_only_a_run_can_do_is_refused_before_the_run(ask):
    with pytest.raises(Exception, match=saying("no results", "run()")):
        ask(Research("sweep").load())


FILTERS = {
    "an unknown parameter": ({"y": 1}, "'y'", "'x'"),
    "a near miss": ({"repetitoin": 1}, "did you mean 'repetition'?"),
    "an unknown parameter in config": ({"config": {"y": 1}}, "'y'", "'x'"),
    "an unknown parameter in alias": ({"alias": {"y": "1"}}, "'y'", "'x'"),
    "an unknown variable": ({"name": "loss"}, "'loss'", "'seen'"),
    "an unknown variable of several": ({"name": ["seen", "loss"]}, "'loss'", "'seen'"),
    "an endless domain": ({"domain": ENDLESS}, "endless"),
    "an unknown parameter in domain": ({"domain": Option("y", [1])}, "'y'", "'x'"),
}


@pytest.mark.parametrize("case", FILTERS.values(), ids=FILTERS.keys())
def test_a_filter_by_what_there_is_not_is_refused_with_what_there_is(case):
    filters, *texts = case
    results = Research(domain=X).save(EC("x"), "seen").run(bar=False, dump_results=False).results
    with pytest.raises(ValueError, match=saying(*texts)):
        results.to_df(**filters)
