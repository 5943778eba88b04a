"""Dates, times and spans as cells: numpy's, pandas' and Python's, with their zones and units."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

UNITS: Final = ("s", "ms", "us", "ns")


def zone_text(zone: dt.tzinfo | None) -> str | None:
    """Return the text of a time zone, empty for none; None if it has no text from which the same one could be made."""
    import zoneinfo

    if zone is None:
        return ""
    if zone is dt.UTC:
        return "UTC"
    if type(zone) is zoneinfo.ZoneInfo and zone.key:
        return "~UTC" if zone.key == "UTC" else zone.key
    if type(zone) is dt.timezone:
        minutes, rest = divmod(zone.utcoffset(None), dt.timedelta(minutes=1))
        text = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
        return (
            text
            if not rest and repr(zone) == repr(dt.timezone(dt.timedelta(minutes=minutes)))
            else None
        )
    return None


def zone_of(text: str) -> dt.tzinfo | None:
    """Return the time zone of a text.

    Examples
    --------
    >>> zone_of("UTC"), zone_of("+01:30"), zone_of("Europe/Berlin")
    (datetime.timezone.utc, datetime.timezone(datetime.timedelta(seconds=5400)), zoneinfo.ZoneInfo(key='Europe/Berlin'))
    """
    import zoneinfo

    if not text:
        return None
    if text == "UTC":
        return dt.UTC
    if text[0] in "+-":
        hours, minutes = int(text[1:3]), int(text[4:])
        return dt.timezone(
            (-1 if text[0] == "-" else 1) * dt.timedelta(hours=hours, minutes=minutes)
        )
    return zoneinfo.ZoneInfo(text.removeprefix("~"))


def _moment(raw: Any, unit: str) -> Any:
    import numpy as np

    if unit not in (*UNITS, "D"):
        raise ValueError(f"unit {unit!r}")
    make: Any = np.datetime64  # the stubs take no unit that is not a literal
    return make("NaT" if raw is None else raw, unit)


def _span(raw: Any, unit: str) -> Any:
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


def _datetime(zone: str, raw: Any) -> dt.datetime:
    moment: dt.datetime = _moment(raw, "us").item()
    return moment.replace(tzinfo=dt.UTC).astimezone(zone_of(zone)) if zone else moment.replace()


def _timestamp(argument: str, raw: Any) -> Any:
    import pandas as pd

    unit, _, zone = argument.partition(":")
    moment = pd.Timestamp(_moment(raw, unit))
    return moment.tz_localize("UTC").tz_convert(zone_of(zone)) if zone else moment


def _timedelta(raw: Any) -> dt.timedelta:
    span: dt.timedelta = _span(raw, "us").item()
    return span + dt.timedelta()  # raises for a number


def _pandas_timedelta(unit: str, raw: Any) -> Any:
    import pandas as pd

    return pd.Timedelta(_span(raw, unit))
