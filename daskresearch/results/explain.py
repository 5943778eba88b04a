"""Why a result is what it is: the parts of keys as tables, and the parts in which two keys differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from daskresearch.store import Described, Part, UnitKey

if TYPE_CHECKING:
    import pandas as pd

Explainer = Callable[[str, Described, bytes], list[UnitKey]]


def explanation(keys: Sequence[UnitKey]) -> pd.DataFrame:
    """Return one row for each part of each unit's key.

    Examples
    --------
    >>> explanation([UnitKey("load", "load-1f", (Part("argument", "path", "'a'", b"1"),))])
       unit      key      part  name value
    0  load  load-1f  argument  path   'a'
    """
    import pandas as pd

    rows = [
        (one.unit, one.key, part.kind, part.name, part.text)
        for one in keys
        for part in one.parts or (Part("none", "", "", b""),)
    ]
    return pd.DataFrame(rows, columns=["unit", "key", "part", "name", "value"])


def difference(keys: Sequence[UnitKey], others: Sequence[UnitKey]) -> pd.DataFrame:
    """Return the parts in which the keys of two experiments differ, by unit.

    A part that has the same text in both, such as a function that stands at the same line, differs by its content.
    """
    import pandas as pd

    here, there = _parts(keys), _parts(others)
    rows = []
    units = list(dict.fromkeys([one.unit for one in (*keys, *others)]))
    for place in sorted(dict.fromkeys([*here, *there]), key=lambda place: units.index(place[0])):
        one, other = here.get(place), there.get(place)
        if one is None or other is None or one.digest != other.digest:
            rows.append((*place[:3], one and one.text, other and other.text))
    return pd.DataFrame(rows, columns=["unit", "part", "name", "value", "there"])


def _parts(keys: Sequence[UnitKey]) -> dict[tuple[str, str, str, int], Part]:
    """Return the parts by unit, kind, name and, where several have these in common, number."""
    parts: dict[tuple[str, str, str, int], Part] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for one in keys:
        for part in one.parts:
            place = (one.unit, part.kind, part.name)
            counts[place] = counts.get(place, 0) + 1
            parts[(*place, counts[place])] = part
    return parts
