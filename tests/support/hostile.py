"""Crafted folders: each attack changes a good one to make its reader do something.

The folder lies in ``inside``; beside it lies ``outside`` with files that nobody may read through
it or change.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DEEP = "[" * 100_000


class Payload:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (str(self.path), 0o777, True)


@dataclass(frozen=True)
class Scene:
    """A folder under attack, and what lies beside it."""

    root: Path

    @property
    def folder(self) -> Path:
        """The folder of the research."""
        return self.root / "inside"

    @property
    def outside(self) -> Path:
        """A folder with a secret."""
        return self.root / "outside"

    @property
    def mark(self) -> Path:
        """The file that payloads make."""
        return self.root / "executed"

    @property
    def payload(self) -> bytes:
        """A pickle that makes the mark."""
        return pickle.dumps(Payload(self.mark))

    def part(self, table: str) -> Path:
        """Return the only file of a table."""
        (path,) = (self.folder / table).glob("*.parquet")
        return path

    def rewrite(self, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
        """Change a table of the part."""
        path = self.part(table)
        pq.write_table(change(pq.read_table(path)), path)

    def set(self, table: str, name: str, values: pa.Array | list[Any]) -> None:
        """Put values into a column of a table, whatever their type."""
        self.rewrite(table, lambda found: with_column(found, name, values))

    def drop(self, table: str, name: str) -> None:
        """Drop a column of a table."""
        self.rewrite(table, lambda found: found.drop_columns([name]))

    def cells(self, tag: str, cells: pa.Array | list[Any]) -> None:
        """Put cells with a tag into the results."""
        self.set("results", "value", cells)
        self.set("results", "_types", [json.dumps({"value": tag})] * len(cells))

    def configs(self, tag: str, cells: pa.Array | list[Any]) -> None:
        """Put cells with a tag into the configs."""
        self.set("experiments", "x", cells)
        self.set("experiments", "_types", [json.dumps({"x": tag})] * len(cells))

    def describe(self, **changes: Any) -> None:
        """Change ``research.json``."""
        path = self.folder / "research.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def facts(self, content: bytes) -> None:
        """Change the metadata of the table of experiments."""
        self.rewrite(
            "experiments", lambda found: found.replace_schema_metadata({b"daskresearch": content})
        )

    def array_facts(self, **changes: Any) -> None:
        """Change the metadata of the large arrays."""
        for path in self.folder.glob("arrays.zarr/*/big*/zarr.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def link(self, path: str, target: Path | None = None) -> None:
        """Move a file or folder out, and leave a link to it."""
        if target is None:
            target = self.outside / Path(path).name
            shutil.move(self.folder / path, target)
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, self.folder / path)


def with_column(table: pa.Table, name: str, values: pa.Array | list[Any]) -> pa.Table:
    """Return a table with other values in a column, which is made if it is not there."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    if name not in table.column_names:
        return table.append_column(name, array)
    return table.set_column(table.column_names.index(name), name, array)


def npy(head: str, body: bytes = b"", length: int | None = None) -> bytes:
    """Return an array in numpy's own format with any head."""
    content = head.encode() + b"\n"
    return (
        b"\x93NUMPY\x02\x00"
        + (len(content) if length is None else length).to_bytes(4, "little")
        + content
        + body
    )


def objects(payload: Any) -> bytes:
    """Return an array of objects in numpy's own format."""
    file = io.BytesIO()
    np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    return file.getvalue()


def nested(depth: int) -> pa.Array:
    """Return two cells of lists in lists."""
    array = pa.array([1, 2])
    for _ in range(depth):
        array = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), array)
    return array


def failures(**changes: Any) -> pa.Array:
    """Return a column of failures, one each of two experiments."""
    one = {
        "unit": "u",
        "iteration": 0,
        "exception": "ValueError()",
        "traceback": "",
        "pickle": b"",
    } | changes
    return pa.array([[one], [one]])


Attack = Callable[[Scene], object]

PICKLES: Mapping[str, Attack] = {
    "a cell": lambda scene: scene.cells("pickle", [scene.payload] * 2),
    "a config": lambda scene: scene.configs("pickle", [scene.payload] * 2),
    "a failure": lambda scene: (
        scene.set("experiments", "failures", failures(pickle=scene.payload)),
        scene.set("experiments", "status", ["failed"] * 2),
    ),
}
"""By place, pickles that are loaded if one asks for it."""

