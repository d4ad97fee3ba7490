"""What watches for clusters in a trace process, by the settings' rules."""

from collections.abc import Callable

from app.clock import now_ms
from app.processes import backend
from app.settings import Settings
from events.clusters import Announced
from storage.clickhouse import Store
from storage.clusters import ClusterFeed
from storage.watermarks import Watermarks
from tracing.outbreak.watcher import ClusterRules, ClusterWatcher
from tracing.registry import CaughtUp, Registry


def watcher(
    settings: Settings,
    *,
    store: Store,
    registry: Registry,
    caught_up: CaughtUp,
    watermarks: Watermarks,
    feed: ClusterFeed,
    on_announced: Callable[[Announced], None],
) -> ClusterWatcher:
    """The watcher; `caught_up` belongs to what feeds the registry."""
    return ClusterWatcher(
        store=store,
        registry=registry,
        caught_up=caught_up,
        watermarks=watermarks,
        feed=feed,
        rules=ClusterRules(
            cases_min=settings.outbreak_cases_min,
            window_hours=settings.outbreak_window_hours,
            lookback_days=settings.outbreak_lookback_days,
            leave_out=settings.outbreak_leaves_out,
        ),
        clock=now_ms,
        owner=backend.unique_owner(),
        on_announced=on_announced,
    )
