"""Files for SORMAS's import: cases and contacts.

Sources: the columns of its templates are the fields of its data objects (`ImportFacadeEjb`, `CaseDataDto`, `ContactDto`
and `PersonDto` in https://github.com/SORMAS-Foundation/SORMAS-Project), and its importers are tested with files of that
form (sormas-ui/src/test/resources there). Over the header of cases stands the entity of each column. Dates are as its
English interface reads them. Region and district are SORMAS's own names, which a trace does not know: the columns are
there to be filled in. `caseIdExternalSystem` is what SORMAS looks a contact's case up by, its own UUID.
"""

from collections.abc import Iterator
from typing import Final

from tracing.exports.moments import local
from tracing.exports.source import Source, pairs_of
from tracing.exports.tables import Column, Kind, Row, Table

TEXT: Final = Kind.TEXT
DISEASE: Final = "CORONAVIRUS"
DATE: Final = "%m/%d/%Y"
ENTITY: Final = "CaseData"

PERSON_COLUMNS: Final = (
    Column("person.firstName", TEXT, "The pseudonym, or the name where it was revealed"),
    Column("person.lastName", TEXT, "The role in the trace: F0, F1, F2 …"),
    Column("person.sex", TEXT, "UNKNOWN: a trace does not know it"),
)
CASE_COLUMNS: Final = (
    Column("disease", TEXT, "SORMAS's name of the disease"),
    *PERSON_COLUMNS,
    Column("reportDate", TEXT, "The day of the first confirmation; else of the trace"),
    Column("caseClassification", TEXT, "CONFIRMED"),
    Column("externalID", TEXT, "The pseudonym"),
    Column("responsibleRegion", TEXT, "To be filled in"),
    Column("responsibleDistrict", TEXT, "To be filled in"),
    Column("additionalDetails", TEXT, "The case's ids here, and the trace"),
)
CONTACT_COLUMNS: Final = (
    Column("caseIdExternalSystem", TEXT, "F1: the case's id here; replace it by SORMAS's UUID to have them joined"),
    Column("caseOrEventInformation", TEXT, "Whom they met, by pseudonym"),
    Column("disease", TEXT, "SORMAS's name of the disease"),
    Column("reportDateTime", TEXT, "The day of the trace"),
    Column("region", TEXT, "To be filled in"),
    Column("district", TEXT, "To be filled in"),
    Column("multiDayContact", TEXT, "Whether first and last day differ: TRUE, FALSE"),
    Column("firstContactDate", TEXT, "The day of the first exposure"),
    Column("lastContactDate", TEXT, "The day of the last exposure"),
    Column("description", TEXT, "How long, where, and the trace"),
    Column("externalID", TEXT, "The pseudonym"),
    *PERSON_COLUMNS,
)


def cases(source: Source) -> Table:
    """The index subjects."""

    def rows() -> Iterator[Row]:
        for person in source.people():
            if person.depth != 0:
                return
            named = list(dict.fromkeys(case for window in person.windows for case in window.cases))
            confirmed = [at for at in map(source.known.confirmed_at, named) if at is not None]
            reported = min(confirmed, default=source.head.asked_at)
            details = " ".join([*named, f"trace {source.head.id}"])
            who = (source.label(person.subject), person.role, "UNKNOWN")
            yield DISEASE, *who, _day(reported), "CONFIRMED", person.subject, None, None, details

    return Table("cases", CASE_COLUMNS, rows)


def contacts(source: Source) -> Table:
    """One row a contact, of every depth: SORMAS takes contacts without a case where they name the disease."""
    case_of = {each.subject: each.cases[0] for each in source.head.index if each.cases}

    def rows() -> Iterator[Row]:
        for contact in source.contacts():
            pairs = pairs_of(contact)
            met = " ".join(pair.source for pair in pairs)
            case = next((case_of[pair.source] for pair in pairs if pair.source in case_of), None)
            places = " ".join(dict.fromkeys(one.place for one in contact.encounters or ()))
            first, last = _day(contact.first), _day(max(contact.last - 1, contact.first))
            yield (
                *(case if contact.depth == 1 else None, f"{met}, trace {source.head.id}", DISEASE),
                *(_day(source.head.asked_at), None, None),
                *("TRUE" if first != last else "FALSE", first, last),
                f"{contact.ms // 1000} s {places}".strip(),
                *(contact.subject, source.label(contact.subject), f"F{contact.depth}", "UNKNOWN"),
            )

    return Table("contacts", CONTACT_COLUMNS, rows)


def _day(ms: int) -> str:
    return local(ms).strftime(DATE)
