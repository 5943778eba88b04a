"""Random columns of all that a user may record, and when two of them are the same."""

from __future__ import annotations

import dataclasses
import datetime as dt
import zoneinfo
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daskresearch.store.record import MISSING

TEXTS = st.text(st.characters(), max_size=4) | st.sampled_from(
    ["", "\ud800", "nan", "1", "a\0", "=", "é"]
)
INTS = (
    st.integers(-3, 3)
    | st.integers(-(2**65), 2**65)
    | st.sampled_from(
        [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63), 10**400, -(10**400)]
    )
)
FLOATS = st.floats() | st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 1.0])
ZONES = st.sampled_from(
    [
        dt.UTC,
        zoneinfo.ZoneInfo("UTC"),
        zoneinfo.ZoneInfo("Europe/Berlin"),
        dt.timezone(dt.timedelta(minutes=-90)),
        dt.timezone(dt.timedelta(seconds=1)),
        dt.timezone(dt.timedelta(0), "mine"),
    ]
)
TIMES = (
    st.datetimes()
    | st.datetimes(timezones=ZONES)
    | st.dates()
    | st.timedeltas()
    | st.timedeltas(dt.timedelta(-9), dt.timedelta(9))
)
DTYPES = st.sampled_from(
    [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
    ]
    + [
        "complex64",
        "complex128",
        "longdouble",
        "U3",
        "S3",
        ">i4",
        ">f8",
        "datetime64[D]",
        "timedelta64[h]",
    ]
    + [
        f"{kind}[{unit}]"
        for kind in ("datetime64", "timedelta64")
        for unit in ("s", "ms", "us", "ns")
    ]
).map(np.dtype)


@dataclasses.dataclass(frozen=True)
class Custom:
    """A class of the user."""

    x: int


@st.composite
def scalars(draw: st.DrawFn, dtype: np.dtype | None = None) -> Any:
    """Draw a scalar of numpy."""
    dtype = draw(DTYPES) if dtype is None else dtype
    return draw(hnp.arrays(dtype, (1,)))[0]


def arrays(dtypes: st.SearchStrategy[np.dtype] = DTYPES) -> st.SearchStrategy[np.ndarray]:
    """Draw an array of any shape."""
    return hnp.arrays(
        dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    ) | hnp.arrays(dtypes, st.integers(0, 3))


STAMPS = st.builds(
    lambda moment, unit, zone: (
        pd.Timestamp(moment).as_unit(unit).tz_localize("UTC").tz_convert(zone)
    ),
    st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.none() | ZONES,
)
SPANS = st.builds(
    lambda span, unit: pd.Timedelta(span).as_unit(unit),
    st.timedeltas(dt.timedelta(-9), dt.timedelta(9)),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
LEAVES = st.none() | st.booleans() | INTS | FLOATS | TEXTS
HASHABLE = LEAVES | st.binary(max_size=3) | st.tuples(st.integers(0, 3), TEXTS)
NESTED = st.recursive(
    LEAVES | st.binary(max_size=3) | st.complex_numbers(),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.lists(parts, max_size=3).map(tuple)
        | st.dictionaries(TEXTS | st.integers(0, 3), parts, max_size=3)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(st.integers(0, 3), max_size=2)
    ),
    max_leaves=6,
)
OTHERS = st.sampled_from(
    [
        Custom(1),
        Decimal("1.5"),
        range(3),
        len,
        int,
        ...,
        pd.NaT,
        pd.NA,
        [Custom(2)],
        {"a": np.arange(3)},
        10**5000,
    ]
) | st.lists(st.integers(0, 2) | st.text(max_size=1), max_size=2).map(
    lambda parts: np.array(parts, dtype=object)
)


def lists(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Draw a short list."""
    return st.lists(parts, max_size=3)


KINDS: list[st.SearchStrategy[Any]] = [
    st.none(),
    st.booleans(),
    INTS,
    st.integers(-3, 3),
    FLOATS,
    TEXTS,
    st.binary(max_size=3),
    TIMES,
    scalars(),
    arrays(),
    hnp.arrays(
        st.sampled_from(["uint64", "int64", "float32", "bool"]).map(np.dtype), st.integers(0, 3)
    ),
    STAMPS,
    SPANS,
    NESTED,
    lists(INTS),
    lists(st.integers(-3, 3)),
    lists(FLOATS),
    lists(st.integers(-3, 3) | FLOATS),
    lists(TEXTS),
    lists(st.booleans()),
    lists(st.none() | st.integers(-3, 3)),
    lists(lists(st.integers(-3, 3))),
    lists(st.integers(-3, 3)).map(tuple),
    lists(FLOATS).map(tuple),
    lists(TEXTS).map(tuple),
    st.fixed_dictionaries({"a": st.integers(-3, 3), "b": FLOATS}),
    st.fixed_dictionaries({"a": INTS | st.none(), "b": FLOATS | TEXTS}),
    st.fixed_dictionaries({"b": FLOATS, "a": lists(FLOATS)}),
    st.dictionaries(TEXTS, LEAVES, max_size=2),
    OTHERS,
]


@st.composite
def columns(draw: st.DrawFn, max_size: int = 6) -> list[Any]:
    """Draw the values of one variable, of a few kinds, with and without gaps."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    parts = st.one_of(*kinds, st.just(MISSING)) if draw(st.booleans()) else st.one_of(*kinds)
    return draw(st.lists(parts, max_size=max_size))


_CANONICAL: dict[type, type] = {np.float64: float, np.int64: int, np.bool_: bool}


def same_column(found: Sequence[Any] | np.ndarray, recorded: Sequence[Any]) -> bool:
    """Return whether recorded values came back; numpy's numbers may be Python's then."""
    kinds = {_CANONICAL.get(type(value), type(value)) for value in recorded} - {
        type(MISSING),
        type(None),
    }
    found = [value for value in found]  # noqa: C416
    if len(found) != len(recorded):
        return False
    if len(kinds) == 1 and kinds <= {float, int, bool}:
        found, recorded = _pythonic(found), _pythonic(recorded)
    return all(map(same, found, recorded))


def _pythonic(values: Sequence[Any]) -> list[Any]:
    return [value.item() if type(value) in _CANONICAL else value for value in values]


def same(one: Any, other: Any) -> bool:
    """Return whether two values are of one type and equal, through all that they hold."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is np.ndarray:
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        return bool(
            one.tobytes() == other.tobytes()
            or np.array_equal(one, other, equal_nan=one.dtype.kind in "fcmM")
        )
    if kind in (list, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if kind is dict:
        return same(list(one.items()), list(other.items()))
    if kind in (set, frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    if isinstance(one, np.generic):
        return one.dtype == other.dtype and repr(one) == repr(other)
    if kind is int:
        return bool(one == other)
    if isinstance(one, dt.datetime):
        return repr(one) == repr(other) and one.fold == other.fold
    return repr(one) == repr(other)
