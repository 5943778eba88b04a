"""Keys: what a unit computes in an experiment, as a name and a hash.

The hash is of everything that could change the output.

The key of a unit is made of its *standing* parts, which are the same in all experiments (its code,
arguments and what its code uses), and of its inputs in one experiment: the config values that it
reads, the keys of the units whose outputs it takes, and the random stream that it draws from.
Experiments share a call of a root unit if its key is the same for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

from daskresearch.content.digests import encoded
from daskresearch.content.fingerprint import PLAIN, Fingerprints, combined, short_text
from daskresearch.content.parts import KeyPart
from daskresearch.domain import AUXILIARY
from daskresearch.domain.experiment import PlannedExperiment, RootKey
from daskresearch.errors import HashError
from daskresearch.keys.standing import SIZE, Standing, digest_of, standing_of
from daskresearch.plan import WHOLE_CONFIG, Plan, Root, Unit
from daskresearch.store import UnitKey

_REMEMBERED = 10_000
_ABSENT = object()

Reads = tuple[str, ...]


@final
class PlanKeys:
    """The keys of a plan's units and experiments; nothing is hashed twice.

    Parameters
    ----------
    plan : Plan
    roots : Mapping of str to Root

    Raises
    ------
    HashError
        If a root unit cannot be hashed; names the unit, the argument and the value at fault.

    Examples
    --------
    >>> from daskresearch import EC, Research
    >>> from daskresearch.plan import roots_of
    >>> plan = Research().add_callable("load", len, args=[EC("path")], root=True).plan
    >>> keys = PlanKeys(plan, roots_of(plan))
    >>> experiments = [PlannedExperiment(0, "id", b"", b"", {"path": path}) for path in "aab"]
    >>> first, second, third = [keys.roots(experiment)["load"] for experiment in experiments]
    >>> first == second, first == third
    (True, False)
    """

    def __init__(self, plan: Plan, roots: Mapping[str, Root]) -> None:
        self._plan = plan
        self._roots = roots
        self._fingerprints = Fingerprints()
        self._standing: dict[str, Standing] = {}
        self._errors: dict[str, HashError] = {}
        for unit in plan.units:
            try:
                self._standing[unit.name] = standing_of(unit, self._fingerprints)
            except HashError as error:
                if unit.is_root:
                    raise error.inside(f"root unit {unit.name!r} cannot be shared: ") from None
                self._errors[unit.name] = error.inside(f"unit {unit.name!r}: ")
        self._reads = {unit.name: tuple(sorted(unit.config_names)) for unit in plan.units}
        self._order = [name for name, root in roots.items() if root.is_steady]
        self._order += [name for name, root in roots.items() if not root.is_steady]
        self._firsts = self._first_names()
        self._all_reads = tuple(sorted({name for root in roots.values() for name in root.reads}))
        self._reads_auxiliary = not {*AUXILIARY}.isdisjoint(self._all_reads)
        self._keys: dict[tuple[str, str], RootKey] = {}  # of calls that no group owns
        self._keys_in_group: dict[str, dict[str, RootKey]] = {}
        self._group_key = b""
        self._begun: tuple[Mapping[str, RootKey] | None, bytes, Any] | None = None

    def _first_names(self) -> dict[str, str]:
        firsts: dict[str, str] = {}
        names: dict[tuple[Any, ...], str] = {}
        for name in self._order:
            root, standing = self._roots[name], self._standing[name]
            own = "" if root.is_steady and not root.unit.reads_experiment("random") else name
            alike = (
                own,
                standing.digest,
                self._copied(name),
                *[firsts.get(source, source) for source in standing.upstream],
            )
            firsts[name] = names.setdefault(alike, name)
        return firsts

    @property
    def digest(self) -> bytes:
        """The digest of the whole plan: its units, when they run and what they record.

        Raises
        ------
        HashError
            If a unit cannot be hashed.
        """
        for error in self._errors.values():
            raise error
        pieces = []
        for unit in self._plan.units:
            when = (unit.schedule.steps, sorted(unit.schedule.iterations), unit.schedule.last)
            recorded = (unit.saves, unit.saves_dict, unit.is_root, unit.copies)
            standing = self._standing[unit.name]
            pieces += [
                encoded(repr((unit.name, when, recorded, standing.upstream))),
                standing.digest,
            ]
        return digest_of(*pieces)

    @property
    def definition(self) -> dict[str, str]:
        """The hash of each unit: what it does, when, and what it records.

        It is empty where the unit has no content.
        """
        definition = {}
        for unit in self._plan.units:
            standing = self._standing.get(unit.name)
            if standing is None:
                definition[unit.name] = ""
                continue
            when = (unit.schedule.steps, sorted(unit.schedule.iterations), unit.schedule.last)
            facts = repr(
                (when, unit.saves, unit.saves_dict, unit.is_root, unit.copies, standing.upstream)
            )
            definition[unit.name] = digest_of(encoded(facts), standing.digest).hex()[:16]
        return definition

    def check_values(self, name: str, values: Any) -> None:
        """Refuse a parameter that a root reads, if one of its values cannot be hashed.

        Raises
        ------
        HashError
            Names the parameter and the root.
        """
        readers = [
            reader
            for reader, root in self._roots.items()
            if name in root.reads or WHOLE_CONFIG in root.reads
        ]
        if not readers or isinstance(values, range) or PLAIN.issuperset(map(type, values)):
            return
        for value in values:
            self._value_content(name, value, readers[0])

    def roots(self, experiment: PlannedExperiment) -> dict[str, RootKey]:
        """Return which call of each root an experiment shares, by content."""
        if not self._order:
            return {}
        if experiment.group_key != self._group_key or len(self._keys_in_group) > _REMEMBERED:
            self._group_key = experiment.group_key
            self._keys_in_group.clear()
        full = experiment.full() if self._reads_auxiliary else experiment.values
        content = self.content(full, self._all_reads, self._order[0])
        keys = self._keys_in_group.get(content)
        if keys is None:
            keys = self._keys_in_group[content] = self._keys_of_roots(experiment)
        return keys

    def _keys_of_roots(self, experiment: PlannedExperiment) -> dict[str, RootKey]:
        full = experiment.full()
        keys: dict[str, RootKey] = {}
        for name in self._order:
            root = self._roots[name]
            content = self.content(full, root.reads, name)
            key = self._keys.get((name, content))
            if key is None:
                key = self._root_key(root, full, content, keys, experiment.group_key)
                if not key.group:
                    self._keys[name, content] = key
            keys[name] = key
        return keys

    def _root_key(
        self,
        root: Root,
        full: Mapping[str, Any],
        content: str,
        keys: Mapping[str, RootKey],
        group_key: bytes,
    ) -> RootKey:
        name = root.unit.name
        standing = self._standing[name]
        pieces = [standing.digest]
        if root.is_steady:
            pieces.append(encoded(self.content(full, self._reads[name], name)))
            sources = [keys[source].key for source in standing.upstream]
            pieces += [source.rpartition("-")[2].encode() for source in sources]
            pieces.append(self._copied(name))
            if root.unit.reads_experiment("random"):
                pieces += [group_key, encoded(name)]
        else:
            # it goes through the iterations with its group, so that all it could ever read counts
            pieces += [encoded(content), group_key]
        key = f"{self._firsts[name]}-{digest_of(*pieces).hex()}"
        return RootKey(key, group_key if root.is_of_group or not root.is_steady else b"")

    def standing(self, name: str) -> Standing:
        """Return what the key of a unit is made of in all experiments."""
        return self._standing[name]

    def code(self, name: str) -> str:
        """Return the hash of what a root unit does, apart from its inputs."""
        own = encoded(name) if self._roots[name].unit.reads_experiment("random") else b""
        return digest_of(self._standing[name].digest, own, self._copied(name)).hex()

    def _copied(self, name: str) -> bytes:
        """Return which inputs a root gets a copy of."""
        return bytes([self._roots[source].unit.copies for source in self._standing[name].upstream])

    def value(self, name: str, value: Any) -> str:
        """Return the hash of a value of a parameter."""
        return digest_of(encoded(self.content_of(name, value))).hex()

    def first_of(self, name: str) -> str:
        """Return the name of the first steady root that always has the key of this one."""
        return self._firsts[name]

    def experiment(self, experiment: PlannedExperiment, context: bytes) -> str:
        """Return the hash of all that an experiment computes.

        Parameters
        ----------
        experiment : PlannedExperiment
        context : bytes
            What stands for the plan and the options that change results.
        """
        values = experiment.values
        if PLAIN.issuperset(map(type, values.values())):
            content: Any = sorted(values.items())
        else:
            content = self.content(values, tuple(sorted(values)), "")
        # experiments that share all roots share the beginning of the hash, and mostly come in turn
        if (
            self._begun is None
            or self._begun[0] is not experiment.roots
            or self._begun[1] != context
        ):
            text = repr([tuple(key) for key in (experiment.roots or {}).values()])
            begun = hashlib.blake2b(encoded(text), digest_size=SIZE, key=context)
            self._begun = experiment.roots, context, begun
        digest = self._begun[2].copy()
        digest.update(encoded(_repr((experiment.id, experiment.key, content))))
        hexdigest: str = digest.hexdigest()
        return hexdigest

    def group(self, experiments: Iterable[PlannedExperiment], context: bytes) -> str:
        """Return the hash of all that experiments in lock-step compute; see `experiment`."""
        hashes = [self.experiment(member, context).encode() for member in experiments]
        return digest_of(context, *hashes).hex()

    def within(self, context: bytes) -> bytes:
        """Return what stands for the plan and the options that change results."""
        return digest_of(self.digest, context)

    def units(self, experiment: PlannedExperiment) -> Iterator[UnitKey]:
        """Yield the key of each unit in an experiment, with all that it is made of."""
        keys: dict[str, str] = {}
        roots = self.roots(experiment)
        full = experiment.full()
        for unit in self._plan.units:
            error = self._errors.get(unit.name)
            if error is not None:
                keys[unit.name] = f"none: {error}"
                yield UnitKey(unit.name, keys[unit.name], ())
                continue
            parts = (
                *self._standing[unit.name].parts,
                *self._input_parts(unit, experiment, full, {**keys}),
            )
            root = roots.get(unit.name)
            key = f"{unit.name}-{combined(parts).hex()}" if root is None else root.key
            keys[unit.name] = key
            yield UnitKey(unit.name, key, parts)

    def _input_parts(
        self,
        unit: Unit,
        experiment: PlannedExperiment,
        full: Mapping[str, Any],
        keys: Mapping[str, str],
    ) -> Iterator[KeyPart]:
        for name in _names_in(full, self._reads[unit.name]):
            value = full.get(name)
            digest = digest_of(encoded(self.content(full, (name,), unit.name)))
            yield KeyPart(
                "config", name, short_text(value) if name in full else "not in this config", digest
            )
        for name in self._standing[unit.name].upstream:
            # what stands later in the plan gives its output of the iteration before
            key = keys.get(name, f"{name}, of the iteration before")
            yield KeyPart("upstream", name, key, digest_of(encoded(key.partition("-")[2] or key)))
        if unit.reads_experiment("random"):
            owner = experiment.group_key if unit.is_root else experiment.key
            yield KeyPart(
                "stream",
                "E().random",
                _owner_text(owner, unit),
                digest_of(owner, encoded(unit.name)),
            )

    def content(self, full: Mapping[str, Any], reads: Reads, reader: str) -> str:
        """Return a text that only configs with the same content under these names have."""
        plain = [full.get(name, _ABSENT) for name in reads]
        if PLAIN.issuperset(map(type, plain)):
            return _repr(plain)  # the names go without saying: they are those of the reader
        names = _names_in(full, reads)
        return _repr(
            [
                (name, self._value_content(name, full[name], reader)) if name in full else (name,)
                for name in names
            ]
        )

    def values(self, values: Mapping[str, Any]) -> str:
        """Return the hash of the values of a config; those without content count as alike."""
        if PLAIN.issuperset(map(type, values.values())):
            return digest_of(encoded(_repr(sorted(values.items())))).hex()[:16]
        pieces = []
        for name, value in sorted(values.items()):
            try:
                pieces.append((name, self.content_of(name, value)))
            except HashError:
                pieces.append((name, "unknown"))
        return digest_of(encoded(_repr(pieces))).hex()[:16]

    def content_of(self, name: str, value: Any) -> str:
        """Return a text that only equal values of a parameter have."""
        return _repr(self._value_content(name, value, ""))

    def _value_content(self, name: str, value: Any, reader: str) -> Any:
        if type(value) in PLAIN:
            return value
        try:
            return (self._fingerprints.value(value),)
        except HashError as error:
            who = (
                f"unit {reader!r} reads parameter {name!r}: " if reader else f"parameter {name!r}: "
            )
            raise error.inside(who) from None


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of more digits than Python writes
        if isinstance(value, (list, tuple)):
            return f"({', '.join(map(_repr, value))},)"
        return hex(value) if type(value) is int else repr(value)


def _owner_text(owner: bytes, unit: Unit) -> str:
    """Return whose random stream a unit draws from."""
    if not unit.is_root:
        return f"of the experiment, {owner[:6].hex()}"
    # behind the entropy of the seed the key of a group has its numbers
    repetition, number, updates = owner[16:].decode().strip("-").split("-")
    where = f"of group {number} in repetition {repetition} after {updates} updates"
    return f"{where}, seed {owner[:6].hex()}"


def _names_in(full: Mapping[str, Any], reads: Reads) -> Reads:
    if WHOLE_CONFIG not in reads:
        return reads
    return tuple(sorted({*reads, *full} - {WHOLE_CONFIG} - ({*AUXILIARY} - {*reads})))
