"""A local store of zarr that reads only regular files of its own folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from zarr.storage import LocalStore

from daskresearch.errors import StorageError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


@final
class InsideStore(LocalStore):
    """Zarr's own local store, which reads no link, pipe or device."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what a file holds, None if there is none."""
        self._check(key)
        return await super().get(key, prototype, byte_range)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what a file holds, without an event loop."""
        self._check(key)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return what some files hold in parts."""
        ranges = list(key_ranges)
        for key, _ in ranges:
            self._check(key)
        return await super().get_partial_values(prototype, ranges)

    def _check(self, key: str) -> None:
        path = os.path.join(self.root, key)
        try:
            is_good = os.path.realpath(path) == path and stat.S_ISREG(os.stat(path).st_mode)
        except OSError:
            return  # zarr knows what to make of a file that is not there
        if not is_good and not os.path.isdir(path):
            raise StorageError(
                f"{path!r} is a link or no regular file, which no results folder holds there; "
                f"remove it"
            )
