"""A research that a folder holds: what works without its plan, and its removal."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any, final

import cloudpickle

from daskresearch.errors import MissingFileError, OptionError, ResearchError, StorageError
from daskresearch.graph import Counts
from daskresearch.results import ResearchResults
from daskresearch.store.contents import (
    ARRAYS,
    ARTIFACTS,
    DESCRIPTION,
    ENV,
    EXPERIMENTS,
    LEASE,
    LOCK,
    LOG,
    PLAN,
    PROFILE,
    RESULTS,
)
from daskresearch.store.files.base import Files
from daskresearch.store.files.lock import FolderLock
from daskresearch.store.files.opening import open_files
from daskresearch.store.folder.description import described
from daskresearch.store.folder.parquet import read_table
from daskresearch.worker.profile import ProfileRow

_FILES = (PLAN, LOG, PROFILE)
_FOLDERS = (EXPERIMENTS, RESULTS, ARRAYS, ARTIFACTS, ENV)


@final
@dataclass(frozen=True)
class Stored:
    """A run of the past, as its folder tells of it.

    Attributes
    ----------
    name : str
    description : dict
        What ``research.json`` holds.
    results : ResearchResults
    """

    name: str
    description: dict[str, Any]
    results: ResearchResults

    @classmethod
    def of(cls, name: str, *, allow_pickle: bool) -> Stored:
        """Return the run that a folder tells of.

        Raises
        ------
        StorageError
            If the folder is none of a research.
        """
        description = described(open_files(name))
        return cls(name, description, ResearchResults(name, allow_pickle=allow_pickle))

    def unpickled(self) -> Any:
        """Return the research that the folder holds, unpickled.

        Raises
        ------
        ResearchError
            If it holds none, or it cannot be unpickled here.
        """
        try:
            content = open_files(self.name).read(PLAN)
        except MissingFileError:
            raise ResearchError(
                f"the folder of {self.name!r} holds no plan, as it could not be pickled when it "
                "ran; run the code that made the research, with resume=True"
            ) from None
        try:
            return cloudpickle.loads(content)
        except Exception as error:
            raise ResearchError(
                f"the plan of {self.name!r} cannot be unpickled here ({error!r}); run the code "
                "that made the research, with resume=True"
            ) from error

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.description["seed"])

    @property
    def profile(self) -> list[ProfileRow]:
        """What units cost, if the last run measured it."""
        files = open_files(self.name)
        if not files.exists(PROFILE):
            return []
        table = read_table(files, PROFILE, ProfileRow._fields)
        return [ProfileRow(**row) for row in table.to_pylist()]

    @property
    def n_experiments(self) -> int | None:
        """How many experiments the first domain has, if the folder tells."""
        try:
            return self.counts.n_experiments
        except StorageError:
            return None

    @property
    def n_failed(self) -> int:
        """How many experiments failed."""
        return int(self.results.failures["id"].nunique())

    @property
    def n_finished(self) -> int:
        """How many experiments have ended."""
        return len(self.results)

    @property
    def is_finished(self) -> bool:
        """Whether the last run has come to its end."""
        runs = self.description["runs"]
        return bool(runs) and isinstance(runs[-1], dict) and runs[-1].get("state") == "finished"

    @property
    def counts(self) -> Counts:
        """The calls that the research was to make, as it was counted when it ran.

        Raises
        ------
        StorageError
            If the folder does not tell.
        """
        try:
            preview = self.description["preview"]
            units = preview["units"]
            plain = {str(unit): _count(n) for unit, n, _ in units}
            calls = {str(unit): _count(n) for unit, _, n in units}
            return Counts(
                _count(preview["n_experiments"]),
                None,
                _count(preview["n_nodes"]),
                None,
                plain,
                calls,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise StorageError(
                f"{DESCRIPTION} of {self.name!r} has no good 'preview': {error!r}"
            ) from None

    def __repr__(self) -> str:
        return described_as(self.name, self.description)

    def wait(self, timeout: float | None = None) -> bool:
        """Return that it has ended."""
        return True

    def stop(self) -> None:
        """Do nothing, as nothing runs."""

    def cancel(self, experiment_id: str) -> None:
        """Do nothing, as nothing runs."""

    def attach(self, name: str, facts: Any) -> None:
        """Refuse to add anything to a run of the past."""
        raise ResearchError(
            f"nothing is added to {self.name!r}, whose run was another one; run it with resume=True"
        )


def _count(value: Any) -> int | None:
    number = None if value is None else int(value)
    if number is not None and not 0 <= number < 2**63:
        raise ValueError(f"a count of {value!r:.80}")
    return number


def described_as(name: str, description: dict[str, Any]) -> str:
    """Return the repr of a stored research."""
    plan = description.get("plan")
    listed = plan if isinstance(plan, list) else []
    units = [unit["name"] for unit in listed if isinstance(unit, dict) and "name" in unit]
    domain = description.get("domain")
    text = domain.get("text", "") if isinstance(domain, dict) else ""
    return (
        f"<Research {name!r}, loaded from its folder: {' -> '.join(map(str, units))} over {text}>"
    )


def remove(name: str, *, ask: bool) -> None:
    """Remove the folder of a research, but nothing that a research does not write.

    Raises
    ------
    StorageError
        If the folder is none of a research, holds other files, or a run is writing to it.
    OptionError
        If nobody is there to be asked.
    """
    files = open_files(name)
    description = described(files)
    if ask and not _confirmed(files, len(ResearchResults(name))):
        return
    with FolderLock(files):
        files.sweep()
        for entry in _FOLDERS:
            files.remove_tree(entry)
        for entry in (*_FILES, DESCRIPTION):
            files.remove(entry)
    for entry in (LOCK, LEASE):
        files.remove(entry)
    left = files.names("")
    if left:
        raise StorageError(
            f"the research {description['name']!r} is removed, but {files.url!r} stays, as it "
            f"holds {left[0]!r}, which is none of its files"
        )
    folder = files.local_path("")
    if folder is not None:
        os.rmdir(os.path.realpath(folder))
        if os.path.islink(folder):
            os.remove(folder)


def _confirmed(files: Files, n_experiments: int) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise OptionError(
            f"nobody can be asked whether to remove {files.url!r}, as there is no terminal; use "
            "ask=False"
        )
    answer = input(f"Remove {files.url!r} with {n_experiments} experiments? [y/N] ")
    return answer.strip().lower() in ("y", "yes")
