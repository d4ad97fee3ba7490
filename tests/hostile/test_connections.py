"""Many connections, slow ones, and bytes on which two servers might disagree, at the running edge."""

import contextlib
import random
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from app.clock import DAY_MS, now_ms
from loadtests.hostile.actors import Cast
from loadtests.hostile.attack import Stage
from loadtests.hostile.campaign import PIPELINED
from loadtests.hostile.crowd import CONNECTIONS, IDLE, SLOW, crowd, honest_rate
from loadtests.hostile.signing import JSON
from loadtests.hostile.wire import Lane
from tests.deploy.door import NGINX, Door
from tests.hostile.test_bodies import gzip_bomb
from tests.journey.driver import REQUEST_SECONDS_MAX, System
from tests.journey.test_full import resident_bytes

HONEST_REQUESTS = 400
CONNECTION_BYTES_MAX = 64_000_000
STATUS_LINE = re.compile(rb"^HTTP/1\.1 (\d+) ", re.MULTILINE)
REFUSED = {b"400", b"501"}
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /v1/scans HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
SMUGGLED = {
    "a length and chunks": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(HIDDEN)),
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n" % (5 + len(HIDDEN)),
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN),
    "a length that is a list": b"Content-Length: 0, %d\r\n\r\n" % len(HIDDEN),
    "a length with a sign": b"Content-Length: +0\r\n\r\n",
    "a coding that is not chunked": b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
    "a coding in disguise": b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 0\r\n\r\n",
    "a name with a space": b"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n",
    "a folded field": b"X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "a line feed alone": b"X: a\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "a carriage return alone": b"X: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "a zero byte": b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a chunk's size with a sign": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "a chunk's size beyond 64 bits": b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
    "a chunk's size in hexadecimal dress": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
}


@pytest.fixture(scope="module")
def stage(system: System) -> Stage:
    """Devices that the edge knows."""
    stage = Stage(Cast(system.settings, seed=5), random.Random(5))
    deadline = time.monotonic() + REQUEST_SECONDS_MAX
    with Lane(system.settings.ingest_host, system.settings.ingest_port) as lane:
        while lane.exchange([stage.good(stage.cast.phone).wire.raw()])[0].status != 202:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return stage


@pytest.fixture
def lane(system: System) -> Iterator[Lane]:
    with Lane(system.settings.ingest_host, system.settings.ingest_port) as lane:
        yield lane


@pytest.mark.parametrize("kind", [IDLE, SLOW])
def test_honest_requests_are_all_taken_beside_a_thousand_others(system: System, stage: Stage, kind: str) -> None:
    address = system.settings.ingest_host, system.settings.ingest_port
    with crowd(*address, kind, CONNECTIONS):
        _, taken = honest_rate(*address, stage.good, HONEST_REQUESTS)
    assert len(taken) == HONEST_REQUESTS


def test_a_bomb_is_refused_and_the_next_request_is_served(stage: Stage, lane: Lane) -> None:
    wire = stage.signed(stage.cast.hall, gzip_bomb(), content_type=JSON, encoding="gzip")
    bomb, after = lane.exchange([wire.raw(), stage.good().wire.raw()])
    assert (bomb.status, bomb.problem) == (413, "body-too-large")
    assert after.status == 202


def test_a_batch_that_is_taken_is_acknowledged_whatever_follows_on_its_connection(stage: Stage, lane: Lane) -> None:
    batches = [stage.good().wire.raw() for _ in range(PIPELINED)]
    answers = lane.exchange([*batches, b"\0\r\n\r\n"])
    assert [answer.status for answer in answers] == [202] * PIPELINED + [400]


def test_one_connection_takes_little_memory_whatever_it_sends(system: System) -> None:
    worker = system.embedded.pids["ingest-1"]
    before = resident_bytes(worker, most=True)
    for request in (HIDDEN * 200_000, CHUNKED + b"a:\r\n" * 1_000_000):
        with socket.create_connection(("127.0.0.1", system.settings.ingest_port), REQUEST_SECONDS_MAX) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(request)
            with contextlib.suppress(ConnectionError):
                while connection.recv(65_536):
                    pass
    assert resident_bytes(worker, most=True) - before < CONNECTION_BYTES_MAX


@pytest.mark.parametrize("days", [-1, 1])
def test_a_device_whose_clock_is_a_day_off_learns_the_servers_time(system: System, stage: Stage, days: int) -> None:
    actor = stage.cast.hall
    scan, _, _ = stage.scan(actor)
    wire = stage.request(actor, [scan], created=(now_ms() + days * DAY_MS) // 1000)
    raw = answered(system.settings.ingest_port, wire.raw())
    assert b"\r\ndate: " in raw.lower()
    problem = msgspec.json.decode(raw.partition(b"\r\n\r\n")[2])
    assert problem["type"].endswith("/signature-stale")
    told = int(problem["detail"].split("The server's time is ")[1].split(" ")[0])
    assert abs(told - time.time()) < 60


@pytest.mark.parametrize("framing", SMUGGLED.values(), ids=SMUGGLED)
def test_no_request_hides_in_another(system: System, framing: bytes) -> None:
    assert_nothing_hides(system.settings.ingest_port, framing)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed here (Debian: apt-get install nginx)")
def test_no_request_hides_in_another_behind_the_proxy(system: System, tmp_path: Path) -> None:
    door = Door(tmp_path / "door", ingest_port=system.settings.ingest_port, trace_port=system.settings.trace_port)
    door.start()
    try:
        for framing in SMUGGLED.values():
            assert_nothing_hides(door.port, framing)
    finally:
        door.stop()


def assert_nothing_hides(port: int, framing: bytes) -> None:
    """The one answer is a refusal, and nothing that follows on the connection is read as a request."""
    raw = answered(port, b"POST /v1/scans HTTP/1.1\r\nHost: x\r\n" + framing + HIDDEN)
    statuses = STATUS_LINE.findall(raw)
    assert len(statuses) == 1, raw
    assert statuses[0] in REFUSED, raw


def answered(port: int, request: bytes) -> bytes:
    """All that comes back until the server has nothing more to say."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=REQUEST_SECONDS_MAX) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                received += piece
    return received
