"""The edge itself, `POST /v1/scans`: a request's steps in their order, and the answer to each way of ending.

A bare ASGI callable: a web framework costs three to four times as much a request as all that is done here but the
signature. It may be mounted under a framework's route, or be served alone.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from events import codec, problems
from events.problems import Problem, ProblemError
from events.scans import Entry, Receipt, Refusal, Verdict
from ingest.deadline import Deadline
from ingest.decode import decode_columns
from ingest.evidence import NONCE_BYTES, seal_evidence
from ingest.judge import Judged, Places, duplicates, judge
from ingest.limits import EdgeLimits
from ingest.rate import DeviceRates
from ingest.verify import Request, Verified, headers_of, request_of, verify_request
from keys.codes import CodeOpener
from keys.keyring import Keyring
from keys.secrets import ServerSecrets
from storage.errors import StreamDown, StreamFull
from storage.publish import Published, Publisher

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

STATUS_CLIENT_GONE: Final = 499
"""Told to the hook alone: there was nobody left to answer."""
REPLAY_KEY_BYTES: Final = 16
JSON_MEDIA_TYPE: Final = b"application/json"
ALLOW_POST: Final = (b"allow", b"POST")
CLOSE: Final = (b"connection", b"close")

_log: Final = logging.getLogger(__name__)


class StepSeconds(msgspec.Struct):
    """How long each step took, in seconds; zero for those that were not reached."""

    receive: float = 0.0
    verify: float = 0.0
    judge: float = 0.0
    seal: float = 0.0
    publish: float = 0.0
    answer: float = 0.0


class EdgeResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one request ended; holds nothing that names a person or a device.

    `status` is 499 where the client went away, `problem` the last part of the problem's `type` or empty. A replay
    (status 200) counts in `duplicate` alone: its refusals were counted when it first came. `batch` is the receipt's,
    empty where nothing was appended; `scans` were decoded, `body_bytes` received as sent.
    """

    status: int
    problem: str
    accepted: int
    duplicate: int
    refused: dict[Refusal, int]
    seconds: StepSeconds
    batch: str = ""
    scans: int = 0
    body_bytes: int = 0


class ClientGone(Exception):
    """The client closed the connection before its body was whole."""


class Response(msgspec.Struct, frozen=True):
    """What is sent back."""

    status: int
    headers: list[Header]
    body: bytes


class Course(msgspec.Struct):
    """What is known of a request while it takes its course, for the hook and the error log."""

    mark: float
    seconds: StepSeconds = msgspec.field(default_factory=StepSeconds)
    batch: str = ""
    scans: int = 0
    body_bytes: int = 0
    status: int = STATUS_CLIENT_GONE
    problem: str = ""
    accepted: int = 0
    duplicate: int = 0
    refused: dict[Refusal, int] = {}

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        took, self.mark = now - self.mark, now
        return took

    def result(self) -> EdgeResult:
        """The request as it ended."""
        return EdgeResult(
            status=self.status,
            problem=self.problem,
            accepted=self.accepted,
            duplicate=self.duplicate,
            refused=self.refused,
            seconds=self.seconds,
            batch=self.batch,
            scans=self.scans,
            body_bytes=self.body_bytes,
        )


def ignore_result(result: EdgeResult) -> None:
    """The hook of an edge that nobody measures."""


def ignore_step(name: str) -> None:
    """The hook of an edge that nobody follows step by step."""


