"""A part: what some experiments of a run leave behind, as two Parquet tables.

``experiments/<part>.parquet`` has one row an experiment, ``results/<part>.parquet`` one row an iteration. The rows of
the results stand in the order of the experiments, ``n_rows`` of each. The table of experiments is written last: a part
without it does not exist. Two more columns hold JSON objects by column, null where there is nothing to tell: ``_types``
how cells are to be decoded (see `daskresearch.store.columns.values`), ``_aliases`` the texts of config values that are not
their ``str``, in a list if the text stands in the place of a value that Parquet cannot hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from daskresearch.errors import PickleError
from daskresearch.store.columns.listed import with_listed
from daskresearch.store.columns.values import TYPES, encode, joined
from daskresearch.store.record import MISSING, Described, Failure, Record

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ALIASES = "_aliases"
METADATA = b"daskresearch"

OWN = (
    "id", "repetition", "updates", "device", "status", "started", "seconds", "worker", "error", "n_iters", "n_rows",
    "position", "group", "run", "definition", "content", "failures", "stdout", "stderr", "log", ALIASES, TYPES,
)  # fmt: skip
"""The columns of the table of experiments that are no parameters."""

Keep = Callable[[str, list["np.ndarray[Any, Any]"]], list[str]]


class Ended(NamedTuple):
    """An experiment that has ended, with all that is to be kept of it.

    Attributes
    ----------
    record : Record
    id : str
    config : Described
    group : bytes
        The key of its group.
    content : str
        A hash of its config's values.
    """

    record: Record
    id: str
    config: Described
    group: bytes = b""
    content: str = ""


class Stamp(NamedTuple):
    """What the experiments of a part have in common.

    Attributes
    ----------
    run : int
        The number of the run within the folder: of two records of one experiment that of the later run counts.
    definition : str
        A hash of the plan by which they ran.
    worker : str
        Where.
    """

    run: int
    definition: str
    worker: str


def column_of(parameter: str) -> str:
    """Return the column of a parameter: its name, behind ``config_`` if that is the name of another column.

    Examples
    --------
    >>> column_of("rate"), column_of("status")
    ('rate', 'config_status')
    """
    bare = parameter
    while bare.startswith("config_"):
        bare = bare.removeprefix("config_")
    return f"config_{parameter}" if bare in OWN else parameter


def parameter_of(column: str) -> str | None:
    """Return the parameter that a column holds, None if it is none.

    Examples
    --------
    >>> parameter_of("rate"), parameter_of("config_status"), parameter_of("status")
    ('rate', 'status', None)
    """
    if column in OWN:
        return None
    rest = column.removeprefix("config_")
    return rest if column_of(rest) == column else column


def experiments_table(ended: Sequence[Ended], stamp: Stamp) -> pa.Table:
    """Return the table of some experiments."""
    import pyarrow as pa

    configs = [one.config.values() for one in ended]
    texts = [one.config.texts() for one in ended]
    auxiliary = [one.config.auxiliary() for one in ended]
    records = [one.record for one in ended]
    n = len(ended)
    columns: dict[str, Any] = {"id": pa.array([one.id for one in ended], pa.string())}
    aliases: list[dict[str, Any]] = [{} for _ in ended]
    tags: dict[str, Any] = {}
    for name in dict.fromkeys(name for config in configs for name in config):
        column = column_of(name)
        columns[column], tags[column] = _parameter(name, configs, texts, aliases)
    columns["repetition"] = pa.array([one["repetition"] for one in auxiliary], pa.int64())
    columns["updates"] = pa.array([one["updates"] for one in auxiliary], pa.int64())
    columns["device"] = pa.array([one.device for one in records], pa.string())
    columns["status"] = pa.array(
        ["failed" if one.failures else "ok" for one in records], pa.string()
    )
    columns["started"] = pa.array(
        [int(one.started * 1e6) for one in records], pa.timestamp("us", "UTC")
    )
    columns["seconds"] = pa.array([one.seconds for one in records], pa.float64())
    columns["worker"] = pa.array([stamp.worker] * n, pa.string())
    columns["error"] = pa.array([_error(one.failures) for one in records], pa.string())
    columns["n_iters"] = pa.array([one.n_iters for one in records], pa.int64())
    columns["n_rows"] = pa.array([len(one.iterations) for one in records], pa.int64())
    columns["position"] = pa.array([one.position for one in records], pa.int64())
    columns["group"] = pa.array([one.group for one in ended], pa.binary())
    columns["run"] = pa.array([stamp.run] * n, pa.int64())
    columns["definition"] = pa.array([stamp.definition] * n, pa.string())
    columns["content"] = pa.array([one.content for one in ended], pa.string())
    columns["failures"] = pa.array([_failures(one.failures) for one in records], failures_type())
    for name in ("stdout", "stderr", "log"):
        columns[name] = pa.array(
            [_writable(getattr(one, name)) or None for one in records], pa.string()
        )
    columns[ALIASES] = pa.array([json.dumps(one) if one else None for one in aliases], pa.string())
    types = joined(tags, n)
    columns[TYPES] = pa.nulls(n, pa.string()) if types is None else types
    return with_listed(pa.table(columns), tags)


def failures_type() -> pa.DataType:
    """Return the type of the column of failures: a list of records for each experiment."""
    import pyarrow as pa

    fields = [
        ("unit", pa.string()), ("iteration", pa.int64()), ("exception", pa.string()), ("traceback", pa.string()),
        ("pickle", pa.binary()), ("kind", pa.string()), ("worker", pa.string()),
    ]  # fmt: skip
    return pa.list_(pa.struct(fields))


def _parameter(
    name: str,
    configs: Sequence[Mapping[str, Any]],
    texts: Sequence[Mapping[str, str]],
    aliases: list[dict[str, Any]],
) -> tuple[Any, list[str | None] | None]:
    """Return the column of a parameter and its tags, having noted the texts that tell more than the values."""
    values = [config.get(name, MISSING) for config in configs]
    for row, value in enumerate(values):
        if value is MISSING:
            continue
        text = texts[row][name]
        if not is_storable(value):
            values[row], aliases[row][name] = _writable(text), [text]
        elif _text_or_none(value) != text:
            aliases[row][name] = text
    encoded = encode(values)
    return encoded.array, encoded.tags


def _text_or_none(value: Any) -> str | None:
    try:
        return str(value)
    except Exception:  # an int of very many digits has no text
        return None


_SIMPLE = frozenset({bool, int, float, str, type(None)})
_NUMBERS = frozenset({bool, int, float, type(None), type(MISSING)})


def is_storable(value: Any) -> bool:
    """Return whether a config value can be kept as it is: it needs no pickle and no file of its own."""
    if type(value) in _SIMPLE:
        return True
    if not isinstance(value, (list, tuple, dict, set, frozenset, bytes, complex)) and not hasattr(
        value, "dtype"
    ):
        return type(value).__module__ in ("datetime", "pandas", "pandas._libs.tslibs.timestamps")
    try:
        tags = encode([value]).tags
    except PickleError:
        return False
    return tags is None or tags[0] != "pickle"


def _error(failures: Sequence[Failure]) -> str | None:
    return _writable(f"{failures[0].unit}: {text_of(failures[0].exception)}") if failures else None


def _failures(failures: Sequence[Failure]) -> list[dict[str, Any]] | None:
    if not failures:
        return None
    import cloudpickle

    rows = []
    for one in failures:
        try:
            content = cloudpickle.dumps(one.exception)
        except Exception:
            content = None
        text, trace = _writable(text_of(one.exception)), _writable(one.traceback)
        unit = _writable(one.unit)
        known = {
            "unit": unit,
            "iteration": one.iteration,
            "exception": text,
            "traceback": trace,
            "pickle": content,
        }
        rows.append({**known, "kind": one.kind, "worker": one.worker})
    return rows


def text_of(exception: BaseException) -> str:
    """Return an exception as a text that begins with its type."""
    try:
        return repr(exception)
    except Exception:
        return f"{type(exception).__name__}(...)"


def _writable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


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

    ids = [one.id for one in ended for _ in one.record.iterations]
    iterations = [iteration for one in ended for iteration in one.record.iterations]
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.string()),
        "iteration": pa.array(iterations, pa.int64()),
    }
    tags: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in ended for name in one.record.columns):
        values: list[Any] = []
        for one in ended:
            recorded = one.record.columns.get(name)
            values += [MISSING] * len(one.record.iterations) if recorded is None else recorded
        encoded = encode(values, None if keep is None else partial(keep, name))
        columns[name], tags[name] = encoded.array, encoded.tags
    types = joined(tags, len(ids))
    if types is not None:
        columns[TYPES] = types
    return with_listed(pa.table(columns), tags)


def with_metadata(table: pa.Table, **facts: Any) -> pa.Table:
    """Return a table that carries facts in the metadata of its schema."""
    return table.replace_schema_metadata({METADATA: json.dumps(facts)})


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the facts that a table carries; none if it carries no good ones."""
    try:
        facts = json.loads((schema.metadata or {}).get(METADATA, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def without_unwritable(ended: Ended) -> Ended:
    """Return an experiment of which values that cannot be written have become failures."""
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
