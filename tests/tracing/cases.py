"""The worked cases of the semantics page as the project's own values."""

import json
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from events.places import Category, Place, PlaceTree
from events.scans import Kind
from projections.stays import Sighting, Stay, walk
from tracing.chain import Source, chain
from tracing.overlap import Contact, Occupancy, contacts, presences
from tracing.rule import Rule

VECTORS: Final = Path(__file__).resolve().parents[3] / "shared" / "spec" / "vectors.json"


class CaseScan(msgspec.Struct, frozen=True):
    """A delivery of a scan, as the cases write it."""

    device: str
    seq: int
    at: int
    received: int
    kind: Kind
    place: str
    subject: str


class CasePlace(msgspec.Struct, frozen=True):
    """A place; `dwell` in ms."""

    parent: str | None
    dwell: int | None


class CaseQuery(msgspec.Struct, frozen=True):
    """A question; every time and duration in ms."""

    index: tuple[str, ...]
    from_: int = msgspec.field(name="from")
    to: int
    lag_ms: int
    min_ms: int
    rule: Rule
    as_of: int
    depth: int
    latency_ms: int


class WorkedCase(msgspec.Struct, frozen=True):
    """One worked case; `answer` stays as it is written: that is what must come out."""

    name: str
    why: str
    places: dict[str, CasePlace]
    scans: list[CaseScan]
    query: CaseQuery
    answer: dict[str, Any]


def worked_cases() -> list[Any]:
    """All worked cases as test parameters; one skipped case where the specification is not beside the repository."""
    if not VECTORS.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="../shared/spec/vectors.json is not here"))]
    cases = msgspec.convert(json.loads(VECTORS.read_text(encoding="utf-8")), list[WorkedCase])
    return [pytest.param(case, id=case.name.replace(" ", "-")) for case in cases]


def place_list(places: dict[str, CasePlace]) -> list[Place]:
    """The places as registered, parents first; numbers from 1."""
    registered: list[Place] = []
    waiting = dict(places)
    while waiting:
        known = {place.id for place in registered}
        ready = [place_id for place_id, place in waiting.items() if place.parent is None or place.parent in known]
        for place_id in ready:
            place = waiting.pop(place_id)
            registered.append(
                Place(
                    id=place_id,
                    number=len(registered) + 1,
                    name=place_id,
                    category=Category.OTHER,
                    parent=place.parent,
                    dwell_seconds=None if place.dwell is None else place.dwell // 1000,
                )
            )
    return registered


def place_tree(places: dict[str, CasePlace]) -> PlaceTree:
    """The places as a tree."""
    return PlaceTree(place_list(places))


def counted(deliveries: Iterable[CaseScan], as_of: int) -> list[CaseScan]:
    """The scans that count, from deliveries in the order in which the log took them in."""
    first: dict[tuple[str, int], CaseScan] = {}
    for scan in deliveries:
        first.setdefault((scan.device, scan.seq), scan)
    return [scan for scan in first.values() if scan.received <= as_of]


def sightings_by_subject(scans: Iterable[CaseScan]) -> dict[str, list[Sighting]]:
    """Each subject's scans as the walk takes them."""
    sightings: dict[str, list[Sighting]] = {}
    for scan in scans:
        sighting = Sighting(scan.at, scan.kind is not Kind.OUT, scan.device, scan.seq, scan.place)
        sightings.setdefault(scan.subject, []).append(sighting)
    return sightings


def answer_of(case: WorkedCase) -> dict[str, Any]:
    """The answer by the pure functions alone, in the form of the worked cases."""
    query, tree = case.query, place_tree(case.places)
    by_subject = sightings_by_subject(counted(case.scans, query.as_of))
    stays = {subject: walk(sightings, tree, query.as_of) for subject, sightings in by_subject.items()}
    others = Occupancy(stays)

    def contacts_of(groups: Sequence[Sequence[Source]], leave_out: Set[str]) -> list[list[Contact]]:
        return [
            contacts(
                [
                    presence
                    for source in group
                    for presence in presences(
                        source.subject, stays.get(source.subject, []), source.from_ms, source.to_ms
                    )
                ],
                others,
                lag_ms=query.lag_ms,
                min_ms=query.min_ms,
                rule=query.rule,
                leave_out=leave_out,
            )
            for group in groups
        ]

    sources = [Source(subject, query.from_, query.to) for subject in query.index]
    links = chain(sources, query.depth, query.latency_ms, contacts_of)
    return {
        "stays": {subject: stay_rows(each) for subject, each in stays.items()},
        "contacts": [contact_row(link.contact) for link in links if link.depth == 1],
        "chain": [
            {
                link.contact.subject: [[edge.subject, edge.first] for edge in link.via]
                for link in links
                if link.depth == depth
            }
            for depth in range(1, query.depth + 1)
        ],
    }


def stay_rows(stays: Iterable[Stay]) -> list[list[object]]:
    """Stays as the worked cases write them: ordered by place first, without their scans."""
    return sorted([stay.place, stay.start, stay.end, str(stay.entry), str(stay.exit)] for stay in stays)


def contact_row(contact: Contact) -> dict[str, object]:
    """A contact as the worked cases write it."""
    return {
        "subject": contact.subject,
        "ms": contact.ms,
        "first": contact.first,
        "last": contact.last,
        "encounters": [
            {"start": one.start, "end": one.end, "place": one.place, "index": one.index} for one in contact.encounters
        ],
    }
