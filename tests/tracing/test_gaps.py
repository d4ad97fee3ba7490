"""Gaps and conflicts in SQL against counting them by hand, and over HTTP as people read them."""

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import problems
from events.access import Role
from events.control import DeviceEnrolled
from events.devices import Device
from events.scans import Kind
from storage.clickhouse import Store
from storage.errors import StoreDown, StreamDown
from storage.partitions import ONLY
from storage.watermarks import Watermark
from tests.tracing.deliveries import Came, conflicts_by_comparing, gaps_by_counting, lay
from tests.tracing.desk import AN, Desk, now_ms, visit
from tests.tracing.test_routes import is_problem
from tracing.gaps import (
    CONFLICT_DELIVERIES_MAX,
    SORT_BYTES_MAX,
    GapsOf,
    RivalCounts,
    RivalriesOf,
    Rivalry,
    Tallies,
    TallyOf,
)
from tracing.routes.gaps import RUNS_MAX
from tracing.times import datetime_of

EVER = 4_000_000_000_000
SMALL_SORT_BYTES = 30_000_000
SMALL_MEMORY_BYTES = 125_000_000

PLAIN = Came(seq=1, received=1)
CONTENTS = (
    *(PLAIN,) * 4,
    Came(seq=1, received=1, at=1_001),
    Came(seq=1, received=1, place=2),
    Came(seq=1, received=1, subject=1),
    Came(seq=1, received=1, kind=Kind.OUT),
)
came = st.builds(
    msgspec.structs.replace,
    st.sampled_from(CONTENTS),
    device=st.integers(1, 2),
    seq=st.integers(1, 10),
    received=st.integers(1, 400_000_000),
    refused=st.sampled_from((False, False, True)),
)
histories = st.sampled_from((0, 10, 20, 30)).flatmap(
    lambda size: st.lists(
        came, min_size=size, max_size=size + 10, unique_by=lambda one: (one.device, one.seq, one.received)
    )
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    deliveries=histories,
    retired=st.lists(st.tuples(st.integers(1, 2), st.integers(1, 12), st.integers(0, 5)), max_size=4),
    as_of=st.integers(1, 500_000_000),
    after=st.integers(0, 13),
    limit=st.integers(1, 5),
)
def test_the_answers_are_what_counting_gives(
    store: Store, deliveries: list[Came], retired: list[tuple[int, int, int]], as_of: int, after: int, limit: int
) -> None:
    for table in ("log", "refused", "retired"):
        store.command(f"TRUNCATE TABLE {table}")
    lay(store, deliveries)
    rows = [[device, first, first + more, datetime_of(0)] for device, first, more in retired]
    if rows:
        store.insert("retired", ["device", "first", "upto", "received"], rows)
    known = [one for one in deliveries if one.received <= as_of]
    tallies = {tally.device: tally for tally in Tallies(as_of=as_of).read(store)}
    counts = RivalCounts(as_of=as_of).read(store)
    for device in (1, 2):
        own = [one for one in known if one.device == device]
        runs = [(first, first + more) for of, first, more in retired if of == device]
        gaps, conflicts = gaps_by_counting(own, runs), conflicts_by_comparing(own)
        tally = TallyOf(device=device, as_of=as_of).read(store)
        assert tally.seen_to == max((0, *(upto for _, upto in runs), *(one.seq for one in own)))
        assert (tally.gaps, tally.missing) == (len(gaps), sum(last - first + 1 for first, last, _ in gaps))
        assert tally.next_seq == (gaps[0][0] if gaps else tally.seen_to + 1)
        assert tally.since == min((since for _, _, since in gaps), default=None)
        assert tallies.pop(device, None) == (tally if gaps else None)
        found = GapsOf(device=device, as_of=as_of, after=after, limit=limit).read(store)
        assert [(gap.first, gap.last, gap.since) for gap in found] == [gap for gap in gaps if gap[1] > after][:limit]
        assert counts.pop(device, 0) == len(conflicts)
        question = RivalriesOf(device=device, as_of=as_of, after=after, limit=limit)
        assert question.count(store) == len(conflicts)
        above = list(itertools.islice((seq for seq in conflicts if seq > after), limit))
        rivalries = question.read(store)
        assert [rivalry.seq for rivalry in rivalries] == above
        for rivalry in rivalries:
            require_same(rivalry, conflicts[rivalry.seq])
    assert (tallies, counts) == ({}, {})


