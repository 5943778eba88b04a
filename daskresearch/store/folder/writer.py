"""The writer of parts: ended experiments wait a moment, then become a part.

The large arrays of a part are written first, then its rows, and its experiments last: with them the
part exists. A process that is killed before loses the experiments of the last moment and leaves
files that nobody reads.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from daskresearch.errors import BusyError, MissingFileError, PickleError, StorageError
from daskresearch.store.arrays.writer import ArrayWriter
from daskresearch.store.columns.values import TYPES
from daskresearch.store.contents import ARTIFACTS, DESCRIPTION, EXPERIMENTS, RESULTS
from daskresearch.store.failure import this_worker
from daskresearch.store.files.base import Files
from daskresearch.store.files.opening import open_files
from daskresearch.store.folder.experiments_table import Ended, Stamp, experiments_table
from daskresearch.store.folder.parquet import parquet_bytes, read_table
from daskresearch.store.folder.parts import (
    results_table,
    size_of,
    with_metadata,
    without_unwritable,
)

if TYPE_CHECKING:
    import pyarrow as pa

WAIT_S = 1.0
"""The most seconds that an experiment that has ended waits, to be written with others."""
_MOST_EXPERIMENTS = 10_000
_MOST_ROWS = 100_000
_MOST_BYTES = 100_000_000


@final
@dataclass(frozen=True, slots=True)
class Target:
    """Where the experiments of a run are written to; travels to the workers.

    Attributes
    ----------
    url : str
        Of the folder.
    token : str
        What its description holds, by which a worker knows that it sees the same folder.
    run : int
        The number of the run within the folder.
    definition : str
        A hash of the plan.
    """

    url: str
    token: str
    run: int
    definition: str

    def writer(self, prefix: str = "", folder: str = "", wait_s: float = WAIT_S) -> PartWriter:
        """Return a writer of parts.

        Parameters
        ----------
        prefix : str
            What their names begin with.
        folder : str
            Where experiments have their folders; they are uploaded if the run's folder is remote.
        wait_s : float
            How long an experiment that has ended waits for others at most.
        """
        stamp = Stamp(self.run, self.definition, this_worker())
        return PartWriter(
            open_files(self.url), stamp, prefix, folder, wait_s, check=lambda: check_current(self)
        )


def check_visible(target: Target) -> None:
    """Refuse to work where the folder of a run cannot be seen.

    Raises
    ------
    StorageError
        If the folder is not there, or is another one.
    """
    try:
        check_current(target)
    except StorageError:
        raise StorageError(
            f"worker {this_worker()} does not see the folder {target.url!r} of the research; give "
            f"a name on a file system that all workers share, or a URL such as s3://bucket/name"
        ) from None


def check_current(target: Target) -> None:
    """Refuse to write if the folder belongs to another run now.

    A worker may outlive its run, and another run go on with the folder meanwhile.

    Raises
    ------
    BusyError
        If the folder is that of another run now.
    """
    try:
        is_current = target.token in open_files(target.url).read(DESCRIPTION).decode(
            errors="replace"
        )
    except FileNotFoundError:
        raise StorageError(
            f"the folder {target.url!r} was removed while its run went on; run it again"
        ) from None
    if not is_current:
        raise BusyError(
            f"another run has gone on with {target.url!r}, "
            f"so that nothing of this one is written any more"
        )


@final
class PartWriter:
    """Writes experiments as they end, some at a time; several threads may append.

    Parameters
    ----------
    files : Files
    stamp : Stamp
    prefix : str
        What the names of its parts begin with.
    folder : str
        Where experiments have their folders.
    wait_s : float
        The most seconds that an experiment waits for others.
    check : callable
        Called before a part comes to be, raises if it must not.
    """

    def __init__(
        self,
        files: Files,
        stamp: Stamp,
        prefix: str = "",
        folder: str = "",
        wait_s: float = WAIT_S,
        check: Callable[[], object] = bool,
    ) -> None:
        self._files = files
        self._folder = folder
        self._stamp = stamp
        self._prefix = prefix
        self._wait_s = wait_s
        self._check = check
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: list[Ended] = []
        self._n_rows = self._n_bytes = 0
        self._timer: threading.Timer | None = None
        self._error: BaseException | None = None
        self.n_parts = 0
        self.n_unwritable = 0

    def append(self, ended: Ended) -> None:
        """Keep an experiment; it is written within a second or so.

        Raises
        ------
        StorageError
            If it, or one before it, cannot be written.
        """
        with self._lock:
            self._waiting.append(ended)
            self._n_rows += len(ended.record.iterations)
            self._n_bytes += size_of(ended.record)
            is_full = (
                len(self._waiting) >= _MOST_EXPERIMENTS
                or self._n_rows > _MOST_ROWS
                or self._n_bytes > _MOST_BYTES
            )
            if not is_full and self._timer is None:
                self._timer = threading.Timer(self._wait_s, self._on_time)
                self._timer.daemon = True
                self._timer.start()
        self._raise()
        if is_full:
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises
        ------
        StorageError
            If it cannot be written; it goes on waiting.
        """
        with self._writing:
            with self._lock:
                waiting = self._waiting
                self._waiting, self._n_rows, self._n_bytes = [], 0, 0
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
            if waiting:
                try:
                    self._write(waiting)
                except BaseException:
                    with self._lock:
                        self._waiting = waiting + self._waiting
                    raise
        self._raise()

    def close(self) -> None:
        """Write what waits; what cannot be written waits no more."""
        try:
            self.flush()
        finally:
            with self._lock:
                self._waiting = []

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _on_time(self) -> None:
        try:
            self.flush()
        except BaseException as error:
            self._error = error  # whoever appends next is told

    def _write(self, waiting: list[Ended]) -> None:
        part = f"{self._prefix}{uuid.uuid4().hex[:12]}"
        self._upload_folders(waiting)
        arrays = ArrayWriter(self._files, part)
        try:
            results = results_table(waiting, arrays.keep)
        except PickleError:
            n_failed = sum(bool(ended.record.failures) for ended in waiting)
            waiting = [without_unwritable(ended) for ended in waiting]
            self.n_unwritable += sum(bool(ended.record.failures) for ended in waiting) - n_failed
            results = results_table(waiting, arrays.keep)
        experiments = experiments_table(waiting, self._stamp)
        self._check()
        schemas = experiments.schema, results.schema
        rows = [results] if results.num_rows else None
        write_part(self._files, part, schemas, [experiments], rows, arrays.groups)
        try:
            # another run may have begun meanwhile, and swept away the files of the part
            self._check()
        except BaseException:
            self._files.remove(f"{EXPERIMENTS}/{part}.parquet")
            raise
        self.n_parts += 1

    def _upload_folders(self, waiting: list[Ended]) -> None:
        """Move the folders of experiments to the folder of the run, if that is remote."""
        if self._folder and not self._files.is_local:
            for ended in waiting:
                path = os.path.join(self._folder, ended.experiment.id)
                if os.path.isdir(path):
                    self._files.upload(path, f"{ARTIFACTS}/{ended.experiment.id}")
                    shutil.rmtree(path, ignore_errors=True)


