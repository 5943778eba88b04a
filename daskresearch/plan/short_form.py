"""The functions that the short form names, as in ``research.train(...)``."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

from daskresearch.errors import near_miss


def find_function(
    name: str, frame: FrameType, namespaces: tuple[Any, ...], words: Sequence[str]
) -> Callable[..., Any]:
    """Return the function of the short form.

    It is looked up in the caller's scope, ``__main__``, builtins and the namespaces.
    """
    main = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    places: list[Mapping[str, Any]] = [frame.f_locals, frame.f_globals, main, vars(builtins)]
    places += [space if isinstance(space, Mapping) else vars(space) for space in namespaces]
    for place in places:
        if callable(place.get(name)):
            function: Callable[..., Any] = place[name]
            return function
    names = [key for place in places for key, value in place.items() if callable(value)]
    raise AttributeError(
        f"no function {name!r} in the caller's scope, __main__, builtins or {len(namespaces)} "
        "added namespaces"
        f"{near_miss(name, [*(word for word in words if not word.startswith('_')), *names])}"
    )
