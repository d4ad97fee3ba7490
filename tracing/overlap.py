"""Who was with whom: stays at the same place become encounters, encounters become contacts. Pure."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from projections.stays import Stay
from tracing.rule import Rule


class Presence(msgspec.Struct, frozen=True):
    """A stay of an index subject, clipped to their window: `[start, end)` in Unix ms lies within the stay."""

    subject: str
    start: int
    end: int
    stay: Stay


class Encounter(msgspec.Struct, frozen=True):
    """An exposure `[start, end)`, Unix ms, to the index subject at a place, with the two stays that meet there.

    `direct_ms` of it both were there, `lagged_ms` only the air that the index subject left behind. The two follow
    each other without a gap, since a stay is one interval: `end − start` is their sum.
    """

    index: str
    place: str
    start: int
    end: int
    direct_ms: int
    lagged_ms: int
    index_stay: Stay
    stay: Stay


class Contact(msgspec.Struct, frozen=True):
    """A subject who was exposed for `ms` in all: the length of `intervals`, the union of the exposures (Unix ms)."""

    subject: str
    ms: int
    intervals: tuple[tuple[int, int], ...]
    encounters: tuple[Encounter, ...]

    @property
    def first(self) -> int:
        """The earliest start of the exposures, Unix ms."""
        return self.intervals[0][0]

    @property
    def last(self) -> int:
        """The latest end of the exposures, Unix ms."""
        return self.intervals[-1][1]


class Occupancy:
    """Everybody's stays by place and start: who was at a place around a time is found without asking each of them."""

    def __init__(self, stays_by_subject: Mapping[str, Iterable[Stay]]) -> None:
        self._visits: Final[dict[str, list[tuple[int, str, Stay]]]] = {}
        self._longest_ms: Final[dict[str, int]] = {}
        for subject, stays in stays_by_subject.items():
            for stay in stays:
                self._visits.setdefault(stay.place, []).append((stay.start, subject, stay))
        for place, visits in self._visits.items():
            visits.sort(key=_visit_start)
            self._longest_ms[place] = max(stay.end - stay.start for _, _, stay in visits)

    def around(self, place: str, start: int, end: int) -> Iterator[tuple[str, Stay]]:
        """Each subject and stay at the place that touches `[start, end)`."""
        visits = self._visits.get(place, [])
        low = bisect_left(visits, start - self._longest_ms.get(place, 0), key=_visit_start)
        for position in range(low, bisect_left(visits, end, lo=low, key=_visit_start)):
            _, subject, stay = visits[position]
            if stay.end > start:
                yield subject, stay


def presences(subject: str, stays: Iterable[Stay], from_ms: int, to_ms: int) -> list[Presence]:
    """The stays of an index subject that touch `[from_ms, to_ms)`, clipped to it."""
    return [
        Presence(subject, max(stay.start, from_ms), min(stay.end, to_ms), stay)
        for stay in stays
        if max(stay.start, from_ms) < min(stay.end, to_ms)
    ]


def encounter(presence: Presence, stay: Stay, lag_ms: int) -> Encounter | None:
    """How the other's stay meets the index subject's presence; None where it does not, or is elsewhere."""
    start = max(presence.start, stay.start)
    end = min(presence.end + lag_ms, stay.end)
    if start >= end or stay.place != presence.stay.place:
        return None
    direct_ms = max(0, min(presence.end, stay.end) - start)
    return Encounter(presence.subject, stay.place, start, end, direct_ms, end - start - direct_ms, presence.stay, stay)


def contacts(
    index: Iterable[Presence],
    others: Occupancy,
    *,
    lag_ms: int,
    min_ms: int,
    rule: Rule,
    leave_out: Collection[str],
) -> list[Contact]:
    """Everybody in `others`, but for `leave_out`, whose exposure to the index subjects together passes the rule."""
    met: dict[str, list[Encounter]] = {}
    for presence in index:
        for subject, stay in others.around(presence.stay.place, presence.start, presence.end + lag_ms):
            if subject not in leave_out and (one := encounter(presence, stay, lag_ms)) is not None:
                met.setdefault(subject, []).append(one)
    found = (united(subject, encounters) for subject, encounters in met.items())
    return sorted((contact for contact in found if passes(contact, rule, min_ms)), key=contact_order)


def united(subject: str, encounters: Iterable[Encounter]) -> Contact:
    """One subject's encounters (at least one) as a contact: what they share is counted once."""
    ordered = sorted(encounters, key=_encounter_order)
    intervals: list[tuple[int, int]] = []
    for one in ordered:
        if intervals and one.start <= intervals[-1][1]:
            intervals[-1] = (intervals[-1][0], max(intervals[-1][1], one.end))
        else:
            intervals.append((one.start, one.end))
    ms = sum(end - start for start, end in intervals)
    return Contact(subject, ms, tuple(intervals), tuple(ordered))


def contact_order(contact: Contact) -> tuple[int, str]:
    """The order of contacts: longest first, then by subject."""
    return -contact.ms, contact.subject


def passes(contact: Contact, rule: Rule, min_ms: int) -> bool:
    """Whether the rule makes them a contact."""
    if rule is Rule.TOTAL:
        return contact.ms >= min_ms
    return any(one.end - one.start >= min_ms for one in contact.encounters)


def _visit_start(visit: tuple[int, str, Stay]) -> int:
    return visit[0]


def _encounter_order(one: Encounter) -> tuple[int, int, str, str, int, int, int, int]:
    return (
        one.start,
        one.end,
        one.place,
        one.index,
        one.index_stay.start,
        one.index_stay.end,
        one.stay.start,
        one.stay.end,
    )
