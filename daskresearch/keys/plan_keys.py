"""Keys: what a unit computes in an experiment, as a name and a hash of everything that could change it.

The key of a unit is made of its *standing* parts, which are the same in all experiments (its code, arguments and what
its code uses), and of its inputs in one experiment: the config values that it reads, the keys of the units whose
outputs it takes, and the random stream that it draws from. Experiments share a call of a root unit if its key is the
same for them.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, final

from daskresearch.content.fingerprint import PLAIN, Fingerprints, combined, short_text
from daskresearch.content.parts import KeyPart
from daskresearch.domain import AUXILIARY
from daskresearch.domain.experiment import Experiment, RootKey
from daskresearch.errors import HashError
from daskresearch.plan import WHOLE_CONFIG, Expression, Kind, Plan, Root, Unit, name_of
from daskresearch.store import UnitKey

_SIZE = 16
_REMEMBERED = 10_000
_ABSENT = object()

Reads = tuple[str, ...]


class Standing(NamedTuple):
    """What the key of a unit is made of in all experiments.

    Attributes
    ----------
    parts : tuple of KeyPart
    digest : bytes
    upstream : tuple of str
        The units whose outputs it takes, in the order in which its arguments name them.
    """

    parts: tuple[KeyPart, ...]
    digest: bytes
    upstream: tuple[str, ...]


@final
class PlanKeys:
    """The keys of a plan's units and experiments; what was hashed once is not hashed again.

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
    >>> one, other = [Experiment(0, "id", b"", b"", {"path": path}) for path in ("a", "b")]
    >>> keys.roots(one)["load"] == keys.roots(one)["load"], keys.roots(one)["load"] == keys.roots(other)["load"]
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
                self._standing[unit.name] = _standing_of(unit, self._fingerprints)
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
        self._sets: dict[str, dict[str, RootKey]] = {}
        self._begun: dict[tuple[int, bytes], Any] = {}
        self._known: dict[tuple[str, str], RootKey] = {}
        self._known_of_group: dict[tuple[str, str], RootKey] = {}
        self._group_key = b""
        self._named: dict[bytes, str] = {}
        self._contents: dict[tuple[str, int], tuple[str, Any]] = {}

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
                *[firsts.get(one, one) for one in standing.upstream],
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
                _encoded(repr((unit.name, when, recorded, standing.upstream))),
                standing.digest,
            ]
        return _digest(*pieces)

    @property
    def definition(self) -> dict[str, str]:
        """The hash of each unit: what it does, when, and what it records; empty where it has no content."""
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
            definition[unit.name] = _digest(_encoded(facts), standing.digest).hex()[:16]
        return definition

    def check_values(self, name: str, values: Any) -> None:
        """Refuse values of a parameter that a root reads, if there is one that cannot be hashed.

        Raises
        ------
        HashError
            Names the parameter and the root.
        """
        readers = [
            root
            for root, one in self._roots.items()
            if name in one.reads or WHOLE_CONFIG in one.reads
        ]
        if not readers or isinstance(values, range) or PLAIN.issuperset(map(type, values)):
            return
        for value in values:
            self._value_content(name, value, readers[0])

    def roots(self, experiment: Experiment) -> dict[str, RootKey]:
        """Return which call of each root an experiment shares, by content."""
        if not self._order:
            return {}
        if experiment.group_key != self._group_key:
            self._group_key = experiment.group_key
            self._known_of_group.clear()
            self._sets.clear()
            self._begun.clear()
        full = experiment.full() if self._reads_auxiliary else experiment.values
        content = self.content(full, self._all_reads, self._order[0])
        keys = self._sets.get(content)
        if keys is None:
            if len(self._sets) > _REMEMBERED:
                self._sets.clear()
                self._begun.clear()
            keys = self._sets[content] = self._keys_of_roots(experiment, experiment.full())
        return keys

    def _keys_of_roots(self, experiment: Experiment, full: Mapping[str, Any]) -> dict[str, RootKey]:
        keys: dict[str, RootKey] = {}
        for name in self._order:
            root = self._roots[name]
            is_of_group = root.is_of_group or not root.is_steady
            known = self._known_of_group if is_of_group else self._known
            content = self.content(full, root.reads, name)
            key = known.get((name, content))
            if key is None:
                key = known[name, content] = self._root_key(
                    root, full, content, keys, experiment.group_key
                )
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
            pieces.append(_encoded(self.content(full, self._reads[name], name)))
            pieces += [keys[one].key.rpartition("-")[2].encode() for one in standing.upstream]
            pieces.append(self._copied(name))
            if root.unit.reads_experiment("random"):
                pieces += [group_key, _encoded(name)]
        else:  # it goes through the iterations with its group, so that all it could ever read counts
            pieces += [_encoded(content), group_key]
        digest = _digest(*pieces)
        key = self._named.setdefault(digest, f"{name}-{digest.hex()}")
        return RootKey(key, group_key if root.is_of_group or not root.is_steady else b"")

    def standing(self, name: str) -> Standing:
        """Return what the key of a unit is made of in all experiments."""
        return self._standing[name]

    def code(self, name: str) -> str:
        """Return the hash of what a root unit does, apart from its inputs."""
        own = _encoded(name) if self._roots[name].unit.reads_experiment("random") else b""
        return _digest(self._standing[name].digest, own, self._copied(name)).hex()

    def _copied(self, name: str) -> bytes:
        """Return which inputs a root gets a copy of."""
        return bytes([self._roots[one].unit.copies for one in self._standing[name].upstream])

    def value(self, name: str, value: Any) -> str:
        """Return the hash of a value of a parameter."""
        return _digest(_encoded(self.content_of(name, value))).hex()

    def first_of(self, name: str) -> str:
        """Return the name of the first steady root that always has the same key as this one: itself, if none before."""
        return self._firsts[name]

    def experiment(self, experiment: Experiment, context: bytes) -> str:
        """Return the hash of all that an experiment computes.

        Parameters
        ----------
        experiment : Experiment
        context : bytes
            What stands for the plan and the options that change results.
        """
        values = experiment.values
        if PLAIN.issuperset(map(type, values.values())):
            content: Any = sorted(values.items())
        else:
            content = self.content(values, tuple(sorted(values)), "")
        # experiments that share all roots share the beginning of the hash
        begun = self._begun.get((id(experiment.roots), context))
        if begun is None:
            begun = hashlib.blake2b(
                _encoded(_text_of(experiment.roots)), digest_size=_SIZE, key=context
            )
            self._begun[id(experiment.roots), context] = begun
        digest = begun.copy()
        digest.update(_encoded(_repr((experiment.id, experiment.key, content))))
        return digest.hexdigest()

    def group(self, experiments: Iterable[Experiment], context: bytes) -> str:
        """Return the hash of all that experiments in lock-step compute; see `experiment`."""
        hashes = [self.experiment(member, context).encode() for member in experiments]
        return _digest(context, *hashes).hex()

    def within(self, context: bytes) -> bytes:
        """Return what stands for the plan and the options that change results."""
        return _digest(self.digest, context)

    def units(self, experiment: Experiment) -> Iterator[UnitKey]:
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
        self, unit: Unit, experiment: Experiment, full: Mapping[str, Any], keys: Mapping[str, str]
    ) -> Iterator[KeyPart]:
        for name in _names_in(full, self._reads[unit.name]):
            value = full.get(name)
            digest = _digest(_encoded(self.content(full, (name,), unit.name)))
            yield KeyPart(
                "config", name, short_text(value) if name in full else "not in this config", digest
            )
        for name in self._standing[unit.name].upstream:
            # what stands later in the plan gives its output of the iteration before
            key = keys.get(name, f"{name}, of the iteration before")
            yield KeyPart("upstream", name, key, _digest(_encoded(key.partition("-")[2] or key)))
        if unit.reads_experiment("random"):
            owner = experiment.group_key if unit.is_root else experiment.key
            yield KeyPart(
                "stream",
                "E().random",
                _owner_text(owner, unit),
                _digest(owner, _encoded(unit.name)),
            )

    def content(self, full: Mapping[str, Any], reads: Reads, reader: str) -> str:
        """Return a text that is the same for configs with the same content under these names, and for no others."""
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
        """Return the hash of the values of a config; those that have no content count by their text alone."""
        if PLAIN.issuperset(map(type, values.values())):
            return _digest(_encoded(_repr(sorted(values.items())))).hex()[:16]
        pieces = []
        for name, value in sorted(values.items()):
            known = self._contents.get((name, id(value)))
            if known is None:
                try:
                    content = self.content_of(name, value)
                except HashError:
                    content = "unknown"
                # the value is kept, so that no other gets its address
                known = self._contents[name, id(value)] = content, value
                if len(self._contents) > _REMEMBERED:
                    del self._contents[next(iter(self._contents))]
            pieces.append((name, known[0]))
        return _digest(_encoded(_repr(pieces))).hex()[:16]

    def content_of(self, name: str, value: Any) -> str:
        """Return a text that is the same for equal values of a parameter, and for no others."""
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


