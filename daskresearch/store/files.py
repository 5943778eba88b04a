"""The files of a results folder, in a local folder or behind any URL that fsspec knows.

Paths are relative to the folder and separated by ``/``; a path which could lead out of it is refused. A file is
written whole or not at all. What goes wrong is a `StorageError`, which keeps the number of the operating system.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, final
from urllib.parse import quote
from uuid import uuid4

from daskresearch.errors import MissingFileError, StorageError

if TYPE_CHECKING:
    from zarr.abc.store import Store

NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED: Final = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_FOLDER: Final = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
ASIDE: Final = re.compile(r"\.[0-9a-f]{32}\.part(ial)?$")  # ours, and those of zarr
LONGEST_NAME: Final = 100
NEARLY_URL: Final = re.compile(r"(?:memory|file|local|s3|gs|gcs|az|abfs|http|https|ftp|sftp):/?(?!/)")
LOCAL_URL: Final = re.compile(r"(?:file|local)://")


class Files(Protocol):
    """The files of one results folder; it can be pickled, and opens the same folder again.

    Attributes
    ----------
    url : str
        Absolute for a local folder.
    is_local : bool
    """

    @property
    def url(self) -> str:
        """Where the folder is."""

    @property
    def is_local(self) -> bool:
        """Whether the folder is one of this machine."""

    def read(self, path: str) -> bytes:
        """Return the content of a file."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file whole or not at all, and the folders above it."""

    def append(self, path: str, content: bytes) -> None:
        """Write to the end of a file, which is made if it is not there; for notes, whose last a power cut may take."""

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of what is in a folder now, none if there is no folder; ``""`` is the root."""

    def walk(self, folder: str) -> list[str]:
        """Return the sorted paths, from `folder` on, of all files in it and its folders; links are left out."""

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder."""

    def size(self, path: str) -> int:
        """Return the number of bytes of a file."""

    def remove(self, path: str) -> None:
        """Remove a file if there is one."""

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all it holds, if there is one; the targets of links stay."""

    def opened(self, path: str) -> Any:
        """Return what pyarrow reads a file from: its path if it is local, else an opened file, to be closed."""

    def zarr_store(self, path: str, *, read_only: bool) -> Store:
        """Return a folder as a store of zarr."""

    def local_path(self, path: str) -> str | None:
        """Return the absolute path of a file or folder, None if it is not local."""

    def upload(self, local_folder: str, path: str) -> None:
        """Put the files of a local folder under `path`; the local folder may be moved there, and be gone."""

    def sweep(self) -> None:
        """Remove what writers that were killed have left; to be called while no other is writing."""


def open_files(url: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> Files:
    """Return the files of a results folder, which need not exist yet.

    Parameters
    ----------
    url : str or path
        A local path, or a URL that fsspec knows, as ``"s3://bucket/folder"``.
    options : mapping, optional
        What fsspec takes to open the URL, as credentials.

    Raises
    ------
    StorageError
        If there is nothing to open the URL with.

    Examples
    --------
    >>> files = open_files("memory://open_files")
    >>> files.write("a/b.txt", b"content")
    >>> files.names("a"), files.read("a/b.txt")
    (['b.txt'], b'content')
    """
    where = os.fspath(url)
    if not where or "\0" in where:
        raise StorageError(f"{where!r} is no place for a results folder; give a path or a URL")
    try:
        where.encode()
    except UnicodeEncodeError:
        raise StorageError(f"{where!a} is no name in UTF-8, which Parquet files need; give another") from None
    is_url = "://" in where or "::" in where
    if is_url and not LOCAL_URL.match(where):
        from daskresearch.store.remote import RemoteFiles

        return RemoteFiles(where, options)
    if NEARLY_URL.match(where):
        raise StorageError(f"{where!r} is neither a path nor a URL; did you mean {where.replace(':', '://', 1)!r}?")
    local = LOCAL_URL.sub("", where, count=1)
    if not local:
        raise StorageError(f"{where!r} is no place for a results folder; give a path or a URL")
    return LocalFiles(os.path.abspath(os.path.expanduser(local)))


def safe_name(text: str) -> str:
    """Return a name for a file that no other text has.

    Examples
    --------
    >>> safe_name("loss"), safe_name("a/b c"), safe_name("..")
    ('loss', 'a%2Fb%20c', '%2E.')
    >>> safe_name(""), len(safe_name("long" * 99))
    ('@empty', 100)
    """
    quoted = quote(text, safe="", errors="surrogatepass")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if not quoted:
        return "@empty"  # quoted texts hold no @
    if len(quoted) <= LONGEST_NAME:
        return quoted
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{quoted[: LONGEST_NAME - 1 - len(digest)]}@{digest}"


def checked(path: str, *, root: bool = False) -> str:
    r"""Return a relative path that cannot lead out of its folder by its text.

    Parameters
    ----------
    path : str
    root : bool
        Whether ``""``, the folder itself, will do.

    Raises
    ------
    StorageError
        For any other path.

    Examples
    --------
    >>> checked("parts/a.parquet")
    'parts/a.parquet'
    >>> checked("../a")
    Traceback (most recent call last):
    daskresearch.errors.StorageError: '../a' is no path inside of a results folder; name a file below it, without '..'
    """
    if root and not path:
        return path
    if "\\" in path or "\0" in path or any([step in ("", ".", "..") for step in path.split("/")]):
        raise StorageError(f"{path!r} is no path inside of a results folder; name a file below it, without '..'")
    return path


@contextmanager
def translated(path: str, done: str) -> Iterator[None]:
    """Turn any OSError inside into a `StorageError`.

    Parameters
    ----------
    path : str
        The full path, for the text.
    done : {"read", "written"}
        What could not be done to it.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(error, path, done) from error


def storage_error(error: OSError, path: str, done: str) -> StorageError:
    """Return an error which says what to do about an OSError."""
    number, reason = error.errno, error.strerror or str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        way = "it was removed, or never written" if done == "read" else "make the folder or bucket that it goes to"
        return MissingFileError(number or errno.ENOENT, f"there is no {path!r}; {way}")
    if number in NO_SPACE:
        kept = "what was committed before is kept: free some space and run again with resume=True"
        return StorageError(number, f"no space left to write {path!r}; {kept}")
    if isinstance(error, PermissionError) or number in NOT_ALLOWED:
        way = "choose another name or change its permissions" if done == "written" else "change its permissions"
        return StorageError(number or errno.EACCES, f"{path!r} cannot be {done} ({reason}); {way}")
    way = "choose another name" if number in NO_FOLDER else "check the disk or the connection, and try again"
    return StorageError(number or errno.EIO, f"{path!r} cannot be {done} ({reason}); {way}")


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
        """Return the sorted paths of all files in a folder and its folders; links are left out."""
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
        from daskresearch.store.local_zarr import InsideStore

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
        """Remove the files of writers that were killed before they moved them to their places."""
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
            raise StorageError(f"{full!r} is a link that leads out of the results folder, to {real!r}; remove the link")
        return full


def check_regular(full: str) -> None:
    """Raise StorageError for a pipe or device, from which reading may never end."""
    mode = os.stat(full).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise StorageError(f"{full!r} is no regular file, which no results folder holds; remove it")


def is_aside(name: str) -> bool:
    """Return whether a file is one that is being written, or was never finished."""
    return ASIDE.search(name) is not None


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
