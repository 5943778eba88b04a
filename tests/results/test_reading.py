"""A folder tells what was recorded, in any process, during the run and after it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskresearch import EC, Alias, Domain, E, Option, Research, ResearchResults, S
from daskresearch.errors import OptionError, RecordedError, ResearchError, StorageError
from daskresearch.run import recording as recordings
from daskresearch.store.folder import compact, writer
from daskresearch.store.folder import rows as readers
from daskresearch.store.folder.tidier import Tidier
from daskresearch.store.record import MISSING
from tests.support.processes import python, running
from tests.support.recorded import columns, same_column
from tests.support.running import (
    DEADLINE_S,
    THREADS,
    TWO_WORKERS,
    on_workers,
    rows,
    saying,
    wait_for,
)

law = settings(max_examples=60)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return the name of a folder that is not there yet."""
    return str(tmp_path / "results")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the parts that runs write as they are."""
    monkeypatch.setattr(recordings, "compact", lambda *_, **__: None)


# what is recorded comes back

Cells = dict[str, list[list[Any]]]  # by variable, experiment and iteration


def recording_of(cells: Cells, xs: list[int], n_iters: int, folder: str) -> Research:
    """Return a research that records cells, those of the first variable by `save_to`."""
    names = list(cells)

    def rest(storage: Any, x: int, i: int) -> None:
        for name in names[1:]:
            if cells[name][x][i] is not MISSING:
                storage.update_variable(name, cells[name][x][i])

    def first(storage: Any, x: int, i: int) -> None:
        if cells[names[0]][x][i] is not MISSING:
            storage.update_variable(names[0], cells[names[0]][x][i])

    saved = all(cell is not MISSING for column in cells[names[0]] for cell in column)
    research = Research(folder, Option("x", xs))
    if saved:
        research = research.add_callable(
            "first",
            lambda x, i: cells[names[0]][x][i],
            args=[EC("x"), E().iteration],
            save_to=names[0],
        )
    else:
        research = research.add_callable("first", first, args=[S(), EC("x"), E().iteration])
    return research.add_callable("rest", rest, args=[S(), EC("x"), E().iteration])


@st.composite
def tables(draw: st.DrawFn) -> tuple[Cells, int, int]:
    """Draw the cells of one to three variables, over a few experiments and iterations."""
    n_experiments, n_iters = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    cells: Cells = {}
    for name in ["v", "head/w", "status"][: draw(st.integers(1, 3))]:
        values = draw(columns(max_size=n_experiments * n_iters)) or [MISSING]
        values = [values[i % len(values)] for i in range(n_experiments * n_iters)]
        cells[name] = [values[i * n_iters : (i + 1) * n_iters] for i in range(n_experiments)]
    return cells, n_experiments, n_iters


def same_frame(
    found: pd.DataFrame, expected: pd.DataFrame, canonical: Callable[[Any], Any] = lambda one: one
) -> bool:
    """Return whether two tables have the same columns, types and cells."""
    return (
        list(found.columns) == list(expected.columns)
        and found.dtypes.equals(expected.dtypes)
        and all(
            same_column([*map(canonical, found[name])], [*map(canonical, expected[name])])
            for name in found.columns
        )
    )


def pythonic(value: Any) -> Any:
    """Return Python's number for a scalar of numpy, which may come back as that."""
    return value.item() if type(value) in (np.float64, np.int64, np.bool_) else value


