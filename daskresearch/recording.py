"""The folder of a run while it goes on: what it holds already, what is added, and how it is left.

A folder is one research: a description (``research.json``), what experiments left behind, and the runs that added to
it. It may be created, gone on with (`resume`), or refused; whoever writes to it holds its lock.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, final

from daskresearch.errors import (
    ChangedUnitsWarning,
    FolderExistsError,
    OptionError,
)
from daskresearch.metadata import core_versions
from daskresearch.options import RunOptions
from daskresearch.store.compact import compact, sweep
from daskresearch.store.description import FORMAT, PLAN, read_description
from daskresearch.store.files import Files, open_files
from daskresearch.store.finished import Finished, SoFar
from daskresearch.store.lock import LEASE, LOCK, FolderLock
from daskresearch.store.parquet import parquet_bytes
from daskresearch.store.parts import Ended
from daskresearch.store.reader import FolderStore
from daskresearch.store.writer import ARTIFACTS, DESCRIPTION, PartWriter, Target
from daskresearch.worker.profile import ProfileRow

logger = logging.getLogger(__name__)

LOCKS = (LOCK, LEASE)
LOG = "research.log"
PROFILE = "profile.parquet"
FINISHED, STOPPED = "finished", "stopped"
_MOST_PARTS = 400


class Facts(NamedTuple):
    """What is written of a research beside its experiments.

    Attributes
    ----------
    description : dict
        Its domain, plan and preview, as JSON.
    definition : dict of str to str
        By unit or option, a hash of what could change results; empty where it has none.
    plan : bytes, optional
        The pickled research, if it can be pickled.
    variables : tuple of str
    """

    description: dict[str, Any]
    definition: dict[str, str]
    plan: bytes | None
    variables: tuple[str, ...]


@final
@dataclass(slots=True)
class Recording:
    """A run's hold on a folder, from `open` to `close`.

    Attributes
    ----------
    files : Files
    before : dict, optional
        The description that was there.
    folder : str
        Where experiments have their folders; empty if each process is to make its own.
    """

    files: Files
    before: dict[str, Any] | None
    _lock: FolderLock
    _options: RunOptions
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _description: dict[str, Any] = field(default_factory=dict)
    _finished: Finished | None = None
    _writer: PartWriter | None = None
    _moved: dict[str, int] = field(default_factory=dict)
    _definition: str = ""
    folder: str = ""

    @classmethod
    def open(cls, name: str, options: RunOptions) -> Recording:
        """Return the hold on the folder of a name; nothing is written but its lock.

        Raises
        ------
        FolderExistsError
            If it is there already, and the run is none that resumes.
        OptionError
            If it was made with another seed.
        BusyError
            If another run is writing to it.
        """
        files = open_files(name)
        _check_free(files, name, resumes=bool(options.resume))
        was_there = bool(files.names(""))
        lock = FolderLock(files)
        lock.acquire()
        try:
            _check_free(files, name, resumes=bool(options.resume))
            before = read_description(files)
            if before is not None:
                _check_options(before, options)
        except BaseException:
            lock.release()
            if not was_there:
                _remove_empty(files)
            raise
        return cls(files, before, lock, options, folder=files.local_path(ARTIFACTS) or "")

    @property
    def seed(self) -> int | None:
        """The seed with which the folder was made."""
        return None if self.before is None else int(self.before["seed"])

    @property
    def url(self) -> str:
        """Where the folder is."""
        return self.files.url

    def begin(self, name: str, seed: int, facts: Facts) -> None:
        """Write what the research is, and learn what is there.

        Parameters
        ----------
        name : str
        seed : int
        facts : Facts
        """
        self._definition = _digest(facts.definition)
        before = self.before or {}
        definitions = {**before.get("definitions", {}), self._definition: facts.definition}
        runs = before.get("runs", [])
        now = _now()
        for known in runs:
            if isinstance(known, dict) and known.get("state") == "running":
                known["state"] = "killed"  # its lock is ours now
        versions = core_versions()
        run = {"number": len(runs), "started": now, "versions": versions, "state": "running"}
        self._description = {
            "format": FORMAT,
            "name": name,
            "seed": seed,
            "created": before.get("created", now),
            "versions": versions,
            **facts.description,
            "variables": list(dict.fromkeys([*before.get("variables", []), *facts.variables])),
            "plan_pickled": facts.plan is not None,
            "token": self._token,
            "definitions": definitions,
            "definition": self._definition,
            "runs": [*runs, run],
        }
        self._describe()  # first: a folder without it is no research, and workers of a killed run add no more to it
        if self.before is None:
            self.files.sweep()
        else:
            sweep(self.files)
            self._learn(facts.definition)
        if facts.plan is not None:
            self.files.write(PLAN, facts.plan)
        self._log(f"run {run['number']} of {name!r} begins with seed {seed}")

    def _learn(self, definition: dict[str, str]) -> None:
        """Find out which experiments are finished, and warn of those that ran by another plan."""
        finished = Finished.of(self.files)
        others = self._description["definitions"]
        is_known = "" not in definition.values()  # else nobody can tell that it is the same
        stale = {one: n for one, n in finished.definitions().items() if one != self._definition or not is_known}
        changed = _changed([others.get(one, {}) for one in stale], definition)
        n_stale = sum(stale.values())
        if self._options.resume == "changed":
            finished = finished.only(self._definition if is_known else "")
        elif n_stale and changed:
            text = (
                f"{n_stale} finished experiments are kept that ran before these changed: {', '.join(changed)}; "
                f"resume='changed' runs them again"
            )
            self._log(text)
            warnings.warn(text, ChangedUnitsWarning, stacklevel=6)
        self._finished = finished

    def target(self) -> Target:
        """Return where experiments are written to."""
        number = len((self.before or {}).get("runs", []))
        return Target(self.files.url, self._token, number, self._definition)

    def define(self, definition: Mapping[str, str]) -> None:
        """Take note of the plan, before anything is written."""
        self._definition = _digest(definition)

    def is_finished(self, experiment_id: str, content: str, position: int) -> bool:
        """Return whether an experiment need not run, as the folder has it; it may have another position now."""
        if self._finished is None:
            return False
        known = self._finished.place(experiment_id)
        if known is None:
            return False
        self._finished.seen[known] = True
        if not self._finished.has(known, content):
            return False
        if self._finished.positions[known] != position:
            self._moved[experiment_id] = position
        return True

    def end(self, n_made: int) -> None:
        """Put what the domain has no more behind its last experiment."""
        if self._finished is not None:
            unseen = (~self._finished.seen).nonzero()[0]
            ids, positions = self._finished.ids[unseen].tolist(), self._finished.positions[unseen].tolist()
            self._moved |= {one.decode(): n_made + place for one, place in zip(ids, positions, strict=True)}

    def append(self, ended: Ended) -> None:
        """Write an experiment that ended in this process, within a second or so."""
        if self._writer is None:
            self._writer = self.target().writer(folder=self.folder)
        self._writer.append(ended)

    def flush(self) -> None:
        """Write what waits to be written."""
        if self._writer is not None:
            self._writer.flush()

    @property
    def n_unwritable(self) -> int:
        """How many experiments failed since their values could not be written."""
        return 0 if self._writer is None else self._writer.n_unwritable

    def store(self, variables: tuple[str, ...], true_values: Mapping[str, Mapping[str, Any]]) -> FolderStore:
        """Return what reads the folder during the run, and after it."""
        return FolderStore(
            self.files,
            variables,
            allow_pickle=self.before is None,  # what others may have put there is not unpickled
            true_values=true_values,
            flush=self.flush,
        )

    def so_far(self, store: FolderStore, n_done: int) -> SoFar:
        """Return of the folder what this run has come to, be it that it ran or was finished before."""
        return SoFar(store, len((self.before or {}).get("runs", [])), self._finished, self._moved, n_done)

    def tidy(self) -> None:
        """Merge small parts while the run goes on, if there are many."""
        if len(self.files.names("experiments")) > _MOST_PARTS:
            compact(self.files, only_small=True)

    def close(self, state: str, *, n_experiments: int, n_failed: int, n_skipped: int) -> None:
        """Write the last experiments, tidy up and let go of the folder.

        Parameters
        ----------
        state : str
            How the run has ended; only one that did as it was asked tidies up.
        n_experiments, n_failed, n_skipped : int
            How many experiments ran, failed, and were there already.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        try:
            self.flush()
            if state in (FINISHED, STOPPED):
                known = compact(self.files, self._moved)
                if state == FINISHED:  # else workers may be writing what is ended by force
                    sweep(self.files, known)
            counts = {"n_experiments": n_experiments, "n_failed": n_failed, "n_skipped": n_skipped}
            self._description["runs"][-1] |= {"ended": _now(), "state": state, **counts}
            self._describe()
            self._log(
                f"the run has {state}: {n_experiments} experiments ran, {n_failed} of them failed, {n_skipped} were "
                f"there already"
            )
        finally:
            self._lock.release()

    def abandon(self) -> None:
        """Let go of the folder before anything was written."""
        self._lock.release()
        if self.before is None:
            _remove_empty(self.files)

    def attach_profile(self, rows: Sequence[ProfileRow]) -> None:
        """Write what units cost."""
        import pyarrow as pa

        self.files.write(PROFILE, parquet_bytes(pa.Table.from_pylist([row._asdict() for row in rows])))

    def withdraw(self) -> None:
        """Remove what was written of a research that cannot run; what was there before stays."""
        if self.before is None:
            for name in (PLAN, LOG, DESCRIPTION):
                self.files.remove(name)

    def _describe(self) -> None:
        # a line for each fact: with indent= it would be Python that writes, ten times slower
        facts = [f"{json.dumps(name)}: {json.dumps(fact, default=str)}" for name, fact in self._description.items()]
        self.files.write(DESCRIPTION, ("{\n" + ",\n".join(facts) + "\n}\n").encode())

    def _log(self, text: str) -> None:
        logger.info(text)
        self.files.append(LOG, f"{_now()} {text}\n".encode())


