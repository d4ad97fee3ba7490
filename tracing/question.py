"""What can be asked, and what exactly was asked once every default is filled in."""

import enum
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

import msgspec

from events.cases import Case, CaseId
from events.devices import Pseudonym
from events.problems import QUESTION_INVALID, SUBJECT_UNKNOWN, Kind, ProblemError
from events.scans import AtMs

DAY_SECONDS: Final = 86_400
WINDOW_DAYS_MAX: Final = 35
LAG_SECONDS_MAX: Final = 12 * 3_600
LATENCY_SECONDS_MAX: Final = 14 * DAY_SECONDS
MIN_SECONDS_MAX: Final = WINDOW_DAYS_MAX * DAY_SECONDS
MIN_SECONDS_DEFAULT: Final = 900
DEPTH_MAX: Final = 3
INDEX_SUBJECTS_MAX: Final = 1_000

CaseAsOf = Callable[[str, int], Case | None]
"""The case of an id as known at a time (ms); None where no such case was ever confirmed."""


class Rule(enum.StrEnum):
    """What must last `min_seconds`: all encounters of a contact together, or a single one of them."""

    TOTAL = "total"
    ENCOUNTER = "encounter"


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom the question is about: confirmed cases, subjects by pseudonym, or both."""

    cases: tuple[CaseId, ...] = ()
    subjects: tuple[Pseudonym, ...] = ()


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question as it is asked.

    `from`, `to`, `as_of`: Unix ms. The window defaults to each case's infectious one, `as_of` to the clock.
    `min_seconds` may have a fraction, down to the millisecond.
    """

    index: Index
    from_: AtMs | None = msgspec.field(default=None, name="from")
    to: AtMs | None = None
    lag_seconds: int = 0
    min_seconds: int | float = MIN_SECONDS_DEFAULT
    rule: Rule = Rule.TOTAL
    as_of: AtMs | None = None
    depth: int = 1
    latency_seconds: int = 0


class IndexSubject(msgspec.Struct, frozen=True, kw_only=True):
    """One index subject with its window `[from, to)` in Unix ms, and the cases that named it, if any."""

    subject: str
    cases: tuple[str, ...]
    from_: int = msgspec.field(name="from")
    to: int


class ResolvedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question with nothing left open: every parameter that decided the answer.

    `index` is ordered by subject, then window; a subject's windows are disjoint.
    """

    index: tuple[IndexSubject, ...]
    lag_seconds: int
    min_seconds: int | float
    rule: Rule
    as_of: int
    depth: int
    latency_seconds: int

    @property
    def lag_ms(self) -> int:
        """The lag in milliseconds."""
        return self.lag_seconds * 1000

    @property
    def min_ms(self) -> int:
        """The least duration of a contact in milliseconds."""
        return round(self.min_seconds * 1000)

    @property
    def latency_ms(self) -> int:
        """The latency in milliseconds."""
        return self.latency_seconds * 1000


def resolve(question: Question, case_as_of: CaseAsOf, now_ms: int) -> ResolvedQuestion:
    """Fill in the defaults and check every limit.

    Raises `ProblemError`: SUBJECT_UNKNOWN for a case that nobody confirmed, else QUESTION_INVALID; its pointer says
    where in the question (RFC 6901).
    """
    as_of = now_ms if question.as_of is None else question.as_of
    if as_of > now_ms:
        refuse("as_of lies in the future", "/as_of")
    _check_range("lag_seconds", question.lag_seconds, 0, LAG_SECONDS_MAX)
    _check_range("latency_seconds", question.latency_seconds, 0, LATENCY_SECONDS_MAX)
    _check_range("min_seconds", question.min_seconds, 0, MIN_SECONDS_MAX)
    _check_range("depth", question.depth, 1, DEPTH_MAX)
    return ResolvedQuestion(
        index=_index(question, case_as_of, as_of),
        lag_seconds=question.lag_seconds,
        min_seconds=_to_the_millisecond(question.min_seconds),
        rule=question.rule,
        as_of=as_of,
        depth=question.depth,
        latency_seconds=question.latency_seconds,
    )


def check_window(from_ms: int, to_ms: int, pointer: str) -> None:
    """Raise QUESTION_INVALID as `ProblemError` unless `[from_ms, to_ms)` is a window within the limit."""
    if from_ms >= to_ms:
        refuse("the window ends before it begins, or is empty", pointer)
    if to_ms - from_ms > WINDOW_DAYS_MAX * DAY_SECONDS * 1000:
        refuse(f"the window is longer than {WINDOW_DAYS_MAX} days", pointer)


def refuse(detail: str, pointer: str, kind: Kind = QUESTION_INVALID) -> NoReturn:
    """Raise the problem; `detail` must hold no personal data."""
    raise ProblemError(kind.problem(detail, pointer=pointer))


def _check_range(field: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        refuse(f"{field} must lie between {least} and {most}", f"/{field}")


def _to_the_millisecond(seconds: float) -> int | float:
    """The same duration, written in one way only: whole seconds as an integer."""
    ms = round(seconds * 1000)
    if abs(seconds * 1000 - ms) > 1e-3:
        refuse("min_seconds must be a whole number of milliseconds", "/min_seconds")
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def _index(question: Question, case_as_of: CaseAsOf, as_of: int) -> tuple[IndexSubject, ...]:
    count = len(question.index.cases) + len(question.index.subjects)
    if count == 0:
        refuse("name at least one case or subject", "/index")
    if count > INDEX_SUBJECTS_MAX:
        refuse(f"more than {INDEX_SUBJECTS_MAX} index subjects", "/index")
    asked = [_of_case(question, position, case_as_of, as_of) for position in range(len(question.index.cases))]
    asked += [_of_subject(question, subject) for subject in question.index.subjects]
    return tuple(_united(asked))


def _of_case(question: Question, position: int, case_as_of: CaseAsOf, as_of: int) -> IndexSubject:
    pointer = f"/index/cases/{position}"
    case = case_as_of(question.index.cases[position], as_of)
    if case is None:
        refuse("no such case was confirmed", pointer, SUBJECT_UNKNOWN)
    from_ms = case.infectious_from if question.from_ is None else question.from_
    to_ms = case.infectious_to if question.to is None else question.to
    check_window(
        from_ms, to_ms, "/to" if question.to is not None else "/from" if question.from_ is not None else pointer
    )
    return IndexSubject(subject=case.subject, cases=(case.id,), from_=from_ms, to=to_ms)


def _of_subject(question: Question, subject: str) -> IndexSubject:
    if question.from_ is None:
        refuse("a subject without a case needs a window", "/from")
    if question.to is None:
        refuse("a subject without a case needs a window", "/to")
    check_window(question.from_, question.to, "/to")
    return IndexSubject(subject=subject, cases=(), from_=question.from_, to=question.to)


def _united(asked: Iterable[IndexSubject]) -> list[IndexSubject]:
    """Whoever is named twice counts once: windows that overlap or touch become one."""
    united: list[IndexSubject] = []
    for each in sorted(asked, key=_subject_and_window):
        last = united[-1] if united else None
        if last is None or last.subject != each.subject or last.to < each.from_:
            united.append(each)
            continue
        united[-1] = IndexSubject(
            subject=last.subject,
            cases=tuple(sorted({*last.cases, *each.cases})),
            from_=last.from_,
            to=max(last.to, each.to),
        )
    return united


def _subject_and_window(each: IndexSubject) -> tuple[str, int, int, tuple[str, ...]]:
    return each.subject, each.from_, each.to, each.cases
