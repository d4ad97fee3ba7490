"""Which contacts must come out, from everybody's stays by the book: everybody compared with everybody, in columns."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtests.bench.trace.walk import Stays
from loadtests.bench.trace.world import Country, Ints

MIN_MS: Final = 900_000
"""The service's default for how long a contact must last."""
FINDINGS_KEPT: Final = 5

Window = tuple[int, int]
"""`[from, to)` in Unix ms."""


class Contact(msgspec.Struct, frozen=True):
    """Somebody (32 hex digits) who was exposed at this depth for `ms` in all, from `first` to `last` (Unix ms)."""

    depth: int
    subject: str
    ms: int
    first: int
    last: int


class Exposures(msgspec.Struct, frozen=True):
    """Times at which somebody (`other`) was where a source was, in columns; a person is their index in the province."""

    source: Ints
    other: Ints
    start: Ints
    end: Ints

    def of(self, rows: NDArray[np.bool_]) -> "Exposures":
        """These of them."""
        return Exposures(self.source[rows], self.other[rows], self.start[rows], self.end[rows])


NO_EXPOSURES: Final = Exposures(*(np.empty(0, np.int64) for _ in Exposures.__struct_fields__))


class United(msgspec.Struct, frozen=True):
    """What exposures cover together, by group: its number, the length of the union, and its ends."""

    group: Ints
    ms: Ints
    first: Ints
    last: Ints


class Truth:
    """The contacts of people of one province, by its stays."""

    def __init__(self, country: Country, province: int, stays: Stays) -> None:
        self.country: Final = country
        self.stays: Final = stays.of(np.lexsort((stays.start, stays.place)))
        self._pseudonyms: Final = country.subjects(province)
        self._people: Final = country.people
        self._places: Final = np.searchsorted(self.stays.place, np.arange(country.places + 1))
        self._longest: Final = int((stays.end - stays.start).max())
        self._dwells: Final = country.dwells()
        self._by_person: Final = np.argsort(self.stays.person, kind="stable")
        self._persons: Final = np.searchsorted(self.stays.person[self._by_person], np.arange(country.people + 1))

    def subject(self, person: int) -> str:
        """The pseudonym of the person of this index."""
        pseudonym: bytes = self._pseudonyms[person].tobytes()
        return pseudonym.hex()

    def stays_of(self, person: int) -> Stays:
        """Somebody's stays."""
        return self.stays.of(self._by_person[self._persons[person] : self._persons[person + 1]])

    def touching(self, person: int, window: Window) -> int:
        """How many stays of others touch somebody's presences in a window."""
        starts, ends, places = self._presences(person, window)
        row, which = self._near(starts, ends, places)
        return self._others(person, row[self.stays.end[row] > starts[which]])

    def begun_near(self, person: int, window: Window) -> int:
        """How many stays of others began at the place of somebody's presences in a window, at most the place's dwell
        before they came and before they left: what an index on (place, start) must look at.
        """
        starts, ends, places = self._presences(person, window)
        row, which = self._near(starts, ends, places)
        return self._others(person, row[self.stays.start[row] >= (starts - self._dwells[places])[which]])

    def _others(self, person: int, rows: Ints) -> int:
        return len(np.unique(rows[self.stays.person[rows] != person]))

    def contacts(self, people: Sequence[int], window: Window, depth: int = 1) -> list[Contact]:
        """The contacts of these people in their window, in the order of an answer."""
        sources = dict.fromkeys(people, window)
        known = np.zeros(self._people, bool)
        found: list[Contact] = []
        for level in range(1, depth + 1):
            known[list(sources)] = True
            groups = np.zeros(self._people, np.int64) if level == 1 else np.arange(self._people)
            reached = self._reached(sources, groups, known)
            found += sorted(
                (Contact(level, self.subject(person), ms, first, last) for person, ms, first, last in _tuples(reached)),
                key=lambda contact: (-contact.ms, contact.subject),
            )
            sources = {person: (first, window[1]) for person, _, first, _ in _tuples(reached)}
        return found

    def _reached(self, sources: dict[int, Window], groups: Ints, known: NDArray[np.bool_]) -> United:
        """The contacts of each group of sources taken together, united over the groups. `groups` is by source."""
        met = [NO_EXPOSURES, *(self._exposures(person, window) for person, window in sources.items())]
        every = Exposures(
            *(np.concatenate([getattr(each, name) for each in met]) for name in Exposures.__struct_fields__)
        )
        every = every.of(~known[every.other])
        pair = groups[every.source] * self._people + every.other
        pairs = united(pair, every.start, every.end)
        lasting = pairs.group[pairs.ms >= MIN_MS]
        kept = every.of(np.isin(pair, lasting))
        return united(kept.other, kept.start, kept.end)

    def _exposures(self, person: int, window: Window) -> Exposures:
        starts, ends, places = self._presences(person, window)
        row, which = self._near(starts, ends, places)
        start, end = np.maximum(self.stays.start[row], starts[which]), np.minimum(self.stays.end[row], ends[which])
        met = (start < end) & (self.stays.person[row] != person)
        return Exposures(np.full(int(met.sum()), person), self.stays.person[row[met]], start[met], end[met])

    def _presences(self, person: int, window: Window) -> tuple[Ints, Ints, Ints]:
        """Start, end and place of somebody's stays, clipped to a window."""
        own = self.stays_of(person)
        starts, ends = np.maximum(own.start, window[0]), np.minimum(own.end, window[1])
        present = starts < ends
        return starts[present], ends[present], own.place[present]

    def _near(self, starts: Ints, ends: Ints, places: Ints) -> tuple[Ints, Ints]:
        """The rows of stays that may touch spans at places, and the number of the span that each is for."""
        rows, spans = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for number, (place, start, end) in enumerate(zip(places, starts, ends, strict=True)):
            first, last = self._places[place], self._places[place + 1]
            low, high = first + np.searchsorted(self.stays.start[first:last], (start - self._longest, end))
            rows.append(np.arange(low, high))
            spans.append(np.full(high - low, number))
        return np.concatenate(rows), np.concatenate(spans)


