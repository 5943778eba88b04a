"""What the Parquet footers of a part tell of its columns; cells are not read.

A *sample* of a column stands for all of its cells: whatever type pandas infers for the sample, it
would infer for the column. The schema, the tags that it lists and the statistics suffice for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from daskresearch.errors import MissingFileError, StorageError
from daskresearch.store.columns.casts import EXACT
from daskresearch.store.columns.cell_type import Tag, is_number
from daskresearch.store.columns.cell_types import implied_tag
from daskresearch.store.columns.listed import listed_in, listing
from daskresearch.store.columns.values import TYPES, decode
from daskresearch.store.columns.widen import common_schema
from daskresearch.store.contents import ARRAYS, EXPERIMENTS, RESULTS
from daskresearch.store.files.base import Files, translated
from daskresearch.store.folder.experiments_table import parameter_of
from daskresearch.store.folder.parquet import read_footer
from daskresearch.store.folder.parts import metadata_of
from daskresearch.store.record import MISSING

if TYPE_CHECKING:
    import pyarrow as pa

UNKNOWN: Final = object()
"""Stands in the sample of a column whose type only its cells tell."""
_NULLS: Final = ("none", "NaT", "NA")
_SCALARS: Final = frozenset(
    [*_NULLS, "", "bool", "int", "float", "np", "datetime", "timestamp", "timedelta", "Timedelta"]
)
_OBJECTS: Final = frozenset(["list", "tuple", "bytes", "array", "ndarray", "npy", "pickle"])


class Footers(NamedTuple):
    """What the two files of a part tell of it before they are read.

    Attributes
    ----------
    name : str
    position : int
        The first place in the order of the domain.
    has_updates : bool
        Whether any of its experiments comes from a domain that took the place of another.
    variables : tuple of str
    parameters, results : dict of str to sample
        The columns of its experiments by parameter, and those of its rows by variable, if any.
    """

    name: str
    position: int
    has_updates: bool
    variables: tuple[str, ...]
    parameters: dict[str, Any]
    results: dict[str, Any] | None


def read_footers(files: Files) -> list[Footers]:
    """Return the footers of all parts that count, as `read_parts` tells which.

    Raises
    ------
    MissingFileError
        If a part was replaced meanwhile.
    """
    names = [name for name in files.names(EXPERIMENTS) if name.endswith(".parquet")]
    with_results = set(files.names(RESULTS))
    arrays = set(files.names(ARRAYS))
    found = []
    for name in names:
        part = _footers_of(files, name, arrays, has_rows=name in with_results)
        if part is not None:
            found.append(part)
    return found


def _footers_of(files: Files, name: str, arrays: set[str], *, has_rows: bool) -> Footers | None:
    """Return the footers of a part; None if it has lost its rows or arrays."""
    path = f"{EXPERIMENTS}/{name}"
    with translated(f"{files.url}/{path}", "read", "remove it, or restore it"):
        file = read_footer(files, path)
        statistics, facts = _statistics(file), metadata_of(file.schema_arrow)
        is_lost = not arrays.issuperset(map(str, facts.get("arrays", ())))
        if not has_rows and statistics["n_rows"].most:
            if name not in files.names(EXPERIMENTS):
                raise MissingFileError(f"part {name!r} was replaced")
            is_lost = True
        if is_lost:
            return None
        samples = samples_of(file)
        parameters = {parameter_of(column): sample for column, sample in samples.items()}
        return Footers(
            name.removesuffix(".parquet"),
            statistics["position"].least or 0,
            bool(statistics["updates"].most),
            tuple(map(str, facts.get("variables", ()))),
            {key: sample for key, sample in parameters.items() if key is not None},
            samples_of(read_footer(files, f"{RESULTS}/{name}")) if has_rows else None,
        )


class _Statistics(NamedTuple):
    """The statistics of a column: None where the file does not tell."""

    n_nulls: int | None
    least: int | None
    most: int | None


def _statistics(file: Any) -> dict[str, _Statistics]:
    """Return the statistics of the columns of a Parquet file that are not nested."""
    footer = file.metadata
    paths = [footer.schema.column(i).path for i in range(footer.num_columns)]
    return {
        name: _column_statistics(footer, paths.index(name))
        if paths.count(name) == 1
        else _Statistics(None, None, None)
        for name in file.schema_arrow.names
    }


def _column_statistics(footer: Any, column: int) -> _Statistics:
    groups = [footer.row_group(i).column(column).statistics for i in range(footer.num_row_groups)]
    if any([group is None or not group.has_null_count for group in groups]):
        return _Statistics(None, None, None)
    n_nulls = sum(group.null_count for group in groups)
    ends = [end for group in groups if group.has_min_max for end in (group.min, group.max)]
    if not ends or any([not isinstance(end, int) for end in ends]):
        return _Statistics(n_nulls, None, None)
    return _Statistics(n_nulls, min(ends), max(ends))


def samples_of(file: Any) -> dict[str, Any]:
    """Return a sample of each column of a Parquet file of a part.

    Examples
    --------
    >>> import io
    >>> import pyarrow as pa, pyarrow.parquet as pq
    >>> content = io.BytesIO()
    >>> pq.write_table(pa.table({"a": [1, 5, 2], "b": ["x", None, "y"]}), content)
    >>> samples_of(pq.ParquetFile(content))
    {'a': array([1, 5]), 'b': [MISSING, '0']}
    """
    n_rows = file.metadata.num_rows
    statistics = _statistics(file)
    tags = listed_in(file.schema_arrow)
    if TYPES not in statistics or statistics[TYPES].n_nulls == n_rows:
        tags = {}
    return {
        field.name: _sample(
            field.type,
            statistics[field.name],
            n_rows,
            None if tags is None else tags.get(field.name, [""]),
        )
        for field in file.schema_arrow
    }


def _sample(
    kind: pa.DataType, statistics: _Statistics, n_rows: int, tags: Collection[str] | None
) -> Any:
    """Return the sample of a column; `UNKNOWN` if its cells have to be read.

    Parameters
    ----------
    kind : pyarrow.DataType
    statistics : _Statistics
    n_rows : int
    tags : collection of str, optional
        Those of its cells, without the values that they carry; ``""`` is that of a cell without.
    """
    import pyarrow as pa

    array = _cells(kind, statistics)
    holds_objects = not _OBJECTS.isdisjoint(Tag.parse(tag)[0] for tag in tags or ())
    if holds_objects or pa.types.is_nested(kind):
        return [object()]
    if array is None or tags is None:
        return [UNKNOWN]
    if pa.types.is_null(kind):
        sample = [] if any(tags) else [MISSING]
    elif statistics.n_nulls is None:
        return [UNKNOWN]
    elif statistics.n_nulls == n_rows and not any(tags):
        return [MISSING]
    elif list(tags) == [""] and not statistics.n_nulls:
        return decode(array)
    elif pa.types.is_string(kind) and not {"", "none"}.issuperset(tags):
        return [UNKNOWN]
    else:
        sample = [MISSING] if statistics.n_nulls else []
    for tag in tags:
        sample += _tagged(array, tag)
    return sample


def _tagged(array: pa.Array, tag: str) -> list[Any]:
    """Return what cells with a tag decode to, `UNKNOWN` unless they are plain scalars."""
    import pyarrow as pa

    name, _, _ = Tag.parse(tag)
    if name not in _SCALARS or "=" in tag or (name == "np" and not is_number(array.type)):
        return [UNKNOWN]
    cells = pa.nulls(1, array.type) if name in _NULLS else array
    try:
        return [*decode(cells, [tag or None] * len(cells))]
    except StorageError:
        return [UNKNOWN]


def _cells(kind: pa.DataType, statistics: _Statistics) -> pa.Array | None:
    """Return cells of a type, for integers the extreme ones; None for nested data."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.nulls(1)
    if pa.types.is_integer(kind):
        ends = [end for end in statistics[1:] if end is not None]
        return pa.array(ends or [0], kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.array(["0"], kind)
    if pa.types.is_boolean(kind):
        return pa.array([False], kind)
    if pa.types.is_floating(kind) or pa.types.is_temporal(kind):
        return pa.array([0], pa.int64()).cast(kind) if is_number(kind) else pa.array([0], kind)
    return None


def merged_schema(parquets: Sequence[Any]) -> pa.Schema:
    """Return the schema for the tables of several Parquet files; it lists their tags."""
    schema = common_schema([file.schema_arrow.remove_metadata() for file in parquets])
    lists: dict[str, set[str]] = {}
    for file in parquets:
        own = listed_in(file.schema_arrow)
        if own is None:
            return listing(schema, None)
        statistics = _statistics(file)
        for field in file.schema_arrow:
            tags = own.get(field.name, [] if str(field.type) == "null" else [""])
            cast = _cast(tags, field.type, schema.field(field.name).type, statistics[field.name])
            lists.setdefault(field.name, set()).update(cast)
    return listing(schema, {name: tags for name, tags in lists.items() if tags != {""}})


def _cast(
    tags: Collection[str], kind: pa.DataType, wider: pa.DataType, statistics: _Statistics
) -> set[str]:
    """Return the tags of a column that was cast to a wider type."""
    if kind == wider:
        return {*tags}
    ends = [end for end in statistics[1:] if end is not None]
    # an integer that a float cannot hold is carried by its tag
    carried = {"int="} if any([abs(end) > EXACT for end in ends]) else set()
    return {tag or implied_tag(kind) for tag in tags} | carried
