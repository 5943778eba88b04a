"""The folder of a run while it goes on: its start, what is added, and its end.

A folder is one research: a description (``research.json``), what experiments left behind, and the
runs that added to it. It may be created, gone on with (`resume`), or refused; whoever writes to it
holds its lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, final

from daskresearch.errors import ChangedUnitsWarning, OptionError
from daskresearch.run.options import RunOptions
from daskresearch.run.resuming import changed_parts, check_free, check_options, remove_empty
from daskresearch.run.summary import Facts
from daskresearch.store.contents import ARTIFACTS, DESCRIPTION, ENV, LOG, PLAN, PROFILE
from daskresearch.store.environment import core_versions
from daskresearch.store.files.base import Files
from daskresearch.store.files.lock import FolderLock
from daskresearch.store.files.opening import open_files
from daskresearch.store.folder.compact import compact, sweep
from daskresearch.store.folder.description import FORMAT, read_description
from daskresearch.store.folder.experiments_table import Ended
from daskresearch.store.folder.finished import FinishedExperiments, come_to
from daskresearch.store.folder.parquet import parquet_bytes
from daskresearch.store.folder.store import FolderStore
from daskresearch.store.folder.tidier import Tidier
from daskresearch.store.folder.writer import PartWriter, Target, check_current
from daskresearch.worker.profile import ProfileRow

logger = logging.getLogger(__name__)

FINISHED, STOPPED = "finished", "stopped"


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
        Where experiments have their folders; empty if each process makes its own.
    true_values : dict of str to dict
        By parameter and text, the values that files may not hold.
    """

    files: Files
    before: dict[str, Any] | None
    _lock: FolderLock
    _options: RunOptions
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _description: dict[str, Any] = field(default_factory=dict)
    _finished: FinishedExperiments | None = None
    _writer: PartWriter | None = None
    _moved: dict[str, int] = field(default_factory=dict)
    _definition: str = ""
    _tidier: Tidier | None = None
    folder: str = ""
    true_values: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    @classmethod
    def open(cls, name: str, options: RunOptions) -> Recording:
        """Return the hold on the folder of a name, of which only the lock is written.

        Raises
        ------
        FolderExistsError
            If the folder is there already, and the run does not resume.
        OptionError
            If the folder was made with another seed.
        BusyError
            If another run is writing to it.
        """
        files = open_files(name)
        check_free(files, name, resumes=bool(options.resume))
        was_there = bool(files.names(""))
        lock = FolderLock(files)
        lock.acquire()
        try:
            check_free(files, name, resumes=bool(options.resume))
            before = read_description(files)
            if before is not None:
                check_options(before, options)
        except BaseException:
            lock.release()
            if not was_there:
                remove_empty(files)
            raise
        return cls(files, before, lock, options, folder=files.local_path(ARTIFACTS) or "")

    @property
    def seed(self) -> int | None:
        """The seed with which the folder was made."""
        return None if self.before is None else int(self.before["seed"])

    def check_prefixed(self, ids: Iterable[str]) -> None:
        """Refuse experiments of the folder whose ids have other prefixes now.

        They would run again and count twice.

        Raises
        ------
        OptionError
            Names the first of these experiments.
        """
        formers: dict[bytes, bytes] | None = None
        for experiment_id in ids if self.before is not None else ():
            if formers is None:
                finished = FinishedExperiments.of(self.files).ids.tolist()
                formers = {former.rpartition(b"_")[2]: former for former in finished}
            former = formers.get(experiment_id.rpartition("_")[2].encode(), b"").decode()
            if former not in ("", experiment_id):
                raise OptionError(
                    f"experiment {former} of the folder is {experiment_id} in this domain, where "
                    "create_id_prefix numbers its values otherwise, so that it would run again; "
                    "add no values but behind the others and within as many digits, or run under "
                    "another name"
                )

    def begin(self, name: str, seed: int, facts: Facts) -> None:
        """Write what the research is, and learn what is there.

        Parameters
        ----------
        name : str
        seed : int
        facts : Facts
        """
        self._definition = _short_hash(facts.definition)
        before = self.before or {}
        definitions = {**before.get("definitions", {}), self._definition: facts.definition}
        runs = before.get("runs", [])
        now = _now()
        for earlier in runs:
            if isinstance(earlier, dict) and earlier.get("state") == "running":
                earlier["state"] = "killed"  # its lock is ours now
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
        # first, as a folder without a description is no research, and as workers of a killed run
        # read there that the folder is not theirs any more
        self._describe()
        if self.before is None:
            self.files.sweep()
        else:
            sweep(self.files)
            self._learn(facts.definition)
        if facts.plan is not None:
            self.files.write(PLAN, facts.plan)
        for name_of_file, content in facts.env.items():
            self.attach(name_of_file, content)
        self._log(f"run {run['number']} of {name!r} begins with seed {seed}")

    def _learn(self, definition: dict[str, str]) -> None:
        """Learn which experiments are finished, and warn of those of another plan."""
        finished = FinishedExperiments.of(self.files)
        others = self._description["definitions"]
        is_known = "" not in definition.values()  # else nobody can tell that it is the same
        stale = {
            former: n
            for former, n in finished.definitions().items()
            if former != self._definition or not is_known
        }
        changed = changed_parts([others.get(former, {}) for former in stale], definition)
        n_stale = sum(stale.values())
        if self._options.resume == "changed":
            finished = finished.only(self._definition if is_known else "")
        elif n_stale and changed:
            text = (
                f"{n_stale} finished experiments are kept that ran before these changed: "
                f"{', '.join(changed)}; resume='changed' runs them again"
            )
            self._log(text)
            warnings.warn(text, ChangedUnitsWarning, stacklevel=6)
        self._finished = finished

    def target(self) -> Target:
        """Return where experiments are written to."""
        number = len((self.before or {}).get("runs", []))
        return Target(self.files.url, self._token, number, self._definition)

    def define(self, definition: Mapping[str, str]) -> None:
        """Take note of the definition of the plan, before anything is written."""
        self._definition = _short_hash(definition)

    def is_finished(self, experiment_id: str, content: str, position: int, group: bytes) -> bool:
        """Return whether an experiment need not run, as the folder has it.

        In another group than it had it runs again, if it depends on it, so that it shares what this
        group shares.
        """
        if self._finished is None:
            return False
        place = self._finished.place(experiment_id)
        if place is None:
            return False
        self._finished.seen[place] = True
        if not self._finished.has(place, content, group):
            return False
        if self._finished.positions[place] != position:
            self._moved[experiment_id] = position
        return True

    def end(self, n_made: int) -> None:
        """Move experiments of the folder that left the domain behind its last experiment.

        Parameters
        ----------
        n_made : int
            How many experiments the domain has.
        """
        if self._finished is not None:
            unseen = (~self._finished.seen).nonzero()[0]
            ids = self._finished.ids[unseen].tolist()
            positions = self._finished.positions[unseen].tolist()
            for experiment_id, position in zip(ids, positions, strict=True):
                self._moved[experiment_id.decode()] = n_made + position

    def append(self, ended: Ended) -> None:
        """Write an experiment that ended in this process, within a second or so."""
        if self._writer is None:
            self._writer = self.target().writer(folder=self.folder)
        self._writer.append(ended)

    def flush(self) -> None:
        """Write the experiments that wait to be written."""
        if self._writer is not None:
            self._writer.flush()

    @property
    def n_unwritable(self) -> int:
        """How many experiments failed since their values could not be written."""
        return 0 if self._writer is None else self._writer.n_unwritable

    def store(self, variables: tuple[str, ...]) -> FolderStore:
        """Return what reads the folder during the run, and after it."""
        return FolderStore(
            self.files,
            variables,
            allow_pickle=self.before is None,  # what others may have put there is not unpickled
            true_values=self.true_values,
            flush=self.flush,
        )

    def so_far(self, store: FolderStore, n_done: int) -> FolderStore:
        """Return the experiments of the folder that have had their turn in this run.

        They ran in it, or were finished before.
        """
        run = self.target().run
        return store.reopened(
            chooses=lambda shot: come_to(shot, run, self._finished, self._moved, n_done)
        )

    def tidy(self, batch: str = "") -> None:
        """Merge small parts while the run goes on, if there are many.

        Parameters
        ----------
        batch : str
            The name of a batch that has ended, whose parts workers have written.
        """
        if self._tidier is None:
            self._tidier = Tidier(self.files, self._check_ours)
        if batch:
            self._tidier.ended(batch)
        self._tidier.look(0 if self._writer is None else self._writer.n_parts)

    def _check_ours(self) -> None:
        """Refuse to change a folder that another run took, as while this machine slept."""
        self._lock.check()
        check_current(self.target())

    def close(
        self,
        state: str,
        profile: Sequence[ProfileRow],
        *,
        n_experiments: int,
        n_failed: int,
        n_skipped: int,
    ) -> None:
        """Write the last experiments, tidy up and let go of the folder.

        Parameters
        ----------
        state : str
            How the run has ended; only one that did as it was asked tidies up.
        profile : sequence of ProfileRow
            What units cost, if that was measured.
        n_experiments, n_failed, n_skipped : int
            How many experiments ran, failed, and were there already.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        try:
            self._check_ours()
            if self._writer is not None:
                self._writer.close()
            if self._tidier is not None:
                self._tidier.close()
            if profile:
                self._attach_profile(profile)
            if state in (FINISHED, STOPPED):
                compacted = compact(self.files, self._moved)
                if state == FINISHED:  # else workers may be writing what is ended by force
                    sweep(self.files, compacted)
            counts = {"n_experiments": n_experiments, "n_failed": n_failed, "n_skipped": n_skipped}
            self._description["runs"][-1] |= {"ended": _now(), "state": state, **counts}
            self._describe()
            self._log(
                f"the run has {state}: {n_experiments} experiments ran, {n_failed} of them failed, "
                f"{n_skipped} were there already"
            )
        finally:
            with contextlib.suppress(Exception):  # nothing is merged behind the lock
                if self._tidier is not None:
                    self._tidier.close()
            self._lock.release()

    def abandon(self) -> None:
        """Let go of the folder before anything was written."""
        self._lock.release()
        if self.before is None:
            remove_empty(self.files)

    def _attach_profile(self, rows: Sequence[ProfileRow]) -> None:
        """Write what units cost."""
        import pyarrow as pa

        table = pa.Table.from_pylist([row._asdict() for row in rows])
        self.files.write(PROFILE, parquet_bytes(table.schema, [table]))

    def attach(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write facts on the environment."""
        self.files.write(f"{ENV}/{name}", json.dumps(facts, indent=1).encode())

    def withdraw(self) -> None:
        """Remove what was written of a research that cannot run, and only that."""
        if self.before is None:
            self.files.remove_tree(ENV)
            for name in (PLAN, LOG, DESCRIPTION):
                self.files.remove(name)

    def _describe(self) -> None:
        # a line for each fact: with indent= it would be Python that writes, ten times slower
        facts = [
            f"{json.dumps(name)}: {json.dumps(fact, default=str)}"
            for name, fact in self._description.items()
        ]
        self.files.write(DESCRIPTION, ("{\n" + ",\n".join(facts) + "\n}\n").encode())

    def _log(self, text: str) -> None:
        logger.info(text)
        self.files.append(LOG, f"{_now()} {text}\n".encode())


def _short_hash(definition: Mapping[str, str]) -> str:
    return hashlib.blake2b(
        json.dumps(definition, sort_keys=True).encode(), digest_size=8
    ).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
