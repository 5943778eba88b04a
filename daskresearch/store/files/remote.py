"""The files of a results folder behind a URL that fsspec knows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, final

from daskresearch.errors import StorageError
from daskresearch.store.files.base import checked, is_aside, translated

if TYPE_CHECKING:
    from zarr.abc.store import Store


@final
class RemoteFiles:
    """A folder behind a URL; equal and pickled by its URL and options.

    Parameters
    ----------
    url : str
    options : mapping, optional
        What fsspec takes to open the URL.

    Raises
    ------
    StorageError
        If there is nothing to open the URL with.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        if set(url) & set("*?[]"):
            raise StorageError(
                f"{url!r} holds wildcards, which stand for many folders; choose a name without '*?[]'"
            )
        self._url = url.rstrip("/") if not url.endswith("://") else url
        self._options = dict(options or {})
        with reached(self._url, "read"):
            self._fs, self._root = opened_url(self._url, self._options)
        self._zarr_fs: Any = None

    @property
    def url(self) -> str:
        """Where the folder is."""
        return self._url

    @property
    def is_local(self) -> bool:
        """Whether the folder is one of this machine."""
        return False

    def __repr__(self) -> str:
        return f"RemoteFiles({self._url!r})"  # options hold secrets

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteFiles):
            return NotImplemented
        return (self._url, self._options) == (other._url, other._options)

    def __hash__(self) -> int:
        return hash(self._url)

    def __reduce__(self) -> tuple[type[RemoteFiles], tuple[str, dict[str, Any]]]:
        return RemoteFiles, (self._url, self._options)

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        with self._reached(path, "read") as full:
            return bytes(self._fs.cat_file(full))

    def write(self, path: str, content: bytes) -> None:
        """Write a file in one request."""
        with self._reached(path, "written") as full:
            try:
                self._fs.pipe_file(full, content)
            except FileNotFoundError:
                # Object stores have no folders, and would make a bucket of a misspelt name.
                if self._fs.async_impl:
                    raise
                self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)
                self._fs.pipe_file(full, content)

    def append(self, path: str, content: bytes) -> None:
        """Write to the end of a file, by writing all of it."""
        self.write(path, (self.read(path) if self.exists(path) else b"") + content)

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of what is in a folder now."""
        with self._reached(folder, "read", root=True) as full:
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(full, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        above = full.strip("/")
        inside = {
            entry.strip("/").removeprefix(f"{above}/")
            for entry in found
            if entry.strip("/") != above
        }
        return sorted([name for name in inside if name and not is_aside(name)])

    def walk(self, folder: str) -> list[str]:
        """Return the sorted paths of all files in a folder and its folders."""
        with self._reached(folder, "read", root=True) as full:
            self._fs.invalidate_cache()
            start = self._fs._strip_protocol(full).rstrip("/") + "/"
            return sorted(str(path).removeprefix(start) for path in self._fs.find(full))

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder."""
        with self._reached(path, "read", root=True) as full:
            self._fs.invalidate_cache()
            return bool(self._fs.exists(full))

    def size(self, path: str) -> int:
        """Return the number of bytes of a file."""
        with self._reached(path, "read") as full:
            self._fs.invalidate_cache()
            return int(self._fs.size(full))

    def remove(self, path: str) -> None:
        """Remove a file if there is one."""
        with self._reached(path, "written") as full, suppress(FileNotFoundError):
            self._fs.rm_file(full)

    def remove_tree(self, path: str) -> None:
        """Remove all that is below a path."""
        with self._reached(path, "written") as full, suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            self._fs.rm(full, recursive=True)

    def opened(self, path: str) -> Any:
        """Return an opened file, to be closed."""
        with self._reached(path, "read") as full:
            self._fs.invalidate_cache()
            return self._fs.open(full, "rb")

    def zarr_store(self, path: str, *, read_only: bool) -> Store:
        """Return a folder as a store of zarr."""
        from zarr.storage import FsspecStore

        with self._reached(path, "read", root=True) as full:
            if self._zarr_fs is None:  # one for all, as each has connections of its own
                self._zarr_fs = FsspecStore.from_url(self._url, self._options).fs
            return FsspecStore(self._zarr_fs, path=full, read_only=read_only)

    def local_path(self, path: str) -> None:
        """Return None."""
        checked(path, root=True)

    def upload(self, local_folder: str, path: str) -> None:
        """Put the files of a local folder under `path`."""
        with self._reached(path, "written") as full:
            sources = [
                os.path.join(folder, name)
                for folder, _, names in os.walk(local_folder)
                for name in names
            ]
            targets = [
                f"{full}/{os.path.relpath(source, local_folder).replace(os.sep, '/')}"
                for source in sources
            ]
            if sources:
                self._fs.put(sources, targets)

    def sweep(self) -> None:
        """Do nothing: what was never finished is not there."""

    @contextmanager
    def _reached(self, path: str, done: str, *, root: bool = False) -> Iterator[str]:
        """Give the path as the file system knows it, and turn what it raises into a `StorageError`."""
        checked(path, root=root)
        if set(path) & set("*?[]"):
            raise StorageError(
                f"{path!r} holds wildcards, which stand for many files; choose a name without '*?[]'"
            )
        with reached(f"{self._url}/{path}".rstrip("/"), done):
            yield f"{self._root}/{path}" if path else self._root


def reached(url: str, done: str) -> AbstractContextManager[None]:
    """Turn whatever a file system of fsspec raises into a `StorageError`."""
    # clients of remote stores raise errors of their own, without a common class
    return translated(url, done, "check the URL, the connection and the credentials")


def opened_url(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return a file system and the path in it."""
    from fsspec.core import url_to_fs

    try:
        fs, root = url_to_fs(url, **options)
    except ImportError as error:
        advice = "install what it needs, as daskresearch[s3] for s3://"
        raise StorageError(f"there is nothing to open {url!r} with ({error}); {advice}") from error
    except ValueError as error:
        advice = "use file://, s3:// or another protocol that fsspec knows"
        raise StorageError(f"there is nothing to open {url!r} with ({error}); {advice}") from error
    return fs, str(root).rstrip("/")
