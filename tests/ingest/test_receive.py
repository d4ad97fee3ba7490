"""`ingest.receive`: requests over ASGI against a real Valkey; each bad input has its own status and type."""

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio
import uvicorn

from app.ports import free_port
from events import codec, problems
from events.control import DeviceKeyRevoked, PlaceRegistered
from events.places import Place
from events.problems import Problem
from events.scans import (
    BATCH_SCANS_MAX,
    KIND_NUMBER,
    LOG_ROW,
    REFUSED_ROW,
    Entry,
    Kind,
    Receipt,
    Refusal,
    Scan,
    ScanBatch,
)
from ingest.evidence import open_evidence, signature_holds
from ingest.limits import EdgeLimits
from ingest.receive import EdgeResult, ScanEdge
from keys.codes import CodeOpener
from keys.http_signatures import content_digest
from storage.partitions import ONLY
from storage.publish import Publisher
from storage.valkey import EmbeddedValkey
from tests.ingest.scene import (
    AN,
    CITIZEN,
    DAY,
    DOOR,
    HOUR,
    JSON,
    MSGPACK,
    NOW,
    PATH,
    SECOND,
    SECRETS,
    STRANGER,
    Noise,
    Scene,
    device_key,
    good,
    json_body,
    person_code,
    place_code,
    signed,
    signed_over,
)

STREAM_BYTES_MAX = 100_000_000
Body = bytes | AsyncIterator[bytes]
Headers = dict[str, str] | list[tuple[str, str]]
Entries = Callable[[], list[Entry]]


