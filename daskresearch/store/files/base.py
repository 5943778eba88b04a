"""What all kinds of folders share: `Files`, checked paths and translated errors."""

from __future__ import annotations

import errno
import hashlib
import re
from typing import TYPE_CHECKING, Any, Final, Protocol, final
from urllib.parse import quote

from daskresearch.errors import MissingFileError, StorageError

if TYPE_CHECKING:
    from zarr.abc.store import Store

NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED: Final = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_FOLDER: Final = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
ASIDE: Final = re.compile(r"\.[0-9a-f]{32}\.part(ial)?$")  # ours, and those of zarr
LONGEST_NAME: Final = 100


class Files(Protocol):
    """The files of one results folder.

    It can be pickled, and opens the same folder again.

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
        """Write to the end of a file, which is made if it is not there.

        This is for notes: a power cut may take the last of them.
        """

    def names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder, none if it is not there; ``""`` is the top."""

    def walk(self, folder: str) -> list[str]:
        """Return the sorted paths of all files below a folder, without links.

        They are relative to the folder.
        """

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder."""

    def size(self, path: str) -> int:
        """Return the number of bytes of a file."""

    def remove(self, path: str) -> None:
        """Remove a file if there is one."""

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all it holds, if there is one; the targets of links stay."""

    def opened(self, path: str) -> Any:
        """Return what pyarrow reads: a local path, or an opened file, to be closed."""

    def zarr_store(self, path: str, *, read_only: bool) -> Store:
        """Return a folder as a store of zarr."""

    def local_path(self, path: str) -> str | None:
        """Return the absolute path of a file or folder, None if it is not local."""

    def upload(self, local_folder: str, path: str) -> None:
        """Put the files of a local folder under `path`; the local folder may be gone then."""

    def sweep(self) -> None:
        """Remove what killed writers have left; to be called while nobody writes."""


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
    daskresearch.errors.StorageError: '../a' is no path inside of a results folder; ...
    """
    if root and not path:
        return path
    if "\\" in path or "\0" in path or any([step in ("", ".", "..") for step in path.split("/")]):
        raise StorageError(
            f"{path!r} is no path inside of a results folder; name a file below it, without '..'"
        )
    return path


@final
class translated:  # noqa: N801  (used as a function)
    """A context that turns an OSError inside into a `StorageError`.

    With `way` any other exception becomes one as well. It is a class, as the frame of a generator
    would keep the exception, and all that its traceback leads to, on Python 3.13.

    Parameters
    ----------
    path : str
        The full path, for the text.
    done : {"read", "written"}
        What could not be done to it.
    way : str
        What to do about an exception that a library raises because of what others wrote.
    passed : tuple of exception types
        Mistakes of the caller, which stay as they are.
    """

    def __init__(
        self, path: str, done: str, way: str = "", *, passed: tuple[type[Exception], ...] = ()
    ) -> None:
        self._path, self._done, self._way = path, done, way
        self._passed: tuple[type[Exception], ...] = (StorageError, *passed)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, self._passed):
            return
        # libraries raise a bare OSError for content that they cannot make sense of
        is_librarys = bool(self._way) and type(error) is OSError and not error.errno
        if isinstance(error, OSError) and not is_librarys:
            raise storage_error(error, self._path, self._done) from error
        if self._way:
            reason = f"{type(error).__name__}: {error}"
            raise StorageError(
                f"{self._path!r} cannot be {self._done} ({reason:.300}); {self._way}"
            ) from error


def storage_error(error: OSError, path: str, done: str) -> StorageError:
    """Return an error which says what to do about an OSError."""
    number, reason = error.errno, error.strerror or str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        way = (
            "it was removed, or never written"
            if done == "read"
            else "make the folder or bucket that it goes to"
        )
        return MissingFileError(number or errno.ENOENT, f"there is no {path!r}; {way}")
    if number in NO_SPACE:
        kept = "what was committed before is kept: free some space and run again with resume=True"
        return StorageError(number, f"no space left to write {path!r}; {kept}")
    if isinstance(error, PermissionError) or number in NOT_ALLOWED:
        way = (
            "choose another name or change its permissions"
            if done == "written"
            else "change its permissions"
        )
        return StorageError(number or errno.EACCES, f"{path!r} cannot be {done} ({reason}); {way}")
    way = (
        "choose another name"
        if number in NO_FOLDER
        else "check the disk or the connection, and try again"
    )
    return StorageError(number or errno.EIO, f"{path!r} cannot be {done} ({reason}); {way}")


def is_aside(name: str) -> bool:
    """Return whether a file is one that is being written, or was never finished."""
    return ASIDE.search(name) is not None
