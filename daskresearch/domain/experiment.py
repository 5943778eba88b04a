"""One experiment: a config with its id and its keys.

Its random numbers and roots follow the keys.

It keeps this shape from the domain to its row: groups, workers and stores all take it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class RootKey(NamedTuple):
    """Which call of a root unit experiments share.

    Attributes
    ----------
    key : str
        ``name-<hash>`` of all that the call depends on.
    group : bytes
        The key of the group if the call belongs to one, else empty.
    """

    key: str
    group: bytes


class PlannedExperiment(NamedTuple):
    """One config that is to run, or has run.

    Attributes
    ----------
    position : int
        The place in the order of the domain.
    id : str
    key, group_key : bytes
        What the random streams of the experiment follow, and those of its group's roots.
    values : dict
        The config.
    repetition, updates : int
    roots : Mapping of str to RootKey, optional
        By root, the call whose output the experiment shares.
    texts : tuple of str
        The texts of the values, in their order.
    content : str
        A hash of the values; empty where nothing is written to a folder.
    """

    position: int
    id: str
    key: bytes
    group_key: bytes
    values: dict[str, Any]
    repetition: int = 0
    updates: int = 0
    roots: Mapping[str, RootKey] | None = None
    texts: tuple[str, ...] = ()
    content: str = ""

    def full(self) -> dict[str, Any]:
        """Return the config with repetition and updates."""
        return {**self.values, **self.auxiliary()}

    def auxiliary(self) -> dict[str, int]:
        """Return repetition and updates."""
        return {"repetition": self.repetition, "updates": self.updates}

    def text(self, name: str) -> str:
        """Return the text of the value of a parameter."""
        return self.texts[list(self.values).index(name)]

    def root_key(self, name: str) -> RootKey:
        """Return which call of a root the experiment shares."""
        if self.roots is None:
            raise LookupError(f"experiment {self.id} shares no root {name!r}")
        return self.roots[name]
