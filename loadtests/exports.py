"""Export a trace of a million contacts and say how long it takes and how much memory; read all of it back.

    python -m loadtests.exports --contacts 1000000 --out /tmp/exports

The saved answer is generated into a file, contact by contact, and exported from there as the service does it, each
format in a process of its own, whose peak memory is told. Prints one JSON object a format.
"""

import argparse
import csv
import io
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Final

import msgspec
import pyarrow.parquet

from events import codec
from events.places import Category, Place
from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.answer import AnsweredContact, AnsweredIndex, CutOff
from tracing.chain import Edge
from tracing.exports import lists
from tracing.exports.archive import archive_pieces
from tracing.exports.formats import Format, content_of
from tracing.exports.moments import iso
from tracing.exports.source import Head, Known, Source, saved_source
from tracing.exports.tables import Kind, Row, Table
from tracing.overlap import Encounter
from tracing.question import IndexSubject, ResolvedQuestion
from tracing.rule import Rule

START: Final = 1_634_860_800_000
HOUR: Final = 3_600_000
INDEX: Final = "f" * 32
PLACES: Final = 1_000
PIECE_BYTES: Final = 1_000_000
CONTACTS_A_WRITE: Final = 1_000
KB: Final = 1024
CHECKED: Final = (Format.CSV, Format.PARQUET)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one export took. Memory in MB: `idle` before the first contact, `peak` at most."""

    format: str
    contacts: int
    seconds: float
    contacts_per_second: int
    idle_mb: int
    peak_mb: int
    archive_mb: float


def contact_of(number: int) -> AnsweredContact:
    """The same contact whenever it is asked for: one encounter, at one of a thousand places."""
    place, start = f"place-{number % PLACES}", START + number % 1_000_000 * 1_000
    end = start + 900_000 + number % 7_000
    scans = (("gate-" + str(number % 500), number + 1), ("gate-" + str(number % 500), number + 2))
    stay = Stay(place, start, end, EntryKnown.MEASURED, ExitKnown.MEASURED, scans)
    index_stay = Stay(place, start - HOUR, end + HOUR, EntryKnown.MEASURED, ExitKnown.DWELL, (("gate-0", number + 1),))
    return AnsweredContact(
        subject=f"{number:032x}",
        depth=1,
        seconds=(end - start) / 1000,
        ms=end - start,
        first=start,
        last=end,
        via=(Edge(INDEX, start),),
        intervals=((start, end),),
        encounters=(Encounter(INDEX, place, start, end, end - start, 0, index_stay, stay),),
    )


def head() -> Head:
    """All of the answer but its contacts."""
    to = START + 400 * HOUR
    index = IndexSubject(subject=INDEX, cases=("f0-1",), from_=START, to=to)
    return Head(
        id="ab" * 16,
        asked_at=to,
        fingerprint="0f" * 32,
        question=ResolvedQuestion(
            index=(index,),
            lag_seconds=0,
            min_seconds=900,
            rule=Rule.TOTAL,
            as_of=to,
            depth=1,
            latency_seconds=0,
        ),
        cut_off=CutOff(as_of=to, read_to=to),
        index=(AnsweredIndex(subject=INDEX, cases=("f0-1",), from_=START, to=to, stays=9),),
        index_without_scans=(),
        scans_without_place=0,
    )


def known() -> Known:
    """Places by id."""

    def place(place_id: str) -> Place:
        number = int(place_id.removeprefix("place-"))
        return Place(id=place_id, number=number, name=f"Chợ số {number}", category=Category.MARKET)

    return Known(place=place, confirmed_at=lambda _: START)


def write_answer(path: Path, contacts: int) -> None:
    """The saved answer, as the table of traces keeps it."""
    with path.open("wb") as file:
        file.write(codec.to_json(head())[:-1] + b',"contacts":[')
        for start in range(0, contacts, CONTACTS_A_WRITE):
            numbers = range(start, min(start + CONTACTS_A_WRITE, contacts))
            file.write((b"," if start else b"") + b",".join(codec.to_json(contact_of(number)) for number in numbers))
        file.write(b"]}")


def source_in(path: Path) -> Source:
    """The saved answer in a file, read a piece at a time."""

    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    return saved_source(pieces, known())


def export(answer: Path, format: Format, archive: Path, contacts: int) -> Measured:
    """Export in this process, and measure."""
    idle = _peak_mb()
    began = time.perf_counter()
    source = source_in(answer)
    with archive.open("wb") as file:
        file.writelines(archive_pieces(format, [content_of(format, source)], START))
    seconds = time.perf_counter() - began
    return Measured(
        format=format.value,
        contacts=contacts,
        seconds=round(seconds, 1),
        contacts_per_second=round(contacts / seconds),
        idle_mb=idle,
        peak_mb=_peak_mb(),
        archive_mb=round(archive.stat().st_size / KB / KB, 1),
    )


def exported_apart(answer: Path, format: Format, archive: Path, contacts: int) -> Measured:
    """The same in a process of its own, so that its memory is its own."""
    call = [sys.executable, "-m", "loadtests.exports", "--one", format.value, str(answer), str(archive)]
    done = subprocess.run([*call, "--contacts", str(contacts)], check=True, stdout=subprocess.PIPE)
    return codec.from_json(done.stdout, Measured)


def check(archive: Path, format: Format, contacts: int) -> None:
    """Read the tables back, row by row, against those of the generator. Raises `ValueError` at the first difference."""
    source = Source(head(), known(), lambda: map(contact_of, range(contacts)))
    for table in (lists.linelist(source), lists.contacts(source)):
        read = _csv_rows(archive, table) if format is Format.CSV else _parquet_rows(archive, table)
        for number, (found, wanted) in enumerate(zip_longest(read, _expected(table, format)), start=1):
            if found != wanted:
                raise ValueError(f"{table.name}.{format}, row {number}: {found} instead of {wanted}")


def _expected(table: Table, format: Format) -> Iterator[tuple[object, ...]]:
    kinds = [column.kind for column in table.columns]
    for row in table.rows():
        cells = tuple(_split(kinds, row))
        yield tuple("" if cell is None else str(cell) for cell in cells) if format is Format.CSV else cells


def _split(kinds: Iterable[Kind], row: Row) -> Iterator[str | int | float | None]:
    for kind, value in zip(kinds, row, strict=True):
        yield value
        if kind is Kind.TIME:
            yield iso(int(value)) if value is not None else None


def _csv_rows(archive: Path, table: Table) -> Iterator[tuple[object, ...]]:
    with zipfile.ZipFile(archive) as files, files.open(f"{table.name}.csv") as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
        next(rows)
        yield from map(tuple, rows)


def _parquet_rows(archive: Path, table: Table) -> Iterator[tuple[object, ...]]:
    with zipfile.ZipFile(archive) as files, files.open(f"{table.name}.parquet") as file:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
            columns = [column.to_pylist() for column in batch.columns]
            for row in zip(*columns, strict=True):
                yield tuple(
                    each.isoformat(timespec="milliseconds") if hasattr(each, "isoformat") else each for each in row
                )


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // KB


def main() -> None:
    """Measure every format, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("truyvet-exports"), help="a folder for answer and archives")
    parser.add_argument("--formats", nargs="*", default=[format.value for format in CHECKED], choices=list(Format))
    parser.add_argument("--one", nargs=3, metavar=("FORMAT", "ANSWER", "ARCHIVE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        format, answer, archive = given.one
        sys.stdout.buffer.write(codec.to_json(export(Path(answer), Format(format), Path(archive), given.contacts)))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    answer = given.out / "answer.json"
    began = time.perf_counter()
    write_answer(answer, given.contacts)
    took = timedelta(seconds=round(time.perf_counter() - began))
    print(f"{given.contacts:,} contacts, {answer.stat().st_size / KB / KB:,.0f} MB of JSON, made in {took}", flush=True)
    for name in given.formats:
        archive = given.out / f"{name}.zip"
        print(codec.to_json(exported_apart(answer, Format(name), archive, given.contacts)).decode(), flush=True)
        if Format(name) in CHECKED:
            check(archive, Format(name), given.contacts)
            print(f"{name}: every row is as it was generated", flush=True)


if __name__ == "__main__":
    main()
