"""Clusters are announced as they arise, each once, whoever dies and whoever else is watching."""

import contextlib
import random
import threading
from collections.abc import Callable
from functools import partial

import pytest
import redis

from events.clusters import Announcement
from events.control import RetentionAdvanced
from projections.stays import walk
from storage.clickhouse import Store
from storage.clusters import CLUSTERS, ClusterFeed
from storage.errors import StreamDown
from tests.app.conftest import until
from tests.tracing.cases import counted, sightings_by_subject
from tests.tracing.outbreak.gathering import DAY, NOW, PLACES, RULES, START, Gathering
from tests.tracing.world import FOREVER, pseudonym
from tracing.outbreak.board import Board
from tracing.outbreak.clusters import clusters
from tracing.outbreak.exposed import lookback_from
from tracing.outbreak.places import Premises
from tracing.overlap import presences


@pytest.fixture
def gathering(read_models: Store, valkey: "redis.Redis") -> Gathering:
    return Gathering(read_models, valkey)


def test_a_cluster_arises_with_its_cases_and_grows_with_late_scans(gathering: Gathering) -> None:
    watcher = gathering.watcher()
    gathering.scan(("a", "bus", 0), ("b", "bus", 60), ("x", "bus", 60), ("c", "mall", 0))
    gathering.confirm("a")
    assert watcher.step() == 0
    gathering.confirm("b")
    assert watcher.step() == 1
    assert gathering.summary() == [("new", "bus", ("a", "b"))]
    gathering.confirm("c")
    assert watcher.step() == 0
    gathering.scan(("c", "bus", 120))  # their phone was offline
    assert watcher.step() == 1
    assert gathering.summary()[1:] == [("grown", "bus", ("a", "b", "c"))]
    new, grown = (one.announcement for one in gathering.said())
    assert (new.cluster, new.first) == (grown.cluster, grown.first)
    assert (grown.from_, grown.to) == (START, START + 130 * 60_000)
    assert (grown.added, grown.cases_min, grown.window_hours) == (("case-c",), 2, 6)


def test_nothing_new_is_said_of_what_does_not_matter(gathering: Gathering) -> None:
    watcher = gathering.watcher()
    gathering.scan(("a", "bus", 0), ("b", "bus", 60), ("a", "post", 200), ("b", "post", 210))
    gathering.confirm("a")
    gathering.confirm("b")
    assert watcher.step() == 1
    gathering.scan(("x", "bus", 30), ("y", "bus", 30))
    gathering.scan(("a", "bus", 90))
    assert watcher.step() == watcher.step() == 0
    assert gathering.summary() == [("new", "bus", ("a", "b"))], "a checkpoint is no cluster"


def test_stays_inside_a_place_count_for_it_and_are_told_once(gathering: Gathering) -> None:
    watcher = gathering.watcher()
    gathering.scan(("a", "cafe", 0), ("b", "cafe", 30))
    for person in "abc":
        gathering.confirm(person)
    assert watcher.step() == 1
    gathering.scan(("c", "mall", 60))
    assert watcher.step() == 1
    assert gathering.summary() == [("new", "cafe", ("a", "b")), ("new", "mall", ("a", "b", "c"))]


def test_a_corrected_case_and_a_revoked_key_take_back_what_they_had_made(gathering: Gathering) -> None:
    watcher = gathering.watcher()
    gathering.scan(("a", "bus", 0), ("b", "bus", 60), ("c", "bus", 90))
    for person in "abc":
        gathering.confirm(person)
    assert watcher.step() == 1
    gathering.confirm("c", infectious_from=START - 20 * DAY)  # long before they took the bus
    assert watcher.step() == 1
    gathering.revoke("at-bus")
    assert watcher.step() == 1
    assert [change for change, _, _ in gathering.summary()] == ["new", "shrunk", "withdrawn"]
    assert Board(gathering.feed).read()[1] == {}


def test_scans_that_are_kept_no_longer_take_no_cluster_back(gathering: Gathering) -> None:
    watcher = gathering.watcher()
    gathering.scan(("a", "bus", 0), ("b", "bus", 60), ("c", "bus", 2_000))
    for person in "abc":
        gathering.confirm(person)
    assert watcher.step() == 1
    gathering.tell(RetentionAdvanced(START + 12 * 3_600_000))
    assert watcher.step() == gathering.watcher().step() == 0
    assert gathering.summary() == [("new", "bus", ("a", "b"))]


