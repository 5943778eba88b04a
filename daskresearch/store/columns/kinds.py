"""Recorded values by kind: those of one kind become one Arrow array.

A *kind* is a tuple that starts with the name of its encoder. `kind_of` also returns what that encoder takes.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from daskresearch.errors import PickleError
from daskresearch.store.columns.cells import Pickled, Tag, comes_back, digits
from daskresearch.store.columns.numpy_kinds import Kind, is_readable, kind_of_numpy
from daskresearch.store.columns.plain import NotPlain, alike, is_numpy, is_utf8, plain, text_cell
from daskresearch.store.columns.times import zone_text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Tags = list[str | None]
Coded = tuple["pa.Array", Tags | None]
Keep = Callable[[list["np.ndarray"]], list[str]]

SIMPLE: Final[dict[type, Kind]] = {
    type(None): ("none",),
    bool: ("plain", "bool_"),
    int: ("int",),
    float: ("plain", "float64"),
    str: ("str",),
    bytes: ("plain", "binary"),
    dt.date: ("plain", "date32"),
}
_CARRIED_LIMIT: Final = 1000
_SHORT: Final = 100
_DEEP: Final = 8


def kind_of(value: Any, keeps_arrays: bool) -> tuple[Kind, Any]:
    """Return the kind of a value of any type, and what the encoder of the kind takes.

    Raises
    ------
    PickleError
        If the value is none that could be kept.
    """
    kind = type(value)
    if kind is Pickled:
        return ("pickle",), value.content
    special = None
    if kind in (list, tuple, dict, complex, set, frozenset):
        special = _kind_of_plain(value)
    elif kind is dt.datetime:
        special = _kind_of_datetime(value)
    elif kind is dt.timedelta:
        special = _kind_of_timedelta(value)
    elif is_numpy(value):
        special = kind_of_numpy(value, keeps_arrays)
    elif "pandas" in sys.modules:
        special = _kind_of_pandas(value)
    return special or (("pickle",), _pickle(value))


def _pickle(value: Any) -> bytes:
    import cloudpickle

    try:
        content: bytes = cloudpickle.dumps(value)
    except Exception as error:
        raise PickleError(
            f"a recorded value of type {type(value).__qualname__} cannot be pickled "
            f"({type(error).__name__}: {error}); save something simpler, or run with dump_results=False"
        ) from error
    return content


def _kind_of_plain(value: Any) -> tuple[Kind, Any] | None:
    try:
        value = plain(value)
        kind = type(value)
        if kind in (list, tuple) and (element := _element_of(value)):
            return (kind.__name__, element), value
        if kind is dict and value and all([type(key) is str for key in value]):
            return ("nested", tuple(value)), value
        if kind is list:
            return ("nested", "list"), value
        tag, text = text_cell(value)
    except (NotPlain, RecursionError):
        return None
    return ("text", tag), text


def _element_of(values: Sequence[Any]) -> str | None:
    """Return the type of the elements of a flat list, ``"mixed"`` for numbers, None if they need another way."""
    kinds = set(map(type, values))
    if not kinds:
        return "null"
    if int in kinds and (
        min(values) < -(2**63) or max(values) >= 2**63 if kinds <= {int, float, bool} else True
    ):
        return None
    if len(kinds) == 1:
        kind = kinds.pop()
        if kind is str and not is_utf8("".join(values)):
            return None
        return {bool: "bool", int: "int64", float: "float64", str: "string"}.get(kind)
    return "mixed" if kinds <= {bool, int, float} and len(values) < _SHORT else None


def _kind_of_datetime(value: dt.datetime) -> tuple[Kind, Any] | None:
    import numpy as np

    if value.tzinfo is None and not value.fold:
        return ("moment", "us", "", "datetime"), np.datetime64(value, "us")
    zone = zone_text(value.tzinfo)
    if not zone:
        return None
    try:
        shift = value.utcoffset() or dt.timedelta(0)
        raw = np.datetime64(value.replace(tzinfo=None) - shift, "us")
    except OverflowError:
        return None
    tag = f"datetime:{zone}"
    return (("moment", "us", zone, tag), raw) if comes_back(value, tag, raw) else None


def _kind_of_timedelta(value: dt.timedelta) -> tuple[Kind, Any] | None:
    import numpy as np

    raw = np.timedelta64(value, "us")
    return (("span", "us", "timedelta"), raw) if comes_back(value, "timedelta", raw) else None


def _kind_of_pandas(value: Any) -> tuple[Kind, Any] | None:
    pd = sys.modules["pandas"]
    if value is pd.NaT or value is pd.NA:
        return ("null", "NaT" if value is pd.NaT else "NA"), None
    if type(value) is pd.Timestamp and (zone := zone_text(value.tzinfo)) is not None:
        raw = value.to_datetime64()
        tag = f"timestamp:{value.unit}:{zone}".rstrip(":")
        if is_readable(raw) and comes_back(value, tag, raw):
            return ("moment", "ms" if value.unit == "s" else value.unit, zone, tag), raw
    if type(value) is pd.Timedelta and comes_back(
        value, f"Timedelta:{value.unit}", value.to_timedelta64()
    ):
        return ("span", value.unit, f"Timedelta:{value.unit}"), value.to_timedelta64()
    return None


def coded(kind: Kind, values: list[Any], keep_arrays: Keep | None) -> Coded:
    """Return the array of values of one kind, and their tags if these are needed."""
    encode, *arguments = kind
    if encode == "array":
        assert keep_arrays is not None
        return _texts("array", keep_arrays(values))
    result: Coded = _ENCODERS[encode](*arguments, values)
    return result


def _tagged(array: pa.Array, tag: str | None) -> Coded:
    return array, None if tag is None else [tag] * len(array)


def _null(tag: str, values: list[Any]) -> Coded:
    import pyarrow as pa

    return _tagged(pa.nulls(len(values)), tag)


def _plain(name: str, values: list[Any]) -> Coded:
    import pyarrow as pa

    return pa.array(values, getattr(pa, name)()), None


def _ints(values: list[int]) -> Coded:
    import pyarrow as pa

    try:
        return pa.array(values, pa.int64()), None
    except (OverflowError, pa.ArrowInvalid):
        tags: Tags = [
            "int" if -(2**53) <= value <= 2**53 else f"int={digits(value)}" for value in values
        ]
        return pa.array(list(map(_nearest, values)), pa.float64()), tags


def _nearest(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _strings(values: list[str]) -> Coded:
    import json

    import pyarrow as pa

    try:
        return pa.array(values, pa.string()), None
    except (UnicodeEncodeError, pa.ArrowException):
        tags: Tags = [None if is_utf8(value) else "json" for value in values]
        texts = [
            json.dumps(value) if tag else value for value, tag in zip(values, tags, strict=True)
        ]
        return pa.array(texts, pa.string()), tags


def _texts(tag: str, values: list[str]) -> Coded:
    import pyarrow as pa

    return _tagged(pa.array(values, pa.string()), tag)


def _contents(tag: str, values: list[bytes]) -> Coded:
    import pyarrow as pa

    return _tagged(pa.array(values, pa.binary()), tag)


def _scalars(name: str, values: list[Any]) -> Coded:
    import numpy as np
    import pyarrow as pa

    held = "float32" if name == "float16" else name  # few readers know half floats
    is_canonical = name not in ("bool", "int64", "float64", "float16")
    return _tagged(pa.array(np.array(values, dtype=held)), None if is_canonical else f"np:{name}")


def _moments(unit: str, zone: str, tag: str, values: list[Any]) -> Coded:
    import numpy as np
    import pyarrow as pa

    array = pa.array(np.array(values, dtype=f"datetime64[{unit}]"))
    if zone:
        array = array.cast(pa.timestamp(unit, zone.removeprefix("~")))
    return _tagged(array, tag)


def _spans(unit: str, tag: str, values: list[Any]) -> Coded:
    import numpy as np
    import pyarrow as pa

    return _tagged(pa.array(np.array(values, dtype=f"timedelta64[{unit}]")), tag)


def _lists(kind: str, element: str, values: list[Any]) -> Coded:
    import pyarrow as pa

    name = {"bool": "bool_", "mixed": "float64"}.get(element, element)
    array = pa.array(
        values if element != "mixed" else [list(map(float, one)) for one in values],
        pa.list_(getattr(pa, name)()),
    )
    if element == "mixed":
        return array, [str(Tag(*_carried(value))) for value in values]
    return _tagged(array, None if kind == "list" else f"{kind}:{element}")


def _carried(value: Any) -> tuple[str, str, str]:
    tag, text = text_cell(value)
    return tag, "", text


def _arrays(name: str, values: list[np.ndarray]) -> Coded:
    import numpy as np
    import pyarrow as pa

    offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
    array = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(values)))
    return _tagged(array, f"ndarray:{name}")


def _nested(_: Any, values: list[Any]) -> Coded:
    import pyarrow as pa

    try:
        array = pa.array(values)
        if _is_storable(array.type):
            tags = [
                None if alike(*pair) else str(Tag(*_carried(pair[1])))
                for pair in zip(array.to_pylist(), values, strict=True)
            ]
            if all([tag is None or len(tag) < _CARRIED_LIMIT for tag in tags]):
                return array, tags
    except (pa.ArrowException, OverflowError, TypeError, ValueError, NotPlain):
        pass
    return _nested_texts(values)


def _nested_texts(values: list[Any]) -> Coded:
    import pyarrow as pa

    tags: Tags = []
    raws: list[Any] = []
    for value in values:
        try:
            cell: tuple[str, Any] = text_cell(value)
        except NotPlain:
            cell = "pickle", _pickle(value)
        tags.append(cell[0])
        raws.append(cell[1])
    if "pickle" in tags:
        return pa.array(
            [raw.encode() if type(raw) is str else raw for raw in raws], pa.binary()
        ), tags
    return pa.array(raws, pa.string()), tags


def _is_storable(kind: pa.DataType, depth: int = 0) -> bool:
    """Return whether Parquet can hold the type, and JSON whatever is in it, should it be widened later."""
    import pyarrow as pa

    if depth > _DEEP or pa.types.is_binary(kind):
        return False
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all([_is_storable(field.type, depth + 1) for field in kind])
    return _is_storable(kind.value_type, depth + 1) if pa.types.is_list(kind) else True


_ENCODERS: Final[dict[str, Callable[..., Coded]]] = {
    "none": lambda values: _null("none", values),
    "null": _null,
    "plain": _plain,
    "int": _ints,
    "str": _strings,
    "text": _texts,
    "pickle": lambda values: _contents("pickle", values),
    "npy": _contents,
    "scalar": _scalars,
    "moment": _moments,
    "span": _spans,
    "list": lambda element, values: _lists("list", element, values),
    "tuple": lambda element, values: _lists("tuple", element, values),
    "ndarray": _arrays,
    "nested": _nested,
}
