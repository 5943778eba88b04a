"""What a research and its monitor say of the last run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from daskresearch import EC, NumpySampler, Option, Research
from daskresearch.errors import ResearchError
from tests.support.running import DEADLINE_S, IN_PROCESS, wait_for

N = 4


def odd(x):
    if x == 3:
        raise ValueError("on purpose")
    return x


def study(name: Path | str = "study") -> Research:
    return Research(name, domain=Option("x", list(range(N)))).odd(EC("x"), save_to="y")


def test_a_monitor_says_how_far_its_run_has_come():
    research = study().run(bar=False, dump_results=False)
    assert repr(research.monitor) == ("<Monitor of 'study': 4 of 4 experiments ended, 1 failed>")


def test_a_monitor_says_so_while_the_run_goes_on():
    gate = threading.Event()
    research = study().add_callable(
        "wait", lambda x: x < 2 or gate.wait(DEADLINE_S), args=[EC("x")]
    )
    research.run(bar=False, dump_results=False, detach=True, **IN_PROCESS)
    wait_for(lambda: research.monitor.n_finished == 2)
    assert repr(research.monitor) == "<Monitor of 'study': 2 of 4 experiments ended, 0 failed>"
    assert repr(research).endswith("; 2 of 4 experiments ran so far, 0 failed>")
    gate.set()
    assert research.wait(DEADLINE_S)


def test_a_monitor_of_a_folder_says_how_far_its_run_had_come(tmp_path):
    name = str(tmp_path / "study")
    study(name).run(bar=False)
    for allow_pickle in (False, True):
        loaded = Research.load(name, allow_pickle=allow_pickle)
        assert repr(loaded.monitor) == f"<Monitor of {name!r}: 4 of 4 experiments ended, 1 failed>"


def test_a_monitor_of_more_experiments_than_the_first_domain_has_does_not_say_of_how_many(tmp_path):
    name = tmp_path / "study"
    study(name).update_domain(lambda: {"x": [5]}, "#3").run(bar=False)
    monitor = Research.load(name).monitor
    assert repr(monitor) == f"<Monitor of {str(name)!r}: 5 experiments ended, 1 failed>"


def test_a_monitor_of_an_endless_domain_does_not_say_of_how_many():
    research = Research("draws", domain=Option("x", NumpySampler("u"))).save(EC("x"), "y")
    seen = []

    def end():
        seen.append(repr(research.monitor))
        return {"x": [1]}

    research = research.update_domain(end, 3)
    research.run(bar=False, dump_results=False)
    assert seen == ["<Monitor of 'draws': 3 experiments ended, 0 failed>"]
    assert repr(research.monitor) == "<Monitor of 'draws': 4 of 4 experiments ended, 0 failed>"


def test_a_research_says_what_its_run_has_come_to():
    research = study()
    assert repr(research) == "<Research 'study': 4 experiments of odd>"
    assert "ran" not in research._repr_html_().partition("dr-note")[2][:100]
    research.run(bar=False, dump_results=False)
    text = "4 of 4 experiments ran, 1 failed"
    assert repr(research) == f"<Research 'study': 4 experiments of odd; {text}>"
    assert text in research._repr_html_()
    assert repr(research.save(1, "one")) == "<Research 'study': 4 experiments of odd -> save_one>"


def test_a_resumed_research_counts_what_was_there(tmp_path):
    name = tmp_path / "study"
    study(name).run(bar=False)
    research = study(name).run(bar=False, resume=True)
    assert repr(research).endswith("; 4 of 4 experiments ran, 1 failed>")


def test_a_loaded_research_calls_itself_a_research(tmp_path):
    name = str(tmp_path / "study")
    study(name).run(bar=False)
    page = Research.load(name)._repr_html_()
    assert "daskresearch.Research<" in page
    assert f"{name}, loaded from its folder" in page
    assert "ResearchResults" not in page
    assert "4 experiments" in page


def test_a_research_that_has_not_run_has_no_monitor():
    with pytest.raises(ResearchError, match="has no results yet"):
        _ = study().monitor
