"""Line lists as CSV: every row checked, every fault told by line and column, and never what was found there. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

from events.text import VISIBLE
from keys.pseudonyms import citizen_number_error, pseudonym_of_citizen
from tracing.line_files import BadCell, Column, RowError, WrongHeader, names_of, records

ROWS_MAX: Final = 5_000
"""So many lines travel in one import; a longer file comes in pieces."""
NAME_CHARACTERS_MAX: Final = 200
ADDRESS_CHARACTERS_MAX: Final = 500
BIRTH_YEAR_MIN: Final = 1900

_SUBJECT: Final = re.compile(r"[0-9a-f]{32}")
_VISIBLE: Final = re.compile(VISIBLE)
_PHONE: Final = re.compile(r"\+?[0-9][0-9 ().-]{5,23}")
_YEAR: Final = re.compile(r"[0-9]{4}")
_QUOTED: Final = re.compile(r"'(?=\s*[=+\-@＝＋－＠])")
"""The apostrophe that this program's own exports, and careful spreadsheets, put before what looks like a formula."""

DICTIONARY: Final = (
    Column(
        name="citizen_number",
        required=False,
        text="The citizen number (CCCD), 12 digits: the person's pseudonym is made of it. Kept sealed",
        example="001201000001",
    ),
    Column(
        name="subject",
        required=False,
        text="Instead of the citizen number: the person's pseudonym, 32 lower-case hexadecimal digits",
        example="",
    ),
    Column(
        name="name",
        required=True,
        text=f"The person's name, 1 to {NAME_CHARACTERS_MAX} characters",
        example="Nguyễn Văn An",
    ),
    Column(
        name="phone",
        required=False,
        text="A telephone number: 6 to 24 digits, spaces, dots, hyphens and brackets, with or without +",
        example="+84 24 3333 0000",
    ),
    Column(
        name="address",
        required=False,
        text=f"Where the person lives, up to {ADDRESS_CHARACTERS_MAX} characters",
        example="Số 1, ngõ 2, phường Đồng Xuân, Hà Nội",
    ),
    Column(name="birth_year", required=False, text=f"The year of birth, from {BIRTH_YEAR_MIN} on", example="1985"),
)
"""The columns, in any order; the file is UTF-8 with a header line, separated by commas (RFC 4180)."""


class Person(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a person, sealed."""

    name: str
    phone: str = ""
    address: str = ""
    birth_year: int | None = None
    citizen_number: str = ""


class Entry(msgspec.Struct, frozen=True):
    """A good line: its number in the text, the person's pseudonym (16 bytes), and what is to be kept."""

    line: int
    subject: bytes
    person: Person


class LineList(msgspec.Struct, frozen=True):
    """The good lines of a file, and the errors of the others."""

    entries: list[Entry]
    errors: list[RowError]


def parse(text: str, pseudonym_key: bytes, year: int) -> LineList:
    """The people of a CSV text; `year` is this one. Raises `WrongHeader`, also for more than `ROWS_MAX` lines."""
    first_line: dict[bytes, int] = {}

    def entry(line: int, row: dict[str, str]) -> Entry:
        cells = {name: unicodedata.normalize("NFC", _QUOTED.sub("", cell, count=1)) for name, cell in row.items()}
        found = _entry(line, cells, pseudonym_key, year)
        _once(found, first_line)
        return found

    entries, errors = records(text, _header, entry, ROWS_MAX)
    return LineList(entries, errors)


def _header(cells: Sequence[str]) -> list[str]:
    named = {cell.strip().lower() for cell in cells}
    if len(cells) == 1 and any(mark in cells[0] for mark in ";\t"):
        raise WrongHeader("commas must separate the columns; save the file as CSV with commas")
    if "name" not in named or not {"citizen_number", "subject"} & named:
        raise WrongHeader("the first line must name the columns name, and citizen_number or subject")
    return names_of(cells, DICTIONARY)


def _entry(line: int, row: dict[str, str], pseudonym_key: bytes, year: int) -> Entry:
    number = row.get("citizen_number", "")
    person = Person(
        name=_text(row, "name", NAME_CHARACTERS_MAX),
        phone=_phone(row),
        address=_text(row, "address", ADDRESS_CHARACTERS_MAX),
        birth_year=_year(row, year),
        citizen_number=number,
    )
    if not person.name:
        raise BadCell("name", "a person has a name")
    return Entry(line, _subject(row, number, pseudonym_key), person)


def _subject(row: dict[str, str], number: str, pseudonym_key: bytes) -> bytes:
    given = row.get("subject", "")
    if bool(given) == bool(number):
        raise BadCell("citizen_number", "a line has either a citizen number or a pseudonym")
    if given:
        if not _SUBJECT.fullmatch(given):
            raise BadCell("subject", "a pseudonym is 32 lower-case hexadecimal digits")
        return bytes.fromhex(given)
    fault = citizen_number_error(number)
    if fault is not None:
        raise BadCell("citizen_number", fault)
    return pseudonym_of_citizen(number, pseudonym_key)


def _text(row: dict[str, str], column: str, characters_max: int) -> str:
    text = row.get(column, "")
    if len(text) > characters_max:
        raise BadCell(column, f"at most {characters_max} characters")
    if not _VISIBLE.match(text):
        raise BadCell(column, "a character that nobody sees, or a line break; type it anew")
    return text


def _phone(row: dict[str, str]) -> str:
    text = row.get("phone", "")
    if text and not _PHONE.fullmatch(text):
        raise BadCell("phone", "6 to 24 digits, spaces, dots, hyphens and brackets, with or without +")
    return text


def _year(row: dict[str, str], year: int) -> int | None:
    text = row.get("birth_year", "")
    if not text:
        return None
    if not _YEAR.fullmatch(text) or not BIRTH_YEAR_MIN <= int(text) <= year:
        raise BadCell("birth_year", f"a year from {BIRTH_YEAR_MIN} to this one")
    return int(text)


def _once(entry: Entry, first_line: dict[bytes, int]) -> None:
    known = first_line.setdefault(entry.subject, entry.line)
    if known != entry.line:
        raise BadCell("", f"the same person stands on line {known} already")
