"""The results in a folder: its parts, and snapshots of them.

Parts never change. New ones come, and larger ones with the same experiments replace them, also
while somebody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, final

from daskresearch.errors import MissingFileError
from daskresearch.store.files.base import Files
from daskresearch.store.folder.description import described
from daskresearch.store.folder.experiments_table import is_storable
from daskresearch.store.folder.footers import Footers, read_footers
from daskresearch.store.folder.listing import Part, read_parts, retried
from daskresearch.store.folder.snapshot import FolderSnapshot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Chooser = Callable[[FolderSnapshot], "NDArray[np.bool_]"]


@final
class FolderStore:
    """The results in a folder; see `Store`.

    Parameters
    ----------
    files : Files
    variables : tuple of str
        Those that are columns of every table.
    allow_pickle : bool
        Whether values are unpickled, which runs code of whoever wrote them.
    true_values : Mapping, optional
        By parameter and text, config values that the folder may not hold: all that have this text.
    flush : callable, optional
        Called before each look at the folder.
    chooses : callable, optional
        Tells which experiments of a snapshot are seen. Default: all.
    """

    def __init__(
        self,
        files: Files,
        variables: tuple[str, ...] = (),
        *,
        allow_pickle: bool = False,
        true_values: Mapping[str, Mapping[str, list[Any]]] | None = None,
        flush: Callable[[], object] = bool,
        chooses: Chooser | None = None,
    ) -> None:
        self.files = files
        self.allow_pickle = allow_pickle
        self._variables = variables
        self._true_values = {} if true_values is None else true_values  # which may grow
        self._flush = flush
        self._chooses = chooses
        self._parts: dict[str, Part] = {}

    @property
    def n_experiments(self) -> int:
        """How many experiments have ended."""
        return len(self.snapshot().ids)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that the plan declares."""
        return self._variables

    def snapshot(self) -> FolderSnapshot:
        """Return what the folder holds now."""
        self._flush()
        return retried(self._snapshot)

    def snapshot_of(self, part: str) -> FolderSnapshot:
        """Return what one part holds, without the records that others supersede."""
        whole = self._snapshot()
        if part not in self._parts:
            raise MissingFileError(
                f"part {part!r} of {self.files.url!r} was merged into another; take `ddf` anew"
            )
        return whole.only(part)

    def footers(self) -> list[Footers]:
        """Return the footers of the parts, in the order of their first experiments."""
        self._flush()
        footers = retried(lambda: read_footers(self.files))
        for name, values in self._true_values.items():
            if not all([is_storable(value) for alike in values.values() for value in alike]):
                for footer in footers:  # the folder holds texts in the places of these values
                    footer.parameters[name] = [object()]
        return sorted(footers, key=lambda footer: footer.position)

    def reopened(
        self,
        *,
        allow_pickle: bool | None = None,
        is_live: bool = True,
        chooses: Chooser | None = None,
    ) -> FolderStore:
        """Return a store of the same folder with other options.

        A store that is not live calls no `flush`, so that it can be pickled.
        """
        return FolderStore(
            self.files,
            self._variables,
            allow_pickle=self.allow_pickle if allow_pickle is None else allow_pickle,
            true_values=self._true_values,
            flush=self._flush if is_live else bool,
            chooses=chooses or self._chooses,
        )

    def copied(self) -> FolderStore:
        """Return a store of the same folder that can be pickled.

        A store of some experiments gives a store of the same experiments.
        """
        self._flush()
        chooses = self._chooses
        if chooses is not None:
            chooses = partial(_are_among, ids=frozenset(self.snapshot().ids))
        copy = self.reopened(is_live=False, chooses=chooses)
        # a run may add to its own while this is pickled
        copy._true_values = {name: dict(texts) for name, texts in self._true_values.items()}
        return copy

    def _snapshot(self) -> FolderSnapshot:
        self._parts = parts = read_parts(self.files, self._parts)
        if not parts:
            described(self.files)  # or an empty table would stand for a folder that is gone
        whole = FolderSnapshot(
            self.files, list(parts.values()), self._true_values, allow_pickle=self.allow_pickle
        )
        return whole if self._chooses is None else whole.where(self._chooses(whole))


def _are_among(snapshot: FolderSnapshot, ids: frozenset[str]) -> NDArray[np.bool_]:
    import numpy as np

    return np.array([experiment_id in ids for experiment_id in snapshot.ids], dtype=bool)
