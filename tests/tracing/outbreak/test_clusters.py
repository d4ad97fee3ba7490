"""Clusters against trying every span of time, and announcements against what they leave known."""

from collections.abc import Iterable, Mapping
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from events.clusters import Announcement, Change
from projections.stays import Stay
from tests.tracing.outbreak.grids import (
    CELL,
    CELLS,
    PARENTS,
    PEOPLE,
    TREE,
    cells_of,
    crowds,
    inside,
    present,
    stay_at,
)
from tracing.outbreak.clusters import Cluster, changes, clusters
from tracing.outbreak.places import Premises
from tracing.overlap import Presence

PREMISES: Final = Premises(TREE)
EVER: Final = (0, CELLS + 6)
Found = set[tuple[str, int, int, tuple[str, ...]]]


def everywhere(crowd: Mapping[str, list[Stay]]) -> list[Presence]:
    return [one for each in present(crowd, dict.fromkeys(crowd, EVER)).values() for one in each]


def found_in(crowd: Mapping[str, list[Stay]], cases_min: int, window: int) -> list[Cluster]:
    cases_of = {subject: {f"case-{subject}"} for subject in crowd}
    return clusters(everywhere(crowd), cases_of, PREMISES, cases_min=cases_min, window_ms=window * CELL)


def by_trying(crowd: Mapping[str, list[Stay]], cases_min: int, window: int) -> Found:
    """Every span of `window` cells at every place; visits seen in one dense span belong together.

    A span may begin within a cell, and touches one cell more than it is long then.
    """
    found: Found = set()
    for place in PARENTS:
        visits = [one for one in everywhere(crowd) if inside(one.stay.place, place)]
        groups: list[set[int]] = []
        for first in range(-window - 1, CELLS + window):
            span = set(range(first, first + window + 1))
            seen = {number for number, one in enumerate(visits) if cells_of(one) & span}
            if len({visits[number].subject for number in seen}) >= cases_min:
                touching = [group for group in groups if group & seen]
                groups = [group for group in groups if not group & seen] + [seen.union(*touching)]
        for group in groups:
            those = [visits[number] for number in group]
            cases = tuple(sorted({f"case-{one.subject}" for one in those}))
            found.add((place, min(one.start for one in those), max(one.end for one in those), cases))
    return {
        one
        for one in found
        if not any(
            other[0] != one[0]
            and inside(other[0], one[0])
            and other[3] == one[3]
            and other[1] < one[2]
            and one[1] < other[2]
            for other in found
        )
    }


@given(crowds, st.integers(2, 4), st.sampled_from([1, 2, 6, 30]))
@settings(max_examples=60)
def test_clusters_are_those_that_trying_finds(crowd: dict[str, list[Stay]], cases_min: int, window: int) -> None:
    found = found_in(crowd, cases_min, window)
    assert {(one.place, one.from_, one.to, one.cases) for one in found} == by_trying(crowd, cases_min, window)


def told(known: Mapping[str, Announcement], announcements: Iterable[Announcement]) -> dict[str, Announcement]:
    """What somebody knows who heard them."""
    after = dict(known)
    for one in announcements:
        if one.change is Change.WITHDRAWN:
            del after[one.cluster]
        else:
            assert (one.cluster in after) == (one.change is not Change.NEW)
            after[one.cluster] = one
    return after


def announced(known: Mapping[str, Announcement], current: list[Cluster], at: int = 1) -> list[Announcement]:
    watched = {f"case-{each}" for each in PEOPLE}
    return changes(known, current, watched, at=at, cases_min=2, window_hours=1)


@settings(max_examples=50)
@given(st.lists(crowds, min_size=1, max_size=4), st.sampled_from([1, 6, 30]))
def test_whoever_heard_everything_knows_the_clusters_as_they_are(
    worlds: list[dict[str, list[Stay]]], window: int
) -> None:
    known: dict[str, Announcement] = {}
    for at, crowd in enumerate(worlds):
        current = found_in(crowd, 2, window)
        said = announced(known, current, at)
        known = told(known, said)
        assert sorted((one.place, one.cases) for one in known.values()) == sorted(
            (one.place, one.cases) for one in current
        )
        assert announced(known, current, at + 1) == [], "the same again is no news"
        for one in said:
            assert set(one.added) <= set(one.cases)
            assert (one.change is Change.SHRUNK) <= (not one.added)


