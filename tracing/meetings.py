"""Who was with whom, for many at once, as columns; the same contacts as `tracing.overlap`, which judges it. Pure."""

import functools
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from projections.places_together import Bools, Ints
from projections.walk_together import offsets
from tracing.rule import Rule
from tracing.visits import NOBODY, Subjects, Visits, among, distinct, numbered

START_BITS: Final = 42
"""Instants from the earliest one on, in ms, fit into so many bits: 139 years."""
KEY_BITS: Final = 63
PAIRS_A_STEP: Final = 2_000_000
"""So many stays at the same place are compared at a time, which bounds memory where a place is thronged."""


class Sources(NamedTuple):
    """Whose contacts are sought, each in a window `[from_ms, to_ms)` (Unix ms); those of one `group` together."""

    group: Ints
    subject: Subjects
    from_ms: Ints
    to_ms: Ints


class Present(NamedTuple):
    """Stays of sources, clipped to their windows: `[start, end)` lies within stay `visit` of those given.

    `source` is which of the sources it is of.
    """

    source: Ints
    group: Ints
    subject: Subjects
    place: Ints
    start: Ints
    end: Ints
    visit: Ints

    def take(self, which: "Ints | Bools") -> "Present":
        """These of them, in this order."""
        return Present(*(column[which] for column in self))


class Pairs(NamedTuple):
    """Exposures `[start, end)` (Unix ms): of whoever made stay `visit` to the source of `present`."""

    present: Ints
    visit: Ints
    start: Ints
    end: Ints

    def take(self, which: "Ints | Bools") -> "Pairs":
        """These of them, in this order."""
        return Pairs(*(column[which] for column in self))


NO_PAIRS: Final = Pairs(*(np.empty(0, dtype=np.int64) for _ in range(4)))


class Met(NamedTuple):
    """Contacts, longest first, then by subject. `ms` is the length of the union of their exposures, `start` and `end`
    its ends (Unix ms), `times` how many they are. The exposures of contact `n` are `pairs` from `first[n]` to
    `first[n + 1]`, where they were asked for.
    """

    subject: Subjects
    ms: Ints
    start: Ints
    end: Ints
    times: Ints
    first: Ints
    pairs: Pairs


def present(sources: Sources, visits: Visits) -> Present:
    """Where the sources were in their windows."""
    people, who = numbered(visits.subject)
    order = np.argsort(who, kind="stable")
    begins = offsets(np.bincount(who, minlength=len(people)))
    known = np.flatnonzero(among(sources.subject, people))
    person = np.searchsorted(people, sources.subject[known])
    source, at = _expanded(begins[person], begins[person + 1])
    source, visit = known[source], order[at]
    start = np.maximum(visits.start[visit], sources.from_ms[source])
    end = np.minimum(visits.end[visit], sources.to_ms[source])
    found = Present(source, sources.group[source], sources.subject[source], visits.place[visit], start, end, visit)
    return found.take(start < end)


