"""Dask's own command-line processes on loopback, as a user starts them, and ended with the test."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from distributed import Client, Security

import daskresearch

_PACKAGE = str(Path(daskresearch.__file__).parents[1])
_STARTED_S, _ENDED_S = 120, 5


class Servers:
    """A scheduler process, and worker processes that are added to it; all end with the context.

    Parameters
    ----------
    folder : Path
        Where the file of the scheduler and the logs are written.
    importable : Path, optional
        A folder from which workers alone can import.
    options : sequence of str
        More options of all processes.
    """

    def __init__(
        self, folder: Path, importable: Path | None = None, options: Sequence[str] = ()
    ) -> None:
        self._folder = folder
        self.importable = importable
        self._options = list(options)
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start the scheduler."""
        self.scheduler = self._start(
            "dask_scheduler",
            ["--port", "0", "--scheduler-file", str(self._file)],
            {"PYTHONPATH": _PACKAGE},
        )
        deadline = time.monotonic() + _STARTED_S
        while not self._file.exists():
            if time.monotonic() > deadline or self.scheduler.poll() is not None:
                self.__exit__(None, None, None)
                raise RuntimeError(f"no scheduler has started:\n{self.log()}")
            time.sleep(0.01)
        return self

    @property
    def file(self) -> str:
        """The path of the file that tells the scheduler's address."""
        return str(self._file)

    def log(self) -> str:
        """Return what all processes have written."""
        return "\n".join([path.read_text() for path in sorted(self._folder.glob("*.log"))])

    def add_worker(self, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a worker process without a nanny, which would replace it when it is killed."""
        paths = [_PACKAGE] if self.importable is None else [str(self.importable), _PACKAGE]
        return self._start(
            "dask_worker",
            ["--scheduler-file", self.file, "--nthreads", "1", "--no-nanny", "--death-timeout",
             "60",
             "--local-directory", str(self._folder), *options],
            {"PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip

    def _start(
        self, module: str, arguments: Sequence[str], env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        options = [
            "--host",
            "127.0.0.1",
            "--no-dashboard",
            "--dashboard-address",
            "127.0.0.1:0",
            *self._options,
        ]
        with open(self._folder / f"{len(self._processes)}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *options, *arguments],
                stdout=log, stderr=log, env={**os.environ, **env}, cwd=self._folder,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes, workers first."""
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(_ENDED_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def two_workers(folder: Path) -> Iterator[tuple[Servers, Client]]:
    """Give processes of a scheduler and two workers in a new folder, and their client."""
    folder.mkdir()
    with (
        Servers(folder) as servers,
        Client(scheduler_file=servers.file, set_as_default=False) as client,
    ):
        for _ in range(2):
            servers.add_worker()
        client.wait_for_workers(2, timeout=_STARTED_S)
        yield servers, client


def written_certificates(folder: Path) -> tuple[Security, list[str]]:
    """Return the client's TLS with a new certificate, and the options of the processes."""
    made = Security.temporary()
    names = {"ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    paths = {name: folder / f"{name}.pem" for name in names}
    for name, text in names.items():
        paths[name].touch(mode=0o600)
        paths[name].write_text(text)
    ca, cert, key = map(str, paths.values())
    security = Security(
        tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True
    )
    return security, ["--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key]
