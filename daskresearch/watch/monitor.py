"""What can be seen of a run while it goes on, and afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

from daskresearch.results import ResearchResults

if TYPE_CHECKING:
    import pandas as pd


class Watched(Protocol):
    """A run, be it one that was."""

    @property
    def n_finished(self) -> int:
        """How many experiments have ended, failed ones too."""

    @property
    def n_failed(self) -> int:
        """How many experiments have failed."""

    @property
    def results(self) -> ResearchResults:
        """What they have recorded."""


@final
@dataclass(frozen=True, slots=True)
class Monitor:
    """What can be seen of a run, at any time."""

    _session: Watched

    @property
    def n_finished(self) -> int:
        """How many experiments have ended, failed ones too."""
        return self._session.n_finished

    @property
    def n_failed(self) -> int:
        """How many experiments have failed."""
        return self._session.n_failed

    @property
    def exceptions(self) -> pd.DataFrame:
        """The failures so far; see `ResearchResults.failures`."""
        return self._session.results.failures
