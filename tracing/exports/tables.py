"""Tables that every tabular format writes in its own way: typed columns with their meaning, rows one by one."""

import enum
from collections.abc import Callable, Iterator

import msgspec

Row = tuple[str | int | float | None, ...]
"""One value a column; None where nothing is known. Times are Unix ms."""


class Kind(enum.StrEnum):
    """What a column holds. A time is written twice, as Unix ms in `<name>_ms` and with its zone in `<name>`."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    TIME = "time"


class Column(msgspec.Struct, frozen=True):
    """A column: its name, what it holds, and what that means, which the manifest repeats."""

    name: str
    kind: Kind
    meaning: str


class Table(msgspec.Struct, frozen=True):
    """A table. `rows` begins anew at each call."""

    name: str
    columns: tuple[Column, ...]
    rows: Callable[[], Iterator[Row]]
