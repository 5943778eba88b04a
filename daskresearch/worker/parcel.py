"""Records on their way out of a worker, without values that cannot be pickled."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

import cloudpickle

from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.errors import PickleError
from daskresearch.store.failure import Failure
from daskresearch.store.record import MISSING, Record
from daskresearch.worker.catching import portable
from daskresearch.worker.pickling import Carried

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), type(MISSING)})


@final
@dataclass(frozen=True, slots=True)
class FinishedNode:
    """The experiments of a node of a graph, and their records in the same order."""

    experiments: tuple[PlannedExperiment, ...]
    records: tuple[Record, ...]

    def portable(self) -> FinishedNode:
        """Return the node as another process would get it, see `dump_records`."""
        if all(
            [_is_plain(values) for record in self.records for values in record.columns.values()]
        ):
            return self
        return FinishedNode(self.experiments, tuple(load_records(dump_records(list(self.records)))))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (Carried(self.experiments), dump_records(list(self.records)))


def _unpacked(experiments: Carried, records: bytes) -> FinishedNode:
    return FinishedNode(experiments.get(), tuple(load_records(records)))


def dump_records(records: list[Record]) -> bytes:
    """Pickle records; a value that cannot be pickled fails its experiment alone."""
    safe = [_portable_failures(record) if record.failures else record for record in records]
    try:
        content = _dump_tuples(safe)
        if not all([_is_plain(values) for record in safe for values in record.columns.values()]):
            cloudpickle.loads(content)
        return content
    except Exception:
        return _dump_tuples([_picklable(record) for record in safe])


def load_records(content: bytes) -> list[Record]:
    """Return the records of a receipt."""
    return [Record._make(values) for values in cloudpickle.loads(content)]


def _is_plain(values: list[Any]) -> bool:
    """Return whether values are of types that pickle keeps as they are."""
    return _PLAIN.issuperset(map(type, values))


def _dump_tuples(values: Iterable[tuple[Any, ...]]) -> bytes:
    """Pickle named tuples as plain ones, in a third of the time."""
    content: bytes = cloudpickle.dumps(
        [tuple(value) for value in values], protocol=pickle.HIGHEST_PROTOCOL
    )
    return content


def _portable_failures(record: Record) -> Record:
    return record._replace(failures=tuple([portable(failure) for failure in record.failures]))


def _picklable(record: Record) -> Record:
    columns: dict[str, list[Any]] = {}
    failures = list(record.failures)
    for name, values in record.columns.items():
        try:
            cloudpickle.loads(cloudpickle.dumps(values))
            columns[name] = values
        except Exception as exception:
            kinds = sorted({type(value).__qualname__ for value in values})
            text = (
                f"values of variable {name!r} ({', '.join(kinds)}) cannot be pickled, so they "
                f"cannot leave the worker process: {exception}; save something simpler, or run "
                f"with workers=1"
            )
            failures.append(Failure(f"save {name}", record.iterations[-1], PickleError(text), text))
    iterations = record.iterations if columns else []
    return record._replace(iterations=iterations, columns=columns, failures=tuple(failures))
