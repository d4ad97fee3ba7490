"""Where somebody was as a calendar (RFC 5545): a case's stays, or the stays of a trace's index subjects."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from typing import Final

import msgspec

from events.places import Place
from projections.stays import Stay
from tracing.exports.moments import local
from tracing.exports.source import Source
from tracing.exports.xml_text import visible

LINE_OCTETS_MAX: Final = 75
EVENTS_A_PIECE: Final = 200
PRODID: Final = "-//Truyvet//Timeline//EN"
UTC_TIME: Final = "%Y%m%dT%H%M%SZ"


PlaceOf = Callable[[str], Place | None]
"""The place of an id, as far as it is registered."""


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A stay on a timeline; `contacts` is how many people it led to, None where nobody was asked about."""

    who: str
    stay: Stay
    contacts: int | None


def calendar_pieces(
    name: str, visits: Iterable[Visit], place_of: PlaceOf, stamp: int, counts: Counter[str]
) -> Iterator[bytes]:
    """The calendar, an event a stay; counts `events`. `stamp`: when its content was as it is (Unix ms)."""
    begin = ("BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{PRODID}", "CALSCALE:GREGORIAN", f"X-WR-CALNAME:{_text(name)}")
    yield _lines(begin)
    piece: list[bytes] = []
    for visit in visits:
        counts["events"] += 1
        piece.append(_lines(_event(visit, place_of(visit.stay.place), stamp)))
        if len(piece) == EVENTS_A_PIECE:
            yield b"".join(piece)
            piece.clear()
    yield b"".join(piece) + _lines(("END:VCALENDAR",))


def index_visits(source: Source) -> list[Visit]:
    """The index subjects' stays at which somebody became a contact, with how many did; by start.

    Kept in memory: index subjects and their stays are few, however many contacts there are.
    """
    met: dict[tuple[str, Stay], int] = {}
    for contact in source.contacts():
        if contact.depth == 1:
            for key in {(one.index, one.index_stay) for one in contact.encounters or ()}:
                met[key] = met.get(key, 0) + 1
    visits = [Visit(who=who, stay=stay, contacts=count) for (who, stay), count in met.items()]
    return sorted(visits, key=_visit_order)


def _event(visit: Visit, place: Place | None, stamp: int) -> list[str]:
    stay = visit.stay
    name = place.name if place is not None else stay.place
    known = f"Begin {stay.entry.value}, end {stay.exit.value}."
    met = "" if visit.contacts is None else f" {visit.contacts} contacts."
    scans = ", ".join(f"{device}/{seq}" for device, seq in stay.scans)
    identity = f"{visit.who} {stay.place} {stay.start} {stay.end}"
    lines = [
        "BEGIN:VEVENT",
        f"UID:{hashlib.sha256(identity.encode()).hexdigest()[:32]}@truyvet",
        f"DTSTAMP:{_utc(stamp)}",
        f"DTSTART:{_utc(stay.start)}",
        f"DTEND:{_utc(stay.end)}",
        f"SUMMARY:{_text(name)}",
        f"LOCATION:{_text(name)}",
        f"DESCRIPTION:{_text(f'{visit.who} at {stay.place}. {known}{met} Scans: {scans}.')}",
        "CLASS:CONFIDENTIAL",
        "TRANSP:TRANSPARENT",
    ]
    if place is not None and place.latitude is not None and place.longitude is not None:
        lines.append(f"GEO:{place.latitude:.6f};{place.longitude:.6f}")
    return [*lines, "END:VEVENT"]


def _utc(ms: int) -> str:
    """RFC 5545, 3.3.5, form 2. Its seconds are whole."""
    return local(ms).astimezone(UTC).strftime(UTC_TIME)


def _text(value: str) -> str:
    """RFC 5545, 3.3.11."""
    escaped = visible(value).replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return escaped.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")


def _lines(lines: Iterable[str]) -> bytes:
    """Content lines, folded to 75 octets and never within a character (RFC 5545, 3.1)."""
    folded: list[bytes] = []
    for line in lines:
        rest = line.encode()
        most = LINE_OCTETS_MAX
        while len(rest) > most:
            cut = most
            while rest[cut] & 0xC0 == 0x80:
                cut -= 1
            folded.append(rest[:cut] + b"\r\n ")
            rest, most = rest[cut:], LINE_OCTETS_MAX - 1
        folded.append(rest + b"\r\n")
    return b"".join(folded)


def _visit_order(visit: Visit) -> tuple[int, str, str]:
    return visit.stay.start, visit.stay.place, visit.who
