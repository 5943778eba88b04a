"""From what the nodes of a graph return to DataFrames."""

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
    """What a table is to have, and where it is to be read.

    Attributes
    ----------
    parameters, variables : tuple of str
    home : str
        The process that asked for it; elsewhere the values must be able to travel.
    """

    parameters: tuple[str, ...]
    variables: tuple[str, ...]
    home: str


def frame_of(finished: Iterable[FinishedNode], columns: Columns) -> pd.DataFrame:
    """Return the table of finished experiments, with the failures in its ``attrs`` if there are any.

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
            # a node that was known already may have another place in the domain of its research
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


def rows_of(node: FinishedNode, place: int, columns: Columns) -> pd.DataFrame:
    """Return the table of one experiment of a node.

    Parameters
    ----------
    node : FinishedNode
    place : int
        Of the experiment within the node.
    columns : Columns
    """
    return frame_of(
        [FinishedNode(node.experiments[place : place + 1], node.records[place : place + 1])],
        columns,
    )
