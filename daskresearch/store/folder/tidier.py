"""Clean-up while a run goes on, in a thread of its own: no worker waits for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

from daskresearch.store.files.base import Files
from daskresearch.store.folder.compact import MERGED, compact

_MOST_PARTS = 400


@final
class Tidier:
    """Merges the small parts of a run whenever there are many.

    The parts of a batch stay until it has ended: if its worker dies the batch runs again, and must
    find what it has written.

    Parameters
    ----------
    files : Files
    check : callable
        Called before anything changes, raises if it must not.
    most : int
        How many parts there may be that were not merged.
    """

    def __init__(
        self, files: Files, check: Callable[[], object] = bool, most: int = _MOST_PARTS
    ) -> None:
        self._files = files
        self._check = check
        self._most = most
        self._ended: set[str] = set()
        self._n_merged = 0
        self._pool: ThreadPoolExecutor | None = None
        self._merging: Future[None] | None = None

    def look(self, n_own: int) -> None:
        """Merge parts if there are many, and none are merged at the moment.

        Parameters
        ----------
        n_own : int
            How many parts this process has written so far, which belong to no batch.

        Raises
        ------
        StorageError
            If they could not be merged the last time.
        """
        if self._merging is not None and self._merging.done():
            merging, self._merging = self._merging, None
            merging.result()
        if self._merging is not None or len(self._ended) + n_own - self._n_merged <= self._most:
            return
        ended, self._ended, self._n_merged = self._ended, set(), n_own
        self._pool = self._pool or ThreadPoolExecutor(1, "daskresearch-tidy")
        self._merging = self._pool.submit(self._merge, frozenset(ended))

    def ended(self, batch: str) -> None:
        """Take note of a batch that will not run again."""
        self._ended.add(batch)

    def close(self) -> None:
        """Wait until the merge in progress has ended.

        Raises
        ------
        StorageError
            If parts could not be merged.
        """
        if self._pool is not None:
            self._pool.shutdown()
        if self._merging is not None:
            self._merging.result()

    def _merge(self, ended: frozenset[str]) -> None:
        self._check()

        def is_complete(part: str) -> bool:
            batch, _, rest = part.partition("-")
            return not rest or batch == MERGED or batch in ended

        compact(self._files, only_small=True, chosen=is_complete)
