"""Values with a short text that stands for them in ids, tables and file names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, slots=True, init=False, eq=False)
class Alias:
    """A value of a parameter together with the short text that stands for it.

    Parameters
    ----------
    value : object
        The value that units receive.
    alias : str, optional
        Its text. Default: the value's ``__name__``, else ``str(value)``.

    Examples
    --------
    >>> Alias([1, 2, 3], "short").alias
    'short'
    >>> Alias(len).alias, Alias(0.5).alias
    ('len', '0.5')
    """

    value: Any
    alias: str

    def __init__(self, value: Any, alias: object = None) -> None:
        if isinstance(value, Alias):
            alias = value.alias if alias is None else alias
            value = value.value
        if alias is None:
            alias = getattr(value, "__name__", None)
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "alias", str(value) if alias is None else str(alias))