def require_same(rivalry: Rivalry, those: list[Came]) -> None:
    differing = ["at", "place", "subject", "kind"]
    columns = zip(differing, zip(*(one.content for one in those), strict=True), strict=True)
    assert rivalry.differs == [name for name, values in columns if len(set(values)) > 1]
    assert rivalry.count == len(those)
    shown = [(one.received, one.at, one.kind, one.place) for one in rivalry.deliveries]
    assert shown == [(one.received, one.at, one.kind, one.place) for one in those[:CONFLICT_DELIVERIES_MAX]]


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
def test_memory_does_not_grow_with_the_scans(store: Store) -> None:
    """Rows that pass the bound are sorted on disk: here both bounds are far below what the rows take."""
    store.command(
        "INSERT INTO log SELECT 1, 1, number + 1, toDateTime64(1, 3, 'UTC'),"
        " toDateTime64(number % 3 * 86400, 3, 'UTC'), 1, '0123456789abcdef', 'in', 'code'"
        " FROM numbers(8000000) WHERE number NOT IN (5, 6, 499999)"
    )
    asked = {"device": 1, "as_of": EVER}
    bounds = f"max_memory_usage = {SMALL_MEMORY_BYTES}, max_threads = 2"
    spilling = TallyOf.SQL.replace(str(SORT_BYTES_MAX), str(SMALL_SORT_BYTES))
    assert spilling != TallyOf.SQL
    rows = store.rows(f"{spilling}, {bounds}", asked)
    assert rows[0][:5] == (1, 8_000_000, 2, 3, 6)
    with pytest.raises(StoreDown, match="memory limit"):
        store.rows(f"{TallyOf.SQL.partition('SETTINGS')[0]} SETTINGS {bounds}", asked)


def test_what_was_retired_before_runs_were_kept_hides_all_below_it(store: Store) -> None:
    store.insert("retired", ["device", "upto", "received"], [[7, 40, datetime_of(1)]])
    lay(store, [Came(device=7, seq=seq, received=2) for seq in (30, 43)])
    assert [(gap.first, gap.last) for gap in GapsOf(device=7, as_of=EVER, after=0, limit=9).read(store)] == [(41, 42)]


def test_a_wild_seq_that_was_retired_hides_no_hole(store: Store) -> None:
    runs = [[7, 1, 41_350, datetime_of(1)], [7, 9_000_000_000_000, 9_000_000_000_000, datetime_of(1)]]
    store.insert("retired", ["device", "first", "upto", "received"], runs)
    lay(store, [Came(device=7, seq=seq, received=1_700_000_000_000) for seq in (41_351, 41_353)])
    gaps = GapsOf(device=7, as_of=EVER, after=0, limit=9).read(store)
    assert [(gap.first, gap.last) for gap in gaps] == [(41_352, 41_352)]
    assert TallyOf(device=7, as_of=EVER).read(store).seen_to == 9_000_000_000_000


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    desk = Desk(valkey, store)
    for number in (2, 3, 4):
        desk.record(DeviceEnrolled(Device(id=f"gate-{number}", number=number, place="cafe")))
    with desk.running() as running:
        yield running


def ask(desk: Desk, path: str = "/v1/devices/door/gaps", **params: Any) -> Any:
    answer = desk.ask("GET", path, role=Role.VIEWER, params=params)
    assert answer.status_code == 200, answer.text
    assert AN.hex() not in answer.text
    return answer.json()


