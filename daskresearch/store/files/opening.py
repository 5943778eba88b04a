"""Opens the files of a results folder, on this machine or behind a URL.

Paths are relative to the folder and separated by ``/``; a path that could lead out is refused.
A file is written whole or not at all. Errors are a `StorageError` with the number of the operating
system.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from daskresearch.errors import StorageError
from daskresearch.store.files.base import Files
from daskresearch.store.files.local import LocalFiles

NEARLY_URL: Final = re.compile(
    r"(?:memory|file|local|s3|gs|gcs|az|abfs|http|https|ftp|sftp):/?(?!/)"
)
LOCAL_URL: Final = re.compile(r"(?:file|local)://")


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
        raise StorageError(
            f"{where!a} is no name in UTF-8, which Parquet files need; give another"
        ) from None
    is_url = "://" in where or "::" in where
    if is_url and not LOCAL_URL.match(where):
        from daskresearch.store.files.remote import RemoteFiles

        return RemoteFiles(where, options)
    if NEARLY_URL.match(where):
        raise StorageError(
            f"{where!r} is neither a path nor a URL; did you mean {where.replace(':', '://', 1)!r}?"
        )
    local = LOCAL_URL.sub("", where, count=1)
    if not local:
        raise StorageError(f"{where!r} is no place for a results folder; give a path or a URL")
    return LocalFiles(os.path.abspath(os.path.expanduser(local)))
