"""The tables of a trace: its people, their encounters, the pairs of who met whom, the question itself."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from events import codec
from tracing.exports.source import Pair, Person, Source
from tracing.exports.tables import Column, Kind, Row, Table
from tracing.overlap import Encounter

TEXT, INTEGER, NUMBER, TIME = Kind.TEXT, Kind.INTEGER, Kind.NUMBER, Kind.TIME
ESTIMATED: Final = frozenset({"imputed", "dwell", "open"})
"""Ends of a stay that nobody scanned; `moved` was scanned elsewhere."""

LINELIST_COLUMNS: Final = (
    Column("id", TEXT, "The person's pseudonym, 32 hexadecimal digits; unique in this list"),
    Column("role", TEXT, "F0 index subject, F1 contact, F2 contact of a contact …; empty: only an edge tells of them"),
    Column("depth", INTEGER, "The number of the role"),
    Column("cases", TEXT, "F0: the confirmed cases that named them, separated by spaces"),
    Column("window_from", TIME, "F0: infectious from, the first window's begin"),
    Column("window_to", TIME, "F0: infectious to, the last window's end (exclusive)"),
    Column("stays", INTEGER, "F0: how many of their stays touch the windows"),
    Column("seconds", NUMBER, "Contacts: the length of all exposures together, what they share counted once"),
    Column("first", TIME, "Contacts: the first exposure's begin"),
    Column("last", TIME, "Contacts: the last exposure's end (exclusive)"),
    Column("sources", INTEGER, "Contacts: how many people of the depth before they met"),
    Column("encounters", INTEGER, "Contacts: how many encounters make the contact; empty: saved without evidence"),
    Column("estimated", INTEGER, "Of these, how many rest on an end that nobody scanned"),
    Column("places", INTEGER, "At how many places; empty: saved without evidence"),
    Column("trace", TEXT, "The id of the saved trace"),
)
NAME_COLUMN: Final = Column("name", TEXT, "The name, where it was revealed for a stated purpose")

CONTACTS_COLUMNS: Final = (
    Column("from", TEXT, "Who may have infected: an id of the line list"),
    Column("to", TEXT, "Who may have been infected: an id of the line list"),
    Column("depth", INTEGER, "The depth of `to`"),
    Column("place", TEXT, "The place's id; empty: saved without evidence"),
    Column("place_name", TEXT, "Its name as registered when the trace was as of"),
    Column("start", TIME, "The exposure's begin"),
    Column("end", TIME, "The exposure's end (exclusive); empty: saved without evidence"),
    Column("seconds", NUMBER, "Its length"),
    Column("direct_seconds", NUMBER, "Of it, how long both were there"),
    Column("lagged_seconds", NUMBER, "Of it, how long only the air was there that `from` left behind"),
    Column("from_entry", TEXT, "How the begin of the stay of `from` is known: measured, imputed"),
    Column("from_exit", TEXT, "How its end is known: measured, moved, dwell, open"),
    Column("to_entry", TEXT, "How the begin of the stay of `to` is known"),
    Column("to_exit", TEXT, "How its end is known"),
    Column("from_scans", TEXT, "The scans that prove the stay of `from`: device/seq, separated by spaces"),
    Column("to_scans", TEXT, "The scans that prove the stay of `to`"),
    Column("trace", TEXT, "The id of the saved trace"),
)
PAIRS_COLUMNS: Final = (
    Column("from", TEXT, "Who may have infected: an id of the line list"),
    Column("to", TEXT, "Who may have been infected: an id of the line list"),
    Column("depth", INTEGER, "The depth of `to`"),
    Column("first", TIME, "When their first exposure began"),
    Column("last", TIME, "When their last exposure ended (exclusive); empty: saved without evidence"),
    Column("seconds", NUMBER, "How long they were exposed in all, what encounters share counted once"),
    Column("encounters", INTEGER, "How many encounters; empty: saved without evidence"),
    Column("estimated", INTEGER, "Of these, how many rest on an end that nobody scanned"),
    Column("places", TEXT, "The places' ids, separated by spaces"),
)
QUESTION_COLUMNS: Final = (
    Column("parameter", TEXT, "What decided the answer"),
    Column("number", NUMBER, "Its value, where that is a number"),
    Column("text", TEXT, "Its value, where that is a text"),
)


def linelist(source: Source) -> Table:
    """One row a person: first the index subjects, then the contacts by depth, longest first."""
    columns = LINELIST_COLUMNS if source.known.name_of is None else (*LINELIST_COLUMNS, NAME_COLUMN)

    def rows() -> Iterator[Row]:
        for person in source.people():
            row = _person_row(person, source.head.id)
            yield row if source.known.name_of is None else (*row, source.known.name_of(person.subject))

    return Table("linelist", columns, rows)


def contacts(source: Source) -> Table:
    """One row an encounter; one row a pair where the trace was saved without its evidence."""

    def rows() -> Iterator[Row]:
        for pair in source.pairs():
            yield from _encounter_rows(pair, source)

    return Table("contacts", CONTACTS_COLUMNS, rows)


def pairs(source: Source) -> Table:
    """One row for each two people who met."""

    def rows() -> Iterator[Row]:
        for pair in source.pairs():
            yield _pair_row(pair)

    return Table("contacts", PAIRS_COLUMNS, rows)


def question(source: Source) -> Table:
    """Every parameter that decided the answer, for whoever has nothing but the table."""
    head = source.head
    asked: dict[str, object] = msgspec.to_builtins(head.question)
    del asked["index"]  # the line list names them, with their windows
    decided = {"trace": head.id, "fingerprint": head.fingerprint} | asked
    decided |= {
        "index_without_scans": len(head.index_without_scans),
        "scans_without_place": head.scans_without_place,
    }
    return Table("question", QUESTION_COLUMNS, lambda: _parameter_rows(decided))


def estimated(encounter: Encounter) -> bool:
    """Whether an end of either stay was never scanned."""
    ends = (encounter.index_stay.entry, encounter.index_stay.exit, encounter.stay.entry, encounter.stay.exit)
    return any(end.value in ESTIMATED for end in ends)


def _parameter_rows(values: Mapping[str, object], prefix: str = "") -> Iterator[Row]:
    for name, value in values.items():
        match value:
            case dict():
                yield from _parameter_rows(value, f"{prefix}{name}.")
            case bool() | str():
                yield prefix + name, None, str(value)
            case int() | float():
                yield prefix + name, value, None
            case None:
                yield prefix + name, None, None
            case _:
                yield prefix + name, None, codec.to_json(value).decode()


def _person_row(person: Person, trace: str) -> Row:
    windows, contact = person.windows, person.contact
    met = contact.encounters if contact is not None else None
    return (
        person.subject,
        person.role,
        person.depth,
        " ".join(dict.fromkeys(case for window in windows for case in window.cases)) or None,
        min((window.from_ for window in windows), default=None),
        max((window.to for window in windows), default=None),
        sum(window.stays for window in windows) if windows else None,
        contact.ms / 1000 if contact is not None else None,
        contact.first if contact is not None else None,
        contact.last if contact is not None else None,
        len(contact.via) if contact is not None else None,
        len(met) if met else None,
        sum(map(estimated, met)) if met else None,
        len({one.place for one in met}) if met else None,
        trace,
    )


def _encounter_rows(pair: Pair, source: Source) -> Iterator[Row]:
    trace = source.head.id
    ends = (pair.source, pair.target, pair.depth)
    if not pair.encounters:
        nothing = (None,) * 8
        yield (*ends, None, None, pair.first, None, None, *nothing, trace)
    for one in pair.encounters:
        place = source.known.place(one.place)
        yield (
            *ends,
            one.place,
            place.name if place is not None else None,
            one.start,
            one.end,
            (one.end - one.start) / 1000,
            one.direct_ms / 1000,
            one.lagged_ms / 1000,
            one.index_stay.entry.value,
            one.index_stay.exit.value,
            one.stay.entry.value,
            one.stay.exit.value,
            _scans(one.index_stay.scans),
            _scans(one.stay.scans),
            trace,
        )


def _pair_row(pair: Pair) -> Row:
    met = pair.encounters
    return (
        pair.source,
        pair.target,
        pair.depth,
        pair.first,
        pair.last,
        pair.ms / 1000 if pair.ms is not None else None,
        len(met) if met else None,
        sum(map(estimated, met)) if met else None,
        " ".join(dict.fromkeys(one.place for one in met)) or None,
    )


def _scans(scans: tuple[tuple[str, int], ...]) -> str:
    return " ".join(f"{device}/{seq}" for device, seq in scans)
