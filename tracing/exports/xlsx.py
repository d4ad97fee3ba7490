"""An Excel workbook (ECMA-376, SpreadsheetML) that is written row by row.

A text is an inline string and can never run as a formula; a time comes as a number of milliseconds, as ISO 8601, and
as a date that Excel can reckon with. The list of sheets is written last, since a table that is longer than a sheet
may be goes on in a further one.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final
from xml.sax.saxutils import escape

from tracing.exports.moments import excel_serial, iso
from tracing.exports.tables import Kind, Row, Table
from tracing.exports.xml_text import visible
from tracing.exports.zip_stream import Member, zip_pieces

ROWS_A_SHEET_MAX: Final = 1_048_576
CELL_CHARACTERS_MAX: Final = 32_767
CUT: Final = "… (cut)"
ROWS_A_PIECE: Final = 500
MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
SHEETML: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
HEADER_STYLE: Final = 1
DATE_STYLE: Final = 2
STYLES: Final = (
    f'{XML}<styleSheet xmlns="{MAIN}">'
    '<numFmts count="1"><numFmt numFmtId="164" formatCode="dd/mm/yyyy\\ hh:mm:ss"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>'
    '</fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
SHEET_BEGIN: Final = (
    f'{XML}<worksheet xmlns="{MAIN}"><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2"'
    ' activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/>'
)
SHEET_END: Final = "</sheetData></worksheet>"
WIDTH_CHARACTERS: Final = {Kind.TEXT: 24, Kind.INTEGER: 10, Kind.NUMBER: 12}
TIME_COLUMNS: Final = (("_ms", 16), ("", 30), ("_local", 20))
"""A time's columns: the name's suffix and the width in characters."""

_CODED: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
"""Excel reads `_x0041_` in a text as a coded character; an underscore that is coded itself stays one."""


def workbook_pieces(tables: Sequence[Table], made: datetime) -> Iterator[bytes]:
    """The workbook, a sheet or more for each table."""
    return zip_pieces(_parts(tables), made)


def _parts(tables: Sequence[Table]) -> Iterator[Member]:
    sheets: list[str] = []
    for table in tables:
        rows = _Ahead(table.rows())
        continued = 1
        while continued == 1 or not rows.ended:
            sheets.append(table.name if continued == 1 else f"{table.name} {continued}")
            yield Member(f"xl/worksheets/sheet{len(sheets)}.xml", _sheet(table, rows))
            continued += 1
    yield Member("xl/styles.xml", [STYLES.encode()])
    yield Member("xl/workbook.xml", [_workbook(sheets).encode()])
    yield Member("xl/_rels/workbook.xml.rels", [_workbook_relations(len(sheets)).encode()])
    yield Member("_rels/.rels", [_package_relations().encode()])
    yield Member("[Content_Types].xml", [_content_types(len(sheets)).encode()])


class _Ahead:
    """Rows that tell whether there is another one."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows: Final = rows
        self._next = next(rows, None)

    @property
    def ended(self) -> bool:
        return self._next is None

    def take(self) -> Row:
        row = self._next
        assert row is not None  # noqa: S101  # callers look at `ended`; for the type checker
        self._next = next(self._rows, None)
        return row


def _sheet(table: Table, rows: _Ahead) -> Iterator[bytes]:
    """One sheet: as many rows as it may hold."""
    yield (SHEET_BEGIN + _columns(table) + "<sheetData>" + _header(table)).encode()
    kinds = [column.kind for column in table.columns]
    piece: list[str] = []
    for _ in range(ROWS_A_SHEET_MAX - 1):
        if rows.ended:
            break
        cells = "".join(map(_cell, kinds, rows.take()))
        piece.append(f"<row>{cells}</row>")
        if len(piece) == ROWS_A_PIECE:
            yield "".join(piece).encode()
            piece.clear()
    yield ("".join(piece) + SHEET_END).encode()


def _columns(table: Table) -> str:
    widths: list[int] = []
    for column in table.columns:
        widths += [width for _, width in TIME_COLUMNS] if column.kind is Kind.TIME else [WIDTH_CHARACTERS[column.kind]]
    columns = (f'<col min="{n}" max="{n}" width="{width}" customWidth="1"/>' for n, width in enumerate(widths, start=1))
    return f"<cols>{''.join(columns)}</cols>"


def _header(table: Table) -> str:
    names: list[str] = []
    for column in table.columns:
        suffixes = [suffix for suffix, _ in TIME_COLUMNS] if column.kind is Kind.TIME else [""]
        names += [column.name + suffix for suffix in suffixes]
    return f"<row>{''.join(_text(name, HEADER_STYLE) for name in names)}</row>"


def _cell(kind: Kind, value: str | int | float | None) -> str:
    if value is None:
        return "<c/><c/><c/>" if kind is Kind.TIME else "<c/>"
    if isinstance(value, str):
        return _text(value)
    if kind is Kind.TIME:
        ms = int(value)
        return f'<c><v>{ms}</v></c>{_text(iso(ms))}<c s="{DATE_STYLE}"><v>{excel_serial(ms)!r}</v></c>'
    return f"<c><v>{value!r}</v></c>"


def _text(value: str, style: int = 0) -> str:
    if len(value) > CELL_CHARACTERS_MAX:
        value = value[: CELL_CHARACTERS_MAX - len(CUT)] + CUT
    text = escape(_CODED.sub("_x005F_", visible(value)))
    return f'<c s="{style}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _workbook(sheets: Sequence[str]) -> str:
    listed = (f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, start=1))
    return f'{XML}<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>{"".join(listed)}</sheets></workbook>'


def _workbook_relations(sheets: int) -> str:
    listed = [
        f'<Relationship Id="rId{n}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, sheets + 1)
    ]
    listed.append(f'<Relationship Id="rId{sheets + 1}" Type="{RELATIONS}/styles" Target="styles.xml"/>')
    return f'{XML}<Relationships xmlns="{PACKAGE}/relationships">{"".join(listed)}</Relationships>'


def _package_relations() -> str:
    return (
        f'{XML}<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1"'
        f' Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    )


def _content_types(sheets: int) -> str:
    parts = [(f"/xl/worksheets/sheet{n}.xml", f"{SHEETML}.worksheet+xml") for n in range(1, sheets + 1)]
    parts += [("/xl/workbook.xml", f"{SHEETML}.sheet.main+xml"), ("/xl/styles.xml", f"{SHEETML}.styles+xml")]
    listed = (f'<Override PartName="{name}" ContentType="{kind}"/>' for name, kind in parts)
    return (
        f'{XML}<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{"".join(listed)}</Types>'
    )