def _text_of(roots: Mapping[str, RootKey] | None) -> str:
    return repr([tuple(key) for key in (roots or {}).values()])


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
    return f"of group {number} in repetition {repetition} after {updates} updates, seed {owner[:6].hex()}"


def _names_in(full: Mapping[str, Any], reads: Reads) -> Reads:
    if WHOLE_CONFIG not in reads:
        return reads
    return tuple(sorted({*reads, *full} - {WHOLE_CONFIG} - ({*AUXILIARY} - {*reads})))


def _standing_of(unit: Unit, fingerprints: Fingerprints) -> Standing:
    names: dict[str, int] = {}
    if unit.method_of is not None:
        names[unit.method_of] = 0
    parts = [
        KeyPart(
            "kind",
            unit.kind.value,
            unit.method,
            _digest(unit.kind.value.encode(), _encoded(unit.method)),
        )
    ]
    parts += _code_parts(unit, fingerprints)
    for name, value in _arguments_of(unit):
        try:
            digest = fingerprints.value(value, names)
        except HashError as error:
            raise error.inside(f"argument {name!r}: ") from None
        parts.append(
            KeyPart(
                "argument",
                name,
                repr(value) if isinstance(value, Expression) else short_text(value),
                digest,
            )
        )
    return Standing(tuple(parts), combined(parts), tuple(names))