@settings(max_examples=50)
@given(st.lists(crowds, min_size=1, max_size=3), st.data())
def test_said_in_any_number_of_pieces_it_comes_to_the_same(
    worlds: list[dict[str, list[Stay]]], data: st.DataObject
) -> None:
    # A death after any announcement: whoever goes on judges by what was said so far.
    known: dict[str, Announcement] = {}
    for at, crowd in enumerate(worlds):
        current = found_in(crowd, 2, 6)
        for _ in range(50):
            said = announced(known, current, at)
            if not said:
                break
            known = told(known, said[: data.draw(st.integers(1, len(said)))])
        assert sorted((one.place, one.cases) for one in known.values()) == sorted(
            (one.place, one.cases) for one in current
        )


@settings(max_examples=50)
@given(st.lists(crowds, min_size=2, max_size=4), st.data())
def test_cases_whose_scans_are_partly_gone_leave_no_cluster(
    worlds: list[dict[str, list[Stay]]], data: st.DataObject
) -> None:
    known: dict[str, Announcement] = {}
    everybody = {f"case-{each}" for each in PEOPLE}
    for at, crowd in enumerate(worlds):
        watched = everybody if at == 0 else data.draw(st.sets(st.sampled_from(sorted(everybody))))
        current = found_in(crowd, 2, 6)
        said = changes(known, current, watched, at=at, cases_min=2, window_hours=1)
        before, known = known, told(known, said)
        assert changes(known, current, watched, at=at, cases_min=2, window_hours=1) == []
        standing = [(one.place, set(one.cases)) for one in known.values()]
        for one in current:
            if watched & set(one.cases):
                assert any(place == one.place and set(one.cases) <= cases for place, cases in standing)
        for old in before.values():
            stays = set(old.cases) - watched
            assert any(place == old.place and stays <= cases for place, cases in standing) or not stays


def grown(*people: str, start: int = 0) -> dict[str, list[Stay]]:
    return {each: [stay_at("bus", start, start + 4)] for each in people}


def test_a_cluster_keeps_its_name_as_it_grows_and_shrinks() -> None:
    (new,) = announced({}, found_in(grown("a", "b"), 2, 6), 1)
    (more,) = announced({new.cluster: new}, found_in(grown("a", "b", "c"), 2, 6), 2)
    (less,) = announced({more.cluster: more}, found_in(grown("b", "c"), 2, 6), 3)
    assert new.cluster == more.cluster == less.cluster
    assert (new.change, more.change, less.change) == (Change.NEW, Change.GROWN, Change.SHRUNK)
    assert (new.added, more.added, less.added) == (("case-a", "case-b"), ("case-c",), ())
    assert (new.first, more.first, less.first) == (1, 1, 1)
    (gone,) = announced({less.cluster: less}, found_in(grown("c"), 2, 6), 4)
    assert (gone.change, gone.cluster, gone.into, gone.at) == (Change.WITHDRAWN, new.cluster, None, 4)


def test_two_that_become_one_go_on_as_the_first() -> None:
    early, late = grown("a", "b"), grown("c", "d", start=30)
    (first,) = announced({}, found_in(early, 2, 6), 1)
    (second,) = announced({first.cluster: first}, found_in(early | late, 2, 6), 2)
    known = {one.cluster: one for one in (first, second)}
    bridge = {"e": [stay_at("bus", 2, 32)]}
    whole, gone = announced(known, found_in(early | late | bridge, 2, 6), 3)
    assert (whole.cluster, whole.change) == (first.cluster, Change.GROWN)
    assert whole.cases == tuple(f"case-{each}" for each in "abcde")
    assert (gone.cluster, gone.change, gone.into) == (second.cluster, Change.WITHDRAWN, first.cluster)


def test_cases_that_are_no_longer_looked_at_change_nothing() -> None:
    (new,) = announced({}, found_in(grown("a", "b", "c"), 2, 6))
    known = {new.cluster: new}
    young = {"case-b", "case-c"}

    def later(*people: str) -> list[Announcement]:
        return changes(known, found_in(grown(*people), 2, 6), young | {"case-d"}, at=2, cases_min=2, window_hours=1)

    assert later("b", "c") == []
    assert later("b") == [], "too few are left to be looked at: it is old, not wrong"
    (more,) = later("b", "c", "d")
    assert (more.cluster, more.cases, more.added) == (new.cluster, (*new.cases, "case-d"), ("case-d",))