def pairs(index: Present, visits: Visits, lag_ms: int) -> Pairs:
    """Every exposure of a stay to a source, those of the sources' own stays among them."""
    places = distinct(index.place)
    rows, place = _at(places, visits)
    if not len(rows):
        return NO_PAIRS
    start, end = visits.start[rows], visits.end[rows]
    longest = np.zeros(len(places), dtype=np.int64)
    np.maximum.at(longest, place, end - start)
    earliest, latest = int(start.min()), int(start.max())
    keys = (place << START_BITS) + (start - earliest)
    order = np.argsort(keys, kind="stable")
    keys, rows, start, end = keys[order], rows[order], start[order], end[order]
    index_place = np.searchsorted(places, index.place)

    def first_from(ms: Ints) -> Ints:
        return np.searchsorted(keys, (index_place << START_BITS) + np.clip(ms - earliest, 0, latest - earliest + 1))

    low, high = first_from(index.start - longest[index_place]), first_from(index.end + lag_ms)
    found: list[Pairs] = []
    for part in _steps(high - low):
        who, row = _expanded(low[part], high[part])
        who += part.start
        begin = np.maximum(index.start[who], start[row])
        finish = np.minimum(index.end[who] + lag_ms, end[row])
        meet = begin < finish
        found.append(Pairs(who[meet], rows[row[meet]], begin[meet], finish[meet]))
    return Pairs(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def contacts(found: Pairs, index: Present, visits: Visits, leave_out: Subjects, *, min_ms: int, rule: Rule) -> Met:
    """Everybody whose exposures to the sources of some group pass the rule, with all those exposures, united.

    Whoever is in `leave_out` (in order) is no contact. The pairs of a contact are ordered by start alone.
    """
    met = np.zeros(len(visits.subject), dtype=np.bool_)
    met[found.visit] = True
    people, numbers = numbered(visits.subject[met])
    who = numbers[(np.cumsum(met) - 1)[found.visit]]
    sought = ~among(people, leave_out)[who]
    found, who = found.take(sought), who[sought]
    group = index.group[found.present]
    groups = int(group.max(initial=0)) + 1
    order = _by_start(who * groups + group, found.start)
    found, who, group = found.take(order), who[order], group[order]
    passing = _passing(found, who * groups + group, min_ms, rule)
    found, who = found.take(passing), who[passing]
    if groups > 1:
        order = _by_start(who, found.start)
        found, who = found.take(order), who[order]
    begins = _begins(who)
    ms, end = _united(found.start, found.end, who, begins)
    first = np.append(begins, len(who))
    ranked = np.lexsort((who[begins], -ms))
    times = np.diff(first)[ranked]
    starts = offsets(times)
    rows = np.repeat(first[:-1][ranked] - starts[:-1], times) + np.arange(starts[-1])
    subject, start = people[who[begins[ranked]]], found.start[begins[ranked]]
    return Met(subject, ms[ranked], start, end[ranked], times, starts, found.take(rows))


def contacts_of_all(index: Present, visits: Visits, lag_ms: int, leave_out: Subjects, *, min_ms: int) -> Met:
    """Everybody whose exposures to the sources last `min_ms` altogether, as `contacts` of one group, without exposures.

    To all sources together somebody is exposed while any of them is there. So where thousands were at the same places,
    their times are united first, and few are left to compare with.
    """
    places = distinct(index.place)
    rows, place = _at(places, visits)
    if not len(rows):
        return Met(NOBODY, *(NO_PAIRS.start,) * 4, np.zeros(1, dtype=np.int64), NO_PAIRS)
    times = _Times(np.searchsorted(places, index.place), index.start, index.end + lag_ms)
    low, high = times.united(place, visits.start[rows], visits.end[rows])
    near = low < high
    low, high, rows, place = low[near], high[near], rows[near], place[near]
    people, who = numbered(visits.subject[rows])
    sought = ~among(people, leave_out)[who]
    low, high, rows, place, who = low[sought], high[sought], rows[sought], place[sought], who[sought]
    visit, during = _expanded(low, high)
    start = np.maximum(times.start[during], visits.start[rows[visit]])
    end = np.minimum(times.end[during], visits.end[rows[visit]])
    each = who[visit]
    order = _by_start(each, start)
    each, start, end = each[order], start[order], end[order]
    begins = _begins(each)
    ms, last = _united(start, end, each, begins)
    passing = np.flatnonzero(ms >= min_ms)
    ranked = passing[np.lexsort((each[begins[passing]], -ms[passing]))]
    chosen = each[begins[ranked]]
    counted = among(who, np.sort(chosen))
    counts = times.counts(place[counted], visits.start[rows[counted]], visits.end[rows[counted]])
    met = np.bincount(who[counted], weights=counts, minlength=len(people)).astype(np.int64)[chosen]
    none = np.zeros(len(chosen) + 1, dtype=np.int64)
    return Met(people[chosen], ms[ranked], start[begins[ranked]], last[ranked], met, none, NO_PAIRS)


class Near:
    """Tells which stays touch a time at which a source, or the air they left, was there: all that can meet one."""

    def __init__(self, index: Present, lag_ms: int) -> None:
        self._index: Final = index
        self._lag_ms: Final = lag_ms

    def __call__(self, visits: Visits) -> Bools:
        """For each stay; there must be sources."""
        rows, place = _at(self._places, visits)
        low, high = self._times.united(place, visits.start[rows], visits.end[rows])
        near = np.zeros(len(visits.start), dtype=np.bool_)
        near[rows[low < high]] = True
        return near

    @functools.cached_property
    def _places(self) -> Ints:
        return distinct(self._index.place)

    @functools.cached_property
    def _times(self) -> "_Times":
        place = np.searchsorted(self._places, self._index.place)
        return _Times(place, self._index.start, self._index.end + self._lag_ms)


def intervals(met: Met) -> tuple[Ints, Ints, Ints]:
    """The union of each contact's exposures: starts and ends, and where those of each contact begin."""
    contact = np.repeat(np.arange(len(met.subject)), np.diff(met.first))
    if not len(contact):
        return contact, contact, met.first
    reach = _reach(met.pairs.start, met.pairs.end, contact)
    apart = np.ones(len(contact), dtype=np.bool_)
    apart[1:] = (contact[1:] != contact[:-1]) | (met.pairs.start[1:] > reach[:-1])
    begins = np.flatnonzero(apart)
    ends = np.append(begins[1:], len(contact)) - 1
    return met.pairs.start[begins], reach[ends], offsets(np.bincount(contact[begins], minlength=len(met.subject)))


def in_order(met: Met, index: Present, index_visits: Visits, others: Visits, place_rank: Ints) -> Met:
    """The same, with each contact's exposures in the order in which an answer tells of them.

    `place_rank` ranks the place of each pair by its id.
    """
    found = met.pairs
    contact = np.repeat(np.arange(len(met.subject)), np.diff(met.first))
    own, theirs = index.visit[found.present], found.visit
    keys = (
        others.entry[theirs],
        index_visits.entry[own],
        others.end[theirs],
        others.start[theirs],
        index_visits.end[own],
        index_visits.start[own],
        index.subject[found.present],
        place_rank,
        found.end,
        found.start,
        contact,
    )
    return met._replace(pairs=found.take(np.lexsort(keys)))


class _Times:
    """When any source was at a place, by the place's number in a list: disjoint times `[start, end)`, in order."""

    def __init__(self, place: Ints, start: Ints, end: Ints) -> None:
        """Where and when (Unix ms) the sources were, once at least."""
        self._earliest: Final = int(start.min())
        self._span: Final = int(end.max()) - self._earliest + 1
        self._starts: Final = np.sort(self._key(place, start))
        self._ends: Final = np.sort(self._key(place, end))
        order = _by_start(place, start)
        place, start, end = place[order], start[order], end[order]
        reach = _reach(start, end, place)
        apart = np.ones(len(place), dtype=np.bool_)
        apart[1:] = (place[1:] != place[:-1]) | (start[1:] > reach[:-1])
        begins = np.flatnonzero(apart)
        self.start: Final = start[begins]
        self.end: Final = reach[np.append(begins[1:], len(place)) - 1]
        self._united_starts: Final = self._key(place[begins], self.start)
        self._united_ends: Final = self._key(place[begins], self.end)

    def united(self, place: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Which of the times meet each `[start, end)` at the place: from the first up to the second number."""
        low = np.searchsorted(self._united_ends, self._key(place, start), side="right")
        return low, np.searchsorted(self._united_starts, self._key(place, end))

    def counts(self, place: Ints, start: Ints, end: Ints) -> Ints:
        """How many of the sources' stays meet each: those that began before its end, but for those that were over."""
        begun = np.searchsorted(self._starts, self._key(place, end))
        counts: Ints = begun - np.searchsorted(self._ends, self._key(place, start), side="right")
        return counts

    def _key(self, place: Ints, ms: Ints) -> Ints:
        """Place and time in one number."""
        return (place << START_BITS) + np.clip(ms - self._earliest, 0, self._span)


def _at(places: Ints, visits: Visits) -> tuple[Ints, Ints]:
    """Which stays are at these places, and for each the number of its place among them."""
    at = np.minimum(np.searchsorted(places, visits.place), max(len(places) - 1, 0))
    rows = np.flatnonzero(places[at] == visits.place) if len(places) else at[:0]
    return rows, at[rows]


def _passing(found: Pairs, each: Ints, min_ms: int, rule: Rule) -> Bools:
    """Which pairs belong to somebody who passes; pairs are sorted by whose they are, then by start."""
    if not len(each):
        return np.empty(0, dtype=np.bool_)
    begins = _begins(each)
    if rule is Rule.TOTAL:
        each = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(each)))
        ms, _ = _united(found.start, found.end, each, begins)
    else:
        ms = np.maximum.reduceat(found.end - found.start, begins)
    passed: Bools = np.repeat(ms >= min_ms, np.diff(begins, append=len(each)))
    return passed


