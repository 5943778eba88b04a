"""Digests of values by their content, which are the same in every process.

Whatever could change a result changes them.

Content is what a value holds, not where it lies: code counts without its file, lines, comments and
docstrings, arrays with dtype, shape and memory order, objects with their class and state. What a
library defines counts by its name and the library's version. dask.tokenize is not used: it differs
between interpreters for users' classes, follows line numbers, does not see the edits of imported
functions, and takes an array and its transpose for one.

Terms: a *part* is one thing that a digest is made of, such as the code of one function. A *listing*
holds the parts that are reached from one start, in order of discovery. Functions, classes, modules
and globals get *labels*, by which parts refer to each other, so that recursion needs no care; so do
values that refer to each other, by *distance*.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, final

from daskresearch.content.arrays import Memory
from daskresearch.content.digests import PLAIN, combined, digest_of
from daskresearch.content.objects import short_text
from daskresearch.content.parts import KeyPart
from daskresearch.content.reached import Listing

__all__ = ["PLAIN", "Fingerprints", "combined", "short_text"]


@final
class Fingerprints:
    """The digests of a run's values, each large one computed once while it is alive.

    Examples
    --------
    >>> digests = [Fingerprints().value(value) for value in ([1, 2], [1, 2], [2, 1])]
    >>> digests[0] == digests[1], digests[0] == digests[2]
    (True, False)
    """

    def __init__(self) -> None:
        self._values = Memory()
        self._arrays = Memory()

    def value(self, value: Any, names: dict[str, int] | None = None) -> bytes:
        """Return the digest of a value, of 16 bytes.

        Parameters
        ----------
        value : object
        names : dict of str to int, optional
            Numbers the units that expressions in the value ask for; new ones are added. With it the
            digest does not depend on how these units are called.

        Raises
        ------
        HashError
            If something in it has no content that could be compared; says what and where.
        """
        kept = self._values.get(value) if names is None else None
        if kept is not None:
            return kept
        listing = Listing(self._arrays, names)
        digest = digest_of(listing.start(value), combined(listing.parts))
        if names is None and type(value) not in PLAIN:
            self._values.keep(value, digest, is_small=not listing.has_arrays)
        return digest

    def function(self, function: Callable[..., Any]) -> tuple[KeyPart, ...]:
        """Return the parts of a function: its code, and what it reads and calls.

        Raises
        ------
        HashError
            If a default, a global or a closure of it or of what it calls has no content that could
            be compared.
        """
        listing = Listing(self._arrays)
        content = listing.start(function)
        first, *rest = listing.parts or [KeyPart("function", short_text(function), "", b"")]
        if not isinstance(function, (types.FunctionType, type)) and listing.parts:
            first, rest = KeyPart("function", short_text(function), "", b""), listing.parts
        # of functions that call each other, the one that is called first matters
        return KeyPart(first.kind, first.name, first.text, digest_of(content, first.digest)), *rest
