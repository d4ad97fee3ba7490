"""Ask, record who asked, save, and only then hand the answer out: the one way in which an answer leaves the service."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from events import codec, problems
from events.access import Token
from events.problems import ProblemError
from tracing.answer import Answer, AnsweredIndex, Tracer
from tracing.audit import Action, AuditLog
from tracing.metrics import Metrics
from tracing.question import Question, ResolvedQuestion
from tracing.reading import SUBJECTS_READ_MAX
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
        subjects_max: int = SUBJECTS_READ_MAX,
        on_read: Callable[[int, int], None] = lambda read, known: None,
    ) -> Given:
        """The answer, recorded and saved. Raises as `Tracer.trace` and `AuditLog.write` do.

        As `ProblemError` also INDEX_WITHOUT_SCANS or SUBJECT_UNKNOWN where there is nobody to begin with: then
        nothing is saved, but who asked is recorded, since the problem says when somebody was scanned.
        """
        began = time.perf_counter()
        answer = self._tracer.trace(question, subjects_max=subjects_max, on_read=on_read)
        answered = time.perf_counter()
        self._metrics.trace_seconds.observe(answered - began)
        nobody = self.nobody(answer.index)
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

    def nobody(self, index: Sequence[AnsweredIndex]) -> problems.Problem | None:
        """INDEX_WITHOUT_SCANS or SUBJECT_UNKNOWN where none of them has a stay, else None.

        It says when somebody was scanned: record who asked before it is answered.
        """
        if any(each.stays for each in index):
            return None
        before = [each.before for each in index if each.before is not None]
        after = [each.after for each in index if each.after is not None]
        entered = any(each.cases or self._registry.subject(each.subject) for each in index)
        if not before and not after and not entered:
            detail = "No case names them, nobody entered them, and nothing was scanned of them by as_of."
            return problems.SUBJECT_UNKNOWN.problem(detail, pointer="/index/subjects")
        detail = f"Last scan before the window: {_said(max(before, default=None))}; first after it: "
        detail += f"{_said(min(after, default=None))}."
        return problems.INDEX_WITHOUT_SCANS.problem(detail, pointer="/index")


def _said(at: int | None) -> str:
    return "none by as_of" if at is None else datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
