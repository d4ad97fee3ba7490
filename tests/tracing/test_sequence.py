"""A device asks for its own count: what it learns, and that nobody else learns it."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events import problems
from events.devices import Device
from events.scans import SEQUENCE_PATH
from ingest.limits import EdgeLimits
from keys import enrolment
from keys.http_signatures import parse_signature_input, sign_question, signature_base
from storage.accounts import SIGNED
from storage.clickhouse import Store
from storage.partitions import ONLY
from storage.watermarks import Watermark
from tests.tracing.deliveries import Came, lay
from tests.tracing.desk import AN, Desk, now_ms, visit
from tests.tracing.test_routes import is_problem
from tracing.device_questions import (
    DEVICE_QUESTIONS_MAX,
    QUESTIONS_BURST_SECONDS,
    QUESTIONS_PER_SECOND,
    DeviceQuestions,
)

LIMITS = EdgeLimits()


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    with Desk(valkey, store).running() as desk:
        yield desk


@pytest.fixture
def sinkless(valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The log was complete up to ms 10, and nobody carries on."""
    monkeypatch.setattr("tracing.sequence.LOG_WAIT_SECONDS", 0.05)
    desk = Desk(valkey, store)
    desk.follower.start()
    desk.follower.catch_up(10.0)
    desk.watermarks.publish("log", Watermark(10, 1))
    yield desk
    desk.follower.stop()


def signed(desk: Desk, query: str = "", *, created: int | None = None, keyid: str = "door.1") -> dict[str, str]:
    created = now_ms() // 1000 if created is None else created
    return sign_question(desk.door_key, keyid, path=SEQUENCE_PATH, query=query, created=created)


def get(desk: Desk, headers: dict[str, str], query: str = "") -> httpx.Response:
    target = f"{SEQUENCE_PATH}?{query}" if query else SEQUENCE_PATH
    return desk.ask("GET", target, role=None, headers=headers)


