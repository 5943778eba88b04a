"""The table of experiments of a part: its columns, and one row an experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from daskresearch.domain.config import AUXILIARY
from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.errors import PickleError
from daskresearch.store.columns.listed import with_listed
from daskresearch.store.columns.values import TYPES, encode, joined
from daskresearch.store.failure import Failure
from daskresearch.store.folder.parquet import with_fields
from daskresearch.store.record import MISSING, Record

if TYPE_CHECKING:
    import pyarrow as pa


ALIASES = "_aliases"


OWN = (
    "id", *AUXILIARY, "device", "status", "started", "seconds", "worker", "error", "n_iters",
    "n_rows", "position", "group", "run", "definition", "content", "failures", "stdout", "stderr",
    "log", ALIASES, TYPES,
)  # fmt: skip
"""The columns of the table of experiments that are no parameters."""


class Ended(NamedTuple):
    """An experiment that has ended, with all that is to be kept of it.

    Attributes
    ----------
    record : Record
    experiment : PlannedExperiment
    """

    record: Record
    experiment: PlannedExperiment


class Stamp(NamedTuple):
    """What the experiments of a part have in common.

    Attributes
    ----------
    run : int
        The number of the run within the folder; of two records of an experiment the later counts.
    definition : str
        A hash of the plan by which they ran.
    worker : str
        Where.
    """

    run: int
    definition: str
    worker: str


def column_of(parameter: str) -> str:
    """Return the column of a parameter.

    It has the name of the parameter, behind ``config_`` if another column has that name.

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
    """Return the parameter that a column holds, None if it holds none.

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

    records, experiments = [each.record for each in ended], [each.experiment for each in ended]
    configs = [experiment.values for experiment in experiments]
    texts = [
        dict(zip(values, each.texts, strict=True))
        for values, each in zip(configs, experiments, strict=True)
    ]
    n = len(ended)
    fields = own_fields()
    columns: dict[str, Any] = {
        "id": pa.array([experiment.id for experiment in experiments], fields["id"].type)
    }
    aliases: list[dict[str, Any]] = [{} for _ in ended]
    tags: dict[str, Any] = {}
    for name in dict.fromkeys(name for config in configs for name in config):
        column = column_of(name)
        columns[column], tags[column] = _parameter(name, configs, texts, aliases)
    own: dict[str, list[Any]] = {
        **{name: [getattr(each, name) for each in experiments] for name in AUXILIARY},
        "device": [record.device for record in records],
        "status": ["failed" if record.failures else "ok" for record in records],
        "started": [int(record.started * 1e6) for record in records],
        "seconds": [record.seconds for record in records],
        "worker": [stamp.worker] * n,
        "error": [_error(record.failures) for record in records],
        "n_iters": [record.n_iters for record in records],
        "n_rows": [len(record.iterations) for record in records],
        "position": [record.position for record in records],
        "group": [experiment.group_key for experiment in experiments],
        "run": [stamp.run] * n,
        "definition": [stamp.definition] * n,
        "content": [experiment.content for experiment in experiments],
        "failures": [_failures(record.failures) for record in records],
        "stdout": [_writable(record.stdout) or None for record in records],
        "stderr": [_writable(record.stderr) or None for record in records],
        "log": [_writable(record.log) or None for record in records],
        ALIASES: [json.dumps(by_name) if by_name else None for by_name in aliases],
    }
    columns |= {name: pa.array(values, fields[name].type) for name, values in own.items()}
    types = joined(tags, n)
    columns[TYPES] = pa.nulls(n, pa.string()) if types is None else types
    return with_listed(pa.table(columns), tags)


def own_fields() -> dict[str, pa.Field]:
    """Return the fields of the columns in `OWN`; ids and integers are never null."""
    import pyarrow as pa

    failure = [
        ("unit", pa.string()),
        ("iteration", pa.int64()),
        ("exception", pa.string()),
        ("traceback", pa.string()),
        ("pickle", pa.binary()),
        ("kind", pa.string()),
        ("worker", pa.string()),
    ]
    integers = (*AUXILIARY, "n_iters", "n_rows", "position", "run")
    kinds = {
        **dict.fromkeys(integers, pa.int64()),
        "started": pa.timestamp("us", "UTC"),
        "seconds": pa.float64(),
        "group": pa.binary(),
        "failures": pa.list_(pa.struct(failure)),
    }
    never_null = {"id", *integers}
    return {
        name: pa.field(name, kinds.get(name, pa.string()), nullable=name not in never_null)
        for name in OWN
    }


def with_own_types(table: pa.Table) -> pa.Table:
    """Return columns of a table of experiments in the types of `own_fields`."""
    fields = own_fields()
    return with_fields(table, {name: fields[name] for name in table.column_names if name in fields})


def _parameter(
    name: str,
    configs: Sequence[Mapping[str, Any]],
    texts: Sequence[Mapping[str, str]],
    aliases: list[dict[str, Any]],
) -> tuple[Any, list[str | None] | None]:
    """Return the column of a parameter and its tags.

    Texts that tell more than the values are noted in `aliases`.
    """
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


def is_storable(value: Any) -> bool:
    """Return whether a config value can be kept without a pickle or a file of its own."""
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
    for failure in failures:
        try:
            content = cloudpickle.dumps(failure.exception)
        except Exception:
            content = None
        row = {
            "unit": _writable(failure.unit),
            "iteration": failure.iteration,
            "exception": _writable(text_of(failure.exception)),
            "traceback": _writable(failure.traceback),
            "pickle": content,
            "kind": str(failure.kind),
            "worker": failure.worker,
        }
        rows.append(row)
    return rows


def text_of(exception: BaseException) -> str:
    """Return an exception as a text that begins with its type."""
    try:
        return repr(exception)
    except Exception:
        return f"{type(exception).__name__}(...)"


def _writable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
