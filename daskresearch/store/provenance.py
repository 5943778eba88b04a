"""What keys are made of: the parts of a unit's code and inputs, as plain data that can be stored and compared."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """One thing that a key is made of.

    Attributes
    ----------
    kind : str
        ``code``, ``class``, ``module``, ``default``, ``closure``, ``global``, ``attribute`` or ``function`` of code,
        ``version`` in its place; ``argument``, ``config``, ``upstream`` and ``stream`` of inputs.
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


class UnitKey(NamedTuple):
    """The key of one unit in one experiment, and what it is made of.

    Attributes
    ----------
    unit : str
    key : str
        ``unit-<hash>``, or why there is none.
    parts : tuple of Part
    """

    unit: str
    key: str
    parts: tuple[Part, ...]