class ScanEdge:
    """ASGI application of `POST /v1/scans`.

    For one event loop; the registries (`keyring`, `places`) may change between requests in the same thread.
    `clock_ms` gives Unix milliseconds and `random` that many unpredictable bytes; `on_result` is called once for
    each request, after its answer.
    """

    def __init__(
        self,
        *,
        keyring: Keyring,
        places: Places,
        secrets: ServerSecrets,
        opener: CodeOpener,
        publisher: Publisher,
        clock_ms: Callable[[], int],
        random: Callable[[int], bytes],
        limits: EdgeLimits,
        on_result: Callable[[EdgeResult], None] = ignore_result,
        on_step: Callable[[str], None] = ignore_step,
    ) -> None:
        """`on_step` is called with a step's name right after it: verified, published, answered."""
        self._keyring: Final = keyring
        self._places: Final = places
        self._secrets: Final = secrets
        self._opener: Final = opener
        self._publisher: Final = publisher
        self._clock_ms: Final = clock_ms
        self._random: Final = random
        self._limits: Final = limits
        self._rates: Final = DeviceRates(limits)
        self._body_deadline: Final = Deadline(limits.body_seconds_max)
        self._publish_deadline: Final = Deadline(limits.publish_seconds_max)
        self._on_result: Final = on_result
        self._on_step: Final = on_step

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Other scopes than HTTP are not served."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the edge serves http, not {scope['type']}")
        course = Course(time.perf_counter())
        try:
            response = await self._respond(scope, receive, course)
            if response is not None:
                course.status = response.status
                await _send(send, response)
                course.seconds.answer = course.lap()
                self._on_step("answered")
        finally:
            self._on_result(course.result())

    async def _respond(self, scope: Scope, receive: Receive, course: Course) -> Response | None:
        """The answer, whatever happens; None where the client has gone."""
        try:
            return await self._take(scope, receive, course)
        except ClientGone:
            return None
        except ProblemError as error:
            problem = error.problem
        except (StreamDown, TimeoutError):
            problem = problems.STREAM_DOWN.problem()
        except StreamFull:
            problem = problems.STREAM_FULL.problem()
        except Exception as error:
            # Neither message nor traceback: both may quote what a person's scan held.
            _log.error("a batch of %d scans failed: %s", course.scans, type(error).__name__)
            problem = problems.INTERNAL.problem()
        course.problem = problem.type.removeprefix(problems.PROBLEM_TYPE_BASE)
        return _problem_response(problem, scope)

    async def _take(self, scope: Scope, receive: Receive, course: Course) -> Response:
        if scope["method"] != "POST":
            raise ProblemError(problems.METHOD_NOT_ALLOWED.problem("Scans are sent by POST."))
        seconds = course.seconds
        # 1. Receive: the whole body, within its limits. Nothing has happened yet if the client goes away.
        request = await self._received(scope, receive)
        course.body_bytes = len(request.body)
        seconds.receive = course.lap()
        # 2. Verify: who signed it. Nothing of the body is read before this.
        verified = verify_request(request, self._keyring, self._clock_ms(), self._limits, self._rates.require)
        self._rates.count_request(verified.device.number)
        seconds.verify = course.lap()
        self._on_step("verified")
        # 3. Judge: each scan becomes a row or a refusal.
        judged = self._judged(request, verified, course)
        seconds.judge = course.lap()
        # 4. Seal: the request as it came, so that each of its scans can be proven later.
        entry = self._entry(verified, judged)
        seconds.seal = course.lap()
        # 5. Publish: on disk when this returns. If the process dies before the answer the device sends the batch
        #    again: an exact replay is recognised, and a batch signed anew says duplicate for what is known.
        published = await self._published(entry, verified, judged)
        seconds.publish = course.lap()
        self._on_step("published")
        # 6. Answer.
        return _answer(judged, published, course)

    async def _received(self, scope: Scope, receive: Receive) -> Request:
        headers = headers_of(scope)
        try:
            with self._body_deadline:
                body = await _body(headers.get("content-length", ""), receive, self._limits.body_bytes_max)
        except TimeoutError as error:
            detail = f"The body was not whole after {self._limits.body_seconds_max:g} s."
            raise ProblemError(problems.BODY_TIMEOUT.problem(detail)) from error
        return request_of(scope, headers, body)

    def _judged(self, request: Request, verified: Verified, course: Course) -> Judged:
        headers = request.headers
        batch = decode_columns(request.body, headers["content-type"], headers.get("content-encoding", ""), self._limits)
        course.scans = len(batch)
        self._rates.count_scans(verified.device.number, course.scans)
        return judge(
            batch,
            verified.device,
            verified.key,
            places=self._places,
            keyring=self._keyring,
            opener=self._opener,
            pseudonym_key=self._secrets.pseudonym_key,
            now_ms=self._clock_ms(),
            limits=self._limits,
        )

    def _entry(self, verified: Verified, judged: Judged) -> bytes:
        device = verified.device.number
        return codec.to_msgpack(
            Entry(
                device=device,
                key=verified.key.key,
                seq_min=judged.seq_min,
                seq_max=judged.seq_max,
                rows=judged.rows,
                refused=judged.refused,
                evidence=seal_evidence(self._secrets, verified.evidence, device, self._random(NONCE_BYTES)),
            )
        )

    async def _published(self, entry: bytes, verified: Verified, judged: Judged) -> Published:
        with self._publish_deadline:
            return await self._publisher.publish(
                entry,
                device=verified.device.number,
                runs=judged.runs,
                replay_key=verified.signature[:REPLAY_KEY_BYTES],
            )


