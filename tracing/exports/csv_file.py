"""CSV: RFC 4180 for programs, and the dialect that Excel opens by a double click on a Vietnamese machine.

Windows in Vietnamese separates decimals by a comma. A list separator that equals the decimal separator becomes a
semicolon in Excel, so that is what parts the cells there. UTF-8 needs its byte order mark, or Excel takes the bytes
for an old code page; a `sep=` line would make Excel overlook that mark. Days are written before months.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tracing.exports.cells import literal_cell, safe_cell
from tracing.exports.moments import iso, local
from tracing.exports.tables import Kind, Table

ROWS_A_PIECE: Final = 1_000
BOM: Final = "\ufeff"
EXCEL_TIME: Final = "%d/%m/%Y %H:%M:%S"

Cell = str | int
Form = Callable[..., Cell]
"""A value of the column's kind, never None, as a cell."""


def csv_pieces(table: Table, above: Sequence[str] = ()) -> Iterator[bytes]:
    """A header line and the rows, RFC 4180: commas, CRLF, UTF-8, quotes where they are needed.

    `above` is a line that some importers want over the header.
    """
    return _pieces(table, _FORMS, ",", "", above)


def excel_csv_pieces(table: Table) -> Iterator[bytes]:
    """The same for Excel in Vietnamese; a time comes a third time as `<name>_local`, which Excel reads as a date."""
    return _pieces(table, _EXCEL_FORMS, ";", BOM)


def _pieces(table: Table, forms: "_Forms", delimiter: str, mark: str, above: Sequence[str] = ()) -> Iterator[bytes]:
    output = io.StringIO(newline="")
    output.write(mark)
    write = csv.writer(output, delimiter=delimiter).writerow
    if above:
        write(above)
    write([column.name + suffix for column in table.columns for suffix, _ in forms[column.kind]])
    plan = [(number, form) for number, column in enumerate(table.columns) for _, form in forms[column.kind]]
    for count, row in enumerate(table.rows(), start=1):
        write([None if row[number] is None else form(row[number]) for number, form in plan])
        if count % ROWS_A_PIECE == 0:
            yield _taken(output)
    yield _taken(output)


def _taken(output: io.StringIO) -> bytes:
    data = output.getvalue().encode()
    output.seek(0)
    output.truncate()
    return data


def _local(ms: int) -> str:
    return local(ms).strftime(EXCEL_TIME)


def _decimal_comma(value: float) -> str:
    return repr(value).replace(".", ",")


_Forms = dict[Kind, tuple[tuple[str, Form], ...]]
_FORMS: Final[_Forms] = {
    Kind.TEXT: (("", safe_cell),),
    Kind.INTEGER: (("", int),),
    Kind.NUMBER: (("", repr),),
    Kind.TIME: (("_ms", int), ("", iso)),
}
_EXCEL_FORMS: Final[_Forms] = {
    Kind.TEXT: (("", literal_cell),),
    Kind.INTEGER: (("", int),),
    Kind.NUMBER: (("", _decimal_comma),),
    Kind.TIME: (("_ms", int), ("", iso), ("_local", _local)),
}
"""For each kind of column the columns that it becomes: the name's suffix, and the value's form."""