NEVER_LOADED: Mapping[str, Attack] = {
    "a cell without a tag": lambda scene: scene.set("results", "value", [scene.payload] * 2),
    "a cell of bytes": lambda scene: scene.cells("bytes", [scene.payload] * 2),
    "an array of objects": lambda scene: scene.cells("npy", [objects(Payload(scene.mark))] * 2),
    "an array of no dimensions of objects": lambda scene: scene.cells(
        "npy0", [objects(Payload(scene.mark))] * 2
    ),
    "a literal": lambda scene: scene.cells("literal", [f"open({str(scene.mark)!r}, 'w')"] * 2),
    "a tag that carries": lambda scene: scene.cells(
        f"literal=open({str(scene.mark)!r}, 'w')", ["1"] * 2
    ),
    "the head of an array": lambda scene: scene.cells(
        "npy", [npy(f"open({str(scene.mark)!r}, 'w')")] * 2
    ),
    "an alias": lambda scene: scene.set(
        "experiments", "_aliases", [json.dumps({"x": [f"open({scene.mark})"]})] * 2
    ),
    "a group": lambda scene: scene.set("experiments", "group", [scene.payload] * 2),
    "a codec of zarr": lambda scene: scene.array_facts(
        codecs=[{"name": "numcodecs.pickle", "configuration": {"protocol": 5}}],
        data_type="variable_length_utf8",
    ),
    "the metadata of arrow": lambda scene: scene.rewrite(
        "results",
        lambda found: found.replace_schema_metadata(
            {
                b"ARROW:extension:name": b"arrow.py_extension_type",
                b"ARROW:extension:metadata": scene.payload,
            }
        ),
    ),
    "an extension type": lambda scene: scene.rewrite(
        "results",
        lambda found: found.cast(
            pa.schema(
                [
                    field.with_metadata(
                        {
                            "ARROW:extension:name": "arrow.py_extension_type",
                            "ARROW:extension:metadata": scene.payload,
                        }
                    )
                    for field in found.schema
                ]
            )
        ),
    ),
}
"""By place, pickles and code that nothing ever runs."""

