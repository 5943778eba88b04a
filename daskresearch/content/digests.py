"""Digests of bytes, texts and parts, of 16 bytes each."""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterable
from typing import Any

from daskresearch.content.parts import KeyPart

PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""Types whose repr is their content."""


def framed(*pieces: bytes) -> bytes:
    """Return pieces as bytes from which they could be told apart again."""
    return marshal.dumps(
        pieces, 2
    )  # an old version of its format, which only ever wrote lengths and bytes


def digest_of(*pieces: bytes) -> bytes:
    """Return the digest of pieces in this order, of 16 bytes."""
    return hashlib.blake2b(marshal.dumps(pieces, 2), digest_size=16).digest()


def combined(parts: Iterable[KeyPart]) -> bytes:
    """Return the digest of parts together, whatever their order and their texts."""
    return digest_of(
        *sorted([framed(part.kind.encode(), encoded(part.name), part.digest) for part in parts])
    )


def encoded(text: str) -> bytes:
    """Return a text as bytes, with whatever can be in a text."""
    return text.encode("utf-8", "surrogatepass")


def plain_content(value: Any) -> bytes:
    """Return the content of a value of one of the plain types."""
    try:
        text = repr(value)
    except ValueError:  # repr refuses the longest integers
        text = hex(value)
    return framed(b"p", encoded(text))
