"""All that answers questions about an outbreak, made once for a service."""

from collections.abc import Callable
from typing import Final

from storage.clickhouse import Store
from storage.clusters import ClusterFeed
from tracing.moment import Moments, ReadModels
from tracing.outbreak.attendance import Attendance
from tracing.outbreak.board import Board
from tracing.outbreak.listeners import Listeners
from tracing.outbreak.sources import Sources
from tracing.registry import CaughtUp, Registry


class OutbreakDesk:
    """Thread-safe."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        watermarks: ReadModels,
        caught_up: CaughtUp,
        feed: ClusterFeed,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        """`caught_up` belongs to what feeds the registry; `clock` gives Unix ms, `random` that many random bytes."""
        moments = Moments(watermarks, caught_up, clock)
        self.sources: Final = Sources(store=store, registry=registry, moments=moments, random=random)
        self.attendance: Final = Attendance(store=store, registry=registry, moments=moments)
        self.feed: Final = feed
        self.board: Final = Board(feed)
        self.listeners: Final = Listeners(feed)
