"""The finished experiments of a folder, in arrays, as there may be millions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, final

from daskresearch.store.files.base import Files
from daskresearch.store.folder.listing import RECORDS, read_parts
from daskresearch.store.folder.snapshot import FolderSnapshot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class FinishedExperiments:
    """The experiments of a folder that ended without failure.

    Attributes
    ----------
    ids : ndarray of bytes
        Ascending.
    contents, used : ndarray of bytes
        The hash of the values of each config, and that of the plan by which it ran.
    groups : ndarray of int
        A hash of the group of each, which holds within this process.
    positions : ndarray of int
    seen : ndarray of bool
        Whether the current run has come to them; that run writes it.
    """

    ids: NDArray[np.bytes_]
    contents: NDArray[np.bytes_]
    used: NDArray[np.bytes_]
    groups: NDArray[np.int64]
    positions: NDArray[np.int64]
    seen: NDArray[np.bool_]

    @classmethod
    def of(cls, files: Files) -> FinishedExperiments:
        """Return the finished experiments of a folder."""
        import numpy as np

        parts = read_parts(files, columns=(*RECORDS, "content", "definition", "group"))
        snapshot = FolderSnapshot(files, list(parts.values()))
        is_good = np.array([status == "ok" for status in snapshot.column("status")], dtype=bool)

        def texts(name: str) -> Any:
            column = np.array(
                [(text or "").encode() for text in snapshot.column(name)], dtype=bytes
            )
            return column[is_good]

        ids = texts("id")
        order = np.argsort(ids, kind="stable")
        contents, used = texts("content")[order], texts("definition")[order]
        groups = np.array([hash(group) for group in snapshot.column("group")], dtype=np.int64)[
            is_good
        ][order]
        positions = snapshot.positions[is_good][order]
        return cls(ids[order], contents, used, groups, positions, np.zeros(len(ids), dtype=bool))

    def place(self, experiment_id: str) -> int | None:
        """Return the place of an experiment in the arrays, None if it is not among them."""
        place = int(self.ids.searchsorted(experiment_id.encode()))
        if place == len(self.ids) or self.ids[place] != experiment_id.encode():
            return None
        return place

    def has(self, place: int, content: str, group: bytes) -> bool:
        """Return whether an experiment has this content and, if one is given, this group."""
        is_alike = bool(self.contents[place] == content.encode())
        return is_alike and (not group or bool(self.groups[place] == hash(group)))

    def definitions(self) -> Counter[str]:
        """Return how many experiments ran by each plan."""
        return Counter([text.decode() for text in self.used.tolist()])

    def only(self, definition: str) -> FinishedExperiments:
        """Return the experiments that ran by one plan."""
        mask = self.used == definition.encode()
        return FinishedExperiments(*[getattr(self, field.name)[mask] for field in fields(self)])


def come_to(
    snapshot: FolderSnapshot,
    run: int,
    finished: FinishedExperiments | None,
    moved: Mapping[str, int],
    n_done: int,
) -> NDArray[np.bool_]:
    """Return which experiments of a folder have had their turn in a run.

    Either they ran in it, or it found them finished.

    Parameters
    ----------
    snapshot : FolderSnapshot
    run : int
        The number of the run.
    finished : FinishedExperiments, optional
        The experiments that earlier runs finished; they count once they are seen.
    moved : Mapping of str to int
        By id, the places of experiments that have moved since they were recorded.
    n_done : int
        How many experiments have had their turn.
    """
    import numpy as np

    seen = set() if finished is None else set(finished.ids[finished.seen].tolist())
    records = zip(snapshot.ids, snapshot.column("run"), snapshot.positions.tolist(), strict=True)
    mask = [
        position < n_done
        if number == run
        else name.encode() in seen and moved.get(name, position) < n_done
        for name, number, position in records
    ]
    return np.array(mask, dtype=bool)
