"""What keys are made of, as plain data that can be stored and compared."""

from __future__ import annotations

from typing import NamedTuple


class KeyPart(NamedTuple):
    """One thing that a key is made of.

    Attributes
    ----------
    kind : str
        ``code``, ``class``, ``module``, ``default``, ``closure``, ``global``, ``attribute`` or
        ``function`` of code, ``version`` in its place; ``argument``, ``config``, ``upstream`` and
        ``stream`` of inputs.
    name : str
        Which one.
    text : str
        The value or place, for people.
    digest : bytes
        Equal for equal content.
    """

    kind: str
    name: str
    text: str
    digest: bytes
