"""From index subjects to their contacts, depth by depth, forward in time: the search of a trace, in columns."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from projections.places_together import Ints
from projections.stays import Stay
from projections.walk_together import offsets
from tracing.chain import Edge
from tracing.meetings import Met, Present, Sources, contacts, contacts_of_all, in_order, intervals, pairs, present
from tracing.overlap import Encounter
from tracing.question import IndexSubject, ResolvedQuestion
from tracing.reading import Reading
from tracing.rule import Rule
from tracing.visits import Visits, numbered, pseudonyms_of, stays_of, subjects_of


class Level(NamedTuple):
    """The contacts at one depth.

    `there` is where those who lead to them were, in stays of `own`; the exposures in `met` are of stays of `others`.
    Only a question for evidence has them for sure.
    """

    depth: int
    there: Present
    own: Visits
    others: Visits
    met: Met


def levels(question: ResolvedQuestion, reading: Reading) -> Iterator[Level]:
    """The contacts at depth 1, then those of each of them alone, and so on; whoever is known already is left out.

    Raises as `Reading.load` does.
    """
    sources = _index(question.index)
    known, to_ms = numbered(sources.subject)[0], int(sources.to_ms.max())
    for depth in range(1, question.depth + 1):
        people = numbered(sources.subject)[0]
        reading.load(pseudonyms_of(people))
        own = reading.visits(people)
        there = present(sources, own)
        others = reading.around(there, question.lag_ms, proof=question.evidence)
        if question.rule is Rule.TOTAL and not question.evidence and not sources.group.any():
            met = contacts_of_all(there, others, question.lag_ms, known, min_ms=question.min_ms)
        else:
            exposures = pairs(there, others, question.lag_ms)
            met = contacts(exposures, there, others, known, min_ms=question.min_ms, rule=question.rule)
        yield Level(depth, there, own, others, met)
        known = numbered(np.concatenate((known, met.subject)))[0]
        reached = np.arange(len(met.subject))
        sources = Sources(reached, met.subject, met.start + question.latency_ms, np.full(len(reached), to_ms))


class Evidence:
    """What makes a level's contacts contacts, as structs, each tuple of one contact, in the level's order."""

    def __init__(self, level: Level, reading: Reading) -> None:
        place = level.others.place[level.met.pairs.visit]
        numbers, each = np.unique(place, return_inverse=True)
        ids = [reading.place_id(number) for number in numbers.tolist()]
        rank = np.empty(len(ids), dtype=np.int64)
        rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        self._level: Final = level._replace(met=in_order(level.met, level.there, level.own, level.others, rank[each]))
        self._reading: Final = reading

    def edges(self) -> list[tuple[Edge, ...]]:
        """Those who lead to a contact, by subject, and when the first exposure to each began."""
        found = self._level.met.pairs
        contact = np.repeat(np.arange(len(self._level.met.subject)), np.diff(self._level.met.first))
        people, who = numbered(self._level.there.subject[found.present])
        order = np.lexsort((found.start, who, contact))
        contact, who = contact[order], who[order]
        begins = np.ones(len(order), dtype=np.bool_)
        begins[1:] = (contact[1:] != contact[:-1]) | (who[1:] != who[:-1])
        first = offsets(np.bincount(contact[begins], minlength=len(self._level.met.subject)))
        every = list(map(Edge, pseudonyms_of(people[who[begins]]), found.start[order[begins]].tolist()))
        return [tuple(every[low:high]) for low, high in pairwise(first.tolist())]

    def intervals(self) -> list[tuple[tuple[int, int], ...]]:
        """The union of the exposures, as starts and ends in Unix ms."""
        start, end, first = intervals(self._level.met)
        every = list(zip(start.tolist(), end.tolist(), strict=True))
        return [tuple(every[low:high]) for low, high in pairwise(first.tolist())]

    def encounters(self) -> list[tuple[Encounter, ...]]:
        """Every encounter."""
        _, there, own, others, met = self._level
        found = met.pairs
        until = np.minimum(there.end[found.present], others.end[found.visit])
        direct = np.maximum(0, until - found.start)
        columns = (found.start, found.end, direct, found.end - found.start - direct)
        every = [
            Encounter(source, stay.place, start, end, direct_ms, lagged_ms, index_stay, stay)
            for source, start, end, direct_ms, lagged_ms, index_stay, stay in zip(
                pseudonyms_of(there.subject[found.present]),
                *(column.tolist() for column in columns),
                self._stays(own, there.visit[found.present]),
                self._stays(others, found.visit),
                strict=True,
            )
        ]
        return [tuple(every[low:high]) for low, high in pairwise(met.first.tolist())]

    def _stays(self, visits: Visits, rows: Ints) -> Iterator[Stay]:
        """The stays of these rows; the same row is the same struct."""
        once, each = np.unique(rows, return_inverse=True)
        stays = list(stays_of(visits, once, self._reading.place_id, self._reading.device_id))
        return map(stays.__getitem__, each.tolist())


def present_stays(level: Level, count: int) -> list[int]:
    """How many stays of each of the sources, `count` in all, touch their window."""
    counts: list[int] = np.bincount(level.there.source, minlength=count).tolist()
    return counts


def _index(subjects: Sequence[IndexSubject]) -> Sources:
    """All index subjects are one group."""
    return Sources(
        np.zeros(len(subjects), dtype=np.int64),
        subjects_of([each.subject for each in subjects]),
        np.array([each.from_ for each in subjects], dtype=np.int64),
        np.array([each.to for each in subjects], dtype=np.int64),
    )
