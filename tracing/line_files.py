"""CSV files that people import, a record a line: what is wrong is told by line and column, never what was found. Pure.

No cell holds a line break. So a quote that is opened and never closed spoils its own line and none of those behind it.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

HEADER_LINE: Final = 1
QUOTE_FAULT: Final = "a quote is opened and not closed in its line, or misplaced"

_CELL: Final = r'(?:"(?:[^"]|"")*+"|[^",]*+)'
_LINE: Final = re.compile(rf"{_CELL}(?:,{_CELL})*+", re.DOTALL)
"""RFC 4180: a quote stands around a whole cell or doubled within it. The second half of a torn cell is no record."""

Record = TypeVar("Record")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the file: its name, whether every line needs it, and what stands in it."""

    name: str
    required: bool
    text: str
    example: str


class RowError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a line of the file, counted from 1, the header being line 1. Never what was found there."""

    line: int
    column: str
    reason: str


class WrongHeader(ValueError):
    """The file's first line does not name the columns; the message says which is missing or unknown."""


class BadCell(ValueError):
    """What is wrong in a column of a line; an empty column: with the line as a whole."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column: Final = column


def records(
    text: str,
    header: Callable[[Sequence[str]], Sequence[str]],
    record: Callable[[int, dict[str, str]], Record],
    lines_max: int,
) -> tuple[list[Record], list[RowError]]:
    """The records of a CSV text in its order, and the errors of the other lines. Empty lines are passed over.

    `header` makes the columns' names of the first line's cells, or raises `WrongHeader`; `record` makes a record of a
    line's number and cells by column, without the space around them, or raises `BadCell`. Raises `WrongHeader`, also
    for more than `lines_max` lines.
    """
    lines = io.StringIO(text.removeprefix("\ufeff"), newline=None)
    try:
        names = header(_cells(next(lines, "")))
    except csv.Error:
        raise WrongHeader("the first line holds a misplaced quote") from None
    found: list[Record] = []
    errors: list[RowError] = []
    for number, line in enumerate(lines, HEADER_LINE + 1):
        if not line.strip(" ,\t\n"):
            continue
        if len(found) + len(errors) == lines_max:
            raise WrongHeader(f"more than {lines_max} lines; send the file in pieces, each with the header")
        try:
            found.append(record(number, _row(_cells(line), names)))
        except csv.Error:
            errors.append(RowError(line=number, column="", reason=QUOTE_FAULT))
        except BadCell as error:
            errors.append(RowError(line=number, column=error.column, reason=str(error)))
    return found, errors


def names_of(cells: Sequence[str], known: Sequence[Column]) -> list[str]:
    """The columns that a header names. Raises `WrongHeader` for one that is not known or stands there twice."""
    names = [cell.strip().lower() for cell in cells]
    if len(set(names)) < len(names):
        raise WrongHeader("the first line names a column twice")
    allowed = {column.name for column in known}
    if not allowed.issuperset(names):
        raise WrongHeader(f"column {next(i for i, name in enumerate(names, 1) if name not in allowed)} is not known")
    return names


def _cells(line: str) -> list[str]:
    """The cells of one line. Raises `csv.Error`."""
    line = line.rstrip("\n")
    if not _LINE.fullmatch(line):
        raise csv.Error(QUOTE_FAULT)
    return next(csv.reader([line], strict=True), [])


def _row(cells: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(names):
        raise BadCell("", f"the line has {len(cells)} cells, the header {len(names)}")
    return {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