class Edge:
    """An edge on a real Valkey. Each request has its own event loop and connection, as after a restart."""

    def __init__(self, url: str, *, stream_bytes_max: int = STREAM_BYTES_MAX, **limits: float) -> None:
        self.scene = Scene()
        self.limits = EdgeLimits(**limits)  # type: ignore[arg-type]
        self.random: Callable[[int], bytes] = Noise("nonces")
        self.now_ms = NOW
        self.results: list[EdgeResult] = []
        self._url = url
        self._stream_bytes_max = stream_bytes_max

    def app(self, client: "redis.asyncio.Redis") -> ScanEdge:
        """The ASGI application."""
        return ScanEdge(
            keyring=self.scene.keyring,
            places=self.scene.places,
            secrets=SECRETS,
            opener=CodeOpener(SECRETS),
            publisher=Publisher([client], bytes_max=self._stream_bytes_max),
            clock_ms=lambda: self.now_ms,
            random=self.random,
            limits=self.limits,
            on_result=self.results.append,
        )

    def send(self, body: Body, headers: Headers, *, method: str = "POST", path: str = PATH) -> httpx.Response:
        """One request through the whole edge."""

        async def exchange() -> httpx.Response:
            async with redis.asyncio.Redis.from_url(self._url, socket_timeout=60) as client:
                transport = httpx.ASGITransport(self.app(client))
                async with httpx.AsyncClient(transport=transport, base_url="http://edge.example:80") as http:
                    return await http.request(method, path, content=body, headers=headers)

        return asyncio.run(exchange())

    def post(self, *scans: Scan, device: str = "door", created: int = NOW // 1000) -> httpx.Response:
        """A good JSON batch."""
        body = json_body(*scans)
        return self.send(body, signed(body, device=device, created=created))

    def drive(self, scope: dict[str, Any], receive: Callable[[], Any]) -> list[Any]:
        """A request on the bare interface: the messages that were sent."""

        async def run() -> list[Any]:
            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            async with redis.asyncio.Redis.from_url(self._url) as client:
                base = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": []}
                await self.app(client)(base | scope, receive, send)
            return sent

        return asyncio.run(run())


@pytest.fixture
def edge(redis_url: str) -> Edge:
    return Edge(redis_url)


@pytest.fixture
def entries(valkey: "redis.Redis") -> Entries:
    """What the stream holds."""

    def read() -> list[Entry]:
        found: Any = valkey.xrange(ONLY.scans)
        return [codec.entry_from_msgpack(fields[b"e"]) for _, fields in found]

    return read


def receipt(response: httpx.Response, status: int = 202) -> Receipt:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == JSON
    return codec.from_json(response.content, Receipt)


def problem(response: httpx.Response, kind: problems.Kind) -> Problem:
    assert response.status_code == kind.status, response.text
    assert response.headers["content-type"] == problems.PROBLEM_MEDIA_TYPE
    found = codec.from_json(response.content, Problem)
    assert found.type == problems.PROBLEM_TYPE_BASE + kind.name
    assert found.action == kind.action
    assert response.headers.get("retry-after", "0") == str(kind.retry_after_seconds)
    return found


# Good batches


@pytest.mark.parametrize(
    ("content_type", "encode"), [(JSON, codec.to_json), (MSGPACK, codec.to_msgpack)], ids=["json", "msgpack"]
)
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_a_good_batch_is_durable_before_the_answer(
    edge: Edge, entries: Entries, content_type: str, encode: Callable[[object], bytes], encoding: str | None
) -> None:
    scans = [good(1), good(2, place="stall"), Scan(3, NOW, Kind.IN)]
    plain = encode(ScanBatch(scans))
    body = gzip.compress(plain) if encoding else plain
    answer = receipt(edge.send(body, signed(body, content_type=content_type, encoding=encoding)))
    assert (answer.accepted, answer.duplicate, answer.refused) == (2, 0, 1)
    assert (answer.next_seq, answer.seen_to) == (4, 3)
    assert [(one.seq, one.verdict) for one in answer.verdicts] == [(3, Refusal.SUBJECT_MISSING)]
    (entry,) = entries()
    assert answer.batch
    assert (entry.device, entry.key, entry.seq_min, entry.seq_max) == (DOOR.number, 1, 1, 3)
    assert [row[2] for row in LOG_ROW.iter_unpack(entry.rows)] == [1, 2]
    assert [row[2] for row in REFUSED_ROW.iter_unpack(entry.refused)] == [3]
    evidence = open_evidence(SECRETS, entry.evidence, DOOR.number)
    assert evidence.body == body
    assert signature_holds(evidence, device_key("door").public)


def test_the_stream_never_holds_what_names_a_person(edge: Edge, entries: Entries) -> None:
    code = person_code()
    scans = [Scan(1, NOW, Kind.PASS, cccd=CITIZEN), Scan(2, NOW, Kind.PASS, code=code), Scan(3, NOW, Kind.IN, cccd="9")]
    answer = edge.post(*scans, device="post-1")
    assert receipt(answer).accepted == 2
    for text in (CITIZEN, code):
        assert text not in answer.text
        assert text.encode() not in codec.to_msgpack(entries()[0])


def test_a_refused_batch_is_kept_too(edge: Edge, entries: Entries) -> None:
    answer = receipt(edge.post(Scan(1, NOW, Kind.IN)))
    assert (answer.accepted, answer.refused, answer.next_seq) == (0, 1, 2)
    (entry,) = entries()
    assert (entry.rows, len(entry.refused)) == (b"", REFUSED_ROW.size)


def test_a_phone(edge: Edge) -> None:
    assert receipt(edge.post(Scan(1, NOW, Kind.IN, place_code=place_code()), device="phone")).accepted == 1


@pytest.mark.parametrize(
    ("content_type", "encode"), [(JSON, codec.to_json), (MSGPACK, codec.to_msgpack)], ids=["json", "msgpack"]
)
def test_a_backlog_of_codes(edge: Edge, entries: Entries, content_type: str, encode: Callable[[object], bytes]) -> None:
    fine, old = person_code()[:80], person_code(expires=NOW - 2 * SECOND)[:80]
    kinds = list(Kind)
    scans = [Scan(seq, NOW - seq, kinds[seq % 3], old if seq == 7 else fine) for seq in range(1, 201)]
    body = encode(ScanBatch(scans))
    answer = receipt(edge.send(body, signed(body, content_type=content_type)))
    assert (answer.accepted, answer.refused, answer.next_seq) == (199, 1, 201)
    assert [(one.seq, one.verdict) for one in answer.verdicts] == [(7, Refusal.EXPIRED_CODE)]
    (entry,) = entries()
    assert [row[2:] for row in LOG_ROW.iter_unpack(entry.rows)] == [
        (scan.seq, scan.at, 0, 1, AN, KIND_NUMBER[scan.kind], 1) for scan in scans if scan.seq != 7
    ]


def test_a_body_in_chunks(edge: Edge) -> None:
    body = json_body(good())

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    assert receipt(edge.send(chunks(), signed(body))).accepted == 1


def test_a_query_and_the_authority_that_are_covered(edge: Edge) -> None:
    body = json_body(good())
    components = ("@method", "@path", "@query", "@authority", "content-type", "content-digest")
    headers = signed_over(components, body, query="lane=3", authority="edge.example")
    assert receipt(edge.send(body, headers | {"host": "Edge.Example:80"}, path=f"{PATH}?lane=3")).accepted == 1


def test_the_largest_batch(edge: Edge) -> None:
    code = person_code()
    scans = [Scan(seq, NOW, Kind.IN, code=code) for seq in range(1, BATCH_SCANS_MAX + 1)]
    assert receipt(edge.post(*scans)).next_seq == BATCH_SCANS_MAX + 1


# Duplicates and replays


def test_an_exact_replay_is_answered_and_not_appended(edge: Edge, entries: Entries) -> None:
    scans = [good(1), Scan(2, NOW, Kind.IN)]
    body = json_body(*scans)
    headers = signed(body)
    first = receipt(edge.send(body, headers))
    again = receipt(edge.send(body, headers), status=200)
    assert (again.accepted, again.duplicate, again.refused) == (0, 2, 0)
    assert (again.next_seq, again.seen_to) == (first.next_seq, first.seen_to) == (3, 2)
    # The device that missed the first answer still learns what was refused.
    assert {one.seq: one.verdict for one in again.verdicts} == {1: "duplicate", 2: Refusal.SUBJECT_MISSING}
    assert len(entries()) == 1


def test_what_was_seen_is_duplicate_and_appended_again(edge: Edge, entries: Entries) -> None:
    receipt(edge.post(good(1), good(2), good(3)))
    answer = receipt(edge.post(good(2), good(3), good(4), Scan(5, NOW, Kind.IN)))
    assert (answer.accepted, answer.duplicate, answer.refused) == (1, 2, 1)
    assert {one.seq: one.verdict for one in answer.verdicts} == {
        2: "duplicate",
        3: "duplicate",
        5: Refusal.SUBJECT_MISSING,
    }
    assert [len(entry.rows) for entry in entries()] == [3 * LOG_ROW.size, 3 * LOG_ROW.size]


def test_a_hole_is_told(edge: Edge) -> None:
    answer = receipt(edge.post(good(1), good(5)))
    assert (answer.next_seq, answer.seen_to) == (2, 5)


def test_devices_count_for_themselves(edge: Edge) -> None:
    receipt(edge.post(good(1)))
    assert receipt(edge.post(Scan(1, NOW, Kind.IN, subject=AN.hex()), device="post-1")).duplicate == 0


def test_registries_may_change_between_requests(edge: Edge) -> None:
    scan = good(1, place="new-room")
    assert receipt(edge.post(scan)).verdicts[0].verdict == Refusal.UNKNOWN_PLACE
    edge.scene.record(PlaceRegistered(Place(id="new-room", number=9, name="x", parent="stall")))
    assert receipt(edge.post(scan, created=NOW // 1000 + 1)).refused == 0


# Scans of a good batch that are not taken


@pytest.mark.parametrize(
    ("scan", "device", "reason"),
    [
        (good(1, at=NOW + HOUR), "door", Refusal.TIME_OUT_OF_RANGE),
        (good(1, at=NOW - 40 * DAY), "door", Refusal.TIME_OUT_OF_RANGE),
        (good(1, place="nowhere"), "door", Refusal.UNKNOWN_PLACE),
        (good(1, place="post"), "door", Refusal.PLACE_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, code=person_code(secrets=STRANGER)), "door", Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, code=person_code(expires=NOW)), "door", Refusal.EXPIRED_CODE),
        (Scan(1, NOW, Kind.IN, cccd="12345"), "post-1", Refusal.BAD_CITIZEN_NUMBER),
        (Scan(1, NOW, Kind.IN, cccd="００１３０１０００００１"), "post-1", Refusal.BAD_CITIZEN_NUMBER),
        (Scan(1, NOW, Kind.IN, code="\u202e" + person_code()), "door", Refusal.BAD_CODE),
        (good(1, place="mall\u2066"), "door", Refusal.UNKNOWN_PLACE),
    ],
)
def test_a_refused_scan_does_not_spoil_the_batch(edge: Edge, scan: Scan, device: str, reason: Refusal) -> None:
    fine = Scan(2, NOW, Kind.IN, code=person_code())
    answer = receipt(edge.post(scan, fine, device=device))
    assert [(one.seq, one.verdict) for one in answer.verdicts] == [(1, reason)]
    assert (answer.accepted, answer.refused) == (1, 1)


def test_a_repeated_seq(edge: Edge) -> None:
    answer = receipt(edge.post(good(1), good(1)))
    assert (answer.accepted, answer.refused, answer.verdicts[0].verdict) == (1, 1, Refusal.SEQ_REPEATED)


# Requests that are not taken


def batch_with(seq: str) -> bytes:
    return b'{"scans":[{"seq":%s,"at":1,"kind":"in"}]}' % seq.encode()


def test_no_signature(edge: Edge) -> None:
    problem(edge.send(json_body(good()), {"content-type": JSON}), problems.SIGNATURE_MISSING)


def test_an_unreadable_signature(edge: Edge) -> None:
    body = json_body(good())
    problem(edge.send(body, signed(body) | {"signature": "?"}), problems.SIGNATURE_MALFORMED)


def test_a_signature_over_too_little(edge: Edge) -> None:
    body = json_body(good())
    problem(edge.send(body, signed_over(("@method", "content-digest"), body)), problems.SIGNATURE_INCOMPLETE)


def test_a_query_that_is_not_covered(edge: Edge) -> None:
    body = json_body(good())
    problem(edge.send(body, signed(body), path=f"{PATH}?a=1"), problems.SIGNATURE_INCOMPLETE)


def test_two_header_fields_are_one_value(edge: Edge) -> None:
    body = json_body(good())
    headers = signed(body)
    pairs = [*headers.items(), ("signature", headers["signature"])]
    problem(edge.send(body, pairs), problems.SIGNATURE_MALFORMED)


def test_the_wrong_key(edge: Edge) -> None:
    body = json_body(good())
    headers = signed(body, device="post-1")
    headers["signature-input"] = headers["signature-input"].replace("post-1.1", "door.1")
    problem(edge.send(body, headers), problems.SIGNATURE_INVALID)


def test_an_unknown_key(edge: Edge) -> None:
    body = json_body(good())
    problem(edge.send(body, signed(body, device="nobody")), problems.KEY_UNKNOWN)


def test_a_revoked_key(edge: Edge) -> None:
    edge.scene.record(DeviceKeyRevoked("door", 1, NOW))
    problem(edge.post(good()), problems.KEY_REVOKED)


@pytest.mark.parametrize("off", [-301, 61])
def test_a_clock_far_off(edge: Edge, off: int) -> None:
    assert str(NOW // 1000) in problem(edge.post(good(), created=NOW // 1000 + off), problems.SIGNATURE_STALE).detail


def test_another_body_than_the_one_signed(edge: Edge) -> None:
    body = json_body(good())
    problem(edge.send(json_body(good(2)), signed(body)), problems.DIGEST_MISMATCH)
    other = signed(body) | {"content-digest": content_digest(json_body(good(2)))}
    problem(edge.send(body, other), problems.DIGEST_MISMATCH)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml"])
def test_an_unknown_content_type(edge: Edge, content_type: str) -> None:
    body = json_body(good())
    problem(edge.send(body, signed(body, content_type=content_type)), problems.CONTENT_TYPE_UNKNOWN)


def test_an_unknown_encoding(edge: Edge) -> None:
    body = json_body(good())
    problem(edge.send(body, signed(body, encoding="br")), problems.CONTENT_ENCODING_UNKNOWN)


@pytest.mark.parametrize(("body", "position"), [(b'{"scans":[', 10), (batch_with("NaN"), 17), (b"", 0)])
def test_a_malformed_body(edge: Edge, body: bytes, position: int) -> None:
    assert f"(byte {position})" in problem(edge.send(body, signed(body)), problems.BODY_MALFORMED).detail


@pytest.mark.parametrize("seq", ["0", "-1", "1.5", "1e400", "99999999999999999999"])
def test_a_seq_that_is_none(edge: Edge, seq: str) -> None:
    body = batch_with(seq)
    assert problem(edge.send(body, signed(body)), problems.BODY_INVALID).pointer == "/scans/0/seq"


@pytest.mark.parametrize("count", [0, BATCH_SCANS_MAX + 1])
def test_too_many_scans_or_none(edge: Edge, count: int) -> None:
    body = json_body(*(Scan(seq + 1, NOW, Kind.IN) for seq in range(count)))
    assert problem(edge.send(body, signed(body)), problems.BODY_INVALID).pointer == "/scans"


def test_a_gzip_bomb(edge: Edge) -> None:
    body = gzip.compress(bytes(100_000_000))
    assert len(body) < edge.limits.body_bytes_max
    problem(edge.send(body, signed(body, encoding="gzip")), problems.BODY_TOO_LARGE)


def test_nothing_of_a_bad_request_is_kept(edge: Edge, entries: Entries) -> None:
    body = batch_with("0")
    problem(edge.send(body, signed(body)), problems.BODY_INVALID)
    assert entries() == []


def test_only_post(edge: Edge) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "HEAD"):
        response = edge.send(b"", {}, method=method)
        assert response.headers["allow"] == "POST"
        assert response.status_code == 405
    problem(edge.send(b"", {}, method="GET"), problems.METHOD_NOT_ALLOWED)


def test_only_http(edge: Edge) -> None:
    with pytest.raises(NotImplementedError):
        edge.drive({"type": "websocket"}, never)


# Receiving


async def never() -> dict[str, Any]:
    raise AssertionError("nothing may be read")


def sent_status(sent: list[Any]) -> tuple[int, dict[bytes, bytes], str]:
    start, body = sent
    return start["status"], dict(start["headers"]), codec.from_json(body["body"], Problem).type


def test_a_length_that_is_too_large_is_not_read(edge: Edge) -> None:
    length = str(edge.limits.body_bytes_max + 1).encode()
    status, headers, kind = sent_status(edge.drive({"headers": [(b"content-length", length)]}, never))
    # Closing on a client that still sends would reset the connection, and lose the answer.
    assert (status, headers.get(b"connection")) == (413, None)
    assert kind.endswith(problems.BODY_TOO_LARGE.name)


def test_a_body_without_a_length_is_read_up_to_the_limit(edge: Edge) -> None:
    left = edge.limits.body_bytes_max // 1_000_000

    async def endless() -> dict[str, Any]:
        nonlocal left
        left -= 1
        assert left >= -1, "read past the limit"
        return {"type": "http.request", "body": bytes(1_000_000), "more_body": True}

    assert sent_status(edge.drive({}, endless))[0] == 413


def test_the_limit_itself_is_taken(redis_url: str) -> None:
    body = json_body(good())
    assert receipt(Edge(redis_url, body_bytes_max=len(body)).send(body, signed(body))).accepted == 1
    problem(Edge(redis_url, body_bytes_max=len(body) - 1).send(body, signed(body)), problems.BODY_TOO_LARGE)


def test_a_body_that_never_ends(redis_url: str) -> None:
    async def silence() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    edge = Edge(redis_url, body_seconds_max=0.01)
    status, headers, kind = sent_status(edge.drive({}, silence))
    assert (status, headers[b"connection"]) == (408, b"close")
    assert kind.endswith(problems.BODY_TIMEOUT.name)
    # HTTP/2 knows no such header.
    assert b"connection" not in sent_status(edge.drive({"http_version": "2"}, silence))[1]


def test_a_client_that_goes_away(edge: Edge, entries: Entries) -> None:
    messages: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> dict[str, Any]:
        return next(messages)

    assert edge.drive({}, receive) == []
    assert [(result.status, result.problem) for result in edge.results] == [(499, "")]
    assert entries() == []


def test_alone_under_uvicorn(edge: Edge, redis_url: str) -> None:
    body, large = json_body(good()), bytes(edge.limits.body_bytes_max + 1)

    async def chunks() -> AsyncIterator[bytes]:
        yield large

    async def exchange() -> list[httpx.Response]:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            # Listening before the server starts: connections wait for it, and nobody has to poll.
            listener = socket.create_server(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(edge.app(client), log_config=None))
            serving = asyncio.create_task(server.serve([listener]))
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as http:
                answers = [
                    await http.post(PATH, content=body, headers=signed(body)),
                    await http.post(PATH, content=large, headers={"content-type": JSON}),
                    await http.post(PATH, content=chunks(), headers={"content-type": JSON}),
                    await http.get(PATH),
                ]
            server.should_exit = True
            await serving
            return answers

    taken, *refused = asyncio.run(exchange())
    assert receipt(taken).accepted == 1
    assert [answer.status_code for answer in refused] == [413, 413, 405]


# Faults


def test_a_full_stream(redis_url: str, entries: Entries) -> None:
    problem(Edge(redis_url, stream_bytes_max=0).post(good()), problems.STREAM_FULL)
    assert entries() == []


def test_the_stream_down_and_up_again(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path, port=free_port())
    server.start()
    edge = Edge(server.url)
    try:
        receipt(edge.post(good(1)))
        server.kill()
        body = json_body(good(2))
        headers = signed(body)
        problem(edge.send(body, headers), problems.STREAM_DOWN)
        server.start()
        # What was answered with 202 outlived the server's death, and the refused batch is taken as new.
        answer = receipt(edge.send(body, headers))
        assert (answer.accepted, answer.next_seq) == (1, 3)
    finally:
        server.stop()


def test_a_stream_that_does_not_answer(redis_url: str, valkey: "redis.Redis") -> None:
    # Every write waits, as behind a disk that does not sync.
    valkey.client_pause(60_000, all=False)
    try:
        problem(Edge(redis_url, publish_seconds_max=0.05).post(good()), problems.STREAM_DOWN)
    finally:
        valkey.client_unpause()


def test_a_fault_of_our_own_is_told_without_its_content(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    edge.random = lambda _: CITIZEN.encode()[:5]
    with caplog.at_level(logging.DEBUG):
        problem(edge.post(Scan(1, NOW, Kind.PASS, cccd=CITIZEN), good(2), device="post-1"), problems.INTERNAL)
    messages = [record.getMessage() for record in caplog.records if record.name == "ingest.receive"]
    assert messages == ["a batch of 2 scans failed: ValueError"]
    assert all(record.exc_info is None for record in caplog.records if record.name == "ingest.receive")
    assert CITIZEN not in caplog.text


# The hook


def test_each_request_is_told_once(edge: Edge) -> None:
    scans = [good(1), good(2), Scan(3, NOW, Kind.IN), Scan(4, NOW, Kind.IN), good(5, at=0)]
    body = json_body(*scans)
    headers = signed(body)
    edge.send(body, headers)
    edge.send(body, headers)
    edge.post(good(1), good(6))
    edge.send(b"", {})
    told = [(one.status, one.problem, one.accepted, one.duplicate, one.refused) for one in edge.results]
    assert told == [
        (202, "", 2, 0, {Refusal.SUBJECT_MISSING: 2, Refusal.TIME_OUT_OF_RANGE: 1}),
        (200, "", 0, 5, {}),
        (202, "", 1, 1, {}),
        (401, "signature-missing", 0, 0, {}),
    ]
    first, *_, last = (one.seconds for one in edge.results)
    assert all(getattr(first, step) > 0 for step in first.__struct_fields__)
    assert (last.judge, last.seal, last.publish) == (0, 0, 0)