def united(group: Ints, start: Ints, end: Ints) -> United:
    """The union of the spans of each group, times in ms."""
    if not len(group):
        return United(group, group, group, group)
    order = np.lexsort((start, group))
    group, start, end = group[order], start[order], end[order]
    names, firsts, number = np.unique(group, return_index=True, return_inverse=True)
    # Each group on a stretch of time of its own, so that one pass finds how far the spans before had come.
    origin, stretch = int(start.min()), int(end.max() - start.min()) + 1
    starts, ends = start - origin + number * stretch, end - origin + number * stretch
    reached = np.maximum.accumulate(ends)
    before = np.concatenate([[-1], reached[:-1]])
    fresh = np.maximum(ends - np.maximum(starts, before), 0)
    return United(
        group=names,
        ms=np.add.reduceat(fresh, firsts),
        first=start[firsts],
        last=np.maximum.reduceat(end, firsts),
    )


def differences(wanted: Sequence[Contact], found: Sequence[Contact], name: str) -> list[str]:
    """What an answer lacks, has beyond, or says otherwise. Empty where it is right."""
    lacking, strange = set(wanted) - set(found), set(found) - set(wanted)
    texts = []
    if lacking or strange:
        some = ", ".join(map(_shown, (*sorted(lacking, key=_key), *sorted(strange, key=_key))[:FINDINGS_KEPT]))
        texts.append(f"{name}: {len(lacking)} contacts are missing or differ, {len(strange)} are not true: {some}")
    elif len(wanted) != len(found):
        texts.append(f"{name}: {len(found)} contacts instead of {len(wanted)}: some are there twice")
    elif list(wanted) != list(found):
        texts.append(f"{name}: the right contacts in a wrong order")
    return texts


def _tuples(found: United) -> Iterable[tuple[int, int, int, int]]:
    columns = (found.group, found.ms, found.first, found.last)
    return zip(*(column.tolist() for column in columns), strict=True)


def _key(contact: Contact) -> tuple[int, str, int]:
    return contact.depth, contact.subject, contact.ms


def _shown(contact: Contact) -> str:
    return f"(depth {contact.depth}, {contact.ms} ms, {contact.first} to {contact.last})"