def test_a_hole_is_seen_when_a_later_scan_is_in_the_log_and_gone_when_it_is_filled(desk: Desk) -> None:
    at = now_ms() - 60_000
    desk.send(visit(desk, 1, at, AN))
    assert ask(desk) | {"as_of": 0} == {
        "device": "door",
        "place": "mall",
        "as_of": 0,
        "next_seq": 2,
        "seen_to": 1,
        "missing": 0,
        "runs": 0,
        "conflicting": 0,
        "gaps": [],
        "conflicts": [],
        "next": None,
    }
    before = now_ms()
    desk.send(visit(desk, 5, at, AN), visit(desk, 9, at, AN))
    body = ask(desk)
    since = body["gaps"][0]["since"]
    assert before <= since <= body["as_of"]
    assert body["gaps"] == [{"first": 2, "last": 4, "since": since}, {"first": 6, "last": 8, "since": since}]
    assert (body["missing"], body["runs"], body["next_seq"], body["seen_to"]) == (6, 2, 2, 9)
    desk.send(*(visit(desk, seq, at, AN) for seq in (2, 3, 4)))
    body = ask(desk)
    assert body["gaps"] == [{"first": 6, "last": 8, "since": since}]
    assert body["next_seq"] == 6


def test_a_reused_seq_is_kept_flagged_and_never_overwritten(desk: Desk) -> None:
    at = now_ms() - 60_000
    desk.send(visit(desk, 1, at, AN), visit(desk, 2, at, AN))
    ask(desk)
    desk.send(visit(desk, 1, at + 5, AN, Kind.OUT, "cafe"), visit(desk, 2, at, AN))
    body = ask(desk)
    (conflict,) = body["conflicts"]
    assert body["conflicting"] == 1
    assert (conflict["seq"], conflict["differs"], conflict["count"]) == (1, ["at", "place", "kind"], 2)
    first, second = conflict["deliveries"]
    assert first["received"] < second["received"]
    assert (first["at"], first["kind"], first["place"]) == (at, "in", "mall")
    assert (second["at"], second["kind"], second["place"]) == (at + 5, "out", "cafe")
    rows = desk.store.rows("SELECT count() FROM log WHERE seq = 1")
    assert rows == [(2,)]
    (listed,) = ask(desk, "/v1/gaps")["items"]
    assert (listed["device"], listed["missing"], listed["conflicts"], listed["since"]) == ("door", 0, 1, None)
    assert (listed["next_seq"], listed["seen_to"]) == (3, 2)


def test_pages_of_one_device_hold_every_run_and_conflict_once(desk: Desk) -> None:
    lay(desk.store, [Came(seq=seq, received=seq) for seq in (2, 4, 5, 9)])
    lay(desk.store, [Came(seq=seq, received=100 + seq, at=77) for seq in (4, 5)])
    whole = ask(desk)
    order = [gap["last"] for gap in whole["gaps"]] + [conflict["seq"] for conflict in whole["conflicts"]]
    assert sorted(order) == [1, 3, 4, 5, 8]
    for limit in (1, 2, 3, 5):
        gaps, conflicts, after = [], [], 0
        while True:
            page = ask(desk, limit=limit, after_seq=after)
            assert (page["missing"], page["runs"], page["conflicting"]) == (5, 3, 2)
            gaps += page["gaps"]
            conflicts += page["conflicts"]
            if page["next"] is None:
                break
            assert len(page["gaps"]) + len(page["conflicts"]) == limit
            after = page["next"]
        assert (gaps, conflicts) == (whole["gaps"], whole["conflicts"])


def test_the_worst_come_first_and_pages_are_all_as_of_one_moment(desk: Desk) -> None:
    lay(desk.store, [Came(device=1, seq=3, received=50), Came(device=2, seq=9, received=60)])
    lay(desk.store, [Came(device=3, seq=1, received=1), Came(device=99, seq=3, received=7, refused=True)])
    lay(desk.store, [Came(device=4, seq=1, received=1), Came(device=4, seq=1, received=2, subject=1)])
    page = ask(desk, "/v1/gaps", limit=1)
    assert (page["devices"], page["missing"], page["conflicts"]) == (4, 12, 1)
    assert page["items"] == [
        {
            "device": "gate-2",
            "place": "cafe",
            "missing": 8,
            "runs": 1,
            "since": 60,
            "next_seq": 1,
            "seen_to": 9,
            "conflicts": 0,
        }
    ]
    lay(desk.store, [Came(device=3, seq=5_000, received=page["as_of"] + 1)])
    devices = [page["items"][0]["device"]]
    while page["next"] is not None:
        moment, page = page["as_of"], ask(desk, "/v1/gaps", limit=1, cursor=page["next"])
        assert (page["as_of"], page["missing"]) == (moment, 12)
        devices += [item["device"] for item in page["items"]]
    assert devices == ["gate-2", "door", "#99", "gate-4"]


