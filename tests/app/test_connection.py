"""`app.processes.connection`: what a connection may take of a server, over real sockets and with short limits."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import uvloop

from app.processes import http
from app.processes.connection import ConnectionLimits, Crowd
from events.problems import PROBLEM_TYPE_BASE

WAIT_SECONDS_MAX = 20.0
SHORT = ConnectionLimits(
    connections_max=8,
    head_bytes_max=4_096,
    head_fields_max=16,
    head_seconds_max=0.3,
    request_bytes_max=200_000,
    request_seconds_max=0.6,
    stalled_seconds_max=0.3,
    held_bytes_max=400_000,
)
UNHURRIED = msgspec.structs.replace(SHORT, head_seconds_max=60.0, request_seconds_max=60.0, stalled_seconds_max=60.0)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Mirror:
    """Answers with the header names and the body's length; a path of digits, with as many bytes."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        size, more = 0, True
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
        self._server = http.Server(http.config(Mirror(), self.crowd))
        self._server.config.lifespan = "off"
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listener,))

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        watching = asyncio.create_task(self.crowd.watch())
        await self._server.serve(sockets=[listener])
        watching.cancel()

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


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with Served(request.param) as served:
        yield served


short = pytest.mark.parametrize("served", [SHORT], indirect=True)
unhurried = pytest.mark.parametrize("served", [UNHURRIED], indirect=True)


@short
@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHos", b"\r\n\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(served: Served, first: bytes) -> None:
    assert served.ask(first) == b""


@short
@pytest.mark.parametrize("drop", [b"\r\n", b"X-A: b\r\n"])
def test_a_head_that_drips_ends_the_connection_also_after_a_good_request(served: Served, drop: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(GET)
        assert answer(connection, b"host 0").startswith(b"HTTP/1.1 200")
        if drop != b"\r\n":
            connection.sendall(GET[: -len(b"\r\n")])
        connection.settimeout(0.05)
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            for _ in range(int(WAIT_SECONDS_MAX / 0.05)):
                connection.sendall(drop)
                with contextlib.suppress(TimeoutError):
                    if connection.recv(1) == b"":
                        raise BrokenPipeError("pipe")


@short
def test_a_body_that_does_not_come_ends_the_connection(served: Served) -> None:
    assert served.ask(POST % 10 + b"abc") == b""


@unhurried
def test_a_connection_that_waits_between_requests_is_left_alone_within_the_limits(served: Served) -> None:
    with served.connect() as connection:
        for _ in range(3):
            served.crowd.sweep(0.0)
            connection.sendall(GET)
            assert answer(connection, b"host 0").startswith(b"HTTP/1.1 200")


@short
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


@short
def test_a_request_that_is_not_http_is_a_problem(served: Served) -> None:
    assert problem(served.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n")) == (400, "request-malformed")


@unhurried
def test_chunks_of_one_byte_count_as_what_they_are_on_the_wire(served: Served) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert problem(served.ask(head + b"1\r\na\r\n" * 40_000)) == (413, "body-too-large")


@unhurried
def test_trailer_fields_are_no_header_fields(served: Served) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answered = served.ask(head + b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: y\r\n\r\n")
    assert answered.endswith(b"host,transfer-encoding,connection 3")


@unhurried
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


@unhurried
def test_the_one_that_waits_longest_makes_room(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(served.connect())
        busy.sendall(POST % 3 + b"a")
        idle = [stack.enter_context(served.connect()) for _ in range(SHORT.connections_max - 1)]
        poll(lambda: len(served.crowd.connections) == SHORT.connections_max)
        newest = stack.enter_context(served.connect())
        newest.sendall(GET)
        assert answer(newest, b"host 0").startswith(b"HTTP/1.1 200")
        assert rest(idle[0]) == b""
        busy.sendall(b"bc")
        assert answer(busy, b" 3").startswith(b"HTTP/1.1 200")


@short
def test_whoever_takes_nothing_of_an_answer_is_dropped(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET /50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        poll(lambda: len(served.crowd.connections) == 1)
        poll(lambda: not served.crowd.connections)


@unhurried
def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall((POST % 1 + b"a") + (POST % 2 + b"bb") + GET)
        received = answer(connection, b"host 0")
    assert [int(part[-1:]) for part in received.split(b"HTTP/1.1 200")[1:]] == [1, 2, 0]


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