CELLS: Mapping[str, Attack] = {
    "an unknown tag": lambda scene: scene.cells("new", [1, 2]),
    "a tag of another type": lambda scene: scene.cells("bytes", [1, 2]),
    "an array of another type": lambda scene: scene.cells("npy", ["text", "text"]),
    "an array that is too short": lambda scene: scene.cells("npy", [b"\x93NUM"] * 2),
    "an array without a body": lambda scene: scene.cells("npy", [b"\x93NUMPY"] * 2),
    "an array of a new format": lambda scene: scene.cells("npy", [b"\x93NUMPY\x09\x00rest"] * 2),
    "an array with a huge shape": lambda scene: scene.cells(
        "npy",
        [npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000000)}")] * 2,
    ),
    "an array with a huge head": lambda scene: scene.cells(
        "npy", [npy("{}", length=2**32 - 1)] * 2
    ),
    "an array with a long head": lambda scene: scene.cells(
        "npy", [npy("{" + " " * 200_000 + "}")] * 2
    ),
    "an array with a deep head": lambda scene: scene.cells("npy", [npy(DEEP)] * 2),
    "an array with a negative shape": lambda scene: scene.cells(
        "npy", [npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", b"12345678")] * 2
    ),
    "an array with a shape of booleans": lambda scene: scene.cells(
        "npy", [npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", b"12345678")] * 2
    ),
    "an array of a strange dtype": lambda scene: scene.cells(
        "npy",
        [npy("{'descr': [('a', 'O')], 'fortran_order': False, 'shape': (1,)}", b"12345678")] * 2,
    ),
    "an array of dtype none": lambda scene: scene.cells(
        "npy", [npy("{'descr': None, 'fortran_order': False, 'shape': ()}", b"12345678")] * 2
    ),
    "an array of many dimensions": lambda scene: scene.cells(
        "npy",
        [
            npy(
                "{'descr': '<f8', 'fortran_order': False, 'shape': " + repr((1,) * 100) + "}",
                b"12345678",
            )
        ]
        * 2,
    ),
    "a deep literal": lambda scene: scene.cells("literal", ["(" * 50_000] * 2),
    "a literal of a billion": lambda scene: scene.cells("literal", ["9" * 90_000] * 2),
    "a deep text of JSON": lambda scene: scene.cells("json", [DEEP] * 2),
    "deep JSON that is closed": lambda scene: scene.cells("json", [DEEP + "]" * len(DEEP)] * 2),
    "an int of a million digits": lambda scene: scene.cells("int", ["9" * 1_000_000] * 2),
    "a carried int of a million digits": lambda scene: scene.cells(
        "int=" + "9" * 1_000_000, [1.0, 2.0]
    ),
    "an int that is none": lambda scene: scene.cells("int", [float("nan"), float("inf")]),
    "a number of a wrong type": lambda scene: scene.cells("np:object", [1, 2]),
    "a number that is too large": lambda scene: scene.cells("np:int8", [1000, -1000]),
    "a zone that is a path": lambda scene: scene.cells(
        "datetime:../../../etc/passwd", pa.array([1, 2], pa.timestamp("us"))
    ),
    "a zone that is an absolute path": lambda scene: scene.cells(
        "datetime:/etc/passwd", pa.array([1, 2], pa.timestamp("us"))
    ),
    "a zone of the column": lambda scene: scene.set(
        "results", "value", pa.array([1, 2], pa.timestamp("us", "../../etc/passwd"))
    ),
    "a moment that no datetime holds": lambda scene: scene.set(
        "results", "value", pa.array([2**62, -(2**62)], pa.timestamp("us"))
    ),
    "a moment that no date holds": lambda scene: scene.set(
        "results", "value", pa.array([2**31 - 1, 1], pa.date32())
    ),
    "a moment of a unit of its own": lambda scene: scene.cells("np:datetime64[fs]", [1, 2]),
    "a span of a unit of its own": lambda scene: scene.cells("Timedelta:years", [1, 2]),
    "a stamp out of bounds": lambda scene: scene.cells("timestamp:ns", ["9999999-01-01"] * 2),
    "lists of another type": lambda scene: scene.cells("ndarray:float64", ["[[1], [2, 3]]"] * 2),
    "lists that are none": lambda scene: scene.cells("list:int64", ['{"a": 1}'] * 2),
    "a list with texts": lambda scene: scene.cells("tuple:int64", ['["a"]'] * 2),
    "deep lists": lambda scene: scene.set("results", "value", nested(50)),
    "decimals": lambda scene: scene.set(
        "results", "value", pa.array([1, 2]).cast(pa.decimal128(38, 3))
    ),
    "maps": lambda scene: scene.set(
        "results", "value", pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int64()))
    ),
    "times of day": lambda scene: scene.set("results", "value", pa.array([1, 2], pa.time64("us"))),
    "large texts": lambda scene: scene.set(
        "results", "value", pa.array(["a", "b"], pa.large_string())
    ),
    "half floats": lambda scene: scene.set("results", "value", pa.array([1, 2], pa.float16())),
    "coded texts": lambda scene: scene.set(
        "results", "value", pa.array(["a", "a"]).dictionary_encode()
    ),
    "texts that are no UTF-8": lambda scene: scene.set(
        "results",
        "value",
        pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"\xfe"]).buffers()),
    ),
}

REFERENCES: Mapping[str, Attack] = {
    "a path out": lambda scene: scene.cells("array", ["../../outside/secret[0]"] * 2),
    "a path from the root": lambda scene: scene.cells("array", ["/etc/passwd[0]"] * 2),
    "a path with a NUL": lambda scene: scene.cells("array", ["a\0b/c[0]"] * 2),
    "a path of dots": lambda scene: scene.cells("array", ["../..[0]"] * 2),
    "a URL": lambda scene: scene.cells("array", ["http://localhost/x[0]"] * 2),
    "what is not there": lambda scene: scene.cells("array", ["part/value[0]"] * 2),
    "a group": lambda scene: scene.cells(
        "array", [f"{next(scene.folder.glob('arrays.zarr/*/big')).parent.name}/."] * 2
    ),
    "no reference": lambda scene: scene.cells("array", [b"\xff\xfe"] * 2),
    "a number": lambda scene: scene.cells("array", [1, 2]),
    "a carried path": lambda scene: scene.cells("array=../../outside/secret[0]", ["a"] * 2),
    "a row that is not there": lambda scene: scene.set("results", "big", [f"{big(scene)}[7]"] * 2),
    "a row far away": lambda scene: scene.set(
        "results", "big", [f"{big(scene)}[{10**18 - 1}]"] * 2
    ),
}


