"""ClickHouse's Native format as NumPy columns: a SELECT's answer without a Python object for each value.

Source: ClickHouse's documentation of formats, "Native": blocks of columns, each with its name, its type, and its values
one after another, little-endian. Read are numbers, enums, times, strings of a fixed length and arrays of these; whoever
asks writes the SELECT so that nothing else comes.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreDown

Column = NDArray[Any]

_KINDS: Final[Mapping[str, str]] = {
    "UInt8": "<u1",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
    "Int8": "<i1",
    "Int16": "<i2",
    "Int32": "<i4",
    "Int64": "<i8",
    "Bool": "?",
    "Enum8": "<i1",
    "DateTime64": "<i8",
}
"""What a value is in memory, by its type's name without arguments. An enum is its number, a time its ticks."""
_ARRAY: Final = re.compile(r"Array\((.*)\)")
_FIXED_STRING: Final = re.compile(r"FixedString\((\d+)\)")
_MORE: Final = 0x80


class Lists(NamedTuple):
    """A column of arrays: that of row `n` is `values[first[n]:first[n + 1]]`."""

    first: NDArray[np.int64]
    values: Column


class Columns:
    """An answer's columns by name, all of one length. A `FixedString` is an `S` of its length."""

    def __init__(self, count: int, columns: "Mapping[str, Column | Lists]") -> None:
        self._count: Final = count
        self._columns: Final = columns

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> Column:
        """A column of single values. An answer without rows has none: whoever asks looks at its length first."""
        column = self._columns[name]
        if isinstance(column, Lists):
            raise TypeError(f"{name} is a column of arrays")
        return column

    def lists(self, name: str) -> Lists:
        """A column of arrays."""
        column = self._columns[name]
        if not isinstance(column, Lists):
            raise TypeError(f"{name} is no column of arrays")
        return column


def columns_of(answer: bytes) -> Columns:
    """The columns of a whole answer, which may come in several blocks.

    Raises `StoreDown` where the bytes are no such answer, or hold a type that is not read here.
    """
    reader = _Reader(answer)
    blocks: list[tuple[int, dict[str, Column | Lists]]] = []
    try:
        while not reader.at_end():
            count, columns = reader.block()
            if count:
                blocks.append((count, columns))
    except (IndexError, ValueError, KeyError) as error:
        raise StoreDown(f"an answer in an unknown form: {type(error).__name__}") from error
    if len(blocks) <= 1:
        return Columns(*blocks[0]) if blocks else Columns(0, {})
    names = blocks[0][1]
    return Columns(
        sum(count for count, _ in blocks), {name: _joined([columns[name] for _, columns in blocks]) for name in names}
    )


class _Reader:
    """A position in an answer. What it gives are views of the answer's own bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer: Final = answer
        self._at = 0

    def at_end(self) -> bool:
        return self._at == len(self._answer)

    def block(self) -> "tuple[int, dict[str, Column | Lists]]":
        width, count = self._number(), self._number()
        columns: dict[str, Column | Lists] = {}
        for _ in range(width):
            name = self._text()
            columns[name] = self._column(self._text(), count)
        return count, columns

    def _column(self, kind: str, count: int) -> Column | Lists:
        array = _ARRAY.fullmatch(kind)
        if array is None:
            return self._values(kind, count)
        first = np.zeros(count + 1, dtype=np.int64)
        first[1:] = self._values("UInt64", count)
        return Lists(first, self._values(array[1], int(first[-1])))

    def _values(self, kind: str, count: int) -> Column:
        fixed = _FIXED_STRING.fullmatch(kind)
        dtype = np.dtype(f"S{fixed[1]}" if fixed else _KINDS[kind.partition("(")[0]])
        values = np.frombuffer(self._answer, dtype=dtype, count=count, offset=self._at) if count else np.empty(0, dtype)
        self._at += values.nbytes
        return values

    def _text(self) -> str:
        length = self._number()
        self._at += length
        return self._answer[self._at - length : self._at].decode()

    def _number(self) -> int:
        """An unsigned number in LEB128."""
        value = shift = 0
        while True:
            byte = self._answer[self._at]
            self._at += 1
            value |= (byte & ~_MORE) << shift
            if not byte & _MORE:
                return value
            shift += 7


def _joined(pieces: "list[Column | Lists]") -> "Column | Lists":
    plain = [piece for piece in pieces if not isinstance(piece, Lists)]
    if plain:
        return np.concatenate(plain)
    lists = [piece for piece in pieces if isinstance(piece, Lists)]
    lengths = np.concatenate([np.diff(each.first) for each in lists])
    first = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=first[1:])
    return Lists(first, np.concatenate([each.values for each in lists]))
