"""What can be asked, and what exactly was asked once every default is filled in."""

from collections.abc import Callable, Iterable
from typing import Final, NoReturn, TypeVar

import msgspec

from events.cases import Case, CaseId
from events.devices import Pseudonym
from events.places import Category, DwellSeconds
from events.problems import (
    AS_OF_IN_FUTURE,
    DEPTH_EXCEEDED,
    PRESET_UNKNOWN,
    QUESTION_INVALID,
    SUBJECT_UNKNOWN,
    WINDOW_REVERSED,
    WINDOW_TOO_LONG,
    Kind,
    ProblemError,
)
from events.scans import AtMs
from tracing.doubts import Reason, Thresholds
from tracing.presets import PRESETS, Parameters
from tracing.rule import Rule

DAY_SECONDS: Final = 86_400
WINDOW_DAYS_MAX: Final = 35
LAG_SECONDS_MAX: Final = 12 * 3_600
LATENCY_SECONDS_MAX: Final = 14 * DAY_SECONDS
MIN_SECONDS_MAX: Final = WINDOW_DAYS_MAX * DAY_SECONDS
MIN_SECONDS_DEFAULT: Final = 900
LAG_SECONDS_DEFAULT: Final = 0
LATENCY_SECONDS_DEFAULT: Final = 0
DEPTH_DEFAULT: Final = 1
DEPTH_MAX: Final = 3
INDEX_SUBJECTS_MAX: Final = 10_000

T = TypeVar("T")

CaseAsOf = Callable[[str, int], Case | None]
"""The case of an id as known at a time (ms); None where no such case was ever confirmed."""


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom the question is about: confirmed cases, subjects by pseudonym, or both."""

    cases: tuple[CaseId, ...] = ()
    subjects: tuple[Pseudonym, ...] = ()


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question as it is asked.

    `from`, `to`, `as_of`: Unix ms. The window defaults to each case's infectious one, `as_of` to the clock. What is
    left out of the others is the preset's (`GET /v1/presets`), else 900 s of `min_seconds`, `rule` total, no lag, no
    latency, depth 1. `min_seconds` may have a fraction, down to the millisecond. `dwell_seconds`, by category of
    places, overrides for this question how long somebody is taken to remain who never scans out. Scans that are
    doubtful for one of the reasons in `leave_out_doubtful` do not count, and the answer says which; `doubt_thresholds`
    says from where on they are.

    Without `wait`, `as_of` defaults to the moment that the read models have reached, and nothing is waited for. Without
    `evidence`, contacts come with how long, when and how often they were met, and no encounters: for answers about
    thousands.
    """

    index: Index
    from_: AtMs | None = msgspec.field(default=None, name="from")
    to: AtMs | None = None
    preset: str | None = None
    lag_seconds: int | None = None
    min_seconds: int | float | None = None
    rule: Rule | None = None
    as_of: AtMs | None = None
    depth: int | None = None
    latency_seconds: int | None = None
    dwell_seconds: dict[Category, DwellSeconds] = {}
    leave_out_doubtful: tuple[Reason, ...] = ()
    doubt_thresholds: Thresholds | None = None
    wait: bool = True
    evidence: bool = True


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to ask otherwise of the same people in the same windows; what is left out stays as it was.

    A preset replaces all of the rule's parameters but those that are given here. `as_of` null is the service's clock.
    """

    preset: str | None = None
    lag_seconds: int | None = None
    min_seconds: int | float | None = None
    rule: Rule | None = None
    as_of: AtMs | None = None
    depth: int | None = None
    latency_seconds: int | None = None
    dwell_seconds: dict[Category, DwellSeconds] | None = None
    leave_out_doubtful: tuple[Reason, ...] | None = None
    doubt_thresholds: Thresholds | None = None


class IndexSubject(msgspec.Struct, frozen=True, kw_only=True):
    """One index subject with its window `[from, to)` in Unix ms, and the cases that named it, if any."""

    subject: str
    cases: tuple[str, ...]
    from_: int = msgspec.field(name="from")
    to: int


class LeavingOut(msgspec.Struct, frozen=True, kw_only=True):
    """Scans that are doubtful for one of these reasons, by these thresholds, do not count."""

    reasons: tuple[Reason, ...]
    thresholds: Thresholds


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
    preset: str | None = None
    dwell_seconds: dict[Category, int] = {}
    leave_out_doubtful: LeavingOut | msgspec.UnsetType = msgspec.UNSET
    evidence: bool = True

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

    Raises `ProblemError` with where in the question (RFC 6901): SUBJECT_UNKNOWN for a case that nobody confirmed,
    AS_OF_IN_FUTURE, WINDOW_REVERSED, WINDOW_TOO_LONG, DEPTH_EXCEEDED, PRESET_UNKNOWN, else QUESTION_INVALID.
    """
    as_of = resolve_as_of(question.as_of, now_ms)
    said = _parameters(question)
    resolved = _resolved(question.preset, said, _index(question, case_as_of, as_of), as_of, question.evidence)
    return _leaving_out(resolved, question.leave_out_doubtful, question.doubt_thresholds)


