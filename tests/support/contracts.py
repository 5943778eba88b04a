"""What every place keeps of a run: the memory of a process, a folder, or a bucket.

Each claim takes a `Keeper` and makes runs in it. What is read back is compared with what was
recorded.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

from daskresearch import EC, EP, Alias, Domain, E, O, Option, Research, ResearchResults, S
from tests.support.recorded import same
from tests.support.running import note, noted, rows, saying


@dataclass(frozen=True)
class Keeper:
    """Where runs keep their results, and how they run.

    Attributes
    ----------
    url : str, optional
        That of a folder which no other test has; None if results are kept in memory.
    scratch : Path
        An empty folder of this test.
    options : dict
        Those of `Research.run` that say where experiments run.
    """

    url: str | None
    scratch: Path
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, research: Research, **options: Any) -> Research:
        """Run quietly with results in this place."""
        kept = {"dump_results": False} if self.url is None else {"name": self.url}
        return research.run(bar=False, **{**kept, **self.options, **options})

    def results(self, research: Research) -> list[ResearchResults]:
        """Return the results of a run as whoever ran it sees them, and as others do."""
        return [
            research.results,
            *([] if self.url is None else [ResearchResults(self.url, allow_pickle=True)]),
        ]

    def content(self, path: str) -> bytes:
        """Return what is in a file of the folder."""
        with fsspec.open(f"{self.url}/{path}", "rb") as file:
            return file.read()

    def names(self) -> list[str]:
        """Return the names of all files in the folder."""
        fs, root = fsspec.core.url_to_fs(self.url)
        fs.invalidate_cache()
        return sorted(fs.find(root)) if fs.exists(root) else []


LAYOUTS = [Alias([16], "small"), Alias([32], "large")]


def described() -> Research:
    """Return a research with aliases, repetitions, iterations, and empty cells."""
    research = Research(domain=Option("layout", LAYOUTS) * Domain({"head/x": [3, 4]}), n_reps=2)
    research = research.add_callable(
        "loss", lambda x, i: x - i / 2, args=[EC("head/x"), E().iteration], save_to="loss"
    )
    research = research.add_callable(
        "drawn", lambda draw: float(draw.normal()), args=[E().random], save_to="drawn"
    )
    return research.add_callable(
        "width", lambda items: items[0], args=[EC("layout")], save_to="width", when="last"
    )


def in_memory(research: Research, **options: Any) -> ResearchResults:
    """Return the results of a run in this process which writes nothing."""
    return research.run(bar=False, dump_results=False, **options).results


LOOKS: list[dict[str, Any]] = [
    {},
    {"pivot": False},
    {"use_alias": True},
    {"concat_config": True},
    {"concat_config": True, "drop_columns": False},
    {"remove_auxilary": False},
    {"include_config": False, "pivot": False},
]


def tables_are_those_of_a_run_in_memory(place: Keeper) -> None:
    expected = in_memory(described(), n_iters=3, seed=1)
    research = place.run(described(), n_iters=3, seed=1)
    for results in place.results(research):
        assert len(results) == 8
        for look in LOOKS:
            pd.testing.assert_frame_equal(results.to_df(**look), expected.to_df(**look))
        for look in LOOKS[2:6]:
            pd.testing.assert_frame_equal(
                results.configs_to_df(**look), expected.configs_to_df(**look)
            )


FILTERS: list[dict[str, Any]] = [
    {"name": "width"},
    {"name": ["width", "loss"]},
    {"iterations": 1},
    {"iterations": [0, 2, 9]},
    {"config": {"head/x": 3}},
    {"config": {"head/x": [3, 4], "repetition": 1}},
    {"config": {"head/x": 5}},
    {"layout": [16]},
    {"alias": {"layout": "large"}},
    {"alias": {"layout": ["small", "large"], "head/x": "3"}},
    {"domain": Domain({"head/x": [4]}) * Option("layout", LAYOUTS[:1])},
    {"domain": Domain({"head/x": [4]}) + Option("layout", LAYOUTS[:1])},
    {"repetition": 1},
    {
        "name": "width",
        "iterations": 2,
        "config": {"head/x": 4},
        "alias": {"layout": "small"},
        "repetition": 0,
    },
    {"name": "width", "iterations": 0},
]


def filters_find_the_rows_that_they_find_in_memory(place: Keeper) -> None:
    expected = in_memory(described(), n_iters=3, seed=1)
    ids = list(expected.configs_to_df().id)
    filters = [
        *FILTERS,
        {"experiment_id": ids[2]},
        {"experiment_id": {ids[7], ids[0]}},
        {"experiment_id": "none"},
    ]
    research = place.run(described(), n_iters=3, seed=1)
    for results in place.results(research):
        for wanted in filters:
            pd.testing.assert_frame_equal(results.to_df(**wanted), expected.to_df(**wanted))
            long = results.to_df(pivot=False, **wanted)
            pd.testing.assert_frame_equal(long, expected.to_df(pivot=False, **wanted))


def a_filter_by_an_unknown_name_is_refused(place: Keeper) -> None:
    research = place.run(Research(domain=Option("rate", [1])).save(EC("rate"), "loss"))
    for results in place.results(research):
        with pytest.raises(ValueError, match=saying("'rat'", "did you mean 'rate'")):
            results.to_df(rat=1)
        with pytest.raises(ValueError, match=saying("'los'", "did you mean 'loss'")):
            results.to_df(name="los")


def divided(x: int) -> float:
    return 1 / (x - 2)


def failures_are_told_with_their_tracebacks(place: Keeper) -> None:
    research = Research(domain=Option("x", [1, 2, 3])).save(EC("x"), "seen")
    research = research.add_callable("divide", divided, args=[EC("x")], save_to="quotient")
    research = place.run(
        research.add_callable("after", lambda x: x, args=[O("divide")], save_to="after")
    )
    assert research.monitor.n_failed == 1
    for results in place.results(research):
        assert rows(results.df, "x", "seen", "quotient", "after") == [
            (1, 1, -1, -1),
            (2, 2, None, None),
            (3, 3, 1, 1),
        ]
        (failure,) = results.failures.to_dict("records")
        assert failure["id"] == results.df.id[1]
        assert (failure["unit"], failure["iteration"]) == ("divide", 0)
        assert repr(failure["exception"]) == "ZeroDivisionError('division by zero')"
        assert saying_in(
            failure["traceback"], "return 1 / (x - 2)", "ZeroDivisionError: division by zero"
        )
        assert repr(results) == "<ResearchResults: 3 experiments, 1 failures>"


def saying_in(text: str, *parts: str) -> bool:
    """Return whether a text has all these parts."""
    return all(part in text for part in parts)


def counted(folder: Path, xs: list[int]) -> Research:
    """Return a research that notes experiments; that of 2 fails while a file is there."""

    def work(x: int) -> float:
        note(folder / "calls", x)
        if x == 2 and not (folder / "mended").exists():
            raise ValueError("two")
        return x / 2

    research = Research(domain=Option("x", xs)).add_callable(
        "work", work, args=[EC("x")], save_to="half"
    )
    return research.add_callable(
        "drawn", lambda draw: float(draw.normal()), args=[E().random], save_to="drawn"
    )


def a_run_goes_on_with_what_is_not_finished(place: Keeper) -> None:
    first = place.run(counted(place.scratch, [1, 2, 3]), seed=5)
    assert list(first.results.failures.unit) == ["work"]
    (place.scratch / "mended").touch()
    research = place.run(counted(place.scratch, [0, 1, 2, 3, 4]), seed=5, resume=True)
    assert noted(place.scratch / "calls") == ["0", "1", "2", "2", "3", "4"]
    expected = in_memory(counted(place.scratch, [0, 1, 2, 3, 4]), seed=5)
    for results in place.results(research):
        pd.testing.assert_frame_equal(results.df, expected.df)
        assert len(results.failures) == 0


def a_folder_that_is_there_is_refused(place: Keeper) -> None:
    place.run(counted(place.scratch, [1]))
    before = place.names()
    with pytest.raises(FileExistsError, match=saying("resume=True", "Research.remove")):
        place.run(counted(place.scratch, [1]))
    with pytest.raises(ValueError, match=saying("seed", "another name")):
        place.run(counted(place.scratch, [1]), resume=True, seed=1)
    assert noted(place.scratch / "calls") == ["1"]
    assert place.names() == before


def a_research_is_removed_with_all_its_files(place: Keeper) -> None:
    place.run(
        Research()
        .add_callable("write", write_artifacts, args=[EP(), 1])
        .save(np.zeros(1000), "array")
    )
    assert place.names()
    Research.remove(place.url, ask=False)
    assert place.names() == []
    with pytest.raises(OSError, match="no folder of a research"):
        ResearchResults(str(place.url))


def write_artifacts(folder: str, x: int) -> None:
    os.makedirs(f"{folder}/deep")
    for name in ("plain.txt", "deep/é.txt"):
        Path(folder, name).write_text(f"{name} of {x}", encoding="utf-8")


def artifacts_are_kept_by_experiment(place: Keeper) -> None:
    research = Research(domain=Option("x", [2, 1])).add_callable(
        "write", write_artifacts, args=[EP(), EC("x")]
    )
    research = place.run(
        research.add_callable("name", os.path.basename, args=[EP()], save_to="name")
    )
    assert list(research.results.df.name) == list(research.results.df.id)
    for results in place.results(research):
        if place.url is None:
            with pytest.raises(ValueError, match=saying("in memory", "dump_results=True")):
                results.artifacts_to_df()
            continue
        frame = results.artifacts_to_df()
        assert list(frame.columns) == ["id", "x", "artifact_name", "full_path", "relative_path"]
        assert rows(frame, "x", "artifact_name") == [
            (x, name) for x in (2, 1) for name in ("deep/é.txt", "plain.txt")
        ]
        assert set(frame.id) == set(research.results.df.id)
        for _, _, x, name, full, relative in frame.itertuples():
            assert place.content(relative).decode() == f"{name} of {x}"
            with fsspec.open(full, "rb") as file:
                assert file.read().decode() == f"{name} of {x}"


def arrays(x: int, i: int) -> dict[str, Any]:
    """Return arrays, some of them large, of different shapes and types."""
    return {
        "same": np.full((40, 50), x + i / 10),
        "shapes": np.arange(200 * (x + i + 1)).reshape(2, -1),
        "types": np.arange(1000).astype(["int16", "float32", "complex128", "bool"][(x + i) % 4]),
        "sometimes": np.arange(1000) if i else "none yet",
        "big": np.arange(300_000, dtype="float64") * x,
        "small": np.arange(x + 1),
        "scalar": np.array(x),
        "fortran": np.asfortranarray(np.arange(600.0).reshape(20, 30)),
    }


def large_arrays_come_back(place: Keeper) -> None:
    research = Research(domain=Option("x", [0, 1, 2]))
    research = research.add_callable(
        "arrays", arrays, args=[EC("x"), E().iteration], save_output_dict=True
    )
    research = place.run(research.add_callable("keep", update, args=[S(), O("arrays")]), n_iters=2)
    for results in place.results(research):
        frame = results.df
        assert len(frame) == 6
        lazy = results.to_df(arrays="lazy", x=2, iterations=1).iloc[0]
        assert np.array_equal(np.asarray(lazy["big"]), arrays(2, 1)["big"])
        assert list(lazy["big"][5:8]) == [10.0, 12.0, 14.0]
        for row in frame.to_dict("records"):
            for name, value in arrays(row["x"], row["iteration"]).items():
                assert same(row[name], value), name


def update(storage: Any, values: dict[str, Any]) -> None:
    """Record values by their names."""
    for name, value in values.items():
        storage.update_variable(name, value)


MIXED: list[Any] = [
    1, 2.5, True, "text", None, b"\xff", (1, "a"), [1, None], {"a": 1}, {1: "a"}, {1, 2}, 2**70,
    dt.date(2020, 1, 2),
    dt.datetime(2020, 1, 2, tzinfo=dt.UTC), dt.timedelta(1), np.float32(0.5), np.arange(3),
    np.arange(500),
    Decimal("1.5"), float("nan"), range(3), 1j, "é\0",
]  # fmt: skip


def values_of_any_types_in_one_column_come_back(place: Keeper) -> None:
    research = Research(domain=Option("x", list(range(0, len(MIXED), 4))))
    research = research.add_callable(
        "value",
        lambda x, i: MIXED[(x + i) % len(MIXED)],
        args=[EC("x"), E().iteration],
        save_to="value",
    )
    research = place.run(research, n_iters=4)
    for results in place.results(research):
        found = [*results.df.value, *results.to_df(pivot=False).value]
        recorded = [
            MIXED[(x + i) % len(MIXED)] for x in range(0, len(MIXED), 4) for i in range(4)
        ] * 2
        for one, value in zip(found, recorded, strict=True):
            assert same(one, value), (one, value)


def talking(x: int, i: int) -> None:
    print(f"x is {x}")  # noqa: T201
    print(f"i is {i}", file=sys.stderr)  # noqa: T201
    logging.getLogger("contract").warning("x and i are %s, %s", x, i)


def output_is_kept_by_experiment(place: Keeper) -> None:
    research = Research(domain=Option("x", [1, 2])).add_callable(
        "talk", talking, args=[EC("x"), E().iteration]
    )
    research = place.run(research, n_iters=2, redirect_stdout=3, redirect_stderr=1)
    for results in place.results(research):
        if place.url is None:
            with pytest.raises(ValueError, match=saying("in memory", "dump_results=True")):
                results.output_to_df()
            continue
        frame = results.output_to_df()
        assert list(frame.columns) == ["id", "stdout", "stderr", "log"]
        assert list(frame.id) == list(results.configs_to_df().id)
        assert list(frame.stdout) == [f"x is {x}\n" * 2 for x in (1, 2)]
        errors = [
            [line for line in text.splitlines() if line.startswith("i is")] for text in frame.stderr
        ]
        assert (
            errors == [["i is 0", "i is 1"]] * 2
        )  # where nobody else handles warnings, Python prints them there too
        logs = [
            [line.partition("WARNING contract: ")[2] for line in text.splitlines()]
            for text in frame.log
        ]
        assert logs == [[f"x and i are {x}, {i}" for i in (0, 1)] for x in (1, 2)]
        files = results.artifacts_to_df()
        assert list(files.artifact_name) == ["stdout.txt", "stdout.txt"]
        assert [place.content(path).decode() for path in files.relative_path] == list(frame.stdout)


def a_stored_research_is_loaded_and_runs_again(place: Keeper) -> None:
    research = place.run(described(), n_iters=2, seed=3)
    loaded = Research.load(place.url)
    pd.testing.assert_frame_equal(loaded.results.df, research.results.df)
    pd.testing.assert_frame_equal(loaded.preview(), research.options(n_iters=2).preview())
    again = Research.load(place.url, allow_pickle=True)
    place.run(again, n_iters=2, resume=True)
    pd.testing.assert_frame_equal(again.results.df, research.results.df)


def a_domain_that_is_updated_is_kept(place: Keeper) -> None:
    def doubled() -> Iterator[Domain]:
        yield Domain(x=[2]) * Domain(y=["new"])
        yield Domain(x=[4])

    def described() -> Research:
        updates = doubled()
        research = Research(domain=Option("x", [1])).add_callable(
            "y", lambda x: x * 2, args=[EC("x")], save_to="twice"
        )
        return research.update_domain(lambda: next(updates, None), "last")

    expected = in_memory(described(), seed=1).to_df(remove_auxilary=False)
    assert rows(expected, "x", "y", "updates", "twice") == [
        (1, None, 0, 2),
        (2, "new", 1, 4),
        (4, None, 2, 8),
    ]
    research = place.run(described(), seed=1)
    for results in place.results(research):
        pd.testing.assert_frame_equal(results.to_df(remove_auxilary=False), expected)


CONTRACT: list[Callable[[Keeper], None]] = [
    tables_are_those_of_a_run_in_memory,
    filters_find_the_rows_that_they_find_in_memory,
    a_filter_by_an_unknown_name_is_refused,
    failures_are_told_with_their_tracebacks,
    artifacts_are_kept_by_experiment,
    large_arrays_come_back,
    values_of_any_types_in_one_column_come_back,
    output_is_kept_by_experiment,
    a_domain_that_is_updated_is_kept,
]
"""What each place must do."""

CONTRACT_OF_FOLDERS: list[Callable[[Keeper], None]] = [
    *CONTRACT,
    a_run_goes_on_with_what_is_not_finished,
    a_folder_that_is_there_is_refused,
    a_research_is_removed_with_all_its_files,
    a_stored_research_is_loaded_and_runs_again,
]
"""What each place must do that outlives the process."""
