"""The cell types of dates, times and spans of Python and pandas, with their zones and units."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from daskresearch.store.columns.cell_type import CellType, Fit, loaded

if TYPE_CHECKING:
    import pyarrow as pa

UNITS: Final = ("s", "ms", "us", "ns")


class _Date(CellType):
    """A ``datetime.date``."""

    name = "date"
    raw_types = (dt.date,)
    arrow = "date32"

    def read(self, argument: str, raw: Any) -> Any:
        return moment(raw, "D").item().replace()  # raises for a number


class _Datetime(CellType):
    """A ``datetime.datetime``; its tag tells the zone."""

    name = "datetime"
    types = (dt.datetime,)

    def fit(self, value: dt.datetime) -> Fit:
        import numpy as np

        if value.tzinfo is None and not value.fold:
            return "", np.datetime64(value, "us")
        zone = zone_text(value.tzinfo)
        if not zone:
            return None
        try:
            shift = value.utcoffset() or dt.timedelta(0)
            raw = np.datetime64(value.replace(tzinfo=None) - shift, "us")
        except OverflowError:
            return None
        return (zone, raw) if self.gives_back(value, zone, raw) else None

    def array(self, zone: str, raws: list[Any]) -> pa.Array:
        return moments("us", zone, raws)

    def implied(self, kind: pa.DataType) -> str | None:
        import pyarrow as pa

        return kind.tz or "" if pa.types.is_timestamp(kind) and kind.unit == "us" else None

    def read(self, zone: str, raw: Any) -> dt.datetime:
        found: dt.datetime = moment(raw, "us").item()
        return found.replace(tzinfo=dt.UTC).astimezone(zone_of(zone)) if zone else found.replace()


class _Timedelta(CellType):
    """A ``datetime.timedelta``."""

    name = "timedelta"
    types = (dt.timedelta,)

    def fit(self, value: dt.timedelta) -> Fit:
        import numpy as np

        raw = np.timedelta64(value, "us")
        return ("", raw) if self.gives_back(value, "", raw) else None

    def array(self, argument: Any, raws: list[Any]) -> pa.Array:
        return spans("us", raws)

    def implied(self, kind: pa.DataType) -> str | None:
        import pyarrow as pa

        return "" if pa.types.is_duration(kind) and kind.unit == "us" else None

    def read(self, argument: str, raw: Any) -> dt.timedelta:
        found: dt.timedelta = span(raw, "us").item()
        return found + dt.timedelta()  # raises for a number


class _PandasTimestamp(CellType):
    """A ``pandas.Timestamp``; its tag tells the unit and the zone."""

    name = "timestamp"

    def takes(self, kind: type) -> bool:
        return kind is loaded("pandas", "Timestamp")

    def fit(self, value: Any) -> Fit:
        zone = zone_text(value.tzinfo)
        if zone is None:
            return None
        raw = value.to_datetime64()
        argument = f"{value.unit}:{zone}".rstrip(":")
        is_kept = is_readable(raw) and self.gives_back(value, argument, raw)
        return (argument, raw) if is_kept else None

    def array(self, argument: str, raws: list[Any]) -> pa.Array:
        unit, _, zone = argument.partition(":")
        return moments(unit, zone, raws)

    def implied(self, kind: pa.DataType) -> str | None:
        import pyarrow as pa

        if not pa.types.is_timestamp(kind) or kind.unit == "us":
            return None
        return f"{kind.unit}:{kind.tz}" if kind.tz else str(kind.unit)

    def read(self, argument: str, raw: Any) -> Any:
        import pandas as pd

        unit, _, zone = argument.partition(":")
        found = pd.Timestamp(moment(raw, unit))
        return found.tz_localize("UTC").tz_convert(zone_of(zone)) if zone else found


class _PandasTimedelta(CellType):
    """A ``pandas.Timedelta``; its tag tells the unit."""

    name = "Timedelta"

    def takes(self, kind: type) -> bool:
        return kind is loaded("pandas", "Timedelta")

    def fit(self, value: Any) -> Fit:
        raw = value.to_timedelta64()
        return (value.unit, raw) if self.gives_back(value, value.unit, raw) else None

    def array(self, unit: str, raws: list[Any]) -> pa.Array:
        return spans(unit, raws)

    def implied(self, kind: pa.DataType) -> str | None:
        import pyarrow as pa

        return str(kind.unit) if pa.types.is_duration(kind) and kind.unit != "us" else None

    def read(self, unit: str, raw: Any) -> Any:
        import pandas as pd

        return pd.Timedelta(span(raw, unit))


TIMES: Final[tuple[CellType, ...]] = (
    _Date(), _Datetime(), _Timedelta(), _PandasTimestamp(), _PandasTimedelta()
)  # fmt: skip


def zone_text(zone: dt.tzinfo | None) -> str | None:
    """Return the text of a time zone, empty for none; None if no text brings it back."""
    import zoneinfo

    if zone is None:
        return ""
    if zone is dt.UTC:
        return "UTC"
    if type(zone) is zoneinfo.ZoneInfo and zone.key:
        return "~UTC" if zone.key == "UTC" else zone.key
    if type(zone) is dt.timezone:
        minutes, rest = divmod(zone.utcoffset(None), dt.timedelta(minutes=1))
        same = dt.timezone(dt.timedelta(minutes=minutes))
        if rest or repr(zone) != repr(same):
            return None
        return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    return None


def zone_of(text: str) -> dt.tzinfo | None:
    """Return the time zone of a text.

    Examples
    --------
    >>> zone_of("UTC"), zone_of("+01:30")
    (datetime.timezone.utc, datetime.timezone(datetime.timedelta(seconds=5400)))
    >>> zone_of("Europe/Berlin")
    zoneinfo.ZoneInfo(key='Europe/Berlin')
    """
    import zoneinfo

    if not text:
        return None
    if text == "UTC":
        return dt.UTC
    if text[0] in "+-":
        shift = dt.timedelta(hours=int(text[1:3]), minutes=int(text[4:]))
        return dt.timezone(-shift if text[0] == "-" else shift)
    return zoneinfo.ZoneInfo(text.removeprefix("~"))


def moment(raw: Any, unit: str) -> Any:
    """Return the point in time of a raw value or its text, NaT for a null."""
    import numpy as np

    if unit not in (*UNITS, "D"):
        raise ValueError(f"unit {unit!r}")
    make: Any = np.datetime64  # the stubs take no unit that is not a literal
    return make("NaT" if raw is None else raw, unit)


def span(raw: Any, unit: str) -> Any:
    """Return the span of time of a raw value or its text, NaT for a null."""
    import numpy as np

    make: Any = np.timedelta64
    if isinstance(raw, str):
        count, _, counted = raw.partition(" ")
        if counted not in UNITS:
            raise ValueError(f"unit {counted!r}")
        raw = make(int(count), counted)
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r}")
    return make("NaT" if raw is None else raw, unit)


def moments(unit: str, zone: str, raws: list[Any]) -> pa.Array:
    """Return an Arrow array of points in time in UTC, which knows the zone."""
    import numpy as np
    import pyarrow as pa

    held = "ms" if unit == "s" else unit  # Parquet has no points in time of seconds
    array = pa.array(np.array(raws, dtype=f"datetime64[{held}]"))
    return array.cast(pa.timestamp(held, zone.removeprefix("~"))) if zone else array


def spans(unit: str, raws: list[Any]) -> pa.Array:
    """Return an Arrow array of spans of time."""
    import numpy as np
    import pyarrow as pa

    return pa.array(np.array(raws, dtype=f"timedelta64[{unit}]"))


def is_readable(raw: Any) -> bool:
    """Return whether a point in time is none, or one that a datetime could hold."""
    import numpy as np

    if raw.dtype == "datetime64[ns]":
        return True  # and the comparison with far days would overflow
    return bool(np.isnat(raw) or np.datetime64("0001-01-01") <= raw < np.datetime64("9999-12-31"))
