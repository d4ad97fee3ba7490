"""The clusters as they stand: a fold of the feed."""

import threading
from collections.abc import Mapping
from typing import Final

import msgspec

from events.clusters import Announced, Announcement, Change
from storage.clusters import READ_ENTRIES, ClusterFeed


class StandingCluster(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster with the number of its latest announcement in the feed."""

    number: int
    announcement: Announcement


class Board:
    """Follows the feed as often as it is asked. Thread-safe."""

    def __init__(self, feed: ClusterFeed) -> None:
        self._feed: Final = feed
        self._standing: Final[dict[str, StandingCluster]] = {}
        self._number = 0
        self._lock: Final = threading.Lock()

    def read(self) -> tuple[int, Mapping[str, StandingCluster]]:
        """The latest entry's number, and what stands after it, by cluster id. Raises `StreamDown`."""
        with self._lock:
            while True:
                entries = self._feed.after(self._number)
                for entry in entries:
                    self._take(entry)
                if len(entries) < READ_ENTRIES:
                    return self._number, dict(self._standing)

    def _take(self, entry: Announced) -> None:
        one = entry.announcement
        if one.change is Change.WITHDRAWN:
            self._standing.pop(one.cluster, None)
        else:
            self._standing[one.cluster] = StandingCluster(number=entry.number, announcement=one)
        self._number = entry.number
