"""Values with a short text that stands for them in ids, tables and file names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from daskresearch.errors import DomainTypeError


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
        object.__setattr__(self, "alias", _text_of(value) if alias is None else str(alias))


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:
        raise DomainTypeError(
            f"a value of type {type(value).__qualname__} has no text ({error}); wrap it in "
            "Alias(value, 'text')"
        ) from error
