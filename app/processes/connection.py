"""What a connection may take of a server before a request of it is even whole: time, bytes, a place among the others.

uvicorn bounds none of it: it waits for ever for the rest of a request's head or of its body, and keeps as long a
head as it is sent. The proxy of a deployment has such limits too; a server that is reached directly needs its own.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sized
from http import HTTPStatus
from typing import Any, Final, NoReturn

import msgspec
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from events import problems
from events.problems import PROBLEM_MEDIA_TYPE, Problem

SWEEP_SECONDS: Final = 0.5
"""How often overdue connections are looked for; a deadline is kept to within this."""
REQUEST_BYTES: Final = 4_096
"""What a request that is not answered takes of memory beside its bytes, rounded up."""
FIELD_BYTES: Final = 256
"""What each of its header fields takes beside them."""
MISTAKES: Final = (
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "No supported WebSocket library detected.",
)
"""How uvicorn's warnings of requests that it cannot serve begin."""


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What strangers may take of one process.

    `head_seconds_max` runs from a connection's beginning, or from the first byte of a further request, to the end of
    the request's head; `request_seconds_max` to the end of its body, and is longer than any deadline of the
    application, whose answer says more. `stalled_seconds_max` is how long a client may take nothing of an answer.
    `request_bytes_max` counts what is on the wire; `head_fields_max`, trailer fields too. `pipelined_requests_max` may
    wait on a connection for the answer to an earlier one. `held_bytes_max` is for all connections together: what was
    received of requests that are not answered yet, and what it takes to keep them.
    """

    connections_max: int = 4_096
    head_bytes_max: int = 65_536
    head_fields_max: int = 128
    head_seconds_max: float = 10.0
    pipelined_requests_max: int = 32
    request_bytes_max: int = 16_000_000
    request_seconds_max: float = 30.0
    stalled_seconds_max: float = 30.0
    held_bytes_max: int = 64_000_000


class Crowd:
    """All connections of one process, with the limits that they share. For one event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits: Final = limits
        self.connections: Final[dict[BoundedConnection, None]] = {}
        """In the order of their coming, which decides between two that began to wait in the same tick."""
        self.held_bytes = 0

    def enter(self, connection: "BoundedConnection") -> None:
        """One more. Where there are too many, the one that has waited longest for a request makes room."""
        self.connections[connection] = None
        if len(self.connections) > self.limits.connections_max:
            waiting = (each for each in self.connections if each.waits and each is not connection)
            min(waiting, key=lambda each: each.since, default=connection).drop()

    def leave(self, connection: "BoundedConnection") -> None:
        """One less."""
        self.connections.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Drop whoever is overdue. `now` is the loop's time in seconds."""
        for connection in [each for each in self.connections if each.overdue(now)]:
            connection.drop()

    async def watch(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(loop.time())


class QueueFlow(FlowControl):
    """A connection's flow that reads no more while a request of it waits for the answer to an earlier one."""

    def __init__(self, transport: asyncio.Transport, queue: Sized) -> None:
        super().__init__(transport)
        self._queue: Final = queue

    def resume_reading(self) -> None:
        """Read on, unless requests wait. Whoever is served before them has been read to the end already."""
        if not self._queue:
            super().resume_reading()


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection with the limits of its crowd.

    Requests are answered in the order of their coming. One that is refused gets its problem as an answer in its turn,
    and is the last that is read of its connection.

    Trailer fields are dropped: the parser reports them like header fields, but whoever stands before this server may
    have judged the header fields alone (RFC 9110, section 6.5.1).
    """

    def __init__(self, crowd: Crowd, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._crowd: Final = crowd
        self._limits: Final = crowd.limits
        self.since: float = self.loop.time()
        """When its present state began, in the loop's seconds: waiting, or receiving a request."""
        self._deadline: float | None = self.since + self._limits.head_seconds_max
        self._in_head = True
        self._request_bytes = 0
        self._fields = 0
        self._held: Final[deque[int]] = deque()
        """Bytes for each request that is not answered yet. What comes in one piece counts for the last request in it,
        the last to be answered."""
        self._unsent_bytes = 0
        self._stalled_since: float | None = None
        self._fault = problems.REQUEST_MALFORMED.problem()
        self._refusal: Problem | None = None

    @property
    def waits(self) -> bool:
        """Whether no request is being served: nothing is lost but the connection if it is dropped."""
        return self._in_head and not self._serves

    def overdue(self, now: float) -> bool:
        """Whether the client has used up its time. What waits for the server itself costs the client nothing."""
        if self._stalled_since is not None and self._stalls(now):
            return True
        if self._deadline is None:
            return False
        if self.flow.read_paused or (self._in_head and self._serves):
            self._deadline = max(self._deadline, now + self._limits.head_seconds_max)
        return now > self._deadline

    def drop(self) -> None:
        """End the connection at once; what was not sent yet is lost."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.flow = QueueFlow(self.transport, self.pipeline)
        self._crowd.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._crowd.leave(self)
        while self._held:
            self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count, then let uvicorn parse; too much ends the connection with a problem, after which nothing is read."""
        if self._refusal is not None:
            return
        if self._deadline is None:
            # Before the parser sees a request begin: line breaks alone, one now and then, would begin none for ever.
            self._begin()
        size = len(data)
        self._request_bytes += size
        if self._crowd.held_bytes + size > self._limits.held_bytes_max:
            self._refuse(problems.SERVER_BUSY.problem())
        elif self._request_bytes > self._limits.request_bytes_max:
            self._refuse(problems.BODY_TOO_LARGE.problem(f"The request passes {self._limits.request_bytes_max} bytes."))
        else:
            super().data_received(data)
            self._hold(size)
            if self._in_head and self._request_bytes > self._limits.head_bytes_max:
                self._refuse(self._too_large_a_head())

    def on_message_begin(self) -> None:
        """A request's first byte."""
        if len(self.pipeline) >= self._limits.pipelined_requests_max:
            detail = f"More than {self._limits.pipelined_requests_max} requests wait on this connection."
            self._stop_parsing(problems.SERVER_BUSY.problem(detail))
        super().on_message_begin()
        self._begin()
        self._fields = 0
        self._held.append(0)
        self._hold(REQUEST_BYTES)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or a trailer field."""
        self._fields += 1
        if self._fields > self._limits.head_fields_max:
            self._stop_parsing(self._too_large_a_head())
        if self._in_head:
            super().on_header(name, value)
            self._hold(FIELD_BYTES)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        super().on_headers_complete()
        self._in_head = False
        self._deadline = self.since + self._limits.request_seconds_max

    def on_message_complete(self) -> None:
        """The request is whole; the next may begin."""
        super().on_message_complete()
        self._in_head = True
        self._deadline = None
        self._request_bytes = 0

    def on_response_complete(self) -> None:
        """The oldest request is answered."""
        self.since = self.loop.time()
        self._release()
        if self._refusal is not None and not self.pipeline:
            self._end_with(self._refusal)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._stalled_since = None

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused. uvicorn's message says no more than the problem's title."""
        self._refuse(self._fault)

    @property
    def _serves(self) -> bool:
        """Whether a request has begun that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _begin(self) -> None:
        self.since = self.loop.time()
        self._deadline = self.since + self._limits.head_seconds_max

    def _hold(self, size: int) -> None:
        """Count bytes for the newest request, unless it is answered: then nobody keeps them."""
        if self._held:
            self._held[-1] += size
            self._crowd.held_bytes += size

    def _release(self) -> None:
        """Hold nothing more of the oldest request."""
        if self._held:
            self._crowd.held_bytes -= self._held.popleft()

    def _stalls(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent_bytes or self._stalled_since is None:
            self._unsent_bytes, self._stalled_since = unsent, now
        return now - self._stalled_since > self._limits.stalled_seconds_max

    def _too_large_a_head(self) -> Problem:
        limits = self._limits
        return problems.HEAD_TOO_LARGE.problem(
            f"It passes {limits.head_bytes_max} bytes or {limits.head_fields_max} fields."
        )

    def _stop_parsing(self, problem: Problem) -> NoReturn:
        """From a callback of the parser: uvicorn calls `send_400_response` next."""
        self._fault = problem
        raise ValueError(problem.title)

    def _refuse(self, problem: Problem) -> None:
        """Serve nothing of the request that is being received; say why in its turn, and end the connection then."""
        if self.transport.is_closing() or self._refusal is not None:
            return
        self._refusal = problem
        self._deadline = None
        if self._in_head:
            if not self._serves:
                self._end_with(problem)
        elif self.pipeline:
            self.pipeline.popleft()
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
            else:
                self._end_with(problem)

    def _end_with(self, problem: Problem) -> None:
        """Answer the last request, and end the connection once that is sent."""
        if not self.transport.is_closing():
            self.transport.write(_answer(problem))
            self.transport.close()


def _answer(problem: Problem) -> bytes:
    body = problem.body()
    lines = [
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
        f"content-type: {PROBLEM_MEDIA_TYPE}",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    if problem.retry_after_seconds:
        lines.append(f"retry-after: {problem.retry_after_seconds}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def without_strangers_mistakes(record: logging.LogRecord) -> bool:
    """A filter of uvicorn's log: anybody can send many requests that are no HTTP, and so fill a disk with warnings."""
    return not record.getMessage().startswith(MISTAKES)
