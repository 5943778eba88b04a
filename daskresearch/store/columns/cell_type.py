"""What a cell type is, and the tags by which cells name theirs.

A *cell* of a column holds a raw value, and has a tag where the column's type does not tell its own.

A *tag* is ``name``, ``name:argument`` or ``name:argument=text``. A text is the value itself,
exactly; the column then holds what is of use to readers that ignore tags. Without a text the value
is read from the column, whatever type the column has been widened to: number, text or bytes.

Nothing here runs code that a file could bring, but for pickles that one asks for.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from daskresearch.store.columns.plain import text_of

if TYPE_CHECKING:
    import pyarrow as pa

Tags = list[str | None]
Coded = tuple["pa.Array", Tags | None]
Fit = tuple[Hashable, Any] | None

DAMAGES: Final = (
    ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, AttributeError,
    RecursionError, MemoryError, OSError,
)  # fmt: skip


class Tag(NamedTuple):
    """A tag in its parts.

    Attributes
    ----------
    name, argument : str
    text : str, optional
        The value itself, when the column cannot hold it exactly.

    Examples
    --------
    >>> Tag.parse("datetime:UTC")
    Tag(name='datetime', argument='UTC', text=None)
    >>> str(Tag.parse("int=0x10"))
    'int=0x10'
    """

    name: str
    argument: str = ""
    text: str | None = None

    @classmethod
    def parse(cls, tag: str) -> Tag:
        """Return the parts of a tag."""
        head, equals, text = tag.partition("=")
        name, _, argument = head.partition(":")
        return cls(name, argument, text if equals else None)

    def __str__(self) -> str:
        return self.head + ("" if self.text is None else f"={self.text}")

    @property
    def head(self) -> str:
        """The tag without its text."""
        return f"{self.name}:{self.argument}" if self.argument else self.name


class CellType(ABC):
    """One type of cells: which values it takes, and how they are written, read and told as text.

    A new one is a subclass, and an instance in the tuple below it, which the table has.

    An *argument* tells values of one cell type apart, as a zone does. It is a text where tags have
    it. Values with the same argument are encoded together.

    Attributes
    ----------
    name : str
        The name in tags; empty if cells are written with the tags of other types.
    raw_types : tuple of type
        Types whose values all stand in the column as they are, without a look at each.
    types : tuple of type
        Types whose values `fit` may take.
    numpy_twins : tuple of str
        The scalars of numpy that a column of `raw_types` may hold; they come back as Python's.
    arrow : str
        The function of pyarrow that makes the type of the column, if that is always the same.
    holds_bytes : bool
        Whether raw values are bytes, for which no text stands.
    is_raw : bool
        Whether a cell without a tag holds the value itself, so that nothing is to be read.
    """

    name: str = ""
    raw_types: ClassVar[tuple[type, ...]] = ()
    types: ClassVar[tuple[type, ...]] = ()
    numpy_twins: ClassVar[tuple[str, ...]] = ()
    arrow: ClassVar[str] = ""
    holds_bytes: ClassVar[bool] = False
    is_raw: ClassVar[bool] = False

    def takes(self, kind: type) -> bool:
        """Return whether `fit` may take values of a type."""
        return kind in self.types

    def fit(self, value: Any) -> Fit:
        """Return argument and raw value of a value, None if another cell type must take it."""
        return "", value

    def encode(self, argument: Any, raws: list[Any]) -> Coded:
        """Return raw values with one argument as an Arrow array, and tags if these are needed."""
        array = self.array(argument, raws)
        is_told = self.implied(array.type) == argument
        return array, None if is_told else [Tag(self.name, argument).head] * len(array)

    def array(self, argument: Any, raws: list[Any]) -> pa.Array:
        """Return raw values with one argument as an Arrow array."""
        import pyarrow as pa

        return pa.array(raws, self.arrow_type())

    def arrow_type(self) -> pa.DataType:
        """Return the type of a column of these cells."""
        import pyarrow as pa

        return getattr(pa, self.arrow)()

    def implied(self, kind: pa.DataType) -> str | None:
        """Return the argument of cells without a tag in a column of an Arrow type.

        None says that cells in such a column are not of this cell type.
        """
        return "" if self.raw_types and self.arrow and kind == self.arrow_type() else None

    def raw_of(self, raw: Any) -> Any:
        """Return what `read` takes of a raw value, whatever the column has been widened to."""
        if self.holds_bytes:
            if type(raw) is not bytes:
                raise TypeError(f"not bytes but {type(raw).__name__}")
            return raw
        return raw.decode() if type(raw) is bytes else raw

    @abstractmethod
    def read(self, argument: str, raw: Any) -> Any:
        """Return the value of a cell, or raise one of `DAMAGES`."""

    def carrying(self, argument: str, raw: Any) -> Tag:
        """Return the tag whose text is the value of a cell."""
        return Tag(self.name, argument, text_of(raw))

    def gives_back(self, value: Any, argument: str, raw: Any) -> bool:
        """Return whether a cell gives a value of the same type, equal and with the same repr."""
        try:
            back = self.read(argument, raw)
            return type(back) is type(value) and bool(back == value) and repr(back) == repr(value)
        except DAMAGES:
            return False


def loaded(library: str, name: str) -> Any:
    """Return what a library has under a name, None if nobody has imported the library."""
    return getattr(sys.modules.get(library), name, None)


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds bools, ints or floats."""
    import pyarrow as pa

    return bool(
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    )


def checked_text(raw: Any) -> str:
    """Return a raw value that must be a text."""
    if type(raw) is not str:
        raise TypeError(f"not a text but {type(raw).__name__}")
    return raw
