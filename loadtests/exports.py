"""Export a trace of a million contacts and say how long it takes and how much memory; read all of it back.

    python -m loadtests.exports --contacts 1000000 --out /tmp/exports
    python -m loadtests.exports --contacts 1000000 --out /tmp/exports --over-http

The saved answer is generated into a file, contact by contact, and exported from there as the service does it, each
format in a process of its own, whose peak memory is told. With `--over-http` it is laid into the store of a whole
service instead, and downloaded from that; told is the memory of the process that holds store and trace service. Prints
one JSON object a format.
"""

import argparse
import contextlib
import csv
import io
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

from app.ports import on_free_ports
from app.settings import Settings
from app.stream_client import stream_client
from app.supervisor import Embedded
from events import codec
from events.control import PlaceRegistered
from events.places import Category, Place
from projections.stays import EntryKnown, ExitKnown, Stay
from storage.clickhouse import Store
from storage.control import ControlLog
from storage.saved_traces import PIECE_BYTES, PIECE_COLUMNS, TRACE_COLUMNS
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
from truyvet.client import Client

START: Final = 1_634_860_800_000
HOUR: Final = 3_600_000
INDEX: Final = "f" * 32
PLACES: Final = 1_000
CONTACTS_A_WRITE: Final = 1_000
KB: Final = 1024
PEAK_ANEW: Final = "5"
"""Linux, proc(5), clear_refs: the peak of the resident memory is what it is now."""
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
    return _measured(archive, format, contacts, time.perf_counter() - began, (idle, _peak_mb()))


def _measured(made: Path, format: Format, contacts: int, seconds: float, memory_mb: tuple[int, int]) -> Measured:
    """`memory_mb`: idle, and at most."""
    idle, peak = memory_mb
    return Measured(
        format=format.value,
        contacts=contacts,
        seconds=round(seconds, 1),
        contacts_per_second=round(contacts / seconds),
        idle_mb=idle,
        peak_mb=peak,
        archive_mb=round(made.stat().st_size / KB / KB, 1),
    )


def exported_apart(answer: Path, format: Format, archive: Path, contacts: int) -> Measured:
    """The same in a process of its own, so that its memory is its own."""
    call = [sys.executable, "-m", "loadtests.exports", "--one", format.value, str(answer), str(archive)]
    done = subprocess.run([*call, "--contacts", str(contacts)], check=True, stdout=subprocess.PIPE)
    return codec.from_json(done.stdout, Measured)


def exported_over_http(
    answer: Path, archives: dict[Format, Path], contacts: int, directory: Path
) -> Iterator[Measured]:
    """The answer in the store of a whole service, downloaded in each format."""
    settings = Settings.from_environment(
        {"TRUYVET_DATA_DIR": str(directory), "TRUYVET_LOG_LEVEL": "warning"} | on_free_ports()
    )
    with Embedded(settings), contextlib.closing(stream_client(settings)) as stream:
        place = known().place
        places = [found for number in range(PLACES) if (found := place(f"place-{number}"))]
        ControlLog(stream).append_all([PlaceRegistered(each) for each in places])
    call = [sys.executable, "-m", "loadtests.exports", "--lay", str(answer), settings.store_url]
    subprocess.run(call, check=True)  # the engine in process has one owner
    with Embedded(settings) as service:
        pid = service.pids["store"]
        for format, archive in archives.items():
            archive.unlink(missing_ok=True)
            idle = _peak_anew_mb(pid)
            began = time.perf_counter()
            Client(settings.api, service.token).export(
                head().id, format.value, archive, purpose="A load test of exports"
            )
            yield _measured(archive, format, contacts, time.perf_counter() - began, (idle, _peak_mb(pid)))


def lay(answer: Path, store_url: str) -> None:
    """Put the saved answer into a store that nobody else has open."""
    with contextlib.closing(Store(store_url)) as store, answer.open("rb") as file:
        number = 0
        while piece := file.read(PIECE_BYTES):
            store.insert("trace_pieces", PIECE_COLUMNS, [(head().id, number, piece)])
            number += 1
        row = (head().id, head().asked_at, "An", bytes.fromhex(head().fingerprint), "{}", "")
        store.insert("traces", TRACE_COLUMNS, [row])


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


def _peak_mb(pid: int | str = "self") -> int:
    """The most memory that a process has held, in MB, as Linux tells."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // KB for line in lines if line.startswith("VmHWM:"))


def _peak_anew_mb(pid: int) -> int:
    """The memory that a process holds now, in MB, from which its peak is reckoned anew."""
    Path(f"/proc/{pid}/clear_refs").write_text(PEAK_ANEW, encoding="utf-8")
    return _peak_mb(pid)


def main() -> None:
    """Measure every format, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("truyvet-exports"), help="a folder for answer and archives")
    parser.add_argument("--formats", nargs="*", default=[format.value for format in CHECKED], choices=list(Format))
    parser.add_argument("--one", nargs=3, metavar=("FORMAT", "ANSWER", "ARCHIVE"), help=argparse.SUPPRESS)
    parser.add_argument("--lay", nargs=2, metavar=("ANSWER", "STORE"), help=argparse.SUPPRESS)
    parser.add_argument("--over-http", action="store_true", help="through a service of its own, in a folder in --out")
    given = parser.parse_args()
    if given.lay is not None:
        lay(Path(given.lay[0]), given.lay[1])
        return
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
    archives = {Format(name): given.out / f"{name}.zip" for name in given.formats}
    if given.over_http:
        measured = exported_over_http(answer, archives, given.contacts, given.out / "service")
    else:
        measured = (exported_apart(answer, format, archives[format], given.contacts) for format in archives)
    for one in measured:
        print(codec.to_json(one).decode(), flush=True)
    for format, archive in archives.items():
        if format in CHECKED:
            check(archive, format, given.contacts)
            print(f"{format}: every row is as it was generated", flush=True)


if __name__ == "__main__":
    main()
