"""Who writes to a results folder: one run at a time.

A local folder is held by a lock of the operating system, which ends with its process. A remote
folder is held by a lease, which its holder renews; a lease that was not renewed for long is free.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, final
from uuid import uuid4

from daskresearch.errors import BusyError, MissingFileError, StorageError
from daskresearch.store.contents import LEASE, LOCK
from daskresearch.store.files.base import Files, translated

if TYPE_CHECKING:
    import filelock

logger = logging.getLogger(__name__)

SETTLE_S: Final = 0.2  # within which two runs that take a lease at once have both written


@final
@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a folder, as its holder wrote it.

    Attributes
    ----------
    token : str
        Different each time that a folder is taken.
    host : str
    pid : int
    renewed_at : float
        Seconds since the epoch, by the clock of the holder.
    """

    token: str
    host: str
    pid: int
    renewed_at: float

    @classmethod
    def parse(cls, content: bytes) -> Lease | None:
        """Return the lease that a file holds, None if it holds anything else.

        Examples
        --------
        >>> Lease.parse(Lease("t", "host", 7, 0.0).content())
        Lease(token='t', host='host', pid=7, renewed_at=0.0)
        >>> Lease.parse(b"{}")
        """
        try:
            fields = json.loads(content)
            return cls(
                str(fields["token"]),
                str(fields["host"]),
                int(fields["pid"]),
                float(fields["renewed_at"]),
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None

    def content(self) -> bytes:
        """Return what is written to a file."""
        fields = {
            "token": self.token,
            "host": self.host,
            "pid": self.pid,
            "renewed_at": self.renewed_at,
        }
        return json.dumps(fields).encode()


@final
class FolderLock:
    """Holds a results folder for one run.

    Parameters
    ----------
    files : Files
    renew_s : float
        Seconds after which the lease of a remote folder is renewed.
    expire_s : float
        Seconds after which a lease that was not renewed is free.
    clock : callable
        Returns the seconds since the epoch.

    Raises
    ------
    BusyError
        When it is acquired while another run holds the folder.

    Examples
    --------
    >>> from daskresearch.store.files.opening import open_files
    >>> files = open_files("memory://FolderLock")
    >>> with FolderLock(files):
    ...     FolderLock(files).acquire()
    Traceback (most recent call last):
    daskresearch.errors.BusyError: another run is writing to 'memory://FolderLock' (...); ...
    """

    def __init__(
        self,
        files: Files,
        *,
        renew_s: float = 10.0,
        expire_s: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._renew_s, self._expire_s, self._clock = renew_s, expire_s, clock
        self._lease: Lease | None = None
        self._kernel_lock: filelock.BaseFileLock | None = None
        self._renewal: threading.Thread | None = None
        self._ended = threading.Event()
        self._lost = False

    def acquire(self) -> None:
        """Hold the folder.

        Raises
        ------
        BusyError
            If another run holds it, be it in this process.
        """
        if self._lease is not None:
            raise busy(self._files, self._lease)
        lease = Lease(uuid4().hex, socket.gethostname(), os.getpid(), self._clock())
        if self._files.is_local:
            self._acquire_local(lease)
        else:
            self._acquire_remote(lease)
        self._lease, self._lost = lease, False
        if not self._files.is_local:
            self._renewal = threading.Thread(
                target=self._renew, args=(lease,), name="daskresearch-lease", daemon=True
            )
            self._renewal.start()

    def release(self) -> None:
        """Let others hold the folder; without effect if it is not held."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        self._ended.set()
        if self._renewal is not None:
            self._renewal.join()
            self._renewal = None
        try:
            held = self._read()
            if held is not None and held.token == lease.token:
                self._files.remove(LEASE)
        finally:
            if self._kernel_lock is not None:
                # its file stays: another may have opened it to wait for the lock
                self._kernel_lock.release()
                self._kernel_lock = None

    def check(self) -> None:
        """Raise BusyError if another run took the folder, as while this machine slept."""
        if self._lost:
            raise busy(self._files, self._read())

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _acquire_local(self, lease: Lease) -> None:
        import filelock

        path = str(self._files.local_path(LOCK))
        with translated(path, "written"):
            if os.path.islink(path):
                raise StorageError(f"{path!r} is a link, which a lock never is; remove it")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            lock = filelock.FileLock(path, timeout=0, thread_local=False)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise busy(self._files, self._read()) from None
        try:
            self._files.write(LEASE, lease.content())  # for the text of another's error
        except BaseException:
            lock.release()
            raise
        self._kernel_lock = lock

    def _acquire_remote(self, lease: Lease) -> None:
        held = self._read()
        if held is not None and self._clock() - held.renewed_at < self._expire_s:
            raise busy(self._files, held)
        self._files.write(LEASE, lease.content())
        self._ended.clear()
        self._ended.wait(SETTLE_S)
        held = self._read()
        if held is None or held.token != lease.token:
            raise busy(self._files, held)

    def _read(self) -> Lease | None:
        try:
            return Lease.parse(self._files.read(LEASE))
        except MissingFileError:
            return None

    def _renew(self, lease: Lease) -> None:
        while not self._ended.wait(self._renew_s):
            try:
                held = self._read()
                if held is not None and held.token != lease.token:
                    self._lost = True
                    logger.warning(
                        "another run has taken %r; this one was not heard of for too long",
                        self._files.url,
                    )
                    return
                renewed = Lease(lease.token, lease.host, lease.pid, self._clock())
                self._files.write(LEASE, renewed.content())
            except StorageError as error:
                logger.warning(
                    "the lease of %r could not be renewed, trying again: %s", self._files.url, error
                )


def busy(files: Files, held: Lease | None) -> BusyError:
    """Return the error that another holds the folder."""
    whom = "" if held is None else f" (process {held.pid} on host {held.host})"
    advice = "wait for it, end it, or give the run another name"
    return BusyError(f"another run is writing to {files.url!r}{whom}; {advice}")
