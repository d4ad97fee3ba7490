"""Ask, record who asked, save, and only then hand the answer out: the one way in which an answer leaves the service."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from events import codec, problems
from events.access import Token
from events.problems import ProblemError
from tracing.absence import absence
from tracing.answer import Answer, Tracer
from tracing.audit import Action, AuditLog
from tracing.bounds import AT_ONCE, Bounds
from tracing.metrics import Metrics
from tracing.question import Question, ResolvedQuestion
from tracing.registry import Registry
from tracing.saved import SavedTrace, saving

QUESTION_PROBLEMS: Final = (
    problems.QUESTION_INVALID,
    problems.WINDOW_REVERSED,
    problems.WINDOW_TOO_LONG,
    problems.WINDOW_EXPIRED,
    problems.AS_OF_IN_FUTURE,
    problems.DEPTH_EXCEEDED,
    problems.PRESET_UNKNOWN,
    problems.SUBJECT_UNKNOWN,
    problems.INDEX_WITHOUT_SCANS,
    problems.TRACE_TOO_LARGE,
    problems.BEHIND,
    problems.STORE_DOWN,
    problems.STREAM_DOWN,
)
"""What may be wrong with a question, or in the way of its answer."""


class Given(msgspec.Struct, frozen=True):
    """An answer, and its text as it is saved and given out."""

    answer: Answer
    text: bytes


class Asker:
    """Safe to use from several threads."""

    def __init__(
        self, *, tracer: Tracer, registry: Registry, audit: AuditLog, metrics: Metrics, clock: Callable[[], int]
    ) -> None:
        """`clock` gives Unix ms."""
        self._tracer: Final = tracer
        self._registry: Final = registry
        self._audit: Final = audit
        self._metrics: Final = metrics
        self._clock: Final = clock

    def ask(
        self,
        token: Token,
        question: Question | ResolvedQuestion,
        purpose: str,
        *,
        bounds: Bounds = AT_ONCE,
        on_read: Callable[[int, int], None] = lambda read, known: None,
        early: bool = True,
    ) -> Given:
        """The answer, recorded and saved. Raises as `Tracer.trace` and `AuditLog.write` do.

        As `ProblemError` also INDEX_WITHOUT_SCANS or SUBJECT_UNKNOWN where there is nobody to begin with: then
        nothing is saved, but who asked is recorded, since the problem says when somebody was scanned.
        """
        began = time.perf_counter()
        answer = self._tracer.trace(question, bounds=bounds, on_read=on_read, early=early)
        answered = time.perf_counter()
        self._metrics.trace_seconds.observe(answered - began)
        nobody = absence(answer.index, self._registry)
        if nobody is not None:
            people = [each.subject for each in answer.index]
            self._audit.write(self._clock(), token, Action.TRACE_ASKED, answer.id, purpose, people=people)
            raise ProblemError(nobody)
        text = codec.to_json(answer)
        trace = SavedTrace(id=answer.id, asked_at=answer.asked_at, actor=token.name, fingerprint=answer.fingerprint)
        kept = saving(trace, question=codec.to_json(answer.question), answer=text)
        self._audit.write(self._clock(), token, Action.TRACE_ASKED, answer.id, purpose, saving=kept)
        self._metrics.on_step("record", time.perf_counter() - answered)
        return Given(answer, text)
