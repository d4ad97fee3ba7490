"""Requests as bytes, and a connection that sends exactly those: no client library puts anything right."""

import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import httptools
import msgspec

from events import codec
from events.problems import Problem
from events.scans import Receipt

ANSWER_SECONDS_MAX: Final = 60.0
READ_BYTES: Final = 262_144
NO_ANSWER: Final = 0
"""The status of a request whose connection ended without an answer to it."""


class Wire(msgspec.Struct, frozen=True):
    """An HTTP/1.1 request before it is put into bytes. `fields` are header lines in their order, as they stand."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> str:
        """The value of the one field of this name."""
        (value,) = [value for each, value in self.fields if each.lower() == name]
        return value

    def with_field(self, name: str, value: str | None) -> "Wire":
        """This request with another value of a field, or without it."""
        kept = tuple(each for each in self.fields if each[0].lower() != name)
        return msgspec.structs.replace(self, fields=kept if value is None else (*kept, (name, value)))

    def with_body(self, body: bytes) -> "Wire":
        """This request with another body, of the length that it says."""
        return msgspec.structs.replace(self, body=body).with_field("content-length", str(len(body)))

    def raw(self) -> bytes:
        """The bytes on the wire."""
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


class Answer(msgspec.Struct, frozen=True):
    """What came back; status 0 where nothing did."""

    status: int
    body: bytes

    @property
    def problem(self) -> str:
        """The problem's name; empty where it is none."""
        try:
            return codec.from_json(self.body, Problem).name
        except msgspec.MsgspecError:
            return ""

    @property
    def receipt(self) -> Receipt:
        """The receipt of an answer that took the batch. Raises `msgspec.MsgspecError`."""
        return codec.from_json(self.body, Receipt)


class Lane:
    """One connection, opened again when it breaks; a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._address: Final = (host, port)
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def exchange(self, requests: Sequence[bytes]) -> list[Answer]:
        """Send all at once and read the answers in their order; those that do not come have status 0."""
        connection = self._socket or self._connected()
        reader = _Reader()
        try:
            connection.sendall(b"".join(requests))
            while len(reader.answers) < len(requests):
                data = connection.recv(READ_BYTES)
                if not data:
                    break
                reader.feed(data)
        except ConnectionError:
            pass
        if reader.closing or len(reader.answers) < len(requests):
            self.close()
        return reader.answers + [Answer(NO_ANSWER, b"")] * (len(requests) - len(reader.answers))

    def close(self) -> None:
        """Close the connection; the next exchange opens one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        self._socket = socket.create_connection(self._address, timeout=ANSWER_SECONDS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket


class _Reader:
    """Collects answers; the parser calls the `on_…` methods."""

    def __init__(self) -> None:
        self.answers: Final[list[Answer]] = []
        self.closing = False
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.answers.append(Answer(self._parser.get_status_code(), b"".join(self._body)))
        self.closing = not self._parser.should_keep_alive()
