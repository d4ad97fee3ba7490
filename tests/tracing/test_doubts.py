"""Doubtful scans: each reason against its definition, and what a trace says without them."""

import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from events import problems
from events.access import Role
from events.control import PlaceRegistered
from events.places import Place, PlaceTree
from events.scans import Kind
from storage.clickhouse import Store
from tests.tracing.desk import AN, BINH, HOUR, PURPOSE, Desk, now_ms, visit
from tests.tracing.test_routes import is_problem
from tracing.doubt_reading import Came
from tracing.doubts import (
    Doubt,
    Reason,
    Seen,
    Thresholds,
    bursts,
    closed_minutes,
    distance_km,
    holes,
    of_subject,
)

MINUTE = 60_000
MIDNIGHT = 1_634_835_600_000
"""2021-10-22 00:00 in Vietnam."""
HANOI = Place(id="hanoi", number=1, name="Hà Nội", latitude=21.0285, longitude=105.8542)
ROOM = Place(id="room", number=2, name="Phòng", parent="hanoi")
SAIGON = Place(id="saigon", number=3, name="Sài Gòn", latitude=10.7769, longitude=106.7009)
NOWHERE = Place(id="nowhere", number=4, name="Đâu đó")
NEAR = Place(id="near", number=5, name="Gần", latitude=21.0300, longitude=105.8550)
PLACES = PlaceTree([HANOI, ROOM, SAIGON, NOWHERE, NEAR])
USUAL = Thresholds()


def seen(place: int, at: int, seq: int = 1, device: int = 1) -> Seen:
    return Seen(at, device, seq, place)


def doubted(scans: list[Seen], reason: Reason, thresholds: Thresholds = USUAL) -> list[Doubt]:
    return list(of_subject(sorted(scans), PLACES, thresholds, {reason}))


def test_how_far_it_is() -> None:
    assert distance_km(HANOI, SAIGON, PLACES) == pytest.approx(1_144, abs=3)
    assert distance_km(ROOM, SAIGON, PLACES) == distance_km(HANOI, SAIGON, PLACES)
    assert distance_km(HANOI, HANOI, PLACES) == 0
    assert distance_km(HANOI, NOWHERE, PLACES) is None


@pytest.mark.parametrize(("hours", "count"), [(1, 2), (5, 2), (6, 0), (30, 0)])
def test_nobody_travels_so_fast(hours: int, count: int) -> None:
    scans = [seen(2, 0), seen(3, hours * HOUR, 2)]
    found = doubted(scans, Reason.IMPOSSIBLE_TRAVEL)
    assert [(doubt.scan, doubt.other) for doubt in found] == [(scans[0], scans[1]), (scans[1], scans[0])][:count]
    assert all(doubt.figure == pytest.approx(1_142 / hours, rel=0.01) and doubt.limit == 200 for doubt in found)


def test_places_that_lie_near_or_nobody_knows_where_raise_no_doubt() -> None:
    assert doubted([seen(1, 0), seen(5, 0, 2), seen(4, 0, 3), seen(2, 0, 4)], Reason.IMPOSSIBLE_TRAVEL) == []
    assert doubted([seen(9, 0), seen(3, 0, 2)], Reason.IMPOSSIBLE_TRAVEL) == []
    exact = Thresholds(travel_slack_km=0.0)
    assert len(doubted([seen(1, 0), seen(5, 1_000, 2)], Reason.IMPOSSIBLE_TRAVEL, exact)) == 2


def test_two_places_at_once() -> None:
    assert doubted([seen(1, 0), seen(2, 0, 2), seen(5, 30_001, 3)], Reason.TWO_PLACES) == []
    (one, other) = doubted([seen(4, 0), seen(5, 30_000, 2)], Reason.TWO_PLACES)
    assert (one.figure, one.limit, one.scan.place, other.scan.place) == (30.0, 30, 4, 5)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=14), st.integers(1, 4), st.integers(1, 20))
def test_very_many_places_by_the_definition(came: list[tuple[int, int]], most: int, seconds: int) -> None:
    places = PlaceTree([Place(id=f"p{number}", number=number, name="p") for number in range(7)])
    scans = sorted(Seen(second * 1000, 1, seq, place) for seq, (second, place) in enumerate(came, 1))
    thresholds = Thresholds(many_places_max=most, many_places_seconds=seconds)
    found = {doubt.scan: doubt.figure for doubt in of_subject(scans, places, thresholds, {Reason.MANY_PLACES})}
    expected: dict[Seen, int] = {}
    for last in scans:
        within = [one for one in scans if last.at - seconds * 1000 < one.at <= last.at]
        count = len({one.place for one in within})
        if count > most:
            for one in within:
                expected[one] = max(count, expected.get(one, 0))
    assert found == expected


