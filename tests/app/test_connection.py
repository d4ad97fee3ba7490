"""`app.processes.connection`: what a connection may take of a server, over real sockets.

The servers' clock is the tests': no limit passes before a test moves it on, however slow the machine is.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import uvloop

from app.processes import http
from app.processes.connection import (
    FIELD_BYTES,
    REQUEST_BYTES,
    BoundedConnection,
    ConnectionLimits,
    Crowd,
    without_strangers_mistakes,
)
from events.problems import PROBLEM_TYPE_BASE

WAIT_SECONDS_MAX = 20.0
LIMITS = ConnectionLimits(
    connections_max=8,
    head_bytes_max=4_096,
    head_fields_max=16,
    head_seconds_max=60.0,
    pipelined_requests_max=4,
    request_bytes_max=200_000,
    request_seconds_max=120.0,
    stalled_seconds_max=60.0,
    held_bytes_max=400_000,
)
LARGE = 5_000_000
"""An answer that no socket takes at once."""
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
GARBAGE = b"\0garbage\r\n\r\n"


class ClockedLoop(uvloop.Loop):
    """An event loop whose time runs on when it is told to."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Mirror:
    """Answers with the header names and the body's length; a path of digits, with as many bytes.

    `/early` is answered before its body has come, `/gated` when the gate lets it through.
    """

    def __init__(self) -> None:
        self.served: list[str] = []
        self.gate = asyncio.Semaphore(0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.served.append(scope["path"])
        if scope["path"] == "/gated":
            await self.gate.acquire()
        size, more = 0, scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            more = message["more_body"]
        names = b",".join(name for name, _ in scope["headers"])
        path = scope["path"].strip("/")
        body = bytes(int(path)) if path.isdecimal() else b"%s %d" % (names, size)
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
        )
        await send({"type": "http.response.body", "body": body})


class Served:
    """The server in a thread of its own."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.crowd = Crowd(limits)
        self.mirror = Mirror()
        self.loop = ClockedLoop()
        self._server = http.Server(http.config(self.mirror, self.crowd))
        self._server.config.lifespan = "off"
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listener,))

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        watching = asyncio.create_task(self.crowd.watch())
        await self._server.serve(sockets=[listener])
        watching.cancel()

    @property
    def connection(self) -> BoundedConnection:
        """The only one, once it is there."""
        poll(lambda: self.crowd.connections)
        (connection,) = self.crowd.connections
        return connection

    def later(self, seconds: float) -> None:
        """Move the clock on, and let the server look for who is overdue."""
        self.loop.ahead += seconds

        async def sweep() -> None:
            self.crowd.sweep(self.loop.time())

        asyncio.run_coroutine_threadsafe(sweep(), self.loop).result(WAIT_SECONDS_MAX)

    def let_through(self) -> None:
        """Let one gated request be answered."""
        self.loop.call_soon_threadsafe(self.mirror.gate.release)

    def __enter__(self) -> "Served":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_SECONDS_MAX)
        assert not self._thread.is_alive()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS_MAX)

    def ask(self, request: bytes) -> bytes:
        """The whole answer to a request that ends its connection."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # refused before it was through
                connection.sendall(request)
            return rest(connection)


