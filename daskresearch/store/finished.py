"""Which experiments a folder holds: looked up by id in arrays, as there may be millions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from daskresearch.store.files import Files
from daskresearch.store.folder_snapshot import RECORDS, FolderSnapshot, read_parts
from daskresearch.store.reader import FolderStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Finished:
    """The experiments of a folder that ended without failure.

    Attributes
    ----------
    ids : ndarray of bytes
        Ascending.
    contents, used : ndarray of bytes
        The hash of the values of each config, and that of the plan by which it ran.
    positions : ndarray of int
    seen : ndarray of bool
        Whether a run came to them; for that run to tell.
    """

    ids: NDArray[np.bytes_]
    contents: NDArray[np.bytes_]
    used: NDArray[np.bytes_]
    positions: NDArray[np.int64]
    seen: NDArray[np.bool_]

    @classmethod
    def of(cls, files: Files) -> Finished:
        """Return those of a folder."""
        import numpy as np

        parts = read_parts(files, columns=(*RECORDS, "content", "definition"))
        snapshot = FolderSnapshot(files, list(parts.values()))
        is_good = np.array([status == "ok" for status in snapshot.column("status")], dtype=bool)

        def texts(name: str) -> Any:
            column = np.array([(text or "").encode() for text in snapshot.column(name)], dtype=bytes)
            return column[is_good]

        ids = texts("id")
        order = np.argsort(ids, kind="stable")
        contents, used = texts("content")[order], texts("definition")[order]
        return cls(ids[order], contents, used, snapshot.positions[is_good][order], np.zeros(len(ids), dtype=bool))

    def place(self, experiment_id: str) -> int | None:
        """Return which of them an experiment is, None if it is not among them."""
        place = int(self.ids.searchsorted(experiment_id.encode()))
        if place == len(self.ids) or self.ids[place] != experiment_id.encode():
            return None
        return place

    def has(self, place: int, content: str) -> bool:
        """Return whether the config of one of them has the values of this hash."""
        return bool(self.contents[place] == content.encode())

    def definitions(self) -> Counter[str]:
        """Return how many ran by each plan."""
        return Counter([text.decode() for text in self.used.tolist()])

    def only(self, definition: str) -> Finished:
        """Return those that ran by one plan."""
        mask = self.used == definition.encode()
        return Finished(self.ids[mask], self.contents[mask], self.used[mask], self.positions[mask], self.seen[mask])


@final
@dataclass(frozen=True, slots=True)
class SoFar:
    """What a folder holds of the experiments that a run has come to; see `Store`.

    Attributes
    ----------
    store : FolderStore
    run : int
        The number of the run.
    finished : Finished, optional
        Those of runs before; they count once they are seen.
    moved : Mapping of str to int
        Where they are now, if that is not where they were.
    n_done : int
        How many experiments have had their turn.
    """

    store: FolderStore
    run: int
    finished: Finished | None
    moved: Mapping[str, int]
    n_done: int

    @property
    def n_experiments(self) -> int:
        """How many experiments have ended."""
        return len(self.snapshot().ids)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that the plan declares."""
        return self.store.variables

    def snapshot(self) -> FolderSnapshot:
        """Return what is known now."""
        import numpy as np

        whole = self.store.snapshot()
        seen = set() if self.finished is None else set(self.finished.ids[self.finished.seen].tolist())
        ids, runs, positions = whole.ids, whole.column("run"), whole.positions.tolist()
        mask = [
            position < self.n_done
            if run == self.run
            else one.encode() in seen and self.moved.get(one, position) < self.n_done
            for one, run, position in zip(ids, runs, positions, strict=True)
        ]
        return whole.where(np.array(mask, dtype=bool))
