"""Asks the trace service as a client would: over one kept connection, with a token, answers read to their last byte."""

import http.client
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from app.errors import Explained
from events import codec
from events.problems import Problem
from loadtests.bench.system import System
from loadtests.bench.trace.truth import Contact, Window
from storage.watermarks import Watermarks
from tracing.decoding import PURPOSE_HEADER

ANSWER_SECONDS_MAX: Final = 600.0
PURPOSE: Final = "measuring how long a trace takes"
TRACES_PATH: Final = "/v1/traces"
BUSY: Final = 503
RETRY_SECONDS_DEFAULT: Final = 1.0
JOB_BEGUN: Final = 202
JOB_GOES_ON: Final = frozenset({"waiting", "running"})
JOB_POLL_SECONDS: Final = 0.02
STEP_SUM: Final = 'truyvet_trace_step_seconds_sum{step="'


class Refused(Explained):
    """The service does not answer the question; the message says what it said."""


class Reply(msgspec.Struct, frozen=True):
    """An answer as it came, and the seconds from the first byte of the question to its last byte.

    `as_job`: the service made a job of it, which was waited for, and read the answer from where it was saved.
    """

    seconds: float
    body: bytes
    as_job: bool = False


class _Job(msgspec.Struct, frozen=True):
    id: str
    state: str
    result: str | None
    problem: Problem | None


class _Contacts(msgspec.Struct, frozen=True):
    contacts: list[Contact]


class _RawContacts(msgspec.Struct, frozen=True):
    contacts: msgspec.Raw


class Asker:
    """A context manager: the connection is open within."""

    def __init__(self, system: System) -> None:
        settings = system.settings
        self._connection: Final = http.client.HTTPConnection(
            settings.trace_host, settings.trace_port, timeout=ANSWER_SECONDS_MAX
        )
        self._headers: Final = {
            "Authorization": f"Bearer {system.embedded.token}",
            "Content-Type": "application/json",
            PURPOSE_HEADER: PURPOSE,
        }
        self._watermarks: Final = Watermarks(system.redis)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def trace(self, subjects: Sequence[str], window: Window, **parameters: int | bool) -> Reply:
        """Who was with these people in the window? `parameters` are others than the defaults. Raises `Refused`."""
        question = {"index": {"subjects": subjects}, "from": window[0], "to": window[1], "purpose": PURPOSE}
        began = time.perf_counter()
        status, body = self._exchange("POST", TRACES_PATH, codec.to_json(question | parameters))
        if status == JOB_BEGUN:
            done = self._awaited(codec.from_json(body, _Job))
            _, body = self._exchange("GET", done, None)
        return Reply(time.perf_counter() - began, body, as_job=status == JOB_BEGUN)

    def newest(self) -> int:
        """The latest moment (ms) that can be asked about without waiting: what traces see by now."""
        mark = self._watermarks.read("read-models")
        assert mark is not None
        return mark.received

    def nothing(self) -> Reply:
        """The least that the service answers to somebody with a token."""
        return self._asked("GET", "/v1/cases?limit=1", None)

    def step_seconds(self) -> dict[str, float]:
        """How many seconds each step of all traces so far has taken together, as the service counts them."""
        lines = self._asked("GET", "/metrics", None).body.decode().splitlines()
        found = (line.removeprefix(STEP_SUM).split('"} ') for line in lines if line.startswith(STEP_SUM))
        return {step: float(seconds) for step, seconds in found}

    def _asked(self, method: str, path: str, body: bytes | None) -> Reply:
        began = time.perf_counter()
        _, answer = self._exchange(method, path, body)
        return Reply(time.perf_counter() - began, answer)

    def _awaited(self, job: _Job) -> str:
        """Where a job's answer is, once it is done. Raises `Refused`."""
        while job.state in JOB_GOES_ON:
            time.sleep(JOB_POLL_SECONDS)
            job = codec.from_json(self._exchange("GET", f"/v1/jobs/{job.id}", None)[1], _Job)
        if job.result is None:
            raise Refused(f"The job of a trace ends as {job.state}: {job.problem.detail if job.problem else ''}")
        return job.result

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Status and body; while the service asks for patience it gets it. Raises `Refused`."""
        until = time.monotonic() + ANSWER_SECONDS_MAX
        while True:
            self._connection.request(method, path, body, self._headers)
            response = self._connection.getresponse()
            answer = response.read()
            if 200 <= response.status < 300:
                return response.status, answer
            problem = codec.from_json(answer, Problem)
            if response.status != BUSY or time.monotonic() > until:
                raise Refused(f"The service answers {response.status}: {problem.title}. {problem.detail}")
            time.sleep(problem.retry_after_seconds or RETRY_SECONDS_DEFAULT)


def contacts_in(body: bytes) -> list[Contact]:
    """The contacts of an answer."""
    return msgspec.json.decode(body, type=_Contacts).contacts


def evidence_in(body: bytes) -> bytes:
    """The contacts of an answer with all their evidence, to the byte."""
    return bytes(msgspec.json.decode(body, type=_RawContacts).contacts)
