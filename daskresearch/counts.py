"""Positive whole numbers, as users give them: Python's or numpy's."""

from __future__ import annotations

import operator
from typing import Any


def as_count(name: str, value: Any, error: type[Exception]) -> int | None:
    """Return a positive integer as an int, None as None.

    Parameters
    ----------
    name : str
        What it counts, for the error.
    value : int, numpy integer or None
    error : type of Exception
        What is raised for anything else.

    Examples
    --------
    >>> as_count("n_iters", 3, ValueError)
    3
    >>> as_count("n_iters", 0, ValueError)
    Traceback (most recent call last):
    ValueError: n_iters must be a positive integer, not 0
    """
    if value is None:
        return None
    if is_integer(value) and value > 0:
        return operator.index(value)
    raise error(f"{name} must be a positive integer, not {value!r}")


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer of Python or numpy, and no bool."""
    return (
        hasattr(value, "__index__")
        and not isinstance(value, bool)
        and getattr(value, "ndim", 0) == 0
    )
