from prometheus_client import CollectorRegistry

from app.metrics.clusters import ClusterMetrics
from events.clusters import Announced, Announcement, Change


def announced(number: int, change: Change) -> Announced:
    announcement = Announcement(
        cluster="c", change=change, place="cafe", from_=1, to=2, cases=("f0-an",), added=(), first=1, at=2,
        cases_min=1, window_hours=6,
    )  # fmt: skip
    return Announced(number=number, announcement=announcement)


def test_announcements_are_counted_by_what_changed() -> None:
    registry = CollectorRegistry()
    metrics = ClusterMetrics(registry)
    for number, change in enumerate((Change.NEW, Change.GROWN, Change.GROWN), 1):
        metrics.on_announced(announced(number, change))
    counts = {
        change: registry.get_sample_value("truyvet_clusters_announced_total", {"change": change.value})
        for change in Change
    }
    assert counts == {Change.NEW: 1, Change.GROWN: 2, Change.SHRUNK: 0, Change.MOVED: 0, Change.WITHDRAWN: 0}
