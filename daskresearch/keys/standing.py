"""Standing parts: what the key of a unit is made of in all experiments."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from daskresearch.content.digests import encoded
from daskresearch.content.fingerprint import Fingerprints, combined, short_text
from daskresearch.content.parts import KeyPart
from daskresearch.errors import HashError
from daskresearch.plan import Expression, Kind, Unit, name_of

SIZE = 16


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


def standing_of(unit: Unit, fingerprints: Fingerprints) -> Standing:
    """Return the standing parts of a unit.

    Raises
    ------
    HashError
        If its code or an argument has no content; names the argument.
    """
    names: dict[str, int] = {}
    if unit.method_of is not None:
        names[unit.method_of] = 0
    parts = [
        KeyPart(
            "kind",
            unit.kind.value,
            unit.method,
            digest_of(unit.kind.value.encode(), encoded(unit.method)),
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
        digest = digest_of(encoded(repr(owner)), encoded(unit.version))
        yield KeyPart("version", unit.name, unit.version, digest)
    elif unit.kind is Kind.INPUT:
        yield KeyPart(
            "input", unit.name, "a Dask collection", digest_of(encoded(repr(unit.function)))
        )
    elif unit.function is not None:
        yield KeyPart(
            "python",
            "version",
            "{}.{}".format(*sys.version_info),
            digest_of(repr(sys.version_info[:2]).encode()),
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


def digest_of(*pieces: bytes) -> bytes:
    """Return the digest of pieces in this order, of 16 bytes."""
    framed = b"".join([b"%d:%b" % (len(piece), piece) for piece in pieces])
    return hashlib.blake2b(framed, digest_size=SIZE).digest()