def test_the_list_is_read_for_one_at_a_time_and_once_for_all_its_pages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(desk.store, [Came(device=device, seq=3, received=50) for device in (1, 2, 3)])
    moments: list[int] = []
    read = Tallies.read

    def counted(question: Tallies, store: Store) -> Any:
        moments.append(question.as_of)
        return read(question, store)

    monkeypatch.setattr(Tallies, "read", counted)
    page = ask(desk, "/v1/gaps", limit=1)
    with desk.parts.gap_surveys.turn():
        assert is_problem(desk.ask("GET", "/v1/gaps", params={"cursor": page["next"]}), problems.SERVER_BUSY)
        assert ask(desk)["missing"] == 2
    devices = [page["items"][0]["device"]]
    while page["next"] is not None:
        page = ask(desk, "/v1/gaps", limit=1, cursor=page["next"])
        devices += [item["device"] for item in page["items"]]
    assert devices == ["door", "gate-2", "gate-3"]
    assert moments == [page["as_of"]]
    later = ask(desk, "/v1/gaps")["as_of"]
    assert moments == [page["as_of"], later]


def test_what_was_acknowledged_and_never_reached_the_log_is_missing_at_the_end(desk: Desk) -> None:
    desk.send(visit(desk, 1, now_ms(), AN))
    desk.redis.hset(ONLY.seen, "1", "1-4|")
    body = ask(desk)
    assert body["gaps"] == [{"first": 2, "last": 4, "since": None}]
    assert (body["missing"], body["runs"], body["next_seq"], body["seen_to"]) == (3, 1, 2, 4)


def test_wrong_questions(desk: Desk) -> None:
    assert is_problem(desk.ask("GET", "/v1/devices/none/gaps"), problems.NOT_FOUND)
    for path, name, value in (
        ("/v1/gaps", "limit", 0),
        ("/v1/gaps", "limit", 501),
        ("/v1/gaps", "cursor", "x"),
        ("/v1/devices/door/gaps", "limit", RUNS_MAX + 1),
        ("/v1/devices/door/gaps", "after_seq", -1),
    ):
        answer = desk.ask("GET", path, params={name: value})
        assert is_problem(answer, problems.QUESTION_INVALID, f"/{name}")


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
class TestWithoutASink:
    """Nobody lays the stream into the log."""

    def test_the_answer_is_as_of_an_earlier_moment(
        self, valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tracing.sequence.LOG_WAIT_SECONDS", 0.05)
        desk = Desk(valkey, store)
        desk.follower.start()
        try:
            answer = desk.ask("GET", "/v1/gaps")
            assert is_problem(answer, problems.BEHIND)
            lay(store, [Came(seq=2, received=10), Came(seq=9, received=11)])
            desk.watermarks.publish("log", Watermark(10, 1))
            valkey.hset(ONLY.seen, "1", "2-3,9-12|")
            assert (body := ask(desk))["as_of"] == 10
            assert [(gap["first"], gap["last"]) for gap in body["gaps"]] == [(1, 1)]
            assert body["seen_to"] == 2
        finally:
            desk.follower.stop()

    def test_a_stream_that_is_down(self, valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        desk = Desk(valkey, store)
        desk.follower.start()

        def down(device: int) -> None:
            raise StreamDown("ConnectionError")

        monkeypatch.setattr(desk.parts.accounts, "seen", down)
        try:
            desk.follower.catch_up(10.0)
            assert is_problem(desk.ask("GET", "/v1/devices/door/gaps"), problems.STREAM_DOWN)
        finally:
            desk.follower.stop()
