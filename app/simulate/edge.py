"""One kept-alive connection to the ingest edge, for an event loop.

Threads would do worse: signing releases the interpreter's lock, and each signature would then wait for its turn.
"""

import asyncio
import ssl
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

import httptools
import msgspec

ANSWER_SECONDS_MAX: Final = 30.0
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; `retry_after_seconds` is 0 where the server named none."""

    status: int
    body: bytes
    retry_after_seconds: float


class ConnectionGone(Exception):
    """No whole answer came; whether the request arrived is unknown. Sending it again is harmless."""


class EdgeConnection:
    """Sends one request at a time, over one TCP connection that is opened again when it breaks."""

    def __init__(self, base_url: str) -> None:
        """`base_url`: `http://host:port` or `https://…`, with or without a path."""
        self._url: Final[SplitResult] = urlsplit(base_url)
        self._protocol: _Protocol | None = None

    async def post(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send a request and wait for its answer. Raises `ConnectionGone`."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                protocol = self._protocol or await self._connect()
                return await protocol.exchange(self._request(path, headers, body))
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            self.close()
            raise ConnectionGone(type(error).__name__) from error

    def close(self) -> None:
        """Close the connection; the next request opens one."""
        if self._protocol is not None:
            self._protocol.close()
            self._protocol = None

    async def _connect(self) -> "_Protocol":
        https = self._url.scheme == "https"
        _, self._protocol = await asyncio.get_running_loop().create_connection(
            _Protocol,
            self._url.hostname or "",
            self._url.port or DEFAULT_PORTS[self._url.scheme],
            ssl=ssl.create_default_context() if https else None,
        )
        return self._protocol

    def _request(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        lines = [f"POST {self._url.path.rstrip('/')}{path} HTTP/1.1", f"Host: {self._url.netloc}"]
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        return "\r\n".join(lines).encode("ascii") + body


class _Protocol(asyncio.Protocol):
    """Feeds what arrives to the parser, which calls the `on_…` methods."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: Final[list[bytes]] = []
        self._retry_after = 0.0

    async def exchange(self, request: bytes) -> Answer:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        self._parser = httptools.HttpResponseParser(self)
        self._body.clear()
        self._retry_after = 0.0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc if isinstance(exc, OSError) else ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(error)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after" and value.isdigit():
            self._retry_after = float(value)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), b"".join(self._body), self._retry_after))
