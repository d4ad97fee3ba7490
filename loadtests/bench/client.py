"""A client that is never the bottleneck: raw sockets, one request in flight on each, all in one thread.

It knows just enough of HTTP/1.1 for the service's own answers (status line, `Content-Length`, `Retry-After`), holds
every receipt against its request, and sends again what was turned away, when it was told to.
"""

import contextlib
import heapq
import math
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from app.errors import Explained
from loadtests.bench.bodies import Request

CONNECT_SECONDS_MAX: Final = 5.0
SILENCE_SECONDS_MAX: Final = 30.0
"""The service is taken to have failed when it answers nothing for so long."""
SEND_BUFFER_BYTES: Final = 1 << 20
READ_BYTES: Final = 65_536
POLL_SECONDS_MAX: Final = 0.1
TICK_SECONDS: Final = 1.0
RETRY_SECONDS_DEFAULT: Final = 0.2
FAULTS_KEPT: Final = 20
FAULT_CHARS_MAX: Final = 300
HEAD_END: Final = b"\r\n\r\n"
ACCEPTED: Final = 202
BUSY: Final = frozenset({429, 503})


class LoadFailed(Explained):
    """The service does not take the load; the message says how."""


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What the load reads of a receipt."""

    batch: str
    accepted: int
    duplicate: int


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One HTTP answer; `retry_after_seconds` is 0 where there is none."""

    status: int
    retry_after_seconds: int
    body: bytes


class Outcome(msgspec.Struct):
    """What became of a load. Times are monotonic seconds.

    `began` is the first byte sent and `ended` the last answer. For each acknowledged request, in the order of the
    answers: its place in the load, when it was sent (or due, where it had to wait for a free connection), when it was
    answered, and the id that the stream gave it. `unanswered` were sent and never acknowledged; `waited` counts how
    often the service asked for patience. `faults` are answers that must not be.
    """

    began: float = 0.0
    ended: float = 0.0
    scans: int = 0
    waited: int = 0
    reconnects: int = 0
    acknowledged: list[int] = []
    sent: list[float] = []
    answered: list[float] = []
    entries: list[str] = []
    unanswered: list[int] = []
    faults: list[str] = []

    @property
    def seconds(self) -> float:
        """From the first byte sent to the last answer."""
        return self.ended - self.began

    def fault(self, text: str) -> None:
        """Note an answer that must not be."""
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(text)


OnTick = Callable[[Outcome], None]


def ignore_tick(outcome: Outcome) -> None:
    """The hook of a load that nobody watches."""


def run_load(
    address: tuple[str, int],
    requests: Sequence[Request],
    *,
    connections: int,
    seconds: float,
    per_second: float | None = None,
    receipts: bool = True,
    on_tick: OnTick = ignore_tick,
) -> Outcome:
    """Send requests in their order until all are sent or the time is over, then wait for the answers.

    A closed loop: a connection sends its next request when it has its answer. With `per_second` an open one: requests
    fall due at that rate, however slowly earlier ones are answered. `receipts` says that answers are receipts, to be
    held against the requests; else any 2xx will do. `on_tick` is called at the start and then about once a second.
    Raises `LoadFailed`.
    """
    with _Load(
        address, requests, connections=connections, per_second=per_second, receipts=receipts, on_tick=on_tick
    ) as load:
        load.run(seconds)
        return load.outcome


class _Lane:
    """One connection, and the request that it is busy with."""

    def __init__(self, address: tuple[str, int], poll: select.epoll) -> None:
        self._poll: Final = poll
        self.sock: Final = socket.create_connection(address, CONNECT_SECONDS_MAX)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.sock.setblocking(False)
        self.place = 0
        self.sent = 0.0
        self.idle_since = time.monotonic()
        self._rest = memoryview(b"")
        self._received = b""
        poll.register(self.sock, select.EPOLLIN)

    def begin(self, data: bytes) -> None:
        """Send a request, or as much of it as the kernel takes now. Raises `OSError`."""
        try:
            size = self.sock.send(data)
        except BlockingIOError:
            size = 0
        if size < len(data):
            self._rest = memoryview(data)[size:]
            self._poll.modify(self.sock, select.EPOLLIN | select.EPOLLOUT)

    def go_on(self) -> None:
        """Send more of it. Raises `OSError`."""
        with contextlib.suppress(BlockingIOError):
            self._rest = self._rest[self.sock.send(self._rest) :]
        if not self._rest:
            self._poll.modify(self.sock, select.EPOLLIN)

    def answer(self) -> Answer | None:
        """The answer, once it is whole. Raises `OSError`, also where the server has closed the connection."""
        data = self.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError
        received = self._received + data
        end = received.find(HEAD_END)
        head, body = received[:end].lower(), received[end + len(HEAD_END) :]
        if end < 0 or len(body) < _number(head, b"\r\ncontent-length:"):
            self._received = received
            return None
        self._received = b""
        return Answer(int(head[9:12]), _number(head, b"\r\nretry-after:"), body)

    def close(self) -> None:
        self._poll.unregister(self.sock)
        self.sock.close()


