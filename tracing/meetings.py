"""Who was with whom, for many at once, as columns; the same contacts as `tracing.overlap`, which judges it. Pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from projections.places_together import Bools, Ints
from projections.walk_together import offsets
from tracing.rule import Rule
from tracing.visits import Subjects, Visits, among, distinct, numbered

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


class Met(NamedTuple):
    """Contacts, longest first, then by subject. `ms` is the length of the union of their exposures, `start` and `end`
    its ends (Unix ms). The exposures of contact `n` are `pairs` from `first[n]` to `first[n + 1]`.
    """

    subject: Subjects
    ms: Ints
    start: Ints
    end: Ints
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
    at = np.minimum(np.searchsorted(places, visits.place), max(len(places) - 1, 0))
    rows = np.flatnonzero(places[at] == visits.place) if len(places) else at[:0]
    if not len(rows):
        return Pairs(*(np.empty(0, dtype=np.int64) for _ in range(4)))
    place, start, end = at[rows], visits.start[rows], visits.end[rows]
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
    ms, end = _united(found, who, begins)
    first = np.append(begins, len(who))
    ranked = np.lexsort((who[begins], -ms))
    counts = np.diff(first)[ranked]
    starts = offsets(counts)
    rows = np.repeat(first[:-1][ranked] - starts[:-1], counts) + np.arange(starts[-1])
    return Met(
        people[who[begins[ranked]]], ms[ranked], found.start[begins[ranked]], end[ranked], starts, found.take(rows)
    )


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


def _passing(found: Pairs, each: Ints, min_ms: int, rule: Rule) -> Bools:
    """Which pairs belong to somebody who passes; pairs are sorted by whose they are, then by start."""
    if not len(each):
        return np.empty(0, dtype=np.bool_)
    begins = _begins(each)
    if rule is Rule.TOTAL:
        ms, _ = _united(found, np.repeat(np.arange(len(begins)), np.diff(begins, append=len(each))), begins)
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


def _united(found: Pairs, each: Ints, begins: Ints) -> tuple[Ints, Ints]:
    """For each of those that the pairs belong to, by small numbers: the length of the union of their exposures, and its
    end.
    """
    if not len(begins):
        return begins, begins
    reach = _reach(found.start, found.end, each)
    covered = np.full(len(each), np.iinfo(np.int64).min)
    covered[1:] = np.where(each[1:] == each[:-1], reach[:-1], covered[1:])
    added = np.maximum(found.end - np.maximum(found.start, covered), 0)
    return np.add.reduceat(added, begins), np.maximum.reduceat(found.end, begins)


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
