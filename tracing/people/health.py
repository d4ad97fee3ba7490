"""Vaccinations and tests, as other registers tell them: imported as CSV, read beside a contact.

A record is named by its source and its number there. The same one again changes nothing, another content under the
number corrects it, and `withdrawn` takes it back; what came last counts.
"""

import datetime
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from events.people import Finding, HealthKind, HealthRecord
from storage.clickhouse import Store
from tracing.line_files import BadCell, Column, RowError, WrongHeader, names_of, records
from tracing.times import datetime_of

ROWS_MAX: Final = 10_000
"""So many lines travel in one import; a longer file comes in pieces."""
ERRORS_MAX: Final = 200
"""So many lines are told what is wrong with them; of the others the number is."""
SUBJECTS_A_READ: Final = 2_000
DAY_MIN: Final = datetime.date(2019, 12, 1)
"""Before the first test and the first vaccine there was."""
DOSE_MAX: Final = 20

_SUBJECT: Final = re.compile(r"[0-9a-f]{32}")
_PRODUCT: Final = re.compile(r"[\w][\w .,+()/-]{0,63}")
_NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
_DOSE: Final = re.compile(r"[1-9][0-9]?")
_YES: Final = {"": False, "no": False, "yes": True}

T = TypeVar("T")

COLUMNS: Final = (
    *("subject", "source", "record", "kind", "day", "product", "dose", "result"),
    *("withdrawn", "imported"),
)


DICTIONARY: Final = (
    Column(
        name="subject",
        required=True,
        text="The person's pseudonym, 32 lower-case hexadecimal digits",
        example="5f0c2a9be1d34c7788aa01b2c3d4e5f6",
    ),
    Column(name="kind", required=True, text="`vaccination` or `test`", example="vaccination"),
    Column(name="day", required=True, text="The day it was given or taken, as YYYY-MM-DD", example="2021-09-14"),
    Column(
        name="product",
        required=True,
        text="The vaccine, or the kind of test: 1 to 64 letters, digits, spaces and . , + ( ) / -",
        example="AZD1222",
    ),
    Column(
        name="dose",
        required=False,
        text=f"Of a vaccination: which dose it was, 1 to {DOSE_MAX}; empty for a test",
        example="2",
    ),
    Column(
        name="result",
        required=False,
        text="Of a test: `negative`, `positive` or `inconclusive`; empty for a vaccination",
        example="",
    ),
    Column(
        name="source",
        required=True,
        text="The register that the line comes from: 1 to 64 letters, digits and . _ / -",
        example="hn-vaccinations",
    ),
    Column(
        name="record",
        required=False,
        text="The line's number in that register; without one, the line's own content names it",
        example="2021-0004711",
    ),
    Column(name="withdrawn", required=False, text="`yes` takes a record back; else `no` or empty", example=""),
)
"""The columns, in any order; the file is UTF-8 with a header line, separated by commas (RFC 4180)."""


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """The good lines of a file in its order, each with whether it takes the record back; what is wrong with others."""

    records: list[tuple[HealthRecord, bool]]
    errors: list[RowError]

    @property
    def withdrawn(self) -> int:
        """How many lines take a record back."""
        return sum(1 for _, withdrawn in self.records if withdrawn)


def parse(text: str, today: datetime.date) -> Parsed:
    """The records of a CSV text, a line each: no cell holds a line break.

    Raises `WrongHeader`, also for one of more than `ROWS_MAX` lines.
    """
    found, errors = records(text, _header, lambda _, row: _record(row, today), ROWS_MAX)
    return Parsed(records=found, errors=errors)


def _header(cells: Sequence[str]) -> list[str]:
    named = {cell.strip().lower() for cell in cells}
    missing = [column.name for column in DICTIONARY if column.required and column.name not in named]
    if missing:
        raise WrongHeader(f"the first line lacks the column {missing[0]}")
    return names_of(cells, DICTIONARY)


