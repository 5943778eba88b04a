"""What units cost is counted per call, in threads too."""

from __future__ import annotations

import cProfile
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from daskresearch.errors import OptionError
from daskresearch.worker.profile import Profile, ProfileRow, combined


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def refuse() -> None:
    raise ValueError("refused")


def calls(profile: Profile) -> dict[tuple[str, str], int]:
    return {(row.unit, row.function): row.n_calls for row in profile.rows()}


def test_each_unit_has_a_row_with_its_calls_and_seconds():
    profile = Profile(1)
    assert [profile.call("fibonacci", lambda: fibonacci(10)) for _ in range(3)] == [55, 55, 55]
    assert profile.call("none", lambda: None) is None
    assert calls(profile) == {("fibonacci", ""): 3, ("none", ""): 1}
    assert [row.unit for row in profile.rows()] == ["fibonacci", "none"]
    for row in profile.rows():
        assert row.total_s == row.cumulative_s > 0


def test_a_call_that_raises_counts():
    for mode in (1, 2):
        profile = Profile(mode)
        with pytest.raises(ValueError, match="refused"):
            profile.call("unit", refuse)
        assert calls(profile)["unit", ""] == 1
        assert sys.getprofile() is None


def test_functions_within_a_unit_have_rows_of_their_own():
    profile = Profile(2)
    for _ in range(2):
        profile.call("unit", lambda: sum([fibonacci(5)]))
    found = {row.function: row for row in profile.rows() if row.function}
    lines = {
        name.partition(":")[2]: row
        for name, row in found.items()
        if name.startswith("worker/test_profile.py:")
    }
    line = fibonacci.__code__.co_firstlineno
    assert lines[f"{line}(fibonacci)"].n_calls == 30
    assert found["<built-in method builtins.sum>"].n_calls == 2
    assert not any("disable" in name or "Profile.call" in name for name in found)
    recursive = lines[f"{line}(fibonacci)"]
    whole = next(row for row in profile.rows() if not row.function)
    assert 0 < recursive.total_s <= recursive.cumulative_s * 1.001 < whole.cumulative_s


def test_where_a_profiler_is_active_a_call_is_measured_as_a_whole():
    profile, theirs = Profile(2), cProfile.Profile()
    theirs.enable()
    try:
        profile.call("unit", lambda: fibonacci(5))
        later = theirs.getstats()
    finally:
        theirs.disable()
    assert calls(profile) == {("unit", ""): 1}
    assert fibonacci.__code__ in [entry.code for entry in later]


def test_a_profiler_that_cannot_start_costs_only_the_functions(monkeypatch):
    def busy(self: object) -> None:
        raise ValueError("Another profiling tool is already active")

    monkeypatch.setattr(cProfile, "Profile", type("Busy", (), {"enable": busy}))
    profile = Profile(2)
    assert profile.call("unit", lambda: 5) == 5
    assert calls(profile) == {("unit", ""): 1}


@pytest.mark.parametrize("mode", [1, 2])
def test_threads_may_share_a_profile(mode):
    profile, gate = Profile(mode), threading.Barrier(8)

    def run(number: int) -> None:
        gate.wait(60)
        for _ in range(100):
            profile.call(f"unit {number % 2}", lambda: fibonacci(3))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    units = {key: n_calls for key, n_calls in calls(profile).items() if not key[1]}
    assert units == {("unit 0", ""): 400, ("unit 1", ""): 400}


def test_rows_of_many_profiles_are_summed_and_sorted():
    rows = [
        ProfileRow("a", "", 1, 1.0, 1.0),
        ProfileRow("b", "", 1, 0.5, 4.0),
        ProfileRow("a", "f", 5, 0.25, 0.5),
        ProfileRow("a", "", 2, 1.0, 1.5),
    ]
    expected = [
        ProfileRow("b", "", 1, 0.5, 4.0),
        ProfileRow("a", "", 3, 2.0, 2.5),
        ProfileRow("a", "f", 5, 0.25, 0.5),
    ]
    assert combined(iter(rows)) == expected
    assert combined(pickle.loads(pickle.dumps(expected))) == expected
    assert combined([]) == []


@pytest.mark.parametrize("mode", [0, 3, "1", None])
def test_modes_that_do_not_exist_are_refused(mode):
    with pytest.raises(OptionError, match=r"mode must be 1 \(units\) or 2 \(functions too\), not"):
        Profile(mode)