@given(st.lists(st.integers(0, 60), max_size=25), st.integers(1, 5), st.integers(1, 15))
def test_bursts_by_the_definition(seconds: list[int], most: int, span: int) -> None:
    scans = [Seen(second * 1000, 1, seq, 1) for seq, second in enumerate(seconds, 1)]
    random.Random(1).shuffle(scans)
    found = list(bursts(scans, Thresholds(burst_scans_max=most, burst_seconds=span)))
    expected = set()
    for last in scans:
        within = {one for one in scans if last.at - span * 1000 < one.at <= last.at}
        expected |= within if len(within) > most else set()
    assert {doubt.scan for doubt in found} == expected
    assert len(found) == len(expected)
    assert all(doubt.figure > most for doubt in found)


@pytest.mark.parametrize(
    ("opens", "closes", "time", "minutes"),
    [
        ("06:00", "18:00", "06:00", 0),
        ("06:00", "18:00", "17:59", 0),
        ("06:00", "18:00", "18:00", 1),
        ("06:00", "18:00", "19:30", 91),
        ("06:00", "18:00", "05:15", 45),
        ("18:00", "02:00", "23:59", 0),
        ("18:00", "02:00", "01:59", 0),
        ("18:00", "02:00", "03:00", 61),
        ("18:00", "02:00", "17:00", 60),
        ("06:00", "06:00", "03:00", 0),
        (None, "18:00", "23:00", 0),
    ],
)
def test_how_long_it_has_been_closed(opens: str | None, closes: str | None, time: str, minutes: int) -> None:
    place = Place(id="p", number=1, name="p", opens=opens, closes=closes)
    hours, _, rest = time.partition(":")
    assert closed_minutes(place, MIDNIGHT + (int(hours) * 60 + int(rest)) * MINUTE) == minutes
    shut = PlaceTree([place])
    scan = seen(1, MIDNIGHT + (int(hours) * 60 + int(rest)) * MINUTE)
    assert len(list(of_subject([scan], shut, USUAL, {Reason.CLOSED}))) == (minutes > 30)


def test_holes_right_before_a_scan() -> None:
    came = {(1, 1), (1, 2), (1, 4), (1, 8)}
    found = holes([seen(1, 0, seq) for seq in (1, 2, 4, 8)], lambda device, seq: (device, seq) in came, USUAL)
    assert [(doubt.scan.seq, doubt.figure) for doubt in found] == [(4, 1), (8, 3)]


def test_reasons_that_nobody_asks_for_are_not_looked_for() -> None:
    scans = [seen(1, 0), seen(3, 0, 2)]
    for reasons in combinations([Reason.IMPOSSIBLE_TRAVEL, Reason.TWO_PLACES], 1):
        assert {doubt.reason for doubt in of_subject(scans, PLACES, USUAL, reasons)} == set(reasons)


