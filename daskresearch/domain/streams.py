"""Random streams that follow content: equal seeds and contents give equal numbers."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator


def draw_seed() -> int:
    """Return fresh entropy for a run without a seed, as an integer below 2**63."""
    return secrets.randbits(63)


def entropy_of(seed: int) -> bytes:
    """Return the 16 bytes that stand for a seed in every digest.

    Examples
    --------
    >>> entropy_of(42) == entropy_of(42), entropy_of(42) == entropy_of(43)
    (True, False)
    """
    return hashlib.blake2b(str(seed).encode(), digest_size=16).digest()


def stream(key: bytes, name: str) -> Generator:
    """Return the numpy Generator that belongs to a key and a name.

    Parameters
    ----------
    key : bytes
        Who draws: an experiment, a group of experiments or a domain.
    name : str
        What for, such as the name of a unit.

    Examples
    --------
    >>> first, second = stream(b"experiment", "train"), stream(b"experiment", "train")
    >>> int(first.integers(100)) == int(second.integers(100))
    True
    """
    from numpy.random import PCG64, Generator, SeedSequence

    digest = hashlib.blake2b(
        name.encode("utf-8", "surrogatepass"), digest_size=16, key=_short(key)
    ).digest()
    return Generator(PCG64(SeedSequence(int.from_bytes(digest, "big"))))


def _short(key: bytes) -> bytes:
    return key if len(key) <= 64 else hashlib.blake2b(key, digest_size=64).digest()
