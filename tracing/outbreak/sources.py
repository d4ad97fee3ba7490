"""Where several F0 may have been infected: the question, and its answer with the stays and scans that prove it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from events import codec
from events.cases import Case
from projections.stays import Stay
from storage.clickhouse import Store
from tracing.answer import AnsweredIndex, CutOff
from tracing.moment import Moment, Moments
from tracing.outbreak.backward import (
    GAPS_SECONDS,
    RankedPerson,
    RankedSpan,
    SharedSpan,
    best_people,
    best_spans,
    met_while_infectious,
    people_met,
    shared_spans,
)
from tracing.outbreak.chance import Chance, chance
from tracing.outbreak.exposed import Exposure, SourcesQuestion, exposures_of
from tracing.outbreak.places import Premises, premises_of
from tracing.outbreak.populace import Hours, PeopleAround, PeopleScanned, Population, hours_of
from tracing.overlap import Contact, Presence, presences
from tracing.reading import Reading
from tracing.registry import Registry

SPANS_JUDGED_MAX: Final = 1_000
"""Of more shared spans, those that explain most F0 are judged; the answer says how many were left out."""
PEOPLE_READ_MAX: Final = 20_000
"""Of more people who were scanned around several F0, those are looked at who were around most, or infectious."""
PEOPLE_JUDGED_MAX: Final = 200
"""Of more people who met several F0, those who met most are judged."""
ID_BYTES: Final = 16


class SourcesParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Every parameter that decided the answer. `gaps_seconds`: see `SourcePlace`."""

    lookback_days: int
    cases_min: int
    min_seconds: int
    lag_seconds: int
    places_max: int
    people_max: int
    gaps_seconds: tuple[int, ...]


class SourcePlace(msgspec.Struct, frozen=True, kw_only=True):
    """F0 who were at a place, or inside it, during `[from, to)` (Unix ms): it may explain their infection.

    `seconds` are theirs there, together. Visits that follow each other within one of `gaps_seconds` make one span.
    `chance.around` counts the people who were scanned there in the hours of the span, and up to a dwell before.
    `visits` hold the stays and scans that prove it, each clipped to the F0's own window.
    """

    place: str
    within: tuple[str, ...]
    from_: int = msgspec.field(name="from")
    to: int
    seconds: float
    chance: Chance
    subjects: tuple[str, ...]
    visits: tuple[Presence, ...]


class SourcePerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who met several of the F0 while those may have been infected.

    `cases`: the person's own, if any; `met_while_infectious` counts the F0 met within the infectious window of one of
    them. `chance.around` counts the people who were scanned where this person was, in the hours of their stays.
    `meetings`: for each F0 how long they were together, and every encounter, of which this person is the `index`.
    """

    subject: str
    cases: tuple[str, ...]
    met_while_infectious: int
    seconds: float
    chance: Chance
    meetings: tuple[Contact, ...]


class SourcesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Places and people that could explain several of the F0, the most surprising first.

    `exposed`: the F0 with their windows and how many stays touch each, else their nearest scans. `population`: people
    scanned anywhere within the windows. `spans_compared` and `people_compared` say among how many the best were sought:
    a chance of 1 in 1,000 is no surprise among 1,000. `spans_left_out` and `people_left_out` were not judged, because
    they are too many.
    `fingerprint`: SHA-256, in hex, of all but `id` and `asked_at`.
    """

    id: str
    asked_at: int
    fingerprint: str
    parameters: SourcesParameters
    cut_off: CutOff
    exposed: tuple[AnsweredIndex, ...]
    exposed_without_scans: tuple[str, ...]
    population: int
    spans_compared: int
    spans_left_out: int
    people_compared: int
    people_left_out: int
    places: tuple[SourcePlace, ...]
    people: tuple[SourcePerson, ...]


class Sources:
    """Answers the question from the read models. Thread-safe: what one question has read is its own."""

    def __init__(self, *, store: Store, registry: Registry, moments: Moments, random: Callable[[int], bytes]) -> None:
        self._store: Final = store
        self._registry: Final = registry
        self._moments: Final = moments
        self._random: Final = random

    def ask(self, question: SourcesQuestion) -> SourcesAnswer:
        """The answer, from everything received by `as_of` and nothing later.

        Raises `ProblemError` (QUESTION_INVALID, SUBJECT_UNKNOWN, BEHIND), `StoreDown` and `StreamDown`.
        """
        self._moments.know_registry()
        exposures_of(question, self._registry.case_as_of, self._moments.now())  # a bad question is not kept waiting
        settled = self._moments.settled(question.as_of)
        exposures = exposures_of(question, self._registry.case_as_of, settled.as_of)
        windows = [(each.from_, each.to) for each in exposures]
        moment = settled.reaching(self._registry.kept.kept_from, windows, "/exposed")
        answer = _Search(self._store, self._registry, question, exposures, moment).answer()
        if settled.reaching(self._registry.kept.kept_from, windows, "/exposed") != moment:
            return self.ask(question)  # what was read may have gone
        return msgspec.structs.replace(
            answer,
            id=self._random(ID_BYTES).hex(),
            asked_at=moment.asked_at,
            fingerprint=hashlib.sha256(codec.to_json(answer)).hexdigest(),
        )


