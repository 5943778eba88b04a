"""The cell types of Python's numbers, texts, bytes and nulls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from daskresearch.store.columns.cell_type import CellType, Coded, Tag, Tags, checked_text, loaded
from daskresearch.store.columns.plain import boolean, digits, is_utf8, text_of, whole

if TYPE_CHECKING:
    import pyarrow as pa


class _Null(CellType):
    """A value that stands for nothing; it has a tag, as a null without one is `MISSING`."""

    def array(self, argument: Any, raws: list[Any]) -> pa.Array:
        import pyarrow as pa

        return pa.nulls(len(raws))


class _None(_Null):
    """None."""

    name = "none"
    raw_types = (type(None),)

    def read(self, argument: str, raw: Any) -> None:
        if raw is not None:
            raise TypeError(f"not a null but {type(raw).__name__}")


class _PandasNull(_Null):
    """``pd.NaT`` or ``pd.NA``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def takes(self, kind: type) -> bool:
        return kind is type(loaded("pandas", self.name))

    def read(self, argument: str, raw: Any) -> Any:
        import pandas as pd

        return getattr(pd, self.name)


class _Bool(CellType):
    """A bool."""

    name = "bool"
    raw_types = (bool,)
    numpy_twins = ("bool", "bool_")
    arrow = "bool_"
    is_raw = True

    def read(self, argument: str, raw: Any) -> bool:
        return boolean(raw)

    def carrying(self, argument: str, raw: Any) -> Tag:
        return Tag(self.name, argument, text_of(boolean(raw)))


class _Int(CellType):
    """An int of any size: beyond 64 bits the nearest float, with a tag that has the digits."""

    name = "int"
    raw_types = (int,)
    numpy_twins = ("int64",)
    arrow = "int64"
    is_raw = True

    def encode(self, argument: Any, raws: list[int]) -> Coded:
        import pyarrow as pa

        try:
            return pa.array(raws, pa.int64()), None
        except (OverflowError, pa.ArrowInvalid):
            tags: Tags = [
                "int" if -(2**53) <= raw <= 2**53 else f"int={digits(raw)}" for raw in raws
            ]
            return pa.array(list(map(_nearest, raws)), pa.float64()), tags

    def read(self, argument: str, raw: Any) -> int:
        return whole(raw)

    def carrying(self, argument: str, raw: Any) -> Tag:
        return Tag(self.name, argument, digits(whole(raw)))


def _nearest(number: int) -> float | None:
    try:
        return float(number)
    except OverflowError:
        return None


class _Float(CellType):
    """A float."""

    name = "float"
    raw_types = (float,)
    numpy_twins = ("float64",)
    arrow = "float64"
    is_raw = True

    def read(self, argument: str, raw: Any) -> float:
        return float(raw)


class _Str(CellType):
    """A text, or its JSON if it has lone surrogates, which no file can hold."""

    name = "str"
    raw_types = (str,)
    arrow = "string"
    is_raw = True

    def encode(self, argument: Any, raws: list[str]) -> Coded:
        import pyarrow as pa

        try:
            return pa.array(raws, pa.string()), None
        except (UnicodeEncodeError, pa.ArrowException):
            tags: Tags = [None if is_utf8(raw) else "json" for raw in raws]
            texts = [json.dumps(raw) if tag else raw for raw, tag in zip(raws, tags, strict=True)]
            return pa.array(texts, pa.string()), tags

    def read(self, argument: str, raw: Any) -> str:
        return checked_text(raw)


class _Bytes(CellType):
    """Bytes."""

    name = "bytes"
    raw_types = (bytes,)
    arrow = "binary"
    holds_bytes = True
    is_raw = True

    def read(self, argument: str, raw: bytes) -> bytes:
        return raw


STR: Final = _Str()
SCALARS: Final[tuple[CellType, ...]] = (
    _None(), _PandasNull("NaT"), _PandasNull("NA"), _Bool(), _Int(), _Float(), STR, _Bytes()
)  # fmt: skip
