"""JSON Lines: a JSON object a line, in UTF-8."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from events import codec
from tracing.exports.moments import iso
from tracing.exports.source import Source
from tracing.exports.tables import Kind, Row, Table

LINES_A_PIECE: Final = 500


def json_lines_pieces(table: Table) -> Iterator[bytes]:
    """A table's rows as objects; what is not known is null."""
    return _pieces(_object(table, row) for row in table.rows())


def answer_pieces(source: Source, counts: Counter[str]) -> Iterator[bytes]:
    """The answer itself: what stands before its contacts on the first line, then a line each; counts `contacts`."""
    return _pieces(_answer(source, counts))


def _answer(source: Source, counts: Counter[str]) -> Iterator[object]:
    yield source.head
    for contact in source.contacts():
        counts["contacts"] += 1
        yield contact


def _pieces(objects: Iterable[object]) -> Iterator[bytes]:
    piece: list[bytes] = []
    for one in objects:
        piece.append(codec.to_json(one))
        if len(piece) == LINES_A_PIECE:
            yield b"\n".join(piece) + b"\n"
            piece.clear()
    if piece:
        yield b"\n".join(piece) + b"\n"


def _object(table: Table, row: Row) -> dict[str, str | int | float | None]:
    line: dict[str, str | int | float | None] = {}
    for column, value in zip(table.columns, row, strict=True):
        if column.kind is Kind.TIME:
            line[f"{column.name}_ms"] = value
            line[column.name] = iso(int(value)) if value is not None else None
        else:
            line[column.name] = value
    return line