def _code_parts(unit: Unit, fingerprints: Fingerprints) -> Iterator[KeyPart]:
    if unit.version is not None:
        # it stands for the code of this function, not for that of any
        owner = (
            unit.name,
            getattr(unit.function, "__module__", ""),
            name_of(unit.function) if unit.function else "",
        )
        digest = _digest(_encoded(repr(owner)), _encoded(unit.version))
        yield KeyPart("version", unit.name, unit.version, digest)
    elif unit.kind is Kind.INPUT:
        yield KeyPart(
            "input", unit.name, "a Dask collection", _digest(_encoded(repr(unit.function)))
        )
    elif unit.function is not None:
        yield KeyPart(
            "python",
            "version",
            "{}.{}".format(*sys.version_info),
            _digest(repr(sys.version_info[:2]).encode()),
        )
        try:
            yield from fingerprints.function(unit.function)
        except HashError as error:
            raise error.advised(
                "; give the unit version='1' and count it up when its code changes"
            ) from None


def _arguments_of(unit: Unit) -> Iterator[tuple[str, Any]]:
    if isinstance(unit.args, Expression):
        yield "args", unit.args
    else:
        yield from [(str(i), value) for i, value in enumerate(unit.args)]
    yield from sorted(unit.kwargs.items())
    if unit.spread is not None:
        yield "kwargs", unit.spread


def _digest(*pieces: bytes) -> bytes:
    return hashlib.blake2b(
        b"".join([b"%d:%b" % (len(piece), piece) for piece in pieces]), digest_size=_SIZE
    ).digest()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
