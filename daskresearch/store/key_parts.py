"""The key of a unit with its parts, as plain data that can be stored and compared."""

from __future__ import annotations

from typing import NamedTuple

from daskresearch.content.parts import KeyPart


class UnitKey(NamedTuple):
    """The key of a unit in an experiment, with the parts that it is made of.

    Attributes
    ----------
    unit : str
    key : str
        ``unit-<hash>``, or why there is none.
    parts : tuple of KeyPart
    """

    unit: str
    key: str
    parts: tuple[KeyPart, ...]