def ask(desk: Desk, query: str = "") -> Any:
    answer = get(desk, signed(desk, query), query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def used_signatures(desk: Desk) -> int:
    """How many signatures the stream's server remembers."""
    return len(list(desk.redis.scan_iter(f"{SIGNED}*")))


def test_a_device_learns_exactly_what_is_missing(desk: Desk) -> None:
    at = now_ms() - 1_000
    desk.send(*(visit(desk, seq, at, AN) for seq in (2, 3, 7)))
    lay(desk.store, [Came(seq=5, received=5, refused=True), Came(device=2, seq=40, received=5)])
    asked = now_ms()
    body = ask(desk)
    assert body.pop("as_of") >= asked
    assert body == {
        "device": "door",
        "settled": True,
        "next_seq": 1,
        "seen_to": 7,
        "missing": [{"first": 1, "last": 1}, {"first": 4, "last": 4}, {"first": 6, "last": 6}],
        "next": None,
    }
    assert desk.audited() == []


def test_a_device_that_never_sent_anything(desk: Desk) -> None:
    body = ask(desk)
    assert (body["next_seq"], body["seen_to"], body["missing"], body["next"]) == (1, 0, [], None)


def test_what_was_acknowledged_and_is_in_no_log_is_missing(desk: Desk) -> None:
    desk.send(visit(desk, 1, now_ms(), AN))
    desk.redis.hset(ONLY.seen, "1", "1-9|")
    body = ask(desk)
    assert (body["missing"], body["next_seq"], body["seen_to"]) == ([{"first": 2, "last": 9}], 2, 9)


def test_pages(desk: Desk) -> None:
    lay(desk.store, [Came(seq=seq, received=seq) for seq in (2, 4, 7)])
    found, query = [], "limit=1"
    while True:
        body = ask(desk, query)
        found += [(run["first"], run["last"]) for run in body["missing"]]
        assert (body["next_seq"], body["seen_to"]) == (found[-1][0], 7)
        if body["next"] is None:
            break
        assert len(body["missing"]) == 1
        query = f"limit=1&after_seq={body['next']}"
    assert found == [(1, 1), (3, 3), (5, 6)]
    body = ask(desk, "after_seq=6")
    assert (body["missing"], body["next_seq"]) == ([], 8)


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
class TestWhileTheLogIsBehind:
    def test_what_waits_in_the_stream_is_not_asked_for_again(self, sinkless: Desk) -> None:
        lay(sinkless.store, [Came(seq=seq, received=seq) for seq in (3, 8)])
        sinkless.redis.hset(ONLY.seen, "1", "1-1,5-6,8-10,14-15|")
        body = ask(sinkless)
        assert (body["settled"], body["as_of"], body["seen_to"], body["next_seq"]) == (False, 10, 15, 2)
        assert [(run["first"], run["last"]) for run in body["missing"]] == [(2, 2), (4, 4), (7, 7), (11, 13)]

    def test_pages(self, sinkless: Desk) -> None:
        lay(sinkless.store, [Came(seq=seq, received=seq) for seq in (3, 8)])
        sinkless.redis.hset(ONLY.seen, "1", "1-2,10-10|")
        first = ask(sinkless, "limit=1")
        assert (first["missing"], first["next"], first["next_seq"]) == ([], 2, 3)
        second = ask(sinkless, "limit=1&after_seq=2")
        assert (second["missing"], second["next"]) == ([{"first": 4, "last": 7}, {"first": 9, "last": 9}], None)

    def test_a_lost_account_asks_for_what_the_log_lacks_alone(self, sinkless: Desk) -> None:
        lay(sinkless.store, [Came(seq=seq, received=seq) for seq in (1, 2, 5)])
        body = ask(sinkless)
        assert body["missing"] == [{"first": 3, "last": 4}]


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
class TestWhoMayAsk:
    def test_a_request_without_a_good_signature(self, desk: Desk) -> None:
        good = signed(desk)
        for headers, kind in (
            ({}, problems.SIGNATURE_MISSING),
            ({"Authorization": f"Bearer {next(iter(desk.tokens.values()))}"}, problems.SIGNATURE_MISSING),
            (good | {"Signature-Input": "x"}, problems.SIGNATURE_MALFORMED),
            (signed(desk, keyid="door.2"), problems.KEY_UNKNOWN),
            (signed(desk, keyid="nobody.1"), problems.KEY_UNKNOWN),
        ):
            assert is_problem(get(desk, headers), kind)
        assert get(desk, good).status_code == 200

    def test_a_signature_is_taken_once(self, desk: Desk) -> None:
        headers = signed(desk)
        assert get(desk, headers).status_code == 200
        again = get(desk, headers)
        assert is_problem(again, problems.SIGNATURE_STALE)
        assert "used before" in again.json()["detail"]

    def test_an_old_one_and_one_from_the_future_are_stale(self, desk: Desk) -> None:
        now = now_ms() // 1000
        for created in (now - LIMITS.signature_age_seconds_max - 5, now + LIMITS.clock_skew_seconds_max + 5):
            assert is_problem(get(desk, signed(desk, created=created)), problems.SIGNATURE_STALE)

    def test_another_device_learns_nothing_of_this_one(self, desk: Desk) -> None:
        lay(desk.store, [Came(seq=5, received=5), Came(device=2, seq=2, received=6)])
        other = Ed25519PrivateKey.generate()
        gate = Device(id="gate", number=2, place="mall")
        desk.record(*enrolment.enrolled(gate, other.public_key().public_bytes_raw(), now_ms() - 1_000))
        desk.follower.catch_up(10.0)
        created = now_ms() // 1000
        forged = sign_question(other, "door.1", path=SEQUENCE_PATH, created=created)
        assert is_problem(get(desk, forged), problems.SIGNATURE_INVALID)
        own = get(desk, sign_question(other, "gate.1", path=SEQUENCE_PATH, created=created)).json()
        assert (own["device"], own["missing"]) == ("gate", [{"first": 1, "last": 1}])

    def test_a_revoked_key_is_told_so(self, desk: Desk) -> None:
        key = desk.registry.keyring.key("door.1")
        assert key is not None
        desk.record(*enrolment.revoked(key, now_ms() - 10, "lost"))
        desk.follower.catch_up(10.0)
        assert is_problem(get(desk, signed(desk)), problems.KEY_REVOKED)

    def test_what_decides_the_answer_must_be_signed(self, desk: Desk) -> None:
        assert is_problem(get(desk, signed(desk), "after_seq=3"), problems.SIGNATURE_INCOMPLETE)
        assert is_problem(get(desk, signed(desk, "after_seq=3"), "after_seq=4"), problems.SIGNATURE_INVALID)
        created = now_ms() // 1000
        elsewhere = sign_question(desk.door_key, "door.1", path="/v1/scans", created=created)
        assert is_problem(get(desk, elsewhere), problems.SIGNATURE_INVALID)
        otherwise = sign_question(desk.door_key, "door.1", path=SEQUENCE_PATH, created=created, method="POST")
        assert is_problem(get(desk, otherwise), problems.SIGNATURE_INVALID)

    @pytest.mark.parametrize("component", ["@method", "@path"])
    def test_neither_method_nor_path_may_be_left_out(self, desk: Desk, component: str) -> None:
        covered = f'sig=("{component}");created={now_ms() // 1000};keyid="door.1"'
        base = signature_base(
            parse_signature_input(covered), method="GET", path=SEQUENCE_PATH, query="", authority="", headers={}
        )
        signature = base64.b64encode(desk.door_key.sign(base)).decode()
        headers = {"Signature-Input": covered, "Signature": f"sig=:{signature}:"}
        assert is_problem(get(desk, headers), problems.SIGNATURE_INCOMPLETE)

    def test_wrong_parameters_are_pointed_at(self, desk: Desk) -> None:
        for query, pointer in (("limit=0", "/limit"), ("limit=1001", "/limit"), ("after_seq=x", "/after_seq")):
            assert is_problem(get(desk, signed(desk, query), query), problems.QUESTION_INVALID, pointer)

    def test_a_crowd_of_devices_leaves_room_for_people(self, desk: Desk) -> None:
        headers = signed(desk)
        with ExitStack() as others:
            for number in range(2, 2 + DEVICE_QUESTIONS_MAX):
                others.enter_context(desk.parts.device_questions.turn(number))
            assert is_problem(get(desk, headers), problems.SERVER_BUSY)
        assert used_signatures(desk) == 0
        assert get(desk, headers).status_code == 200
        assert used_signatures(desk) == 1

    def test_a_device_has_one_question_at_a_time(self, desk: Desk) -> None:
        headers = signed(desk)
        with desk.parts.device_questions.turn(desk.door.number):
            assert is_problem(get(desk, headers), problems.RATE_EXCEEDED)
        assert used_signatures(desk) == 0
        assert get(desk, headers).status_code == 200

    def test_a_device_that_asks_and_asks_is_told_when_to_ask_again(self, desk: Desk) -> None:
        burst = int(QUESTIONS_PER_SECOND * QUESTIONS_BURST_SECONDS)
        for _ in range(burst + 10):
            desk.parts.device_questions.count(desk.door.number)
        refused = get(desk, signed(desk))
        assert refused.json()["type"].endswith(problems.RATE_EXCEEDED.name)
        assert 1 <= int(refused.headers["Retry-After"]) <= 10 / QUESTIONS_PER_SECOND
        assert used_signatures(desk) == 0

    def test_replays_use_up_nobodys_rate(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tracing.device_questions.QUESTIONS_BURST_SECONDS", 2.0)
        monkeypatch.setattr("tracing.device_questions.QUESTIONS_PER_SECOND", 1.0)
        monkeypatch.setattr(desk.parts, "device_questions", DeviceQuestions(clock=lambda: 0.0))
        headers = signed(desk)
        assert get(desk, headers).status_code == 200
        for _ in range(10):
            assert is_problem(get(desk, headers), problems.SIGNATURE_STALE)
        for number in range(2):
            query = f"after_seq={number}"
            assert get(desk, signed(desk, query), query).status_code == 200
        assert is_problem(get(desk, signed(desk, "after_seq=9"), "after_seq=9"), problems.RATE_EXCEEDED)