class _Load:
    """One run of a load over its own connections."""

    def __init__(
        self,
        address: tuple[str, int],
        requests: Sequence[Request],
        *,
        connections: int,
        per_second: float | None,
        receipts: bool,
        on_tick: OnTick,
    ) -> None:
        self.outcome: Final = Outcome()
        self._address: Final = address
        self._requests: Final = requests
        self._per_second: Final = per_second
        self._receipts: Final = receipts
        self._on_tick: Final = on_tick
        self._poll: Final = select.epoll()
        self._lanes: Final[dict[int, _Lane]] = {}
        self._idle: Final[deque[_Lane]] = deque()
        self._next = 0
        self._again: Final[list[tuple[float, int, float]]] = []
        """(when to send it again, place, when it was first sent), the earliest first."""
        self._cut_off: Final[set[int]] = set()
        """Places whose connection broke before the answer: the stream may have them."""
        self._last_news = 0.0
        """When a request was begun or answered last."""
        for _ in range(connections):
            self._connect()

    def __enter__(self) -> "_Load":
        return self

    def __exit__(self, *failure: object) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._poll.close()

    def run(self, seconds: float) -> None:
        """Send, and wait for the answers. Raises `LoadFailed`."""
        began = self._last_news = time.monotonic()
        tick = -math.inf
        self.outcome.began = self.outcome.ended = began
        while True:
            now = time.monotonic()
            over = now - began >= seconds
            wait = POLL_SECONDS_MAX if over else self._feed(now)
            if len(self._idle) == len(self._lanes) and (over or self._all_sent()):
                break
            for fd, event in self._poll.poll(wait):
                self._serve(self._lanes[fd], event)
            if now - tick >= TICK_SECONDS:
                tick = now
                self._on_tick(self.outcome)
            if len(self._idle) < len(self._lanes) and now - self._last_news > SILENCE_SECONDS_MAX:
                raise LoadFailed(f"The service has answered nothing for {SILENCE_SECONDS_MAX:.0f} s.")
        self.outcome.unanswered += [place for _, place, _ in self._again]

    def _connect(self) -> None:
        try:
            lane = _Lane(self._address, self._poll)
        except OSError as error:
            raise LoadFailed(f"The service takes no connection: {error}.") from error
        self._lanes[lane.sock.fileno()] = lane
        self._idle.append(lane)

    def _all_sent(self) -> bool:
        return self._next == len(self._requests) and not self._again

    def _feed(self, now: float) -> float:
        """Give idle connections what is due. Returns the seconds until something else is."""
        while self._idle:
            due = self._due()
            if due > now:
                return min(due - now, POLL_SECONDS_MAX)
            if self._again and self._again[0][0] <= now:
                _, place, sent = heapq.heappop(self._again)
                self._begin(self._idle.popleft(), place, sent)
            else:
                lane = self._idle.popleft()
                place, self._next = self._next, self._next + 1
                # Where no connection was free when it fell due, the wait for one is the service's.
                waited = self._per_second is not None and lane.idle_since > due
                self._begin(lane, place, due if waited else now)
        return POLL_SECONDS_MAX

    def _due(self) -> float:
        """When something is to be sent next."""
        again = self._again[0][0] if self._again else math.inf
        if self._next == len(self._requests):
            return again
        if self._per_second is None:
            return 0.0
        return min(again, self.outcome.began + self._next / self._per_second)

    def _begin(self, lane: _Lane, place: int, sent: float) -> None:
        lane.place, lane.sent = place, sent
        self._last_news = time.monotonic()
        try:
            lane.begin(self._requests[place].data)
        except OSError:
            self._lost(lane)

    def _serve(self, lane: _Lane, event: int) -> None:
        try:
            if event & select.EPOLLOUT:
                lane.go_on()
            if event & ~select.EPOLLOUT:
                answer = lane.answer()
                if answer is not None:
                    self._take(lane, answer)
        except OSError:
            self._lost(lane)

    def _lost(self, lane: _Lane) -> None:
        """The connection broke, with or without a request on it."""
        del self._lanes[lane.sock.fileno()]
        lane.close()
        self.outcome.reconnects += 1
        if lane in self._idle:
            self._idle.remove(lane)
        else:
            self._cut_off.add(lane.place)
            self._send_again(lane, RETRY_SECONDS_DEFAULT)
        self._connect()

    def _send_again(self, lane: _Lane, seconds: float) -> None:
        heapq.heappush(self._again, (time.monotonic() + seconds, lane.place, lane.sent))

    def _take(self, lane: _Lane, answer: Answer) -> None:
        now = self._last_news = self.outcome.ended = lane.idle_since = time.monotonic()
        outcome, place = self.outcome, lane.place
        self._idle.append(lane)
        if answer.status in BUSY:
            outcome.waited += 1
            self._send_again(lane, answer.retry_after_seconds or RETRY_SECONDS_DEFAULT)
            return
        if not 200 <= answer.status < 300:
            outcome.fault(f"{answer.status}: {answer.body[:FAULT_CHARS_MAX].decode(errors='replace')}")
            outcome.unanswered.append(place)
            return
        if self._receipts:
            outcome.entries.append(self._entry(place, answer))
        outcome.acknowledged.append(place)
        outcome.sent.append(lane.sent)
        outcome.answered.append(now)
        outcome.scans += self._requests[place].count

    def _entry(self, place: int, answer: Answer) -> str:
        """The stream's id of the batch, once its receipt says that all of it was accepted."""
        counts = msgspec.json.decode(answer.body, type=Counts)
        known = place in self._cut_off
        whole = counts.accepted + (counts.duplicate if known else 0) == self._requests[place].count
        if not whole or (answer.status != ACCEPTED and not known):
            self.outcome.fault(f"{answer.status}: {answer.body[:FAULT_CHARS_MAX].decode(errors='replace')}")
        return counts.batch


def _number(head: bytes, name: bytes) -> int:
    """The number of a header field in a lower-case head; 0 where it is not there."""
    start = head.find(name)
    if start < 0:
        return 0
    start += len(name)
    end = head.find(b"\r", start)
    return int(head[start : end if end >= 0 else len(head)])
