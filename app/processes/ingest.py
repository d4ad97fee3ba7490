"""One ingest worker: the edge under `/v1/scans`, its registries in memory, the stream behind it.

Ready when the control stream was replayed, so that no device is unknown for want of reading; from then on it follows.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any, Final

from litestar import Litestar, asgi
from litestar.types import ASGIApp, Receive, Scope, Send
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from app.clock import now_ms
from app.key_file import load
from app.key_watch import WATCH_SECONDS, KeyWatch
from app.metrics import process
from app.metrics.backlog import BacklogCollector
from app.metrics.edge import EdgeMetrics
from app.metrics.exposition import live_workers
from app.ports import bound
from app.processes import backend, http, vitals
from app.processes.life import Life
from app.processes.shortcut import Shortcut
from app.readiness import Watch, ingest_parts
from app.settings import Settings
from app.stream_client import async_stream_clients, probe_clients, stream_client
from app.trail import EdgeTrail
from events.control import Recorded
from events.scans import SCANS_PATH
from ingest.limits import EdgeLimits
from ingest.places import PlaceView
from ingest.receive import EdgeResult, ScanEdge
from keys.codes import CodeOpener
from keys.keyring import Keyring
from keys.secrets import ServerSecrets
from storage.control import follow
from storage.publish import Publisher
from tracing.faults import answer_fault

PROCESS: Final = "ingest"


class EdgeMount:
    """The edge as a route of the framework; gets a new edge when the server's keys are rotated."""

    def __init__(self, build: Callable[[ServerSecrets], ScanEdge], keys: ServerSecrets) -> None:
        self._build: Final = build
        self._edge = build(keys)

    def rekey(self, keys: ServerSecrets) -> None:
        """Serve from the next request on with these keys."""
        self._edge = self._build(keys)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one request to the edge, as bare ASGI."""
        await self._edge(scope, receive, send)


def run(settings: Settings, life: Life) -> None:
    """Serve until the process is told to stop."""
    http.run(lambda: _serve(settings, life))


async def _serve(settings: Settings, life: Life) -> None:
    keyring, places = Keyring(), PlaceView()
    counters = CollectorRegistry()
    process.begin(PROCESS, counters)
    metrics, trail = EdgeMetrics(settings.prometheus_dir, counters), EdgeTrail()
    control_metrics = process.ControlMetrics(PROCESS, counters)
    clients = async_stream_clients(settings)
    publisher = Publisher(clients.partitions, bytes_max=settings.stream_bytes_max, replicas=settings.stream_replicas)

    def build(keys: ServerSecrets) -> ScanEdge:
        return ScanEdge(
            keyring=keyring,
            places=places,
            secrets=keys,
            opener=CodeOpener(keys),
            publisher=publisher,
            clock_ms=now_ms,
            random=secrets.token_bytes,
            limits=EdgeLimits(
                device_requests_per_second=settings.device_requests_per_second,
                device_scans_per_second=settings.device_scans_per_second,
                scan_age_seconds_max=settings.scan_age_seconds_max,
            ),
            on_result=on_result,
        )

    def on_result(result: EdgeResult) -> None:
        metrics.on_result(result)
        trail.on_result(result)

    def apply(recorded: Recorded) -> None:
        keyring.apply(recorded)
        places.apply(recorded)
        control_metrics.on_control(recorded)

    mount = EdgeMount(build, load(settings.keys_path))
    watch = Watch(ingest_parts(settings))
    watch.start()
    own: list[Collector] = [
        process.ConditionCollector(PROCESS, watch.look, lambda: live_workers(settings.prometheus_dir)),
        BacklogCollector(probe_clients(settings).partitions, settings.stream_bytes_max),
    ]
    replayed = asyncio.Event()
    followers = [
        asyncio.create_task(follow(clients.shared, apply, replayed), name="control stream"),
        asyncio.create_task(_watch_keys(KeyWatch(settings.keys_path), mount), name="key file"),
    ]
    for follower in followers:
        follower.add_done_callback(lambda task: _ended(task, life))
    try:
        await _first(replayed, life)
        with contextlib.closing(stream_client(settings)) as client:
            await asyncio.to_thread(backend.agree_on_partitions, settings, client, life.stopping)
        if not life.stopping.is_set():
            listener = bound(settings.ingest_host, settings.ingest_port, shared=True)
            await http.serve(application(mount, lambda: metrics.exposition(own), watch.look), listener, life)
    finally:
        watch.stop()
        for follower in followers:
            follower.cancel()
        await clients.aclose()


def application(edge: ASGIApp, exposition: Callable[[], bytes], look: process.Look) -> ASGIApp:
    """The worker's routes: scans, liveness, readiness, metrics."""

    @asgi(SCANS_PATH, copy_scope=False)
    async def scans(scope: Scope, receive: Receive, send: Send) -> None:
        await edge(scope, receive, send)

    framework = Litestar(
        [scans, *vitals.routes(exposition, look)],
        openapi_config=None,
        logging_config=None,
        exception_handlers={Exception: answer_fault},
    )
    return Shortcut(SCANS_PATH, edge, framework)


async def _first(replayed: asyncio.Event, life: Life) -> None:
    """Return when the replay is through, or the process must stop before it is."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def stop() -> None:
        loop.call_soon_threadsafe(stopped.set)

    life.on_stop(stop)
    waits = [asyncio.create_task(replayed.wait()), asyncio.create_task(stopped.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _watch_keys(watch: KeyWatch, mount: EdgeMount) -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        keys = watch.fresh()
        if keys is not None:
            mount.rekey(keys)


def _ended(task: "asyncio.Task[None]", life: Life) -> None:
    """A follower has ended: as asked, or the worker would go on with registries that grow old."""
    if not task.cancelled():
        life.fail(task.get_name(), task.exception())
