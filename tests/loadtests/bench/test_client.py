"""The client against a server that answers as told: patience, broken connections, receipts that do not fit, pace."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.ports import free_port
from loadtests.bench.bodies import Request, post
from loadtests.bench.client import LoadFailed, run_load

Reply = bytes | float | None
"""What the server does with a request: answer, answer after some seconds, or (None) cut the connection."""
Script = Callable[[str, int], Reply]
"""From the request's body and how often it came before."""


def receipt(accepted: int, duplicate: int = 0, refused: int = 0, status: int = 202) -> bytes:
    """An answer of the edge."""
    body = b'{"batch":"7-1","accepted":%d,"duplicate":%d,"refused":%d,"next_seq":2,"seen_to":1,"verdicts":[]}' % (
        accepted,
        duplicate,
        refused,
    )
    return b"HTTP/1.1 %d Fine\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\nretry-after: 1\r\n\r\n{}"


class Server:
    """Serves each connection in a thread; `seen` are the bodies in the order in which they came."""

    def __init__(self, script: Script) -> None:
        self.seen: list[str] = []
        self.sizes: list[int] = []
        self._script = script
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            while (length := _content_length(file.readline)) is not None:
                body = file.read(length)
                name = body[:16].decode().strip()
                with self._lock:
                    before = self.seen.count(name)
                    self.seen.append(name)
                    self.sizes.append(len(body))
                reply = self._script(name, before)
                if isinstance(reply, float):
                    time.sleep(reply)
                    reply = receipt(1)
                if reply is None:
                    return
                connection.sendall(reply)

    def close(self) -> None:
        self._listener.close()


def _content_length(readline: Callable[[], bytes]) -> int | None:
    """Read a head. None at the end of the connection."""
    length = None
    while (line := readline().strip()) != b"":
        name, _, value = line.partition(b": ")
        if name == b"Content-Length":
            length = int(value)
    return length


@contextmanager
def serving(script: Script) -> Iterator[Server]:
    server = Server(script)
    try:
        yield server
    finally:
        server.close()


def requests(*names: str, count: int = 1, size: int = 16) -> list[Request]:
    """Requests with these names in front of their bodies."""
    return [Request(0, n, count, post("/", {}, name.ljust(size).encode())) for n, name in enumerate(names)]


def test_every_request_is_sent_once_and_acknowledged() -> None:
    with serving(lambda name, before: receipt(1)) as server:
        outcome = run_load(server.address, requests("a", "b", "c"), connections=2, seconds=10)
    assert sorted(server.seen) == ["a", "b", "c"]
    assert sorted(outcome.acknowledged) == [0, 1, 2]
    assert outcome.entries == ["7-1"] * 3
    assert outcome.scans == 3
    assert outcome.faults == []


def test_a_large_body_arrives_whole() -> None:
    """Larger than the kernel takes at once."""
    size = 20_000_000
    with serving(lambda name, before: receipt(1)) as server:
        outcome = run_load(server.address, requests("a", size=size), connections=1, seconds=10)
    assert server.sizes == [size]
    assert outcome.acknowledged == [0]


def test_patience_is_kept_as_asked() -> None:
    """`Retry-After` says one second."""
    with serving(lambda name, before: receipt(1) if before else BUSY) as server:
        outcome = run_load(server.address, requests("a"), connections=1, seconds=10)
    assert server.seen == ["a", "a"]
    assert (outcome.waited, outcome.acknowledged, outcome.faults) == (1, [0], [])
    assert outcome.answered[0] - outcome.sent[0] >= 1.0


def test_what_was_turned_away_when_the_time_is_over_is_unanswered() -> None:
    with serving(lambda name, before: BUSY) as server:
        outcome = run_load(server.address, requests("a"), connections=1, seconds=0.3)
    assert (outcome.acknowledged, outcome.unanswered) == ([], [0])


def test_after_a_broken_connection_the_same_bytes_are_sent_and_a_duplicate_is_good() -> None:
    def script(name: str, before: int) -> Reply:
        return receipt(0, duplicate=1, status=200) if before else None

    with serving(script) as server:
        outcome = run_load(server.address, requests("a"), connections=1, seconds=10)
    assert server.seen == ["a", "a"]
    assert (outcome.reconnects, outcome.acknowledged, outcome.faults) == (1, [0], [])


@pytest.mark.parametrize(
    "reply",
    [receipt(1), receipt(2, duplicate=1), receipt(2, refused=1), receipt(3, status=200), BUSY.replace(b"503", b"422")],
    ids=["too few", "duplicate", "refused", "replay", "problem"],
)
def test_an_answer_that_must_not_be_is_a_fault(reply: bytes) -> None:
    with serving(lambda name, before: reply) as server:
        outcome = run_load(server.address, requests("a", count=3), connections=1, seconds=10)
    assert len(outcome.faults) == 1


def test_an_open_loop_keeps_its_pace_and_counts_the_wait_for_a_connection() -> None:
    """Ten requests a second on one connection that answers the first after half a second."""
    with serving(lambda name, before: 0.5 if name == "0" else 0.0) as server:
        load = requests(*(str(n) for n in range(8)))
        outcome = run_load(server.address, load, connections=1, seconds=10, per_second=10)
    due = [outcome.began + n / 10 for n in range(8)]
    # Those that fell due while the connection was busy waited since then; the last ones left when they were due.
    assert outcome.sent[1:5] == pytest.approx(due[1:5], abs=1e-6)
    assert all(sent >= when for sent, when in zip(outcome.sent, due, strict=True))
    assert outcome.ended - outcome.began >= 0.7


def test_a_closed_loop_stops_when_its_time_is_over() -> None:
    with serving(lambda name, before: 0.05) as server:
        outcome = run_load(server.address, requests(*"abcdefghij" * 100), connections=2, seconds=0.5)
    assert 2 <= len(outcome.acknowledged) < 1_000
    assert outcome.unanswered == []


def test_a_service_that_is_gone_is_said_to_be() -> None:
    with pytest.raises(LoadFailed, match="takes no connection"):
        run_load(("127.0.0.1", free_port()), requests("a"), connections=1, seconds=1)
