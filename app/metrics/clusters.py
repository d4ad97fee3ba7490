"""What the watcher for clusters has announced, as the trace process that watches counts it."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from events.clusters import Announced, Change


class ClusterMetrics:
    """A counter of announcements; `on_announced` is the watcher's hook."""

    def __init__(self, registry: CollectorRegistry) -> None:
        announced = Counter(
            "truyvet_clusters_announced_total",
            "Announcements of clusters, by what changed",
            ["change"],
            registry=registry,
        )
        self._announced: Final = {change: announced.labels(change.value) for change in Change}

    def on_announced(self, entry: Announced) -> None:
        """The feed has taken an announcement."""
        self._announced[entry.announcement.change].inc()