class _Search:
    """One question on its way to an answer."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        question: SourcesQuestion,
        exposures: Sequence[Exposure],
        moment: Moment,
    ) -> None:
        """Reads where the exposed were, and how many people there were at all."""
        self._store: Final = store
        self._question: Final = question
        self._exposures: Final = exposures
        self._moment: Final = moment
        self._kept_from: Final = registry.kept.kept_from
        self._cases: Final = _cases_by_subject(registry, moment.as_of)
        until = max(each.to for each in exposures)
        self._reading: Final = Reading(store, registry, as_of=moment.as_of, until=until)
        self._reading.load(each.subject for each in exposures)
        self._present: Final = {
            each.subject: presences(each.subject, self._reading.stays[each.subject], each.from_, each.to)
            for each in exposures
        }
        stays = (one.stay for each in self._present.values() for one in each)
        self._premises: Final = premises_of(registry, moment.as_of, stays)
        self._population: Final = Population(
            from_=min(each.from_ for each in exposures), to=until, as_of=moment.as_of, kept_from=self._kept_from
        ).count(store)

    def answer(self) -> SourcesAnswer:
        """All but what tells two askings apart."""
        spans, ranked = self._spans() if self._question.places_max else (0, [])
        met, people = self._people() if self._question.people_max else (0, [])
        return SourcesAnswer(
            id="",
            asked_at=0,
            fingerprint="",
            parameters=self._parameters(),
            cut_off=CutOff.of(self._moment),
            exposed=self._answered(),
            exposed_without_scans=tuple(sorted(self._present.keys() & self._reading.without_scans)),
            population=self._population,
            spans_compared=len(ranked),
            spans_left_out=spans - len(ranked),
            people_compared=len(people),
            people_left_out=met - len(people),
            places=tuple(
                _place(each, self._premises) for each in best_spans(ranked, self._premises)[: self._question.places_max]
            ),
            people=tuple(
                _person(each) for each in best_people(people, self._question.cases_min)[: self._question.people_max]
            ),
        )

    def _parameters(self) -> SourcesParameters:
        question = self._question
        return SourcesParameters(
            lookback_days=question.lookback_days,
            cases_min=question.cases_min,
            min_seconds=question.min_seconds,
            lag_seconds=question.lag_seconds,
            places_max=question.places_max,
            people_max=question.people_max,
            gaps_seconds=GAPS_SECONDS,
        )

    def _answered(self) -> tuple[AnsweredIndex, ...]:
        absent = sorted(subject for subject, visits in self._present.items() if not visits)
        scanned = self._reading.scanned_at(absent) if absent else {}
        return tuple(
            AnsweredIndex(
                subject=each.subject,
                cases=each.cases,
                from_=each.from_,
                to=each.to,
                stays=len(self._present[each.subject]),
                before=max((at for at in scanned.get(each.subject, ()) if at < each.from_), default=None),
                after=min((at for at in scanned.get(each.subject, ()) if at >= each.to), default=None),
            )
            for each in self._exposures
        )

    def _spans(self) -> tuple[int, list[RankedSpan]]:
        """How many spans are shared, and those that explain most, each with its chance."""
        visits = (one for each in self._present.values() for one in each)
        spans = shared_spans(visits, self._premises, self._question.cases_min)
        judged = sorted(spans, key=_most_explained)[:SPANS_JUDGED_MAX]
        around = self._scanned([self._hours_of_span(span) for span in judged])
        return len(spans), [
            RankedSpan(span, self._chance(len(span.subjects), self._eligible(span), people))
            for span, people in zip(judged, around, strict=True)
        ]

    def _hours_of_span(self, span: SharedSpan) -> list[Hours]:
        inside = self._premises.inside(span.place)
        return [hours_of(place.number, span.start - place.dwell_ms, span.end) for place in inside]

    def _eligible(self, span: SharedSpan) -> int:
        """How many of the exposed could have been there: they were seen at all, and the span is within their window."""
        return sum(
            bool(self._present[each.subject]) and each.from_ < span.end and span.start < each.to
            for each in self._exposures
        )

    def _people(self) -> tuple[int, list[RankedPerson]]:
        """How many people met several of the exposed, and those who met most, each with their chance."""
        met, unread = self._met()
        chosen = sorted(met, key=lambda other: (-len(met[other]), -sum(each.ms for each in met[other]), other))
        judged = chosen[:PEOPLE_JUDGED_MAX]
        around = self._scanned([self._hours_of_stays(other) for other in judged])
        return len(met) + unread, [
            self._person(other, met[other], people) for other, people in zip(judged, around, strict=True)
        ]

    def _met(self) -> tuple[dict[str, tuple[Contact, ...]], int]:
        """Whom the exposed met, and how many were not looked at of those whom they may have met.

        Only those are read who were scanned around enough of the exposed: nobody else can have met so many.
        """
        least, subjects = self._question.cases_min, sorted(self._present)
        around, count = PeopleAround(
            groups=[[hours for one in self._present[each] for hours in self._hours_around(one)] for each in subjects],
            least=least,
            limit=PEOPLE_READ_MAX,
            as_of=self._moment.as_of,
            kept_from=self._kept_from,
        ).read(self._store)
        # An F0 was scanned where they were themselves, which is no meeting.
        several = {each.subject for each in around if each.groups - (each.subject in self._present) >= least}
        if count > len(around):
            several |= self._infectious()
        self._reading.load(several)
        met = people_met(
            self._present,
            {other: self._reading.stays[other] for other in sorted(several)},
            lag_ms=self._question.lag_seconds * 1000,
            min_ms=self._question.min_seconds * 1000,
            least=least,
        )
        return met, count - len(around)

    def _infectious(self) -> set[str]:
        """Those whose own case says that they infected others while somebody here may have been infected."""
        return {
            subject
            for subject, cases in self._cases.items()
            for case in cases
            if any(case.infectious_from < each.to and each.from_ < case.infectious_to for each in self._exposures)
        }

    def _hours_around(self, presence: Presence) -> Sequence[Hours]:
        """When somebody must have been scanned there who met the presence: see `Surroundings`."""
        place = self._premises.tree.by_id.get(presence.stay.place)
        if place is None:
            return ()
        before = presence.start - self._question.lag_seconds * 1000 - place.dwell_ms
        return (hours_of(place.number, before, presence.end + place.dwell_ms),)

    def _person(self, subject: str, meetings: tuple[Contact, ...], around: int) -> RankedPerson:
        cases = self._cases.get(subject, [])
        eligible = sum(1 for each, visits in self._present.items() if visits and each != subject)
        return RankedPerson(
            subject=subject,
            meetings=meetings,
            cases=tuple(case.id for case in cases),
            met_while_infectious=met_while_infectious(meetings, cases),
            chance=self._chance(len(meetings), eligible, around),
        )

    def _hours_of_stays(self, subject: str) -> list[Hours]:
        places = self._premises.tree.by_id
        return [
            hours_of(place.number, stay.start - place.dwell_ms, stay.end)
            for stay in self._reading.stays[subject]
            if (place := places.get(stay.place)) is not None and self._may_infect(stay)
        ]

    def _may_infect(self, stay: Stay) -> bool:
        lag_ms = self._question.lag_seconds * 1000
        return any(stay.start < each.to and each.from_ < stay.end + lag_ms for each in self._exposures)

    def _scanned(self, groups: Sequence[Sequence[Hours]]) -> list[int]:
        return PeopleScanned(groups=groups, as_of=self._moment.as_of, kept_from=self._kept_from).read(self._store)

    def _chance(self, explained: int, eligible: int, around: int) -> Chance:
        return chance(explained=explained, eligible=eligible, around=around, population=self._population)


def _cases_by_subject(registry: Registry, as_of: int) -> Mapping[str, list[Case]]:
    """Every case as known at the moment (Unix ms), by subject."""
    found: dict[str, list[Case]] = {}
    for latest in registry.cases():
        case = registry.case_as_of(latest.id, as_of)
        if case is not None:
            found.setdefault(case.subject, []).append(case)
    return found


def _most_explained(span: SharedSpan) -> tuple[int, int, str, int]:
    return -len(span.subjects), span.end - span.start, span.place, span.start


def _place(ranked: RankedSpan, premises: Premises) -> SourcePlace:
    span = ranked.span
    return SourcePlace(
        place=span.place,
        within=premises.around(span.place)[1:],
        from_=span.start,
        to=span.end,
        seconds=span.ms / 1000,
        chance=ranked.chance,
        subjects=tuple(sorted(span.subjects)),
        visits=span.presences,
    )


def _person(ranked: RankedPerson) -> SourcePerson:
    return SourcePerson(
        subject=ranked.subject,
        cases=ranked.cases,
        met_while_infectious=ranked.met_while_infectious,
        seconds=ranked.ms / 1000,
        chance=ranked.chance,
        meetings=ranked.meetings,
    )
