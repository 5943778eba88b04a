"""One combination of parameters, as values and as texts.

An *entry* is one parameter of a config: its name, value, text and the value's index among its
option's. A *config* is a tuple of entries with its place in the repetitions and updates of a
domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from daskresearch.domain.alias import Alias

AUXILIARY = ("repetition", "updates")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One parameter of a config."""

    name: str
    value: Any
    alias: str
    index: str = ""

    @classmethod
    def of(cls, name: str, value: Any, index: str = "") -> Entry:
        """Return the entry of a value, which may be an `Alias`."""
        aliased = value if type(value) is Alias else Alias(value)
        return cls(name, aliased.value, aliased.alias, index)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Config:
    """One combination of parameters, as a domain yields it.

    Equal when the texts, the repetition and the updates are equal.

    Examples
    --------
    >>> from daskresearch import Alias, Domain
    >>> config = next(iter(Domain(layer=[Alias([16, 32], "small")])))
    >>> config.config()
    {'layer': [16, 32], 'repetition': 0, 'updates': 0}
    >>> config.alias()
    {'layer': 'small', 'repetition': '0', 'updates': '0'}
    """

    entries: tuple[Entry, ...]
    repetition: int = 0
    updates: int = 0
    occurrence: int = 0
    additional: bool = True
    prefix: str = ""

    def config(self) -> dict[str, Any]:
        """Return the true values by parameter, with `repetition` and `updates`."""
        return self.values() | (self.auxiliary() if self.additional else {})

    def alias(self) -> dict[str, str]:
        """Return the texts by parameter, with those of `repetition` and `updates`."""
        auxiliary = self.auxiliary() if self.additional else {}
        return self.texts() | {name: str(value) for name, value in auxiliary.items()}

    def values(self) -> dict[str, Any]:
        """Return the true values of the parameters alone."""
        return {entry.name: entry.value for entry in self.entries}

    def texts(self) -> dict[str, str]:
        """Return the texts of the parameters alone."""
        return {entry.name: entry.alias for entry in self.entries}

    def auxiliary(self) -> dict[str, int]:
        """Return the repetition and the number of domain updates before this config."""
        return {"repetition": self.repetition, "updates": self.updates}

    def extended(self, entries: tuple[Entry, ...]) -> Config:
        """Return this config with more entries behind its own."""
        return Config(
            self.entries + entries,
            self.repetition,
            self.updates,
            self.occurrence,
            self.additional,
            self.prefix,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.alias() == other.alias()

    def __hash__(self) -> int:
        return hash(frozenset(self.alias().items()))

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={text}' for name, text in self.alias().items())})"
