"""The files of a local folder, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, final
from uuid import uuid4

from daskresearch.errors import StorageError
from daskresearch.store.files.base import checked, is_aside, translated

if TYPE_CHECKING:
    from zarr.abc.store import Store


@final
@dataclass(frozen=True, slots=True)
class LocalFiles:
    """A local folder; it may be a link itself, while links inside must stay inside."""

    url: str

    @property
    def is_local(self) -> bool:
        """Whether the folder is one of this machine."""
        return True

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        full = self._full(checked(path))
        with translated(full, "read"):
            check_regular(self._inside(full))
            with open(full, "rb") as file:
                return file.read()

    def write(self, path: str, content: bytes) -> None:
        """Write aside, and move the file to its place."""
        full = self._full(checked(path))
        with translated(full, "written"):
            self._inside(os.path.dirname(full))
            aside = f"{full}.{uuid4().hex}.part"
            try:
                descriptor = create(aside)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(full), exist_ok=True)
                descriptor = create(aside)
            try:
                write_out(descriptor, content)
                os.replace(aside, full)  # readers see the old file or the new one
            except BaseException:
                with suppress(OSError):
                    os.remove(aside)
                raise

    def append(self, path: str, content: bytes) -> None:
        """Write to the end of a file."""
        full = self._full(checked(path))
        with translated(full, "written"):
            os.makedirs(os.path.dirname(self._inside(full)), exist_ok=True)
            with suppress(FileNotFoundError):
                check_regular(full)
            with open(full, "ab") as file:
                file.write(content)

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of what is in a folder, but of what is being written."""
        full = self._full(checked(folder, root=True))
        with translated(full, "read"):
            try:
                found = os.listdir(self._inside(full))
            except FileNotFoundError:
                return []
        return sorted([name for name in found if not is_aside(name)])

    def walk(self, folder: str) -> list[str]:
        """Return the sorted paths of all files below a folder, without links."""
        full = self._inside(self._full(checked(folder, root=True)))
        found = []
        with translated(full, "read"):
            for parent, _, names in os.walk(full):
                paths = [os.path.join(parent, name) for name in names if not is_aside(name)]
                found += [os.path.relpath(path, full) for path in paths if not os.path.islink(path)]
        return sorted(path.replace(os.sep, "/") for path in found)

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder."""
        return os.path.exists(self._inside(self._full(checked(path, root=True))))

    def size(self, path: str) -> int:
        """Return the number of bytes of a file."""
        full = self._full(checked(path))
        with translated(full, "read"):
            return os.stat(self._inside(full)).st_size

    def remove(self, path: str) -> None:
        """Remove a file, or a link, if there is one."""
        full = self._full(checked(path))
        with translated(full, "written"), suppress(FileNotFoundError):
            self._inside(os.path.dirname(full))
            os.remove(full)

    def remove_tree(self, path: str) -> None:
        """Remove a folder, if there is one; of a link, only the link."""
        full = self._full(checked(path))
        with translated(full, "written"), suppress(FileNotFoundError):
            self._inside(os.path.dirname(full))
            if os.path.isdir(full) and not os.path.islink(full):
                shutil.rmtree(full)
            else:
                os.remove(full)

    def opened(self, path: str) -> str:
        """Return the absolute path of a file that is there."""
        full = self._full(checked(path))
        with translated(full, "read"):
            check_regular(self._inside(full))
        return full

    def zarr_store(self, path: str, *, read_only: bool) -> Store:
        """Return a folder as a store of zarr."""
        from daskresearch.store.files.local_zarr import InsideStore

        full = self._inside(self._full(checked(path, root=True)))
        return InsideStore(os.path.realpath(full), read_only=read_only)

    def local_path(self, path: str) -> str:
        """Return the absolute path of a file or folder."""
        return self._inside(self._full(checked(path, root=True)))

    def upload(self, local_folder: str, path: str) -> None:
        """Move a folder to its place, or copy it into the one that is there."""
        full = self._full(checked(path))
        with translated(full, "written"):
            self._inside(full)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            if os.path.exists(full):
                shutil.copytree(local_folder, full, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.move(local_folder, full)

    def sweep(self) -> None:
        """Remove files that killed writers did not move to their places."""
        with translated(self.url, "written"):
            for folder, _, names in os.walk(os.path.realpath(self.url)):
                for name in filter(is_aside, names):
                    with suppress(FileNotFoundError):
                        os.remove(os.path.join(folder, name))

    def _full(self, path: str) -> str:
        return os.path.join(self.url, *path.split("/")) if path else self.url

    def _inside(self, full: str) -> str:
        """Return a path as it is, if the file behind all links is in the folder."""
        root, real = os.path.realpath(self.url), os.path.realpath(full)
        if real != root and not real.startswith(os.path.join(root, "")):
            raise StorageError(
                f"{full!r} is a link that leads out of the results folder, to {real!r}; "
                f"remove the link"
            )
        return full


def check_regular(full: str) -> None:
    """Raise StorageError for a pipe or device, from which reading may never end."""
    mode = os.stat(full).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise StorageError(f"{full!r} is no regular file, which no results folder holds; remove it")


def create(path: str) -> int:
    """Return the descriptor of a new file."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def write_out(descriptor: int, content: bytes) -> None:
    """Write all of the content to the disk, and close the descriptor."""
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
