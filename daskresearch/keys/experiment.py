"""One experiment that is to run: its config, its id, and the keys that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    pass


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


class Label(NamedTuple):
    """What is written of an experiment, and not needed to run it.

    Attributes
    ----------
    texts : tuple of str
        Those of the values of its config.
    content : str
        A hash of these values.
    """

    texts: tuple[str, ...]
    content: str


class Experiment(NamedTuple):
    """One config that is to run.

    Attributes
    ----------
    position : int
        Its place in the order of the domain.
    id : str
    key, group_key : bytes
        What its random streams, and those of its group's roots, follow.
    values : dict
        The config.
    repetition, updates : int
    roots : Mapping of str to RootKey, optional
        For each root, if there are any, the call whose output it shares.
    label : Label, optional
        There if the worker is to write what comes of it.
    """

    position: int
    id: str
    key: bytes
    group_key: bytes
    values: dict[str, Any]
    repetition: int = 0
    updates: int = 0
    roots: Mapping[str, RootKey] | None = None
    label: Label | None = None

    def full(self) -> dict[str, Any]:
        """Return the config with repetition and updates."""
        return {**self.values, "repetition": self.repetition, "updates": self.updates}

    def root_key(self, name: str) -> RootKey:
        """Return which call of a root the experiment shares."""
        if self.roots is None:
            raise LookupError(f"experiment {self.id} shares no root {name!r}")
        return self.roots[name]