async def _body(content_length: str, receive: Receive, bytes_max: int) -> bytes:
    if content_length.isascii() and content_length.isdecimal() and int(content_length[:20]) > bytes_max:
        raise _too_large(bytes_max)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(bytes_max)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(bytes_max: int) -> ProblemError:
    return ProblemError(problems.BODY_TOO_LARGE.problem(f"The body as sent passes {bytes_max} bytes."))


def _answer(judged: Judged, published: Published, course: Course) -> Response:
    if published.replayed:
        # The device missed the first answer: it learns once more what was refused, and counts nothing twice.
        status, duplicate, accepted, refused = 200, course.scans, 0, {}
        verdicts = _every_verdict(judged)
    else:
        status, refused = 202, judged.refusals
        known = duplicates(judged, published.known)
        duplicate, accepted = len(known), judged.accepted - len(known)
        verdicts = judged.verdicts + known
    course.accepted, course.duplicate, course.refused = accepted, duplicate, refused
    course.batch = published.entry
    receipt = Receipt(
        batch=published.entry,
        accepted=accepted,
        duplicate=duplicate,
        refused=sum(refused.values()),
        next_seq=published.next_seq,
        seen_to=published.seen_to,
        verdicts=verdicts,
    )
    return _response(status, JSON_MEDIA_TYPE, codec.to_json(receipt), [])


def _every_verdict(judged: Judged) -> list[Verdict]:
    """For a replay: `duplicate` for what was accepted, and every refusal again."""
    return judged.verdicts + duplicates(judged, judged.runs)


def _problem_response(problem: Problem, scope: Scope) -> Response:
    extra: list[Header] = []
    if problem.retry_after_seconds:
        extra.append((b"retry-after", str(problem.retry_after_seconds).encode()))
    if problem.status == problems.METHOD_NOT_ALLOWED.status:
        extra.append(ALLOW_POST)
    if problem.status == problems.BODY_TIMEOUT.status and _is_http1(scope):
        # RFC 9110, section 15.5.9. A body that is too large does not close: the client may still be sending, and
        # a connection closed upon it is reset, so that the answer would be lost and the batch resent for ever.
        extra.append(CLOSE)
    return _response(problem.status, problems.PROBLEM_MEDIA_TYPE.encode(), problem.body(), extra)


def _is_http1(scope: Scope) -> bool:
    return str(scope.get("http_version", "1.1")).startswith("1")


def _response(status: int, media_type: bytes, body: bytes, extra: list[Header]) -> Response:
    headers = [(b"content-type", media_type), (b"content-length", str(len(body)).encode()), *extra]
    return Response(status, headers, body)


async def _send(send: Send, response: Response) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})
