"""A domain that changes while thousands of experiments run is counted exactly.

What is meant is a plain loop over the domains, `plain`, which knows nothing of batches and workers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from daskresearch import EC, Domain, NumpySampler, Option, R, Research, ResearchResults
from daskresearch.execute.local import SerialExecutor
from tests.support.running import IN_PROCESS, THREADS, TWO_WORKERS, on_workers

N = 3000
PLACES = ["serial", "threads", "two workers", "client"]


def options_of(place: str, client: Client | None) -> dict[str, Any]:
    return {
        "serial": IN_PROCESS,
        "threads": THREADS,
        "two workers": TWO_WORKERS,
        "client": {"scheduler": client},
    }[place]


@pytest.fixture(params=[*PLACES[:2], *map(on_workers, PLACES[2:])])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Give the options that run somewhere."""
    return options_of(
        request.param, request.getfixturevalue("client") if request.param == "client" else None
    )


@pytest.fixture(params=[True, False], ids=["folder", "memory"])
def keeps(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Give the options that keep results somewhere."""
    return {"dump_results": request.param, "name": str(tmp_path / "research")}


class Seen(NamedTuple):
    """What a call of the function finds in the results: who has ended or failed."""

    ended: list[int]
    failed: list[int]
    n: int


def work(x: int) -> int:
    if x % 501 == 500:
        raise ValueError(f"{x} is not to be")
    return -x


def study(domain: Any, **options: Any) -> Research:
    return Research(domain=domain, **options).save(EC("x"), "seen").work(EC("x"), save_to="y")


def xs(first: int, n: int) -> Domain:
    return Option("x", list(range(first, first + n)))


def watched(
    research: Research, when: Any, answers: Sequence[Any], **options: Any
) -> tuple[list[Seen], pd.DataFrame, ResearchResults]:
    """Run with a function that answers in turn; return what it saw, the table and the results."""
    sights: list[Seen] = []
    left = iter(answers)

    def look(results: ResearchResults) -> Any:
        frame, failed = results.df, results.failures.id
        of_id = dict(zip(frame.id, frame.seen, strict=True))
        assert frame[~frame.id.isin(failed)].y.tolist() == [
            -x for x in frame[~frame.id.isin(failed)].seen
        ]
        sights.append(Seen(frame.seen.tolist(), sorted(of_id[one] for one in failed), len(results)))
        return next(left, None)

    research = research.update_domain(look, when=when, results=R())
    results = research.run(bar=False, seed=1, **options).results
    return sights, results.df, results


def plain(
    values: Sequence[int], is_due: Callable[[int, bool], bool], answers: Sequence[Any]
) -> tuple[list[Any], Any]:
    """Return what a plain loop sees at each update, and what it has run at the end."""
    ran: list[int] = []
    sights: list[list[int]] = []
    left = iter(answers)
    domain: Sequence[int] | None = values
    while domain is not None:
        new = None
        for place, x in enumerate(domain):
            ran.append(x)
            if is_due(len(ran) - 1, place == len(domain) - 1):
                sights.append(list(ran))
                new = next(left, None)
                if new is not None:
                    break
        domain = new
    return sights, ran


def due(when: Any) -> Callable[[int, bool], bool]:
    """Return a function that tells whether an update follows an experiment."""
    entries = when if isinstance(when, list) else [when]

    def is_due(place: int, is_last: bool) -> bool:
        for one in entries:
            if one == "last" and is_last:
                return True
            if isinstance(one, int) and (place + 1) % one == 0:
                return True
            if isinstance(one, str) and one[1:] == str(place):
                return True
        return False

    return is_due


def as_seen(ran: Sequence[int]) -> Seen:
    return Seen(list(ran), sorted(x for x in ran if x % 501 == 500), len(ran))


@pytest.mark.parametrize("when", [900, [1100, "#0", "%2998", "last"]], ids=["count", "several"])
def test_the_function_sees_exactly_the_experiments_that_a_plain_loop_has_ended(place, keeps, when):
    sights, frame, _ = watched(study(xs(0, N)), when, [], **place, **keeps)
    expected, ran = plain(range(N), due(when), [])
    assert sights == [as_seen(one) for one in expected]
    assert frame.seen.tolist() == ran


WHEN_OFTEN: list[Any] = [800, "#1000", "last"]
N_OFTEN = [800, 1001, 1600, 2400, 2900, 2907]


def answers_often() -> list[Any]:
    """Return a domain with old values, None, an endless one, a short one, or the last."""
    return [
        xs(0, 5000),
        None,
        Option("x", NumpySampler("integers", low=100, high=400)),
        xs(10_000, 500),
        xs(0, 7),
    ]


def test_tables_of_domains_that_change_are_those_of_a_run_in_process(place, keeps):
    expected_sights, expected, its = watched(
        study(xs(0, N)), WHEN_OFTEN, answers_often(), dump_results=False
    )
    assert [one.n for one in expected_sights] == N_OFTEN
    sights, frame, results = watched(study(xs(0, N)), WHEN_OFTEN, answers_often(), **place, **keeps)
    assert sights == expected_sights
    pd.testing.assert_frame_equal(frame, expected)
    pd.testing.assert_frame_equal(
        results.to_df(remove_auxilary=False), its.to_df(remove_auxilary=False)
    )


def test_workers_are_told_how_many_experiments_come_before_the_next_update(monkeypatch):
    told: list[int | None] = []
    run = SerialExecutor.run

    def noting(self: SerialExecutor, groups: Any, total: int | None, stop: Any) -> Any:
        told.append(total)
        return run(self, groups, total, stop)

    monkeypatch.setattr(SerialExecutor, "run", noting)
    answers = [
        None,
        xs(0, 100),
        Option("x", NumpySampler("integers", low=0, high=9)),
        None,
        xs(0, 3),
    ]
    watched(study(xs(0, 50)), [20, "#29"], answers, dump_results=False)
    assert told == [20, 10, 10, 20, 20, 3]


WHENS = st.lists(
    st.one_of(st.integers(3, 150), st.integers(0, 250).map("#{}".format), st.just("last")),
    min_size=1,
    max_size=3,
)
ANSWERS = st.lists(st.none() | st.builds(range, st.just(0), st.integers(1, 150)), max_size=6)


def check_as_plain(n: int, when: list[Any], answers: list[range | None], **options: Any) -> None:
    domains = [None if values is None else Option("x", list(values)) for values in answers]
    expected, ran = plain(range(n), due(when), answers)
    with tempfile.TemporaryDirectory() as folder:
        sights, frame, results = watched(
            study(xs(0, n)), when, domains, name=f"{folder}/research", **options
        )
        assert sights == [as_seen(one) for one in expected]
        assert frame.seen.tolist() == ran
        assert len(results) == len(ran)


@settings(max_examples=8)
@given(
    n=st.integers(1, 200),
    when=WHENS,
    answers=ANSWERS,
    place=st.sampled_from(PLACES),
    is_kept=st.booleans(),
)
def test_any_domains_are_updated_as_a_plain_loop_would(client, n, when, answers, place, is_kept):
    check_as_plain(n, when, answers, dump_results=is_kept, **options_of(place, client))


@pytest.mark.slow
@settings(max_examples=150)
@given(
    n=st.integers(1, 400),
    when=WHENS,
    answers=ANSWERS,
    place=st.sampled_from(PLACES),
    is_kept=st.booleans(),
)
def test_very_many_domains_are_updated_as_a_plain_loop_would(
    client, n, when, answers, place, is_kept
):
    check_as_plain(n, when, answers, dump_results=is_kept, **options_of(place, client))
