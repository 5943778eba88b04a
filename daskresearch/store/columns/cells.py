"""One cell of a recorded column, as a file holds it: a raw value, and a tag that tells what it was.

A *tag* is ``kind``, ``kind:argument`` or ``kind:argument=text``. A tag with a text carries the value itself, exactly;
what is in the column is then for readers who do not look at tags. Without a text the value is read from the column,
whatever type the column has been widened to: number, text or bytes.

Nothing here runs code that a file could bring, but for pickles that one asks for.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from daskresearch.errors import StorageError
from daskresearch.store.columns.times import (
    _datetime,
    _moment,
    _pandas_timedelta,
    _span,
    _timedelta,
    _timestamp,
)

if TYPE_CHECKING:
    import numpy as np

LITERAL_LIMIT: Final = 100_000
WIDTHS: Final = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMBERS: Final = frozenset(["bool", *WIDTHS, "float16", "float32", "float64"])
BYTES: Final = frozenset(["bytes", "npy", "npy0", "pickle"])


@final
@dataclass(frozen=True, slots=True)
class Pickled:
    """A value that is kept as a pickle, and was not unpickled, because a pickle can run any code.

    Attributes
    ----------
    content : bytes

    Examples
    --------
    >>> import pickle
    >>> Pickled(pickle.dumps(range(3)))
    <pickled value of ... bytes; read with allow_pickle=True>
    >>> Pickled(pickle.dumps(range(3))).load()
    range(0, 3)
    """

    content: bytes

    def __repr__(self) -> str:
        return f"<pickled value of {len(self.content)} bytes; read with allow_pickle=True>"

    def load(self) -> Any:
        """Return the value itself; this can run any code that the file brings."""
        import pickle

        return pickle.loads(self.content)


class Tag(NamedTuple):
    """A tag in its parts.

    Attributes
    ----------
    kind, argument : str
    text : str, optional
        The value itself, when the column cannot hold it exactly.

    Examples
    --------
    >>> Tag.parse("datetime:UTC")
    Tag(kind='datetime', argument='UTC', text=None)
    >>> str(Tag.parse("int=0x10"))
    'int=0x10'
    """

    kind: str
    argument: str = ""
    text: str | None = None

    @classmethod
    def parse(cls, tag: str) -> Tag:
        """Return the parts of a tag."""
        head, equals, text = tag.partition("=")
        kind, _, argument = head.partition(":")
        return cls(kind, argument, text if equals else None)

    def __str__(self) -> str:
        return self.head + ("" if self.text is None else f"={self.text}")

    @property
    def head(self) -> str:
        """The tag without its text."""
        return f"{self.kind}:{self.argument}" if self.argument else self.kind


def reader_of(
    tag: str, open_array: Callable[[str], Any] | None = None, allow_pickle: bool = False
) -> Callable[[Any], Any]:
    """Return the function that makes the value from what is in the column, None for a null.

    Raises
    ------
    StorageError
        If no such tag is known; by the function, if what is in the column is not what the tag says.

    Examples
    --------
    >>> reader_of("int")(3.0), reader_of("int")("3"), reader_of("int=9007199254740993")(9007199254740992.0)
    (3, 3, 9007199254740993)
    """
    kind, argument, carried = Tag.parse(tag)
    read = _READERS.get(kind)
    if read is None and kind not in ("array", "pickle"):
        raise StorageError(
            f"a cell has the tag {tag[:80]!r}, which this version of daskresearch does not know"
        )

    def value(raw: Any) -> Any:
        try:
            raw = _raw_of(kind, raw if carried is None else carried)
            if read is not None:
                return read(argument, raw)
        except _DAMAGES as error:
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise StorageError(
                f"a cell with the tag {tag[:80]!r} cannot be read ({reason}); its file is damaged"
            ) from None
        if kind == "pickle":
            return _unpickled(raw) if allow_pickle else Pickled(raw)
        return raw if open_array is None else open_array(raw)

    return value


def comes_back(value: Any, tag: str, raw: Any) -> bool:
    """Return whether a cell of this tag gives a value of the same type, which is equal and looks the same."""
    try:
        back = reader_of(tag)(raw)
        return type(back) is type(value) and bool(back == value) and repr(back) == repr(value)
    except (OSError, TypeError, ValueError):
        return False


_DAMAGES = (
    ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, AttributeError, RecursionError, MemoryError,
    OSError,
)  # fmt: skip


def _raw_of(kind: str, raw: Any) -> Any:
    if kind in BYTES:
        if type(raw) is not bytes:
            raise TypeError(f"not bytes but {type(raw).__name__}")
        return raw
    if kind == "array" and type(raw) not in (str, bytes):
        raise TypeError(f"not a text but {type(raw).__name__}")
    return raw.decode() if type(raw) is bytes else raw


def _unpickled(content: bytes) -> Any:
    try:
        return Pickled(content).load()
    except Exception:  # the class may be gone, or the library of another version
        return Pickled(content)


def literal(text: str) -> Any:
    """Return the value of a Python literal, in which ``nan`` and ``inf`` may stand, too.

    Examples
    --------
    >>> literal("(1, nan, -inf, {2j})")
    (1, nan, -inf, {2j})
    """
    if len(text) >= LITERAL_LIMIT:
        raise ValueError(f"a literal of {len(text)} letters")
    tree = _Numbers().visit(ast.parse(text, mode="eval"))
    return ast.literal_eval(tree)


class _Numbers(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node


def whole(raw: Any) -> int:
    """Return the int that a number or its text stands for.

    Examples
    --------
    >>> whole("0x10"), whole(2.0), whole(True)
    (16, 2, 1)
    """
    if isinstance(raw, str):
        return int(raw, 0)
    return int(raw)


def digits(number: int) -> str:
    """Return the text of an int of any size: decimal, or hexadecimal where that takes Python too long."""
    return str(number) if number.bit_length() < 1000 else hex(number)


def text_of(raw: Any) -> str:
    """Return the text of a number, point in time or span of time, from which readers make it again.

    Examples
    --------
    >>> import numpy as np
    >>> text_of(np.datetime64("2026-01-02T03:04", "us")), text_of(np.timedelta64(5, "ms")), text_of(0.1), text_of(True)
    ('2026-01-02T03:04:00.000000', '5 ms', '0.1', 'True')
    """
    if isinstance(raw, str):
        return raw
    if type(raw) is int:
        return digits(raw)
    if type(raw) in (bool, float):
        return repr(raw)
    import numpy as np

    if isinstance(raw, np.timedelta64):
        return f"{raw.astype('int64')} {np.datetime_data(raw.dtype)[0]}"
    if isinstance(raw, np.datetime64):
        return str(raw)
    return text_of(raw.item())


def _boolean(raw: Any) -> bool:
    return {"True": True, "False": False}[raw] if isinstance(raw, str) else bool(raw)


def _number(name: str, raw: Any) -> Any:
    if name.startswith(("int", "uint")):
        return whole(raw)
    return _boolean(raw) if name == "bool" else float(raw)


def _scalar(name: str, raw: Any) -> Any:
    import numpy as np

    kind, _, unit = name.rstrip("]").partition("[")
    if kind == "datetime64":
        return _moment(raw, unit)
    if kind == "timedelta64":
        return _span(raw, unit)
    if name not in NUMBERS:
        raise ValueError(f"dtype {name!r}")
    return np.dtype(name).type(_number(name, raw))


def _elements(name: str, raw: Any) -> list[Any]:
    elements = json.loads(raw) if isinstance(raw, str) else raw
    if type(elements) is not list:
        raise TypeError(f"not a list but {type(elements).__name__}")
    return (
        [None if one is None else _number(name, one) for one in elements]
        if name in NUMBERS
        else elements
    )


def _array(name: str, raw: Any) -> np.ndarray:
    import numpy as np

    if name not in NUMBERS:
        raise ValueError(f"dtype {name!r}")
    return np.array(_elements(name, raw), dtype=name)


def _text(raw: Any) -> str:
    if type(raw) is not str:
        raise TypeError(f"not a text but {type(raw).__name__}")
    return raw


def _none(raw: Any) -> None:
    if raw is not None:
        raise TypeError(f"not a null but {type(raw).__name__}")


def _pandas_null(name: str) -> Any:
    import pandas as pd

    return getattr(pd, name)


_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "none": lambda _, raw: _none(raw),
    "NaT": lambda _, raw: _pandas_null("NaT"),
    "NA": lambda _, raw: _pandas_null("NA"),
    "bool": lambda _, raw: _boolean(raw),
    "int": lambda _, raw: whole(raw),
    "float": lambda _, raw: float(raw),
    "str": lambda _, raw: _text(raw),
    "bytes": lambda _, raw: raw,
    "date": lambda _, raw: _moment(raw, "D").item().replace(),
    "datetime": _datetime,
    "timestamp": _timestamp,
    "timedelta": lambda _, raw: _timedelta(raw),
    "Timedelta": _pandas_timedelta,
    "np": _scalar,
    "list": _elements,
    "tuple": lambda name, raw: tuple(_elements(name, raw)),
    "ndarray": _array,
    "json": lambda _, raw: json.loads(_text(raw)),
    "literal": lambda _, raw: literal(_text(raw)),
    "npy": lambda _, raw: npy_array(raw),
    "npy0": lambda _, raw: npy_array(raw)[()],
}


def npy_array(content: bytes) -> np.ndarray:
    """Return the array that numpy's own format holds, which must be of the size that its head says."""
    import io

    import numpy as np

    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format {version}")
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject or dtype.itemsize == 0 or any([size < 0 for size in shape]):
        raise ValueError(f"an array of dtype {dtype} and shape {shape}")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size != len(content) - file.tell():
        raise ValueError(
            f"an array of {size} bytes in a cell of {len(content) - file.tell()} bytes"
        )
    return np.ndarray(
        shape, dtype, buffer=bytearray(content[file.tell() :]), order="F" if is_fortran else "C"
    )
