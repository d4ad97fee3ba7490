"""The trace service's process: the registries followed in memory, the store behind, HTTP in front."""

import asyncio
import gc
import secrets
import sys
from typing import Final

from prometheus_client import CollectorRegistry

from app.clock import now_ms
from app.key_file import load
from app.key_watch import WATCH_SECONDS, KeyWatch
from app.metrics.clusters import ClusterMetrics
from app.metrics.process import ControlMetrics
from app.metrics.progress import ProgressCollector
from app.ports import bound
from app.processes import backend, clusters, http, vitals
from app.processes.life import Life
from app.readiness import Watch, trace_parts
from app.settings import Settings
from app.stream_client import StreamClients, probe_clients, stream_clients
from events.control import Recorded
from storage.accounts import DeviceAccounts
from storage.audit_stream import AuditStream
from storage.clickhouse import Store
from storage.clusters import ClusterFeed
from storage.control import ControlFollower, ControlLog
from storage.jobs import JobBoard
from storage.person_keys import PersonKeys
from storage.retention_runs import RetentionRuns
from storage.reveals import RevealBook
from storage.settled import SettledMarks
from storage.watermarks import Watermarks
from tracing.answer import Tracer
from tracing.directory.names import Directory
from tracing.directory.reveals import Reveals
from tracing.metrics import Metrics
from tracing.parts import Parts
from tracing.registry import Registry
from tracing.service import trace_service

PART: Final = "control stream"
GC_ALLOCATIONS: Final = 100_000
SWITCH_SECONDS: Final = 0.0005
"""So long may one thread go on while others wait to; 5 ms by default, and a trace has to wait so some dozens of times
where sink, projector and settler share its process."""


def run(settings: Settings, life: Life) -> None:
    """Serve until the process is told to stop."""
    clients, store = stream_clients(settings), backend.store(settings)
    backend.agree_on_partitions(settings, clients.shared, life.stopping)
    serve(settings, life, clients, store, process="trace", counters=CollectorRegistry())


def serve(
    settings: Settings, life: Life, clients: StreamClients, store: Store, *, process: str, counters: CollectorRegistry
) -> None:
    """Serve with these clients until the process is told to stop; ready when the control stream was replayed.

    `process` is its name in metrics, `counters` what the other parts of the process count in.
    """
    # A trace makes some hundred thousand small objects without cycles; the default pace of collection costs a third.
    gc.set_threshold(GC_ALLOCATIONS, *gc.get_threshold()[1:])
    sys.setswitchinterval(SWITCH_SECONDS)
    watch = KeyWatch(settings.keys_path)
    keys = load(settings.keys_path)
    registry = Registry()
    # An event that cannot be read or applied ends the process: a registry that stands still gives wrong answers.
    control = ControlMetrics(process, counters)

    def apply(recorded: Recorded) -> None:
        registry.apply(recorded)
        control.on_control(recorded)
        watcher.on_control(recorded)

    follower = ControlFollower(clients.shared, apply, lambda error: life.fail(PART, error))
    probes = probe_clients(settings)
    watermarks = Watermarks(clients.shared, probes.partitions, replicas=settings.stream_replicas)
    feed = ClusterFeed(clients.shared, replicas=settings.stream_replicas)
    watcher = clusters.watcher(
        settings,
        store=store,
        registry=registry,
        caught_up=follower.catch_up,
        watermarks=watermarks,
        feed=feed,
        on_announced=ClusterMetrics(counters).on_announced,
    )
    follower.start()
    readiness = Watch(trace_parts(settings, store))
    readiness.start()
    vitals.describe(process, counters, readiness.look)
    counters.register(ProgressCollector(probes, lambda: watcher.watched_to))
    metrics = Metrics(counters)
    person_keys = PersonKeys(settings.person_keys_path)
    directory = Directory(store, person_keys, keys, clock=now_ms, random=secrets.token_bytes)
    parts = Parts(
        store=store,
        registry=registry,
        tracer=Tracer(
            store=store,
            registry=registry,
            caught_up=follower.catch_up,
            watermarks=watermarks,
            clock=now_ms,
            random=secrets.token_bytes,
            settled=SettledMarks(clients.shared).read,
            on_step=metrics.on_step,
        ),
        control=ControlLog(clients.shared, replicas=settings.stream_replicas),
        audit_stream=AuditStream(clients.shared, replicas=settings.stream_replicas),
        directory=directory,
        reveals=Reveals(
            RevealBook(clients.shared, replicas=settings.stream_replicas),
            settings.reveal_rules,
            clock=now_ms,
            random=secrets.token_bytes,
        ),
        job_board=JobBoard(clients.shared),
        caught_up=follower.catch_up,
        watermarks=watermarks,
        accounts=DeviceAccounts(clients.shared, clients.partitions),
        secrets=keys,
        metrics=metrics,
        clock=now_ms,
        random=secrets.token_bytes,
        checks=readiness.look,
        retention_runs=RetentionRuns(clients.shared),
        terms=settings.terms,
        cluster_feed=feed,
        occupancy_people_min=settings.occupancy_people_min,
    )
    life.on_stop(parts.outbreak.listeners.close)
    life.part("clusters", watcher.run)
    life.part("directory", directory.run)
    http.run(lambda: _serve(settings, life, parts, watch))
    readiness.stop()
    follower.stop()


async def _serve(settings: Settings, life: Life, parts: Parts, watch: KeyWatch) -> None:
    listener = bound(settings.trace_host, settings.trace_port, shared=False)
    watching = asyncio.create_task(_restart_on_rotation(watch, life))
    try:
        await http.serve(trace_service(parts), listener, life)
    finally:
        watching.cancel()


async def _restart_on_rotation(watch: KeyWatch, life: Life) -> None:
    """Evidence sealed under a new key needs that key here: end, and be started again with it."""
    while watch.fresh() is None:  # noqa: ASYNC110 - a file tells nobody that it was replaced
        await asyncio.sleep(WATCH_SECONDS)
    life.restart("the server's keys were rotated")
