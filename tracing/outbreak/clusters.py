"""Places and vehicles where several F0 were within a span of time, and what there is to announce of them. Pure.

The source of the idea: UK Health Security Agency, "Communicable disease outbreak management guidance" (2023): a cluster
is two or more confirmed cases of one setting within 14 days. Here they must have been there, as their scans say, and
the number of cases and the span are settings.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Final

import msgspec

from events.clusters import Announcement, Change
from tracing.outbreak.places import Premises, by_place
from tracing.overlap import Presence

ID_BYTES: Final = 8


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """F0 who were at a place, or inside it: `cases` (sorted ids), between `from` and `to` (Unix ms)."""

    place: str
    from_: int
    to: int
    cases: tuple[str, ...]


def clusters(
    presences: Iterable[Presence],
    cases_of: Mapping[str, Collection[str]],
    premises: Premises,
    *,
    cases_min: int,
    window_ms: int,
) -> list[Cluster]:
    """Every cluster, by place and time.

    Wherever at least `cases_min` different people were at a place (or inside it) within some `window_ms`, their
    presences belong together; where two such groups have a presence in common they are one cluster. A place around
    another one is left out where it has nobody but the other's cluster at that time. `cases_of`: subject → case ids.
    """
    found: list[Cluster] = []
    for place, visits in sorted(by_place(presences, premises).items()):
        for group in _groups(visits, cases_min, window_ms):
            found.append(
                Cluster(
                    place=place,
                    from_=min(visit.start for visit in group),
                    to=max(visit.end for visit in group),
                    cases=tuple(sorted({case for visit in group for case in cases_of[visit.subject]})),
                )
            )
    by_cases: dict[tuple[str, ...], list[Cluster]] = {}
    for one in found:
        by_cases.setdefault(one.cases, []).append(one)
    return [one for one in found if not any(_repeats(one, other, premises) for other in by_cases[one.cases])]


def changes(
    known: Mapping[str, Announcement],
    current: Iterable[Cluster],
    watched: Set[str],
    *,
    at: int,
    cases_min: int,
    window_hours: int,
) -> list[Announcement]:
    """What to announce so that those who know `known` (by cluster id) know `current`, as of `at` (Unix ms).

    A cluster goes on under its id where one at the same place has the same cases, or else has a case in common and
    overlaps in time. Of several that become one, the first announced goes on and the others are withdrawn into it.
    `watched` are the ids of the cases whose scans are all kept still. Of others some may be missing because they are
    old: they leave no cluster, and alone they make none. Once told, the same again is no news.
    """
    clusters_now = sorted((one for one in current if not watched.isdisjoint(one.cases)), key=_cluster_order)
    kin = _kin(known.values(), clusters_now, watched)
    announced = []
    taken: dict[str, str] = {}
    for cluster, forebears in zip(clusters_now, kin, strict=True):
        heir = min(forebears, key=_first_announced, default=None)
        cluster_id = heir.cluster if heir is not None else _id_of(cluster, at)
        taken |= {one.cluster: cluster_id for one in forebears}
        old = {case for one in forebears for case in one.cases if case not in watched}
        cases = tuple(sorted({*cluster.cases, *old}))
        before = heir.cases if heir is not None else ()
        change = _change(heir, cluster, cases)
        if change is None:
            continue
        announced.append(
            Announcement(
                cluster=cluster_id,
                change=change,
                place=cluster.place,
                from_=min([cluster.from_, *(one.from_ for one in forebears if old)]),
                to=cluster.to,
                cases=cases,
                added=tuple(case for case in cases if case not in before),
                first=heir.first if heir is not None else at,
                at=at,
                cases_min=cases_min,
                window_hours=window_hours,
            )
        )
    for one in known.values():
        into = taken.get(one.cluster)
        if into is None and all(case in watched for case in one.cases):
            announced.append(_withdrawn(one, None, at))
        elif into is not None and into != one.cluster:
            announced.append(_withdrawn(one, into, at))
    return announced


def _kin(known: Iterable[Announcement], current: Sequence[Cluster], watched: Set[str]) -> list[list[Announcement]]:
    """For each cluster those known that go on in it, none in two.

    First those of the same place and watched cases, one for one in the order of time; then the rest.
    """
    kin: list[list[Announcement]] = [[] for _ in current]
    rest: dict[str, list[Announcement]] = {}
    same: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for number, cluster in enumerate(current):
        same.setdefault((cluster.place, _of_these(cluster.cases, watched)), []).append(number)
    for one in sorted(known, key=_known_order):
        numbers = same.get((one.place, _of_these(one.cases, watched)))
        if numbers:
            kin[numbers.pop(0)].append(one)
        else:
            rest.setdefault(one.place, []).append(one)
    for cluster, forebears in zip(current, kin, strict=True):
        waiting = rest.get(cluster.place, [])
        forebears += [one for one in waiting if _continues(one, cluster)]
        rest[cluster.place] = [one for one in waiting if one not in forebears]
    return kin


def _of_these(cases: Iterable[str], watched: Set[str]) -> tuple[str, ...]:
    return tuple(case for case in cases if case in watched)


def _change(heir: Announcement | None, cluster: Cluster, cases: tuple[str, ...]) -> Change | None:
    if heir is None:
        return Change.NEW
    if not set(cases) <= set(heir.cases):
        return Change.GROWN
    if cases != heir.cases:
        return Change.SHRUNK
    return None if _overlap(heir, cluster) else Change.MOVED


def _withdrawn(one: Announcement, into: str | None, at: int) -> Announcement:
    return msgspec.structs.replace(one, change=Change.WITHDRAWN, added=(), into=into, at=at)


def _groups(visits: Sequence[Presence], cases_min: int, window_ms: int) -> list[list[Presence]]:
    """Visits, by start, in groups; visits that are in none are left out.

    A span of `window_ms` that meets most visits can be moved on until the first of them is about to leave it: so one
    that begins right before each visit's end is enough to look at.
    """
    longest = max(visit.end - visit.start for visit in visits)
    starts = [visit.start for visit in visits]
    group_of = list(range(len(visits)))
    dense = [False] * len(visits)

    def root(position: int) -> int:
        while group_of[position] != position:
            group_of[position] = group_of[group_of[position]]
            position = group_of[position]
        return position

    for anchor in visits:
        begins = anchor.end - 1
        low, high = bisect_right(starts, begins - longest), bisect_left(starts, begins + window_ms)
        within = [position for position in range(low, high) if visits[position].end > begins]
        if len({visits[position].subject for position in within}) >= cases_min:
            for position in within:
                dense[position] = True
                group_of[root(position)] = root(within[0])
    groups: dict[int, list[Presence]] = {}
    for position, visit in enumerate(visits):
        if dense[position]:
            groups.setdefault(root(position), []).append(visit)
    return list(groups.values())


def _repeats(one: Cluster, other: Cluster, premises: Premises) -> bool:
    """Whether the other cluster, of the same cases, lies inside this one's place at the same time."""
    return (
        one.place != other.place
        and one.place in premises.around(other.place)
        and one.from_ < other.to
        and other.from_ < one.to
    )


def _continues(known: Announcement, cluster: Cluster) -> bool:
    return _overlap(known, cluster) and not set(known.cases).isdisjoint(cluster.cases)


def _overlap(known: Announcement, cluster: Cluster) -> bool:
    return known.from_ < cluster.to and cluster.from_ < known.to


def _id_of(cluster: Cluster, at: int) -> str:
    """Its own, also where one like it was withdrawn before."""
    text = "\n".join((str(at), cluster.place, str(cluster.from_), *cluster.cases))
    return hashlib.blake2b(text.encode(), digest_size=ID_BYTES).hexdigest()


def _cluster_order(cluster: Cluster) -> tuple[str, int, tuple[str, ...]]:
    return cluster.place, cluster.from_, cluster.cases


def _known_order(one: Announcement) -> tuple[int, str]:
    return one.from_, one.cluster


def _first_announced(one: Announcement) -> tuple[int, str]:
    return one.first, one.cluster