@pytest.mark.slow
@law
@given(tables(), st.sampled_from(["whole", "merged", "parts"]), st.integers(1, 3))
def test_a_folder_gives_the_table_that_memory_gives(table, mode, n_first):
    cells, n_experiments, n_iters = table
    xs = list(range(n_experiments))
    options = {"n_iters": n_iters, "seed": 1, "bar": False}
    expected = recording_of(cells, xs, n_iters, "").run(dump_results=False, **options).results
    with (
        tempfile.TemporaryDirectory() as root,
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        if mode == "parts":
            patch.setattr(recordings, "compact", lambda *_, **__: None)
        if mode != "whole":
            recording_of(cells, xs[:n_first], n_iters, f"{root}/r").run(**options)
        recording_of(cells, xs, n_iters, f"{root}/r").run(resume=mode != "whole", **options)
        results = ResearchResults(f"{root}/r", allow_pickle=True)
        assert same_frame(results.df, expected.df)
        assert same_frame(results.to_df(pivot=False), expected.to_df(pivot=False), pythonic)
        assert same_frame(results.to_df(iterations=0, x=0), expected.to_df(iterations=0, x=0))


@pytest.mark.slow
@law
@given(st.lists(columns(max_size=3), min_size=1, max_size=2))
def test_configs_of_any_values_come_back_as_values_or_texts(columns):
    values = [value for column in columns for value in column if value is not MISSING] or [1]
    domain = Option("p", [Alias(value, f"alias of {i}") for i, value in enumerate(values)])
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = Research(f"{root}/r", domain).save(1, "one").run(bar=False)
        assert same_column(list(run.results.df.p), list(in_memory(domain).df.p))
        others = ResearchResults(f"{root}/r")
        assert list(others.to_df(use_alias=True).p) == [f"alias of {i}" for i in range(len(values))]
        assert len(others.to_df(alias={"p": "alias of 0"})) == 1


def in_memory(domain: Domain) -> ResearchResults:
    return Research(domain=domain).save(1, "one").run(bar=False, dump_results=False).results


def test_variables_named_like_columns_of_the_library_come_back(folder):
    names = [
        "_aliases",
        "status",
        "group",
        "position",
        "n_rows",
        "index",
        "__index_level_0__",
        "ID",
        "Iteration",
    ]
    research = Research(folder, Option("x", [1, 2]))
    for name in names:
        research = research.add_callable(
            f"of {name}", lambda x: (x, "a"), args=[EC("x")], save_to=name
        )
    research.run(bar=False)
    for name in names:
        assert list(ResearchResults(folder).df[name]) == [(1, "a"), (2, "a")]


# filters read no more than they must


class Reads:
    """What was read of results: files with their row groups, all if None, and columns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, list[int] | None, list[str]]] = []
        reading, selected = readers.reading, readers.selected  # type: ignore[attr-defined]
        paths: list[str] = []

        def noted_path(files, path):
            paths.append(path)
            return reading(files, path)

        def noted(file, columns, groups=None):
            self.made.append((paths[-1], groups, columns))
            return selected(file, columns, groups)

        monkeypatch.setattr(readers, "reading", noted_path)
        monkeypatch.setattr(readers, "selected", noted)

    def of(self, look: Callable[[], object]) -> list[tuple[str, list[int] | None, list[str]]]:
        self.made.clear()
        look()
        return list(self.made)


def in_parts(folder: str, xs: list[list[int]], n_iters: int = 1, **options: Any) -> list[str]:
    """Run some experiments, then more of them, and return the paths of the results in turn."""
    names: list[str] = []
    for i in range(len(xs)):
        so_far = [x for some in xs[: i + 1] for x in some]
        research = (
            Research(folder, Option("x", so_far)).save(E().iteration, "i").save(EC("x"), "seen")
        )
        research.run(**{"n_iters": n_iters, "bar": False, "seed": 1, "resume": i > 0} | options)
        names += [name for name in sorted(os.listdir(f"{folder}/results")) if name not in names]
    return [f"results/{name}" for name in names]


def test_a_filter_by_config_reads_the_files_of_its_experiments_alone(folder, parts, monkeypatch):
    first, second = in_parts(folder, [[1, 2], [3, 4]])
    results, reads = ResearchResults(folder), Reads(monkeypatch)
    ids = list(results.df.id)
    assert [path for path, *_ in reads.of(lambda: results.to_df(x=[1, 2]))] == [first]
    assert [path for path, *_ in reads.of(lambda: results.to_df(x=4))] == [second]
    assert [path for path, *_ in reads.of(lambda: results.to_df(experiment_id=ids[3]))] == [second]
    assert [path for path, *_ in reads.of(lambda: results.to_df(domain=Option("x", [1])))] == [
        first
    ]
    assert [path for path, *_ in reads.of(lambda: results.to_df(alias={"x": "2"}))] == [first]
    assert {path for path, *_ in reads.of(lambda: results.to_df(x=[1, 3]))} == {first, second}
    assert reads.of(lambda: results.to_df(x=9)) == []
    os.remove(f"{folder}/{second}")
    os.mkdir(f"{folder}/{second}")  # what cannot be read is not missed
    assert list(results.to_df(x=2).seen) == [2]


def test_a_filter_by_config_reads_the_row_groups_of_its_experiments_alone(folder, monkeypatch):
    (path,) = in_parts(folder, [list(range(12))], n_iters=2500)
    results, reads = ResearchResults(folder), Reads(monkeypatch)
    assert [groups for _, groups, _ in reads.of(lambda: results.to_df(x=0))] == [[0]]
    assert [groups for _, groups, _ in reads.of(lambda: results.to_df(x=[3, 11]))] == [[0, 2]]
    assert [groups for _, groups, _ in reads.of(lambda: results.df)] == [None]
    frame = results.to_df(x=[3, 4, 11], iterations=[0, 2499])
    assert rows(frame, "x", "seen", "i") == [(x, x, i) for x in (3, 4, 11) for i in (0, 2499)]
    assert len(reads.of(lambda: results.to_df(x=0))) == 1
    assert path.startswith("results/")


def test_a_filter_by_name_reads_its_columns_alone(folder, monkeypatch):
    in_parts(folder, [[1, 2]])
    results, reads = ResearchResults(folder), Reads(monkeypatch)
    ((_, _, names),) = reads.of(lambda: results.to_df(name="seen"))
    assert "i" not in names
    assert {"iteration", "seen"} <= set(names)


def test_a_filter_by_iteration_reads_the_row_groups_that_hold_it(folder, monkeypatch):
    in_parts(folder, [[1]], n_iters=25_000)
    results, reads = ResearchResults(folder), Reads(monkeypatch)
    assert [groups for _, groups, _ in reads.of(lambda: results.to_df(iterations=12_345))] == [[1]]
    assert [groups for _, groups, _ in reads.of(lambda: results.to_df(iterations=[0, 24_999]))] == [
        [0, 2]
    ]
    assert list(results.to_df(iterations=[24_999, 5]).i) == [5, 24_999]
    assert len(results.to_df(iterations=30_000)) == 0


# in a process that knows nothing

LONELY = """
import sys
for name in ("dask", "distributed", "scipy", "tqdm", "recorded_by_user", "tests"):
    sys.modules[name] = None
sys.path.remove("") if "" in sys.path else None
from daskresearch import Research, ResearchResults
results = ResearchResults(sys.argv[1])
df = results.df
print(df.shape, list(df.columns), list(df.x), list(df.square))
print(df.model[0], list(df.kind))
models = results.to_df(alias={"kind": "Model"})
print(results.to_df(x=2, name="square").square.item(), models.shape[0])
print(df.array[1].sum(), results.to_df(arrays="lazy").array[1])
failures = results.failures
print(list(failures.unit), list(failures.exception), "in fail" in failures.traceback[0])
print(list(results.output_to_df().stdout), list(results.artifacts_to_df().artifact_name), results)
n_x = results.to_xarray().sizes["x"]
print(len(results._repr_html_()) > 100, list(results.configs_to_df().x), n_x)
research = Research.load(sys.argv[1])
units = list(research.preview().unit)
print(research, units, research.monitor.n_failed, research.is_finished, research.seed)
"""

USERS = """
import numpy as np
from daskresearch import EC, EP, Option, Research

class Model:
    def __init__(self, x):
        self.x = x

class Failed(Exception):
    pass

def work(folder, x):
    print("works on", x)
    open(f"{folder}/file.txt", "w").close()
    return x ** 2, Model(x), np.full((50, 50), x)

def fail(x):
    if x == 3:
        raise Failed("three")

def research(name):
    research = Research(name, Option("x", [1, 2, 3]) * Option("kind", [Model]))
    saved = ["square", "model", "array"]
    research = research.add_callable("work", work, args=[EP(), EC("x")], save_to=saved)
    return research.add_callable("fail", fail, args=[EC("x")])

def run(name):
    return research(name).run(bar=False, seed=1)
"""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a module of a user which has run a research, whose folder is `name`."""
    (tmp_path / "recorded_by_user.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import recorded_by_user

    recorded_by_user.name = str(tmp_path / "results")
    yield recorded_by_user
    del sys.modules["recorded_by_user"]


@pytest.mark.slow
def test_results_are_read_without_the_users_code_and_without_dask(users):
    users.run(users.name)
    lines = python(LONELY, users.name).splitlines()
    assert lines == [
        "(3, 7) ['id', 'x', 'kind', 'iteration', 'square', 'model', 'array'] [1, 2, 3] [1, 4, 9]",
        lines[1],
        "4 3",
        "5000 <LazyArray of shape (50, 50), int64>",
        "['fail'] [Failed('three')] True",
        "['works on 1\\n', 'works on 2\\n', 'works on 3\\n'] ['file.txt', 'file.txt', 'file.txt'] "
        "<ResearchResults: 3 experiments, 1 failures>",
        "True [1, 2, 3] 3",
        f"<Research {users.name!r}, loaded from its folder: work -> fail over "
        "<Domain: x=[1, 2, 3] * kind=[Model]>> "
        f"['work', 'fail'] 1 True 1",
    ]
    assert lines[1].startswith("<pickled value of ")
    assert lines[1].endswith(" bytes; read with allow_pickle=True> ['Model', 'Model', 'Model']")


# failures


def test_exceptions_are_texts_unless_one_asks_for_them(users):
    users.run(users.name)
    (shown,) = ResearchResults(users.name).failures.to_dict("records")
    (loaded,) = ResearchResults(users.name, allow_pickle=True).failures.to_dict("records")
    (later,) = ResearchResults(users.name).load().failures.to_dict("records")
    assert type(shown["exception"]) is RecordedError
    assert repr(shown["exception"]) == "Failed('three')"
    for one in (loaded, later):
        assert type(one["exception"]) is users.Failed
        assert one["exception"].args == ("three",)
    for one in (shown, loaded):
        assert one["traceback"].splitlines()[-1].endswith("Failed: three")
        assert 'raise Failed("three")' in one["traceback"]


class UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError("never")


class UnprintableError(Exception):
    def __repr__(self):
        raise ValueError("no repr")

    __str__ = __repr__


@pytest.mark.parametrize(
    "kind",
    [UnpicklableError, UnprintableError, KeyboardInterrupt, SystemExit],
    ids=lambda kind: kind.__name__,
)
def test_strange_exceptions_are_told(kind, folder):
    def fail():
        raise kind("\ud800")

    with suppress(KeyboardInterrupt, SystemExit):
        Research(folder).save(1, "one").add_callable("fail", fail).run(bar=False)
    for allow_pickle in (False, True):
        failures = ResearchResults(folder, allow_pickle=allow_pickle).failures
        if issubclass(kind, Exception):
            assert list(failures.unit) == ["fail"]
            assert kind.__name__ in failures.traceback[0]


# while a run goes on

WATCH = """
import json, os, sys, time
from daskresearch import ResearchResults
name, total = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
seen, wrong, deadline = [], [], time.monotonic() + 60
while (not seen or seen[-1] < total) and time.monotonic() < deadline:
    if not os.path.exists(f"{name}/research.json"):
        continue
    results = ResearchResults(name)
    frame = results.df
    if not len(frame):
        continue
    counts = frame.groupby("x").size()
    good = 10 * frame.x + frame.iteration
    if set(counts) - {3} or list(frame.seen) != list(good) or list(frame.x) != sorted(frame.x):
        wrong.append(frame.to_json())
    if [float(one[0]) for one in frame.array] != [float(x) for x in frame.x]:
        wrong.append("array")
    if len(results) < len(counts):
        wrong.append("count")
    seen.append(len(counts))
print(json.dumps([seen, wrong]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", [{}, THREADS, on_workers(TWO_WORKERS)], ids=["in turn", "threads", "two workers"]
)
def test_another_process_reads_whole_experiments_while_a_run_goes_on(place, folder, monkeypatch):
    monkeypatch.setattr(writer, "_MOST_EXPERIMENTS", 5)
    monkeypatch.setattr(
        recordings, "Tidier", partial(Tidier, most=4)
    )  # so that parts are merged again and again
    total = 150

    def work(storage, x, i):
        import time

        storage.update_variable("seen", 10 * x + i)
        storage.update_variable("array", np.full(500, float(x)))
        time.sleep(0.005)

    research = Research(folder, Option("x", list(range(total))))
    research = research.add_callable("work", work, args=[S(), EC("x"), E().iteration])
    with running(WATCH, folder, str(total)) as watch:
        research.run(n_iters=3, bar=False, **place)
        output, _ = watch.communicate(timeout=100)
    seen, wrong = json.loads(output)
    assert wrong == []
    assert seen == sorted(seen)
    assert seen[-1] == total
    assert seen[0] < total
    assert len(os.listdir(f"{folder}/results")) == 1


def test_results_of_the_process_that_runs_are_live(folder):
    gate = Path(f"{folder}.open")

    def work(x):
        if x == 2:
            wait_for(gate.exists)
        return x

    research = Research(folder, Option("x", [0, 1, 2])).work(EC("x"), save_to="seen")
    research.run(bar=False, detach=True)
    wait_for(lambda: len(research.results) == 2)
    assert list(research.results.df.seen) == [0, 1]
    wait_for(lambda: len(ResearchResults(folder)) == 2)
    assert not Research.load(folder).is_finished
    gate.touch()
    assert research.wait(DEADLINE_S)
    assert list(research.results.df.seen) == [0, 1, 2]
    assert Research.load(folder).is_finished


# arrays


def test_lazy_arrays_read_what_is_asked_of_them(folder):
    big, small = np.arange(600_000.0).reshape(600, 1000), np.arange(3)
    Research(folder).save(big, "big").save(small, "small").save(["text"], "text").run(bar=False)
    row = ResearchResults(folder).to_df(arrays="lazy").iloc[0]
    assert repr(row.big) == "<LazyArray of shape (600, 1000), float64>"
    assert (row.big.shape, row.big.dtype, row.big.ndim, row.big.nbytes) == (
        (600, 1000),
        big.dtype,
        2,
        big.nbytes,
    )
    assert np.array_equal(row.big[10:20, 5], big[10:20, 5])
    assert row.big[599, 999] == 599_999.0
    assert np.array_equal(np.asarray(row.big), big)
    assert np.array_equal(row.small, small)
    assert row.text == ["text"]
    assert np.array_equal(ResearchResults(folder).df.big[0], big)
    with pytest.raises(ValueError, match=saying("'eager' or 'lazy'", "'none'")):
        ResearchResults(folder).to_df(arrays="none")


# dask

WIDE: list[dict[str, Any]] = [
    {
        "int": 1,
        "float": 0.5,
        "text": "a",
        "list": [1],
        "mixed": 1,
        "bool": True,
        "array": np.zeros(2),
        "bytes": b"\xff",
    },
    {
        "int": 2,
        "float": 1.5,
        "text": "b",
        "list": [2, 3],
        "mixed": "b",
        "bool": False,
        "late": 1,
        "dict": {"a": 1},
    },
    {
        "int": 3,
        "float": None,
        "list": [],
        "mixed": (1,),
        "late": 2,
        "widened": 1,
        "when": pd.Timestamp("2020-01-01"),
    },
    {
        "int": 4,
        "float": 2,
        "text": "é",
        "list": [4],
        "mixed": None,
        "widened": 0.5,
        "big": np.zeros(500),
    },
]


def record_all(storage: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        storage.update_variable(name, value)


def test_the_dask_frame_is_the_table_whatever_its_partitions(folder, parts):
    for n in range(1, 5):
        research = Research(folder, Option("x", [Alias(i, f"row {i}") for i in range(n)]))
        research = research.add_callable(
            "record", lambda s, x: record_all(s, WIDE[x]), args=[S(), EC("x")]
        )
        research.run(bar=False, seed=1, resume=n > 1)
    results = ResearchResults(folder)
    ddf, frame = results.ddf, results.df
    assert ddf.npartitions == 4
    assert list(ddf.columns) == list(frame.columns)
    computed = ddf.compute(scheduler="sync").reset_index(drop=True)
    assert {name: str(kind) for name, kind in computed.dtypes.items()} == {
        name: str(kind) for name, kind in frame.dtypes.items()
    }
    assert dict(ddf.dtypes) == dict(computed.dtypes)
    assert all(same_column(list(computed[name]), list(frame[name])) for name in frame.columns)
    assert ddf["int"].sum().compute(scheduler="sync") == 10


def test_the_dask_frame_of_one_part_is_the_table(folder):
    research = Research(folder, Option("x", list(range(4))))
    research = research.add_callable(
        "record", lambda s, x: record_all(s, WIDE[x]), args=[S(), EC("x")]
    )
    research.run(bar=False)
    frame, computed = research.results.df, research.results.ddf.compute(scheduler="sync")
    assert dict(computed.dtypes) == dict(frame.dtypes)
    assert all(same_column(list(computed[name]), list(frame[name])) for name in frame.columns)


TOLD_BY_FOOTERS: list[dict[str, Any]] = [
    {
        "int": x,
        "float": x / 2,
        "gaps": x if x else None,
        "text": str(x),
        "bool": bool(x),
        "small": np.int8(x),
        "list": [x],
        "array": np.full(1000, x),
        "moment": pd.Timestamp(2020, 1, x + 1),
    }
    for x in range(4)
]

TOLD_BY_CELLS: dict[str, list[Any]] = {
    "numpy's moments": [np.datetime64("2020-01-01"), np.datetime64("2020-01-02")],
    "text or nan": ["a", float("nan")],
    "numpy's texts": [np.str_("a"), np.str_("b")],
    "complex": [1j, 2j],
    "long": [2**63, 2**63 + 1],
    "mixed": [1, "a"],
    "integers": [1, 2],
    "texts": ["a", None],
}


def without_lists_of_tags(path: Path) -> None:
    """Write a Parquet file as earlier versions did, whose schemas listed no tags."""
    table = pq.read_table(path)
    fields = [field.remove_metadata() for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields, table.schema.metadata)), path)


@pytest.mark.parametrize("is_old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("values", TOLD_BY_CELLS.values(), ids=TOLD_BY_CELLS)
def test_a_dask_frame_has_the_types_of_the_table(folder, values, is_old):
    research = Research(folder, Option("x", [0, 1]) @ Option("value", values))
    research.add_callable("f", lambda v: v, args=[EC("value")], save_to="y").run(bar=False)
    if is_old:
        for path in Path(folder).glob("*/*.parquet"):
            without_lists_of_tags(path)
    results = ResearchResults(folder)
    assert dict(results.ddf.dtypes) == dict(results.df.dtypes)


def without_cells(path: Path) -> None:
    """Overwrite all of a Parquet file but its footer."""
    content = path.read_bytes()
    n_kept = int.from_bytes(content[-8:-4], "little") + 8
    path.write_bytes(b"PAR1" + b"\0" * (len(content) - n_kept - 4) + content[-n_kept:])


@pytest.mark.parametrize("is_merged", [False, True], ids=["parts", "merged"])
def test_a_dask_frame_reads_nothing_of_the_rows_before_it_is_computed(
    folder, is_merged, monkeypatch
):
    if not is_merged:
        monkeypatch.setattr(recordings, "compact", lambda *_, **__: None)
    for n in range(1, 5):
        research = Research(folder, Option("x", [Alias(i, f"row {i}") for i in range(n)]))
        research = research.add_callable(
            "record", lambda s, x: record_all(s, TOLD_BY_FOOTERS[x]), args=[S(), EC("x")]
        )
        research.run(bar=False, seed=1, resume=n > 1)
    results = ResearchResults(folder)
    frame, computed = results.df, results.ddf.compute(scheduler="sync")
    for path in [*Path(folder).glob("results/*"), *Path(folder).glob("experiments/*")]:
        without_cells(path)
    ddf = ResearchResults(folder).ddf
    assert dict(ddf.dtypes) == dict(computed.dtypes) == dict(frame.dtypes)
    with pytest.raises(StorageError):
        ddf.compute(scheduler="sync")


@settings(max_examples=40, deadline=None)
@given(st.lists(columns(max_size=3).filter(bool), min_size=1, max_size=3))
def test_a_dask_frame_has_no_narrower_types_than_the_table(parts_of_values):
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, "compact", lambda *_, **__: None)
        values = [value for part in parts_of_values for value in part]
        n = 0
        for part in parts_of_values:
            n += len(part)
            research = Research(f"{root}/r", Option("x", list(range(n))))
            research = research.add_callable(
                "record",
                lambda s, x: None if values[x] is MISSING else s.update_variable("v", values[x]),
                args=[S(), EC("x")],
            )
            research.run(bar=False, seed=1, resume=n > len(part))
        results = ResearchResults(f"{root}/r", ["x"])
        frame, computed = results.df, results.ddf.compute(scheduler="sync")
        # the footers of very mixed columns do not tell their type, but nothing is lost
        assert list(frame) == list(computed)
        for name in frame:
            assert computed[name].dtype in (frame[name].dtype, np.dtype(object))


@pytest.mark.parametrize(
    "values",
    [
        [[None, None]],
        [[[None, None]], [[1.5]]],
        [{"a": [None, None]}],
        [{"a": [None, None], "b": None}, {"a": [None, None], "b": 1.5}],
        [[{"a": [None, None], "b": None}], [{"a": [None, None], "b": 1.5}]],
    ],
)
@pytest.mark.parametrize("is_merged", [False, True], ids=["parts", "merged"])
def test_lists_of_nothing_come_back_from_a_folder(values, is_merged, folder, monkeypatch):
    if not is_merged:
        monkeypatch.setattr(recordings, "compact", lambda *_, **__: None)
    for n in range(1, len(values) + 1):
        research = Research(folder, Option("x", values[:n]))
        research = research.add_callable("record", lambda x: x, args=[EC("x")], save_to="v")
        research.run(bar=False, seed=1, resume=n > 1)
    results = ResearchResults(folder)
    assert results.df[["x", "v"]].to_dict("list") == {"x": values, "v": values}
    # a dask frame has cells that pandas has no type for as texts
    computed = results.ddf.compute(scheduler="sync")
    assert list(map(str, computed.x)) == list(map(str, computed.v)) == list(map(str, values))


@pytest.mark.parametrize("kept", [True, False], ids=["folder", "memory"])
def test_the_dask_frame_of_no_rows_is_the_empty_table(kept, folder):
    research = Research(folder, Option("x", [1])).add_callable("fail", lambda: 1 / 0, save_to="y")
    results = research.run(bar=False, dump_results=kept).results
    computed = results.ddf.compute(scheduler="sync")
    assert (list(computed.columns), len(computed)) == (["id", "x", "iteration", "y"], 0)


def test_the_dask_frame_has_rows_in_domain_order(folder, monkeypatch):
    monkeypatch.setattr(compact, "ROWS_A_PART", 2)
    in_parts(folder, [[4, 5], [1, 2], [3, 0]])
    ddf = ResearchResults(folder).ddf
    assert ddf.npartitions == 3
    assert (
        list(ddf.compute(scheduler="sync").x)
        == list(ResearchResults(folder).df.x)
        == [4, 5, 1, 2, 3, 0]
    )


@pytest.mark.slow
def test_the_dask_frame_is_computed_on_workers(folder, parts, client):
    in_parts(folder, [[1], [2], [3]])
    research = (
        Research(folder, Option("x", [1, 2, 3, 4])).save(E().iteration, "i").save(EC("x"), "seen")
    )
    results = research.run(bar=False, resume=True).results
    assert list(client.compute(results.ddf, sync=True).seen) == [1, 2, 3, 4]
    memory = research.run(bar=False, dump_results=False).results
    assert list(client.compute(memory.ddf, sync=True).seen) == [1, 2, 3, 4]


def test_a_dask_frame_whose_files_were_merged_says_so(folder, parts, monkeypatch):
    in_parts(folder, [[1], [2]])
    ddf = ResearchResults(folder).ddf
    monkeypatch.undo()
    in_parts(folder, [[1, 2, 3]], resume=True)
    with pytest.raises(StorageError, match=saying("merged", "ddf")):
        ddf.compute(scheduler="sync")


# xarray


@pytest.mark.parametrize("kept", [True, False], ids=["folder", "memory"])
def test_a_grid_has_the_parameters_and_iterations_as_dimensions(kept, folder):
    domain = Domain(x=[3, 1]) * Option("kind", [Alias(len, "length"), Alias(max, "most")]) + Domain(
        x=[2]
    ) * Option("kind", [Alias(len, "length")])
    research = Research(folder, domain, n_reps=2)
    research = research.add_callable(
        "n", lambda x, i: 10 * x + i, args=[EC("x"), E().iteration], save_to="n"
    )
    research = research.add_callable(
        "text", lambda x: f"t{x}", args=[EC("x")], save_to="text", when="#0"
    )
    research = research.add_callable(
        "array", lambda x: np.full((2, 300), x), args=[EC("x")], save_to="array"
    )
    results = research.run(n_iters=2, bar=False, dump_results=kept).results
    grid = results.to_xarray()
    assert grid.n.dims == ("x", "kind", "repetition", "iteration")
    assert (list(grid.x.values), list(grid.kind.values)) == ([3, 1, 2], ["length", "most"])
    assert grid.n.sel(x=1, kind="most", repetition=1, iteration=1).item() == 11
    assert np.isnan(grid.n.sel(x=2, kind="most", repetition=0, iteration=0).item())
    assert grid.text.sel(x=3, kind="length", repetition=0, iteration=0).item() == "t3"
    assert pd.isna(grid.text.sel(x=3, kind="length", repetition=0, iteration=1).item())
    assert grid.id.sel(x=2, kind="length", repetition=1, iteration=0).item() in set(results.df.id)
    array = grid.array.sel(x=1, kind="length", repetition=0, iteration=0)
    assert array.dims == ("array_0", "array_1")
    assert np.array_equal(array.values, np.full((2, 300), 1))
    assert np.isnan(grid.array.sel(x=2, kind="most", repetition=0, iteration=0).values).all()
    one = results.to_xarray(repetition=0, x=[3, 1], name="n")
    assert (one.n.dims, one.n.dtype, set(one.data_vars)) == (
        ("x", "kind", "iteration"),
        np.dtype("int64"),
        {"n"},
    )
    assert one.n.to_numpy().tolist() == [[[30, 31]] * 2, [[10, 11]] * 2]


def test_rows_that_are_no_grid_are_refused(folder):
    research = Research(folder, Option("x", [1, 1])).save(EC("x"), "seen").run(bar=False)
    with pytest.raises(OptionError, match=saying("two rows have the same", "filters")):
        research.results.to_xarray()


# output

PLACES = {"in turn": {}, "threads": THREADS, "two workers": TWO_WORKERS}


def talking(x: int, i: int) -> None:
    print(f"out {x} {i}\n", end="")  # noqa: T201
    print(f"err {x} {i}\n", end="", file=sys.stderr)  # noqa: T201


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "place",
    [*list(PLACES)[:2], pytest.param("two workers", marks=[pytest.mark.slow, pytest.mark.cluster])],
)
def test_what_experiments_print_goes_where_it_is_to_go(mode, place, folder, capfd):
    research = Research(folder, Option("x", [1, 2, 3])).add_callable(
        "talk", talking, args=[EC("x"), E().iteration]
    )
    research.run(
        n_iters=2, bar=False, redirect_stdout=mode, redirect_stderr=3 - mode, **PLACES[place]
    )
    printed = capfd.readouterr()
    results = ResearchResults(folder)
    kept, files = results.output_to_df(), results.artifacts_to_df()
    for stream, asked in (("out", mode), ("err", 3 - mode)):
        texts = [f"{stream} {x} 0\n{stream} {x} 1\n" for x in (1, 2, 3)]
        assert list(kept[f"std{stream}"]) == (texts if asked & 1 else [""] * 3)
        paths = files[files.artifact_name == f"std{stream}.txt"]
        assert list(paths.x) == ([1, 2, 3] if asked & 2 else [])
        assert [Path(path).read_text() for path in paths.full_path] == (texts if asked & 2 else [])
        if place != "two workers":
            assert sorted(getattr(printed, stream).splitlines()) == sorted(
                "".join([] if asked else texts).splitlines()
            )


def logging_some(x: int) -> None:
    import logging

    log = logging.getLogger("of.user")
    log.setLevel("DEBUG")
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)("%s of %d", level, x)


@pytest.mark.parametrize("level", ["debug", "info", "error", "critical"])
def test_logs_are_kept_from_their_level_on(level, folder):
    research = Research(folder, Option("x", [1, 2])).add_callable(
        "log", logging_some, args=[EC("x")]
    )
    kept = list(research.run(bar=False, loglevel=level, **THREADS).results.output_to_df().log)
    levels = ["debug", "info", "warning", "error", "critical"]
    expected = levels[levels.index(level) : 4]
    for x, text in zip((1, 2), kept, strict=True):
        lines = [line.partition(" of.user: ") for line in text.splitlines()]
        assert [end for *_, end in lines] == [f"{one} of {x}" for one in expected]
        assert [start.rpartition(" ")[2] for start, *_ in lines] == [
            one.upper() for one in expected
        ]


def test_the_log_of_a_research_tells_of_its_runs(folder):
    in_parts(folder, [[1, 2], [3]])
    lines = Path(folder, "research.log").read_text().splitlines()
    assert [line.partition(" ")[2].partition(" ")[0] for line in lines] == [
        "run",
        "the",
        "run",
        "the",
    ]
    assert "2 experiments ran, 0 of them failed, 0 were there already" in lines[1]
    assert "1 experiments ran, 0 of them failed, 2 were there already" in lines[3]


# loading


def test_a_loaded_research_tells_what_the_original_tells(users):
    original = users.run(users.name)
    loaded = Research.load(users.name)
    pd.testing.assert_frame_equal(loaded.preview(), original.preview())
    assert loaded.preview().attrs == original.preview().attrs
    columns = ["id", "x", "iteration", "square"]
    pd.testing.assert_frame_equal(loaded.results.df[columns], original.results.df[columns])
    assert (loaded.seed, loaded.name, loaded.is_finished, loaded.wait()) == (
        1,
        users.name,
        True,
        True,
    )
    assert (loaded.monitor.n_finished, loaded.monitor.n_failed) == (3, 1)
    assert repr(loaded).startswith(
        f"<Research {users.name!r}, loaded from its folder: work -> fail over"
    )
    assert "3 experiments" in loaded._repr_html_()
    for refused in (
        lambda: loaded.run(bar=False, resume=True),
        loaded.compute,
        loaded.to_delayed,
        loaded.visualize,
        lambda: loaded.save(1, "more").run(bar=False, dump_results=False),
    ):
        with pytest.raises(ResearchError, match=saying("plan", "allow_pickle=True", users.name)):
            refused()
    with pytest.raises(ResearchError, match=saying("another", "resume=True")):
        loaded.attach_env_meta()


AGAIN = """
import sys, warnings
from daskresearch import Research
from daskresearch.errors import ChangedUnitsWarning
warnings.simplefilter("error", ChangedUnitsWarning)
research = Research.load(sys.argv[1], allow_pickle=True)
types = [type(model).__name__ for model in research.results.df.model]
print(research, list(research.preview().unit), types)
research.run(bar=False, resume=True, **eval(sys.argv[2]))
frame = research.results.df
print(list(frame.x), list(frame.square), list(research.results.failures.unit))
more = research.save(5, "five").run(sys.argv[1] + "_more", bar=False, seed=1)
print(list(more.results.df.five), list(more.results.df.id) == list(frame.id))
print(list(research.compute().square))
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["in turn", on_workers("two workers")])
def test_a_research_is_loaded_and_extended_where_the_users_code_is_not(place, users):
    users.run(users.name)
    os.remove(Path(users.__file__))
    lines = python(
        f"if __name__ == '__main__':{AGAIN}".replace("\n", "\n    "),
        users.name,
        repr(PLACES[place]),
    ).splitlines()
    assert [line for line in lines if not line.startswith("works on")] == [
        f"<Research {users.name!r}: 3 experiments of work -> fail> "
        "['work', 'fail'] ['Pickled', 'Pickled', 'Pickled']",
        "[1, 2, 3] [1, 4, 9] ['fail']",
        "[5, 5, 5] True",
        "[1, 4, 9]",
    ]


def test_a_research_whose_plan_cannot_be_pickled_says_so(folder):
    lock = __import__("threading").Lock()

    def work():
        return lock.locked()

    Research(folder).add_callable("work", work, save_to="locked").run(bar=False)
    assert list(Research.load(folder).results.df.locked) == [False]
    with pytest.raises(
        ResearchError, match=saying("no plan", "could not be pickled", "resume=True")
    ):
        Research.load(folder, allow_pickle=True)


@pytest.mark.parametrize("name", ["missing", "empty", "other"])
def test_what_is_no_research_is_not_loaded(name, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for look in (ResearchResults, Research.load, lambda one: Research.remove(one, ask=False)):
        with pytest.raises(StorageError, match=saying("no folder of a research", "research.json")):
            look(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "file", "other"]


# removing


class Terminal:
    """A terminal whose user gives one answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        self.asked: list[str] = []
        self.answer = answer
        monkeypatch.setattr(sys, "stdin", self)
        monkeypatch.setattr("builtins.input", self.input)

    def isatty(self) -> bool:
        return True

    def input(self, text: str) -> str:
        self.asked.append(text)
        return self.answer


@pytest.mark.parametrize("answer", ["y", "yes", " Y "])
def test_a_research_is_removed_if_its_user_says_so(answer, folder, monkeypatch):
    in_parts(folder, [[1, 2]])
    terminal = Terminal(monkeypatch, answer)
    Research.remove(folder)
    assert terminal.asked == [f"Remove {folder!r} with 2 experiments? [y/N] "]
    assert not os.path.exists(folder)


@pytest.mark.parametrize("answer", ["", "n", "no", "yep", "remove"])
def test_a_research_stays_if_its_user_says_anything_else(answer, folder, monkeypatch):
    in_parts(folder, [[1, 2]])
    Terminal(monkeypatch, answer)
    Research.remove(folder)
    assert list(ResearchResults(folder).df.seen) == [1, 2]


def test_without_a_terminal_nobody_is_asked(folder, monkeypatch):
    in_parts(folder, [[1]])
    for stdin in (None, io.StringIO("y")):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(OptionError, match=saying("no terminal", "ask=False")):
            Research.remove(folder)
    assert len(ResearchResults(folder)) == 1


def test_files_of_others_stay(folder):
    in_parts(folder, [[1]])
    Path(folder, "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=saying("removed", "stays", "'notes.txt'")):
        Research.remove(folder, ask=False)
    assert os.listdir(folder) == ["notes.txt"]
    with pytest.raises(StorageError, match="no folder of a research"):
        Research.remove(folder, ask=False)


def test_a_link_to_a_research_is_followed_to_its_files_alone(folder, tmp_path):
    in_parts(folder, [[1]])
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(folder)
    Research.remove(str(tmp_path / "link"), ask=False)
    assert os.listdir(tmp_path) == ["other"]


def test_a_research_is_not_removed_while_it_runs(folder):
    gate = Path(f"{folder}.open")
    research = Research(folder).add_callable("wait", lambda: wait_for(gate.exists))
    research.run(bar=False, detach=True)
    with pytest.raises(StorageError, match=saying("another run is writing", folder)):
        Research.remove(folder, ask=False)
    gate.touch()
    assert research.wait(DEADLINE_S)
    Research.remove(folder, ask=False)
    assert not os.path.exists(folder)


# what results depend on


def test_the_environment_is_attached(folder):
    run = Research(folder).save(1, "one").run(bar=False)
    assert not os.path.exists(f"{folder}/env")
    assert run.attach_env_meta() is run
    found = json.loads(Path(folder, "env", "environment.json").read_text())
    assert found["packages"]["numpy"] == np.__version__
    other = Research(f"{folder}_2").save(1, "one").run(bar=False, env_meta=True)
    assert os.path.exists(f"{folder}_2/env/environment.json")
    assert list(other.results.df.one) == [1]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that is in no repository."""
    (tmp_path / "outside").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(tmp_path / "outside")
    return tmp_path / "outside"


def test_the_state_of_a_repository_is_attached(outside):
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    own |= {
        f"GIT_{who}_{what}": "ann@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    (outside / "model.py").write_text("rate = 1\n")
    for command in (["init", "-q"], ["add", "model.py"], ["commit", "-qm", "Begin"]):
        subprocess.run(["git", *command], check=True, env=own)
    (outside / "model.py").write_text("rate = 2\n")
    Research("results").save(1, "one").run(bar=False, git_meta=True)
    found = json.loads((outside / "results" / "env" / "git.json").read_text())
    assert "+rate = 2" in found["diff"]
    assert "-rate = 1" in found["diff"]
    run = Research("again").save(1, "one").run(bar=False)
    assert run.attach_git_meta(str(outside)) is run
    assert (
        json.loads((outside / "again" / "env" / "git.json").read_text())["commit"]
        == found["commit"]
    )


def test_a_run_that_is_to_tell_of_no_repository_is_refused_before_anything_is_written(outside):
    calls = []
    research = Research("results").add_callable("call", lambda: calls.append(1))
    with pytest.raises(OptionError, match="repository"):
        research.run(bar=False, git_meta=True)
    assert calls == []
    assert list(outside.iterdir()) == []
    run = Research("results").save(1, "one").run(bar=False)
    with pytest.raises(OptionError, match="repository"):
        run.attach_git_meta()
    assert not (outside / "results" / "env").exists()


def test_nothing_is_attached_to_a_run_in_memory():
    run = Research().save(1, "one").run(bar=False, dump_results=False)
    with pytest.raises(ResearchError, match=saying("no folder", "dump_results")):
        run.attach_env_meta()


def test_a_folder_that_is_gone_is_no_empty_table(tmp_path):
    research = (
        Research(str(tmp_path / "gone"), domain=Option("x", [1])).save(EC("x"), "y").run(bar=False)
    )
    results = ResearchResults(str(tmp_path / "gone"))
    assert len(results.df) == 1
    shutil.rmtree(tmp_path / "gone")
    for one in (results, research.results):
        with pytest.raises(StorageError, match="no folder of a research"):
            one.to_df()


def test_a_name_that_is_not_in_utf_8_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(StorageError, match=r"s\\ud[0-9a-f]+' is no name in UTF-8"):
        Research(f"{tmp_path}/s\udcff").add_callable(pytest.fail, args=["ran"]).run(bar=False)
    assert not list(tmp_path.iterdir())
