"""Clean-up of a folder: small parts become a few large ones of one schema.

A new part is complete before the parts that it replaces go. So a reader finds each experiment at
any moment. A kill leaves at most a record twice; readers and the next clean-up take one of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daskresearch.store.columns.values import TYPES, decode, split
from daskresearch.store.columns.widen import fitted
from daskresearch.store.contents import ARRAYS, EXPERIMENTS, RESULTS
from daskresearch.store.files.base import Files
from daskresearch.store.folder.footers import merged_schema
from daskresearch.store.folder.listing import RECORDS, Part, read_part, read_parts
from daskresearch.store.folder.parquet import read_footer
from daskresearch.store.folder.rows import Request, read_request
from daskresearch.store.folder.snapshot import FolderSnapshot
from daskresearch.store.folder.writer import write_part

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

ROWS_A_PART = 1_000_000
"""About how many rows a large part has at most."""
EXPERIMENTS_A_PART = 250_000
"""About how many experiments a large part has at most."""
BYTES_A_PART = 100_000_000
"""About how many bytes its files have, which are held in memory while it is made."""
MERGED = "all"
"""How the names of merged parts begin; other names begin with that of a batch."""


def compact(
    files: Files,
    positions: Mapping[str, int] | None = None,
    *,
    only_small: bool = False,
    chosen: Callable[[str], bool] | None = None,
) -> dict[str, Part]:
    """Merge the parts of a folder into a few files of one schema.

    Parameters
    ----------
    files : Files
    positions : Mapping of str to int, optional
        By id, the places of experiments that have moved since they were recorded.
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
    positions = positions or {}
    stale = {part.name for part in order if _is_stale(part, kept[part.name], positions)}
    if len(order) == 1 and not stale:
        return parts
    schemas = _schemas(files, order)
    changed = [
        part
        for part in order
        if part.name in stale or not _is_large(files, part) or not _has(files, part, schemas)
    ]
    if len(changed) == 1 and not stale:
        return parts
    for batch in _batches(files, changed):
        _merge(files, batch, kept, schemas, positions)
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
    experiments = [read_footer(files, f"{EXPERIMENTS}/{part.name}.parquet") for part in parts]
    results = [read_footer(files, _results(part)) for part in parts if _has_rows(part)]
    return merged_schema(experiments), merged_schema(results)


def _results(part: Part) -> str:
    return f"{RESULTS}/{part.name}.parquet"


def _has_rows(part: Part, kept: NDArray[np.int64] | slice = slice(None)) -> bool:
    """Return whether some experiments of a part, or all, have any rows."""
    return bool(part.experiments.column("n_rows").to_numpy()[kept].any())


def _n_rows(part: Part) -> int:
    return int(part.experiments.column("n_rows").to_numpy().sum())


def _is_stale(part: Part, kept: NDArray[np.int64], positions: Mapping[str, int]) -> bool:
    """Return whether a part holds superseded records, or experiments that have moved."""
    table = part.experiments
    moved = _moved(table, positions)
    has_moved = not moved.column("position").equals(table.column("position"))
    return has_moved or len(kept) < table.num_rows


def _has(files: Files, part: Part, schemas: tuple[pa.Schema, pa.Schema]) -> bool:
    """Return whether the files of a part have these schemas."""
    experiments, results = _schemas(files, [part])
    return experiments == schemas[0] and (not _has_rows(part) or results == schemas[1])


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
    """Write one part with the records of several that count, then remove these."""
    experiments: Iterable[pa.Table] = (
        _moved(_experiments_of(files, part, kept[part.name], schemas[0]), positions)
        for part in batch
    )
    with_rows = [part for part in batch if _has_rows(part, kept[part.name])]
    results: Iterable[pa.Table] = (
        _results_of(files, part, kept[part.name], schemas[1]) for part in with_rows
    )
    arrays = {array for part in batch for array in part.arrays}
    if not _is_in_order(batch, kept, positions):  # else one part is held at a time
        table, rows = _sorted(_joined(schemas[0], experiments), _joined(schemas[1], results))
        experiments, results = [table], [rows]
        if any([len(kept[part.name]) < part.experiments.num_rows for part in batch]):
            arrays &= _referenced(rows)  # superseded experiments had some of their own
    if any([len(kept[part.name]) for part in batch]):
        name = f"{MERGED}-{uuid.uuid4().hex[:12]}"
        write_part(files, name, schemas, experiments, results if with_rows else None, arrays)
    for part in batch:
        files.remove(f"{EXPERIMENTS}/{part.name}.parquet")
    for part in batch:
        files.remove(_results(part))


def _is_in_order(
    batch: Sequence[Part], kept: Mapping[str, NDArray[np.int64]], positions: Mapping[str, int]
) -> bool:
    """Return whether all records of parts count and stand in domain order."""
    import numpy as np

    tables = [_moved(part.experiments, positions) for part in batch]
    order = np.concatenate([table.column("position").to_numpy() for table in tables])
    n_kept = sum(len(kept[part.name]) for part in batch)
    return n_kept == len(order) and bool((order[1:] > order[:-1]).all())


def _joined(schema: pa.Schema, tables: Iterable[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables([schema.empty_table(), *tables])


def _experiments_of(
    files: Files, part: Part, rows: NDArray[np.int64], schema: pa.Schema
) -> pa.Table:
    """Return some of the experiments of a part."""
    import pyarrow as pa

    return fitted(read_part(files, part.name, whole=True).experiments.take(pa.array(rows)), schema)


def _results_of(files: Files, part: Part, rows: NDArray[np.int64], schema: pa.Schema) -> pa.Table:
    """Return the results of some of the experiments of a part."""
    n_rows = part.experiments.column("n_rows").to_numpy()
    table, _ = read_request(
        files, Request(part.name, n_rows, rows, rows), ("id", *part.variables), None
    )
    return fitted(table.replace_schema_metadata(None), schema)


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
    """Return a table of experiments with the positions that they have now."""
    import pyarrow as pa

    if not positions:
        return experiments
    places = zip(
        experiments.column("id").to_pylist(),
        experiments.column("position").to_pylist(),
        strict=True,
    )
    column = pa.array([positions.get(name, place) for name, place in places], pa.int64())
    return experiments.set_column(experiments.column_names.index("position"), "position", column)


def _sorted(experiments: pa.Table, results: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return tables of experiments and of their results in domain order."""
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


def sweep(files: Files, read_before: Mapping[str, Part] | None = None) -> None:
    """Remove what killed runs have left.

    These are files aside, and results and arrays that belong to no part. Nobody else may be writing
    to the folder. Parts that were read before are not read again.
    """
    files.sweep()
    parts = read_parts(files, read_before, ["n_rows"])
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
