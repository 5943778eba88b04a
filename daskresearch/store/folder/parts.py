"""A part: what some experiments of a run leave behind, as two Parquet tables.

(a) ``experiments/<part>.parquet`` has one row an experiment. It is written last: a part without it
does not exist. (b) ``results/<part>.parquet`` has one row an iteration. Its rows stand in the order
of the experiments, ``n_rows`` of each.

Two columns hold JSON objects by column, null where there is nothing to tell. ``_types`` says how
cells are to be decoded (see `daskresearch.store.columns.values`). ``_aliases`` holds the texts of
config values that are not their ``str``; a text in a list stands in the place of a value that
Parquet cannot hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from daskresearch.errors import PickleError
from daskresearch.store.columns.listed import with_listed
from daskresearch.store.columns.values import TYPES, encode, joined
from daskresearch.store.failure import Failure
from daskresearch.store.folder.experiments_table import Ended
from daskresearch.store.record import MISSING, Record

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

METADATA = b"daskresearch"
_NUMBERS = frozenset({bool, int, float, type(None), type(MISSING)})


Keep = Callable[[str, list["np.ndarray[Any, Any]"]], list[str]]


def results_table(ended: Sequence[Ended], keep: Keep | None = None) -> pa.Table:
    """Return the table of the rows of some experiments.

    Parameters
    ----------
    ended : sequence of Ended
    keep : callable, optional
        Keeps large arrays of a variable elsewhere and returns a reference to each.

    Raises
    ------
    PickleError
        If a value cannot be written.
    """
    import pyarrow as pa

    ids = [each.experiment.id for each in ended for _ in each.record.iterations]
    iterations = [iteration for each in ended for iteration in each.record.iterations]
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.string()),
        "iteration": pa.array(iterations, pa.int64()),
    }
    tags: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in ended for name in each.record.columns):
        values: list[Any] = []
        for each in ended:
            recorded = each.record.columns.get(name)
            values += [MISSING] * len(each.record.iterations) if recorded is None else recorded
        encoded = encode(values, None if keep is None else partial(keep, name))
        columns[name], tags[name] = encoded.array, encoded.tags
    types = joined(tags, len(ids))
    if types is not None:
        columns[TYPES] = types
    return with_listed(pa.table(columns), tags)


def with_metadata(schema: pa.Schema, **facts: Any) -> pa.Schema:
    """Return a schema that carries facts in its metadata."""
    return schema.with_metadata({METADATA: json.dumps(facts)})


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the facts that a schema carries."""
    facts: dict[str, Any] = json.loads((schema.metadata or {}).get(METADATA, b"{}"))
    return facts


def without_unwritable(ended: Ended) -> Ended:
    """Return an experiment whose values that cannot be written have become failures."""
    record = ended.record
    columns: dict[str, list[Any]] = {}
    failures = list(record.failures)
    for name, values in record.columns.items():
        try:
            encode(values)
            columns[name] = values
        except PickleError as error:
            failures.append(
                Failure(f"save {name}", record.iterations[-1], error, f"variable {name!r}: {error}")
            )
    iterations = record.iterations if columns else []
    return ended._replace(
        record=record._replace(iterations=iterations, columns=columns, failures=tuple(failures))
    )


def size_of(record: Record) -> int:
    """Return about how many bytes a record takes, beside numbers and small texts."""
    n_bytes = len(record.stdout) + len(record.stderr) + len(record.log)
    for values in record.columns.values():
        if not _NUMBERS.issuperset(map(type, values)):
            n_bytes += sum(map(_size_of, values))
    return n_bytes


def _size_of(value: Any, depth: int = 3) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    n_bytes = getattr(value, "nbytes", None)
    if isinstance(n_bytes, int):
        return n_bytes
    if isinstance(value, (list, tuple, set, frozenset)) and depth:
        return 50 * len(value) + sum(_size_of(part, depth - 1) for part in value)
    if isinstance(value, dict) and depth:
        return 100 * len(value) + sum(_size_of(part, depth - 1) for part in value.values())
    return 100