def test_what_was_refused_or_retired_has_come(store: Store) -> None:
    store.insert("retired", ["device", "first", "upto"], [[1, 5, 9], [2, 1, 3]])
    store.command("INSERT INTO refused SELECT 1, 1, 3, now(), toDateTime64(1, 3), 'in', 'bad_code'")
    asked = [(1, seq) for seq in range(1, 12)] + [(2, 3), (2, 4)]
    came = Came(seqs=asked, as_of=now_ms()).read(store)
    assert came == {(1, 3), *((1, seq) for seq in range(5, 10)), (2, 3)}
    assert Came(seqs=[(1, 3)], as_of=5).read(store) == set()


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    desk = Desk(valkey, store)
    far = Place(id="far", number=3, name="Xa", parent="mall")
    desk.record(PlaceRegistered(far))
    with desk.running() as running:
        yield running


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
class TestOverHttp:
    """A trace that rests on scans after a hole."""

    def trace(self, desk: Desk, at: int, **more: Any) -> Any:
        window = {"from": at - HOUR, "to": at + 3 * HOUR, "as_of": now_ms()}
        body = {"index": {"subjects": [AN.hex()]}, "purpose": PURPOSE, **window, **more}
        answer = desk.ask("POST", "/v1/traces", role=Role.ANALYST, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_a_trace_shows_them_and_leaves_them_out(self, desk: Desk) -> None:
        at = now_ms() - 4 * HOUR
        # Seq 3 never comes; 4 and 5 follow it. Bình was scanned at two places at once.
        desk.send(visit(desk, 1, at, AN, place="cafe"), visit(desk, 2, at, BINH, place="cafe"))
        desk.send(visit(desk, 4, at + 1, BINH, place="far"), visit(desk, 5, at + 10 * MINUTE, BINH, Kind.OUT, "far"))
        desk.settle()
        trace = self.trace(desk, at, min_seconds=0)
        assert "left_out" not in trace
        (contact,) = trace["contacts"]
        path = f"/v1/traces/{trace['id']}/doubts"
        found = desk.ask("POST", path, role=Role.ANALYST, json={"purpose": PURPOSE}).json()
        assert found["by_reason"] == {"holes": 1, "two-places": 2}
        assert found["thresholds"]["two_places_seconds"] == 30
        said = [(one["seq"], one["reason"], one["figure"], one["unit"], one["other"]) for one in found["scans"]]
        assert said == [
            (2, "two-places", 0.001, "s", ["door", 4]),
            (4, "holes", 1.0, "missing", None),
            (4, "two-places", 0.001, "s", ["door", 2]),
        ]
        body = {"purpose": PURPOSE, "reasons": ["two-places"], "thresholds": {"two_places_seconds": 0}}
        assert desk.ask("POST", path, role=Role.ANALYST, json=body).json()["by_reason"] == {}

        without = self.trace(desk, at, min_seconds=0, leave_out_doubtful=["two-places"])
        leaving = {"reasons": ["two-places"], "thresholds": found["thresholds"]}
        assert without["question"]["leave_out_doubtful"] == leaving
        assert without["contacts"] == []
        assert (without["left_out"]["scans"], without["left_out"]["by_reason"]) == (2, {"two-places": 2})
        assert without["left_out"]["first"] == [one for one in found["scans"] if one["reason"] == "two-places"]
        # Without the scan that moved him, he stays longer.
        holes_only = self.trace(desk, at, min_seconds=0, leave_out_doubtful=["holes"])
        assert holes_only["contacts"][0]["ms"] > contact["ms"]
        assert holes_only["left_out"]["by_reason"] == {"holes": 2}
        assert self.trace(desk, at, min_seconds=0)["contacts"] == trace["contacts"]

        window = {"device": "door", "from": at - HOUR, "to": at + HOUR}
        listed = desk.ask("GET", "/v1/doubts", role=Role.ANALYST, purpose=PURPOSE, params=window).json()
        assert (listed["scans"], listed["by_reason"]) == (4, {"holes": 2, "two-places": 2})
        pages, cursor = [], None
        while True:
            more = {"limit": 1} | ({"cursor": cursor} if cursor else {})
            page = desk.ask("GET", "/v1/doubts", role=Role.ANALYST, purpose=PURPOSE, params=window | more).json()
            pages += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        assert pages == listed["items"]
        assert len(pages) == 4
        only = desk.ask("GET", "/v1/doubts", role=Role.ANALYST, purpose=PURPOSE, params=window | {"reason": "holes"})
        assert only.json()["by_reason"] == {"holes": 2}
        assert ("doubts-read", trace["id"], PURPOSE) in desk.audited()

    def test_wrong_questions(self, desk: Desk) -> None:
        body = {"purpose": PURPOSE}
        assert is_problem(desk.ask("POST", "/v1/traces/none/doubts", json=body), problems.NOT_FOUND)
        assert is_problem(desk.ask("POST", "/v1/traces/none/doubts", json={}), problems.PURPOSE_MISSING, "/purpose")
        window = {"device": "door", "from": 5, "to": 5}
        reversed_ = desk.ask("GET", "/v1/doubts", purpose=PURPOSE, params=window)
        assert is_problem(reversed_, problems.WINDOW_REVERSED, "/to")
        unknown = desk.ask("GET", "/v1/doubts", purpose=PURPOSE, params=window | {"device": "none", "to": 6})
        assert is_problem(unknown, problems.NOT_FOUND)
        asked = {"index": {"subjects": [AN.hex()]}, "purpose": PURPOSE, "leave_out_doubtful": ["rumours"]}
        assert is_problem(desk.ask("POST", "/v1/traces", json=asked), problems.BODY_INVALID, "/leave_out_doubtful/0")
