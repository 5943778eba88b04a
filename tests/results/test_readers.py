"""A finished folder is a dataset, which other libraries read as it is."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import zarr

from daskresearch import EC, Domain, E, Option, Research, ResearchResults, S
from daskresearch.store.columns.cells import Pickled
from daskresearch.store.folder import compact

Rows = dict[tuple[str, int], dict[str, Any]]

# dask.dataframe uses what pandas 3 has deprecated
deprecated = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")


class Model:
    """What no file format holds."""

    def __init__(self, x: int) -> None:
        self.x = x


def record(storage, x, i):
    values = {
        "int": 10 * x + i,
        "float": x / 2 + i,
        "bool": x > i,
        "str": f"é{x}",
        "bytes": bytes([x, i]),
        "when": dt.datetime(2020, 1, x, i, microsecond=7),
        "list": [x, i],
        "dict": {"a": x, "b": 0.5},
        "none or int": None if x == 1 else i,
        "none": None,
        "int or float by iteration": x if i else x / 2,
        "int or float by experiment": x if x % 2 else x + 0.5,
        "int or text": x if x % 2 else f"t{x}",
        "int or bytes": x if x % 2 else b"\xff",
        "array": np.full((20, 20), 10.0 * x + i),
        "small array": np.array([x, i]),
        "model": Model(x),
    }
    for name, value in values.items():
        storage.update_variable(name, value)
    if i:
        storage.update_variable("late", x)


NAMES = ["status", "head/layout", "_types", "ф", "net"]


def researched(folder: Path, xs: list[int]) -> Research:
    domain = Domain({"status": ["a", "b"], "head/layout": xs}) * (
        Option("_types", [True]) + Option("ф", [0.5]) * Option("net", [Model, len])
    )
    return Research(str(folder), domain).record(S(), EC("head/layout"), E().iteration)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished folder of two parts with different types in the second."""
    folder = tmp_path_factory.mktemp("readers") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact, "ROWS_A_PART", 10)
        researched(folder, [1, 3]).run(n_iters=2, seed=1, bar=False)
        researched(folder, [1, 3, 2]).run(n_iters=2, seed=1, bar=False, resume=True)
    assert len(list(folder.glob("results/*.parquet"))) == 2
    return folder


def by_pandas(folder: Path, columns: list[str] | None = None) -> Iterable[dict[str, Any]]:
    return pd.read_parquet(folder, columns=columns).to_dict("records")


def by_polars(folder: Path, columns: list[str] | None = None) -> Iterable[dict[str, Any]]:
    frame = pl.scan_parquet(folder / "*.parquet").collect()
    return (frame if columns is None else frame.select(columns)).to_dicts()


def by_duckdb(folder: Path, columns: list[str] | None = None) -> Iterable[dict[str, Any]]:
    found = duckdb.connect().sql(f"select * from '{folder}/*.parquet'")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return rows if columns is None else [{name: row[name] for name in columns} for row in rows]


def by_pyarrow(folder: Path, columns: list[str] | None = None) -> Iterable[dict[str, Any]]:
    return ds.dataset(folder).to_table(columns=columns).to_pylist()


def by_dask(folder: Path, columns: list[str] | None = None) -> Iterable[dict[str, Any]]:
    return dd.read_parquet(folder, columns=columns).compute().to_dict("records")


READERS = [by_pandas, by_polars, by_duckdb, by_pyarrow, pytest.param(by_dask, marks=deprecated)]
reader = pytest.mark.parametrize("read", READERS)


def plain(value: Any) -> Any:
    """Return a value of any reader as Python would write it, None for nothing."""
    if value is pd.NaT or value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (np.ndarray, list)):
        return [plain(one) for one in value]
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def rows_of(found: Iterable[dict[str, Any]]) -> Rows:
    return {
        (row["id"], row["iteration"]): {name: plain(value) for name, value in row.items()}
        for row in found
    }


def shown(name: str, value: Any) -> Any:
    """Return what a reader that knows nothing of tags is to see of a value."""
    if name == "int or text":
        return None if value is None else str(value)
    if name == "int or bytes":
        return value if isinstance(value, bytes) else str(value).encode()
    return value.content if isinstance(value, Pickled) else plain(value)


@reader
def test_a_reader_sees_the_values_that_the_library_sees(read: Callable[[Path], Any], folder):
    results = ResearchResults(str(folder))
    own = rows_of(results.to_df(include_config=False).to_dict("records"))
    found = rows_of(read(folder / "results"))
    assert found.keys() == own.keys()
    assert len(own) == 2 * 2 * 3 * 3
    names = [name for name in next(iter(own.values())) if name != "array"]
    assert len(names) == 19
    for key, row in own.items():
        assert {name: found[key][name] for name in names} == {
            name: shown(name, row[name]) for name in names
        }