def big(scene: Scene) -> str:
    """Return the path of the large arrays."""
    path = next(scene.folder.glob("arrays.zarr/*/big"))
    return f"{path.parent.name}/{path.name}"


def grid(*shape: int) -> dict[str, Any]:
    """Return the chunks of an array as zarr writes them."""
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


ARRAYS: Mapping[str, Attack] = {
    "a huge array": lambda scene: scene.array_facts(shape=[2, 10**18], chunk_grid=grid(1, 10**9)),
    "a shape of other dimensions": lambda scene: scene.array_facts(shape=[2, 10, 100]),
    "a huge number of arrays": lambda scene: scene.array_facts(shape=[2**60, 1000]),
    "a huge chunk": lambda scene: scene.array_facts(chunk_grid=grid(2, 10**18)),
    "tiny chunks of a huge array": lambda scene: scene.array_facts(
        shape=[2, 10**10], chunk_grid=grid(1, 1)
    ),
    "tiny chunks of a large array": lambda scene: scene.array_facts(
        shape=[2, 10**8], chunk_grid=grid(1, 1)
    ),
    "a huge array of no chunk": lambda scene: (
        scene.array_facts(shape=[2, 10**10], chunk_grid=grid(1, 10**7)),
        [shutil.rmtree(path) for path in scene.folder.glob("arrays.zarr/*/big/c")],
    ),
    "a negative shape": lambda scene: scene.array_facts(shape=[-2, -1000]),
    "no shape": lambda scene: scene.array_facts(shape=[]),
    "a shape of texts": lambda scene: scene.array_facts(shape=["2", "1000"]),
    "chunks of nothing": lambda scene: scene.array_facts(chunk_grid=grid(0, 0)),
    "another dtype": lambda scene: scene.array_facts(data_type="int64"),
    "a dtype of no numbers": lambda scene: scene.array_facts(data_type="variable_length_bytes"),
    "an unknown dtype": lambda scene: scene.array_facts(
        data_type={"name": "r8", "configuration": {}}
    ),
    "an unknown codec": lambda scene: scene.array_facts(codecs=[{"name": "evil"}]),
    "no codec": lambda scene: scene.array_facts(codecs=[]),
    "another format": lambda scene: scene.array_facts(zarr_format=2),
    "a group": lambda scene: scene.array_facts(node_type="group"),
    "no JSON": lambda scene: [
        path.write_text("{") for path in scene.folder.glob("arrays.zarr/*/big/zarr.json")
    ],
    "deep JSON": lambda scene: [
        path.write_text(DEEP) for path in scene.folder.glob("arrays.zarr/*/big/zarr.json")
    ],
    "a broken chunk": lambda scene: [
        path.write_bytes(b"no zstd")
        for path in scene.folder.glob("arrays.zarr/*/big/c/**/*")
        if path.is_file()
    ],
    "no chunk": lambda scene: [
        shutil.rmtree(path) for path in scene.folder.glob("arrays.zarr/*/big/c")
    ],
    "no folder": lambda scene: shutil.rmtree(scene.folder / "arrays.zarr"),
    "a file in place of the folder": lambda scene: (
        shutil.rmtree(scene.folder / "arrays.zarr"),
        (scene.folder / "arrays.zarr").write_text(""),
    ),
}

NUMBERS = ("repetition", "updates", "n_iters", "n_rows", "position", "run")
TEXTS = (
    "id",
    "status",
    "definition",
    "content",
    "stdout",
    "stderr",
    "log",
    "_aliases",
    "_types",
    "error",
)

