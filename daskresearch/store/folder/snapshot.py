"""What a folder holds at one moment, and of its rows only what is asked for.

A retry or a killed clean-up leaves two records of one experiment: that of the later run counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from daskresearch.domain.config import AUXILIARY
from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.errors import RecordedError
from daskresearch.store.arrays.reader import ArrayReader
from daskresearch.store.columns.values import TYPES, decode, split
from daskresearch.store.columns.widen import concatenated
from daskresearch.store.contents import EXPERIMENTS
from daskresearch.store.failure import Failure, FailureKind
from daskresearch.store.files.base import Files, translated
from daskresearch.store.folder.experiments_table import (
    ALIASES,
    column_of,
    parameter_of,
    with_own_types,
)
from daskresearch.store.folder.listing import Part
from daskresearch.store.folder.parquet import reading, selected
from daskresearch.store.folder.rows import Request, read_rows
from daskresearch.store.record import MISSING
from daskresearch.store.snapshot import Rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_AT_ONCE = 10_000


@final
class FolderSnapshot:
    """What parts of a folder hold; see `Snapshot`.

    Parameters
    ----------
    files : Files
    parts : list of Part
    true_values : Mapping
        By parameter and text, config values that the folder may not hold: all that have this text.
    allow_pickle : bool
        Whether values are unpickled.
    """

    def __init__(
        self,
        files: Files,
        parts: list[Part],
        true_values: Mapping[str, Mapping[str, list[Any]]] | None = None,
        *,
        allow_pickle: bool = False,
    ) -> None:
        import numpy as np

        self._files = files
        self._parts = [part for part in parts if part.experiments.num_rows]
        self._true_values = true_values or {}
        self._allow_pickle = allow_pickle
        tables = [part.experiments for part in self._parts]
        self._table: pa.Table | None = concatenated(tables) if tables else None
        lengths = [table.num_rows for table in tables]
        # for each record, the place of its part and its row in it
        self._part = np.repeat(np.arange(len(tables)), lengths)
        self._row = (
            np.concatenate([np.arange(n) for n in lengths]) if lengths else np.zeros(0, np.int64)
        )
        valid = self._valid_records()
        if len(valid) < len(self._part) and self._table is not None:
            self._table = self._table.take(valid)
            self._part, self._row = self._part[valid], self._row[valid]

    def _valid_records(self) -> NDArray[np.int64]:
        """Return the records that count: one of each experiment.

        It is that of the latest run; of several in one run, one without failure.
        """
        import numpy as np

        n = len(self._part)
        is_simple = self._table is None or _are_distinct(self._table.column("id"))
        return np.arange(n) if is_simple else self._best_records(self.column("id"))

    def _best_records(self, ids: list[str]) -> NDArray[np.int64]:
        import numpy as np

        runs, statuses = self.column("run"), self.column("status")
        best: dict[str, int] = {}
        for i, (name, run, status) in enumerate(zip(ids, runs, statuses, strict=True)):
            rank = (run, status == "ok")
            other = best.get(name)
            if other is None or rank > (runs[other], statuses[other] == "ok"):
                best[name] = i
        return np.array(sorted(best.values()), dtype=np.int64)

    def only(self, part: str) -> FolderSnapshot:
        """Return what one part holds, without the records that others supersede."""
        return self.where(self._is_in(part))

    def where(self, mask: NDArray[np.bool_]) -> FolderSnapshot:
        """Return a snapshot of some of the experiments."""
        import pyarrow as pa

        some = FolderSnapshot(self._files, [], self._true_values, allow_pickle=self._allow_pickle)
        some._parts = self._parts
        some._table = None if self._table is None else self._table.filter(pa.array(mask))
        some._part, some._row = self._part[mask], self._row[mask]
        return some

    def members(self, part: str) -> NDArray[np.int64]:
        """Return the rows of a part that count."""
        return self._row[self._is_in(part)]

    def _is_in(self, part: str) -> NDArray[np.bool_]:
        places = [place for place, other in enumerate(self._parts) if other.name == part]
        mask: NDArray[np.bool_] = self._part == (places[0] if places else -1)
        return mask

    def column(self, name: str) -> list[Any]:
        """Return a column of the table of experiments, not decoded."""
        values: list[Any] = [] if self._table is None else self._table.column(name).to_pylist()
        return values

    @property
    def table(self) -> Any:
        """The table of experiments, as far as it was read; None if there are none."""
        return self._table

    @cached_property
    def ids(self) -> Sequence[str]:
        """The id of each experiment."""
        return self.column("id")

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """The place of each experiment in the order of the domain."""
        return self._integers("position")

    def _integers(self, name: str) -> NDArray[np.int64]:
        import numpy as np

        if self._table is None:
            return np.zeros(0, np.int64)
        return np.asarray(self._table.column(name).to_numpy(), dtype=np.int64)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that any of the configs has."""
        names = [] if self._table is None else self._table.column_names
        return tuple([name for name in map(parameter_of, names) if name is not None])

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The variables that any experiment recorded, in domain order of the parts."""
        parts = sorted(
            self._parts, key=lambda part: part.experiments.column("position").to_numpy().min()
        )
        return tuple(dict.fromkeys(name for part in parts for name in part.variables))

    @cached_property
    def has_updates(self) -> bool:
        """Whether any experiment comes from a domain that took the place of another."""
        return bool(self._integers("updates").any())

    @cached_property
    def n_rows(self) -> int:
        """How many rows there are."""
        return int(self._integers("n_rows").sum())

    @cached_property
    def _types(self) -> dict[str, list[str | None]]:
        return (
            {}
            if self._table is None or TYPES not in self._table.column_names
            else split(self._table.column(TYPES))
        )

    @cached_property
    def _aliases(self) -> dict[str, dict[int, Any]]:
        """Texts of config values that are not their ``str``, by parameter and row."""
        aliases: dict[str, dict[int, Any]] = {}
        if self._table is None or self._table.column(ALIASES).null_count == self._table.num_rows:
            return aliases
        parsed: dict[str, Any] = {}
        where, way = f"{self._files.url}/{EXPERIMENTS}", "restore the file of it that is damaged"
        with translated(where, "read", way):
            for row, text in enumerate(self._table.column(ALIASES).to_pylist()):
                if text is None:
                    continue
                if text not in parsed:
                    parsed[text] = json.loads(text)
                for name, alias in parsed[text].items():
                    aliases.setdefault(name, {})[row] = alias
        return aliases

    def values(self, name: str, index: NDArray[np.int64] | None = None) -> list[Any] | NDArray[Any]:
        """Return the values of a parameter, `repetition` or `updates`."""
        if name in AUXILIARY:
            numbers = self._integers(name)
            return numbers if index is None else numbers[index]
        rows = range(len(self.ids)) if index is None else index.tolist()
        if self._table is None or column_of(name) not in self._table.column_names:
            return [MISSING] * len(rows)
        column = self._table.column(column_of(name))
        tags = self._types.get(column_of(name))
        if index is not None:
            column = column.take(index)
            tags = None if tags is None else [tags[i] for i in rows]
        values = decode(column, tags, allow_pickle=self._allow_pickle)
        shown = self._aliases.get(name, {})
        true_values = self._true_values.get(name)
        if true_values and shown:
            values = list(values)
            for place, row in enumerate(rows):
                text = shown.get(row)
                alike = true_values.get(text[0], []) if isinstance(text, list) and text else []
                if len(alike) == 1:  # else nobody knows which
                    values[place] = alike[0]
        return values

    def texts(self, name: str, index: NDArray[np.int64] | None = None) -> list[Any]:
        """Return the values of a parameter, `repetition` or `updates`, as texts."""
        values = self.values(name, index)
        shown = self._aliases.get(name, {})
        plain = values if isinstance(values, list) else values.tolist()
        if not shown:
            return [MISSING if value is MISSING else str(value) for value in plain]
        rows = range(len(self.ids)) if index is None else index.tolist()
        texts: list[Any] = []
        for row, value in zip(rows, plain, strict=True):
            text = shown.get(row)
            text = text[0] if isinstance(text, list) and text else text
            texts.append(MISSING if value is MISSING else str(value) if text is None else str(text))
        return texts

    def experiment(self, index: int) -> PlannedExperiment:
        """Return an experiment as it ran, without the keys that follow from the seed."""
        import numpy as np

        rows = np.array([index])
        first = {name: _first(self.values(name, rows)) for name in self.parameters}
        values = {name: value for name, value in first.items() if value is not MISSING}
        repetition, updates = [int(self._integers(name)[index]) for name in AUXILIARY]
        group_key = next(iter(self.heavy(["group"], {index})))[1]["group"]
        texts = tuple([self.texts(name, rows)[0] for name in values])
        return PlannedExperiment(
            index, self.ids[index], b"", group_key, values, repetition, updates, None, texts
        )

    def failures(self) -> list[tuple[int, Failure]]:
        """Return the failures, each with the index of its experiment."""
        failed = {i for i, status in enumerate(self.column("status")) if status == "failed"}
        found = []
        for index, listed in self.heavy(["failures"], failed):
            for row in filter(None, listed["failures"] or ()):
                failure = Failure(
                    row["unit"] or "",
                    row["iteration"] or 0,
                    self._exception(row),
                    row["traceback"] or "",
                    row.get("kind") or FailureKind.EXCEPTION,
                    row.get("worker") or "",
                )
                found.append((index, failure))
        return found

    def _exception(self, row: Mapping[str, Any]) -> BaseException:
        import cloudpickle

        if self._allow_pickle and row["pickle"] is not None:
            with suppress(Exception):
                exception = cloudpickle.loads(row["pickle"])
                if isinstance(exception, BaseException):
                    return exception
        return RecordedError(row["exception"] or "")

    def heavy(
        self, columns: list[str], wanted: set[int] | None = None
    ) -> Iterable[tuple[int, dict[str, Any]]]:
        """Yield indices of experiments, each with cells of columns that are read now."""
        for place, part in enumerate(self._parts):
            index = (self._part == place).nonzero()[0].tolist()
            index = [i for i in index if wanted is None or i in wanted]
            if index:
                with reading(self._files, f"{EXPERIMENTS}/{part.name}.parquet") as file:
                    table = with_own_types(selected(file, columns))
                    cells = table.take(self._row[index]).to_pylist()
                yield from zip(index, cells, strict=True)

    def rows(
        self,
        chosen: NDArray[np.int64] | None = None,
        names: Sequence[str] | None = None,
        *,
        iterations: Sequence[int] | None = None,
        lazy: bool = False,
    ) -> Rows:
        """Return the rows of all experiments or some."""
        import numpy as np

        is_chosen = np.ones(len(self._part), dtype=bool)
        if chosen is not None:
            is_chosen[:] = False
            is_chosen[chosen] = True
        requests = []
        for place, part in enumerate(self._parts):
            members = np.flatnonzero((self._part == place) & is_chosen)
            n_rows = np.asarray(part.experiments.column("n_rows").to_numpy(), dtype=np.int64)
            requests.append(Request(part.name, n_rows, self._row[members], members))
        arrays = ArrayReader(self._files)
        return read_rows(
            self._files,
            requests,
            list(self.variables if names is None else names),
            iterations,
            (lambda texts: [arrays.lazy(text) for text in texts]) if lazy else arrays.load_many,
            allow_pickle=self._allow_pickle,
        )


def _first(values: list[Any] | NDArray[Any]) -> Any:
    """Return the first value of a column, of plain numbers as Python has them."""
    is_plain = not isinstance(values, list) and values.dtype.name in ("int64", "float64", "bool")
    return values[0].item() if is_plain else values[0]


def _are_distinct(ids: pa.ChunkedArray) -> bool:
    """Return whether the hashes of ids differ; they need less memory than the ids."""
    import numpy as np

    hashes = np.zeros(len(ids), np.int64)
    for start in range(0, len(ids), _AT_ONCE):
        texts = ids.slice(start, _AT_ONCE).to_pylist()
        hashes[start : start + _AT_ONCE] = [hash(text) for text in texts]
    hashes.sort()
    return not bool((hashes[1:] == hashes[:-1]).any())