@reader
def test_a_reader_sees_the_configs_that_the_library_sees(read: Callable[[Path], Any], folder):
    configs = ResearchResults(str(folder)).configs_to_df()
    found = {row["id"]: row for row in read(folder / "experiments")}
    assert len(found) == len(configs) == 18
    for row in configs.to_dict("records"):
        columns = [
            plain(found[row["id"]][name])
            for name in ["config_status", "head/layout", "config__types", *NAMES[3:]]
        ]
        assert columns == [plain(row[name]) for name in NAMES]
        assert found[row["id"]]["status"] == "ok"
    assert {row["net"] for row in found.values() if plain(row["net"])} == {"Model", "len"}


def joined_by_pandas(folder: Path) -> Any:
    results, experiments = (
        pd.read_parquet(folder / "results"),
        pd.read_parquet(folder / "experiments"),
    )
    frame = results.merge(experiments, on="id")
    return frame[frame["head/layout"] == 2].groupby("config_status")["int"].sum().to_dict()


def joined_by_polars(folder: Path) -> Any:
    frame = pl.scan_parquet(folder / "results/*.parquet").join(
        pl.scan_parquet(folder / "experiments/*.parquet"), on="id"
    )
    frame = (
        frame.filter(pl.col("head/layout") == 2).group_by("config_status").agg(pl.col("int").sum())
    )
    return dict(frame.collect().iter_rows())


def joined_by_duckdb(folder: Path) -> Any:
    query = f"""
        select config_status, sum("int") from '{folder}/results/*.parquet'
        join '{folder}/experiments/*.parquet' using (id)
        where "head/layout" = 2 group by config_status
    """
    return dict(duckdb.connect().sql(query).fetchall())


def joined_by_pyarrow(folder: Path) -> Any:
    results = ds.dataset(folder / "results").to_table(columns=["id", "int"])
    experiments = ds.dataset(folder / "experiments").to_table(
        columns=["id", "config_status"], filter=ds.field("head/layout") == 2
    )
    found = (
        results.join(experiments, "id", join_type="inner")
        .group_by("config_status")
        .aggregate([("int", "sum")])
    )
    return {row["config_status"]: row["int_sum"] for row in found.to_pylist()}


def joined_by_dask(folder: Path) -> Any:
    results, experiments = (
        dd.read_parquet(folder / "results"),
        dd.read_parquet(folder / "experiments"),
    )
    frame = results.merge(experiments, on="id")
    return (
        frame[frame["head/layout"] == 2].groupby("config_status")["int"].sum().compute().to_dict()
    )


@pytest.mark.parametrize(
    "join",
    [
        joined_by_pandas,
        joined_by_polars,
        joined_by_duckdb,
        joined_by_pyarrow,
        pytest.param(joined_by_dask, marks=deprecated),
    ],
)
def test_results_are_joined_with_their_experiments_by_id(join, folder):
    frame = ResearchResults(str(folder)).to_df(config={"head/layout": 2})
    assert join(folder) == frame.groupby("status")["int"].sum().to_dict() == {"a": 123, "b": 123}


@pytest.mark.parametrize("table", ["results", "experiments"])
def test_all_files_have_one_schema(table, folder):
    schemas = [
        pq.read_schema(path).remove_metadata() for path in (folder / table).glob("*.parquet")
    ]
    assert len(schemas) == 2
    assert schemas[0].equals(schemas[1])


def test_columns_have_the_types_that_their_values_have(folder):
    schema = ds.dataset(folder / "results").schema
    expected = {
        "id": pa.string(),
        "iteration": pa.int64(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "str": pa.string(),
        "bytes": pa.binary(),
        "when": pa.timestamp("us"),
        "list": pa.list_(pa.int64()),
        "dict": pa.struct([("a", pa.int64()), ("b", pa.float64())]),
        "none or int": pa.int64(),
        "int or float by iteration": pa.float64(),
        "int or float by experiment": pa.float64(),
        "int or text": pa.string(),
        "int or bytes": pa.binary(),
        "array": pa.string(),
        "small array": pa.list_(pa.int64()),
        "model": pa.binary(),
        "late": pa.int64(),
    }
    assert {name: schema.field(name).type for name in expected} == expected


def test_arrays_are_opened_by_zarr_alone(folder):
    group = zarr.open_group(folder / "arrays.zarr", mode="r")
    for row in pq.read_table(folder / "results").to_pylist():
        path, _, index = row["array"].rstrip("]").partition("[")
        assert np.array_equal(group[path][int(index)], np.full((20, 20), float(row["int"])))


def test_all_values_come_back_as_they_were(folder):
    frame = ResearchResults(str(folder), allow_pickle=True).df
    recorded = []
    for x, i in zip(frame["head/layout"], frame.iteration, strict=True):
        recorded.append({})
        record(type("Storage", (), {"update_variable": recorded[-1].__setitem__}), x, i)
    for row, values in zip(frame.to_dict("records"), recorded, strict=True):
        assert row["model"].x == values.pop("model").x
        for name in ("array", "small array"):
            assert np.array_equal(row[name], values.pop(name))
        assert {name: plain(row[name]) for name in values} == values
        assert [type(row[name]) for name in ("int or text", "int or bytes")] == [
            type(values[name]) for name in ("int or text", "int or bytes")
        ]