EXPERIMENTS: dict[str, Attack] = {
    "no rows": lambda scene: scene.rewrite("experiments", lambda found: found.slice(0, 0)),
    "no columns": lambda scene: scene.rewrite("experiments", lambda found: found.select([])),
    "two columns of one name": lambda scene: scene.rewrite(
        "experiments", lambda found: found.append_column("id", found["id"])
    ),
    "one id twice": lambda scene: scene.set("experiments", "id", ["a", "a"]),
    "a part twice": lambda scene: [
        shutil.copy(scene.part(table),
                    scene.folder / table / "again.parquet") for table in ("results", "experiments")
    ],
    "negative numbers of rows": lambda scene: scene.set("experiments", "n_rows", [-1, 3]),
    "too many rows": lambda scene: scene.set("experiments", "n_rows", [2, 2]),
    "too few rows": lambda scene: scene.set("experiments", "n_rows", [1, 0]),
    "huge numbers of rows": lambda scene: scene.set("experiments", "n_rows", [2**62, 2**62]),
    "numbers of rows that overflow": lambda scene: scene.rewrite(
        "experiments",
        lambda found: with_column(pa.concat_tables([found, found.slice(0, 1)]), "n_rows",
                                  [2**63 - 1, 2**63 - 1, 4]),
    ),
    "aliases that are lists": lambda scene: scene.set("experiments", "_aliases", ["[1]"] * 2),
    "aliases of numbers": lambda scene: scene.set("experiments", "_aliases", ['{"x": 5}'] * 2),
    "aliases of nothing": lambda scene: scene.set("experiments", "_aliases", ['{"x": []}'] * 2),
    "aliases of objects": lambda scene: scene.set("experiments", "_aliases",
                                                  ['{"x": [{"a": 1}]}'] * 2),
    "aliases of unknown parameters": lambda scene: scene.set("experiments", "_aliases",
                                                             ['{"../../y": "a"}'] * 2),
    "aliases that are no JSON": lambda scene: scene.set("experiments", "_aliases", ["{"] * 2),
    "aliases that are deep": lambda scene: scene.set("experiments", "_aliases", [DEEP] * 2),
    "tags that are no JSON": lambda scene: scene.set("experiments", "_types", ["{"] * 2),
    "tags that are numbers": lambda scene: scene.set("experiments", "_types", ['{"x": 5}'] * 2),
    "tags that are lists": lambda scene: scene.set("experiments", "_types", ["[]"] * 2),
    "tags that are deep": lambda scene: scene.set("experiments", "_types", [DEEP] * 2),
    "tags of a column of the library": lambda scene: scene.set("experiments", "_types",
                                                               ['{"id": "pickle"}'] * 2),
    "configs with a strange tag": lambda scene: scene.configs("array",
                                                              ["../../outside/secret[0]"] * 2),
    "facts that are no JSON": lambda scene: scene.facts(b"{"),
    "facts that are deep": lambda scene: scene.facts(DEEP.encode()),
    "facts that are a list": lambda scene: scene.facts(b"[]"),
    "facts that are no UTF-8": lambda scene: scene.facts(b"\xff\xff"),
    "variables of numbers": lambda scene: scene.facts(b'{"variables": [1, null], "arrays": {}}'),
    "variables that are columns": lambda scene: scene.facts(
        b'{"variables": ["id", "iteration", "_types"]}'
    ),
    "variables and arrays that lead out": lambda scene: scene.facts(
        b'{"variables": ["../../x", "\\u0000"], "arrays": ["../../outside", "/", "", "."]}'
    ),
    "failures without fields": lambda scene: (
        scene.set("experiments", "failures", pa.array([[{"a": 1}]] * 2)),
        scene.set("experiments", "status", ["failed"] * 2),
    ),
    "failures of texts": lambda scene: (
        scene.set("experiments", "failures", ["a", "b"]),
        scene.set("experiments", "status", ["failed"] * 2),
    ),
    "failures of nothing": lambda scene: (
        scene.set("experiments", "failures",
                  failures(unit=None, iteration=None, exception=None, traceback=None)),
        scene.set("experiments", "status", ["failed"] * 2),
    ),
    "ids that lead out": lambda scene: scene.set("experiments", "id",
                                                 ["../../outside", "/etc/passwd"]),
    "ids with NUL": lambda scene: scene.set("experiments", "id", ["a\0b", "\0"]),
    "long ids": lambda scene: scene.set("experiments", "id", ["a" * 300, "b" * 100_000]),
    "ids of case": lambda scene: scene.set("experiments", "id", ["abc", "ABC"]),
    "parameters that lead out": lambda scene: scene.rewrite(
        "experiments",
        lambda found: found.rename_columns(
            ["../../x" if name == "x" else name for name in found.schema.names]
        ),
    ),
    **{f"no column {name}": (lambda scene, name=name: scene.drop("experiments", name))
       for name in (*NUMBERS, *TEXTS, "group", "failures")},
    **{f"nothing in {name}": (lambda scene,
                              name=name: scene.set("experiments", name, pa.nulls(2, pa.int64())))
       for name in NUMBERS},
    **{f"nothing in {name}": (lambda scene,
                              name=name: scene.set("experiments", name, pa.nulls(2, pa.string())))
       for name in TEXTS},
    **{f"texts in {name}": (lambda scene,
                            name=name: scene.set("experiments", name,
                                                 ["a", "b"])) for name in NUMBERS},
    **{f"floats in {name}": (lambda scene,
                             name=name: scene.set("experiments", name, [0.5, float("nan")]))
       for name in NUMBERS},
    **{f"huge numbers in {name}": (lambda scene,
                                   name=name: scene.set("experiments", name, [2**63 - 1, -(2**63)]))
       for name in NUMBERS},
    **{f"numbers in {name}": (lambda scene,
                              name=name: scene.set("experiments", name, [1, 2])) for name in TEXTS},
    **{f"lists in {name}": (lambda scene, name=name: scene.set("experiments", name, [[1], [2]]))
       for name in (*NUMBERS, *TEXTS, "group", "failures")},
    **{f"bytes in {name}": (lambda scene,
                            name=name: scene.set("experiments", name, [b"\xff", b"\xfe"]))
       for name in (*NUMBERS, *TEXTS)},
}  # fmt: skip