def committed(target: Target, name: str) -> dict[str, tuple[bool, int]]:
    """Return what a batch wrote before its worker died.

    By id, whether the experiment failed, and its number of iterations.
    """
    files = open_files(target.url)
    written: dict[str, tuple[bool, int]] = {}
    for file in files.names(EXPERIMENTS):
        if file.startswith(f"{name}-"):
            path = f"{EXPERIMENTS}/{file}"
            try:
                table = read_table(files, path, ["id", "status", "n_iters"])
            except MissingFileError:
                continue  # a clean-up has merged it meanwhile: what runs twice is the same
            for row in table.to_pylist():
                written[row["id"]] = row["status"] == "failed", row["n_iters"]
    return written


def write_part(
    files: Files,
    part: str,
    schemas: tuple[pa.Schema, pa.Schema],
    experiments: Iterable[pa.Table],
    results: Iterable[pa.Table] | None,
    arrays: Iterable[str],
) -> None:
    """Write the two files of a part, that of the experiments last.

    Parameters
    ----------
    files : Files
    part : str
    schemas : pair of pyarrow.Schema
        Of the experiments and of the results.
    experiments, results : iterable of pyarrow.Table
        Tables whose rows follow each other; None instead of results if there are no rows.
    arrays : iterable of str
        The parts under whose names its large arrays are kept.
    """
    if results is not None:
        files.write(f"{RESULTS}/{part}.parquet", parquet_bytes(schemas[1], results))
    variables = [name for name in schemas[1].names if name not in ("id", "iteration", TYPES)]
    schema = with_metadata(schemas[0], variables=variables, arrays=sorted(arrays))
    files.write(f"{EXPERIMENTS}/{part}.parquet", parquet_bytes(schema, experiments))