def rest(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection; fails where it does not."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def answer(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = connection.recv(65_536)
        assert piece, received
        received += piece
    return received


def statuses(answered: bytes) -> list[int]:
    """Those of all answers, in their order."""
    return [int(part[:3]) for part in answered.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]


@pytest.fixture
def served() -> Iterator[Served]:
    with Served(LIMITS) as served:
        yield served


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHos", b"\r\n\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(served: Served, first: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(first)
        assert served.connection.waits
        served.later(LIMITS.head_seconds_max / 2)
        assert served.crowd.connections
        served.later(LIMITS.head_seconds_max)
        assert rest(connection) == b""


@pytest.mark.parametrize("drop", [b"\r\n", b"X-A: b\r\n"])
def test_a_head_that_drips_ends_the_connection_also_after_a_good_request(served: Served, drop: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(GET)
        assert answer(connection, b"host 0").startswith(b"HTTP/1.1 200")
        if drop != b"\r\n":
            connection.sendall(GET[: -len(b"\r\n")])
        connection.settimeout(0.05)
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            for _ in range(LIMITS.head_fields_max - 2):
                connection.sendall(drop)
                with contextlib.suppress(TimeoutError):
                    if connection.recv(1) == b"":
                        raise BrokenPipeError("pipe")
                served.later(LIMITS.head_seconds_max / 4)


def test_a_body_that_does_not_come_ends_the_connection(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(POST % 10 + b"abc")
        poll(lambda: served.mirror.served)
        served.later(LIMITS.head_seconds_max * 1.5)
        assert served.crowd.connections
        served.later(LIMITS.request_seconds_max)
        assert rest(connection) == b""


def test_who_is_overdue_is_looked_for_all_the_time(served: Served) -> None:
    with served.connect() as connection:
        assert served.connection.waits
        served.loop.ahead += LIMITS.head_seconds_max * 2
        assert rest(connection) == b""


def test_a_connection_that_waits_between_requests_is_left_alone_within_the_limits(served: Served) -> None:
    with served.connect() as connection:
        for _ in range(3):
            served.crowd.sweep(0.0)
            connection.sendall(GET)
            assert answer(connection, b"host 0").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("end", [b"", b"\r\n" + GET])
def test_trailer_fields_count_and_are_not_kept(served: Served, end: bytes) -> None:
    fields = LIMITS.head_fields_max - 2
    assert statuses(served.ask(CHUNKED + b"0\r\n" + b"a:\r\n" * fields + b"\r\n" + GARBAGE)) == [200, 400]
    assert problem(served.ask(CHUNKED + b"0\r\n" + b"a:\r\n" * (fields + 2) + end)) == (431, "head-too-large")
    with served.connect() as connection:
        connection.sendall(CHUNKED + b"0\r\n" + b"a:\r\n" * (fields - 1) + b"b:\r\n")
        poll(lambda: served.mirror.served[2:])
        assert len(served.connection.headers) == 2


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"a" * 300_000, id="one long field"),
        pytest.param(b"GET /" + b"a" * 300_000, id="a long target"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 17 + b"\r\n", id="many fields"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 30_000, id="fields without end"),
    ],
)
def test_a_head_that_is_too_large_is_a_problem(served: Served, request_bytes: bytes) -> None:
    assert problem(served.ask(request_bytes)) in {(431, "head-too-large"), (413, "body-too-large")}


def test_a_request_that_is_not_http_is_a_problem(served: Served) -> None:
    assert problem(served.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n")) == (400, "request-malformed")


def test_chunks_of_one_byte_count_as_what_they_are_on_the_wire(served: Served) -> None:
    assert problem(served.ask(CHUNKED + b"1\r\na\r\n" * 40_000)) == (413, "body-too-large")


def test_trailer_fields_are_no_header_fields(served: Served) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answered = served.ask(head + b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: y\r\n\r\n")
    assert answered.endswith(b"host,transfer-encoding,connection 3")


def test_what_all_connections_hold_is_bounded_and_given_back(served: Served) -> None:
    part = POST % 150_000 + bytes(140_000)
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(2):
            connection = stack.enter_context(served.connect())
            connection.sendall(part)
            held.append(connection)
        poll(lambda: served.crowd.held_bytes >= 2 * len(part))
        assert problem(served.ask(part)) == (503, "server-busy")
        for connection in held:
            connection.sendall(bytes(10_000))
            assert answer(connection, b" 150000").startswith(b"HTTP/1.1 200")
    poll(lambda: served.crowd.held_bytes == 0)


def test_the_one_that_waits_longest_makes_room(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(served.connect())
        busy.sendall(POST % 3 + b"a")
        idle = [stack.enter_context(served.connect()) for _ in range(LIMITS.connections_max - 1)]
        poll(lambda: len(served.crowd.connections) == LIMITS.connections_max)
        newest = stack.enter_context(served.connect())
        newest.sendall(GET)
        assert answer(newest, b"host 0").startswith(b"HTTP/1.1 200")
        assert rest(idle[0]) == b""
        busy.sendall(b"bc")
        assert answer(busy, b" 3").startswith(b"HTTP/1.1 200")


def test_whoever_takes_nothing_of_an_answer_is_dropped(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET /50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        poll(lambda: served.connection.flow.write_paused)

        def dropped() -> bool:
            served.later(LIMITS.stalled_seconds_max + 1)
            return not served.crowd.connections

        poll(dropped)


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall((POST % 1 + b"a") + (POST % 2 + b"bb") + GET)
        received = answer(connection, b"host 0")
    assert [int(part[-1:]) for part in received.split(b"HTTP/1.1 200")[1:]] == [1, 2, 0]


def test_no_more_requests_wait_on_a_connection_than_its_limit(served: Served) -> None:
    taken = 1 + LIMITS.pipelined_requests_max
    received = served.ask(GET * 1_000)
    assert statuses(received) == [200] * taken + [503]
    assert problem(received[received.rindex(b"HTTP/1.1 503") :]) == (503, "server-busy")
    assert len(served.mirror.served) == taken


def test_nothing_is_read_while_requests_wait_and_what_they_hold_is_counted(served: Served) -> None:
    gated = GET.replace(b"/", b"/gated", 1)
    sent = LIMITS.pipelined_requests_max
    with served.connect() as connection:
        connection.sendall(gated * sent)
        held = served.connection
        for answered in range(sent - 1):
            waiting = sent - 1 - answered
            poll(lambda waiting=waiting: len(held.pipeline) == waiting)
            assert held.flow.read_paused
            assert served.crowd.held_bytes >= (waiting + 1) * (REQUEST_BYTES + FIELD_BYTES)
            assert served.crowd.held_bytes >= sent * len(gated)
            served.let_through()
            assert answer(connection, b"host 0")
        poll(lambda: not held.pipeline)
        served.let_through()
        assert answer(connection, b"host 0")
        poll(lambda: not held.flow.read_paused)
        assert served.crowd.held_bytes == 0
        connection.sendall(GET)
        assert answer(connection, b"host 0")


def test_a_head_behind_an_answered_request_is_counted(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(GET + GET[:-2])
        assert answer(connection, b"host 0")
        poll(lambda: served.crowd.held_bytes >= REQUEST_BYTES)
    poll(lambda: served.crowd.held_bytes == 0)


def test_requests_that_wait_count_for_the_memory_that_they_take() -> None:
    head = b"GET /gated HTTP/1.1\r\n" + b"a:\r\n" * LIMITS.head_fields_max + b"\r\n"
    requests = 1 + LIMITS.pipelined_requests_max
    taken = requests * (REQUEST_BYTES + LIMITS.head_fields_max * FIELD_BYTES)
    with Served(msgspec.structs.replace(LIMITS, held_bytes_max=taken)) as served, served.connect() as connection:
        connection.sendall(head * requests)
        poll(lambda: served.crowd.held_bytes > taken)
        assert problem(served.ask(GET)) == (503, "server-busy")
        for _ in range(requests):
            served.let_through()
        poll(lambda: served.crowd.held_bytes == 0)


def test_a_request_that_was_taken_keeps_its_answer_whatever_follows(served: Served) -> None:
    received = served.ask((POST % 1 + b"a") + GET + GARBAGE)
    assert statuses(received) == [200, 200, 400]
    assert problem(received[received.rindex(b"HTTP/1.1 400") :]) == (400, "request-malformed")


def test_no_refusal_lands_in_an_answer_that_is_being_sent(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % LARGE)
        poll(lambda: served.connection.flow.write_paused)
        connection.sendall(GET + GARBAGE)
        received = rest(connection)
    head, _, behind = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert behind[:LARGE] == bytes(LARGE)
    assert statuses(behind[LARGE:]) == [200, 400]


def test_a_waiting_request_whose_body_is_malformed_is_refused_in_its_turn_and_not_served(served: Served) -> None:
    assert statuses(served.ask(GET + CHUNKED + b"no length\r\n")) == [200, 400]
    assert len(served.mirror.served) == 1


def test_nothing_is_read_after_a_refusal_that_waits_for_its_turn(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(GET.replace(b"/", b"/gated", 1))
        poll(lambda: served.mirror.served)
        connection.sendall(GET[:-2] + b"X: " + b"a" * LIMITS.head_bytes_max)
        poll(lambda: served.crowd.held_bytes > 2 * REQUEST_BYTES + LIMITS.head_bytes_max)
        connection.sendall(b"\r\n\r\n" + GET)
        served.let_through()
        assert statuses(rest(connection)) == [200, 431]
    assert len(served.mirror.served) == 1


def test_a_request_has_one_answer_also_where_the_rest_of_its_body_is_too_much(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(CHUNKED.replace(b"/", b"/early", 1))
        assert answer(connection, b"host,transfer-encoding 0").startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"1\r\na\r\n" * 40_000)
        assert rest(connection) == b""
    poll(lambda: served.crowd.held_bytes == 0)


def test_strangers_mistakes_are_not_logged_and_all_else_is(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addFilter(without_strangers_mistakes)
    try:
        with caplog.at_level(logging.WARNING, "uvicorn.error"):
            served.ask(GARBAGE)
            upgrade = b"Host: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            with served.connect() as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n" + upgrade)
                assert answer(connection, b" 0").startswith(b"HTTP/1.1 200")
            logger.warning("The disk is full.")
    finally:
        logger.removeFilter(without_strangers_mistakes)
    assert [record.getMessage() for record in caplog.records if record.name == logger.name] == ["The disk is full."]


def poll(done: Any) -> None:
    """Return once it is so."""
    deadline = threading.Event()
    for _ in range(int(WAIT_SECONDS_MAX / 0.02)):
        if done():
            return
        deadline.wait(0.02)
    raise AssertionError("it does not come to be")


def problem(answered: bytes) -> tuple[int, str]:
    """Status and name of a problem in a raw answer."""
    head, _, body = answered.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answered
    found = msgspec.json.decode(body)
    assert head.startswith(b"HTTP/1.1 %d " % found["status"])
    return found["status"], found["type"].removeprefix(PROBLEM_TYPE_BASE)