RESULTS: dict[str, Attack] = {
    "no rows": lambda scene: scene.rewrite("results", lambda found: found.slice(0, 0)),
    "fewer rows": lambda scene: scene.rewrite("results", lambda found: found.slice(0, 1)),
    "more rows": lambda scene: scene.rewrite(
        "results", lambda found: pa.concat_tables([found, found])
    ),
    "no columns": lambda scene: scene.rewrite("results", lambda found: found.select([])),
    "two columns of one name": lambda scene: scene.rewrite(
        "results", lambda found: found.append_column("value", found["value"])
    ),
    "two columns of iterations": lambda scene: scene.rewrite(
        "results", lambda found: found.append_column("iteration", found["iteration"])
    ),
    "no ids": lambda scene: scene.drop("results", "id"),
    "no iterations": lambda scene: scene.drop("results", "iteration"),
    "no variable": lambda scene: scene.drop("results", "value"),
    "no tags": lambda scene: scene.drop("results", "_types"),
    "ids of others": lambda scene: scene.set("results", "id", ["x", "y"]),
    "ids of numbers": lambda scene: scene.set("results", "id", [1, 2]),
    "iterations of texts": lambda scene: scene.set("results", "iteration", ["a", "b"]),
    "iterations of floats": lambda scene: scene.set("results", "iteration", [0.5, float("nan")]),
    "iterations of nothing": lambda scene: scene.set(
        "results", "iteration", pa.nulls(2, pa.int64())
    ),
    "iterations of lists": lambda scene: scene.set("results", "iteration", [[1], [2]]),
    "negative iterations": lambda scene: scene.set("results", "iteration", [-(2**63), -1]),
    "tags that are no JSON": lambda scene: scene.set("results", "_types", ["{"] * 2),
    "tags that are numbers": lambda scene: scene.set("results", "_types", [1, 2]),
    "tags that are bytes": lambda scene: scene.set("results", "_types", [b"\xff", b"{}"]),
    "tags that are lists": lambda scene: scene.set("results", "_types", [["a"], ["b"]]),
    "tags that are deep": lambda scene: scene.set("results", "_types", [DEEP] * 2),
    "tags of columns of the library": lambda scene: scene.set(
        "results", "_types", ['{"iteration": "pickle"}'] * 2
    ),
    "an empty file": lambda scene: scene.part("results").write_bytes(b""),
    "a text": lambda scene: scene.part("results").write_bytes(b"no parquet"),
    "a file cut short": lambda scene: scene.part("results").write_bytes(
        scene.part("results").read_bytes()[:-100]
    ),
    "a file with a broken middle": lambda scene: scene.part("results").write_bytes(
        scene.part("results").read_bytes()[:4]
        + b"\xff" * 500
        + scene.part("results").read_bytes()[504:]
    ),
    "no file": lambda scene: scene.part("results").unlink(),
    "a folder": lambda scene: (path := scene.part("results"), path.unlink(), path.mkdir()),
}

