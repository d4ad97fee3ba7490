"""Places as a CSV file: every row checked, every fault named by its line, parents in any order.

Pure: lines and the registered places go in, the places to register come out.
"""

import csv
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from app.field_words import fault_in_words
from app.unseen import unseen_in
from events.places import PLACE_DEPTH_MAX, Place, PlaceTree
from tracing.exports.cells import plain_cell

COLUMNS: Final = (
    "id",
    "name",
    "category",
    "parent",
    "dwell_seconds",
    "province",
    "district",
    "commune",
    "latitude",
    "longitude",
    "capacity",
    "opens",
    "closes",
)
REQUIRED: Final = ("id", "name")
ERRORS_MAX: Final = 50


class Row(msgspec.Struct, frozen=True):
    """One good line: its number in the file, and the place under a number that stands for none."""

    line: int
    place: Place


class RowError(msgspec.Struct, frozen=True):
    """What is wrong with a line."""

    line: int
    text: str


class FileRefused(Exception):
    """Nothing was imported; `errors` name the lines."""

    def __init__(self, errors: list[RowError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors: Final = errors


class Change(msgspec.Struct, frozen=True):
    """What an import does: places to register, parents before children, and how many are as they were."""

    new: list[Place]
    changed: list[Place]
    unchanged: int

    @property
    def places(self) -> list[Place]:
        """All that must be recorded."""
        return self.new + self.changed


def read_places(lines: Iterable[str]) -> list[Row]:
    """The places of a CSV file with a header line. Raises `FileRefused` with every fault found."""
    reader = csv.DictReader(lines, restkey="", strict=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        _check_header(header)
        reader.fieldnames = header
        rows: list[Row] = []
        errors: list[RowError] = []
        first_line: dict[str, int] = {}
        for record in reader:
            outcome = _row(reader.line_num, record)
            if isinstance(outcome, Row) and outcome.place.id in first_line:
                earlier = first_line[outcome.place.id]
                outcome = RowError(outcome.line, f"id {outcome.place.id!r} stands on line {earlier} already")
            if isinstance(outcome, RowError):
                errors.append(outcome)
            else:
                first_line[outcome.place.id] = outcome.line
                rows.append(outcome)
            if len(errors) == ERRORS_MAX:
                break
    except csv.Error as error:
        raise FileRefused([RowError(reader.line_num, f"not CSV: {error}")]) from None
    except UnicodeDecodeError:
        raise FileRefused([RowError(reader.line_num + 1, "not UTF-8: save the file as CSV UTF-8")]) from None
    if errors:
        raise FileRefused(errors)
    return rows


def change(rows: list[Row], registered: PlaceTree, next_number: Callable[[], int]) -> Change:
    """What to record so that the registry holds the rows; numbers are asked for only when every row is good.

    Raises `FileRefused` where a parent is unknown, parents form a ring, or places nest too deeply.
    """
    wanted = {row.place.id: row.place for row in rows}
    merged = dict(registered.by_id) | wanted
    errors = [RowError(row.line, text) for row in rows if (text := _parent_error(row.place, merged)) is not None]
    if errors:
        raise FileRefused(errors[:ERRORS_MAX])
    new: list[Place] = []
    changed: list[Place] = []
    unchanged = 0
    for row in sorted(rows, key=lambda row: (_depth(row.place, merged), row.line)):
        known = registered.by_id.get(row.place.id)
        if known is None:
            new.append(msgspec.structs.replace(row.place, number=next_number()))
        elif msgspec.structs.replace(row.place, number=known.number) != known:
            changed.append(msgspec.structs.replace(row.place, number=known.number))
        else:
            unchanged += 1
    return Change(new, changed, unchanged)


def _check_header(header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    twice = sorted({name for name in header if header.count(name) > 1})
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise FileRefused([RowError(1, "commas must separate the columns: save the file as CSV with commas")])
    if missing:
        raise FileRefused([RowError(1, f"the header lacks {', '.join(missing)}; the columns are {', '.join(COLUMNS)}")])
    if unknown:
        raise FileRefused(
            [RowError(1, f"unknown columns {', '.join(map(repr, unknown))}; known: {', '.join(COLUMNS)}")]
        )
    if twice:
        raise FileRefused([RowError(1, f"the header has {', '.join(twice)} twice")])


def _row(line: int, record: Mapping[str | None, str | list[str] | None]) -> Row | RowError:
    if record.get(""):
        return RowError(line, "more cells than the header has columns")
    cells = {
        str(name): unicodedata.normalize("NFC", plain_cell(value.strip()))
        for name, value in record.items()
        if isinstance(value, str) and value.strip()
    }
    for name in REQUIRED:
        if name not in cells:
            return RowError(line, f"{name} is empty")
    for name, value in cells.items():
        if (unseen := unseen_in(value)) is not None:
            return RowError(line, f"{name} has a character that nobody sees ({unseen}): type it anew")
    try:
        return Row(line, msgspec.convert({**cells, "number": 0}, Place, strict=False))
    except msgspec.ValidationError as error:
        return RowError(line, fault_in_words(error, {**cells}))


def _parent_error(place: Place, places: Mapping[str, Place]) -> str | None:
    chain = {place.id}
    current = place
    while current.parent is not None:
        if current.parent not in places:
            return f"parent {current.parent!r} is neither in the file nor registered"
        if current.parent in chain:
            return f"its parents form a ring over {current.parent!r}"
        if len(chain) > PLACE_DEPTH_MAX:
            return f"places nest deeper than {PLACE_DEPTH_MAX}"
        chain.add(current.parent)
        current = places[current.parent]
    return None


def _depth(place: Place, places: Mapping[str, Place]) -> int:
    depth = 0
    while place.parent is not None:
        place = places[place.parent]
        depth += 1
    return depth
