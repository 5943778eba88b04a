"""DataFrames of the finished experiments that the nodes of a graph return."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from daskresearch.errors import FailedExperimentsWarning, failed_text
from daskresearch.results.results import ResearchResults
from daskresearch.store import MemoryStore
from daskresearch.worker import FinishedNode
from daskresearch.worker.pickling import process_token

if TYPE_CHECKING:
    import pandas as pd


class Columns(NamedTuple):
    """The columns of a table, and the process that is to read it.

    Attributes
    ----------
    parameters, variables : tuple of str
    home : str
        The process that asked for the table. In another process its values must be picklable.
    """

    parameters: tuple[str, ...]
    variables: tuple[str, ...]
    home: str


def frame_of(finished: Iterable[FinishedNode], columns: Columns) -> pd.DataFrame:
    """Return the table of finished experiments, with failures in its ``attrs``.

    Parameters
    ----------
    finished : iterable of FinishedNode
    columns : Columns
    """
    store = MemoryStore(columns.variables)
    is_home = columns.home == process_token()
    position = itertools.count()
    for node in finished if is_home else [node.portable() for node in finished]:
        for experiment, record in zip(node.experiments, node.records, strict=True):
            # a persisted node may have another position in the domain of the research it came from
            store.append(record._replace(position=next(position)), experiment)
    results = ResearchResults(store, columns.parameters)
    frame = results.df
    failures = results.failures
    if len(failures):
        first = failures.iloc[0]
        text = failed_text(
            failures["id"].nunique(),
            len(results),
            first["unit"],
            first["exception"],
            "attrs['failures'] of the table",
        )
        _warn(text, is_home=is_home)
        failures["exception"] = failures["exception"].map(repr)
        frame.attrs["failures"] = failures.to_dict("records")
    return frame


def _warn(text: str, *, is_home: bool) -> None:
    """Warn where the table is read."""
    if not is_home and "distributed" in sys.modules:
        from distributed import warn

        warn(text, FailedExperimentsWarning)
    else:
        warnings.warn(text, FailedExperimentsWarning, stacklevel=3)


def rows_of(node: FinishedNode, i: int, columns: Columns) -> pd.DataFrame:
    """Return the table of a node's experiment.

    Parameters
    ----------
    node : FinishedNode
    i : int
        The experiment's position within the node.
    columns : Columns
    """
    return frame_of([FinishedNode(node.experiments[i : i + 1], node.records[i : i + 1])], columns)