FILES: dict[str, Attack] = {
    "experiments that are empty": lambda scene: scene.part("experiments").write_bytes(b""),
    "experiments that are a text": lambda scene: scene.part("experiments").write_bytes(
        b"no parquet" * 10
    ),
    "experiments that are cut short": lambda scene: scene.part("experiments").write_bytes(
        scene.part("experiments").read_bytes()[:-100]
    ),
    "experiments with a broken middle": lambda scene: scene.part("experiments").write_bytes(
        scene.part("experiments").read_bytes()[:4]
        + b"\xff" * 500
        + scene.part("experiments").read_bytes()[504:]
    ),
    "experiments that are a folder": lambda scene: (
        path := scene.part("experiments"),
        path.unlink(),
        path.mkdir(),
    ),
    "a file in place of experiments": lambda scene: (
        shutil.rmtree(scene.folder / "experiments"),
        (scene.folder / "experiments").write_text(""),
    ),
    "a file in place of artifacts": lambda scene: (scene.folder / "artifacts").write_text(""),
    "a part of a strange name": lambda scene: scene.part("experiments").rename(
        scene.folder / "experiments" / "a\\..\\b.parquet"
    ),
    "a part of a long name": lambda scene: [
        scene.part(table).rename(scene.folder / table / f"{'a' * 240}.parquet")
        for table in ("results", "experiments")
    ],
    "a part of a name with wildcards": lambda scene: [
        scene.part(table).rename(scene.folder / table / "*[a]?.parquet")
        for table in ("results", "experiments")
    ],
    "other files": lambda scene: [
        (scene.folder / folder / "other.txt").write_text("")
        for folder in ("results", "experiments", "")
    ],
    "a pipe in place of a chunk": lambda scene: pipe(
        scene.folder / f"arrays.zarr/{big(scene)}/c/0/0"
    ),
    "a pipe in place of results": lambda scene: pipe(scene.part("results")),
    "a pipe in place of experiments": lambda scene: pipe(scene.part("experiments")),
    "a pipe in place of the description": lambda scene: pipe(scene.folder / "research.json"),
    "a pipe in place of the plan": lambda scene: pipe(scene.folder / "plan.pkl"),
    "a pipe in place of the log": lambda scene: pipe(scene.folder / "research.log"),
    "a pipe in place of the lock": lambda scene: pipe(scene.folder / ".lock"),
    "a pipe in place of the lease": lambda scene: pipe(scene.folder / "lock.json"),
    "artifacts of others": lambda scene: [
        (scene.folder / "artifacts" / name).mkdir(parents=True) for name in ("other", "%2E%2E", " ")
    ],
}

WRONG: list[Any] = [None, 5, -1, "text", ["text", 1], [[]], {"a": 1}, {"a": {"b": 1}}]

DESCRIPTIONS: dict[str, Attack] = {
    "no JSON": lambda scene: (scene.folder / "research.json").write_text("{"),
    "no UTF-8": lambda scene: (scene.folder / "research.json").write_bytes(b"\xff\xfe\xff"),
    "nothing": lambda scene: (scene.folder / "research.json").write_text(""),
    "deep JSON": lambda scene: (scene.folder / "research.json").write_text(DEEP),
    "a list": lambda scene: (scene.folder / "research.json").write_text("[]"),
    "a folder": lambda scene: ((scene.folder / "research.json").unlink(),
                               (scene.folder / "research.json").mkdir()),
    "a newer format": lambda scene: scene.describe(format=2),
    "a format of text": lambda scene: scene.describe(format="1"),
    **{f"{name} is {value!r}":
       (lambda scene, name=name, value=value: scene.describe(**{name: value}))
       for name in ("name", "seed", "parameters", "variables", "definitions", "definition", "runs",
                    "domain", "plan", "preview", "created", "versions", "create_id_prefix",
                    "token", "options", "plan_pickled")
       for value in WRONG},
    "a seed of many digits": lambda scene: (scene.folder / "research.json").write_text(
        (scene.folder / "research.json").read_text().replace('"seed": 1', '"seed": ' + "9" * 10_000)
    ),
    "a huge seed": lambda scene: scene.describe(seed=2**4000),
    "runs of texts": lambda scene: scene.describe(runs=["text", None, 5]),
    "parameters that lead out": lambda scene: scene.describe(parameters=["../../x", "/etc/passwd",
                                                                         "\0", "a" * 300]),
    "parameters that are variables": lambda scene: scene.describe(parameters=["value", "id",
                                                                              "iteration"]),
    "parameters twice": lambda scene: scene.describe(parameters=["x", "x"]),
    "variables that lead out": lambda scene: scene.describe(variables=["../../x", "/etc/passwd",
                                                                       "\0", "a" * 300]),
    "variables that are columns": lambda scene: scene.describe(variables=["id", "iteration",
                                                                          "_types", "x"]),
    "a preview of texts": lambda scene: scene.describe(preview={"units": [["a", "b", "c"]],
                                                                "n_experiments": "many"}),
    "a preview of huge numbers": lambda scene: scene.describe(
        preview={"units": [["a", 10**400, 1]], "n_experiments": 10**400, "n_nodes": -1}
    ),
    "a preview that is not a number": lambda scene: scene.describe(
        preview={"units": [["a", float("nan"), float("inf")]], "n_experiments": 1, "n_nodes": 1}
    ),
}  # fmt: skip

