"""What stands for a value that is known later; its description is its content."""

from __future__ import annotations


class Symbol:
    """Stands for a value that is known when a unit runs.

    Its content is its type and what its slots hold.
    """

    __slots__ = ()

    @property
    def _asks_for(self) -> str | None:
        """The name of the unit whose output or instance is asked for, if one is."""
        return None
