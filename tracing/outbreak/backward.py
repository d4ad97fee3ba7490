"""Backward in time: which places and which people could explain several F0. Pure.

A place explains an F0 who was there, or in a place inside it, while they may have been infected; a person, one whom
they met then. How surprising that is decides the order (`chance`), so that a bus shared by three comes before a mall
shared by five. Sources: A. Endo et al., "Implication of backward contact tracing in the presence of overdispersed
transmission in COVID-19 outbreaks", Wellcome Open Research 5:239 (2020); W. J. Bradshaw et al., "Bidirectional contact
tracing could dramatically improve COVID-19 control", Nature Communications 12:232 (2021).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from events.cases import Case
from projections.stays import Stay
from tracing.outbreak.chance import Chance
from tracing.outbreak.places import Premises, by_place
from tracing.overlap import Contact, Encounter, Occupancy, Presence, encounter, united

GAPS_SECONDS: Final = (0, 3_600, 86_400, 259_200)
"""Visits of F0 that lie at most so far apart are taken for one span of time; each of these is tried."""


class SharedSpan(msgspec.Struct, frozen=True):
    """F0 who were at a place, or inside it, during `[start, end)` (Unix ms), with the presences that prove it."""

    place: str
    start: int
    end: int
    presences: tuple[Presence, ...]

    @property
    def subjects(self) -> frozenset[str]:
        """Who they are."""
        return frozenset(presence.subject for presence in self.presences)

    @property
    def ms(self) -> int:
        """The presences' lengths together."""
        return sum(presence.end - presence.start for presence in self.presences)


class RankedSpan(msgspec.Struct, frozen=True):
    """A shared span and how surprising it is."""

    span: SharedSpan
    chance: Chance


class RankedPerson(msgspec.Struct, frozen=True):
    """Somebody who met F0, and how surprising it is.

    `meetings`: a contact for each F0 met, whose encounters have this person as index. `cases` are the person's own, and
    `met_while_infectious` counts the F0 whom they met within the infectious window of one of them.
    """

    subject: str
    meetings: tuple[Contact, ...]
    cases: tuple[str, ...]
    met_while_infectious: int
    chance: Chance

    @property
    def ms(self) -> int:
        """The meetings' lengths together."""
        return sum(meeting.ms for meeting in self.meetings)


def shared_spans(presences: Iterable[Presence], premises: Premises, least: int) -> list[SharedSpan]:
    """Every span of time in which at least `least` F0 were at a place, by place and start.

    At each place, presences that follow each other within a gap make one span; every gap of `GAPS_SECONDS` is tried,
    and equal spans are kept once.
    """
    found: dict[tuple[str, int, int], SharedSpan] = {}
    for place, visits in by_place(presences, premises).items():
        if len({visit.subject for visit in visits}) < least:
            continue
        for gap in GAPS_SECONDS:
            for run in _runs(visits, gap * 1000):
                span = SharedSpan(place, run[0].start, max(visit.end for visit in run), tuple(run))
                if len(span.subjects) >= least:
                    found[(place, span.start, span.end)] = span
    return [found[key] for key in sorted(found)]


def best_spans(ranked: Iterable[RankedSpan], premises: Premises) -> list[RankedSpan]:
    """The most surprising first, without those that say nothing new.

    A span is left out where a better one explains the same F0 or more, at the same place, around it or inside it, and
    at the same time.
    """
    kept: list[RankedSpan] = []
    for one in sorted(ranked, key=_span_order):
        if not any(_says_as_much(better.span, one.span, premises) for better in kept):
            kept.append(one)
    return kept


def people_met(
    exposed: Mapping[str, Sequence[Presence]],
    others: Mapping[str, Sequence[Stay]],
    *,
    lag_ms: int,
    min_ms: int,
    least: int,
) -> dict[str, tuple[Contact, ...]]:
    """Who was with at least `least` of the exposed, each for `min_ms` or more together.

    `exposed`: each F0's presences while they may have been infected. The F0 themselves may be among `others`: one may
    have infected the rest. The lag is the air that the other left behind, so it runs from the other's stay to the F0's.
    A contact's subject is the F0 who was met; the index of its encounters, the other.
    """
    occupancy = Occupancy(others)
    met: dict[str, dict[str, list[Encounter]]] = {}
    for subject, presences in exposed.items():
        for presence in presences:
            for other, stay in occupancy.around(presence.stay.place, presence.start - lag_ms, presence.end):
                if other != subject and (one := _exposure(other, stay, presence, lag_ms)) is not None:
                    met.setdefault(other, {}).setdefault(subject, []).append(one)
    found: dict[str, tuple[Contact, ...]] = {}
    for other, encounters in sorted(met.items()):
        meetings = [united(subject, encounters[subject]) for subject in sorted(encounters)]
        long = tuple(meeting for meeting in meetings if meeting.ms >= min_ms)
        if len(long) >= least:
            found[other] = long
    return found


def met_while_infectious(meetings: Iterable[Contact], cases: Iterable[Case]) -> int:
    """How many of the meetings have an encounter within the infectious window of one of the other's own cases."""
    windows = [(case.infectious_from, case.infectious_to) for case in cases]
    return sum(
        any(one.start < to and one.end > from_ for one in meeting.encounters for from_, to in windows)
        for meeting in meetings
    )


def best_people(ranked: Iterable[RankedPerson], least: int) -> list[RankedPerson]:
    """Those first who were infectious, as their own case says, when they met at least `least` F0; then by surprise."""

    def order(one: RankedPerson) -> tuple[int, float, int, int, str]:
        infectious = one.met_while_infectious if one.met_while_infectious >= least else 0
        return -infectious, one.chance.log10_chance, -one.chance.explained, -one.ms, one.subject

    return sorted(ranked, key=order)


def _runs(visits: Sequence[Presence], gap_ms: int) -> list[list[Presence]]:
    """Visits by start, cut where nobody was there for longer than the gap."""
    runs: list[list[Presence]] = []
    upto = 0
    for visit in visits:
        if runs and visit.start <= upto + gap_ms:
            runs[-1].append(visit)
            upto = max(upto, visit.end)
        else:
            runs.append([visit])
            upto = visit.end
    return runs


def _exposure(other: str, stay: Stay, presence: Presence, lag_ms: int) -> Encounter | None:
    """How the F0's presence meets the other's stay; the encounter names the F0's stay whole."""
    clipped = msgspec.structs.replace(presence.stay, start=presence.start, end=presence.end)
    one = encounter(Presence(other, stay.start, stay.end, stay), clipped, lag_ms)
    return msgspec.structs.replace(one, stay=presence.stay) if one is not None else None


def _says_as_much(better: SharedSpan, span: SharedSpan, premises: Premises) -> bool:
    return (
        span.start < better.end
        and better.start < span.end
        and span.subjects <= better.subjects
        and premises.related(span.place, better.place)
    )


def _span_order(one: RankedSpan) -> tuple[float, int, int, str, int]:
    span = one.span
    return one.chance.log10_chance, -one.chance.explained, span.end - span.start, span.place, span.start
