"""Results travel: pickled, they are what they were, in any process, also of a run that goes on."""

from __future__ import annotations

import pickle
import sys
import threading
from pathlib import Path
from subprocess import run
from typing import Any

import cloudpickle
import pandas as pd
import pytest

from daskresearch import EC, Alias, Domain, Option, Research, ResearchResults
from daskresearch.errors import OptionError, PickleError
from tests.support.running import saying, wait_for


class TwoArguments(Exception):  # noqa: N818  (of a user)
    """An exception that pickles, and does not come back."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def fail_at(x: int, bad: int) -> int:
    if x == bad:
        raise TwoArguments(x, bad)
    return x**2


def finished(tmp_path: Path, kept: bool) -> ResearchResults:
    """Return results with a failure, of configs that no file and no pickle by name can hold."""
    functions = Option("f", [Alias(lambda: 1, "one"), Alias(lambda: 2, "two")])
    research = Research(str(tmp_path / "results"), Option("x", [1, 2]) * functions)
    research = research.add_callable(fail_at, args=[EC("x"), 2], save_to="square")
    return research.run(bar=False, dump_results=kept).results


@pytest.mark.parametrize("kept", [True, False], ids=["folder", "memory"])
@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_results_come_back_from_a_pickle(library: Any, kept: bool, tmp_path: Path) -> None:
    results = finished(tmp_path, kept)
    back = pickle.loads(library.dumps(results))
    assert repr(back) == repr(results)
    ours, theirs = results.to_df(use_alias=True), back.to_df(use_alias=True)
    pd.testing.assert_frame_equal(ours, theirs)
    assert [f() for f in back.df.f] == [1, 2]
    assert list(back.failures["id"]) == list(results.failures["id"])
    assert all("2 and 2" in repr(error) for error in back.failures["exception"])
    assert pickle.loads(pickle.dumps(back)).df.square.tolist() == [1, 1]


@pytest.mark.parametrize("kept", [True, False], ids=["folder", "memory"])
def test_results_come_back_in_another_process(kept: bool, tmp_path: Path) -> None:
    pickled = tmp_path / "results.pickle"
    pickled.write_bytes(pickle.dumps(finished(tmp_path, kept)))
    code = (
        f"import pickle; r = pickle.load(open({str(pickled)!r}, 'rb')); print(len(r), *r.df.square)"
    )
    # the modules of these tests are not there
    done = run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("4 1 1\n", "")


@pytest.mark.parametrize("kept", [True, False], ids=["folder", "memory"])
def test_results_of_a_run_that_goes_on_pickle_as_what_they_are(kept: bool, tmp_path: Path) -> None:
    may_go_on = threading.Event()

    def slow(x: int) -> int:
        assert x == 0 or may_go_on.wait(60)
        return x

    research = Research(str(tmp_path / "results"), Option("x", [0, 1]))
    research = research.add_callable(slow, args=[EC("x")], save_to="y")
    research.run(bar=False, dump_results=kept, detach=True)
    try:
        wait_for(lambda: len(research.results) == 1)
        back = pickle.loads(pickle.dumps(research.results))
        assert list(back.df.y) == [0]
    finally:
        may_go_on.set()
    wait_for(lambda: len(research.results) == 2)
    assert list(research.results.df.y) == [0, 1]


def test_unpickled_results_have_no_plan_to_explain(tmp_path: Path) -> None:
    results = finished(tmp_path, False)
    back = pickle.loads(pickle.dumps(results))
    with pytest.raises(OptionError, match=saying("no plan", "unpickled")):
        back.explain(back.df.id[0])


def test_results_with_a_value_that_cannot_be_pickled_name_its_variable(tmp_path: Path) -> None:
    research = Research(domain=Domain(x=[1])).add_callable(threading.Lock, save_to="lock")
    results = research.run(bar=False, dump_results=False).results
    with pytest.raises(PickleError, match=saying("variable 'lock'", "type lock")):
        pickle.dumps(results)