def _by_start(each: Ints, start: Ints) -> Ints:
    """The order by whose they are, then by start: by one number of both, where that has room for them."""
    if not len(start):
        return each
    earliest = int(start.min())
    bits = (int(start.max()) - earliest).bit_length()
    if bits + int(each.max()).bit_length() > KEY_BITS:
        return np.lexsort((start, each))
    return np.argsort((each << bits) + (start - earliest))


def _united(start: Ints, end: Ints, each: Ints, begins: Ints) -> tuple[Ints, Ints]:
    """For each of those that the exposures belong to, by small numbers: the length of their union, and its end."""
    if not len(begins):
        return begins, begins
    reach = _reach(start, end, each)
    covered = np.full(len(each), np.iinfo(np.int64).min)
    covered[1:] = np.where(each[1:] == each[:-1], reach[:-1], covered[1:])
    added = np.maximum(end - np.maximum(start, covered), 0)
    return np.add.reduceat(added, begins), np.maximum.reduceat(end, begins)


def _reach(start: Ints, end: Ints, each: Ints) -> Ints:
    """The latest end so far, among the pairs of each; sorted by each, then by start."""
    if not len(start):
        return end
    origin = int(start.min())
    span = int(end.max()) - origin + 1
    reached: Ints = np.maximum.accumulate(each * span + (end - origin)) - each * span + origin
    return reached


def _begins(each: Ints) -> Ints:
    """Where another one begins, in a sorted column."""
    changes = np.ones(len(each), dtype=np.bool_)
    changes[1:] = each[1:] != each[:-1]
    return np.flatnonzero(changes)


def _expanded(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """For each range `[low, high)` all its members: the number of the range, and the member."""
    counts = high - low
    begins = offsets(counts)
    which = np.repeat(np.arange(len(low)), counts)
    return which, np.arange(begins[-1]) - (begins[:-1] - low)[which]


def _steps(counts: Ints) -> Iterator[slice]:
    """The ranges in runs of at most so many members altogether, or of one."""
    total = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = int(total[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(total, before + PAIRS_A_STEP, side="right")), begin + 1)
        yield slice(begin, end)
        begin = end
    if not len(counts):
        yield slice(0, 0)
