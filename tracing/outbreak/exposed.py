"""The question of where several F0 may have been infected, and everybody's window in which they may have been. Pure."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from events.cases import CaseId
from events.devices import Pseudonym
from events.problems import SUBJECT_UNKNOWN
from events.scans import AtMs
from tracing.question import DAY_SECONDS, LAG_SECONDS_MAX, MIN_SECONDS_DEFAULT, CaseAsOf, check_window, refuse

INCUBATION_DAYS_MAX: Final = 14
"""WHO and CDC: 2 to 14 days; Lauer et al., Annals of Internal Medicine 172:577 (2020): 97.5 % within 11.5 days."""
INFECTIOUS_BEFORE_ONSET_DAYS: Final = 2
"""He et al., Nature Medicine 26:672 (2020): people infect others from about two days before their symptoms on."""
LOOKBACK_DAYS_DEFAULT: Final = INCUBATION_DAYS_MAX - INFECTIOUS_BEFORE_ONSET_DAYS
"""So a case was infected within the 12 days before its infectious window: before that nobody is ill this late, and
whoever infects others has been infected."""
LOOKBACK_DAYS_MAX: Final = 35
EXPOSED_MAX: Final = 200
ITEMS_MAX: Final = 500
ITEMS_DEFAULT: Final = 50

Seconds = Annotated[int, Meta(ge=0, le=LAG_SECONDS_MAX)]


class Exposed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An F0 by `case`, or anybody by `subject`, with the window `[from, to)` (Unix ms) in which they may have been
    infected. It defaults to the `lookback_days` before the case's infectious window."""

    case: CaseId | None = None
    subject: Pseudonym | None = None
    from_: AtMs | None = msgspec.field(default=None, name="from")
    to: AtMs | None = None


class SourcesQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where, and by whom, these F0 may have been infected. `as_of` is Unix ms, by default now.

    `cases_min`: how many F0 a place or a person must explain to be named. `min_seconds`: how long a person must have
    been with each of them, all encounters together. `lag_seconds`: how long the air that a person left behind counts.
    """

    exposed: Annotated[tuple[Exposed, ...], Meta(min_length=2, max_length=EXPOSED_MAX)]
    lookback_days: Annotated[int, Meta(ge=1, le=LOOKBACK_DAYS_MAX)] = LOOKBACK_DAYS_DEFAULT
    cases_min: Annotated[int, Meta(ge=2, le=EXPOSED_MAX)] = 2
    min_seconds: Annotated[int, Meta(ge=1, le=LOOKBACK_DAYS_MAX * DAY_SECONDS)] = MIN_SECONDS_DEFAULT
    lag_seconds: Seconds = 0
    places_max: Annotated[int, Meta(ge=0, le=ITEMS_MAX)] = ITEMS_DEFAULT
    people_max: Annotated[int, Meta(ge=0, le=ITEMS_MAX)] = ITEMS_DEFAULT
    as_of: AtMs | None = None


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """One F0 with the window `[from, to)` (Unix ms) in which they may have been infected, and the cases naming them."""

    subject: str
    cases: tuple[str, ...]
    from_: int
    to: int


def lookback_from(infectious_from: int, lookback_days: int) -> int:
    """When (Unix ms) somebody may have been infected at the earliest who infects others from then on."""
    return max(infectious_from - lookback_days * DAY_SECONDS * 1000, 0)


def exposures_of(question: SourcesQuestion, case_as_of: CaseAsOf, as_of: int) -> tuple[Exposure, ...]:
    """Who is asked about, each once, by subject; of several windows from the first beginning to the last end.

    Raises `ProblemError`: SUBJECT_UNKNOWN for a case that nobody confirmed, else QUESTION_INVALID.
    """
    found: dict[str, Exposure] = {}
    for number, one in enumerate(question.exposed):
        exposure = _exposure(one, f"/exposed/{number}", question.lookback_days, case_as_of, as_of)
        known = found.get(exposure.subject, exposure)
        found[exposure.subject] = Exposure(
            subject=exposure.subject,
            cases=tuple(sorted({*known.cases, *exposure.cases})),
            from_=min(known.from_, exposure.from_),
            to=max(known.to, exposure.to),
        )
    if len(found) < question.cases_min:
        refuse("fewer people are named than must have something in common", "/exposed")
    return tuple(found[subject] for subject in sorted(found))


def _exposure(one: Exposed, pointer: str, lookback_days: int, case_as_of: CaseAsOf, as_of: int) -> Exposure:
    if (one.case is None) == (one.subject is None):
        refuse("name a case or a subject, one of the two", pointer)
    if one.case is not None:
        case = case_as_of(one.case, as_of)
        if case is None:
            refuse("no such case was confirmed", f"{pointer}/case", SUBJECT_UNKNOWN)
        to = case.infectious_from if one.to is None else one.to
        from_ms = lookback_from(to, lookback_days) if one.from_ is None else one.from_
        check_window(from_ms, to, pointer)
        return Exposure(subject=case.subject, cases=(case.id,), from_=from_ms, to=to)
    if one.subject is None or one.from_ is None or one.to is None:
        refuse("a subject without a case needs a window", f"{pointer}/from" if one.from_ is None else f"{pointer}/to")
    check_window(one.from_, one.to, pointer)
    return Exposure(subject=one.subject, cases=(), from_=one.from_, to=one.to)
