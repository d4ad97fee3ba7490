"""HTTP to the service: one request a connection, problems raised, patience where the service asks for it."""

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from events import codec
from events.problems import Problem
from truyvet.errors import Busy, TruyvetError, Unreachable, WrongAnswer, refusal

PURPOSE_HEADER: Final = "Truyvet-Purpose"
ANSWER_SECONDS_MAX: Final = 300.0
ANSWER_BYTES_MAX: Final = 1_000_000_000
PIECE_BYTES: Final = 1_000_000
RETRY_SECONDS_MIN: Final = 0.1
"""However soon the service says to come back, it is not asked without a pause."""


class Transport:
    """One person's way to a service, by a bearer token. Thread-safe: every request has a connection of its own."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        wait_seconds_max: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`answer_seconds_max` is how long the service may say nothing; `wait_seconds_max` how long all the waiting
        may take that it asks for (503 or 429 with Retry-After), after which `Busy` is raised."""
        self.base_url: Final = base_url
        self._token: Final = token.strip()
        if not (self._token.isascii() and self._token.isprintable()):
            # The library would quote the token in its exception, and a notebook would keep that.
            raise TruyvetError("The token holds characters that no token has: give it as `truyvet token create` did")
        self._answer_seconds_max: Final = answer_seconds_max
        self._wait_seconds_max: Final = wait_seconds_max
        self._sleep: Final = sleep

    def exchange(
        self, method: str, path: str, body: bytes | None = None, *, purpose: str = "", prefer: str = ""
    ) -> bytes:
        """The answer's body; `prefer` is a preference by RFC 7240. Raises `TruyvetError`."""
        with self.opened(method, path, body, purpose=purpose, prefer=prefer) as response:
            data = self._read(response, ANSWER_BYTES_MAX)
            if len(data) == ANSWER_BYTES_MAX and self._read(response, 1):
                raise WrongAnswer(f"The answer is larger than {ANSWER_BYTES_MAX:,} bytes: export it instead")
            return data

    def pieces(self, method: str, path: str, body: bytes | None = None, *, purpose: str = "") -> Iterator[bytes]:
        """The answer's body as it comes. Raises `TruyvetError`, also in the middle, where it breaks off."""
        with self.opened(method, path, body, purpose=purpose) as response:
            while piece := self._read(response, PIECE_BYTES):
                yield piece

    @contextmanager
    def opened(
        self, method: str, path: str, body: bytes | None = None, *, purpose: str = "", prefer: str = ""
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer, its body unread; waits and asks again as long as the service is busy and may be waited for."""
        waited = 0.0
        while True:
            connection = self._connection()
            try:
                response = self._asked(connection, method, path, body, purpose=purpose, prefer=prefer)
                try:
                    self._check(response)
                except Busy as busy:
                    wait = max(busy.problem.retry_after_seconds, RETRY_SECONDS_MIN)
                    if waited + wait > self._wait_seconds_max:
                        raise
                    waited += wait
                    self._sleep(wait)
                    continue
                yield response
                return
            finally:
                connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.base_url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=self._answer_seconds_max)

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        *,
        purpose: str,
        prefer: str,
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if prefer:
            headers["Prefer"] = prefer
        if purpose:
            headers[PURPOSE_HEADER] = quote(purpose)
        try:
            connection.request(method, urlsplit(self.base_url).path.rstrip("/") + path, body=body, headers=headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self.base_url, type(error).__name__) from None

    def _read(self, response: http.client.HTTPResponse, most: int) -> bytes:
        try:
            data = response.read(most)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self.base_url, type(error).__name__) from None
        # The library raises where a chunk is cut, but not where less comes than Content-Length has promised.
        if len(data) < most and response.length:
            raise Unreachable(self.base_url, http.client.IncompleteRead.__name__)
        return data

    def _check(self, response: http.client.HTTPResponse) -> None:
        """Raise the problem that an answer is, if it is one."""
        if response.status < http.client.BAD_REQUEST:
            return
        data = self._read(response, ANSWER_BYTES_MAX)
        try:
            problem = codec.from_json(data, Problem)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise WrongAnswer(f"{self.base_url} answered {response.status}, but it is not Truyvet") from None
        raise refusal(problem)
