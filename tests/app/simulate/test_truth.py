"""The truth is checked three ways: worked cases, a brute recount minute by minute, and the service's own reading."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from app.simulate.truth import Grounds, Met, Seen, Stayed, contacts, stays, union_ms
from app.simulate.wallet import Wallet
from app.simulate.wire import grounds, seen
from app.simulate.world import World
from events.places import DWELL_SECONDS_DEFAULT, PlaceTree
from events.scans import Kind
from projections.stays import Sighting, walk
from tracing import overlap
from tracing.rule import Rule

HOUR = 3_600_000


def worked_cases(shared: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((shared / "spec" / "vectors.json").read_text(encoding="utf-8"))
    return cases


def case_grounds(places: dict[str, Any]) -> Grounds:
    def chain(place: str) -> Iterable[str]:
        at: str | None = place
        while at is not None:
            yield at
            at = places[at]["parent"]

    return Grounds(
        dwell={place: facts["dwell"] or DWELL_SECONDS_DEFAULT * 1000 for place, facts in places.items()},
        around={place: frozenset(chain(place)) for place in places},
    )


def case_stays(case: dict[str, Any]) -> list[Stayed]:
    first: dict[tuple[str, int], dict[str, Any]] = {}
    for scan in case["scans"]:
        first.setdefault((scan["device"], scan["seq"]), scan)
    as_of = case["query"]["as_of"]
    counted = [
        Seen(scan["subject"], scan["at"], Kind(scan["kind"]), scan["place"], scan["device"], scan["seq"])
        for scan in first.values()
        if scan["received"] <= as_of
    ]
    return stays(counted, case_grounds(case["places"]), as_of)


def test_stays_of_the_worked_cases(shared: Path) -> None:
    cases = worked_cases(shared)
    assert len(cases) == 28
    for case in cases:
        found: dict[str, list[list[object]]] = {}
        for stay in case_stays(case):
            found.setdefault(stay.subject, []).append([stay.place, stay.start, stay.end, stay.entry, stay.exit])
        wanted = case["answer"]["stays"]
        assert {who: sorted(own) for who, own in found.items()} == {
            who: sorted(own) for who, own in wanted.items() if own
        }, case["name"]


def test_contacts_of_the_worked_cases_with_one_index_and_the_default_rule(shared: Path) -> None:
    cases = [
        case for case in worked_cases(shared) if len(case["query"]["index"]) == 1 and case["query"]["rule"] == "total"
    ]
    assert len(cases) > 20
    for case in cases:
        query = case["query"]
        found = contacts(
            case_stays(case),
            query["index"][0],
            (query["from"], query["to"]),
            lag_ms=query["lag_ms"],
            min_ms=query["min_ms"],
        )
        assert [(one.subject, one.ms, one.first, one.last) for one in found] == [
            (one["subject"], one["ms"], one["first"], one["last"]) for one in case["answer"]["contacts"]
        ], case["name"]
        assert [sorted((met.start, met.end, met.place) for met in one.encounters) for one in found] == [
            sorted((met["start"], met["end"], met["place"]) for met in one["encounters"])
            for one in case["answer"]["contacts"]
        ], case["name"]


def test_the_service_reads_the_page_alike(world: World, wallet: Wallet) -> None:
    """Stays and contacts of a whole small world, by both implementations; the lag and the window clip something."""
    as_of = world.plan.end
    scans = list(seen(world, wallet))
    mine = stays(scans, grounds(world), as_of)
    tree = PlaceTree(world.premises.places)
    by_subject: dict[str, list[Sighting]] = {}
    for scan in scans:
        sighting = Sighting(scan.at, scan.kind is not Kind.OUT, scan.device, scan.seq, scan.place)
        by_subject.setdefault(scan.subject, []).append(sighting)
    theirs = {subject: walk(sightings, tree, as_of) for subject, sightings in by_subject.items()}
    assert sorted((one.subject, one.place, one.start, one.end, one.entry, one.exit) for one in mine) == sorted(
        (subject, one.place, one.start, one.end, one.entry.value, one.exit.value)
        for subject, own in theirs.items()
        for one in own
    )
    others = overlap.Occupancy(theirs)
    window = (world.plan.end - 60 * HOUR, world.plan.end - 5 * HOUR)
    named = 0
    for number in range(0, len(world.people), 6):
        subject = wallet.pseudonym(number)
        expected = contacts(mine, subject, window, lag_ms=600_000)
        answered = overlap.contacts(
            overlap.presences(subject, theirs.get(subject, []), *window),
            others,
            lag_ms=600_000,
            min_ms=900_000,
            rule=Rule.TOTAL,
            leave_out={subject},
        )
        assert [(one.subject, one.ms, one.first, one.last, len(one.encounters)) for one in expected] == [
            (one.subject, one.ms, one.first, one.last, len(one.encounters)) for one in answered
        ]
        named += len(expected)
    assert named > 100


def test_contacts_recounted_minute_by_minute() -> None:
    """Stays on whole minutes, so that counting the minutes in which both were somewhere together is exact."""
    minute = 60_000
    here = [
        Stayed("F", "hall", 0, 60 * minute, "measured", "measured"),
        Stayed("F", "park", 0, 90 * minute, "measured", "measured"),
        Stayed("A", "hall", 30 * minute, 80 * minute, "measured", "measured"),
        Stayed("A", "park", 20 * minute, 85 * minute, "measured", "measured"),
        Stayed("B", "park", 90 * minute, 200 * minute, "measured", "measured"),
        Stayed("C", "hall", 10 * minute, 24 * minute, "measured", "measured"),
        Stayed("D", "mall", 0, 90 * minute, "measured", "measured"),
    ]
    for lag in (0, 10):
        together = {
            who: sum(
                any(
                    own.place == other.place
                    and own.start <= at * minute < own.end + lag * minute
                    and other.start <= at * minute < other.end
                    for own in here
                    if own.subject == "F"
                    for other in here
                    if other.subject == who
                )
                for at in range(300)
            )
            for who in "ABCD"
        }
        found = contacts(here, "F", (0, 300 * minute), lag_ms=lag * minute, min_ms=1)
        assert {one.subject: one.ms // minute for one in found} == {
            who: minutes for who, minutes in together.items() if minutes
        }
    assert [one.subject for one in contacts(here, "F", (0, 300 * minute))] == ["A"]
    assert contacts(here, "F", (0, 40 * minute))[0].encounters == (
        Met("park", 20 * minute, 40 * minute),
        Met("hall", 30 * minute, 40 * minute),
    )


def test_at_one_instant_out_comes_before_in() -> None:
    """Out and in again in the same millisecond are two stays, whatever the devices are called."""
    here = Grounds(dwell={"hall": HOUR}, around={"hall": frozenset({"hall"})})
    scans = [
        Seen("A", 0, Kind.IN, "hall", "z", 1),
        Seen("A", 1_000, Kind.IN, "hall", "a", 1),
        Seen("A", 1_000, Kind.OUT, "hall", "z", 2),
    ]
    assert stays(scans, here, 10 * HOUR) == [
        Stayed("A", "hall", 0, 1_000, "measured", "measured"),
        Stayed("A", "hall", 1_000, 1_000 + HOUR, "measured", "dwell"),
    ]


@pytest.mark.parametrize(
    ("spans", "length"),
    [([], 0), ([(5, 9)], 4), ([(0, 4), (4, 6)], 6), ([(0, 10), (2, 3)], 10), ([(7, 9), (0, 3), (2, 4)], 6)],
)
def test_union(spans: list[tuple[int, int]], length: int) -> None:
    assert union_ms(spans) == length
