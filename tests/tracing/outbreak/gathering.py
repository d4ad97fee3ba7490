"""Cases, scans and a feed to watch: what the tests of the watcher share."""

import itertools
from collections.abc import Iterable
from typing import Final

import redis

from events.cases import Case
from events.clusters import Announced
from events.control import CaseConfirmed, ControlEvent, DeviceKeyRevoked, Recorded
from events.places import Category, Place
from events.scans import Kind
from storage.clickhouse import Store
from storage.clusters import ClusterFeed
from storage.watermarks import Name, Watermark
from tests.tracing.cases import CaseScan
from tests.tracing.world import DEVICE_KEY, World, pseudonym
from tracing.outbreak.watcher import ClusterRules, ClusterWatcher

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
START: Final = 1_634_860_800_000
NOW: Final = START + 3 * DAY
RULES: Final = ClusterRules(cases_min=2, window_hours=6)
PLACES: Final = (
    Place(id="mall", number=1, name="Mall", category=Category.MALL),
    Place(id="cafe", number=2, name="Café", parent="mall", category=Category.RESTAURANT),
    Place(id="bus", number=3, name="Bus", category=Category.VEHICLE),
    Place(id="post", number=4, name="Post", category=Category.CHECKPOINT),
)


class Marks:
    """A read models' watermark that the test sets."""

    def __init__(self) -> None:
        self.mark = Watermark(0, 0)

    def read(self, name: Name) -> Watermark | None:
        assert name == "read-models"
        return self.mark


class Gathering:
    """A world whose cases and scans come bit by bit, before the watchers' eyes."""

    def __init__(self, store: Store, client: "redis.Redis") -> None:
        store.command("TRUNCATE TABLE clusters")
        self.world: Final = World(store, PLACES)
        self.feed: Final = ClusterFeed(client)
        self.marks: Final = Marks()
        self.watchers: Final[list[ClusterWatcher]] = []
        self._owners: Final = itertools.count(1)
        self._seqs: Final = itertools.count(1)
        self._received = START
        self.scans: Final[list[CaseScan]] = []
        """All that came in."""

    def watcher(self, feed: ClusterFeed | None = None) -> ClusterWatcher:
        """One that knows of nothing yet, as after a start."""
        one = ClusterWatcher(
            store=self.world.store,
            registry=self.world.registry,
            caught_up=lambda seconds: True,
            watermarks=self.marks,
            feed=feed or self.feed,
            rules=RULES,
            clock=lambda: NOW,
            owner=f"watcher-{next(self._owners)}",
        )
        self.watchers.append(one)
        return one

    def tell(self, event: ControlEvent) -> None:
        """A control event: the registry applies it, then every watcher hears of it."""
        recorded = Recorded(self._received, event)
        self.world.registry.apply(recorded)
        for watcher in self.watchers:
            watcher.on_control(recorded)

    def confirm(self, person: str, *, infectious_from: int = START + DAY) -> None:
        """A case; infectious for a day."""
        case = Case(
            id=f"case-{person}",
            subject=pseudonym(person),
            confirmed_at=infectious_from + DAY,
            infectious_from=infectious_from,
            infectious_to=infectious_from + DAY,
        )
        self.tell(CaseConfirmed(case))

    def revoke(self, device: str) -> None:
        """All that came under the device's key counts no longer."""
        self.tell(DeviceKeyRevoked(device, DEVICE_KEY, 0))

    def scan(self, *visits: tuple[str, str, int]) -> None:
        """Visits (person, place, minutes after the start) of ten minutes, which come in now."""
        scans = []
        for person, place, minute in visits:
            for kind, at in ((Kind.IN, minute), (Kind.OUT, minute + 10)):
                self._received += 1
                scans.append(
                    CaseScan(f"at-{place}", next(self._seqs), START + at * 60_000, self._received, kind, place, person)
                )
        self.world.deliver(list(scans))
        self.scans.extend(scans)
        self.marks.mark = Watermark(self._received, self.marks.mark.rows + len(scans))

    def said(self) -> list[Announced]:
        """The whole feed."""
        return self.feed.after(0)

    def summary(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Change, place and people of every announcement."""
        return [
            (one.announcement.change.value, one.announcement.place, people(one.announcement.cases))
            for one in self.said()
        ]


def people(cases: Iterable[str]) -> tuple[str, ...]:
    """Whose cases they are."""
    return tuple(case.removeprefix("case-") for case in cases)