def test_after_a_restart_nothing_is_said_again_and_nothing_is_forgotten(gathering: Gathering) -> None:
    gathering.scan(("a", "bus", 0), ("b", "bus", 60), ("c", "bus", 90))
    gathering.confirm("a")
    gathering.confirm("b")
    assert gathering.watcher().step() == 1
    assert gathering.watcher().step() == 0
    gathering.confirm("c")  # while nobody watches
    assert gathering.watcher().step() == 1
    assert gathering.summary() == [("new", "bus", ("a", "b")), ("grown", "bus", ("a", "b", "c"))]


class BrokenFeed(ClusterFeed):
    """Loses its connection around an append, or lets somebody else come first."""

    def __init__(self, client: "redis.Redis") -> None:
        super().__init__(client)
        self.before: Callable[[], object] | None = None
        self.fail_after = False

    def append(self, number: int, announcement: Announcement) -> bool:
        before, self.before = self.before, None
        if before is not None:
            before()
        appended = super().append(number, announcement)
        if self.fail_after:
            self.fail_after = False
            raise StreamDown("the answer was lost")
        return appended


def test_an_announcement_whose_answer_was_lost_is_not_made_again(gathering: Gathering, valkey: "redis.Redis") -> None:
    feed = BrokenFeed(valkey)
    watcher = gathering.watcher(feed)
    gathering.scan(("a", "bus", 0), ("b", "bus", 60), ("a", "cafe", 300), ("b", "cafe", 310))
    gathering.confirm("a")
    gathering.confirm("b")
    feed.fail_after = True
    with pytest.raises(StreamDown):
        watcher.step()
    assert len(gathering.said()) == 1
    assert watcher.step() == 1
    assert sorted(gathering.summary()) == [("new", "bus", ("a", "b")), ("new", "cafe", ("a", "b"))]


def test_one_that_looked_before_another_said_something_looks_again(gathering: Gathering, valkey: "redis.Redis") -> None:
    # Both think that they hold the lease; one was suspended between its look and its announcement.
    feed = BrokenFeed(valkey)
    slow, quick = gathering.watcher(feed), gathering.watcher()
    gathering.scan(("a", "bus", 0), ("b", "bus", 60))
    gathering.confirm("a")
    gathering.confirm("b")
    gathering.confirm("c")

    def meanwhile() -> None:
        gathering.scan(("c", "bus", 90))
        assert quick.step() == 1

    feed.before = meanwhile
    assert slow.step() == 0
    assert slow.step() == quick.step() == 0
    assert gathering.summary() == [("new", "bus", ("a", "b", "c"))]


def test_a_lost_stream_is_put_back_under_the_same_numbers(gathering: Gathering, valkey: "redis.Redis") -> None:
    watcher = gathering.watcher()
    gathering.scan(("a", "bus", 0), ("b", "bus", 60), ("c", "bus", 90))
    gathering.confirm("a")
    gathering.confirm("b")
    watcher.step()
    gathering.confirm("c")
    watcher.step()
    before = gathering.said()
    valkey.delete(CLUSTERS)
    assert gathering.watcher().step() == 0
    assert gathering.said() == before
    valkey.xtrim(CLUSTERS, maxlen=0)
    valkey.delete(CLUSTERS)
    assert watcher.step() == 0
    assert gathering.said() == before


def test_the_lease_is_one_watcher_s_until_it_lets_go(gathering: Gathering) -> None:
    feed = gathering.feed
    assert feed.hold("one", 60)
    assert feed.hold("one", 60)
    assert not feed.hold("two", 60)
    feed.let_go("two")
    assert not feed.hold("two", 60)
    feed.let_go("one")
    assert feed.hold("two", 60)


