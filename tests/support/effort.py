"""How much work something is, counted in calls, as seconds depend on the machine."""

from __future__ import annotations

import cProfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def few_calls(most: int) -> Iterator[None]:
    """Fail if the body makes more calls of functions than this, or resumes generators as often."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
    n_calls = sum(entry.callcount for entry in profile.getstats())
    assert n_calls <= most, f"{n_calls:,} calls"
