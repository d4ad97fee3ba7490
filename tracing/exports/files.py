"""A file of an export: a name, a media type, and its bytes as they are asked for."""

from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from tracing.exports.tables import Column, Row, Table

Writer = Callable[[Counter[str]], Iterator[bytes]]
"""Gives the file in pieces, once, and counts what is in it on the way."""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """`packed`: it is compressed already. `columns` are those of a table, before a format splits times in several."""

    name: str
    media_type: str
    write: Writer
    columns: tuple[Column, ...] = ()
    packed: bool = False


def table_file(
    table: Table, suffix: str, media_type: str, pieces_of: Callable[[Table], Iterator[bytes]], *, packed: bool = False
) -> File:
    """A table as a file of its own name; counts `rows`."""

    def write(counts: Counter[str]) -> Iterator[bytes]:
        counts["rows"] = 0
        return pieces_of(counted(table, counts, "rows"))

    return File(name=f"{table.name}.{suffix}", media_type=media_type, write=write, columns=table.columns, packed=packed)


def counted(table: Table, counts: Counter[str], name: str) -> Table:
    """The table, whose rows are counted under the name as they pass."""

    def rows() -> Iterator[Row]:
        for row in table.rows():
            counts[name] += 1
            yield row

    return Table(table.name, table.columns, rows)