def test_it_says_up_to_when_it_has_looked(gathering: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StreamDown("away")

    gathering.scan(("a", "bus", 0))
    watcher, other = gathering.watcher(), gathering.watcher()
    watcher.step()
    looked = gathering.marks.mark.received
    assert (watcher.watched_to, other.watched_to) == (looked, None)
    gathering.scan(("a", "bus", 60))
    with monkeypatch.context() as patch:
        patch.setattr(gathering.feed, "after", away)
        with pytest.raises(StreamDown):
            watcher.step()
    assert watcher.watched_to == looked < gathering.marks.mark.received, "what went wrong was no look"
    watcher.step()
    assert watcher.watched_to == gathering.marks.mark.received


def test_whoever_begins_to_watch_is_late_since_then_and_whoever_does_not_never_is(
    gathering: Gathering, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, watcher = threading.Event(), gathering.watcher()

    def broken(name: str) -> None:
        stop.set()
        raise StreamDown("away")

    gathering.marks.read = broken  # type: ignore[method-assign]
    watcher.run(stop)
    assert watcher.watched_to == NOW
    assert gathering.feed.hold("another", 60)
    stop.clear()
    hold = gathering.feed.hold

    def held(owner: str, seconds: float) -> bool:
        stop.set()
        return hold(owner, seconds)

    monkeypatch.setattr(gathering.feed, "hold", held)
    watcher.run(stop)
    assert watcher.watched_to is None


def test_a_fault_nobody_foresaw_is_logged_without_its_text_and_ends_nothing(
    gathering: Gathering, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    watcher = gathering.watcher()

    def broken(name: str) -> None:
        stop.set()
        raise KeyError(pseudonym("somebody"))

    gathering.marks.read = broken  # type: ignore[method-assign]
    watcher.run(stop)
    assert "KeyError at " in caplog.text
    assert pseudonym("somebody") not in caplog.text


def as_many_entries(gathering: Gathering, count: int) -> bool:
    return len(gathering.said()) == count


def test_two_that_run_announce_everything_once(gathering: Gathering, valkey: "redis.Redis") -> None:
    stop = threading.Event()
    watchers = [gathering.watcher(), gathering.watcher()]
    threads = [threading.Thread(target=watcher.run, args=(stop,)) for watcher in watchers]
    for thread in threads:
        thread.start()
    try:
        gathering.scan(*((person, "bus", number) for number, person in enumerate("abcd")))
        for number, person in enumerate("abcd"):
            gathering.confirm(person)
            if number:
                until(partial(as_many_entries, gathering, number))
            if number == 2:
                valkey.delete("truyvet:{shared}:clusters:watcher")  # the lease is gone: whoever is next takes it
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert gathering.summary() == [
        ("new", "bus", ("a", "b")),
        ("grown", "bus", ("a", "b", "c")),
        ("grown", "bus", ("a", "b", "c", "d")),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_in_whatever_order_the_feed_leads_to_the_clusters_as_they_are(
    gathering: Gathering, valkey: "redis.Redis", seed: int
) -> None:
    chance = random.Random(seed)
    feed = BrokenFeed(valkey)
    watchers = [gathering.watcher(feed), gathering.watcher()]
    visits: list[tuple[str, str, int]] = []
    confirmed: set[str] = set()
    for _ in range(25):
        person = chance.choice("abcdef")
        match chance.choice(["scan", "scan", "confirm", "restart", "lost answer", "look"]):
            case "scan":
                visits.append((person, chance.choice(["bus", "cafe", "mall"]), chance.randrange(0, 2_000, 5)))
                gathering.scan(visits[-1])
            case "confirm":
                confirmed.add(person)
                gathering.confirm(person)
            case "restart":
                watchers[chance.randrange(2)] = gathering.watcher(feed)
            case "lost answer":
                feed.fail_after = True
            case _:
                with contextlib.suppress(StreamDown):
                    chance.choice(watchers).step()
    feed.fail_after = False
    for watcher in watchers:
        watcher.step()
    assert [one.number for one in gathering.said()] == list(range(1, len(gathering.said()) + 1))
    standing = [one.announcement for one in Board(gathering.feed).read()[1].values()]
    assert sorted((one.place, one.cases) for one in standing) == expected(gathering, confirmed)
    assert gathering.watcher().step() == 0


def expected(gathering: Gathering, confirmed: set[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The clusters of everything that was delivered, straight from the scans."""
    tree = Premises(gathering.world.registry.places())
    sightings = sightings_by_subject(counted(gathering.scans, FOREVER))
    there = [
        one
        for person in sorted(confirmed)
        for one in presences(
            pseudonym(person),
            walk(sightings.get(person, []), tree.tree, FOREVER),
            lookback_from(START + DAY, RULES.lookback_days),
            START + 2 * DAY,
        )
    ]
    cases_of = {pseudonym(person): {f"case-{person}"} for person in confirmed}
    found = clusters(there, cases_of, tree, cases_min=RULES.cases_min, window_ms=RULES.window_hours * 3_600_000)
    assert {place.id for place in PLACES} >= {one.place for one in found}
    return sorted((one.place, one.cases) for one in found)
