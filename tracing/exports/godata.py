"""Files for Go.Data's import: cases, contacts, contacts of contacts, and the relationships beyond the first of each.

Sources: what its import pages require (`requiredDestinationFields` of src/app/features/import-export-data in
https://github.com/WorldHealthOrganization/GoDataSource-FrontEnd) and what its models hold (common/models/case.json,
contact.json and relationship.json in https://github.com/WorldHealthOrganization/GoDataSource-API). Columns are called
by Go.Data's own field names, so that its mapping finds them by itself; people are known there by `visualId`, which is
the pseudonym here. Go.Data knows nobody beyond a contact of a contact.
"""

from collections.abc import Iterator
from typing import Final

from tracing.exports.lists import estimated
from tracing.exports.moments import day
from tracing.exports.source import Pair, Source, pairs_of
from tracing.exports.tables import Column, Kind, Row, Table

TEXT: Final = Kind.TEXT
DEPTH_MAX: Final = 2
CONFIRMED: Final = "LNG_REFERENCE_DATA_CATEGORY_CASE_CLASSIFICATION_CONFIRMED"
CERTAINTY: Final = "LNG_REFERENCE_DATA_CATEGORY_CERTAINTY_LEVEL_"

PERSON_COLUMNS: Final = (
    Column("visualId", TEXT, "The pseudonym"),
    Column("firstName", TEXT, "The pseudonym, or the name where it was revealed"),
)
CASE_COLUMNS: Final = (
    *PERSON_COLUMNS,
    Column("dateOfReporting", TEXT, "The day of the first confirmation; else of the trace"),
    Column("classification", TEXT, "Confirmed"),
)
RELATION_COLUMNS: Final = (
    Column("contactDate", TEXT, "The day of their last exposure"),
    Column("contactDateEstimated", TEXT, "TRUE where each encounter rests on an end that nobody scanned"),
    Column("certaintyLevelId", TEXT, "3_HIGH: scanned ends; 2_MEDIUM: estimated ones; 1_LOW: saved without evidence"),
    Column("comment", TEXT, "How long, where, and the trace"),
)
CONTACT_COLUMNS: Final = (
    *PERSON_COLUMNS,
    Column("dateOfReporting", TEXT, "The day of the trace"),
    Column("dateOfLastContact", TEXT, "The day of the last exposure"),
    Column("relationship.persons[].id", TEXT, "Whom they met, by visualId"),
    *(Column(f"relationship.{each.name}", each.kind, each.meaning) for each in RELATION_COLUMNS),
)
RELATIONSHIP_COLUMNS: Final = (
    Column("persons[0].id", TEXT, "Who may have infected, by visualId"),
    Column("persons[1].id", TEXT, "Who may have been infected, by visualId"),
    *RELATION_COLUMNS,
)


def cases(source: Source) -> Table:
    """The index subjects."""

    def rows() -> Iterator[Row]:
        for person in source.people():
            if person.depth != 0:
                return
            named = [case for window in person.windows for case in window.cases]
            confirmed = [at for at in map(source.known.confirmed_at, named) if at is not None]
            reported = min(confirmed, default=source.head.asked_at)
            yield person.subject, source.label(person.subject), day(reported), CONFIRMED

    return Table("cases", CASE_COLUMNS, rows)


def contacts(source: Source, depth: int) -> Table:
    """The contacts of a depth (1 or 2), each with the first of whom they met."""

    def rows() -> Iterator[Row]:
        for contact in source.contacts():
            if contact.depth == depth:
                pair = pairs_of(contact)[0]
                reported = day(source.head.asked_at)
                who = (contact.subject, source.label(contact.subject), reported, day(_last_ms(contact.last)))
                yield *who, pair.source, *_relation(pair, source)

    return Table("contacts" if depth == 1 else "contacts_of_contacts", CONTACT_COLUMNS, rows)


def relationships(source: Source) -> Table:
    """Whom the contacts met beside the first, who stands in their own row."""

    def rows() -> Iterator[Row]:
        for contact in source.contacts():
            if contact.depth <= DEPTH_MAX:
                for pair in pairs_of(contact)[1:]:
                    yield pair.source, pair.target, *_relation(pair, source)

    return Table("relationships", RELATIONSHIP_COLUMNS, rows)


def _relation(pair: Pair, source: Source) -> tuple[str, str, str, str]:
    met = pair.encounters
    level = "1_LOW" if not met else "2_MEDIUM" if all(map(estimated, met)) else "3_HIGH"
    known = level == "3_HIGH"
    places = " ".join(dict.fromkeys(one.place for one in met))
    long = f"{pair.ms // 1000} s at {places}; " if pair.ms is not None else ""
    date = day(_last_ms(pair.last) if pair.last is not None else pair.first)
    return date, "FALSE" if known else "TRUE", CERTAINTY + level, f"{long}trace {source.head.id}"


def _last_ms(end: int) -> int:
    """The last millisecond of a half-open interval: one that ends at midnight belongs to the day before."""
    return max(end - 1, 0)
