"""The trace service's API as an operator of load tests uses it: enrol, wait until all is in, read the log.

Plain `http.client`, which works under Locust's patched sockets as well as without.
"""

import base64
import http.client
import time
from collections.abc import Iterator
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from app.clock import now_ms
from events import codec, problems
from events.places import Category
from events.problems import Problem
from loadtests.load.reconcile import Logged

ANSWER_SECONDS_MAX: Final = 120.0
RETRY_SECONDS_DEFAULT: Final = 1.0
PATIENCE_SECONDS: Final = 60.0
"""How long one request is tried again while the service asks for patience or does not answer."""
PAGE_SCANS: Final = 10_000
HOUR_MS: Final = 3_600_000
NO_SUBJECT: Final = "0" * 32
PURPOSE: Final = "Load test: reconciling the ledger with the log"
PURPOSE_HEADER: Final = "Truyvet-Purpose"
WAIT: Final = frozenset({429, 503})

T = TypeVar("T")


class ApiFailed(Exception):
    """The service does not do what it is asked; the message says what it answered."""


class LogPage(msgspec.Struct, frozen=True):
    """A device's deliveries by seq and reception; `next` is the `after_seq` of the page after, None on the last."""

    device: str
    scans: list[Logged]
    next: int | None


class _Answer(msgspec.Struct, frozen=True):
    """Status, body, and how long the service asks to wait (0: it does not say)."""

    status: int
    body: bytes
    retry_after_seconds: float


class OperatorApi:
    """One person's access to the trace service, by a token that may administer. Safe for any number of greenlets."""

    def __init__(self, base_url: str, token: str) -> None:
        """`base_url` like `https://truyvet.example`."""
        self._url: Final = urlsplit(base_url)
        self._token: Final = token

    def register_place(self, place_id: str, category: Category) -> None:
        """Once or again. Raises `ApiFailed`."""
        self._done("POST", "/v1/places", {"id": place_id, "name": place_id, "category": category})

    def enrol_scanner(self, device_id: str, public: bytes, place_id: str, *, may_subject: bool) -> None:
        """A scanner at a place; `may_subject`: it may name people by pseudonym. Raises `ApiFailed`."""
        device = {"id": device_id, "public": _base64(public), "place": place_id, "may_subject": may_subject}
        self._done("POST", "/v1/devices", device)

    def enrol_phone(self, device_id: str, public: bytes, subject: str) -> None:
        """Somebody's phone. Raises `ApiFailed`."""
        self._done("POST", "/v1/devices", {"id": device_id, "public": _base64(public), "subject": subject})

    def await_everything(self, seconds: float) -> None:
        """Return when all that was acknowledged by now is in the log and in the read models. Raises `ApiFailed`.

        Asking for the stays of nobody, as of now, makes the service wait for both; it looks at no one.
        """
        now = now_ms()
        query = urlencode({"from": now - HOUR_MS, "to": now})
        self._done("GET", f"/v1/subjects/{NO_SUBJECT}/stays?{query}", patience_seconds=seconds)

    def logged(self, device_id: str, *, page_scans: int = PAGE_SCANS) -> Iterator[Logged]:
        """Every delivery of a device that the log holds, by seq and reception; none where it is unknown.

        `page_scans` are asked for at once. Raises `ApiFailed`.
        """
        after: int | None = 0
        while after is not None:
            query = urlencode({"after_seq": after, "limit": page_scans})
            answer = self._settled("GET", f"/v1/devices/{quote(device_id)}/scans?{query}", None, PATIENCE_SECONDS)
            if answer.status == http.client.NOT_FOUND and problem_name(answer.body) == problems.NOT_FOUND.name:
                return
            page = _decoded(answer, LogPage)
            yield from page.scans
            after = page.next

    def _done(self, method: str, path: str, body: Any = None, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        answer = self._settled(method, path, body, patience_seconds)
        if answer.status >= http.client.BAD_REQUEST:
            raise ApiFailed(_words(method, path, answer))

    def _settled(self, method: str, path: str, body: Any, patience_seconds: float) -> _Answer:
        """The first answer that does not ask to come again. Raises `ApiFailed` where there is none in time."""
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                answer = self._exchange(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                said, wait = type(error).__name__, RETRY_SECONDS_DEFAULT
            else:
                if answer.status not in WAIT:
                    return answer
                said, wait = _words(method, path, answer), answer.retry_after_seconds or RETRY_SECONDS_DEFAULT
            if time.monotonic() + wait > deadline:
                raise ApiFailed(f"{self._url.netloc} kept asking for patience over {patience_seconds:g} s: {said}")
            time.sleep(wait)

    def _exchange(self, method: str, path: str, body: Any) -> _Answer:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=ANSWER_SECONDS_MAX)
        headers = {"Authorization": f"Bearer {self._token}", PURPOSE_HEADER: quote(PURPOSE)}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = codec.to_json(body)
        try:
            connection.request(method, self._url.path.rstrip("/") + path, data, headers)
            response = connection.getresponse()
            retry_after = response.headers.get("Retry-After", "")
            return _Answer(response.status, response.read(), float(retry_after) if retry_after.isdecimal() else 0.0)
        finally:
            connection.close()


def _decoded(answer: _Answer, kind: type[T]) -> T:
    if answer.status >= http.client.BAD_REQUEST:
        raise ApiFailed(_words("GET", "the log", answer))
    try:
        return codec.from_json(answer.body, kind)
    except msgspec.MsgspecError:
        raise ApiFailed("the service answers in another form than expected: use the release that runs there") from None


def problem_name(body: bytes) -> str:
    """Which problem an answer's body names; empty where it names none."""
    problem = _problem(body)
    return problem.name if problem is not None else ""


def _problem(body: bytes) -> Problem | None:
    try:
        return codec.from_json(body, Problem)
    except msgspec.MsgspecError:
        return None


def _words(method: str, path: str, answer: _Answer) -> str:
    problem = _problem(answer.body)
    said = f"{problem.title}. {problem.detail} {problem.action}" if problem is not None else "without a reason"
    return f"{method} {path.partition('?')[0]} was answered {answer.status}: {said}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
