"""Clean-up: many small parts become a few large ones of one schema, and what no part needs is removed.

A new part is complete before the ones that it replaces go, so that a reader finds each experiment at any moment, and a
kill leaves at most a record twice, which readers and the next clean-up take for one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daskresearch.store.columns.values import TYPES, decode, split
from daskresearch.store.columns.widen import fitted
from daskresearch.store.contents import ARRAYS, EXPERIMENTS, RESULTS
from daskresearch.store.files.base import Files
from daskresearch.store.folder.footers import merged_schema
from daskresearch.store.folder.listing import RECORDS, Part, read_part, read_parts
from daskresearch.store.folder.parquet import opened, streamed_bytes
from daskresearch.store.folder.parts import with_metadata
from daskresearch.store.folder.rows import Request, read_request
from daskresearch.store.folder.snapshot import FolderSnapshot
from daskresearch.store.folder.writer import variables_of, write_part

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

ROWS_A_PART = 1_000_000
"""About how many rows a large part has."""
EXPERIMENTS_A_PART = 250_000
BYTES_A_PART = 100_000_000
"""About how large its files are, which are held in memory while it is made."""
MERGED = "all"
"""What the names of large parts begin with, as those of others do with the name of their batch, if they have one."""


def compact(
    files: Files,
    positions: Mapping[str, int] | None = None,
    *,
    only_small: bool = False,
    chosen: Callable[[str], bool] | None = None,
) -> dict[str, Part]:
    """Bring the parts of a folder to a few files of one schema.

    Parameters
    ----------
    files : Files
    positions : Mapping of str to int, optional
        Places of experiments, by id, that are not those with which they were recorded.
    only_small : bool
        Whether large parts stay as they are, whatever their schema.
    chosen : callable, optional
        Whether a part of this name is to be merged. Default: all are.

    Returns
    -------
    dict of str to Part
        The parts that were there, by name.
    """
    parts = read_parts(files, columns=RECORDS)
    if not parts:
        return parts
    order = sorted(parts.values(), key=_first_position)
    snapshot = FolderSnapshot(files, order)
    kept = {part.name: snapshot.members(part.name) for part in order}
    if chosen is not None:
        order = [part for part in order if chosen(part.name)]
    if only_small:
        order = [part for part in order if not _is_large(files, part)]
    if len(order) == 1 and not _must_change(
        files, order[0], kept[order[0].name], None, positions or {}
    ):
        return parts
    schemas = _schemas(files, order)
    changed = [
        part
        for part in order
        if _must_change(files, part, kept[part.name], schemas, positions or {})
    ]
    if len(changed) == 1 and not _must_change(
        files, changed[0], kept[changed[0].name], None, positions or {}
    ):
        return parts
    for batch in _batches(files, changed):
        _merge(files, batch, kept, schemas, positions or {})
    return parts


def _first_position(part: Part) -> int:
    return int(part.experiments.column("position").to_numpy().min(initial=2**62))


def _is_large(files: Files, part: Part) -> bool:
    n_rows = _n_rows(part)
    is_long = bool(2 * n_rows > ROWS_A_PART) or 2 * part.experiments.num_rows > EXPERIMENTS_A_PART
    return is_long or 2 * _n_bytes(files, part) > BYTES_A_PART


def _n_bytes(files: Files, part: Part) -> int:
    results = files.size(_results(part)) if _has_rows(part) else 0
    return files.size(f"{EXPERIMENTS}/{part.name}.parquet") + results


def _schemas(files: Files, parts: Sequence[Part]) -> tuple[pa.Schema, pa.Schema]:
    """Return the common schema of the experiments of parts, and that of their results."""
    experiments = [opened(files, f"{EXPERIMENTS}/{part.name}.parquet") for part in parts]
    results = [opened(files, _results(part)) for part in parts if _has_rows(part)]
    return merged_schema(experiments), merged_schema(results)


def _results(part: Part) -> str:
    return f"{RESULTS}/{part.name}.parquet"


def _has_rows(part: Part) -> bool:
    return _n_rows(part) > 0


def _n_rows(part: Part) -> int:
    return int(part.experiments.column("n_rows").to_numpy().sum())


def _must_change(
    files: Files,
    part: Part,
    kept: NDArray[np.int64],
    schemas: tuple[pa.Schema, pa.Schema] | None,
    positions: Mapping[str, int],
) -> bool:
    """Return whether a part is too small or not as it should be; without schemas only the latter."""
    table = part.experiments
    if len(kept) < table.num_rows:
        return True
    if positions:
        places = zip(
            table.column("id").to_pylist(), table.column("position").to_pylist(), strict=True
        )
        if any(positions.get(one, place) != place for one, place in places):
            return True
    if schemas is None:
        return False
    if not _is_large(files, part):
        return True
    experiments, results = schemas
    own = opened(files, f"{EXPERIMENTS}/{part.name}.parquet").schema_arrow.remove_metadata()
    return own != experiments or (
        _has_rows(part) and opened(files, _results(part)).schema_arrow.remove_metadata() != results
    )


def _batches(files: Files, parts: Sequence[Part]) -> Iterator[list[Part]]:
    batch: list[Part] = []
    n_rows = n_experiments = n_bytes = 0
    for part in parts:
        batch.append(part)
        n_rows += _n_rows(part)
        n_experiments += part.experiments.num_rows
        n_bytes += _n_bytes(files, part)
        if n_rows >= ROWS_A_PART or n_experiments >= EXPERIMENTS_A_PART or n_bytes >= BYTES_A_PART:
            yield batch
            batch, n_rows, n_experiments, n_bytes = [], 0, 0, 0
    if batch:
        yield batch


def _merge(
    files: Files,
    batch: Sequence[Part],
    kept: Mapping[str, NDArray[np.int64]],
    schemas: tuple[pa.Schema, pa.Schema],
    positions: Mapping[str, int],
) -> None:
    """Write one part with the experiments of several, then remove these."""
    if not positions and _is_in_order(batch, kept):
        _write_streamed(files, batch, kept, schemas)
    else:
        _write_sorted(files, batch, kept, schemas, positions)
    for part in batch:
        files.remove(f"{EXPERIMENTS}/{part.name}.parquet")
    for part in batch:
        files.remove(_results(part))


def _is_in_order(batch: Sequence[Part], kept: Mapping[str, NDArray[np.int64]]) -> bool:
    """Return whether all records of parts count, and stand in domain order, as those of a run mostly do."""
    import numpy as np

    positions = np.concatenate([part.experiments.column("position").to_numpy() for part in batch])
    n_kept = sum(len(kept[part.name]) for part in batch)
    return n_kept == len(positions) and bool((positions[1:] > positions[:-1]).all())


def _write_streamed(
    files: Files,
    batch: Sequence[Part],
    kept: Mapping[str, NDArray[np.int64]],
    schemas: tuple[pa.Schema, pa.Schema],
) -> None:
    """Write one part with all experiments of several, of which but one is held at a time."""
    name = f"{MERGED}-{uuid.uuid4().hex[:12]}"
    results = (
        _results_of(files, part, kept[part.name], schemas[1]) for part in batch if _has_rows(part)
    )
    if any(map(_has_rows, batch)):
        files.write(f"{RESULTS}/{name}.parquet", streamed_bytes(schemas[1], results))
    arrays = sorted({array for part in batch for array in part.arrays})
    empty = with_metadata(
        schemas[0].empty_table(), variables=variables_of(schemas[1]), arrays=arrays
    )
    experiments = (_experiments_of(files, part, kept[part.name], empty.schema) for part in batch)
    files.write(f"{EXPERIMENTS}/{name}.parquet", streamed_bytes(empty.schema, experiments))


def _experiments_of(
    files: Files, part: Part, rows: NDArray[np.int64], schema: pa.Schema
) -> pa.Table:
    """Return some rows of the experiments of a part."""
    import pyarrow as pa

    return fitted(read_part(files, part.name, whole=True).experiments.take(pa.array(rows)), schema)


def _results_of(files: Files, part: Part, rows: NDArray[np.int64], schema: pa.Schema) -> pa.Table:
    """Return the results of some of the experiments of a part."""
    n_rows = part.experiments.column("n_rows").to_numpy()
    table, _ = read_request(
        files, Request(part.name, n_rows, rows, rows), ("id", *part.variables), None
    )
    return fitted(table.replace_schema_metadata(None), schema)


def _write_sorted(
    files: Files,
    batch: Sequence[Part],
    kept: Mapping[str, NDArray[np.int64]],
    schemas: tuple[pa.Schema, pa.Schema],
    positions: Mapping[str, int],
) -> None:
    """Write one part with those experiments of several that count, in the order of their positions."""
    import pyarrow as pa

    experiments, results = [], []
    for part in batch:
        rows = kept[part.name]
        experiments.append(_experiments_of(files, part, rows, schemas[0]))
        if len(rows) and part.experiments.column("n_rows").to_numpy()[rows].sum():
            results.append(_results_of(files, part, rows, schemas[1]))
    table = _moved(pa.concat_tables(experiments), positions)
    if table.num_rows:
        rows_table = pa.concat_tables(results) if results else schemas[1].empty_table()
        arrays = {array for part in batch for array in part.arrays}
        if any([len(kept[part.name]) < part.experiments.num_rows for part in batch]):
            arrays &= _referenced(rows_table)  # superseded experiments had some of their own
        write_part(
            files, f"{MERGED}-{uuid.uuid4().hex[:12]}", *_sorted(table, rows_table), sorted(arrays)
        )


def _referenced(results: pa.Table) -> set[str]:
    """Return the parts under whose names the large arrays of some rows are kept."""
    found: set[str] = set()
    types = split(results.column(TYPES)) if TYPES in results.column_names else {}
    for name, tags in types.items():
        decode(
            results.column(name), tags, open_array=lambda text: found.add(text.partition("/")[0])
        )
    return found


def _moved(experiments: pa.Table, positions: Mapping[str, int]) -> pa.Table:
    """Return the table with the positions that experiments have now."""
    import pyarrow as pa

    if not positions:
        return experiments
    places = zip(
        experiments.column("id").to_pylist(),
        experiments.column("position").to_pylist(),
        strict=True,
    )
    column = pa.array([positions.get(one, place) for one, place in places], pa.int64())
    return experiments.set_column(experiments.column_names.index("position"), "position", column)


def _sorted(experiments: pa.Table, results: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return both tables in domain order."""
    import numpy as np
    import pyarrow as pa

    positions = experiments.column("position").to_numpy()
    order = np.argsort(positions, kind="stable")
    if bool((order[1:] > order[:-1]).all()):
        return experiments, results
    n_rows = experiments.column("n_rows").to_numpy()
    starts = np.cumsum(n_rows) - n_rows
    counts = n_rows[order]
    rows = np.arange(counts.sum()) + np.repeat(starts[order] - (np.cumsum(counts) - counts), counts)
    return experiments.take(pa.array(order)), results.take(pa.array(rows))


def sweep(files: Files, known: Mapping[str, Part] | None = None) -> None:
    """Remove what killed runs have left: files aside, results and arrays that belong to no part.

    Nobody else may be writing to the folder. Parts that are known need not be read again.
    """
    files.sweep()
    parts = read_parts(files, known, ["n_rows"])
    suffix = ".parquet"
    for name in files.names(RESULTS):
        if name.endswith(suffix) and name.removesuffix(suffix) not in parts:
            files.remove(f"{RESULTS}/{name}")
    for name in files.names(EXPERIMENTS):
        if name.endswith(suffix) and name.removesuffix(suffix) not in parts:
            files.remove(f"{EXPERIMENTS}/{name}")
    needed: set[Any] = {array for part in parts.values() for array in part.arrays}
    for name in files.names(ARRAYS):
        if name not in needed and name != "zarr.json":
            files.remove_tree(f"{ARRAYS}/{name}")