def _record(row: dict[str, str], today: datetime.date) -> tuple[HealthRecord, bool]:
    kind = _choice(row, "kind", {each.value: each for each in HealthKind})
    subject = _matching(row, "subject", _SUBJECT, "a pseudonym is 32 lower-case hexadecimal digits")
    source = _matching(row, "source", _NUMBER, "1 to 64 letters, digits and . _ / -")
    other = "result" if kind is HealthKind.VACCINATION else "dose"
    if row.get(other):
        raise BadCell(other, f"a {kind} has none")
    record = HealthRecord(
        subject=subject,
        kind=kind,
        day=_day(row, today).isoformat(),
        product=_matching(row, "product", _PRODUCT, "1 to 64 letters, digits, spaces and . , + ( ) / -"),
        dose=_dose(row) if kind is HealthKind.VACCINATION else None,
        result=_finding(row) if kind is HealthKind.TEST else None,
        source=source,
        record=_matching(row, "record", _NUMBER, "1 to 64 letters, digits and . _ / -") if row.get("record") else "",
    )
    withdrawn = _choice(row, "withdrawn", _YES)
    return (record if record.record else msgspec.structs.replace(record, record=_content_id(record))), withdrawn


def _content_id(record: HealthRecord) -> str:
    """A record that its register does not number is named by what it says."""
    said = (record.kind, record.day, record.product, record.dose or 0, record.result or "")
    return "content-" + hashlib.sha256("\x00".join(map(str, said)).encode()).hexdigest()[:24]


def _matching(row: dict[str, str], column: str, pattern: re.Pattern[str], reason: str) -> str:
    if not pattern.fullmatch(row.get(column, "")):
        raise BadCell(column, reason)
    return row[column]


def _choice(row: dict[str, str], column: str, choices: dict[str, T]) -> T:
    text = row.get(column, "").lower()
    if text not in choices:
        raise BadCell(column, "it must be one of: " + ", ".join(name for name in choices if name))
    return choices[text]


def _day(row: dict[str, str], today: datetime.date) -> datetime.date:
    try:
        day = datetime.date.fromisoformat(row["day"])
    except ValueError:
        raise BadCell("day", "a day is written YYYY-MM-DD") from None
    if day.isoformat() != row["day"]:  # other forms of ISO 8601, which nobody was promised
        raise BadCell("day", "a day is written YYYY-MM-DD")
    if not DAY_MIN <= day <= today:
        raise BadCell("day", f"a day lies between {DAY_MIN} and today")
    return day


def _dose(row: dict[str, str]) -> int:
    text = row.get("dose", "")
    if not _DOSE.fullmatch(text) or int(text) > DOSE_MAX:
        raise BadCell("dose", f"a vaccination's dose is a number from 1 to {DOSE_MAX}")
    return int(text)


def _finding(row: dict[str, str]) -> Finding:
    return _choice(row, "result", {each.value: each for each in Finding})


class HealthRecords:
    """The table `health_records`: import and read. Every method raises `StoreDown`."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    def keep(self, parsed: Parsed, imported: int) -> None:
        """Make the good lines durable; `imported` in Unix ms. Of two lines about one record the last counts."""
        rows = [
            (
                *(bytes.fromhex(record.subject), record.source, record.record, record.kind.value),
                *(datetime.date.fromisoformat(record.day), record.product, record.dose or 0, record.result or ""),
                *(withdrawn, datetime_of(imported)),
            )
            for record, withdrawn in parsed.records
        ]
        if rows:
            self._store.insert("health_records", COLUMNS, rows)

    def of(self, subjects: Sequence[str]) -> dict[str, list[HealthRecord]]:
        """The records of each of the subjects who has any, latest day first."""
        found: dict[str, list[HealthRecord]] = {}
        for record in self._read(subjects):
            found.setdefault(record.subject, []).append(record)
        return found

    def _read(self, subjects: Sequence[str]) -> Iterator[HealthRecord]:
        for first in range(0, len(subjects), SUBJECTS_A_READ):
            rows = self._store.rows(
                "SELECT lower(hex(subject)), toString(kind), toString(day), product, dose, toString(result), source,"
                " record FROM health_records FINAL"
                " WHERE subject IN (SELECT toFixedString(unhex(arrayJoin({subjects:Array(String)})), 16))"
                " AND NOT withdrawn ORDER BY subject, day DESC, kind, source, record",
                {"subjects": list(subjects[first : first + SUBJECTS_A_READ])},
            )
            for subject, kind, day, product, dose, result, source, record in rows:
                yield HealthRecord(
                    subject=subject,
                    kind=HealthKind(kind),
                    day=day,
                    product=product,
                    dose=dose or None,
                    result=Finding(result) if result else None,
                    source=source,
                    record=record,
                )