def changed(question: ResolvedQuestion, change: Change, now_ms: int) -> ResolvedQuestion:
    """The same index and windows, asked otherwise. Raises as `resolve` does."""
    kept = change.preset is None
    asked = Question(
        index=Index(),
        preset=question.preset if kept else change.preset,
        lag_seconds=_else(change.lag_seconds, question.lag_seconds if kept else None),
        min_seconds=_else(change.min_seconds, question.min_seconds if kept else None),
        rule=_else(change.rule, question.rule if kept else None),
        depth=_else(change.depth, question.depth),
        latency_seconds=_else(change.latency_seconds, question.latency_seconds),
        dwell_seconds=_else(change.dwell_seconds, question.dwell_seconds if kept else None) or {},
    )
    as_of = resolve_as_of(change.as_of, now_ms)
    known = question.leave_out_doubtful if isinstance(question.leave_out_doubtful, LeavingOut) else None
    return _leaving_out(
        _resolved(asked.preset, _parameters(asked), question.index, as_of, question.evidence),
        _else(change.leave_out_doubtful, known.reasons if known is not None else None) or (),
        _else(change.doubt_thresholds, known.thresholds if known is not None else None),
    )


def _leaving_out(
    question: ResolvedQuestion, reasons: tuple[Reason, ...], thresholds: Thresholds | None
) -> ResolvedQuestion:
    """The question without the scans that are doubtful for these reasons, each named once and in one order."""
    if not reasons:
        return question
    leaving = LeavingOut(reasons=tuple(sorted(set(reasons))), thresholds=thresholds or Thresholds())
    return msgspec.structs.replace(question, leave_out_doubtful=leaving)


def _resolved(
    preset: str | None, said: "_Said", index: tuple[IndexSubject, ...], as_of: int, evidence: bool
) -> ResolvedQuestion:
    return ResolvedQuestion(
        index=index,
        lag_seconds=said.lag_seconds,
        min_seconds=_to_the_millisecond(said.min_seconds),
        rule=said.rule,
        as_of=as_of,
        depth=said.depth,
        latency_seconds=said.latency_seconds,
        preset=preset,
        dwell_seconds=said.dwell_seconds,
        evidence=evidence,
    )


def resolve_as_of(as_of: int | None, now_ms: int) -> int:
    """The moment asked about, default now (Unix ms). Raises AS_OF_IN_FUTURE as `ProblemError`."""
    if as_of is not None and as_of > now_ms:
        refuse(f"now is {now_ms}", "/as_of", AS_OF_IN_FUTURE)
    return now_ms if as_of is None else as_of


def check_window(from_ms: int, to_ms: int, pointer: str) -> None:
    """Raise WINDOW_REVERSED or WINDOW_TOO_LONG as `ProblemError` unless `[from_ms, to_ms)` is within the limit."""
    if from_ms >= to_ms:
        refuse("", pointer, WINDOW_REVERSED)
    if to_ms - from_ms > WINDOW_DAYS_MAX * DAY_SECONDS * 1000:
        refuse(f"it may last {WINDOW_DAYS_MAX} days", pointer, WINDOW_TOO_LONG)


def refuse(detail: str, pointer: str, kind: Kind = QUESTION_INVALID) -> NoReturn:
    """Raise the problem; `detail` must hold no personal data."""
    raise ProblemError(kind.problem(detail, pointer=pointer))


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters with nothing left open."""

    lag_seconds: int
    min_seconds: int | float
    rule: Rule
    depth: int
    latency_seconds: int
    dwell_seconds: dict[Category, int]


def _parameters(question: Question) -> _Said:
    """What the question says, else its preset, else the defaults; within the limits. Raises as `resolve` does."""
    preset = Parameters()
    if question.preset is not None:
        if question.preset not in PRESETS:
            refuse(f"there are {', '.join(PRESETS)}", "/preset", PRESET_UNKNOWN)
        preset = PRESETS[question.preset].parameters
    said = _Said(
        lag_seconds=_first(question.lag_seconds, preset.lag_seconds, LAG_SECONDS_DEFAULT),
        min_seconds=_first(question.min_seconds, preset.min_seconds, MIN_SECONDS_DEFAULT),
        rule=_first(question.rule, preset.rule, Rule.TOTAL),
        depth=_first(question.depth, preset.depth, DEPTH_DEFAULT),
        latency_seconds=_first(question.latency_seconds, preset.latency_seconds, LATENCY_SECONDS_DEFAULT),
        dwell_seconds=preset.dwell_seconds | question.dwell_seconds,
    )
    _check_range("lag_seconds", said.lag_seconds, 0, LAG_SECONDS_MAX)
    _check_range("latency_seconds", said.latency_seconds, 0, LATENCY_SECONDS_MAX)
    _check_range("min_seconds", said.min_seconds, 0, MIN_SECONDS_MAX)
    if not 1 <= said.depth <= DEPTH_MAX:
        refuse(f"depth goes from 1 to {DEPTH_MAX}", "/depth", DEPTH_EXCEEDED)
    return said


def _else(given: T | None, otherwise: T | None) -> T | None:
    return otherwise if given is None else given


def _first(asked: T | None, preset: T | None, default: T) -> T:
    if asked is not None:
        return asked
    return default if preset is None else preset


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
