"""What results depend on besides the plan: programs, machine and git state."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from typing import Any

from daskresearch.errors import OptionError

_CORE = ("daskresearch", "dask", "distributed", "numpy", "pandas", "pyarrow", "zarr", "cloudpickle")

# Only what changes the numbers or their speed: other variables may hold secrets.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
)

_TIMEOUT_S = 30
_MOST_BYTES = 1_000_000


def environment() -> dict[str, Any]:
    """Return what a run's numbers may depend on, as values that JSON can hold.

    No path and no secret is among them.

    Returns
    -------
    dict
        With these keys:

        - ``python``: version, implementation and name of the executable;
        - ``platform``;
        - ``n_cpus``;
        - ``memory_bytes``: None where the system does not tell;
        - ``core``: see `core_versions`;
        - ``packages``: the version of each installed distribution by name;
        - ``variables``: those that are set of a short list of environment variables.

    Examples
    --------
    >>> sorted(environment())
    ['core', 'memory_bytes', 'n_cpus', 'packages', 'platform', 'python', 'variables']
    """
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": os.path.basename(sys.executable or ""),
        },
        "platform": platform.platform(),
        "n_cpus": os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "core": core_versions(),
        "packages": _packages(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def core_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that runs use.

    Examples
    --------
    >>> core_versions()["python"] == platform.python_version()
    True
    """
    return dict(_core_versions())


@cache
def _core_versions() -> tuple[tuple[str, str], ...]:
    versions = [("python", platform.python_version())]
    for name in _CORE:
        try:
            versions.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(versions)


def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        # what is left of a broken installation has no metadata
        with suppress(OSError, TypeError, ValueError):
            metadata = distribution.metadata
            if "Name" in metadata and "Version" in metadata:
                # of two distributions of one name, the first on the path is imported
                found.setdefault(metadata["Name"], metadata["Version"])
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def memory_bytes() -> int | None:
    """Return the bytes of memory of this machine, None if it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def git_state(folder: str = ".") -> dict[str, Any]:
    """Return the state of a folder's git repository, as values that JSON can hold.

    Parameters
    ----------
    folder : str

    Returns
    -------
    dict
        With these keys; a value that the repository does not have is None or empty:

        - ``commit``;
        - ``branch``: None if no branch is checked out;
        - ``describe``: what ``git describe`` says;
        - ``remote``: the URL of origin or else of the first remote, without credentials;
        - ``status``: lines of ``git status --porcelain``;
        - ``diff``: of tracked files against the commit, its first megabyte;
        - ``log``: the last ten commits, a line each.

    Raises
    ------
    OptionError
        If (a) the folder is in no git repository, (b) git is not installed, or (c) git gives no
        answer in time.

    Examples
    --------
    >>> git_state("/")
    Traceback (most recent call last):
    daskresearch.errors.OptionError: folder '/' is in no git repository (fatal: not a git ...
    """
    code, _, error = _git(folder, "rev-parse", "--git-dir")
    if code:
        raise OptionError(
            f"folder {folder!r} is in no git repository ({error}); "
            "give the folder of one, or leave its state out"
        )
    commit = _line(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    return {
        "commit": commit,
        "branch": _line(folder, "symbolic-ref", "--short", "--quiet", "HEAD"),
        "describe": _line(folder, "describe", "--always", "--tags", "--dirty"),
        "remote": _remote(folder),
        "status": _lines(folder, "status", "--porcelain"),
        "diff": _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")[1]
        if commit
        else "",
        "log": _lines(
            folder, "log", "-n", "10", "--no-color", "--no-show-signature", "--format=%H %cI %s"
        ),
    }


def _remote(folder: str) -> str | None:
    names = _lines(folder, "remote")
    if not names:
        return None
    url = _line(folder, "remote", "get-url", "origin" if "origin" in names else names[0])
    return None if url is None else without_credentials(url)


def without_credentials(url: str) -> str:
    """Return the URL of a remote without user, password and query.

    Examples
    --------
    >>> without_credentials("https://ann:secret@example.org/ann/work.git?token=secret")
    'https://example.org/ann/work.git'
    >>> without_credentials("git@example.org:ann/work.git")
    'git@example.org:ann/work.git'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return re.sub(r"^[^/@:]*:[^/@]*@", "", url)
    rest = re.split("[?#]", rest)[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _line(folder: str, *arguments: str) -> str | None:
    code, text, _ = _git(folder, *arguments)
    return None if code else text.strip() or None


def _lines(folder: str, *arguments: str) -> list[str]:
    code, text, _ = _git(folder, *arguments)
    return [] if code else text.splitlines()


def _git(folder: str, *arguments: str) -> tuple[int, str, str]:
    """Return exit status, output and first error line of a git command.

    The output is cut after a megabyte.
    """
    # (a) The folder alone says which repository it is; in a hook, variables of git say another.
    # (b) Nothing is written, and no password is asked for.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    own |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    settings = ["-c", "core.quotePath=false", "-c", "core.fsmonitor=false"]
    command = ["git", "-C", folder, "--no-pager", *settings, *arguments]
    with tempfile.TemporaryFile() as output:  # memory need not hold a diff of gigabytes
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                timeout=_TIMEOUT_S,
                env=own,
            )
        except FileNotFoundError as error:
            raise OptionError(
                "git is not installed, so that the state of a repository cannot be read"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise OptionError(
                f"git {arguments[0]} gave no answer in {_TIMEOUT_S} s in folder {folder!r}"
            ) from error
        n_bytes = output.seek(0, os.SEEK_END)
        output.seek(0)
        text = output.read(_MOST_BYTES).decode("utf-8", "replace")
    if n_bytes > _MOST_BYTES:
        text += f"\n... {n_bytes - _MOST_BYTES} bytes left out ...\n"
    problem = done.stderr.decode("utf-8", "replace").splitlines()
    return done.returncode, text, problem[0] if problem else ""
