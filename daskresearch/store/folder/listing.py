"""The parts of a folder: their names, and what each says of its experiments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from daskresearch.domain.config import AUXILIARY
from daskresearch.errors import MissingFileError
from daskresearch.store.columns.values import TYPES
from daskresearch.store.contents import ARRAYS, EXPERIMENTS, RESULTS
from daskresearch.store.files.base import Files
from daskresearch.store.folder.experiments_table import ALIASES, OWN, with_own_types
from daskresearch.store.folder.parquet import reading, selected
from daskresearch.store.folder.parts import metadata_of

T = TypeVar("T")

logger = logging.getLogger(__name__)

RECORDS = ("id", "position", "status", "run", "n_rows")
"""The columns that tell which records count, and how many rows they have."""

_LIGHT = (*RECORDS, *AUXILIARY, ALIASES, TYPES)

_TRIES = 8


class Part(NamedTuple):
    """A part of a folder, as far as it was read.

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
    """Call a function that reads parts, again if some were replaced meanwhile."""
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
    files: Files,
    read_before: Mapping[str, Part] | None = None,
    columns: Collection[str] | None = None,
) -> dict[str, Part]:
    """Return the parts of a folder by name.

    Parts that were read before are not read again. A part whose results or arrays are gone counts
    as never written: its experiments run again.
    """
    read_before = read_before or {}
    names = _names(files, EXPERIMENTS)
    with_results = set(_names(files, RESULTS))
    parts = {}
    for name in names:
        part = read_before[name] if name in read_before else read_part(files, name, columns)
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
    lost = {name for name, part in parts.items() if not there.issuperset(part.arrays)}
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
    with reading(files, f"{EXPERIMENTS}/{name}.parquet") as file:
        present = file.schema_arrow.names
        parameters = [column for column in present if column not in OWN]
        names = present if whole else [*(columns or (*_LIGHT, *parameters))]
        table = with_own_types(selected(file, names))
        facts = metadata_of(file.schema_arrow)
        variables, arrays = (tuple(map(str, facts.get(key, ()))) for key in ("variables", "arrays"))
    return Part(name, table, variables, arrays)
