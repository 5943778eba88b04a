"""Which workers there are: looked at now and then, with a clock that tests set."""

from __future__ import annotations

import logging

from daskresearch.execute.crew import Crew


def test_slots_follow_the_threads_of_the_cluster_within_a_second():
    threads, now = {"a": 1}, [0.0]
    crew = Crew(lambda: dict(threads), clock=lambda: now[0])
    crew.look()
    threads["b"] = 4
    crew.look()
    assert crew.slots == 1
    now[0] = 1.0
    crew.look()
    assert crew.slots == 5
    threads.clear()
    now[0] = 2.0
    crew.look()
    assert (crew.slots, crew.is_empty) == (1, True)


def test_a_bound_stays_whatever_the_cluster_has():
    crew = Crew(lambda: {"a": 1, "b": 4}, bound=3)
    crew.look()
    assert (crew.slots, crew.is_larger) == (3, True)


def test_batches_of_workers_that_are_gone_count_no_more():
    threads, now = {"a": 1, "b": 1}, [0.0]
    crew = Crew(lambda: dict(threads), clock=lambda: now[0])
    crew.look()
    crew.begin("a")
    assert crew.least_busy() == "b"
    del threads["b"]
    now[0] = 1.0
    crew.look()
    assert crew.least_busy() == "a"
    crew.end("b")
    crew.end(None)
    threads.clear()
    now[0] = 2.0
    crew.look()
    assert crew.least_busy() is None


def test_a_cluster_without_workers_is_told_once_after_a_few_seconds(caplog):
    now = [0.0]
    crew = Crew(dict, clock=lambda: now[0])
    with caplog.at_level(logging.WARNING, "daskresearch"):
        for now[0] in (0.0, 2.0):
            crew.look()
        assert not caplog.messages
        for now[0] in (4.0, 6.0, 60.0):
            crew.look()
    (message,) = caplog.messages
    assert message.startswith("the cluster has no worker; experiments wait until one joins")
