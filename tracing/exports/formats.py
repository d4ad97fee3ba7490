"""Every format that a trace can be exported in, and the files that it consists of."""

import enum
import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from events.problems import EXPORT_UNAVAILABLE, ProblemError
from tracing.exports import epicontacts, godata, lists, sormas
from tracing.exports.archive import Content
from tracing.exports.csv_file import csv_pieces, excel_csv_pieces
from tracing.exports.files import File, counted, table_file
from tracing.exports.geojson import geojson_pieces
from tracing.exports.graphs import gexf_pieces, graphml_pieces
from tracing.exports.json_lines import answer_pieces, json_lines_pieces
from tracing.exports.moments import local
from tracing.exports.source import Source
from tracing.exports.tables import Table
from tracing.exports.timeline import calendar_pieces, index_visits
from tracing.exports.xlsx import workbook_pieces

CSV_TYPE: Final = "text/csv; charset=utf-8; header=present"
XLSX_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PARQUET_TYPE: Final = "application/vnd.apache.parquet"
JSON_LINES_TYPE: Final = "application/jsonl"
CALENDAR_TYPE: Final = "text/calendar; charset=utf-8"
NO_EVIDENCE: Final = "The trace was saved without its evidence: places and encounters are not known to this export."
BEYOND_GODATA: Final = "Go.Data knows nobody beyond a contact of a contact: F3 are not in these files."


class Format(enum.StrEnum):
    """The formats by the names that they are asked for."""

    CSV = "csv"
    CSV_EXCEL_VI = "csv-excel-vi"
    XLSX = "xlsx"
    PARQUET = "parquet"
    JSONL = "jsonl"
    EPICONTACTS = "epicontacts"
    GODATA = "godata"
    SORMAS = "sormas"
    GRAPHML = "graphml"
    GEXF = "gexf"
    GEOJSON = "geojson"
    ICS = "ics"


def content_of(format: Format, source: Source, folder: str = "") -> Content:
    """The files of a trace in a format. Raises EXPORT_UNAVAILABLE as `ProblemError`; nothing is read yet."""
    notes = []
    if format is Format.GODATA and source.head.question.depth > godata.DEPTH_MAX:
        notes.append(BEYOND_GODATA)
    return Content(folder=folder, files=FILES[format](source), source=source, notes=tuple(notes))


def _csv(source: Source) -> tuple[File, ...]:
    return tuple(_csv_file(table) for table in _tables(source))


def _excel(source: Source) -> tuple[File, ...]:
    return tuple(table_file(table, "csv", CSV_TYPE, excel_csv_pieces) for table in _tables(source))


def _xlsx(source: Source) -> tuple[File, ...]:
    made = local(source.head.asked_at)

    def write(counts: Counter[str]) -> Iterator[bytes]:
        return workbook_pieces([counted(table, counts, table.name) for table in _tables(source)], made)

    return (File(name="trace.xlsx", media_type=XLSX_TYPE, write=write, packed=True),)


def _parquet(source: Source) -> tuple[File, ...]:
    try:
        pieces_of: Callable[[Table], Iterator[bytes]] = importlib.import_module(
            "tracing.exports.parquet"
        ).parquet_pieces
    except ImportError:
        raise ProblemError(EXPORT_UNAVAILABLE.problem("Parquet needs the extra `export` (pyarrow).")) from None
    return tuple(
        table_file(table, "parquet", PARQUET_TYPE, pieces_of, packed=True)
        for table in (lists.linelist(source), lists.contacts(source))
    )


def _jsonl(source: Source) -> tuple[File, ...]:
    tables = tuple(
        table_file(table, "jsonl", JSON_LINES_TYPE, json_lines_pieces)
        for table in (lists.linelist(source), lists.contacts(source))
    )
    return (
        *tables,
        File(name="answer.jsonl", media_type=JSON_LINES_TYPE, write=lambda counts: answer_pieces(source, counts)),
    )


def _epicontacts(source: Source) -> tuple[File, ...]:
    return (
        _csv_file(lists.linelist(source)),
        _csv_file(lists.pairs(source)),
        File(
            name="read.R", media_type="text/plain; charset=utf-8", write=lambda _: iter([epicontacts.READ_R.encode()])
        ),
    )


def _godata(source: Source) -> tuple[File, ...]:
    depth = source.head.question.depth
    contacts = [godata.contacts(source, level) for level in range(1, min(depth, godata.DEPTH_MAX) + 1)]
    return tuple(map(_csv_file, (godata.cases(source), *contacts, godata.relationships(source))))


def _sormas(source: Source) -> tuple[File, ...]:
    entities = [sormas.ENTITY] * len(sormas.CASE_COLUMNS)
    return (
        table_file(sormas.cases(source), "csv", CSV_TYPE, partial(csv_pieces, above=entities)),
        _csv_file(sormas.contacts(source)),
    )


def _graphml(source: Source) -> tuple[File, ...]:
    return (File(name="trace.graphml", media_type="application/xml", write=partial(graphml_pieces, source)),)


def _gexf(source: Source) -> tuple[File, ...]:
    return (File(name="trace.gexf", media_type="application/xml", write=partial(gexf_pieces, source)),)


def _geojson(source: Source) -> tuple[File, ...]:
    write = partial(geojson_pieces, source)
    return (File(name="places.geojson", media_type="application/geo+json", write=write),)


def _ics(source: Source) -> tuple[File, ...]:
    def write(counts: Counter[str]) -> Iterator[bytes]:
        head = source.head
        visits = index_visits(source)
        return calendar_pieces(f"Trace {head.id}", visits, source.known.place, head.cut_off.as_of, counts)

    return (File(name="timeline.ics", media_type=CALENDAR_TYPE, write=write),)


def _tables(source: Source) -> list[Table]:
    return [lists.linelist(source), lists.contacts(source), lists.question(source)]


def _csv_file(table: Table) -> File:
    return table_file(table, "csv", CSV_TYPE, csv_pieces)


FILES: Final[Mapping[Format, Callable[[Source], tuple[File, ...]]]] = MappingProxyType(
    {
        Format.CSV: _csv,
        Format.CSV_EXCEL_VI: _excel,
        Format.XLSX: _xlsx,
        Format.PARQUET: _parquet,
        Format.JSONL: _jsonl,
        Format.EPICONTACTS: _epicontacts,
        Format.GODATA: _godata,
        Format.SORMAS: _sormas,
        Format.GRAPHML: _graphml,
        Format.GEXF: _gexf,
        Format.GEOJSON: _geojson,
        Format.ICS: _ics,
    }
)