LINKS: dict[str, Attack] = {
    "the results": lambda scene: scene.link("results"),
    "the experiments": lambda scene: scene.link("experiments"),
    "a file of results": lambda scene: scene.link(f"results/{scene.part('results').name}"),
    "a file of experiments": lambda scene: scene.link(
        f"experiments/{scene.part('experiments').name}"
    ),
    "the arrays": lambda scene: scene.link("arrays.zarr"),
    "the arrays of a part": lambda scene: scene.link(f"arrays.zarr/{big(scene).partition('/')[0]}"),
    "an array": lambda scene: scene.link(f"arrays.zarr/{big(scene)}"),
    "the metadata of an array": lambda scene: scene.link(f"arrays.zarr/{big(scene)}/zarr.json"),
    "the chunks of an array": lambda scene: scene.link(f"arrays.zarr/{big(scene)}/c"),
    "a chunk of an array": lambda scene: scene.link(f"arrays.zarr/{big(scene)}/c/0/0"),
    "a chunk that is a device": lambda scene: replaced(
        scene, f"arrays.zarr/{big(scene)}/c/0/0", Path("/dev/zero")
    ),
    "the description": lambda scene: scene.link("research.json"),
    "the log": lambda scene: scene.link("research.log"),
    "the plan": lambda scene: scene.link("plan.pkl"),
    "the lock": lambda scene: replaced(scene, ".lock", scene.outside / "secret.txt"),
    "the lease": lambda scene: replaced(scene, "lock.json", scene.outside / "secret.txt"),
    "the artifacts": lambda scene: scene.link("artifacts", scene.outside),
    "the environment": lambda scene: scene.link("env", scene.outside),
    "the folder of an experiment": lambda scene: scene.link(f"artifacts/{ids(scene)[0]}",
                                                            scene.outside),
    "an artifact": lambda scene: scene.link(f"artifacts/{ids(scene)[0]}/secret.txt",
                                            scene.outside / "secret.txt"),
    "a part that leads to itself": lambda scene: replaced(
        scene, "experiments/loop.parquet", scene.folder / "experiments/loop.parquet"
    ),
    "a folder that leads to itself": lambda scene: scene.link("artifacts/loop",
                                                              scene.folder / "artifacts"),
    "a device": lambda scene: scene.link("experiments/zero.parquet", Path("/dev/zero")),
}  # fmt: skip


def replaced(scene: Scene, path: str, target: Path) -> None:
    """Put a link in the place of a file."""
    (scene.folder / path).unlink(missing_ok=True)
    scene.link(path, target)


def pipe(path: Path) -> None:
    """Make a pipe, in which nobody writes, in the place of a file."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def ids(scene: Scene) -> list[str]:
    """Return the ids of the experiments."""
    found: list[str] = pq.read_table(scene.part("experiments"), columns=["id"])["id"].to_pylist()
    return found


ATTACKS: dict[str, Attack] = {
    f"{group}: {name}": attack
    for group, attacks in [
        ("pickle", PICKLES), ("pickle", NEVER_LOADED), ("cell", CELLS), ("reference", REFERENCES),
        ("array", ARRAYS),
        ("experiments", EXPERIMENTS), ("results", RESULTS), ("file", FILES),
        ("description", DESCRIPTIONS),
        ("link", LINKS),
    ]
    for name, attack in attacks.items()
}  # fmt: skip
"""All of them by name."""