def check_writable_names(names: Iterable[str]) -> None:
    """Refuse names that no file can hold.

    Raises
    ------
    OptionError
        Names the first of them.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise OptionError(
                f"{name!r} cannot be the name of a column in a file, as it is no valid text; rename it, or run with "
                f"dump_results=False"
            ) from None


def _check_free(files: Files, name: str, *, resumes: bool) -> None:
    entries = [entry for entry in files.names("") if entry not in LOCKS]
    if DESCRIPTION in entries:
        if not resumes:
            raise FolderExistsError(
                f"there is a research {name!r} already; go on with it by resume=True, remove it by "
                f"Research.remove({name!r}), or run under another name"
            )
    elif entries:
        raise FolderExistsError(
            f"the folder {name!r} is there already and is no research: it holds {entries[0]!r}; "
            f"give the research another name, as by run({name + '_results'!r})"
        )


def _check_options(before: Mapping[str, Any], options: RunOptions) -> None:
    """Refuse options that would give other ids or numbers than those in the folder."""
    seed = int(before["seed"])
    if options.seed is not None and options.seed != seed:
        raise OptionError(
            f"the research was made with seed {seed}, so that it cannot go on with seed {options.seed}; "
            f"leave the seed away, or run under another name"
        )
    was = before.get("create_id_prefix", False)
    if was != options.create_id_prefix:
        raise OptionError(f"the research was made with create_id_prefix={was}; resume it with the same")


def _remove_empty(files: Files) -> None:
    path = files.local_path("")
    if path is not None and set(os.listdir(path)) <= set(LOCKS):
        for name in LOCKS:
            files.remove(name)
        os.rmdir(path)


def _changed(others: list[dict[str, str]], definition: Mapping[str, str]) -> list[str]:
    """Return what differs between definitions, as texts for a warning."""
    names = dict.fromkeys([*definition, *(name for other in others for name in other)])
    texts = []
    for name in names:
        for other in others:
            here, there = definition.get(name), other.get(name)
            what = name.removeprefix("option ") if name.startswith("option ") else f"unit {name!r}"
            if here is None or there is None:
                texts.append(f"{what} (which {'is new' if there is None else 'is gone'})")
            elif not here or not there:
                texts.append(f"{what} (whose code cannot be compared)")
            elif here != there:
                texts.append(what)
            else:
                continue
            break
    return texts


def _digest(definition: Mapping[str, str]) -> str:
    return hashlib.blake2b(json.dumps(definition, sort_keys=True).encode(), digest_size=8).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
