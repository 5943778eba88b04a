"""The parts of a folder: their names, and what each says of its experiments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from daskresearch.errors import MissingFileError
from daskresearch.store.columns.values import TYPES
from daskresearch.store.contents import ARRAYS, EXPERIMENTS, RESULTS
from daskresearch.store.files.base import Files, safe_name
from daskresearch.store.folder.believed import believed, check_columns
from daskresearch.store.folder.parquet import opened, read
from daskresearch.store.folder.parts import ALIASES, OWN, metadata_of

T = TypeVar("T")

logger = logging.getLogger(__name__)

RECORDS = ("id", "position", "status", "run", "n_rows")
"""The columns that tell which records count, and where their rows are."""


_LIGHT = (*RECORDS, "repetition", "updates", ALIASES, TYPES)


_TRIES = 8


class Part(NamedTuple):
    """What is known of a part: its experiments, as far as it was read.

    Attributes
    ----------
    name : str
    experiments : pyarrow.Table
    variables, arrays : tuple of str
        The variables in its results, and the parts under whose names its large arrays are kept.
    """

    name: str
    experiments: Any
    variables: tuple[str, ...]
    arrays: tuple[str, ...]


def retried(function: Callable[[], T]) -> T:
    """Return what a function returns that reads parts, again if some were replaced meanwhile."""
    for _ in range(_TRIES):
        try:
            return function()
        except MissingFileError as error:
            missing = error
    raise missing


def _names(files: Files, folder: str) -> list[str]:
    suffix = ".parquet"
    return [name.removesuffix(suffix) for name in files.names(folder) if name.endswith(suffix)]


def read_parts(
    files: Files, known: Mapping[str, Part] | None = None, columns: Collection[str] | None = None
) -> dict[str, Part]:
    """Return the parts of a folder by name; those that are known are not read again; see `read_part`.

    A part whose results or arrays are gone counts as never written, so that its experiments run again.
    """
    known = known or {}
    names = _names(files, EXPERIMENTS)
    with_results = set(_names(files, RESULTS))
    parts = {}
    for name in names:
        part = known[name] if name in known else read_part(files, name, columns)
        if name in with_results or not part.experiments.column("n_rows").to_numpy().any():
            parts[name] = part
        elif name in _names(files, EXPERIMENTS):
            logger.warning(
                "%s/%s/%s.parquet is gone: its experiments count as not finished",
                files.url,
                RESULTS,
                name,
            )
        else:
            raise MissingFileError(f"part {name!r} was replaced")
    return _with_arrays(files, parts)


def _with_arrays(files: Files, parts: dict[str, Part]) -> dict[str, Part]:
    if not any([part.arrays for part in parts.values()]):
        return parts
    there = set(files.names(ARRAYS))
    lost = {
        name
        for name, part in parts.items()
        if not there.issuperset([array for array in part.arrays if safe_name(array) == array])
    }
    for name in lost:
        logger.warning(
            "arrays of part %s of %s are gone: its experiments count as not finished",
            name,
            files.url,
        )
    return {name: part for name, part in parts.items() if name not in lost}


def read_part(
    files: Files, name: str, columns: Collection[str] | None = None, *, whole: bool = False
) -> Part:
    """Return a part of a folder.

    Parameters
    ----------
    files : Files
    name : str
    columns : collection of str, optional
        Those that are read. Default: the parameters, and what tables need beside them.
    whole : bool
        Whether all are read.
    """
    path = f"{EXPERIMENTS}/{name}.parquet"
    file = opened(files, path)
    schema = file.schema_arrow
    check_columns(schema.names, f"{files.url}/{path}")
    wanted = columns or {*_LIGHT, *(column for column in schema.names if column not in OWN)}
    names = [column for column in schema.names if whole or column in wanted]
    facts = metadata_of(schema)
    table = read(file, files, path, columns=names).replace_schema_metadata(None)
    return Part(
        name,
        believed(table, f"{files.url}/{path}"),
        *[texts_in(facts.get(key)) for key in ("variables", "arrays")],
    )


def texts_in(value: Any) -> tuple[str, ...]:
    """Return the texts in a list, which anybody may have written."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
