"""How many batches are out and how large they are, before and after one is timed."""

from __future__ import annotations

from typing import Any

from daskresearch.execute.window import Window


def window(n: int, slots: int, **options: Any) -> Window:
    return Window(((i,) for i in range(n)), n, slots, **options)


def test_a_cluster_that_may_grow_gets_groups_one_by_one_until_their_time_is_known():
    few, growing = window(20, 1, may_grow=True), window(1000, 1, may_grow=True)
    assert [len(few.next_batch()) for _ in range(3)] == [1, 1, 1]
    assert [len(growing.next_batch()) for _ in range(3)] == [125, 1, 1]
    growing.measured(n_groups=1, seconds=0.001)
    assert len(growing.next_batch()) > 100


def test_more_long_groups_are_out_than_run_where_a_worker_may_join():
    for may_grow, most in ((True, 4), (False, 2)):
        long = window(100, 2, may_grow=may_grow)
        long.measured(n_groups=1, seconds=3600)
        assert long.most_out == most


def test_the_last_long_groups_wait_where_any_worker_can_take_them():
    growing = window(3, 2, may_grow=True)
    growing.measured(n_groups=1, seconds=3600)
    growing.next_batch()
    assert growing.most_out == 3


def test_slots_may_change_at_any_time():
    growing = window(100, 1, may_grow=True)
    growing.slots = 8
    assert growing.most_out == 16


def test_batches_are_worth_the_way_that_they_are_seen_to_take():
    near, far = window(1000, 2), window(1000, 2)
    near.measured(n_groups=100, seconds=0.01, away_s=0.011)
    far.measured(n_groups=100, seconds=0.01, away_s=0.06)
    assert len(near.next_batch()) == 250
    assert len(far.next_batch()) > 490


def test_batches_are_longer_where_very_many_workers_must_be_served():
    few, many = window(10**7, 100), window(10**7, 1000)
    for one in (few, many):
        one.measured(n_groups=1000, seconds=1)
    assert (few.budget_s, many.budget_s) == (0.25, 2)
    assert (len(few.next_batch()), len(many.next_batch())) == (250, 2000)
